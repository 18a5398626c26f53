"""A test question inside a training record is found, at the overlap it says."""

from __future__ import annotations

from typing import Any

import pytest

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.decontaminate import decontaminate, ngrams
from mulmed.corpus.record import Record, Turn
from mulmed.recipe import Decontaminate

QUESTION = "my head has hurt for three days and light makes it worse"  # 12 words: 5 n-grams of 8
CHINESE = "我头痛三天了，见光加重，还想吐，怎么办呢？"  # 17 characters: 6 n-grams of 12


def record(row: int, *texts: str, **more: Any) -> Record:
    fields: dict[str, Any] = {"task": "qa", "language": "en"} | more
    roles = ["user", "assistant"] * (len(texts) // 2)
    turns = tuple(Turn(role, text) for role, text in zip(roles, texts, strict=True))  # type: ignore[arg-type]
    return Record(id=f"s:{row}", turns=turns, source="s", file="f", row=row, **fields)


def details(*records: Record, overlap: float = 0.5) -> dict[str, str]:
    """Details of the records dropped; checks that all others are still there, in order."""
    result = decontaminate(to_batch(records), Decontaminate(overlap=overlap))
    dropped = {a["id"]: a["detail"] for a in result.audit.to_dicts()}
    assert [r.id for r in from_batch(result.batch)] == [r.id for r in records if r.id not in dropped]
    return dropped


def test_ngrams_by_hand() -> None:
    small = Decontaminate(ngram_en=2, ngram_zh=3)
    assert ngrams("It hurts, IT hurts badly!", "en", small) == {"it hurts", "hurts it", "hurts badly"}
    assert ngrams("头痛，三天。", "zh", small) == {"头痛三", "痛三天"}
    assert ngrams("头痛", "zh", small) == set()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_question_hidden_in_another_text_is_found(split: str) -> None:
    hidden = f"Hello doctor. {QUESTION.upper()}!! Thanks."
    assert details(
        record(0, "Other", "Well", split="test"),
        record(1, QUESTION, "Reference", split="test"),
        record(2, hidden, "Rest.", split=split),
        record(3, "Question?", hidden, split=split),
        record(4, "Nothing of the kind is in here at all, my friend", "Rest.", split=split),
    ) == {"s:2": "s:1 overlap 1.00", "s:3": "s:1 overlap 1.00"}


def test_the_threshold_is_the_share_of_the_test_questions_ngrams() -> None:
    part = " ".join(QUESTION.split()[:10])  # 3 of 5 n-grams
    records = [record(0, QUESTION, "R", split="test"), record(1, part + " indeed", "Rest.")]
    assert details(*records, overlap=0.6) == {"s:1": "s:0 overlap 0.60"}
    assert details(*records, overlap=0.61) == {}


def test_chinese_by_characters_across_punctuation() -> None:
    test = record(0, CHINESE, "答", split="test", language="zh")
    leak = record(1, "医生您好！我头痛三天了 见光加重 还想吐 怎么办呢", "休息", language="zh")
    other = record(2, "我头痛三天了怎么办呢，还要不要去医院检查一下呢", "休息", language="zh")
    assert details(test, leak, other) == {"s:1": "s:0 overlap 1.00"}


def test_short_questions_are_compared_whole() -> None:
    test = record(0, "Why am I tired?", "R", split="test")
    assert details(
        test, record(1, "why am i TIRED", "Sleep."), record(2, "Why am I tired and pale?", "Sleep."),
        record(3, "Hello", "Why am I tired?"),
    ) == {"s:1": "s:0 overlap 1.00"}  # fmt: skip


def test_thanks_at_the_end_of_a_test_dialogue_match_nothing() -> None:
    test = record(0, QUESTION, "Rest.", "Thanks!", "Welcome.", split="test", task="dialogue")
    assert details(test, record(1, "Is coffee bad for me?", "No.", "Thanks!", "Bye.", task="dialogue")) == {}


def test_test_records_stay_even_when_alike() -> None:
    assert details(record(0, QUESTION, "A", split="test"), record(1, QUESTION, "B", split="test")) == {}
