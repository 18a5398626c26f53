"""CSV, TSV and Parquet, and tables whose columns the recipe names."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mulmed.corpus.sources.layout import Found, Rejected
from mulmed.errors import MulmedError
from mulmed.recipe import Columns, Source
from mulmed.recipe.language import Language, using
from tests.corpus.reading import found, notes, read, reasons, texts, write

QA = Columns(question="q", answer="a")


def parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=3)
    return path


def test_toyhom_is_read_from_gb18030_and_its_title_is_said_once(tmp_path: Path) -> None:
    content = (
        "department,title,ask,answer\n"
        '内科,感冒吃什么药？,"我感冒了，\n请问感冒吃什么药？",多喝水。\n'
        '内科,夜里咳嗽怎么办,三十岁，男,"先""拍片""。"\n'
        "内科,头痛,,休息。\n"
        "内科,,,休息。\n"
        "内科,头痛,三天,\n"
    )
    path = write(tmp_path / "a.csv.gz", gzip.compress(content.encode("gb18030")))
    items = list(read("toyhom", path, "zh", encoding="gb18030"))
    assert [texts(item) for item in items[:3]] == [
        ["我感冒了，\n请问感冒吃什么药？", "多喝水。"],
        ["夜里咳嗽怎么办\n三十岁，男", '先"拍片"。'],
        ["头痛", "休息。"],
    ]
    assert items[3:] == [Rejected(3, 6, "no question"), Rejected(4, 7, "answer is empty")]
    assert [item.line for item in items] == [2, 4, 5, 6, 7]


def test_raw_healthcaremagic_and_the_lists_of_huatuo(tmp_path: Path) -> None:
    content = "Description,Patient,Doctor\r\nIs it bad?,My knee hurts.,Rest it.\r\n"
    (item,) = found("ai-medical-chatbot", write(tmp_path / "a.csv", content))
    assert texts(item) == ["My knee hurts.", "Rest it."]
    rows = [
        {"id": "", "instruction": ["咳嗽怎么办"], "input": "", "output": ["多喝水"]},
        {"id": "", "instruction": ["咳嗽怎么办", "咳嗽了"], "input": "", "output": ["多喝水"]},
        {"id": "", "instruction": [], "input": "", "output": ["多喝水"]},
        {"id": "", "instruction": ["咳嗽"], "input": "", "output": [1]},
    ]
    path = write(tmp_path / "a.json", json.dumps(rows))
    items = [item for item in read("huatuo26m", path, "zh") if isinstance(item, Found)]
    assert [texts(item) for item in items] == [["咳嗽怎么办", "多喝水"]] * 2
    assert [notes(item) for item in items] == [{}, {"further texts of a list left out": 1}]
    assert reasons("huatuo26m", path, "zh") == ["instruction is not text", "output is not text"]


@pytest.mark.parametrize("ending", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_columns_are_the_same_whatever_the_format(tmp_path: Path, ending: str) -> None:
    rows = [
        {"n": "1", "topic": "knee", "q": 'It "hurts",\nbadly.', "a": "Rest\tit.", "lang": "en"},
        {"n": "2", "topic": "膝盖", "q": "疼吗？", "a": "疼。", "lang": "zh"},
        {"n": "3", "topic": "back", "q": "Hm", "a": " ", "lang": "en"},
        {"n": "4", "topic": "back", "q": "Hm", "a": "Ok", "lang": "Chinese"},
    ]
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        parquet(path, rows)
    elif ending == "json":
        write(path, json.dumps(rows))
    elif ending == "jsonl":
        write(path, "\n".join(map(json.dumps, rows)))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="," if ending == "csv" else "\t")
            writer.writeheader()
            writer.writerows(rows)
    columns = Columns(question=("topic", "q"), answer="a", language="lang")
    items = list(read("columns", path, columns=columns))
    assert [texts(item) for item in items[:2]] == [
        ['knee\nIt "hurts",\nbadly.', "Rest\tit."],
        ["膝盖\n疼吗？", "疼。"],
    ]
    assert [item.parsed.language for item in items if isinstance(item, Found)] == ["en", "zh"]
    assert [item.reason for item in items if isinstance(item, Rejected)] == [
        "a is empty",
        "language is not a two-letter code",
    ]
    assert [item.row for item in items] == [0, 1, 2, 3]


def test_columns_of_instructions_and_of_dialogues(tmp_path: Path) -> None:
    rows = [
        {"do": "Translate.", "on": "fever", "out": "发热 is fever"},
        {"do": "Name a bone.", "on": None, "out": "The femur."},
    ]
    columns = Columns(question="do", answer="out", context="on", task="instruction")
    items = found("columns", parquet(tmp_path / "a.parquet", rows), columns=columns)
    assert [(item.parsed.task, item.parsed.context) for item in items] == [
        ("instruction", "fever"),
        ("instruction", ""),
    ]
    chats = [
        {"q": "And now?", "a": "Rest.", "past": [["It hurts.", "Where?"], ["Here.", "I see."]]},
        {"q": "And now?", "a": "Rest.", "past": []},
        {"q": "And now?", "a": "Rest.", "past": [["It hurts."]]},
    ]
    columns = Columns(question="q", answer="a", history="past")
    path = parquet(tmp_path / "b.parquet", chats)
    items = [item for item in read("columns", path, columns=columns) if isinstance(item, Found)]
    assert [texts(item) for item in items] == [
        ["It hurts.", "Where?", "Here.", "I see.", "And now?", "Rest."],
        ["And now?", "Rest."],
    ]
    assert [item.parsed.task for item in items] == ["dialogue", "qa"]
    assert reasons("columns", path, columns=columns) == ["history is not a list of pairs of texts"]


def test_a_column_that_is_not_there_is_an_error_that_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "question,answer\nWhy?,Because.\n")
    with pytest.raises(MulmedError, match=r"'questions' \(did you mean 'question'\?\)") as caught:
        list(read("columns", path, columns=Columns(question="questions", answer="answer")))
    assert caught.value.where.endswith("a.csv, columns.question")
    assert "answer, question" in caught.value.remedy
    with pytest.raises(MulmedError, match="No column is called 'reply'"):
        list(read("columns", path, columns=Columns(question="question", answer="reply")))
    # keys of JSON that only some rows have are no error
    rows = [{"q": "Why?", "a": "So."}, {"q": "How?", "a": "Thus.", "lang": "en"}]
    path = write(tmp_path / "a.json", json.dumps(rows))
    assert len(found("columns", path, columns=Columns(question="q", answer="a", language="lang"))) == 2


def test_columns_and_their_layout_go_together() -> None:
    with pytest.raises(ValidationError, match="belong together"):
        Source(layout="columns", path="a.csv", language="en")
    with pytest.raises(ValidationError, match="belong together"):
        Source(layout="alpaca", path="a.json", language="en", columns=QA)
    with pytest.raises(ValidationError, match="belongs to `task: instruction`"):
        Columns(question="q", answer="a", context="c")
    with pytest.raises(ValidationError, match="belongs to `task: qa`"):
        Columns(question="q", answer="a", history="h", task="summary")


def test_broken_rows_are_rejected_and_the_next_ones_read(tmp_path: Path) -> None:
    content = 'q,a\n1,2,3\n"a"b,c\n\nWhy?,So.\nalone\n"never closed,x\ny\n'
    items = list(read("columns", write(tmp_path / "a.csv", content), columns=QA))
    assert items[:2] == [
        Rejected(0, 2, "row has more or fewer columns than the header"),
        Rejected(1, 3, "quotation marks are broken"),
    ]
    assert texts(items[2]) == ["Why?", "So."]
    assert (items[2].row, items[2].line) == (2, 5)
    assert items[3:] == [
        Rejected(3, 6, "row has more or fewer columns than the header"),
        Rejected(4, 7, "quotation marks are broken"),
    ]


@pytest.mark.parametrize(
    ("header", "problem"), [("q,a,q", "'q' names two columns"), ('"q,a', "unexpected end")]
)
def test_a_header_that_names_no_columns_is_an_error(tmp_path: Path, header: str, problem: str) -> None:
    with pytest.raises(MulmedError, match=problem) as caught:
        list(read("columns", write(tmp_path / "a.csv", header + "\n1,2,3\n"), columns=QA))
    assert caught.value.where.endswith("line 1")


def test_parquet_that_is_none_or_in_another_encoding_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="cannot be read as Parquet"):
        list(read("columns", write(tmp_path / "a.parquet", "q,a\n1,2\n"), columns=QA))
    path = parquet(tmp_path / "b.parquet", [{"q": "x", "a": "y"}])
    with pytest.raises(MulmedError, match="always UTF-8"):
        list(read("columns", path, columns=QA, encoding="gbk"))


ANY_SCRIPT = Language(
    code="fr",
    name="French",
    own_name="français",
    letters=r"\w\W",
    instructions={"qa": "Répondez :"},
    stop_words=("le",),
)


@given(st.lists(st.tuples(st.text(min_size=1), st.text(min_size=1)), min_size=1))
def test_csv_comes_back_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("q", "a"), *pairs])
    path = write(tmp_path_factory.mktemp("csv") / "a.csv", buffer.getvalue())
    # Of a language in which anything may be a letter: what is drawn is not asked for its script.
    with using([ANY_SCRIPT]):
        items = list(read("columns", path, "fr", columns=QA))
    assert [texts(item) for item in items if isinstance(item, Found)] == [
        [question, answer] for question, answer in pairs if question.strip() and answer.strip()
    ]
    assert len(items) == len(pairs)
