"""Insults, pornography and advertising go; every ordinary clinical word stays; people in danger are tagged."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus import sources
from mulmed.corpus.edits import apply
from mulmed.corpus.moderate import group_terms, judge_text, moderate_record, moderate_records, without_selling
from mulmed.corpus.moderate.classifier import judged, needed
from mulmed.corpus.moderate.lexicon import KINDS, LANGUAGES, Found, Line, folded, lines_of, matcher
from mulmed.corpus.moderate.literals import announced_by, begun_by
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.sentences import sentences
from mulmed.corpus.sources.layout import Parsed, Rejected
from mulmed.recipe import Source

DATA = Path(os.environ.get("MULMED_DATA") or Path(__file__).parents[3] / "shared" / "data")


def record(answer: str, question: str = "?", *, language: str = "en", task: str = "qa") -> Record:
    turns = (Turn("user", question), Turn("assistant", answer))
    return Record(id="s:0", task=task, language=language, turns=turns, source="s", file="f", row=0)  # type: ignore[arg-type]


def outcome_of(one: Record) -> tuple[str | None, dict[str, int]]:
    """The answer that is left (None: dropped) and the rules that fired."""
    outcome = moderate_record(one)
    counts: dict[str, int] = {}
    for finding in outcome.findings:
        counts[finding.rule] = counts.get(finding.rule, 0) + finding.count
    return (outcome.record.turns[-1].text if outcome.record else None), counts


CLINICAL = {
    "en": [
        "Breast pain, anal itching, penile discharge and vaginal dryness are common; ask without shame.",
        "HIV and other sexually transmitted diseases spread through sex without a condom.",
        "My husband calls me a stupid fat bitch and hits me. Is this abuse?",
        "He told me: you are a worthless idiot, and I believed it.",
        "Black women have a higher risk of lupus; gay men should be offered the vaccine.",
        "Cocaine, heroin and cannabis raise the heart rate. Mental retardation and idiopathic disease differ.",
        "Do not believe in a miracle cure with a money-back guarantee.",
        "A great deal of water helps. About 20% of patients improve; buy paracetamol over the counter.",
        "Visit your doctor or the nearest hospital. Call us if the fever lasts? No, call your doctor.",
        "A free trial of aspirin was stopped; the lesion is a dirty wound and men are more often affected.",
        "This will kill the pain. I had a stroke, a shooting pain in my arm and black stool.",
        "He was shot with a rifle; the bullet is still in his thigh. She was raped and is pregnant.",
        "I masturbate and watch porn every day, and my penis is weak. Is it because of that?",
        "My husband is addicted to gambling and lost our house in a casino; which doctor treats that?",
        "Parasites infect humans and mice; the drug killed all worms, and the black fly spreads them.",
        "The cock crowed at five, and a cocktail of antibiotics cleared the infection.",
    ],
    "zh": [
        "处女膜破裂、阴道出血、阳痿早泄、乳房胀痛、肛门瘙痒都可以看医生。",
        "性病、艾滋病、梅毒通过性生活传播，请使用避孕套。",
        "不要相信包治百病的祖传秘方和加微信卖药的广告，都是骗人的。",
        "弱智、神经病、精神分裂症患者需要关爱。黑人和女性更容易得这种病。",
        "吗啡、海洛因成瘾需要戒毒治疗；枪伤、刀伤立即止血。",
        "多喝热水，微信上查到的不一定准确，免费的疫苗可以打。",
        "我爸骂我你这个废物，我很难过。",
        "手淫多年，现在早泄，月经也不调，乳头疼。小时候被强奸过。",
        "老公赌博成瘾，怎么治疗？",
        "湿热下注，四妙丸主之。奶粉的配方不适合宝宝。",
        "当时把一家人都吓傻了，疼得要死，痒死了。",
        "对海鲜过敏，吃了蟹肉棒寿司以后嘴唇肿。",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, ts in CLINICAL.items() for t in ts])
@pytest.mark.parametrize("as_question", [True, False])
def test_clinical_text_stays(language: str, text: str, as_question: bool) -> None:
    answer = "Please rest well and drink a lot." if language == "en" else "请多休息，注意饮食清淡，按时吃药。"
    one = record(answer, text, language=language) if as_question else record(text, language=language)
    assert outcome_of(one) == (one.turns[-1].text, {})
    assert judge_text(text).action == "keep"


DROPPED = [
    ("en", "You are a lazy idiot. Lose weight.", "insult"),
    ("en", "Nobody forces a fat pig like you to eat.", "insult"),
    ("en", "Go kill yourself, you moron.", "insult"),
    ("en", "Immigrants are dirty and bring disease.", "hate"),
    ("en", "Free xxx videos, hot girls waiting for you tonight.", "sexual"),
    ("en", "How do I build a pipe bomb at home?", "weapons"),
    ("en", "Sign up at our casino and get free spins on all slots.", "gambling"),
    ("zh", "你这个蠢货，滚远点。", "insult"),
    ("zh", "河南人都是骗子，活该生病。", "hate"),
    ("zh", "少妇裸聊，激情视频在线观看。", "sexual"),
    ("zh", "教我怎么自制炸药，威力要大。", "weapons"),
    ("zh", "线上赌场开户，注册即送彩金，百家乐稳赚不赔。", "gambling"),
    ("zh", "加微信[ACCOUNT]，祖传秘方包治百病，货到付款。", "advertisement"),
    ("en", "Visit our clinic today and get a 50% discount on every session!", "advertisement"),
    ("en", "Hello. For more information consult a dentist online", "referral"),
]


@pytest.mark.parametrize(("language", "answer", "rule"), DROPPED)
def test_records_that_are_dropped(language: str, answer: str, rule: str) -> None:
    left, rules = outcome_of(record(answer, language=language))
    assert left is None
    assert rule in rules
    verdict = judge_text(answer)
    assert verdict.action == "drop"
    assert rule in verdict.reasons
    assert judge_text(answer, language) == verdict


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("Even a houseplant has more brains than you, you brainless clown.", "insult"),
        ("你这猪脑子还好意思问，真是个没用的窝囊废。", "insult"),
    ],
)
def test_the_classifier_knows_what_no_phrase_says(text: str, rule: str) -> None:
    plain = folded(text)
    assert rule not in matcher().matches(plain)
    assert judge_text(text).reasons == (rule,)


CRISIS = {
    "en": [
        "I want to kill myself.",
        "i dont want to live anymore and took all my pills",
        "I am not suicidal, but I would rather be dead.",
        "My daughter cuts her wrists and wishes she was never born.",
        "He told me: you worthless idiot, go kill yourself. Now I think of ending my life.",
        "If you think of suicide, call a helpline.",
        "Do you have any suicidal thoughts?",
        "Everyone would be better off without me",
        "She swallowed a whole bottle of sleeping tablets and left a goodbye note.",
    ],
    "zh": [
        "我不想活了。",
        "有没有自杀念头？",
        "他想自杀，有人骂他是废物，长期遭受家暴和虐待。",
        "女儿用刀片割手臂，说活着没意思。",
        "我想结束自己的生命，遗书都写好了。",
        "难受得想死，每天都想从楼上跳楼。",
        "她吞了一整瓶安眠药。",
        "没有自杀的勇气，又活不下去。",
    ],
}
NO_CRISIS = [
    "The patient denies suicidal ideation.",
    "No suicidal or homicidal ideation. Denies any depression, anxiety or suicidal thoughts.",
    "Cells were transfected with a suicide gene; the suicide inhibitor blocked the enzyme.",
    "I do not want to die, doctor, is it cancer? The cough is killing me. Kill the bacteria.",
    "I hurt myself lifting a box and cut my finger while cooking.",
    "否认自杀念头，无自伤、自杀行为。",
    "自杀基因疗法诱导肿瘤细胞自杀，自杀式底物。",
    "疼得要死，痒得要命，活检结果正常，不想活动。",
    "死亡率很低，跳楼梯运动要小心。",
]


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, ts in CRISIS.items() for t in ts])
def test_people_in_danger_are_kept_and_tagged(language: str, text: str) -> None:
    assert judge_text(text).action == "crisis"
    assert judge_text(text).reasons == ("crisis:suicide",)
    answer = "Please call the emergency number at once, you are not alone and this can be treated."
    outcome = moderate_record(record(answer, text, language=language))
    assert outcome.record is not None
    assert outcome.record.tags == ("crisis",)
    assert [(f.rule, f.field) for f in outcome.findings] == [("crisis:suicide", "turns[0]")]
    assert moderate_record(outcome.record).record == outcome.record  # a tag is given once


@pytest.mark.parametrize("text", NO_CRISIS)
def test_findings_biochemistry_and_figures_of_speech_are_no_crisis(text: str) -> None:
    assert judge_text(text).action == "keep"


def test_an_abstract_that_names_suicide_is_not_tagged() -> None:
    abstract = "Rates of suicide were higher in the cohort, and the model explains a third of it."
    outcome = moderate_record(record(abstract, abstract, task="summary"))
    assert outcome.record is not None
    assert outcome.record.tags == ()


def test_despair_never_drops_a_record_but_a_cruel_answer_does() -> None:
    cry = "I am a stupid fat cow, you idiots do not help me, and I want to kill myself."
    kept = moderate_record(record("Please call the emergency number, help is near.", cry))
    assert kept.record is not None
    assert kept.record.tags == ("crisis",)
    cruel = moderate_record(record("Then go and kill yourself, you idiot.", cry))
    assert cruel.record is None
    assert [(f.rule, f.field, f.detail) for f in cruel.findings] == [("insult", "turns[1]", "crisis")]


@pytest.mark.parametrize(
    ("language", "answer", "left"),
    [
        (
            "en",
            "It is most likely viral, so rest and drink. For more information consult an ENT specialist online --> Bye.",
            "It is most likely viral, so rest and drink.",
        ),
        (
            "en",
            "Apply ice three times a day for a week. Take care. Visit [URL]. Get well soon.",
            "Apply ice three times a day for a week. Take care. Get well soon.",
        ),
        (
            "en",
            "Apply ice three times a day for a week. Take care. Visit www.example.com.",
            "Apply ice three times a day for a week. Take care.",
        ),
        (
            "zh",
            "建议少吃盐，每天量血压。加微信abc12345领药。祝您早日康复！",
            "建议少吃盐，每天量血压。祝您早日康复！",
        ),
    ],
)
def test_only_the_selling_sentence_goes(language: str, answer: str, left: str) -> None:
    outcome = moderate_record(record(answer, language=language))
    assert outcome.record is not None
    assert outcome.record.turns[1].text == left
    edits = [f.edit for f in outcome.findings if f.edit]
    assert {f.field for f in outcome.findings} == {"turns[1]"}
    assert apply(answer, edits) == left
    assert all(f.removed == answer[f.edit.start : f.edit.end] for f in outcome.findings if f.edit)


def test_a_patient_may_quote_an_advertisement() -> None:
    one = record(
        "No, it is a fraud, please do not take it at all.", "They say: order now at half price. Is it good?"
    )
    assert outcome_of(one) == (one.turns[1].text, {})


def test_instructions_may_be_about_selling_but_are_not_spam() -> None:
    slogan = "Buy now! 50% off for everyone, limited time offer, order online at [URL]!"
    assert outcome_of(record(slogan, "Write an advertisement.", task="instruction"))[0] == slogan
    assert outcome_of(record(slogan, "How do I rest?", task="instruction"))[0] is None
    abstract = "The tool is available at [URL]. It finds genes and runs on every computer."
    assert outcome_of(record(abstract, abstract, task="summary"))[0] == abstract


def test_the_answers_of_other_systems_stay_as_they_are() -> None:
    one = record("Rest in bed and drink two litres of water.")
    with_baseline = Record(
        **{f: getattr(one, f) for f in one.__slots__} | {"baselines": {"x": "You are an idiot."}}
    )
    assert moderate_record(with_baseline).record == with_baseline


def test_a_language_without_lexicons_passes() -> None:
    assert without_selling("Compra ahora", "es") == ("Compra ahora", ())
    assert judge_text("Compra ahora", "es").action == "keep"


def every_line() -> Iterator[tuple[str, Line]]:
    for kind in (*KINDS, "groups"):
        for language in LANGUAGES:
            for line in lines_of(kind, language):
                yield language, line


Spans = dict[str, list[tuple[int, int]]]


def spans(found: Found) -> Spans:
    return {kind: [match.span() for match in matches] for kind, matches in found.items()}


def by_every_line(plain: str, kinds: tuple[str, ...] = KINDS) -> Spans:
    """What the matcher finds, by the plain way: every line tried on the whole text."""
    found: Spans = {}
    for line in matcher(kinds).lines:
        if held := [match.span() for match in line.search(plain)]:
            found.setdefault(line.kind, []).extend(held)
    return found


@pytest.mark.parametrize(
    "line", [pytest.param(line, id=f"{lang}-{line.kind}-{n}") for n, (lang, line) in enumerate(every_line())]
)
@settings(max_examples=3)
@given(data=st.data())
def test_every_match_of_a_line_is_announced(line: Line, data: st.DataObject) -> None:
    """Trying only the lines that a literal announces, where a match can begin, finds what trying all does."""
    text = folded(data.draw(st.from_regex(re.compile(line.pattern))))
    found = [match.span() for match in line.search(text)]
    assert not found or any(literal in text for literal in announced_by(line.pattern))
    begins = begun_by(line.pattern)
    assert begins is None or all(text.startswith(tuple(begins), start) for start, _ in found)
    kinds = (line.kind.split(":")[0],)
    held = by_every_line(text, kinds)
    assert spans(matcher(kinds).matches(text)) == held
    assert set(found) <= set(held.get(line.kind, ()))


OWN = [t for texts in (*CLINICAL.values(), *CRISIS.values()) for t in texts] + [t for _, t, _ in DROPPED]
# What may upset places: signs of two, three and four bytes, letters whose lower case is longer or in ASCII, the
# sign that stands between texts, and no text at all.
_STRANGE = ["", "\x00", "İÉ", "\u212a", "ΟΔΟΣ ", "𝒳😀", "fuc\u212a you, ", "你", " you "]


@given(st.lists(st.lists(st.sampled_from(OWN + _STRANGE), max_size=4).map("".join), min_size=1, max_size=5))
def test_one_pass_over_several_texts_finds_what_every_line_finds_in_each(texts: list[str]) -> None:
    for kinds in (KINDS, ("groups",)):
        each = {i: (plain, spans(found)) for i, plain, found in matcher(kinds).matches_each(texts)}
        plain = {i: (folded(text), by_every_line(folded(text), kinds)) for i, text in enumerate(texts)}
        assert each == {i: one for i, one in plain.items() if one[1]}


def test_what_the_lists_name_has_no_case_beyond_ascii() -> None:
    """The automaton reads bytes, of which only ASCII letters are put in lower case."""
    literals = {
        x for _, line in every_line() for x in announced_by(line.pattern) | (begun_by(line.pattern) or set())
    }
    assert all(c.isascii() or c.lower() == c.upper() for literal in literals for c in literal)
    assert [c for c in map(chr, range(128, 0x110000)) if c.lower().isascii()] == ["\u212a"]


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("abc", {"abc"}),
        ("ab(?:cd|ef)", {"abcd", "abef"}),
        ("x(?:long|short) ?y+", {"xlong", "xshort"}),
        (r"\w+ needle(?:s)? \d", {" needle ", " needles "}),
        ("(?<!x)ab?cd", {"abcd", "acd"}),
    ],
)
def test_literals_follow_from_the_structure(pattern: str, literals: set[str]) -> None:
    assert announced_by(pattern) == literals


@pytest.mark.parametrize("pattern", [r"\w+", "a*", "(?:ab)?", "a|b", "(abc)"])
def test_patterns_that_nothing_announces_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"literal|only"):
        announced_by(pattern)


@pytest.mark.parametrize(
    ("pattern", "literals"),
    [
        ("abcd", {"abcd"}),
        (r"(?<![a-z])(?:the )?cats? \w+", {"the cat ", "the cats ", "cat ", "cats "}),
        ("(?:abc|abcde)f+", {"abcf", "abcdef"}),
        (r"(?:abc|abcde)\d", {"abc"}),  # what begins with "abcde" begins with "abc"
        (r"[加买](?:一|二)?\d", {"加", "买"}),
        (r"(?:xyz|\d+) a", None),
        ("(?:xyz)?a", None),
        ("(?:needle|[a-z]+)b", None),
        (r"(?:give|lend){1,3} me\w*", {"give", "lend"}),
    ],
)
def test_beginnings_follow_from_the_structure(pattern: str, literals: set[str] | None) -> None:
    assert begun_by(pattern) == literals


@given(st.text())
def test_folding_keeps_every_place(text: str) -> None:
    assert len(folded(text)) == len(text)


def test_the_classifier_is_small_and_no_pickle() -> None:
    raw = files("mulmed.corpus.moderate").joinpath("classifier.safetensors").read_bytes()
    assert len(raw) < 200_000
    assert b'"en.steps"' in raw[:1000]


@pytest.mark.parametrize(
    ("language", "parts"),
    [
        (
            "en",
            [
                "Take 0.5 mg b.i.d. at 8 a.m. with food. ",
                "Dr. X agrees, e.g. on rest. ",
                "1. Sleep. ",
                "2. Eat!\n",
                "Ok?",
            ],
        ),
        ("en", ["the pain goes.", "Take care. ", "bp is 120/80 mmhg."]),
        ("zh", ["血压120/80，头痛。", "怎么办？！", "他说：“没事。”", "好的\n", "3.5毫克；", "谢谢"]),
    ],
)
def test_sentences_are_cut_at_their_ends_only(language: str, parts: list[str]) -> None:
    assert sentences("".join(parts), language) == parts


corpora = pytest.mark.parametrize(
    ("layout", "path", "language"),
    [
        ("icliniq", "icliniq/iCliniq.json.gz", "en"),
        ("healthcaremagic", "healthcaremagic/HealthCareMagic-100k.json.gz", "en"),
        ("ai-medical-chatbot", "healthcaremagic/ai-medical-chatbot.csv.gz", "en"),
        ("meddialog-en", "dialogue_en/COVID-Dialogue-Dataset-English.txt.gz", "en"),
        ("medical-qa", "medical_qa_en/questionDoctorQAs.json.gz", "en"),
        ("meddialog-zh", "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz", "zh"),
        ("cmtmedqa", "dialogue_zh/CMtMedQA_test.json.gz", "zh"),
        ("huatuo26m", "medical_qa_zh/huatuo26M_test.json.gz", "zh"),
    ],
)


def consultations(layout: str, path: str, language: str) -> Iterator[Parsed]:
    file = DATA / path
    if not file.is_file():
        pytest.skip(f"no {path} under $MULMED_DATA")
    source = Source(layout=layout, path=path, language=language)  # type: ignore[arg-type]
    return (item.parsed for item in sources.read(source, file) if not isinstance(item, Rejected))


@corpora
def test_in_real_consultations_one_pass_finds_what_every_line_finds(
    layout: str, path: str, language: str
) -> None:
    tried = found = 0
    for parsed in itertools.islice(consultations(layout, path, language), 100):
        texts = [turn.text for turn in parsed.turns]
        for kinds in (KINDS, ("groups",)):
            each = {i: spans(held) for i, _, held in matcher(kinds).matches_each(texts)}
            assert each == {i: held for i, t in enumerate(texts) if (held := by_every_line(folded(t), kinds))}
            found += len(each)
        tried += 1
    assert tried == 100
    assert found > 0


@corpora
def test_real_consultations_are_hardly_ever_lost(layout: str, path: str, language: str) -> None:
    read = list(consultations(layout, path, language))
    lost = sum(
        moderate_record(
            Record(
                id=f"s:{n}",
                task=p.task,
                language=language,
                turns=p.turns,
                source="s",
                file="f",
                row=n,
                context=p.context,
            )
        ).record
        is None
        for n, p in enumerate(read)
    )
    assert len(read) > 100
    assert lost / len(read) < 0.005


def instruction(text: str, context: str, answer: str) -> Record:
    return replace(record(answer, text, task="instruction"), context=context)


@pytest.mark.parametrize(
    ("text", "context", "answer"),
    [
        ("Is this post an insult? Classify it.", "You are a stupid idiot and nobody likes you.", "Yes, an insult."),
        ("Detect hate speech.", "All immigrants are vermin, throw them out.", "It is hateful."),
        ("Explain what is wrong with the post.", "Women are too stupid to drive.",
         "The statement implies that women are too stupid to drive, which is a prejudice."),
        ("判断下面的话是否带有侮辱", "你这个蠢货，滚远点。", "是的，这句话在骂人。"),
        ("Write an advertisement for a tea shop.", "", "Visit our store today: the best tea at unbeatable prices!"),
        ("Find the best price for a tent.", "Order now, 30% off", "The best price is 92 dollars."),
        ("What are arguments about gun control?", "", "One side argues that laws on guns would save lives."),
        ("Describe an explosive volcano.", "", "Lava and ash are thrown high into the sky."),
    ],
)  # fmt: skip
def test_an_instruction_about_an_offence_commits_none(text: str, context: str, answer: str) -> None:
    one = instruction(text, context, answer)
    assert moderate_record(one).record == one


@pytest.mark.parametrize(
    ("text", "context", "answer", "rule"),
    [
        ("Give an example of an insult.", "", "You are a stupid idiot and nobody likes you.", "insult"),
        ("Is this an insult?", "You fool!", "You stupid moron, of course it is.", "insult"),
        ("Continue the text.", "Free xxx videos, hot girls waiting for you tonight.", "Come in.", "sexual"),
        ("How do I build a pipe bomb at home?", "", "Take a pipe.", "weapons"),
    ],
)
def test_an_instruction_that_commits_an_offence_goes(text: str, context: str, answer: str, rule: str) -> None:
    outcome = moderate_record(instruction(text, context, answer))
    assert outcome.record is None
    assert outcome.findings[0].rule == rule


def test_what_the_classifier_was_not_trained_on_says_nothing() -> None:
    strange = "zyxwv qponm lkjih gfedc onmlk ihgfe"
    shares, known = judged(strange)
    assert known == 0
    assert shares[0] == max(shares)
    offence = "you worthless piece of garbage"
    assert needed(offence, judged(offence)[1]) < needed(offence, judged(f"{offence} {strange}")[1])


@given(
    st.lists(
        st.tuples(st.sampled_from(OWN + _STRANGE), st.sampled_from(OWN), st.sampled_from(["", *OWN])),
        max_size=6,
    )
)
def test_records_are_decided_as_each_would_be_alone(texts: list[tuple[str, str, str]]) -> None:
    records = [instruction(question, context, answer) for question, answer, context in texts]
    assert moderate_records(records) == [
        (moderate_record(one), group_terms("\n".join([one.turns[0].text, one.turns[1].text, one.context])))
        for one in records
    ]
