"""Whether another engine says what the reference says: found out before it answers anything that is scored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.generation.engine import Completion, Engine
from mulmed.recipe import Decoding

AGREEMENT = "agreement.json"
#: Prompts that are compared, and new tokens of each: enough to tell a wrong prompt, arrangement of weights or end of text
#: from rounding.
PROMPTS, NEW_TOKENS = 8, 32
#: Least share of the prompts whose answers must begin with the reference's token. Rounding to eight bits changes some first
#: tokens of a small model; an engine that reads prompts or weights otherwise changes nearly all.
FLOOR = 0.5


def check_engine(
    name: str,
    load_reference: Callable[[], Engine],
    engine: Engine,
    prompts: Sequence[Sequence[int]],
    decoding: Decoding,
    out: Path,
) -> dict[str, Any]:
    """Compare an engine with the reference on up to ``PROMPTS`` of the prompts, and write the result as ``agreement.json``.

    What an interrupted run has found out holds.

    Args:
        name: what the engine is called in reports.
        out: the folder of the stage that will answer with it.

    Raises:
        MulmedError: it does not say what the reference says.
    """
    file = out / AGREEMENT
    if file.exists():
        known: dict[str, Any] = orjson.loads(file.read_bytes())
        return known
    # Spread over the lengths, so that short and long prompts are among them.
    ranked = sorted(prompts, key=lambda p: (len(p), list(p)))
    chosen = ranked[:: max(1, len(ranked) // PROMPTS)][:PROMPTS]
    settings = decoding.model_copy(update={"max_new_tokens": min(decoding.max_new_tokens, NEW_TOKENS)})
    found = compare_engines(load_reference(), engine, chosen, settings)
    if found["same_beginning"] < FLOOR * found["answers"]:
        raise MulmedError(
            f"{name} answers otherwise than transformers: {found['same_beginning']} of {found['answers']} answers begin "
            "with the same token.",
            where="generation.engine",
            remedy="Let transformers answer, and report this.",
        )
    found = {"engine": name, "reference": "transformers", "new_tokens": settings.max_new_tokens, **found}
    write_json(file, found)
    return found


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
        ``answers``; ``identical``: how many are equal to the last token and in how they ended; ``same_beginning``: how many
        begin with the same token; ``tokens`` of the reference; ``leading_tokens``: how many of them stand before the first difference, and
        ``leading_share``, their share.
    """
    identical = beginning = tokens = leading = 0
    for a, b in zip(expected, actual, strict=True):
        left, right = ([*c.ids, *(["end"] if c.finish == "stop" else [])] for c in (a, b))
        same = next((i for i, (x, y) in enumerate(zip(left, right, strict=False)) if x != y), None)
        leading += min(len(left), len(right)) if same is None else same
        tokens += len(left)
        identical += left == right
        beginning += left[:1] == right[:1]
    return {
        "answers": len(expected),
        "identical": identical,
        "same_beginning": beginning,
        "tokens": tokens,
        "leading_tokens": leading,
        "leading_share": leading / tokens if tokens else 1.0,
    }
