"""The report's figures, drawn without pyplot so that no state is shared.

Text becomes paths of a font that has Chinese (see ``fonts/``), colours are Okabe and Ito's
colour-blind safe ones, and hatches tell the bars apart in grey print. The bytes depend on nothing but
the numbers and the version of matplotlib.
"""

from __future__ import annotations

import functools
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from mulmed.evaluation.empathy import DOCTORS
from mulmed.report import names
from mulmed.report.curves import Curve
from mulmed.report.scores import HEADLINE, Scores

INK, MUTED, GRID, PAPER = "#1d2a35", "#566470", "#dde3e8", "#ffffff"
ORANGE, SKY, BLUE, GREEN = "#e69f00", "#56b4e9", "#0072b2", "#009e73"
VERMILION, PURPLE, YELLOW, GREY = "#d55e00", "#cc79a7", "#f0e442", "#bbbbbb"
#: Fill and hatch of a model's bars, in the order of the models.
BARS = (
    (GREY, ""), (SKY, "////"), (BLUE, ""), (ORANGE, "...."), (GREEN, "\\\\\\\\"), (YELLOW, "xxxx"),
    (PURPLE, "oo"), (VERMILION, "--"),
    (GREY, "**"), (SKY, ""), (BLUE, "////"), (ORANGE, ""), (GREEN, "...."), (YELLOW, ""), (PURPLE, "xxxx"), (VERMILION, ""),
)  # fmt: skip
WIDTH = 7.4  # inches
PNG_DPI = 200
_STYLE: Any = {  # matplotlib's versions disagree about the type of its settings
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelcolor": MUTED,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "svg.fonttype": "path",
    "svg.hashsalt": "mulmed",
}


@functools.cache
def _family() -> str:
    """Name of our font, made known to matplotlib."""
    path = Path(__file__).parent / "fonts" / "MulMedSansSC-Regular.ttf"
    font_manager.fontManager.addfont(path)
    return font_manager.FontProperties(fname=path).get_name()


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure; needed around both drawing and saving."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # the user's own matplotlibrc must not change a report
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams["font.family"] = [_family(), "DejaVu Sans"]
        yield


def _figure(height: float) -> Figure:
    return Figure(figsize=(WIDTH, height), layout="constrained", facecolor=PAPER)


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write ``NAME.svg`` and ``NAME.png`` (200 dpi) into ``folder`` and return the SVG."""
    layout = figure.get_layout_engine()
    if layout:  # once for both files: each would lay it out anew, which takes longer than drawing
        layout.execute(figure)
        figure.set_layout_engine(None)
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(buffer, format="svg", metadata=nothing)
    svg = buffer.getvalue()
    (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    figure.savefig(folder / f"{name}.png", dpi=PNG_DPI, metadata={"Software": None})
    return svg


def inline(svg: str, name: str, alt: str) -> str:
    """An SVG file's text as an element of a page: own identifiers, page's colours, a text for ears."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for colour, variable in ((INK, "ink"), (MUTED, "muted"), (GRID, "grid"), (PAPER, "paper")):
        svg = svg.replace(colour, f"var(--{variable})")
    start = f'role="img" aria-label="{escape(alt)}"'
    return re.sub(r'^(<svg [^>]*?)width="[^"]*" height="[^"]*"', lambda found: found[1] + start, svg)


def scores_figure(scores: Scores) -> Figure:
    """The paper's Figure 3: a row a language, groups of bars a metric, whiskers for the intervals.

    Overlap measures and diversity have axes of their own, or ROUGE-2 would be invisible.
    """
    split = HEADLINE.index("distinct1")
    figure = _figure(0.75 + 2.15 * len(scores.languages))
    panels = figure.subplots(
        len(scores.languages), 2, squeeze=False, sharey="col",
        width_ratios=(split, len(HEADLINE) - split),
    )  # fmt: skip
    for row, language in zip(panels, scores.languages, strict=True):
        for axes, metrics in zip(row, (HEADLINE[:split], HEADLINE[split:]), strict=True):
            _bars(axes, scores, language, metrics)
        row[0].set_title(names.label(language))
        row[1].set_title("Diversity", color=MUTED)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 5), handleheight=1.2)
    return figure


def _bars(axes: Axes, scores: Scores, language: str, metrics: Sequence[str]) -> None:
    width = 0.8 / len(scores.models)
    for i, model in enumerate(scores.models):
        known = [scores.scores.get((model, language, "all", metric)) for metric in metrics]
        offset = (i - (len(scores.models) - 1) / 2) * width
        places = [j + offset for j, score in enumerate(known) if score]
        found = [score for score in known if score]
        colour, hatch = BARS[i % len(BARS)]
        axes.bar(
            places, [s.value for s in found], width * 0.9, label=model,
            color=colour, hatch=hatch, edgecolor=INK, linewidth=0.6,
        )  # fmt: skip
        for colour, thickness in ((PAPER, 2.4), (INK, 1.2)):  # a halo, or the lower half is lost on the bar
            axes.vlines(
                places, [s.low for s in found], [s.high for s in found], color=colour, linewidth=thickness
            )
    axes.set_xticks(range(len(metrics)), [scores.metrics[m].name for m in metrics])
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(bottom=0)
    axes.grid(axis="y")


def words_figure(care: Mapping[str, Any], model: str, top: int = 15) -> Figure:
    """The paper's Figure 5: the ``top`` most frequent words of the model, and of the doctors beside it, a row a language."""
    languages = sorted({row["language"] for row in care["words"]})
    volumes = {(v["language"], v["speaker"]): v["words"] for v in care["volumes"]}
    figure = _figure(0.5 + 0.2 * (top + 2) * len(languages))
    panels = figure.subplots(len(languages), 2, squeeze=False)
    kinds = {"care": (ORANGE, "////"), "clinic": (BLUE, ""), "other": (GREY, "")}
    for row, language in zip(panels, languages, strict=True):
        for axes, (who, title) in zip(row, ((model, model), (DOCTORS, "doctors")), strict=True):
            words = [w for w in care["words"] if (w["language"], w["speaker"]) == (language, who)]
            spoken = volumes[language, who] or 1
            for place, word in enumerate(words[:top]):
                kind = {None: "other", "clinical": "clinic"}.get(word["category"], "care")
                colour, hatch = kinds[kind]
                rate = 1000 * word["count"] / spoken
                axes.barh(place, rate, 0.7, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4)
                axes.text(rate, place, f" {rate:.1f}", va="center", fontsize=7)
            axes.set_yticks(range(len(words[:top])), [w["word"] for w in words[:top]], color=INK)
            axes.set_ylim(top - 0.5, -0.5)
            axes.margins(x=0.12)
            axes.xaxis.set_visible(False)
            axes.spines[["bottom", "left"]].set_visible(False)
            axes.tick_params(axis="y", length=0)
            axes.set_title(f"{names.label(language)}: {title}")
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.4) for colour, hatch in kinds.values()
    ]
    figure.legend(
        handles, [f"words of {k}" if k != "other" else k for k in kinds], loc="outside upper left", ncols=3
    )
    return figure


def funnel_figure(funnel: Mapping[str, Any]) -> Figure:
    """Records left after each cleaning stage, and how many it dropped (but for a source's limit)."""
    kept = [s["out"] for s in funnel["stages"]]
    dropped = [s["dropped"] - s["rules"].get(names.OVER_LIMIT, 0) for s in funnel["stages"]]
    figure = _figure(0.5 + 0.36 * len(kept))
    axes = figure.subplots()
    places = range(len(kept))
    axes.barh(places, kept, 0.62, color=BLUE, label="kept")
    axes.barh(
        places, dropped, 0.62, left=kept, label="dropped",
        color=ORANGE, hatch="////", edgecolor=INK, linewidth=0,
    )  # fmt: skip
    top = max(k + d for k, d in zip(kept, dropped, strict=True)) or 1
    for place, k, d in zip(places, kept, dropped, strict=True):
        lost = f"  ({names.MINUS}{names.count(d)})" if d else ""
        axes.text(k + d + 0.012 * top, place, f"{names.count(k)}{lost}", va="center")
    axes.set_yticks(places, [names.stage(s["stage"]) for s in funnel["stages"]], color=INK)
    axes.set_xlim(0, 1.2 * top)
    axes.invert_yaxis()
    axes.xaxis.set_visible(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def loss_figure(curves: Sequence[Curve]) -> Figure:
    """Training and validation loss, a panel a training step, on a common scale."""
    columns = min(4, len(curves))
    rows = -(-len(curves) // columns)
    figure = _figure(3.0 if rows == 1 else 2.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    panels = list(grid.flat)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    styles = ((ORANGE, "--", "s"), (GREEN, ":", "^"), (PURPLE, "-.", "D"), (VERMILION, "--", "v"))
    languages = sorted({language for curve in curves for language in curve.by_language})
    for axes, curve in zip(panels, curves, strict=False):
        axes.plot(
            [p.step for p in curve.train], [p.loss for p in curve.train],
            color=SKY, linewidth=1, label="training batch",
        )  # fmt: skip
        lines = [("validation", curve.validation, (BLUE, "-", "o"))] + [
            (f"validation, {names.label(code)}", curve.by_language[code], styles[i % len(styles)])
            for i, code in enumerate(languages)
            if code in curve.by_language and len(curve.by_language) > 1
        ]
        for label, points, (colour, dash, marker) in lines:
            axes.plot(
                [p.step for p in points], [p.loss for p in points], color=colour, linestyle=dash,
                marker=marker, markersize=3.5, linewidth=1.6, label=label,
            )  # fmt: skip
        if curve.kept != curve.steps:
            axes.axvline(curve.kept, color="black", linestyle=":", linewidth=1, label="kept adapter")
        axes.set_title(f"Step {curve.name}")
        axes.set_xlabel("optimizer step")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(axis="y")
    for axes in grid[:, 0]:
        axes.set_ylabel("loss (nats a target token)")
    shown = {
        label: handle
        for axes in panels
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(shown.values(), shown.keys(), loc="outside upper left", ncols=4)
    return figure


def lengths_figure(statistics: Mapping[str, Any]) -> Figure:
    """Histograms of text lengths, a panel a source and field.

    The last, wider bar of the longest texts is drawn as wide as the others, or they would vanish.
    """
    histograms = statistics["lengths"]
    columns = 4  # two sources with two fields each
    rows = -(-len(histograms) // columns)
    figure = _figure(1.8 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(histograms) :]:
        axes.set_visible(False)
    for axes, h in zip(panels.flat, histograms, strict=False):
        colour, hatch = (BLUE, "") if h["field"] in ("question", "abstract") else (ORANGE, "////")
        *edges, longest = h["edges"]
        edges.append(min(longest, edges[-1] + edges[1] - edges[0]) if len(edges) > 1 else longest)
        axes.stairs(
            h["counts"], edges, fill=True, facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.6
        )
        axes.set_title(f"{h['source']}\n{h['field']}", fontsize=9)
        axes.set_xlabel(h["unit"])
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        axes.grid(axis="y")
    figure.supylabel("records", fontsize=9, color=MUTED)
    return figure
