"""Single texts through the three cleaners, as a library, as lines, and as a command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mulmed.corpus.clean_text import clean_lines, clean_text
from mulmed.corpus.deidentify import deidentify_text
from mulmed.corpus.moderate import judge_text
from mulmed.corpus.repair import repair_text

DIRTY = "<p>My name is Peter Novak, call 415-555-0142.</p> It hurts&nbsp;at night."


def test_the_library_face_says_what_was_done_and_where() -> None:
    repaired = repair_text(DIRTY, "en")
    assert repaired.text == "My name is Peter Novak, call 415-555-0142.\nIt hurts at night."
    first = repaired.changes[0]
    assert (first.start, first.end, first.rule, first.replacement) == (0, 3, "tag+whitespace", "")

    masked = deidentify_text(repaired.text, "en", "fast")
    spans = {repaired.text[s.start : s.end]: (s.kind, s.replacement) for s in masked.spans}
    assert set(spans) == {"Peter Novak", "415-555-0142"}
    assert spans == {"Peter Novak": ("name", "[NAME]"), "415-555-0142": ("phone", "[PHONE]")}
    rebuilt, position = "", 0
    for span in masked.spans:
        rebuilt += repaired.text[position : span.start] + span.replacement
        position = span.end
    assert rebuilt + repaired.text[position:] == masked.text

    assert judge_text(masked.text, "en").action == "keep"
    assert judge_text("I have had enough and want to kill myself tonight.").action == "crisis"
    assert judge_text("You are a stupid idiot, get lost.").action == "drop"


def test_a_line_keeps_its_other_keys_and_says_what_was_done() -> None:
    (result,) = clean_lines([json.dumps({"text": DIRTY, "language": "en", "id": 7}).encode()], "fast")
    assert result["id"] == 7
    assert "Novak" not in result["text"]
    assert result == {"id": 7, "language": "en"} | clean_text(DIRTY, "en", "fast")
    assert {rule for r in result["repairs"] for rule in r["rule"].split("+")} == {
        "tag",
        "entity",
        "whitespace",
    }
    assert result["action"] == "keep"


def test_strings_and_chinese_are_lines_too() -> None:
    (result,) = clean_lines(
        [json.dumps("我叫王建国，电话13812345678谢谢", ensure_ascii=False).encode()], "fast"
    )
    assert "13812345678" not in result["text"]
    assert "王建国" not in result["text"]
    assert result["text"].endswith("谢谢")


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b"{}", b'{"text": 3}', b'{"text": "a", "language": 1}', b"\xff"]
)
def test_a_line_that_cannot_be_used_is_told_by_its_number(line: bytes) -> None:
    good, bad = clean_lines([b'"It is fine."\n', line, b"  \n"], "fast")
    assert good["text"] == "It is fine."
    assert bad.keys() == {"line", "error"}
    assert bad["line"] == 2


def test_the_command_answers_line_by_line_and_fails_where_a_line_did() -> None:
    command = [Path(sys.executable).with_name("mulmed"), "corpus", "clean-text", "--profile", "fast"]
    lines = [json.dumps(DIRTY), "{broken", json.dumps({"text": "Drink water.", "note": "kept"})]
    run = subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, timeout=120)
    first, second, third = map(json.loads, run.stdout.splitlines())
    assert "415-555-0142" not in first["text"]
    assert second == {"line": 2, "error": "the line is not valid JSON"}
    assert (third["text"], third["note"]) == ("Drink water.", "kept")
    assert run.returncode == 2
    assert "1 lines could not be used" in run.stderr
