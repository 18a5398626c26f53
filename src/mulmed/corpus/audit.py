"""The funnel: how many records each stage took in, changed and dropped, and which rules did it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from mulmed.corpus.batch import StageResult


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


def passage(stage: str, before: pl.DataFrame, result: StageResult) -> Passage:
    """What ``stage`` did, by its own audit.

    Raises:
        RuntimeError: the stage dropped a record without an audit row, audited as dropped one that it
            kept, or made one up: a mistake in the stage, not in the data.
    """
    audited = set(result.audit.filter(pl.col("action") == "dropped")["id"])
    before_ids, after_ids = set(before["id"]), set(result.batch["id"])
    if audited != before_ids - after_ids or not after_ids <= before_ids:
        raise RuntimeError(f"the audit of stage {stage!r} does not account for every record")
    return Passage(
        stage,
        records_in=before.height,
        records_out=result.batch.height,
        changed=result.audit.filter(pl.col("action") == "changed")["id"].n_unique(),
        rules=rule_counts(result.audit),
        by_source=source_counts(result.batch),
    )


def rule_counts(audit: pl.DataFrame) -> dict[str, int]:
    """Sum of ``count`` by rule."""
    return dict(audit.group_by("rule").agg(pl.col("count").sum()).sort("rule").iter_rows())


def source_counts(batch: pl.DataFrame) -> dict[str, int]:
    """Records by source."""
    return dict(batch.group_by("source").len().sort("source").iter_rows())


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
