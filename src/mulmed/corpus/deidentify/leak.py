"""The leak report: how much of what identifies someone is found, and how much of what is found does.

``python -m mulmed.corpus.deidentify.leak --data FOLDER --out FOLDER`` measures both profiles on the half of each
labelled set that the rules were not made on, and writes ``leak.json`` and ``leak.md``. The ``leak.json`` beside this
module is what data cards quote (:mod:`mulmed.corpus.card`).
"""

from __future__ import annotations

import argparse
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from mulmed.corpus.deidentify import deidentify_text
from mulmed.corpus.deidentify.invented import hospitals, made_up
from mulmed.corpus.deidentify.labelled import Example, consultations, general_english, half, visits
from mulmed.corpus.deidentify.rules import Profile


@dataclass(frozen=True, slots=True)
class Score:
    """Counts of one kind in one set.

    Attributes:
        labelled: spans that identify someone, by the labels.
        overlap: of these, touched by what was replaced, whatever kind it was called.
        covered: of these, replaced to the last character.
        exact: of these, replaced from their first to their last character and not beyond.
        found: spans replaced as this kind.
        right: of these, touching something labelled, of whatever kind.
    """

    labelled: int = 0
    overlap: int = 0
    covered: int = 0
    exact: int = 0
    found: int = 0
    right: int = 0

    def __add__(self, other: Score) -> Score:
        return Score(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927, JASA 22:209); (0, 1) without trials."""
    if not trials:
        return 0.0, 1.0
    share = successes / trials
    middle = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


def leak_report(examples: Iterable[Example], profile: Profile) -> dict[tuple[str, str], Score]:
    """Scores by set and kind, in the order of their first appearance."""
    scores: dict[tuple[str, str], Score] = defaultdict(Score)
    for example in examples:
        spans = deidentify_text(example.text, example.language, profile).spans
        for label in example.labels:
            near = [s for s in spans if s.start < label.end and s.end > label.start]
            left = set(range(label.start, label.end)).difference(*(range(s.start, s.end) for s in near))
            # Spaces between the words of a name tell nothing.
            covered = near and not "".join(example.text[i] for i in left).strip()
            exact = any((s.start, s.end) == (label.start, label.end) for s in near)
            scores[example.source, label.kind] += Score(1, bool(near), bool(covered), exact)
        # Of what is not labelled in a real text nothing is known.
        for span in spans if example.complete else ():
            right = any(span.start < label.end and span.end > label.start for label in example.labels)
            scores[example.source, span.kind.upper()] += Score(found=1, right=right)
    return dict(scores)


def rows(scores: dict[tuple[str, str], Score], profile: str) -> Iterator[dict[str, Any]]:
    """One row a set and kind for the report's JSON; shares are null where nothing was counted."""
    for (source, kind), score in scores.items():
        low, high = wilson(score.overlap, score.labelled)
        yield {
            "set": source,
            "kind": kind,
            "profile": profile,
            **asdict(score),
            "recall_overlap": score.overlap / score.labelled if score.labelled else None,
            "recall_overlap_95": [low, high],
            "recall_covered": score.covered / score.labelled if score.labelled else None,
            "recall_exact": score.exact / score.labelled if score.labelled else None,
            "precision": score.right / score.found if score.found else None,
        }


def table(report: Iterable[dict[str, Any]]) -> str:
    """The report as a table in Markdown: kinds that were labelled, one row ("both") where the profiles do not differ."""
    lines = [
        "| Set | Kind | Profile | Labelled | Recall (overlap) | 95% interval | Covered | Exact | Found | Precision |",
        "|---|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    profiles: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for row in report:
        if row["labelled"]:
            profiles[row["set"], row["kind"]][row["profile"]] = _counts(row)
    for (name, kind), counts in profiles.items():
        same = len(counts) > 1 and len(set(counts.values())) == 1
        shown = {"both": next(iter(counts.values()))} if same else counts
        lines.extend(f"| {name} | {kind} | {profile} | {cells} |" for profile, cells in shown.items())
    return "\n".join(lines) + "\n"


def _counts(row: dict[str, Any]) -> str:
    low, high = row["recall_overlap_95"]
    precision = "" if row["precision"] is None else f"{row['precision']:.3f}"
    return (
        f"{row['labelled']} | {row['recall_overlap']:.3f} | {low:.3f} to {high:.3f} | {row['recall_covered']:.3f}"
        f" | {row['recall_exact']:.3f} | {row['found'] or ''} | {precision}"
    )


_LOCALES: tuple[Literal["zh_CN", "en_US", "en_IN"], ...] = ("zh_CN", "en_US", "en_IN")
_LANGUAGES: tuple[Literal["zh", "en"], ...] = ("zh", "en")


def labelled_sets(data: Path | None, count: int = 1200) -> Iterator[Example]:
    """Every labelled set there is: those we make always, the published ones and real texts where ``data`` holds them."""
    for locale in _LOCALES:
        yield from made_up(locale, count)
    for language in _LANGUAGES:
        yield from hospitals(language, count)
    if data is not None:
        carriers = {language: list(consultations(data, language)) for language in _LANGUAGES}
        for locale in _LOCALES:
            if texts := carriers["zh" if locale == "zh_CN" else "en"]:
                yield from made_up(locale, count, carriers=texts)
        yield from general_english(data)
        yield from visits(data)


def main(arguments: list[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", type=Path, help="folder with pii_en and dialogue_en; without: Faker's sets only"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for leak.json and leak.md")
    parser.add_argument("--half", choices=("tune", "report"), default="report")
    options = parser.parse_args(arguments)
    examples = [e for e in labelled_sets(options.data) if half(e) == options.half]
    report = [row for profile in ("fast", "full") for row in rows(leak_report(examples, profile), profile)]
    options.out.mkdir(parents=True, exist_ok=True)
    # Another version of Faker draws other values.
    told = {"faker": version("faker"), "rows": report}
    (options.out / "leak.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (options.out / "leak.md").write_text(table(report), encoding="utf-8")
    print(table(report), end="")


if __name__ == "__main__":
    main()
