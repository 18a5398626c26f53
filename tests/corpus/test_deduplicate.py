"""Which of two equal or nearly equal records goes, and which records are alike."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.deduplicate import Duplicate, bands, duplicates, shingles, similarity, sketch
from mulmed.corpus.record import Record, Turn
from mulmed.recipe import Deduplicate

EXACT, NEAR = Deduplicate(near=None), Deduplicate()


def record(row: int, *texts: str, **more: Any) -> Record:
    fields: dict[str, Any] = {"task": "qa", "language": "en"} | more
    turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    return Record(id=f"s:{row}", turns=turns, source="s", file="f", row=row, **fields)


def gone(records: Sequence[Record], how: Deduplicate = NEAR, chunk: int = 3) -> dict[str, Duplicate]:
    """What goes, with the records handed over in chunks."""
    parts = [sketch(records[i : i + chunk], how) for i in range(0, len(records), chunk)]
    return duplicates(
        pl.concat(parts), lambda ids: shingles([r for r in reversed(records) if r.id in set(ids)]), how
    )


def survivors(*records: Record, how: Deduplicate = NEAR) -> list[str]:
    went = gone(records, how)
    return [r.id for r in records if r.id not in went]


def words(*numbers: int) -> str:
    return " ".join(f"w{n}" for n in numbers)


@pytest.mark.parametrize("how", [EXACT, NEAR])
def test_one_of_equal_records_stays_and_the_others_name_it(how: Deduplicate) -> None:
    records = [record(0, "a", "b"), record(1, "c", "d"), record(2, "a", "b"), record(3, "a", "b")]
    expected = Duplicate("s:0", "duplicate", 1.0)
    assert gone(records, how) == {"s:2": expected, "s:3": expected}
    assert [(f.rule, f.detail) for f in expected.outcome.findings] == [("duplicate", "s:0")]


def test_case_width_space_and_punctuation_do_not_count() -> None:
    assert survivors(
        record(0, "Why am I tired?", "Sleep - a lot!"), record(1, "WHY AM I TIRED", "ｓｌｅｅｐ, a  lot."),
        record(2, "Straße ﬁn?", "ja"), record(3, "STRASSE FIN", "JA"),
    ) == ["s:0", "s:2"]  # fmt: skip


def test_the_same_question_with_another_answer_or_context_is_no_duplicate() -> None:
    asked = words(*range(60))
    for how in (EXACT, NEAR):
        assert survivors(
            record(0, asked, "b"), record(1, asked, "c"), record(2, asked, "b", context="x"),
            record(3, asked + "b", ""), record(4, asked, "b", context="y"), how=how,
        ) == ["s:0", "s:1", "s:2", "s:3", "s:4"]  # fmt: skip


def test_texts_of_signs_alone_are_compared_as_they_are() -> None:
    assert survivors(record(0, "?", "!"), record(1, "?", "?"), record(2, "?", "!")) == ["s:0", "s:1"]


def test_a_test_record_is_never_dropped_for_a_training_record() -> None:
    records = [
        record(0, "a", "b"), record(1, "a", "b", split="validation"), record(2, "a", "b", split="test"),
        record(3, "c", "d"), record(4, "c", "d", split="validation"), record(5, "a", "b", split="test"),
    ]  # fmt: skip
    assert {k: v.kept for k, v in gone(records).items()} == {
        "s:0": "s:2", "s:1": "s:2", "s:3": "s:4", "s:5": "s:2"
    }  # fmt: skip


def test_two_test_records_are_not_joined_by_a_training_record_between_them() -> None:
    # 60 words: 56 shingles. Ten words more or less: 46 of 56 shingles, 0.82; twenty: 36 of 56, 0.64.
    a, b, c = (words(*range(i, i + 55)) for i in (0, 5, 10))
    records = [record(0, a, "Yes.", split="test"), record(1, b, "Yes."), record(2, c, "Yes.", split="test")]
    went = gone(records)
    assert set(went) == {"s:1"}
    assert went["s:1"].kept in ("s:0", "s:2")
    assert went["s:1"].similarity == 46 / 56


def test_similarity_by_hand() -> None:
    # Questions of 14 words: 10 shingles each, 8 in common; answers of 4 words: one shingle, the same.
    a, b = words(*range(14)), words(*range(2, 16))
    table = shingles([record(0, a, "Keep calm and rest."), record(1, b, "keep calm AND rest")])
    x, y = (np.frombuffer(row, np.uint64) for row in table["shingles"])
    assert (len(x), len(y)) == (11, 11)
    assert similarity(x, y) == 8 / 12
    assert similarity(x, x) == 1.0


def test_chinese_shingles_are_of_eight_characters() -> None:
    table = shingles([record(0, "孩子发烧两天了，怎么办？", "多喝水", language="zh")])
    assert len(table["shingles"][0]) == 8 * (3 + 1)  # 10 characters: 3 shingles; the answer whole


def test_near_duplicates_go_with_their_similarity() -> None:
    question = words(*range(100))
    other = words(*range(50), 777, *range(51, 100))  # 96 shingles each, 91 in common: 91 of 101
    went = gone([record(0, question, "Rest a lot."), record(1, other, "Rest a lot.")])
    ((id_, duplicate),) = went.items()
    assert {id_, duplicate.kept} == {"s:0", "s:1"}
    assert (duplicate.rule, duplicate.similarity) == ("near duplicate", 91 / 101)
    assert duplicate.outcome.findings[0].detail == f"{duplicate.kept} similarity 0.90"
    assert gone([record(0, question, "Rest a lot."), record(1, other, "Run a lot.")]) == {}


def test_common_courtesies_swallow_nothing() -> None:
    rows = [
        record(i, f"{symptom}好几天了", "建议休息", "谢谢医生", "不客气", language="zh", task="dialogue")
        for i, symptom in enumerate(("头痛", "胃痛", "牙痛", "腰痛", "咳嗽", "腹泻"))
    ]
    assert survivors(*rows) == [r.id for r in rows]


def test_what_equals_a_record_that_goes_names_the_one_that_stays() -> None:
    question, other = words(*range(100)), words(*range(99), 777)
    records = [record(i, other, "Rest.") for i in range(2)] + [record(2, question, "Rest.", split="test")]
    assert {k: (v.kept, v.rule) for k, v in gone(records).items()} == {
        "s:0": ("s:2", "near duplicate"), "s:1": ("s:2", "near duplicate")
    }  # fmt: skip


def test_every_pair_that_brute_force_finds_is_found() -> None:
    draw = random.Random(4)
    records, sets = [], []
    for i in range(150):
        numbers = [draw.randrange(3000) for _ in range(60)]
        for copy in range(2):
            changed = list(numbers)
            for _ in range(copy * draw.randrange(1, 4)):
                changed[draw.randrange(60)] = draw.randrange(3000)
            records.append(record(2 * i + copy, words(*changed), "Yes."))
            sets.append({tuple(changed[k : k + 5]) for k in range(56)})
    alike = {
        frozenset((records[i].id, records[j].id)): len(a & b) / len(a | b)
        for (i, a), (j, b) in itertools.combinations(enumerate(sets), 2)
        if len(a & b) / len(a | b) >= 0.8
    }
    assert len(alike) > 40
    found = {frozenset((id_, d.kept)): d.similarity for id_, d in gone(records, chunk=40).items()}
    assert found == alike


def test_banding_finds_pairs_at_the_threshold() -> None:
    assert bands(0.8) == (20, 6)  # 1 - (1 - 0.8**6)**20 = 0.998
    assert bands(0.5) == (40, 3)  # 1 - (1 - 0.5**3)**40 = 0.995


_WORDS = st.lists(st.integers(0, 40), min_size=1, max_size=30)


@given(st.data(), st.lists(_WORDS, min_size=2, max_size=8), st.integers(1, 5))
def test_what_stays_depends_on_neither_order_nor_chunks(
    data: st.DataObject, texts: list[list[int]], chunk: int
) -> None:
    changed = [[*t[:-1], 99] for t in texts]
    splits = data.draw(st.lists(st.sampled_from(["train", "validation", "test"]), min_size=len(texts) * 2))
    records = [
        record(i, words(*t), "Yes.", split=split)
        for i, (t, split) in enumerate(zip([*texts, *changed], splits, strict=False))
    ]
    shuffled = data.draw(st.permutations(records))
    assert gone(records, chunk=3) == gone(shuffled, chunk=chunk)


def test_width_case_and_signs_do_not_tell_records_apart() -> None:
    written = record(0, "Ⅱ型糖尿病，（Ｔ２DM） １０ mg！", "Yes.", language="zh")
    plain = record(1, "ii型糖尿病t2dm10mg", "yes", language="zh")
    other = record(2, "ii型糖尿病t2dm100mg", "yes", language="zh")
    (duplicate,) = gone([written, plain, other]).values()
    assert duplicate.rule == "duplicate"
    assert duplicate.kept in (written.id, plain.id)
