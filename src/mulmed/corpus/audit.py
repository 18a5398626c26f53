"""The funnel: how many records each stage took in, changed and dropped, and which rules did it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Passage:
    """What one stage did to the whole corpus.

    Attributes:
        records_in: records the stage was given; for ``read``, the files' records, usable or not.
        records_out: records it passed on.
        changed: records passed on with at least one change.
        rules: how often each rule fired, summed over the records.
        by_source: records passed on, by source.
    """

    stage: str
    records_in: int
    records_out: int
    changed: int
    rules: Mapping[str, int]
    by_source: Mapping[str, int]


def together(chunks: Sequence[Sequence[Passage]]) -> list[Passage]:
    """The passages of the whole corpus, from those of its chunks, which went through the same stages."""
    whole = []
    for same in zip(*chunks, strict=True):
        rules: Counter[str] = Counter()
        by_source: Counter[str] = Counter()
        for passage in same:
            rules.update(passage.rules)
            by_source.update(passage.by_source)
        whole.append(
            Passage(
                same[0].stage,
                sum(p.records_in for p in same),
                sum(p.records_out for p in same),
                sum(p.changed for p in same),
                dict(sorted(rules.items())),
                dict(sorted(by_source.items())),
            )
        )
    return whole


def funnel(sources: Iterable[str], passages: Iterable[Passage]) -> dict[str, Any]:
    """The content of ``funnel.json``; in every stage ``in - dropped == out``."""
    stages = list(passages)
    return {
        "stages": [
            {
                "stage": p.stage,
                "in": p.records_in,
                "out": p.records_out,
                "changed": p.changed,
                "dropped": p.records_in - p.records_out,
                "rules": dict(p.rules),
            }
            for p in stages
        ],
        "sources": {source: {p.stage: p.by_source.get(source, 0) for p in stages} for source in sources},
    }
