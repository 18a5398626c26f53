"""The figures of a review: the paper's Figure 4, and how often each score was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from mulmed.report import names
from mulmed.report.figures import BARS, GREEN, INK, MUTED, ORANGE, PAPER, SKY, VERMILION, WIDTH

#: Fill and hatch of the scores, worst to best; more scores than three go through them evenly.
_SCORES = ((VERMILION, "////"), (ORANGE, "...."), (SKY, "\\\\\\\\"), (GREEN, ""))


def scores_figure(results: Mapping[str, Any]) -> Figure:
    """Mean score of every model on every axis, a panel a language, whiskers for the intervals."""
    languages = _languages(results)
    figure = Figure(figsize=(WIDTH, 0.8 + 2.1 * len(languages)), layout="constrained", facecolor=PAPER)
    panels = figure.subplots(len(languages), 1, squeeze=False, sharex=True)[:, 0]
    keys = [axis["key"] for axis in results["axes"]]
    for axes, language in zip(panels, languages, strict=True):
        width = 0.8 / len(results["models"])
        for i, model in enumerate(results["models"]):
            rows = [_row(results, model, key, language) for key in keys]
            found = [(j, row) for j, row in enumerate(rows) if row["mean"] is not None]
            places = [j + (i - (len(results["models"]) - 1) / 2) * width for j, _ in found]
            colour, hatch = BARS[i % len(BARS)]
            axes.bar(
                places, [row["mean"] for _, row in found], width * 0.9, label=model,
                color=colour, hatch=hatch, edgecolor=INK, linewidth=0.6,
            )  # fmt: skip
            for colour, thickness in ((PAPER, 2.4), (INK, 1.2)):
                lows, highs = [row["low"] for _, row in found], [row["high"] for _, row in found]
                axes.vlines(places, lows, highs, color=colour, linewidth=thickness)
        axes.set_xticks(range(len(keys)), _titles(results))
        axes.tick_params(axis="x", length=0, labelbottom=True)
        axes.set_ylim(0, max(axis["values"][-1] for axis in results["axes"]))
        axes.set_title(_title(language))
        axes.set_ylabel("mean score")
        axes.grid(axis="y")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=5, handleheight=1.2)
    return figure


def shares_figure(results: Mapping[str, Any]) -> Figure:
    """How often each score was given, stacked to the whole, a panel an axis, a bar a model; all languages together."""
    figure = Figure(
        figsize=(WIDTH, 0.9 + 0.3 * len(results["models"])), layout="constrained", facecolor=PAPER
    )
    panels = figure.subplots(1, len(results["axes"]), squeeze=False, sharey=True)[0]
    for axes, axis, title in zip(panels, results["axes"], _titles(results), strict=True):
        _stack(
            axes,
            [_row(results, model, axis["key"], "all") for model in results["models"]],
            len(axis["values"]),
        )
        axes.set_title(title)
        axes.set_yticks(range(len(results["models"])), results["models"], color=INK)
        axes.invert_yaxis() if axes is panels[0] else None
    values = max((axis["values"] for axis in results["axes"]), key=len)
    handles = [
        Patch(facecolor=colour, hatch=hatch, edgecolor=INK, linewidth=0.4)
        for colour, hatch in (_look(k, len(values)) for k in range(len(values)))
    ]
    figure.legend(
        handles, [f"score {value}" for value in values], loc="outside upper left", ncols=len(values)
    )
    return figure


def _stack(axes: Axes, rows: Sequence[Mapping[str, Any]], scores: int) -> None:
    for place, row in enumerate(rows):
        left = 0.0
        for k, share in enumerate(row["shares"]):
            if not share:
                continue
            colour, hatch = _look(k, scores)
            axes.barh(place, share, 0.7, left=left, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4)
            if share >= 0.12:
                axes.text(
                    left + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=7.5,
                    bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
                )  # fmt: skip
            left += share
        if not row["ratings"]:
            axes.text(0.02, place, "no ratings", va="center", color=MUTED, fontsize=8)
    axes.set_xlim(0, 1)
    axes.xaxis.set_visible(False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _look(k: int, scores: int) -> tuple[str, str]:
    return _SCORES[round(k * (len(_SCORES) - 1) / (scores - 1))]


def _titles(results: Mapping[str, Any]) -> list[str]:
    """The axes' names; behind a gate that ended ratings with the condition that the numbers are under."""
    titles, gated = [], False
    for axis in results["axes"]:
        titles.append(axis["title"]["en"] + ("\n(answers that passed)" if gated else ""))
        gated = gated or (axis["gate"] and results["study"]["on_unsafe"] == "stop")
    return titles


def _row(results: Mapping[str, Any], model: str, axis: str, language: str) -> Mapping[str, Any]:
    wanted = (model, axis, language)
    found: Mapping[str, Any] = next(
        row for row in results["scores"] if (row["model"], row["axis"], row["language"]) == wanted
    )
    return found


def _languages(results: Mapping[str, Any]) -> list[str]:
    """All together, and each where there are several."""
    several: list[str] = results["languages"]
    return several if len(several) > 2 else several[:1]


def _title(language: str) -> str:
    return "All languages" if language == "all" else names.label(language)
