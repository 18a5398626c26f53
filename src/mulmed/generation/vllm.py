"""vLLM as an engine: many questions at a time on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mulmed.errors import MulmedError
from mulmed.generation.engine import Completion
from mulmed.recipe import Decoding


class VllmEngine:
    """Greedy decoding or sampling with vLLM (the extra ``vllm``).

    Args:
        folder: a checked Hugging Face model folder.
        eos_id: the token at which an answer ends.
        slots: questions answered at a time.
        context: tokens a question and its answer may have together.

    Raises:
        MulmedError: the library is not installed.
    """

    def __init__(self, folder: Path, eos_id: int, *, slots: int, context: int) -> None:
        try:
            self._library: Any = importlib.import_module("vllm")
        except ImportError as error:
            raise MulmedError(
                "vLLM is not installed.",
                where="generation.engine",
                remedy="pip install 'mulmed[vllm]' on a machine with a GPU, or let transformers answer.",
            ) from error
        self._eos_id = eos_id
        self._model: Any = self._library.LLM(
            model=str(folder),
            max_model_len=context,
            max_num_seqs=slots,
            trust_remote_code=False,
            load_format="safetensors",
            generation_config="vllm",  # the folder's own settings must not mix with the recipe's
            enable_prefix_caching=False,  # an answer must not depend on what was asked before
        )

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        """Decode the prompts; each samples with a seed of its own, whatever it is computed together with."""
        settings = [
            self._library.SamplingParams(**sampling(decoding, self._eos_id, seed + i))
            for i in range(len(prompts))
        ]
        outputs = self._model.generate(
            [{"prompt_token_ids": list(p)} for p in prompts], settings, use_tqdm=False
        )
        return [completion(output.outputs[0], self._eos_id) for output in outputs]


def sampling(decoding: Decoding, eos_id: int, seed: int) -> dict[str, Any]:
    """vLLM's names of our settings. Only our end of text ends an answer."""
    return {
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "top_p": decoding.top_p,
        "repetition_penalty": decoding.repetition_penalty,
        "seed": seed,
        "stop_token_ids": [eos_id],
        "ignore_eos": True,
        "detokenize": False,
    }


def completion(output: Any, eos_id: int) -> Completion:
    """vLLM's answer as ours: it leaves the token that ended it at the end."""
    ids = tuple(output.token_ids)
    if output.finish_reason == "length":
        return Completion(ids, "length")
    return Completion(ids[:-1] if ids and ids[-1] == eos_id else ids, "stop")
