"""Insults and advertising go; every ordinary clinical word stays."""

from __future__ import annotations

import pytest

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.moderate import moderate, without_selling
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.sentences import sentences


def record(answer: str, question: str = "?", *, language: str = "en", task: str = "qa") -> Record:
    turns = (Turn("user", question), Turn("assistant", answer))
    return Record(id="s:0", task=task, language=language, turns=turns, source="s", file="f", row=0)  # type: ignore[arg-type]


def outcome_of(one: Record) -> tuple[str | None, dict[str, int]]:
    """The answer that is left (None: dropped) and the rules that fired."""
    result = moderate(to_batch([one]))
    kept = [r.turns[-1].text for r in from_batch(result.batch)]
    return (kept[0] if kept else None), {a["rule"]: a["count"] for a in result.audit.to_dicts()}


CLINICAL = {
    "en": [
        "Breast pain, anal itching, penile discharge and vaginal dryness are common; ask without shame.",
        "HIV and other sexually transmitted diseases spread through sex without a condom.",
        "If you think of suicide or want to kill yourself, call a helpline. I wanted to kill myself too, said he.",
        "My husband calls me a stupid fat bitch and hits me. Is this abuse?",
        "Black women have a higher risk of lupus; gay men should be offered the vaccine.",
        "Cocaine, heroin and cannabis raise the heart rate. Mental retardation and idiopathic disease differ.",
        "Do not believe in a miracle cure with a money-back guarantee.",
        "A great deal of water helps. About 20% of patients improve; buy paracetamol over the counter.",
        "Visit your doctor or the nearest hospital. Call us if the fever lasts? No, call your doctor.",
        "A free trial of aspirin was stopped; the lesion is a dirty wound and men are more often affected.",
    ],
    "zh": [
        "处女膜破裂、阴道出血、阳痿早泄、乳房胀痛、肛门瘙痒都可以看医生。",
        "性病、艾滋病、梅毒通过性生活传播，请使用避孕套。",
        "他想自杀，有人骂他是废物，长期遭受家暴和虐待。",
        "不要相信包治百病的祖传秘方和加微信卖药的广告，都是骗人的。",
        "弱智、神经病、精神分裂症患者需要关爱。黑人和女性更容易得这种病。",
        "吗啡、海洛因成瘾需要戒毒治疗；枪伤、刀伤立即止血。",
        "多喝热水，微信上查到的不一定准确，免费的疫苗可以打。",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, ts in CLINICAL.items() for t in ts])
@pytest.mark.parametrize("as_question", [True, False])
def test_clinical_text_stays(language: str, text: str, as_question: bool) -> None:
    answer = "Please rest well and drink a lot." if language == "en" else "请多休息，注意饮食清淡，按时吃药。"
    one = record(answer, text, language=language) if as_question else record(text, language=language)
    assert outcome_of(one) == (one.turns[-1].text, {})


@pytest.mark.parametrize(
    ("language", "answer", "rule"),
    [
        ("en", "You are a lazy idiot. Lose weight.", "insult"),
        ("en", "Nobody forces a fat pig like you to eat.", "insult"),
        ("en", "Immigrants are dirty and bring disease.", "hate"),
        ("zh", "你这个蠢货，滚远点。", "insult"),
        ("zh", "河南人都是骗子，活该生病。", "hate"),
        ("zh", "加微信[ACCOUNT]，祖传秘方包治百病，货到付款。", "advertisement"),
        ("en", "Visit our clinic today and get a 50% discount on every session!", "advertisement"),
        ("en", "Hello. For more information consult a dentist online", "referral"),
    ],
)
def test_records_that_are_dropped(language: str, answer: str, rule: str) -> None:
    left, rules = outcome_of(record(answer, language=language))
    assert left is None
    assert list(rules) == [rule]


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
    assert outcome_of(record(answer, language=language))[0] == left


def test_instructions_may_be_about_selling_but_are_not_spam() -> None:
    slogan = "Buy now! 50% off for everyone, limited time offer, order online at [URL]!"
    assert outcome_of(record(slogan, "Write an advertisement.", task="instruction"))[0] == slogan
    assert outcome_of(record(slogan, "How do I rest?", task="instruction"))[0] is None
    abstract = "The tool is available at [URL]. It finds genes and runs on every computer."
    assert outcome_of(record(abstract, abstract, task="summary"))[0] == abstract


def test_the_audit_counts_sentences_and_never_quotes() -> None:
    text = (
        "Rest in bed and drink two litres of water. Call our hotline now! Order now, please. Bye and sleep."
    )
    result = moderate(to_batch([record(text)]))
    (row,) = result.audit.to_dicts()
    assert (row["action"], row["rule"], row["count"], row["detail"]) == ("changed", "advertisement", 2, "")
    assert row["chars_before"] - row["chars_after"] == len("Call our hotline now! Order now, please. ")


def test_a_language_without_lexicons_passes() -> None:
    assert without_selling("Compra ahora", "es") == ("Compra ahora", [])


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
