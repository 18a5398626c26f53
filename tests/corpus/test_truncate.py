"""Everything fits, the answer survives, and what matters is kept."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus import salience
from mulmed.corpus import sentences as sentence_rules
from mulmed.corpus.edits import apply
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.salience import Role, importance, mentions, signs, urgency
from mulmed.corpus.sentences import sentence_ends, sentences
from mulmed.corpus.shorten import cut, shorten, without
from mulmed.corpus.stage import Finding, Outcome
from mulmed.corpus.truncate import truncate_records
from mulmed.errors import MulmedError


def words(texts: Sequence[str]) -> list[int]:
    """A tokenizer of words and Chinese characters."""
    return [len(re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)) for text in texts]


def jumpy(texts: Sequence[str]) -> list[int]:
    """A tokenizer that is not additive: every text costs more, the longer it is."""
    return [n + n // 7 for n in words(texts)]


TASKS = ("instruction", "summary", "qa", "dialogue")
OVERHEAD = {(task, language): (20, 5) for task in TASKS for language in ("en", "zh")}


def record(*texts: str, **more: Any) -> Record:
    roles = ["user", "assistant"] * (len(texts) // 2)
    turns = tuple(Turn(role, text) for role, text in zip(roles, texts, strict=True))  # type: ignore[arg-type]
    fields: dict[str, Any] = {"task": "qa" if len(texts) == 2 else "dialogue", "language": "en"} | more
    return Record(id="s:0", turns=turns, source="s", file="f", row=0, **fields)


def fitted(one: Record, cutoff: int = 60) -> tuple[Record, dict[str, int]]:
    """The record shortened, and how often each rule fired; what the audit says is checked on the way."""
    (outcome,) = truncate_records([one], cutoff, OVERHEAD, words).outcomes
    assert outcome.record is not None
    texts = {f"turns[{i}]": t.text for i, t in enumerate(one.turns)} | {"context": one.context}
    changed = dict(texts)
    for field in texts:
        edits = [f.edit for f in outcome.findings if f.field == field and f.edit]
        changed[field] = apply(texts[field], edits)
        assert [f.removed for f in outcome.findings if f.field == field and f.edit] == [
            texts[field][e.start : e.end] for e in edits
        ]
    gone = len(one.turns) - len(outcome.record.turns)
    for i in range(gone)[::-1]:
        if changed[f"turns[{i}]"]:
            rule = "mentions kept" if i else "description kept"
            assert Finding(rule, 1, f"before turns[{gone}]", f"turns[{i}]") in outcome.findings
            changed[f"turns[{gone}]"] = changed[f"turns[{i}]"] + "\n" + changed[f"turns[{gone}]"]
            changed[f"turns[{i}]"] = ""
    assert [changed[f"turns[{i}]"] for i in range(len(one.turns))] == [
        *[""] * gone, *(t.text for t in outcome.record.turns)
    ]  # fmt: skip
    assert changed["context"] == outcome.record.context
    return outcome.record, dict(Counter(f.rule for f in outcome.findings))


def test_what_was_told_first_goes_on_before_the_first_question_kept() -> None:
    told = "I am 34 years old. I am allergic to penicillin."
    rounds = [told, sentence(12), "It still hurts.", sentence(9), "What now?", sentence(9)]
    # 20 + 5 template, 3 + 9 + 2 + 9 words in the last two rounds: 48, and 10 of what was told is 58.
    after, rules = fitted(record(*rounds))
    assert [t.text for t in after.turns] == [f"{told}\nIt still hurts.", *rounds[3:]]
    assert rules == {"description kept": 1, "oldest turns": 1}


LATER = "I have a cat. I am allergic to penicillin. It rains."


def test_an_allergy_told_in_a_later_round_goes_on_with_the_first_question_kept() -> None:
    rounds = [
        "Hello doctor.",
        sentence(12),
        LATER,
        sentence(12),
        "It hurts.",
        sentence(9),
        "And?",
        sentence(8),
    ]
    # 25 of the template and 20 of the last two rounds leave 15 of 60: 3 for what was told first and its line
    # break, 6 for the allergy.
    after, rules = fitted(record(*rounds))
    assert [t.text for t in after.turns] == [
        "Hello doctor.\nI am allergic to penicillin.\nIt hurts.", *rounds[5:]
    ]  # fmt: skip
    # Two answers whole, and of the question what stood before and after the allergy.
    assert rules == {"description kept": 1, "mentions kept": 1, "oldest turns": 4}


def test_allergies_go_on_before_doses_and_doses_before_negations() -> None:
    told = ["It never burned then.", "I take warfarin. I take 5 mg.", "I am allergic to nuts."]
    rounds = ["Hello.", sentence(200)]
    for text in told:
        rounds += [text, sentence(200)]
    rounds += ["And now?", sentence(20)]
    texts = {
        # A quarter of 24, 44 and 80 tokens without the template: 6, 11, 20. With a line break each, the allergy
        # takes 6 of them, the warfarin 4, the dose 5, the negation 5.
        cutoff: fitted(record(*rounds), cutoff)[0].turns[0].text.splitlines()
        for cutoff in (44, 64, 100)
    }
    assert texts[44] == ["Hello.", "I am allergic to nuts.", "And now?"]
    assert texts[64] == ["Hello.", "I take warfarin.", "I am allergic to nuts.", "And now?"]
    assert texts[100] == ["Hello.", *told, "And now?"]


def test_sentences_carried_on_are_whole() -> None:
    # "花生过敏" alone would say the contrary of it, and all of it is 34 tokens: a quarter of 140, not of 40.
    denied = "没有药物、食物、花粉、尘螨、海鲜、牛奶、鸡蛋、花生过敏。"
    rounds = ["医生您好。", "好" * 200, denied, "好" * 200, "现在呢？", "好的。" * 8]
    after, _ = fitted(record(*rounds, language="zh"))
    assert after.turns[0].text == "医生您好。\n现在呢？"
    after, _ = fitted(record(*rounds, language="zh"), cutoff=160)
    assert after.turns[0].text == f"医生您好。\n{denied}\n现在呢？"


@pytest.mark.parametrize(
    ("told", "language"),
    [("I take 5\nmg of warfarin.", "en"), ("I need 2 to\n3 tablets.", "en"), ("阿司匹林每次2\n片。", "zh")],
)
def test_a_dose_over_a_line_break_is_carried_on_whole(told: str, language: str) -> None:
    first, filler, last = (
        ("Hello.", "a " * 90, "And now?") if language == "en" else ("您好。", "好" * 90, "现在呢？")
    )
    after, _ = fitted(record(first, filler, told, filler, last, filler[:20], language=language))
    assert after.turns[0].text == f"{first}\n{told}\n{last}"


def test_a_list_stays_with_what_denies_it() -> None:
    text = "平时身体很好。没有药物、食物、花粉、尘螨过敏。"
    for budget in range(1, words([text])[0]):
        assert "过敏" not in shortened(text, budget, "zh") or "没有药物" in shortened(text, budget, "zh")


@pytest.mark.parametrize(
    ("sentence", "language", "rank"),
    [
        ("Can I take it with my penicillin allergy?", "en", 0), ("I take 5 mg of it.", "en", 1),
        ("Is it safe with warfarin?", "en", 1), ("I have no fever.", "en", 2), ("Is that not bad?", "en", None),
        ("I have allergic rhinitis.", "en", None), ("我对花生过敏，能吃吗？", "zh", 0), ("在吃布洛芬。", "zh", 1),
        ("没有发烧。", "zh", 2), ("是不是很严重呢？", "zh", None), ("会不会传染吗", "zh", None), ("好的。", "zh", None),
    ],
)  # fmt: skip
def test_urgency(sentence: str, language: str, rank: int | None) -> None:
    assert urgency(signs(sentence, language), sentence) == rank


def test_what_was_told_first_is_shortened_by_importance() -> None:
    told = sentence(12) + "I am allergic to penicillin. " + sentence(12)
    rounds = [told, sentence(12), "It still hurts.", sentence(7), "What now?", sentence(7)]
    # 25 for the template and 19 for the last two rounds leave 16 of 60: for the five words, not for 17.
    after, rules = fitted(record(*rounds))
    assert after.turns[0].text == "I am allergic to penicillin.\nIt still hurts."
    assert rules == {"description kept": 1, "question shortened": 2, "oldest turns": 1}


def test_the_last_round_gives_room_to_what_was_told_first() -> None:
    told = "I am allergic to penicillin. " + sentence(30)
    after, _ = fitted(
        record(told, sentence(12), "What now?", sentence(8) + "Take it with food. " + sentence(30))
    )
    assert after.turns[0].text == "I am allergic to penicillin.\nWhat now?"
    assert "Take it with food." in after.turns[1].text


def test_a_middle_answer_keeps_its_end() -> None:
    rounds = ["Hello.", sentence(8) + sentence(8), "And then?", sentence(14), "What now?", sentence(4)]
    after, rules = fitted(record(*rounds))
    # 20 + 10 template and 22 words leave 8 of the 16 words of the first answer: the first sentence would go
    # or the last, and an answer that others follow may not stop short.
    assert not after.answer_cut
    assert all(
        turn.text.endswith(old[-8:]) for turn, old in zip(after.turns[::-1], rounds[::-1], strict=False)
    )
    assert sum(words([t.text for t in after.turns])) + 20 + 5 * (len(after.turns) // 2 - 1) <= 60
    assert rules


def test_cuts_at_the_right_are_estimated_by_the_share_of_tokens() -> None:
    one = record(sentence(60) + "No.", "Never. " + sentence(3))
    counts = truncate_records([one], 60, OVERHEAD, words).mentions
    assert (counts["negation before"], counts["negation cut at the right"]) == (2, 0)


def shortened(text: str, budget: int, language: str, role: Role = "question") -> str:
    return apply(text, shorten(text, budget, language, role, words))


def sentence(n: int, word: str = "filler") -> str:
    """A sentence of n words."""
    return " ".join(["So", *[word] * (n - 1)]) + ". "


def test_what_fits_stays() -> None:
    one = record(sentence(20), sentence(20))
    assert fitted(one) == (one, {})


def test_the_answer_stays_whole_and_the_question_keeps_what_matters() -> None:
    question = (
        "My son is 4 years old. " + sentence(10) + "He has a fever of 39.5 °C since 3 days. " + sentence(12)
        + "Should I go to the hospital?"
    )  # fmt: skip
    after, rules = fitted(record(question, sentence(15)))
    assert after.turns[0].text == (
        "My son is 4 years old. He has a fever of 39.5 °C since 3 days. Should I go to the hospital?"
    )
    assert after.turns[1].text == sentence(15)
    assert (rules, after.answer_cut) == ({"question shortened": 2}, False)


def test_a_long_answer_leaves_the_question_a_quarter() -> None:
    # 60 - 20 = 40 tokens for texts: a quarter, 10, for the question, 30 for the answer.
    one = record(sentence(9) + sentence(9), sentence(16) + sentence(10) + sentence(10))
    after, rules = fitted(one)
    assert after.turns[0].text == sentence(9).strip()
    assert after.turns[1].text == sentence(16) + sentence(10)
    assert rules == {"question shortened": 1, "answer shortened": 1}


def test_an_answer_keeps_its_advice_and_its_end() -> None:
    answer = "It is a sprain. " + sentence(14) + sentence(14) + "Take 400 mg of ibuprofen. Rest well."
    after, rules = fitted(record("Why is that?", answer))
    assert after.turns[1].text == "It is a sprain. " + sentence(14) + "Take 400 mg of ibuprofen. Rest well."
    assert (rules, after.answer_cut) == ({"answer shortened": 1}, False)


def test_an_answer_without_its_end_is_marked() -> None:
    after, _ = fitted(record("Why is that?", "Take it twice daily. " + sentence(60)))
    assert after.turns[1].text.startswith("Take it twice daily.")
    assert after.answer_cut


def test_an_answer_of_one_endless_sentence_is_cut_within_it() -> None:
    after, _ = fitted(record("Why is that?", sentence(90)))
    assert words([after.turns[1].text]) == [37]
    assert after.answer_cut


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_oldest_rounds_of_a_dialogue_go(split: str) -> None:
    rounds = [sentence(6), sentence(7)] * 4
    # 20 + 2 x 5 template + 3 x 13 words = 69 tokens: three rounds would fit into 70, but not with what was
    # told first before them.
    cutoff = 63 if split == "test" else 70  # the reference need not fit
    after, rules = fitted(record(*rounds, split=split), cutoff=cutoff)
    assert [t.text for t in after.turns] == [f"{rounds[0]}\n{rounds[4]}", *rounds[5:]]
    assert (rules, after.answer_cut) == ({"description kept": 1, "oldest turns": 3}, False)


def test_a_last_round_too_long_for_itself_is_shortened() -> None:
    one = record("And now?", sentence(5), sentence(30) + "What is it?", sentence(20))
    after, rules = fitted(one)
    assert len(after.turns) == 2
    assert rules == {"description kept": 1, "oldest turns": 1, "question shortened": 1}
    assert after.turns[0].text == "And now?\nWhat is it?"


def test_test_records_keep_their_reference() -> None:
    reference = sentence(300)
    rounds = [sentence(10), sentence(10), sentence(9), sentence(9), "So what now?", reference]
    after, rules = fitted(record(*rounds, split="test"))
    # 20 + 5 + 9 + 9 + 3 = 46 of 60, and the ten words that were told first.
    assert [t.text for t in after.turns] == [f"{rounds[0]}\n{rounds[2]}", *rounds[3:]]
    assert rules == {"description kept": 1, "oldest turns": 1}
    after, rules = fitted(record(sentence(30) + "Should I worry? " + sentence(30), reference, split="test"))
    assert after.turns[1].text == reference
    assert (set(rules), after.answer_cut) == ({"question shortened"}, False)
    assert "Should I worry?" in after.turns[0].text


def test_the_context_counts_and_is_shortened_before_the_instruction() -> None:
    one = record("Summarize the text.", sentence(10), context=sentence(15) + sentence(30), task="instruction")
    after, _ = fitted(one)
    assert after.turns[0].text == "Summarize the text."
    assert after.context == sentence(15).strip()


def test_an_abstract_keeps_its_aims_and_findings() -> None:
    abstract = (
        "Asthma is common. " + sentence(12) + "We investigated whether salt matters. " + sentence(12)
        + "Salt intake was associated with more attacks. " + sentence(12) + "Diet deserves attention."
    )  # fmt: skip
    after, _ = fitted(record(abstract, sentence(20), task="summary"))
    assert after.turns[0].text == (
        "Asthma is common. We investigated whether salt matters. "
        "Salt intake was associated with more attacks. Diet deserves attention."
    )


def test_negation_drug_dose_and_allergy_go_last() -> None:
    for kept in (
        "I am allergic to nuts.",
        "I take amoxicillin now.",
        "It was 20 mg then.",
        "I never fainted there.",
    ):
        text = f"Hello there doctor. {sentence(6)}{kept} {sentence(6)}Kind regards to you."
        assert shortened(text, 8, "en") == "Hello there doctor. " + kept
    text = "医生您好。" + "今天天气很好。" * 3 + "孩子对青霉素过敏。" + "今天天气很好。" * 3 + "谢谢您了。"
    assert shortened(text, 16, "zh") == "医生您好。孩子对青霉素过敏。"


def test_chinese_is_cut_at_sentences_and_clauses() -> None:
    text = "我今年五十岁。平时喜欢散步，天气也好，花都开了。最近头痛三天，血压150/95。该吃什么药？"
    assert shortened(text, 24, "zh") == "我今年五十岁。最近头痛三天，血压150/95。该吃什么药？"
    assert shortened("头痛" * 40, 10, "zh") == "头痛" * 5


@pytest.mark.parametrize(
    ("text", "language", "whole"),
    [
        ("take 5 mg of it", "en", "5 mg"), ("at 120/80 mmHg or so", "en", "120/80 mmHg"),
        ("use 2 - 3 tablets now", "en", "2 - 3 tablets"), ("体温38.5℃左右", "zh", "38.5℃"),
        ("饭后每日3次服用", "zh", "每日3次"), ("服用0.5 毫克即可", "zh", "0.5 毫克"), ("服用两片即可", "zh", "两片"),
        ("共3，000毫升水", "zh", "3，000毫升"),
    ],
)  # fmt: skip
def test_a_number_is_never_parted_from_its_unit(text: str, language: str, whole: str) -> None:
    def characters(texts: Sequence[str]) -> list[int]:
        return [len(t) for t in texts]

    start = text.index(whole)
    for budget in range(len(text)):
        left = text[: cut(text, budget, language, characters)]
        assert not start < len(left) < start + len(whole)
        assert len(left) <= budget
    for budget in range(1, len(text)):
        left = apply(text, shorten(text, budget, language, "question", characters))
        assert whole in left or not set(whole) & set("0123456789两") & set(left)


def test_a_template_without_room_is_an_error() -> None:
    with pytest.raises(MulmedError, match="takes 20 of 30 tokens"):
        truncate_records([], 30, OVERHEAD, words)


def test_cut() -> None:
    assert cut("one two three four", 2, "en", words) == len("one two")
    assert cut("头痛三天了", 4, "zh", words) == 4
    assert cut("a" * 10, 3, "en", lambda ts: [len(t) for t in ts]) == 3


class Bounded:
    """Counts words; its bounds are far too high."""

    def __init__(self) -> None:
        self.counted = 0

    def at_most(self, texts: Sequence[str]) -> list[int]:
        return [3 * n for n in words(texts)]

    def __call__(self, texts: Sequence[str]) -> list[int]:
        self.counted += len(texts)
        return words(texts)


def test_bounds_spare_counting_and_change_nothing() -> None:
    records = [record(sentence(n), sentence(n)) for n in (2, 3, 15, 30)]
    count = Bounded()
    assert truncate_records(records[:2], 60, OVERHEAD, count).outcomes == [Outcome(r) for r in records[:2]]
    assert count.counted == 0
    assert truncate_records(records, 60, OVERHEAD, count) == truncate_records(records, 60, OVERHEAD, words)


def test_clinical_mentions() -> None:
    text = "No allergies. I don't take amoxicillin or 20 mg of omeprazole, but 5mg Warfarin; in April, my cholesterol."
    assert mentions(signs(text, "en")) == {"allergy": 1, "dose": 2, "drug": 3, "negation": 2}
    assert mentions(signs("对青霉素过敏，没有发烧，不过在吃布洛芬每次两片，头孢0.5克。", "zh")) == {
        "allergy": 1, "dose": 2, "drug": 3, "negation": 1
    }  # fmt: skip


def test_a_share_is_no_dose() -> None:
    assert mentions(signs("A rash in 90% of them; 5 mg daily.", "en"))["dose"] == 2
    assert mentions(signs("治愈率90%，每日3次，每次0.5克。", "zh"))["dose"] == 2


@pytest.mark.parametrize(
    ("text", "language", "doses"),
    [
        ("Rinse with 0.9% saline.", "en", 1), ("Try hydrocortisone 1%.", "en", 1), ("A 1% cream helps", "en", 1),
        ("clindamycin (1 %) gel", "en", 1), ("use 2.5% hydrocortisone lotion", "en", 1),
        ("输5%葡萄糖。", "zh", 1), ("用0.9％氯化钠冲洗", "zh", 1), ("0.5%左氧氟沙星滴眼液", "zh", 1),
        ("葡萄糖5%静滴", "zh", 1), ("外用氢化可的松（1%）", "zh", 1), ("2%的硼酸溶液", "zh", 1),
        ("It helps 90% of people.", "en", 0), ("It came back in 20%. Antibiotics failed.", "en", 0),
        ("We gave aspirin, and 20% bled", "en", 0), ("50% of aspirin users", "en", 0),
        ("With aspirin 20% of them bled", "en", 0), ("治愈率90%。", "zh", 0), ("20%的患者使用激素", "zh", 0),
        ("激素对30%的人有效", "zh", 0), ("服用头孢90%会好", "zh", 0), ("有效率90%，激素", "zh", 0),
    ],
)  # fmt: skip
def test_a_strength_is_a_dose_and_a_share_is_none(text: str, language: str, doses: int) -> None:
    assert mentions(signs(text, language))["dose"] == doses


@pytest.mark.parametrize(
    ("text", "language", "allergies"),
    [
        ("I am allergic to dust.", "en", 1), ("an allergic reaction", "en", 1), ("ALLERGIC, asthma too", "en", 1),
        ("(allergic rhinitis) and a nut allergy", "en", 1), ("Allergic asthma.", "en", 0),
        ("allergic contact dermatitis, allergic\nconjunctivitis", "en", 0), ("See an allergist.", "en", 0),
        ("antiallergic drops", "en", 0), ("non-allergic rhinitis", "en", 0), ("test for allergens", "en", 0),
        ("建议查过敏原", "zh", 0), ("查了过敏源，对花粉过敏", "zh", 1),
        ("对青霉素过敏", "zh", 1), ("过敏性鼻炎，对花粉过敏", "zh", 1), ("过敏性休克", "zh", 1), ("过敏体质", "zh", 1),
        ("过敏性鼻炎", "zh", 0), ("过敏性紫癜", "zh", 0), ("过敏鼻炎", "zh", 0), ("吃抗过敏药", "zh", 0),
    ],
)  # fmt: skip
def test_the_name_of_a_disease_is_no_allergy(text: str, language: str, allergies: int) -> None:
    assert mentions(signs(text, language))["allergy"] == allergies


def plain_signs(text: str) -> Counter[str]:
    """The kinds of Chinese content, looked up place by place: of the literals there the first one."""
    literals = [(kind, literal) for kind, all_ in salience._CHINESE.items() for literal in all_.split("|")]
    found: Counter[str] = Counter()
    text, i = text.lower(), 0
    while i < len(text):
        kind, literal = next(
            ((kind, literal) for kind, literal in literals if text.startswith(literal, i)), ("", " ")
        )
        found["allergy" if kind == "reaction" else kind] += kind in salience._KINDS or kind == "reaction"
        i += len(literal)
    return +found


_LITERALS = [literal for all_ in salience._CHINESE.values() for literal in all_.split("|")]
_PIECES = st.sampled_from([*_LITERALS, *{c for literal in _LITERALS for c in literal}, "CT", "。", "我"])


@given(st.lists(_PIECES, max_size=30).map("".join))
def test_chinese_literals_are_found_as_place_by_place(text: str) -> None:
    shown = Counter(
        kind for bits in signs(text, "zh") for i, kind in enumerate(salience._KINDS) if bits >> i & 1
    )
    assert shown == plain_signs(text)


def plain_ends(text: str, language: str) -> list[int]:
    """Where sentences end, read one character after another."""
    size, ends, i = len(text), list[int](), 0
    marks, closing = (".!?…", "\"'”’)]") if language == "en" else ("。！？!?；;….", "”’」』）)】]")

    def is_mark(k: int) -> bool:
        # A Chinese full stop of one byte stands in numbers and links as well.
        free = language == "en" or k + 1 >= size or text[k + 1].isspace()
        return k < size and text[k] in marks and (text[k] != "." or free)

    while i < size:
        end = i
        if text[i] == "\n":
            while end < size and text[end] == "\n":
                end += 1
        elif is_mark(i):
            while is_mark(end):
                end += 1
            while end < size and text[end] in closing:
                end += 1
            word = end + 1 < size and "A" <= text[end] <= "Z" and "a" <= text[end + 1] <= "z"
            if language == "en" and not word and not text[end : end + 1].isspace():
                i += 1
                continue
            while end < size and text[end].isspace():
                end += 1
        else:
            i += 1
            continue
        sentence = text[ends[-1] if ends else 0 : i + 1]
        alone = text[i:end].rstrip() == "." and "\n" not in text[i:end]
        if language == "zh" or not (alone and sentence_rules._ABBREVIATION.search(sentence)):
            ends.append(end)
        i = end
    return ends if not text or (ends and ends[-1] == size) else [*ends, size]


_FRAGMENTS = st.sampled_from(
    ["Dr", "approx", "napprox", "e.g", "No", "1", "12", "123", "Take", "tablets", "é", "a", "A", " ", "  ", "\n", "\t",
     ".", "...", "!", "?", "…", '"', "”", ")", "]", "，", "。", "；", "头痛", "」", "Ba"]
)  # fmt: skip


@given(st.lists(_FRAGMENTS, max_size=25).map("".join), st.sampled_from(["en", "zh"]))
def test_sentences_end_as_read_one_character_after_another(text: str, language: str) -> None:
    assert sentence_ends(text, language) == plain_ends(text, language)
    assert "".join(sentences(text, language)) == text


def test_what_only_seems_to_deny_hides_no_allergy() -> None:
    counts = mentions(signs("不过对青霉素不过敏，别的都不清楚，无论如何。", "zh"))
    assert counts == {"allergy": 1, "dose": 0, "drug": 1, "negation": 1}


def test_sentences_end_where_they_do() -> None:
    assert sentences("See Dr. Li. 1. rest!\n\nTake 2.5 mg.Then go (now.) ok", "en") == [
        "See Dr. Li. ", "1. rest!\n\n", "Take 2.5 mg.", "Then go (now.) ", "ok",
    ]  # fmt: skip
    assert sentences("血压150。吃2.5片？”好\n\n谢谢. 再见", "zh") == [
        "血压150。",
        "吃2.5片？”",
        "好\n\n",
        "谢谢. ",
        "再见",
    ]
    assert sentences("", "en") == []


def test_an_older_answer_that_is_shortened_keeps_its_end() -> None:
    rounds = [
        "Hello.",
        sentence(9) + "Take 5 mg of warfarin. " + sentence(9),
        "And?",
        "Yes.",
        "Now?",
        sentence(8),
    ]
    after, rules = fitted(record(*rounds))
    # 20 + 10 of the template and 12 words leave 18 of the 24 words of the first round.
    assert after.turns[1].text == "Take 5 mg of warfarin. " + sentence(9)
    assert (rules, after.answer_cut) == ({"answer shortened": 1}, False)


def test_mentions_are_counted_against_cutting_at_the_right() -> None:
    one = record(sentence(30) + "I take 5 mg of warfarin.", "Never stop it. " + sentence(10))
    counts = truncate_records([one, record("Hi.", "No.")], 60, OVERHEAD, words).mentions
    # 40 words fit: the first 30 are filler, then the question's end, four words of the answer.
    assert counts["records"] == 1
    assert (counts["drug before"], counts["drug kept"], counts["drug cut at the right"]) == (1, 1, 1)
    late = record(sentence(45) + "I take 5 mg of warfarin.", "Never stop it. " + sentence(10))
    counts = truncate_records([late], 60, OVERHEAD, words).mentions
    assert (counts["dose before"], counts["dose kept"], counts["dose cut at the right"]) == (1, 1, 0)
    assert (counts["negation before"], counts["negation kept"], counts["negation cut at the right"]) == (
        2,
        2,
        0,
    )


def test_an_allergy_matters_more_than_a_dose() -> None:
    told = "We met. I take 5 mg daily. I am allergic to nuts. Bye now."
    assert shortened(told, 5, "en") == "I am allergic to nuts."


def test_sentences_that_stay_are_parted_by_the_space_that_stood_between_them() -> None:
    text = "It leads to this, as we all know, and to pain. This is bad."
    kept = [(0, len("It leads to this,")), (text.index("This is"), len(text))]
    assert apply(text, without(text, kept)) == "It leads to this, This is bad."
    # In Chinese there is none.
    text = "疼痛，我们都知道，很难受。怎么办？"
    kept = [(0, len("疼痛，")), (text.index("怎么办"), len(text))]
    assert apply(text, without(text, kept)) == "疼痛，怎么办？"


def test_importance_ranks_place_and_clinical_content() -> None:
    parts = ["Hello all.", "We like tea.", "Fever 39.5 °C for 3 days.", "We like it.", "Bye now."]
    scores = importance([signs(part, "en") for part in parts], "question")
    assert sorted(range(5), key=lambda i: (-scores[i][0], -scores[i][1], i)) == [2, 0, 4, 1, 3]


_SENTENCES = st.lists(
    st.sampled_from(
        [
            sentence(4),
            sentence(9),
            sentence(23),
            "Is it bad? ",
            "Fever for 3 days. ",
            "I am allergic to nuts. ",
            "It never hurt. ",
            "对青霉素过敏。",
            "头痛三天，怎么办？",
            "血压150。",
            "x" * 30,
        ]
    ),
    min_size=1,
    max_size=12,
).map("".join)


@given(
    st.lists(_SENTENCES, min_size=2, max_size=8).filter(lambda ts: len(ts) % 2 == 0),
    st.sampled_from(["train", "test"]),
    st.integers(min_value=36, max_value=90),
    st.sampled_from(["en", "zh"]),
    st.sampled_from(["", sentence(12)]),
)
def test_everything_fits_and_nothing_is_empty_or_invented(
    texts: list[str], split: str, cutoff: int, language: str, context: str
) -> None:
    one = record(*texts, split=split, language=language, context=context)
    (outcome,) = truncate_records([one], cutoff, OVERHEAD, jumpy).outcomes
    after = outcome.record
    assert after is not None
    rounds = len(after.turns) // 2
    read = [after.context, *(t.text for t in (after.turns[:-1] if split == "test" else after.turns))]
    assert sum(jumpy(read)) + 20 + 5 * (rounds - 1) <= cutoff
    assert all(turn.text for turn in after.turns)
    if split == "test":
        assert after.turns[-1].text == texts[-1]
    kept = one.turns[-len(after.turns) :]
    assert [t.role for t in after.turns] == ["user", "assistant"] * rounds
    gone = len(one.turns) - len(kept)
    told = "\n".join(t.text for t in one.turns[:gone:2])
    if not any(f.edit for f in outcome.findings if f.field == f"turns[{gone}]"):
        assert after.turns[0].text.endswith(kept[0].text)  # an answer stands after its question
    for i, (new, old) in enumerate(zip(after.turns, kept, strict=True)):
        letters = iter(old.text if i else f"{told}\n{old.text}")
        assert all(letter in letters for letter in new.text)  # a subsequence of the original
    if not after.answer_cut:
        assert after.turns[-1].text.rstrip()[-1] == kept[-1].text.rstrip()[-1]
