"""llama.cpp as an engine: a GGUF export answered on the CPU, several questions at a time.

The library (``xllamacpp``, the extra ``llamacpp``) carries llama.cpp's server inside this process. It listens on this
machine's own address only, and answers nobody without the key made here.
"""

from __future__ import annotations

import importlib
import json
import secrets
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mulmed.errors import MulmedError
from mulmed.generation.engine import Completion
from mulmed.recipe import Decoding


class LlamaCppEngine:
    """Greedy decoding or sampling with llama.cpp.

    Attributes:
        address: of the server inside this process.
        key: without which it answers nobody.

    Args:
        gguf: the model.
        eos_id: the token at which an answer ends.
        slots: questions answered at a time.
        context: tokens a question and its answer may have together.
        threads: cores to compute on; None leaves the choice to llama.cpp.

    Raises:
        MulmedError: the library is not installed, or cannot read the file.
    """

    def __init__(
        self, gguf: Path, eos_id: int, *, slots: int, context: int, threads: int | None = None
    ) -> None:
        library = _library()
        self._eos_id = eos_id
        self._slots = slots
        self._context = context
        self.key = secrets.token_hex(16)
        settings = library.CommonParams()
        settings.model.path = str(gguf)
        settings.api_keys = [self.key]
        settings.n_parallel = slots
        settings.n_ctx = slots * context
        settings.kv_unified = False
        # An answer must not depend on what was asked before.
        settings.cache_ram_mib = settings.n_ctx_checkpoints = 0
        settings.ui = settings.warmup = False
        settings.verbosity = -1
        if threads is not None:
            settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = threads
        try:
            self._server: Any = library.Server(settings)
        except RuntimeError as error:
            raise MulmedError(
                f"llama.cpp cannot read the model: {error}.",
                where=str(gguf),
                remedy="Export it again with `mulmed export`.",
            ) from error
        self.address: str = self._server.listening_address

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        """Decode the prompts, ``slots`` of them at a time; when sampling one by one.

        What is computed together decides the last bits of every logit, and how requests come together is a
        matter of microseconds. Greedy answers do not hang on it, except where two tokens are equally
        likely to the sixth digit; a sample does.

        Raises:
            MulmedError: the settings ask for what llama.cpp has not, or a prompt leaves no room for its answer.
        """
        _refuse_what_it_has_not(decoding)
        longest = max(map(len, prompts))
        if longest + decoding.max_new_tokens > self._context:
            raise MulmedError(
                f"A prompt of {longest} tokens and {decoding.max_new_tokens} new ones do not fit into a context of "
                f"{self._context}.",
                where="generation",
                remedy="Make the engine's context larger.",
            )
        settings = {**request_settings(decoding, self._context), "return_tokens": True}
        with ThreadPoolExecutor(1 if decoding.temperature else self._slots) as pool:
            bodies = ({"prompt": list(p), "seed": seed + i, **settings} for i, p in enumerate(prompts))
            return list(pool.map(self._answer, bodies))

    def _answer(self, body: dict[str, Any]) -> Completion:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.address}/completion", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as response:
            answer = json.load(response)
        ids: list[int] = answer["tokens"]
        if answer["stop_type"] == "eos":
            return Completion(tuple(ids[:-1] if ids and ids[-1] == self._eos_id else ids), "stop")
        return Completion(tuple(ids), "length")


def request_settings(decoding: Decoding, context: int) -> dict[str, Any]:
    """The server's names of our settings, for a question and its answer in a context of so many tokens."""
    return {
        "n_predict": decoding.max_new_tokens,
        **_samplers(decoding),
        "repeat_penalty": decoding.repetition_penalty,
        "repeat_last_n": context,
        "cache_prompt": False,
    }


def _samplers(decoding: Decoding) -> dict[str, Any]:
    """In the order of transformers, without llama.cpp's own further ones.

    Greedily the most likely token is all that is left to choose from: probabilities of a whole vocabulary, which
    llama.cpp would otherwise work out one question after another, take as long as the model itself.
    """
    if decoding.temperature == 0:
        return {"samplers": ["penalties", "top_k"], "top_k": 1}
    chances = {"temperature": decoding.temperature, "top_p": decoding.top_p}
    return {"samplers": ["penalties", "temperature", "top_p"], **chances}


def _library() -> Any:
    try:
        return importlib.import_module("xllamacpp")
    except ImportError as error:
        raise MulmedError(
            "llama.cpp is not installed.",
            where="generation.engine",
            remedy="pip install 'mulmed[llamacpp]', or let transformers answer.",
        ) from error


def _refuse_what_it_has_not(decoding: Decoding) -> None:
    for name, plain in (("num_beams", 1), ("no_repeat_ngram", 0)):
        if getattr(decoding, name) != plain:
            raise MulmedError(
                f"llama.cpp has no decoding with {name}.",
                where=f"generation.decoding.{name}",
                remedy=f"Set it to {plain}, or let transformers answer.",
            )
