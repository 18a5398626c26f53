"""Engines: prompts' token ids -> completions. The reference is transformers itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from mulmed.recipe import Decoding
from mulmed.training.lora import load_adapter
from mulmed.training.model import choose_device, load_model


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote after a prompt.

    Attributes:
        ids: generated token ids without the end-of-text token.
        finish: ``stop`` when the model ended its answer, ``length`` when it was cut off.
    """

    ids: tuple[int, ...]
    finish: Literal["stop", "length"]


class Engine(Protocol):
    """Anything that completes prompts."""

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        """One completion a prompt, in order."""


class TransformersEngine:
    """The reference engine: ``model.generate`` on a left-padded batch.

    Args:
        folder: a checked Hugging Face model folder.
        eos_id: the token at which an answer ends.
        adapter: a checked folder with a LoRA adapter to put on the model.
    """

    def __init__(self, folder: Path, eos_id: int, adapter: Path | None = None) -> None:
        self._model: Any = load_model(folder, choose_device("auto"))
        if adapter is not None:
            load_adapter(self._model, adapter)
        self._model.eval()
        self._eos_id = eos_id

    @torch.inference_mode()
    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        """Decode the batch.

        Padding is masked from the model, but older versions of transformers count it as a repetition, so
        it repeats the prompt's own first token: with the end-of-text token a padded answer would not end.
        """
        from transformers import GenerationConfig

        longest = max(len(p) for p in prompts)
        ids = torch.tensor([[p[0]] * (longest - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        sampling = decoding.temperature > 0
        config = GenerationConfig(
            max_new_tokens=decoding.max_new_tokens,
            num_beams=decoding.num_beams,
            do_sample=sampling,
            temperature=decoding.temperature if sampling else None,
            top_p=decoding.top_p if sampling else None,
            top_k=0 if sampling else None,
            repetition_penalty=decoding.repetition_penalty,
            no_repeat_ngram_size=decoding.no_repeat_ngram,
            eos_token_id=self._eos_id,
            pad_token_id=self._eos_id,
        )
        torch.manual_seed(seed)
        device = self._model.device
        # The folder's own generation settings must not mix with the recipe's.
        self._model.generation_config = config
        output = self._model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=config
        )
        return [self._completion(row) for row in output[:, longest:].tolist()]

    def _completion(self, ids: list[int]) -> Completion:
        if self._eos_id in ids:
            return Completion(tuple(ids[: ids.index(self._eos_id)]), "stop")
        return Completion(tuple(ids), "length")
