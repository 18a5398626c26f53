"""The Markdown beside the report holds the file's numbers, and no table breaks on a pipe."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from mulmed.report.build import build_report
from mulmed.report.markdown import to_markdown
from mulmed.report.tables import Cell, Group, Table
from tests.report.invented import MODELS, write_run


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("markdown")
    build_report(folder / "out", write_run(folder / "run"))
    return folder / "out"


def rows_of(text: str, caption: str) -> list[list[str]]:
    """Cells of the table below a caption that starts so, without its head."""
    lines = text[text.index(f"\n{caption}") :].strip().splitlines()[2:]
    table = lines[: lines.index("")] if "" in lines else lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def test_the_main_table_is_that_of_the_scores(built: Path) -> None:
    scores = orjson.loads((built / "scores.json").read_bytes())
    value = {(r["language"], r["model"], r["metric"]): r for r in scores["rows"] if r["task"] == "all"}
    rows = rows_of((built / "results.md").read_text("utf-8"), "Scores over all tasks")
    assert [row[:2] for row in rows] == [[name, m] for name in ("English", "Chinese") for m in MODELS]
    for row, (language, model) in zip(rows, [(la, m) for la in ("en", "zh") for m in MODELS], strict=True):
        found = value[language, model, "f1"]
        assert row[3] == f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})"


def test_only_differences_of_the_main_model_are_told(built: Path) -> None:
    rows = rows_of((built / "results.md").read_text("utf-8"), "Differences over all tasks")
    assert [row[:2] for row in rows] == [["English", "mulmed minus base"], ["Chinese", "mulmed minus base"]]


def test_pipes_are_escaped_and_words_stand_left() -> None:
    table = Table("Two|things", ("Name", "n"), (Group("", ((Cell("a|b", ("x", "y")), Cell("1")),)),))
    assert to_markdown(table) == "Two|things\n\n| Name | n |\n|---|---:|\n| a\\|b (x; y) | 1 |\n"
