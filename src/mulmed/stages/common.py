"""What the stages have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulmed.errors import MulmedError
from mulmed.prompts.template import Template
from mulmed.recipe import Recipe

if TYPE_CHECKING:
    from mulmed.prompts import Renderer

RECORDS = "records.parquet"
#: What the corpus stage learned for the tokenizer, and what it is worth.
VOCABULARY = "vocabulary.json"
#: Raised where a stage's results change: artifacts of an earlier number are made again.
VERSIONS = {"corpus": 8, "vocabulary": 1, "train": 7, "merge": 2, "generate": 4, "evaluate": 5, "report": 11}


def parent_of(model: str) -> Mapping[str, tuple[str, ...]]:
    """The stage that makes a model, as a stage's parent; none for the base."""
    return {} if model == "base" else {f"merge-{model}": ()}


def languages_of(recipe: Recipe) -> dict[str, Any]:
    """What of a stage's config the languages are that files have added; nothing where there are none."""
    added = [language.model_dump(mode="json") for language in recipe.languages]
    return {"languages": added} if added else {}


def trained_from(model: str, recipe: Recipe) -> Mapping[str, tuple[str, ...]]:
    """The stage that makes what a step trains on: as :func:`parent_of`, or the base with more tokens."""
    return {"vocabulary": ()} if model == "base" and recipe.vocabulary else parent_of(model)


def load_renderer(folder: Path, template: Template) -> Renderer:
    """A model's tokenizer with a template.

    Raises:
        MulmedError: the tokenizer cannot be loaded.
    """
    from transformers import AutoTokenizer

    from mulmed.prompts import Renderer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # tokenizers raises nothing more specific
        raise MulmedError(
            f"The model's tokenizer cannot be loaded: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            where=str(folder),
            remedy="Fetch its tokenizer files again.",
        ) from error
    return Renderer(tokenizer, template)
