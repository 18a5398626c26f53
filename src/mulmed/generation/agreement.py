"""Whether another engine says what the reference says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mulmed.generation.engine import Completion, Engine
from mulmed.recipe import Decoding


def greedy(decoding: Decoding) -> Decoding:
    """The same settings without chance and without beams: what engines can be compared on."""
    return decoding.model_copy(update={"temperature": 0.0, "num_beams": 1})


def compare_engines(
    reference: Engine, other: Engine, prompts: Sequence[Sequence[int]], decoding: Decoding
) -> dict[str, Any]:
    """Ask both engines the same, greedily, and compare the answers token by token.

    Returns:
        See ``compare_answers``.
    """
    settings = greedy(decoding)
    answers = (engine.complete(prompts, settings, decoding.seed) for engine in (reference, other))
    return compare_answers(*answers)


def compare_answers(expected: Sequence[Completion], actual: Sequence[Completion]) -> dict[str, Any]:
    """How far answers agree.

    After a first other token two answers are to different questions, so only what stands before it counts. The end
    of an answer counts as a token.

    Returns:
        ``answers``; ``identical``: how many are equal to the last token and in how they ended; ``tokens`` of the
        reference; ``leading_tokens``: how many of them stand before the first difference, and
        ``leading_share``, their share.
    """
    identical = tokens = leading = 0
    for a, b in zip(expected, actual, strict=True):
        left, right = ([*c.ids, *(["end"] if c.finish == "stop" else [])] for c in (a, b))
        same = next((i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), None)
        leading += min(len(left), len(right)) if same is None else same
        tokens += len(left)
        identical += left == right
    return {
        "answers": len(expected),
        "identical": identical,
        "tokens": tokens,
        "leading_tokens": leading,
        "leading_share": leading / tokens if tokens else 1.0,
    }
