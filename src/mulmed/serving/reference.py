"""transformers as a serving engine: the reference, one completion at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

from mulmed.recipe import Decoding
from mulmed.serving.engine import EngineFailed, Piece, Scored


class Reference:
    """Completions by ``transformers.generate``, one after another.

    Args:
        folder: a checked Hugging Face model folder.
        tokenizer: its tokenizer.
        eos_id: the token at which an answer ends.
        context: as :class:`mulmed.serving.engine.ServingEngine` says.
    """

    name = "transformers"
    slots = 1

    def __init__(self, folder: Path, tokenizer: Any, eos_id: int, *, context: int) -> None:
        from mulmed.generation.engine import TransformersEngine

        self.context = context
        self._engine = TransformersEngine(folder, eos_id)
        self._tokenizer = tokenizer

    async def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:
        """The completion, computed in a thread that stops at its next token when nobody reads any more."""
        loop = asyncio.get_running_loop()
        pieces: asyncio.Queue[Piece | None] = asyncio.Queue()
        left = threading.Event()

        def put(piece: Piece | None) -> None:
            loop.call_soon_threadsafe(pieces.put_nowait, piece)

        def compute() -> None:
            try:
                self._compute(prompt, decoding, put, left.is_set)
            finally:
                put(None)

        thread = loop.run_in_executor(None, compute)
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            try:
                await thread
            except RuntimeError as error:
                raise EngineFailed(f"transformers failed: {type(error).__name__}") from None
        finally:
            left.set()

    def _compute(
        self,
        prompt: Sequence[int],
        decoding: Decoding,
        put: Callable[[Piece], None],
        left: Callable[[], bool],
    ) -> None:
        words = Detokenizer(self._tokenizer)

        def token(id: int) -> bool:
            put(Piece(words.feed(id), 1, ids=(id,)))
            return not left()

        completion = self._engine.complete_one(prompt, decoding, token)
        put(Piece(words.finish(), 0, completion.finish))

    async def score(self, ids: Sequence[int], top: int) -> list[Scored] | None:
        """Computed at once, in a thread."""
        found = await asyncio.get_running_loop().run_in_executor(None, self._engine.chances, ids, top)
        return [Scored(0.0, ()), *(Scored(*token) for token in found)]

    def close(self) -> None:
        """Nothing runs beside the requests."""


class Detokenizer:
    """Token ids -> text, as they come; a character of several tokens when it is whole.

    What is held back is decoded again with every token, together with the token before it, which decides
    about blanks between words.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0  # ids whose text was given
        self._context = 0  # the first id that is decoded again

    def feed(self, id: int) -> str:
        """The text that is certain now."""
        self._ids.append(id)
        return self._more(whole=True)

    def finish(self) -> str:
        """What is left, broken characters and all."""
        return self._more(whole=False)

    def _more(self, *, whole: bool) -> str:
        before = self._decode(self._ids[self._context : self._shown])
        text = self._decode(self._ids[self._context :])
        if len(text) <= len(before) or (whole and text.endswith("\ufffd")):
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return text[len(before) :]

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=True))
