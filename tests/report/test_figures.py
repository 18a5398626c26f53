"""Figures: their bars stand for the numbers, and Chinese never turns into boxes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import matplotlib
import pytest
from matplotlib.figure import Figure

from mulmed.report import figures
from mulmed.report.curves import read_curve
from mulmed.report.scores import Scores, read_scores
from tests.report.invented import (
    FUNNEL,
    METRICS,
    MODELS,
    STATISTICS,
    VALUES,
    log_lines,
    outcome,
    scores_document,
    write_json,
    write_lines,
)

RARE = "龘"  # outside GB 2312 and so outside our font


@pytest.fixture
def scores(tmp_path: Path) -> Scores:
    """Scores with Chinese names of models and metrics."""
    document = scores_document()
    for row in document["rows"] + document["differences"]:
        row["model"] = {"mulmed": "医学模型"}.get(row["model"], row["model"])
    document["metrics"]["f1"]["name"] = "F1 值"
    write_json(tmp_path / "scores.json", document)
    return read_scores(tmp_path / "scores.json", ("base", "crossla", "医学模型"))


def drawn(name: str, scores: Scores, folder: Path) -> Figure:
    if name == "scores":
        return figures.scores_figure(scores)
    if name == "funnel":
        stages = [{**stage, "stage": f"清洗：{stage['stage']}"} for stage in FUNNEL["stages"]]
        return figures.funnel_figure({"stages": stages})
    if name == "loss":
        log = log_lines(3.0, 2.0, 30)
        write_lines(folder / "log.jsonl", log)
        write_json(folder / "outcome.json", outcome(log, kept=20))
        return figures.loss_figure([read_curve("第一步", folder)])
    return figures.lengths_figure(STATISTICS)


@pytest.mark.parametrize("name", ["scores", "funnel", "loss", "lengths"])
def test_chinese_is_drawn_as_paths(name: str, scores: Scores, tmp_path: Path) -> None:
    with warnings.catch_warnings(), figures.style():
        warnings.simplefilter("error")
        svg = figures.save(drawn(name, scores, tmp_path), tmp_path, name)
    assert "<text" not in svg
    assert "MulMedSansSC-Regular" in svg  # glyphs are named after their font
    # the identifier of a drawn glyph ends in its code point or index; at least one Chinese one is used
    assert re.search(r'xlink:href="#[^"]*MulMedSansSC', svg)
    assert (tmp_path / f"{name}.png").stat().st_size > 10_000


def test_a_glyph_that_is_missing_would_be_noticed(tmp_path: Path) -> None:
    with figures.style():
        figure = Figure()
        figure.text(0.5, 0.5, RARE)
        with pytest.warns(UserWarning, match="missing from font"):
            figures.save(figure, tmp_path, "rare")


def test_bars_are_the_scores_and_whiskers_their_intervals(scores: Scores) -> None:
    with figures.style():
        figure = figures.scores_figure(scores)
    assert len(figure.axes) == 4  # two languages; overlap and diversity
    overlap = figure.axes[0]
    heights = [[bar.get_height() for bar in container] for container in overlap.containers]
    assert heights[0] == [VALUES[m] for m in ("f1", "rouge1", "rouge2", "rougeL")]
    assert len(heights) == len(MODELS)
    ends = {tuple(segment[:, 1]) for lines in overlap.collections for segment in lines.get_segments()}
    expected = scores.score("医学模型", "en", "all", "rougeL")
    assert (expected.low, expected.high) in ends
    assert len({(bar[0].get_facecolor(), bar[0].get_hatch()) for bar in overlap.containers}) == 3
    labels = [tick.get_text() for tick in overlap.get_xticklabels()]
    assert labels == ["F1 值", *(METRICS[m][0] for m in ("rouge1", "rouge2", "rougeL"))]


def test_bars_of_neighbouring_models_differ_in_grey() -> None:
    """Luma of neighbours differs by a tenth, or one of them is hatched."""
    for (one, hatch), (other, other_hatch) in zip(figures.BARS, figures.BARS[1:], strict=False):
        luma = [
            sum(w * int(c[i : i + 2], 16) for w, i in ((0.299, 1), (0.587, 3), (0.114, 5))) / 255
            for c in (one, other)
        ]
        assert abs(luma[0] - luma[1]) > 0.1 or hatch != other_hatch


def test_many_steps_are_drawn_in_rows_of_four(tmp_path: Path) -> None:
    write_lines(tmp_path / "log.jsonl", log_lines(3.0, 2.0, 30))
    write_json(tmp_path / "outcome.json", outcome(log_lines(3.0, 2.0, 30), kept=20))
    with figures.style():
        figure = figures.loss_figure([read_curve(f"step{i}", tmp_path) for i in range(6)])
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title(loc="left") for axes in shown] == [f"Step step{i}" for i in range(6)]
    assert [axes.get_subplotspec().rowspan.start for axes in shown] == [0, 0, 0, 0, 1, 1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()][:2] == ["training batch", "validation"]


def test_no_two_of_sixteen_models_look_alike() -> None:
    assert len(set(figures.BARS)) == len(figures.BARS) == 16


def test_funnel_leaves_out_what_the_limit_did() -> None:
    with figures.style():
        axes = figures.funnel_figure(FUNNEL).axes[0]
    kept, dropped = ([bar.get_width() for bar in container] for container in axes.containers)
    assert kept == [1240, 1240, 1240, 1203, 1150, 1138]
    assert dropped == [20, 0, 0, 37, 53, 12]  # not 8,020
    assert axes.texts[0].get_text() == "1,240  (\N{MINUS SIGN}20)"
    assert axes.texts[1].get_text() == "1,240"


def test_the_tail_of_a_histogram_is_one_bar_wide() -> None:
    with figures.style():
        figure = figures.lengths_figure(STATISTICS)
    data = figure.axes[3].patches[0].get_data()
    assert list(data.edges) == [0, 50, 100, 150, 200]  # the file says 900
    assert list(data.values) == [231, 50, 11, 8]


def test_panels_without_a_histogram_are_not_shown() -> None:
    with figures.style():
        figure = figures.lengths_figure({"lengths": STATISTICS["lengths"][:1] * 5})
    assert [axes.get_visible() for axes in figure.axes] == [True] * 5 + [False] * 3


@pytest.mark.parametrize("name", ["scores", "funnel"])
def test_a_saved_figure_is_laid_out(name: str, scores: Scores, tmp_path: Path) -> None:
    """As matplotlib does by itself whenever it draws one."""
    with figures.style():
        saved, laid_out = (drawn(name, scores, tmp_path) for _ in range(2))
        before = [axes.get_position().bounds for axes in saved.axes]
        figures.save(saved, tmp_path, name)
        laid_out.draw_without_rendering()
    places = [axes.get_position().bounds for axes in saved.axes]
    assert places == [pytest.approx(axes.get_position().bounds, abs=0.01) for axes in laid_out.axes]
    assert places != before


def test_style_ignores_and_restores_the_users_settings() -> None:
    with matplotlib.rc_context({"axes.facecolor": "red", "font.size": 30}):
        with figures.style():
            assert matplotlib.rcParams["axes.facecolor"] == "white"
            assert matplotlib.rcParams["font.size"] == 9
        assert matplotlib.rcParams["font.size"] == 30


def test_inlined_svg_has_its_own_identifiers_and_the_pages_colours(scores: Scores, tmp_path: Path) -> None:
    with figures.style():
        svg = figures.save(figures.scores_figure(scores), tmp_path, "scores")
    inlined = figures.inline(svg, "scores", 'A "<chart>" & more')
    assert inlined.startswith("<svg ")
    assert 'aria-label="A &quot;&lt;chart&gt;&quot; &amp; more"' in inlined
    assert all(name.startswith("scores-") for name in re.findall(r'\bid="([^"]*)"', inlined))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]*)', inlined)) <= set(
        re.findall(r'\bid="([^"]*)"', inlined)
    )
    assert figures.INK not in inlined
    assert "var(--ink)" in inlined
    assert not re.search(r"<svg[^>]* (?:width|height)=", inlined)


def test_figures_need_no_pyplot() -> None:
    source = Path(figures.__file__).read_text("utf-8")
    assert "pyplot" not in re.sub(r'""".*?"""', "", source, flags=re.DOTALL)
