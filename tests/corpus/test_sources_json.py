"""JSON arrays and JSON Lines, whole, broken and large."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.sources.json_values import _Broken, _elements, _Window, json_value
from mulmed.corpus.sources.layout import Found, Rejected
from mulmed.errors import MulmedError
from tests.corpus.reading import found, notes, read, texts, write

ALPACA = [
    {"instruction": "Name a fruit.", "input": "", "output": "Apple."},
    {"instruction": "翻译成英文。", "input": "发烧", "output": "fever"},
    {"instruction": "Name a bone.", "output": "The femur."},
    {"instruction": "Name a vein.", "input": "No input", "output": "The jugular."},
]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ALPACA, ensure_ascii=False, indent=2),
        json.dumps(ALPACA),
        "\n\n" + json.dumps(ALPACA),
        "\n".join(json.dumps(row) for row in ALPACA) + "\n\n",
    ],
)
def test_alpaca_reads_arrays_and_json_lines_under_one_name(tmp_path: Path, content: str) -> None:
    items = found("alpaca", write(tmp_path / "a.json", content))
    assert [texts(item) for item in items] == [[row["instruction"], row["output"]] for row in ALPACA]
    assert [item.parsed.context for item in items] == ["", "发烧", "", ""]
    assert [item.row for item in items] == [0, 1, 2, 3]
    assert [notes(item) for item in items] == [{}, {}, {}, {"placeholder for no input": 1}]
    assert {item.parsed.task for item in items} == {"instruction"}


def test_a_rejected_record_tells_row_line_and_reason_and_the_next_is_read(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"instruction": "a", "output": " \n"},
        {"instruction": "a", "output": "<nooutput>"},
        {"instruction": None, "output": "b"},
        {"instruction": "a", "output": 5},
        {"instruction": "a", "input": ["x"], "output": "b"},
        ["a", "b"],
        {"instruction": "a", "output": "b"},
    ]
    reasons = [
        "output is empty",
        "output is empty",
        "instruction is missing",
        "output is not text",
        "input is not text",
        "record is not an object",
    ]
    array = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
    items = list(read("alpaca", write(tmp_path / "array.json", array)))
    assert items[:-1] == [Rejected(i, i + 2, reason) for i, reason in enumerate(reasons)]
    assert isinstance(items[-1], Found)
    assert (items[-1].row, items[-1].line) == (6, 8)

    as_lines = "\n".join(['{"instruction": "a", ', *(json.dumps(row) for row in rows[3:])])
    items = list(read("alpaca", write(tmp_path / "lines.jsonl", as_lines)))
    assert items[:2] == [Rejected(0, 1, "line is not valid JSON"), Rejected(1, 2, "output is not text")]
    assert isinstance(items[-1], Found)


@pytest.mark.parametrize(
    ("content", "line", "column", "problem"),
    [
        ('[\n {"instruction": "a", "output": "b"},\n]', 2, 37, "comma after the last"),
        ('[{"instruction": "a", "output": "b"}\n {"instruction": "c"}]', 2, 2, "expected a comma"),
        ('[\n  {"instruction": "a", "output": b}]', 2, 34, "expecting value"),
        ('[{"instruction": "a", "output": "b"}', 1, 37, "expected a comma or the end"),
        ('[] {"a": 1}', 1, 4, "follows the end"),
    ],
)
def test_a_broken_array_names_line_and_column(
    tmp_path: Path, content: str, line: int, column: int, problem: str
) -> None:
    with pytest.raises(MulmedError) as caught:
        list(read("alpaca", write(tmp_path / "a.json", content)))
    assert caught.value.where.endswith(f"a.json, line {line}, column {column}")
    assert problem in caught.value.what


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters() | st.sampled_from('{}[]",\\\n\ud83d咳'), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text('a{"}', max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


def elements(content: str, chunk: int) -> list[Any]:
    return [json_value(raw) for _, raw in _elements(_Window(io.BytesIO(content.encode()), chunk))]


@given(st.lists(VALUES), st.sampled_from([None, 0, 2]), st.booleans(), st.integers(1, 40))
def test_an_array_read_through_any_window_is_what_the_standard_parser_reads(
    values: list[Any], indent: int | None, ascii_only: bool, chunk: int
) -> None:
    content = json.dumps(values, indent=indent, ensure_ascii=ascii_only)
    try:
        content.encode()
    except UnicodeEncodeError:  # a lone surrogate must be escaped
        content = json.dumps(values, indent=indent)
    assert elements(content, chunk) == values


@given(st.lists(VALUES, min_size=1), st.sampled_from([None, 1]), st.data(), st.integers(1, 40))
def test_a_broken_array_is_broken_where_the_standard_parser_says(
    values: list[Any], indent: int | None, data: st.DataObject, chunk: int
) -> None:
    content = json.dumps(values, indent=indent)
    place = data.draw(st.integers(1, len(content) - 1))
    cut = data.draw(st.integers(0, 2))
    content = (
        content[:place]
        + data.draw(st.sampled_from(["", "]", "}", '"', ",", "x", "\\", " 1"]))
        + content[place + cut :]
    )
    error = standard_error(content)
    if error is None:
        assert elements(content, chunk) == json.loads(content)
        return
    with pytest.raises(_Broken) as caught:
        elements(content, chunk)
    if caught.value.problem == "a comma after the last record":  # the standard names what follows
        assert content[caught.value.offset : error.pos].strip() == ","
    else:
        assert caught.value.offset == len(content[: error.pos].encode())


def standard_error(content: str) -> json.JSONDecodeError | None:
    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return error
    return None


def test_lines_are_counted_across_windows(tmp_path: Path) -> None:
    rows = [{"a": "x" * (place % 7), "b": ["\n", {"c": 1}]} for place in range(200)]
    content = "\n\n[" + ",\n \n".join(json.dumps(row, indent=1) for row in rows) + "]"
    lines = [line for line, _ in _elements(_Window(io.BytesIO(content.encode()), 64))]
    assert lines == [3 + place * (json.dumps(rows[0], indent=1).count("\n") + 2) for place in range(200)]


def test_braces_in_strings_and_deep_records_do_not_end_a_record(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Close it: if (x) {", "output": "}"},
        {"instruction": "}, {", "output": '"}]'},
        {"instruction": "deep", "output": "end", "more": [{"a": [{"b": {}}] * 40}] * 40},
    ]
    items = found("alpaca", write(tmp_path / "a.json", json.dumps(rows)))
    assert [texts(item) for item in items] == [[str(row["instruction"]), str(row["output"])] for row in rows]


@pytest.mark.parametrize("content", ["[" * 100_000, '[{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]"])
def test_a_record_nested_too_deeply_is_an_error_not_a_crash(tmp_path: Path, content: str) -> None:
    with pytest.raises(MulmedError, match=r"nested too deeply|expecting value"):
        list(read("alpaca", write(tmp_path / "a.json", content)))


def test_the_place_of_an_error_is_counted_in_lines_characters_and_bytes(tmp_path: Path) -> None:
    content = '[\n{"instruction": "头痛", "output": "休息"}, {"instruction": "咳嗽" "output": "喝水"}]'
    place = content.index('"output": "喝水"')
    with pytest.raises(MulmedError) as caught:
        list(read("alpaca", write(tmp_path / "a.json", "\ufeff" + content), "zh"))
    assert caught.value.where.endswith(f"line 2, column {place - 1}")
    assert f"offset {len(content[:place].encode()) + 3})" in caught.value.what


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("kind", ["array", "lines", "csv", "parquet"])
def test_a_file_of_200_mib_needs_little_memory(tmp_path: Path, kind: str) -> None:
    text = "I have had a dull pain in my left knee since Monday; it is worse on stairs. " * 90
    eight = [{"input": f"{place} {text}", "output": f"Rest it. {text}"} for place in range(8)]
    times = 200 * 2**20 // (8 * 2 * len(text))
    path = tmp_path / f"a.{ {'array': 'json', 'lines': 'jsonl'}.get(kind, kind) }"
    if kind == "parquet":
        table = pyarrow.Table.from_pylist(eight * times)
        pyarrow.parquet.write_table(
            table, path, row_group_size=8 * times, use_dictionary=False, compression="none"
        )
    elif kind == "csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows(
                [["input", "output"], *([row["input"], row["output"]] for row in eight * times)]
            )
    else:
        comma = "," if kind == "array" else ""
        block = f"{comma}\n".join(map(json.dumps, eight))
        with path.open("w") as file:
            file.write("[\n" if kind == "array" else "")
            file.writelines([f"{block}{comma}\n"] * (times - 1))
            file.write(block + ("\n]" if kind == "array" else ""))
    assert path.stat().st_size > 190 * 2**20
    script = """if True:
        import sys
        from pathlib import Path
        from mulmed.corpus.sources import read
        from mulmed.recipe import Source
        def peak():  # in KiB; ru_maxrss would begin with the parent's
            return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
        source = Source(layout="healthcaremagic", path="a.json", language="en")
        before = peak()
        print(sum(1 for _ in read(source, Path(sys.argv[1]))), peak() - before)
    """
    command = [sys.executable, "-c", script, str(path)]
    count, kib = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert count == 8 * times
    assert kib < 100 * 1024


@pytest.mark.parametrize(
    ("name", "before", "problem"),
    [
        ("a.jsonl", b'{"input": "', "A line has more than 64 MiB"),
        ("a.csv", b'input,output\n"', "A line has more than 64 MiB"),
        ("a.json", b'[{"input": "', "unterminated string"),
        ("b.json", b'[{"input": [', "a record of more than 64 MiB"),
    ],
)
def test_a_record_without_end_is_an_error_before_the_file_is_in_memory(
    tmp_path: Path, name: str, before: bytes, problem: str
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(before)
        for _ in range(66):
            file.write(b"x" * 2**20 if problem == "unterminated string" else b'"%s", ' % (b"x" * 2**20))
    with pytest.raises(MulmedError, match=problem):
        list(read("healthcaremagic", tmp_path / name))


def test_a_lone_surrogate_is_replaced_and_counted_a_pair_is_a_character(tmp_path: Path) -> None:
    content = r'[{"instruction": "a\ud83d b", "output": "ok \ud83d\ude00", "input": "\udc00\udc01"}]'
    (item,) = found("alpaca", write(tmp_path / "a.json", content))
    assert texts(item) == ["a\ufffd b", "ok 😀"]
    assert item.parsed.context == "\ufffd\ufffd"
    assert notes(item) == {"lone surrogate replaced": 3}
