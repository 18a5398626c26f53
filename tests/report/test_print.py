"""The report on paper: nothing hidden in a closed part, nothing cut off, no table or figure torn in two that fits a page."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mulmed.report.build import ReportInputs, build_report

XHTML = "{http://www.w3.org/1999/xhtml}"
#: Points: A4, and the margins of the style sheet (16 mm, 14 mm) less half a millimetre.
WIDTH, HEIGHT, SIDE, EDGE = 595.3, 841.9, 38.2, 43.9


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.report.invented import write_run

    folder = tmp_path_factory.mktemp("print")
    run: ReportInputs = write_run(folder / "run")
    (folder / "out").mkdir()
    build_report(folder / "out", run)
    return folder / "out" / "index.html"


@pytest.fixture(scope="module")
def words(page: Path) -> list[list[tuple[float, float, float, float, str]]]:
    """Of each printed page the words with their boxes in points: left, top, right, bottom."""
    if (browser := shutil.which("chromium")) is None:
        pytest.skip("there is no browser (Debian: apt-get install chromium)")
    if (reader := shutil.which("pdftotext")) is None:
        pytest.skip("there is no reader of PDF files (Debian: apt-get install poppler-utils)")
    printed = page.with_name("report.pdf")
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-pdf-header-footer", f"--print-to-pdf={printed}", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    subprocess.run([reader, "-bbox", printed, page.with_name("words.xml")], check=True, capture_output=True)
    # Glyphs of text that no font could map are control characters, which XML refuses.
    xml = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", page.with_name("words.xml").read_text("utf-8"))
    return [
        [
            (*(float(w.attrib[k]) for k in ("xMin", "yMin", "xMax", "yMax")), w.text or "")
            for w in sheet.iter(f"{XHTML}word")
        ]  # type: ignore[misc]
        for sheet in ElementTree.fromstring(xml).iter(f"{XHTML}page")
    ]


def plain(text: str) -> str:
    return re.sub(r"\s", "", text)


def tables(html: str) -> Iterator[tuple[str, int]]:
    """Caption and number of rows of every table."""
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        (caption,) = re.findall(r"<caption>(.*?)</caption>", table, re.DOTALL)
        yield re.sub(r"&#39;", "'", caption), table.count("<tr>")


def test_nothing_is_cut_off_at_an_edge(words: list[list[tuple[float, float, float, float, str]]]) -> None:
    assert len(words) > 3
    for sheet in words:
        for left, top, right, bottom, word in sheet:
            assert left >= SIDE, word
            assert right <= WIDTH - SIDE, word
            assert top >= EDGE - 2, word
            assert bottom <= HEIGHT - EDGE + 2, word


def test_closed_parts_are_printed_too(
    page: Path, words: list[list[tuple[float, float, float, float, str]]]
) -> None:
    sheets = [plain("".join(word for *_, word in sheet)) for sheet in words]
    found = list(tables(page.read_text("utf-8")))
    assert len(found) > 15
    for caption, _ in found:
        assert any(plain(caption)[:60] in sheet for sheet in sheets), caption


def test_small_tables_stay_whole(
    page: Path, words: list[list[tuple[float, float, float, float, str]]]
) -> None:
    """A table that is torn repeats its head on the next page, so heads and tables are as many."""
    html = page.read_text("utf-8")
    heads: Counter[str] = Counter()
    small: Counter[str] = Counter()
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        head = plain("".join(re.findall(r'<th scope="col"[^>]*>(.*?)</th>', table)))
        heads[head] += 1
        small[head] += table.count("<tr>") <= 16
    sheets = plain("".join(word for sheet in words for *_, word in sheet))
    checked = 0
    for head, count in heads.items():
        if small[head] == count and (printed := sheets.count(head)):
            checked += 1
            assert printed == sum(heads[other] * other.count(head) for other in heads), head
    assert checked > 5
