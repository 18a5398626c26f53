"""Which of two equal records goes, and which records are equal."""

from __future__ import annotations

from typing import Any

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.deduplicate import deduplicate, normal_form
from mulmed.corpus.record import Record, Turn


def record(row: int, question: str, answer: str, **more: Any) -> Record:
    fields: dict[str, Any] = {"task": "qa", "language": "en"} | more
    turns = (Turn("user", question), Turn("assistant", answer))
    return Record(id=f"s:{row}", turns=turns, source="s", file="f", row=row, **fields)


def survivors(*records: Record) -> tuple[list[str], dict[str, str]]:
    result = deduplicate(to_batch(records))
    return [r.id for r in from_batch(result.batch)], {a["id"]: a["detail"] for a in result.audit.to_dicts()}


def test_the_first_stays_and_the_audit_names_it() -> None:
    assert survivors(record(0, "a", "b"), record(1, "c", "d"), record(2, "a", "b"), record(3, "a", "b")) == (
        ["s:0", "s:1"],
        {"s:2": "s:0", "s:3": "s:0"},
    )


def test_case_width_space_and_punctuation_do_not_count() -> None:
    ids, _ = survivors(
        record(0, "Why am I tired?", "Sleep - a lot!"), record(1, "WHY AM I TIRED", "ｓｌｅｅｐ, a  lot."),
        record(2, "Straße ﬁn?", "ja"), record(3, "STRASSE FIN", "JA"),
    )  # fmt: skip
    assert ids == ["s:0", "s:2"]


def test_the_same_question_with_another_answer_or_context_is_no_duplicate() -> None:
    ids, _ = survivors(
        record(0, "a", "b"), record(1, "a", "c"), record(2, "a", "b", context="x"), record(3, "ab", "")
    )
    assert len(ids) == 4


def test_texts_of_signs_alone_are_compared_as_they_are() -> None:
    assert survivors(record(0, "?", "!"), record(1, "?", "?"), record(2, "?", "!"))[0] == ["s:0", "s:1"]


def test_a_test_record_is_never_dropped_for_a_training_record() -> None:
    records = [
        record(0, "a", "b"), record(1, "a", "b", split="validation"), record(2, "a", "b", split="test"),
        record(3, "c", "d"), record(4, "c", "d", split="validation"), record(5, "a", "b", split="test"),
    ]  # fmt: skip
    assert survivors(*records) == (["s:2", "s:4"], {"s:0": "s:2", "s:1": "s:2", "s:3": "s:4", "s:5": "s:2"})


def test_normal_form() -> None:
    assert normal_form("Ⅱ型糖尿病，（Ｔ２DM） １０ mg！") == "ii型糖尿病t2dm10mg"
