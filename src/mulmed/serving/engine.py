"""What computes the answers: one protocol for llama.cpp in this process, transformers, and vLLM beside it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mulmed.recipe import Decoding

Finish = Literal["stop", "length"]


class EngineFailed(Exception):
    """The engine did not answer as it should; the message holds nothing of the request."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of a completion.

    Attributes:
        text: may be empty.
        tokens: how many tokens were computed for it.
        ids: those tokens, where the engine tells them.
        finish: with the last piece: the model ended its answer, or it was cut off.
    """

    text: str
    tokens: int = 0
    finish: Finish | None = None
    ids: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A token's natural logarithm of its probability, and the likeliest tokens in its place."""

    logprob: float
    top: tuple[tuple[int, float], ...]


class ServingEngine(Protocol):
    """Completes prompts of token ids, some at a time.

    Attributes:
        name: what the user reads.
        slots: completions computed at a time.
        context: tokens a prompt and its completion may have together.
    """

    name: str
    slots: int
    context: int

    def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:
        """The completion, piece by piece. Whoever stops iterating (``aclose``) stops the computation."""

    async def score(self, ids: Sequence[int], top: int) -> list[Scored] | None:
        """Each token's chance given those before it (the first one's is 0 and has none), or None: the engine cannot tell."""

    def close(self) -> None:
        """End whatever runs."""
