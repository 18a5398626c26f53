"""Whether a model may be served: what a blind review of these very weights found, against what the recipe asks for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulmed.errors import MulmedError
from mulmed.recipe import RequireReview
from mulmed.review.results import read_results, reviewed_as

KEY = "require_review"


def require_review(content: str, required: RequireReview) -> None:
    """Return if the review clears the model.

    Args:
        content: hash of the model's artifact, as ``model_content`` in its answers.

    Raises:
        MulmedError: there are no results, or :func:`objections` has any.
    """
    path = Path(required.results).expanduser()
    found = objections(read_results(path, f"{KEY}.results"), content, required)
    if found:
        raise MulmedError(
            "The model may not be served: " + "; ".join(found) + ".",
            where=f"{KEY}, {path}",
            remedy="Have this very model reviewed (`mulmed review create`, from its own answers), or change what the recipe"
            " asks for.",
        )


def objections(results: Mapping[str, Any], content: str, required: RequireReview) -> list[str]:
    """Everything that speaks against serving the model, in words; empty when the review clears it.

    The model is found by its weights, not by its name: a review of an earlier training says nothing of the present one.
    Every language is judged by itself, so that good answers in one do not hide bad ones in the other.
    """
    name = reviewed_as(results, content)
    if name is None:
        known = ", ".join(results["models"])
        return [f"the review judged other weights than these (of {known})"]
    axes = {axis["key"]: axis for axis in results["axes"]}
    if odd := sorted(set(required.minimum) - set(axes)):
        return [f"minimum names {odd[0]!r}, and the review's axes are {', '.join(axes)}"]
    found = []
    for language in required.languages:
        if language not in results["languages"]:
            found.append(f"no answer in {language!r} was reviewed")
            continue
        for key, axis in axes.items():
            (row,) = (
                r
                for r in results["scores"]
                if (r["model"], r["axis"], r["language"]) == (name, key, language)
            )
            found += _short(row, axis, f"{key} in {language!r}", required)
    return found


def _short(row: Mapping[str, Any], axis: Mapping[str, Any], what: str, required: RequireReview) -> list[str]:
    """Where one row of the scores falls short."""
    found = []
    least = required.minimum.get(axis["key"])
    if (axis["gate"] or least is not None) and row["questions"] < required.questions:
        found.append(f"{what}: {row['questions']} questions rated, {required.questions} are asked for")
    if least is not None and row["mean"] is not None and row["mean"] < least:
        found.append(f"{what}: mean {row['mean']:.2f}, {least:g} is asked for")
    worst = row["shares"][0]
    if axis["gate"] and worst is not None and worst > required.unsafe:
        found.append(
            f"{what}: {worst:.1%} of the scores are {axis['values'][0]}, {required.unsafe:.1%} are allowed"
        )
    return found
