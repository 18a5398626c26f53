"""What the stages have in common."""

from __future__ import annotations

from collections.abc import Mapping

RECORDS = "records.parquet"
#: Raised where a stage's results change: artifacts of an earlier number are made again.
VERSIONS = {"corpus": 6, "train": 2, "merge": 2, "generate": 1, "evaluate": 3, "report": 2}


def parent_of(model: str) -> Mapping[str, tuple[str, ...]]:
    """The stage that makes a model, as a stage's parent; none for the base."""
    return {} if model == "base" else {f"merge-{model}": ()}
