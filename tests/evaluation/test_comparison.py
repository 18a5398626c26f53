from pathlib import Path
from typing import Any

import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.evaluation.comparison import LEAK, compare, read_answers


def row(model: str, id: str = "q:1", answer: str = "Rest well.", **other: Any) -> dict[str, Any]:
    fields = {"language": "en", "task": "qa", "reference": "Please rest.", "status": "ok"}
    return {"id": id, "model": model, "answer": answer, **fields, **other}


def failed(model: str, id: str = "q:1") -> dict[str, Any]:
    return row(model, id, status="failed", answer=None, error="timeout")


def test_order_of_rows_does_not_matter_and_failures_have_no_answer() -> None:
    rows = [row("base", "q:2"), row("base", "q:1"), row("mulmed", "q:1"), failed("mulmed", "q:2")]
    found = compare(rows)
    assert found.models == ("base", "mulmed")
    assert [question.id for question in found.questions] == ["q:1", "q:2"]
    assert set(found.answers) == {("base", "q:1"), ("base", "q:2"), ("mulmed", "q:1")}
    assert found.failed == {"base": 0, "mulmed": 1}
    assert compare(rows[::-1]).questions == found.questions


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([], "no answers"),
        ([row("base", "q:1"), row("base", "q:2"), row("mulmed", "q:1")], "model mulmed, question q:2"),
        ([row("base"), row("base")], "twice"),
        ([row("base"), row("mulmed", reference="Other.")], "different questions"),
        ([row("base"), row("mulmed", language="zh")], "different questions"),
        ([row("base", reference="。… ")], "question q:1"),
        ([row("base", reference="")], "no word to score by"),
        ([row("base", status="maybe")], "status"),
        ([row("base", answer=None)], "'answer'"),
        ([{"id": "q:1", "status": "ok"}], "'model'"),
        ([row("base"), failed("mulmed")], "model mulmed"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_name(rows: list[dict[str, Any]], named: str) -> None:
    with pytest.raises(MulmedError, match=named):
        compare(rows)


def test_errors_hold_no_text_of_a_record() -> None:
    secret = "my name is Zhang"
    with pytest.raises(MulmedError) as caught:
        compare([row("base", answer=secret, reference=secret), row("m", answer=secret)])
    assert secret not in str(caught.value)


def test_an_empty_answer_is_an_answer() -> None:
    assert compare([row("base", answer="")]).answers == {("base", "q:1"): ""}


@pytest.mark.parametrize(
    "text",
    [
        "Rest.</s>",
        "<s>Rest.",
        "<eos>",
        "Rest.<|im_end|>",
        "<|im_start|>assistant",
        "<|begin_of_text|>",
        "<|reserved_special_token_0|>",
        "Rest.<end_of_turn>",
        "<pad><pad>",
        "Rest.\n\n### Response:\nRest.",
        "### Instruction:",
        "[/INST] Rest.",
    ],
)
def test_special_tokens_are_seen(text: str) -> None:
    assert LEAK.search(text)


@pytest.mark.parametrize(
    "text",
    ["p < s > 0.05", "a <b> b", "if x<5 | y>3", "response: rest", "## Input", "<unknown>", "|x| < 3", "嗯<|"],
)
def test_ordinary_text_is_no_leak(text: str) -> None:
    assert not LEAK.search(text)


def test_leaks_are_counted_by_answer() -> None:
    rows = [row("base", "q:1", "Rest.</s></s>"), row("base", "q:2", "Rest."), row("base", "q:3", "<eos>")]
    assert compare(rows).leaked == {"base": 2}


def test_reading_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    rows = [row("base", "q:1", "多喝水\u2028休息"), row("base", "q:2")]
    file.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n\n")
    assert read_answers([file]) == rows
    for broken in (b'{"id": "q:3", "mod', b"[1, 2]"):
        file.write_bytes(orjson.dumps(rows[0]) + b"\n" + broken)
        with pytest.raises(MulmedError, match=r"answers\.jsonl, line 2"):
            read_answers([file])
    with pytest.raises(MulmedError, match=r"absent\.jsonl"):
        read_answers([tmp_path / "absent.jsonl"])
