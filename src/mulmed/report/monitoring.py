"""What a running service counted, as a page: over time, and against the questions that the model was judged on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.monitoring.drift import (
    DRIFT,
    ENOUGH,
    LEVEL,
    WATCH,
    Drift,
    Profile,
    by_week,
    find_drift,
    profile_of_counts,
)
from mulmed.monitoring.store import BUCKET, OUTCOMES, Count
from mulmed.report import figures, monitoring_figures, names
from mulmed.report.html import Picture, render_page
from mulmed.report.tables import NOT_APPLICABLE, Cell, Table, plain_table


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringPage:
    """Everything the template shows."""

    name: str
    lead: str
    findings: list[str]
    watch: float
    drift: float
    enough: int
    level: float
    minutes: int
    drift_table: Table
    drift_picture: Picture | None
    profiles_picture: Picture
    requests_picture: Picture
    latency_picture: Picture | None
    requests: Table
    safety: Table | None
    feedback: Table | None


def build_monitoring(out: Path, name: str, counts: Sequence[Count], judged: Profile) -> dict[str, Any]:
    """Write ``index.html``, ``monitoring.json`` and ``figures/`` into ``out``; returns what is in ``monitoring.json``.

    Args:
        name: what the page calls the service: the recipe's name.
        counts: all of a monitoring file.
        judged: profile of the test questions.

    Raises:
        MulmedError: nothing has been counted yet.
    """
    weeks = {day: find_drift(judged, profile_of_counts(found)) for day, found in by_week(counts).items()}
    if not any(count.name == "request" for count in counts):
        raise MulmedError(
            "Nothing has been counted yet.",
            where="--monitoring",
            remedy="Wait until the service has been used.",
        )
    told = [day for day, found in weeks.items() if any(d.verdict != "too few" for d in found)]
    last = told[-1] if told else list(weeks)[-1]
    (out / "figures").mkdir(parents=True, exist_ok=True)

    def picture(key: str, figure: Figure, caption: str, alt: str) -> Picture:
        return Picture(figures.inline(figures.save(figure, out / "figures", key), key, alt), caption)

    unit = "hour" if monitoring_figures.step_of(counts) == 3600 else "day"
    with figures.style():
        page = MonitoringPage(
            name=name,
            lead=_lead(last, weeks[last]),
            findings=_findings(weeks[last], judged),
            watch=WATCH,
            drift=DRIFT,
            enough=ENOUGH,
            level=LEVEL,
            minutes=BUCKET // 60,
            drift_table=_drift_table(last, weeks[last]),
            drift_picture=picture(
                "drift",
                monitoring_figures.drift_figure(weeks),
                f"Population stability index of each week (named by its Monday) against the test questions; weeks with fewer than {ENOUGH} messages left out.",
                "Line chart of the population stability index over the weeks. The last week's values are in the drift table.",
            )
            if len(told) > 1
            else None,
            profiles_picture=picture(
                "profiles",
                monitoring_figures.profiles_figure(weeks[last]),
                f"Messages of the week from {last:%Y-%m-%d} (now) beside the test questions (judged on).",
                "Grouped bar charts of the shares of languages, lengths and topics.",
            ),
            requests_picture=picture(
                "requests",
                monitoring_figures.requests_figure(counts),
                f"Requests by task and {unit}, and shares of them.",
                "Stacked bar chart of requests and a line chart of shares. Totals are in the tables.",
            ),
            latency_picture=picture(
                "latency",
                monitoring_figures.latency_figure(counts),
                f"How long users waited, by {unit}. Times are counted in classes; drawn is the upper end of the class in which the median and the 95th percentile lie.",
                "Two line charts of latency over time.",
            )
            if any(count.name == "total" for count in counts)
            else None,
            requests=_requests_table(counts),
            safety=_safety_table(counts),
            feedback=_feedback_table(counts),
        )  # fmt: skip
    (out / "index.html").write_text(render_page("monitoring.html.j2", page), encoding="utf-8")
    document = {
        "first": datetime.fromtimestamp(counts[0].bucket, UTC).isoformat(),
        "last": datetime.fromtimestamp(counts[-1].bucket + BUCKET, UTC).isoformat(),
        "thresholds": {"watch": WATCH, "drift": DRIFT, "enough": ENOUGH, "level": LEVEL},
        "weeks": [{"monday": day.isoformat(), "drift": [_plain(d) for d in found]} for day, found in weeks.items()],
        "totals": _totals(counts),
    }  # fmt: skip
    write_json(out / "monitoring.json", document)
    return document


def _plain(drift: Drift) -> dict[str, Any]:
    fields = ("measure", "language", "index", "chance", "verdict")
    counts = {"expected": dict(drift.expected), "observed": dict(drift.observed)}
    return {name: getattr(drift, name) for name in fields} | counts


def _name(drift: Drift) -> str:
    language = names.language(drift.language)
    return {
        "language": "mix of languages",
        "length": f"lengths of {language} messages",
        "topic": f"topics of {language} messages",
    }[drift.measure]


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _lead(week: date, found: Sequence[Drift]) -> str:
    drifted = [_name(d) for d in found if d.verdict == "drift"]
    watched = [_name(d) for d in found if d.verdict == "watch"]
    when = f"In the week from {week:%Y-%m-%d}"
    if drifted:
        return f"{when} people wrote something else than the model was judged on: {_and(drifted)}."
    if watched:
        return f"{when} something has begun to change: {_and(watched)}."
    if all(d.verdict == "too few" for d in found):
        return f"{when} too few messages came to compare them with what the model was judged on."
    return f"{when} people wrote what the model was judged on."


def _findings(found: Sequence[Drift], judged: Profile) -> list[str]:
    said = []
    for d in found:
        if d.verdict in ("drift", "watch"):
            said.append(f"{_capital(_name(d))}: {_largest(d)}.")
    if any(d.verdict == "drift" for d in found):
        said.append(
            "Scores of the test set say little about such messages. Judge the model on test questions like them, and"
            " train on such records if it does badly."
        )
    few = [_name(d) for d in found if d.verdict == "too few"]
    if few and len(few) < len(found):
        said.append(f"Too few messages to tell: {_and(few)}.")
    if sum(judged.languages.values()) < ENOUGH:
        said.append(
            f"The test set has only {sum(judged.languages.values())} questions, so that only large changes can be told from chance."
        )
    return said


def _largest(drift: Drift) -> str:
    """The class whose share has changed most."""
    n, m = (sum(counts.values()) or 1 for counts in (drift.expected, drift.observed))
    shares = {
        c: (drift.expected.get(c, 0) / n, drift.observed.get(c, 0) / m)
        for c in {**drift.expected, **drift.observed}
    }
    most = max(shares, key=lambda c: (abs(shares[c][1] - shares[c][0]), c))
    before, now = shares[most]
    what = {"language": names.language(most), "length": f"{most} characters and up", "topic": f"“{most}”"}
    return f"most has changed {what[drift.measure]}, from {before:.0%} to {now:.0%}"


def _drift_table(week: date, found: Sequence[Drift]) -> Table:
    def number(value: float | None) -> Cell:
        return Cell(NOT_APPLICABLE) if value is None else Cell(names.decimal(value), exact=value)

    return plain_table(
        f"Messages of the week from {week:%Y-%m-%d} against the test questions.",
        ("Distribution", "Verdict", "Index", "By chance", "Messages", "Test questions"),
        (
            (
                _capital(_name(d)),
                d.verdict,
                number(d.index),
                number(d.chance),
                sum(d.observed.values()),
                sum(d.expected.values()),
            )
            for d in found
        ),
        2,
    )


def _totals(counts: Sequence[Count]) -> dict[str, dict[str, int]]:
    totals: dict[str, Counter[str]] = {}
    for count in counts:
        totals.setdefault(count.name, Counter())["/".join(count.key)] += count.count
    return {name: dict(sorted(rows.items())) for name, rows in sorted(totals.items())}


def _requests_table(counts: Sequence[Count]) -> Table:
    rows = Counter[tuple[str, str, str]]()
    outcomes: dict[tuple[str, str, str], Counter[str]] = {}
    for count in counts:
        if count.name == "request":
            task, audience, language, outcome = count.key
            rows[task, audience, language] += count.count
            outcomes.setdefault((task, audience, language), Counter())[outcome] += count.count
    return plain_table(
        "All requests by task, audience (client: a program) and language, and how they ended: answered; stopped by the user, or"
        " nobody waited any more; too late; refused as too long or too many; ended with the service; failed.",
        (
            "Task",
            "Audience",
            "Language",
            "Requests",
            "Answered",
            "Stopped",
            "Late",
            "Refused",
            "Ended",
            "Failed",
        ),
        (
            (
                names.task(key[0]),
                key[1],
                names.language(key[2]),
                rows[key],
                *(outcomes[key][o] for o in OUTCOMES),
            )
            for key in sorted(rows)
        ),
        3,
    )


def _safety_table(counts: Sequence[Count]) -> Table | None:
    words = {"flag": "red flag", "action": "reply's sentence", "masked": "identifier masked"}
    found = Counter[tuple[str, str, str]]()
    for count in counts:
        if count.name in words:
            kind, detail = (*count.key, NOT_APPLICABLE)[:2]
            found[words[count.name], kind, detail] += count.count
    if not found:
        return None
    return plain_table(
        "What the safety layer did: red flags by certainty, sentences of replies by what was done, identifiers masked.",
        ("What", "Kind", "How", "Times"),
        (
            (*key, times)
            for key, times in sorted(found.items(), key=lambda item: (item[0][0], -item[1], item[0]))
        ),
        3,
    )


def _feedback_table(counts: Sequence[Count]) -> Table | None:
    found: dict[tuple[str, str], Counter[str]] = {}
    reasons = Counter[str]()
    for count in counts:
        if count.name == "feedback":
            task, language, good = count.key
            found.setdefault((task, language), Counter())[good] += count.count
        elif count.name == "reason":
            reasons[count.key[0]] += count.count
    if not found:
        return None
    why = ", ".join(f"{reason} {times}" for reason, times in reasons.most_common()) or "none given"
    return plain_table(
        f"What users thought of replies. Reasons for “bad”: {why}.",
        ("Task", "Language", "Good", "Bad"),
        (
            (task, names.language(code), row["good"], row["bad"])
            for (task, code), row in sorted(found.items())
        ),
        2,
    )


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """A line for each distribution of the last week that could be told, for the terminal."""
    weeks = [w for w in document["weeks"] if any(d["verdict"] != "too few" for d in w["drift"])]
    if not weeks:
        return [f"Too few messages to compare (at least {ENOUGH} a week are needed)."]
    lines = [f"Week from {weeks[-1]['monday']}:"]
    for d in weeks[-1]["drift"]:
        index = "" if d["index"] is None else f" (index {d['index']:.3f}, by chance {d['chance']:.3f})"
        lines.append(
            f"  {d['measure']}{', ' + names.language(d['language']) if d['language'] else ''}: {d['verdict']}{index}"
        )
    return lines
