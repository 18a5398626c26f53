"""Table 1 and the histograms on worked examples, and against a plain count."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.batch import to_batch
from mulmed.corpus.record import Record, Split, Task, Turn
from mulmed.corpus.sources import read
from mulmed.corpus.sources.layout import Found
from mulmed.corpus.statistics import (
    histogram,
    histograms,
    lengths,
    removals_by_group,
    splits,
    statistics,
    table1,
)
from mulmed.recipe import Source

REAL = Path(os.environ.get("MULMED_DATA", Path(__file__).parents[3] / "shared" / "data"))


def record(
    source: str, task: Task, language: str, *texts: str, context: str = "", split: Split = "train"
) -> Record:
    turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    return Record("id", task, language, turns, source, "file", 0, context=context, split=split)


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("I've  had a 38.5 °C fever - since\nMonday .", "en", 8),
        ("", "en", 0),
        ("咳嗽 三天，\n38.5℃。", "zh", 11),
        ("　\t", "zh", 0),
        ("頭痛がする。", "ja", 6),
    ],
)
def test_lengths_are_in_words_or_characters(text: str, language: str, expected: int) -> None:
    (row,) = lengths([record("a", "qa", language, "x", text)]).to_dicts()
    assert row["answer"] == expected
    assert row["unit"] == ("words" if language == "en" else "characters")


RECORDS = [
    record("plos", "summary", "en", "one two three", "one"),
    record("plos", "summary", "en", "one two", "one two", split="test"),
    record("haodf", "dialogue", "zh", "头痛怎么办", "多休息", "还要吃药吗？我很担心", "不用", split="test"),
    record("haodf", "dialogue", "zh", "头痛", "嗯", "吗", "是", "吗", "是"),
    record("haodf", "qa", "zh", "咳", "多喝水"),
    record("alpaca", "instruction", "en", "Add these:", "five", context="two three"),
]
BATCH = to_batch(RECORDS)


def test_table1_has_a_row_a_source_task_and_language() -> None:
    def row(source: str, task: str, language: str, size: int, **means: float) -> dict[str, object]:
        names = ("abstract", "summary", "question", "answer", "turns")
        return {"source": source, "task": task, "language": language, "size": size} | {
            name: means.get(name) for name in names
        }

    assert table1(lengths(RECORDS)) == [
        row("plos", "summary", "en", 2, abstract=2.5, summary=1.5),
        # a dialogue's later rounds count as turns, not as length
        row("haodf", "dialogue", "zh", 2, question=3.5, answer=2.0, turns=2.5),
        row("haodf", "qa", "zh", 1, question=1.0, answer=3.0),
        row("alpaca", "instruction", "en", 1, question=4.0, answer=1.0),
    ]


def test_splits_count_every_record_once() -> None:
    rows = splits(BATCH)
    assert sum(row["records"] for row in rows) == len(RECORDS)
    plos = {"source": "plos", "task": "summary", "language": "en", "records": 1}
    assert plos | {"split": "test"} in rows
    assert plos | {"split": "train"} in rows


def test_histograms_name_field_and_unit() -> None:
    assert [(h["source"], h["field"], h["unit"]) for h in histograms(lengths(RECORDS))] == [
        ("alpaca", "answer", "words"),
        ("alpaca", "question", "words"),
        ("haodf", "answer", "characters"),
        ("haodf", "question", "characters"),
        ("plos", "abstract", "words"),
        ("plos", "summary", "words"),
    ]


def test_a_long_tail_falls_into_one_last_bar() -> None:
    result = histogram([*range(100), 100_000])
    assert result["edges"] == [*range(0, 101, 5), 100_001]
    assert result["counts"] == [5] * 20 + [1]
    assert histogram([0, 0]) == {"edges": [0, 1], "counts": [2]}
    assert histogram([7]) == {"edges": list(range(9)), "counts": [0] * 7 + [1]}


@given(st.lists(st.integers(0, 5000), min_size=1))
def test_a_histogram_holds_every_value_in_its_bar(values: list[int]) -> None:
    result = histogram(values)
    edges, counts = result["edges"], result["counts"]
    assert len(edges) == len(counts) + 1
    assert edges == sorted(set(edges))
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        assert count == sum(low <= value < high for value in values)
    assert sum(counts) == len(values)


def test_each_part_is_measured_at_its_own_stage() -> None:
    result = statistics(
        lengths(RECORDS), lengths(RECORDS[:3]), BATCH.head(2), removals={}, mentions={"drug kept": 3}
    )
    assert sum(row["size"] for row in result["table1_raw"]) == 6
    assert sum(row["size"] for row in result["table1"]) == 3
    assert sum(sum(h["counts"]) for h in result["lengths"]) == 3 * 2
    assert sum(row["records"] for row in result["splits"]) == 2


@pytest.mark.skipif(not REAL.is_dir(), reason="no folder of real corpora; name one in MULMED_DATA")
def test_real_haodf_questions_are_as_long_as_the_paper_says() -> None:
    """Table 1: 148.8 characters a question. Only a form folded in as the authors did comes near."""
    path = REAL / "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz"
    records = [
        Record("id", item.parsed.task, "zh", item.parsed.turns, "haodf", path.name, item.row)
        for item in read(Source(layout="meddialog-zh", path=path.name, language="zh"), path)
        if isinstance(item, Found)
    ]
    mean = lengths(records)["question"].mean()
    assert isinstance(mean, float)
    assert 140 < mean < 160


def test_removals_are_told_by_group() -> None:
    counts = {"age records": 50, "age removed": 1, "none records": 900, "none removed": 0}
    age, none = removals_by_group(counts)
    assert (age["group"], age["records"], age["removed"], age["share"]) == ("age", 50, 1, 0.02)
    assert age["low"] == pytest.approx(0.0035, abs=5e-5)  # Wilson 1927, as statsmodels gives it
    assert age["high"] == pytest.approx(0.1050, abs=5e-5)
    assert none["share"] == 0
