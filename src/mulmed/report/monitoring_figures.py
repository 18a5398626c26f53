"""What a service counted, drawn over time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter

from mulmed.monitoring.drift import DRIFT, WATCH, Drift
from mulmed.monitoring.shape import LENGTHS, topics
from mulmed.monitoring.store import LATENCIES, Count
from mulmed.report import names
from mulmed.report.figures import (
    BARS,
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    SKY,
    VERMILION,
    WIDTH,
)
from mulmed.report.names import LABELS

_LINES = (
    (BLUE, "-", "o"),
    (ORANGE, "--", "s"),
    (GREEN, ":", "^"),
    (PURPLE, "-.", "D"),
    (VERMILION, "--", "v"),
)
_HOUR, _DAY = 3600, 86400


def step_of(counts: Sequence[Count]) -> int:
    """Seconds drawn as one point: an hour where all counts are of three days, else a day."""
    return _HOUR if counts[-1].bucket - counts[0].bucket < 3 * _DAY else _DAY


def requests_figure(counts: Sequence[Count]) -> Figure:
    """Requests by task, and the share of those with a red flag, with a bad reply to the user's mind, and that failed."""
    step = step_of(counts)
    figure = Figure(figsize=(WIDTH, 4.4), layout="constrained", facecolor=PAPER)
    above, below = figure.subplots(2, 1, sharex=True)
    tasks = _over_time(counts, step, "request", lambda key: key[0])
    times = sorted({time for row in tasks.values() for time in row})
    bottom = Counter[int]()
    for (task, row), (colour, hatch) in zip(tasks.items(), BARS[1:], strict=False):
        heights = [row[time] for time in times]
        above.bar(
            _dates(times), heights, 0.8 * step / _DAY, bottom=[bottom[t] for t in times], label=names.task(task),
            color=colour, hatch=hatch, edgecolor=INK, linewidth=0.4,
        )  # fmt: skip
        bottom.update(dict(zip(times, heights, strict=True)))
    above.set_title(f"Requests in {_step_name(step)}")
    above.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    all_requests = _sum(counts, step, "request")
    judged = _sum(counts, step, "feedback")
    shares = (
        ("with a red flag", _sum(counts, step, "flagged"), all_requests),
        (
            "not answered",
            _sum(counts, step, "request", lambda k: k[3] not in ("ok", "left")),
            all_requests,
        ),
        ("called bad, of those judged", _sum(counts, step, "feedback", lambda k: k[2] == "bad"), judged),
    )
    for (label, part, whole), (colour, dash, marker) in zip(shares, _LINES, strict=False):
        known = [time for time in times if whole[time]]
        below.plot(
            _dates(known), [part[t] / whole[t] for t in known], label=label,
            color=colour, linestyle=dash, marker=marker, markersize=3.5,
        )  # fmt: skip
    below.set_title("Shares of them")
    below.set_ylim(0, max(0.05, below.get_ylim()[1]))
    _finish_time(above, below)
    below.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (above, below):
        axes.legend(loc="upper left", ncols=3, fontsize=8)
        axes.margins(y=0.35)
    return figure


def latency_figure(counts: Sequence[Count]) -> Figure:
    """Median and 95th percentile of the seconds to the first token and to the end, as the upper ends of their classes."""
    step = step_of(counts)
    figure = Figure(figsize=(WIDTH, 2.4), layout="constrained", facecolor=PAPER)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, (name, title) in zip(
        panels, (("first", "To the first token"), ("total", "To the end")), strict=True
    ):
        classes = _over_time(counts, step, name, lambda key: key[1])
        times = sorted({time for row in classes.values() for time in row})
        for share, (colour, dash, marker) in zip((0.5, 0.95), _LINES, strict=False):
            rows = [{int(c): row[time] for c, row in classes.items() if row[time]} for time in times]
            axes.plot(
                _dates(times), [quantile(row, share) for row in rows], label=f"{share:.0%} of them",
                color=colour, linestyle=dash, marker=marker, markersize=3.5,
            )  # fmt: skip
        axes.set_title(title)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("seconds, at most")
    _finish_time(*panels)
    panels[0].legend(loc="upper left", fontsize=8)
    return figure


def quantile(classes: Mapping[int, int], share: float) -> float:
    """The upper end of the class of latency in which a quantile lies; for the last class twice its lower end.

    Args:
        classes: how many of each class, by its number; not empty.
    """
    needed, seen = share * sum(classes.values()), 0
    for number, times in sorted(classes.items()):
        seen += times
        if seen >= needed:
            return LATENCIES[number] if number < len(LATENCIES) else 2 * LATENCIES[-1]
    raise AssertionError("unreachable")


def drift_figure(weeks: Mapping[date, Sequence[Drift]]) -> Figure:
    """The index of every distribution, week by week."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained", facecolor=PAPER)
    axes = figure.subplots()
    keys = dict.fromkeys((d.measure, d.language) for found in weeks.values() for d in found)
    for (measure, language), (colour, dash, marker) in zip(keys, _LINES, strict=False):
        points = [
            (day, d.index)
            for day, found in weeks.items()
            for d in found
            if (d.measure, d.language) == (measure, language) and d.index is not None
        ]
        axes.plot(
            [_place(day) for day, _ in points], [index for _, index in points],
            label=f"{measure}, {LABELS.get(language, language)}" if language else "mix of languages",
            color=colour, linestyle=dash, marker=marker, markersize=4,
        )  # fmt: skip
    for level, word in ((WATCH, "watch"), (DRIFT, "drift")):
        axes.axhline(level, color=INK, linewidth=0.8, linestyle=":")
        axes.annotate(
            word, (1, level), xycoords=("axes fraction", "data"), va="bottom", ha="right", fontsize=8
        )
    axes.set_yscale("symlog", linthresh=2 * DRIFT)  # a large index must not hide the thresholds
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)
    axes.set_ylabel("population stability index")
    if len(weeks) > 8:
        _finish_time(axes)
    else:
        axes.set_xticks([_place(day) for day in weeks], [f"{day:%Y-%m-%d}" for day in weeks])
        axes.grid(axis="y")
    figure.legend(loc="outside upper left", ncols=3)
    return figure


def profiles_figure(found: Sequence[Drift]) -> Figure:
    """The shares of every class, judged on and now, a panel a distribution."""
    orders = {"language": ("en", "zh", "other"), "length": tuple(map(str, LENGTHS)), "topic": topics()}
    heights = [1.5 if d.measure == "language" else 2.1 if d.measure == "length" else 2.6 for d in found]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained", facecolor=PAPER)
    panels = figure.subplots(len(found), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, d in zip(panels, found, strict=True):
        classes = [c for c in orders[d.measure] if d.expected.get(c) or d.observed.get(c)]
        for offset, (counts, label, colour, hatch) in enumerate(
            ((d.expected, "judged on", GREY, ""), (d.observed, "now", SKY, "////"))
        ):
            whole = sum(counts.values()) or 1
            axes.bar(
                [i + (offset - 0.5) * 0.4 for i in range(len(classes))],
                [counts.get(c, 0) / whole for c in classes],
                0.38, label=label, color=colour, hatch=hatch, edgecolor=INK, linewidth=0.5,
            )  # fmt: skip
        shown = [LABELS.get(c, c) if d.measure == "language" else c for c in classes]
        axes.set_xticks(range(len(classes)), shown, rotation=35 if d.measure == "topic" else 0)
        axes.tick_params(axis="x", length=0)
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.set_title(
            f"{d.measure.capitalize()}, {LABELS.get(d.language, d.language)}"
            if d.language
            else "Mix of languages"
        )
        if d.measure == "length":
            axes.set_xlabel("characters, from")
        axes.grid(axis="y")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _over_time(
    counts: Iterable[Count], step: int, name: str, what: Callable[[tuple[str, ...]], str]
) -> dict[str, Counter[int]]:
    found: dict[str, Counter[int]] = {}
    for count in counts:
        if count.name == name:
            found.setdefault(what(count.key), Counter())[count.bucket // step * step] += count.count
    return dict(sorted(found.items()))


def _sum(
    counts: Iterable[Count], step: int, name: str, which: Callable[[tuple[str, ...]], bool] = lambda _: True
) -> Counter[int]:
    found = Counter[int]()
    for count in counts:
        if count.name == name and which(count.key):
            found[count.bucket // step * step] += count.count
    return found


def _dates(times: Sequence[int]) -> list[float]:
    return [_place(datetime.fromtimestamp(time, UTC)) for time in times]


def _place(when: date) -> float:
    return float(date2num(when))  # type: ignore[no-untyped-call]


def _step_name(step: int) -> str:
    return "an hour" if step == _HOUR else "a day"


def _finish_time(*panels: Axes) -> None:
    for axes in panels:
        locator = AutoDateLocator(minticks=2, maxticks=8)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]
        axes.grid(axis="y")
