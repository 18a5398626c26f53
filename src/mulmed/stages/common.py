"""What the stages have in common."""

from __future__ import annotations

from collections.abc import Mapping

from mulmed.recipe import Recipe

RECORDS = "records.parquet"
#: What the corpus stage learned for the tokenizer, and what it is worth.
VOCABULARY = "vocabulary.json"
#: Raised where a stage's results change: artifacts of an earlier number are made again.
VERSIONS = {"corpus": 6, "vocabulary": 1, "train": 4, "merge": 2, "generate": 1, "evaluate": 3, "report": 5}


def parent_of(model: str) -> Mapping[str, tuple[str, ...]]:
    """The stage that makes a model, as a stage's parent; none for the base."""
    return {} if model == "base" else {f"merge-{model}": ()}


def trained_from(model: str, recipe: Recipe) -> Mapping[str, tuple[str, ...]]:
    """The stage that makes what a step trains on: as :func:`parent_of`, or the base with more tokens."""
    return {"vocabulary": ()} if model == "base" and recipe.vocabulary else parent_of(model)
