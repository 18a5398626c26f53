"""What computed the answers of each model, and whether it says what the reference says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mulmed.recipe import Api, Local, Made, Recipe
from mulmed.report import names
from mulmed.report.tables import NOT_APPLICABLE, Table, plain_table


def engines_table(recipe: Recipe, compared: Mapping[str, Mapping[str, Any]]) -> Table:
    """A row a model: its engine, its prompt, and the agreement with the reference.

    Args:
        compared: by model, the agreement of an engine that is not the reference (evaluation's ``engines.json``).
    """
    return plain_table(
        "How each model's answers were made. Engines other than transformers answered the same prompts greedily"
        " beforehand, and were compared token by token.",
        ("Model", "Answered by", "Prompt", "Agreement with transformers"),
        [(model, *_row(recipe, model, compared)) for model in recipe.models],
        text_columns=4,
    )


def agreement_sentence(found: Mapping[str, Any]) -> str:
    """``7 of 8 answers the same to the last token; 97.2% of 256 tokens before the first difference``."""
    return (
        f"{found['identical']} of {found['answers']} answers the same to the last token;"
        f" {names.percent(found['leading_share'])} of {names.count(found['tokens'])} tokens before the first difference"
    )


def _row(recipe: Recipe, model: str, compared: Mapping[str, Mapping[str, Any]]) -> tuple[str, str, str]:
    baseline = recipe.generation.baselines.get(model)
    if model in compared:
        return str(compared[model]["engine"]), recipe.template, agreement_sentence(compared[model])
    if baseline is None:
        return "transformers", recipe.template, "is the reference"
    if isinstance(baseline, Local):
        return "transformers", baseline.template, "is the reference"
    if isinstance(baseline, Api):
        host = urlsplit(baseline.api).hostname
        return f"{baseline.model} behind the API of {host}", f"chat, {baseline.template}", NOT_APPLICABLE
    if isinstance(baseline, Made):
        return "elsewhere: read from a file", NOT_APPLICABLE, NOT_APPLICABLE
    return f"elsewhere: published in {baseline.source}", NOT_APPLICABLE, NOT_APPLICABLE
