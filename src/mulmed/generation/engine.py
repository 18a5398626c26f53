"""Engines: prompts' token ids -> completions. The reference is transformers itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from mulmed.recipe import Decoding
from mulmed.training.lora import load_adapter
from mulmed.training.model import choose_device, keep_freed_memory, load_model


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


class _Thinned:
    """Ends a stretch of decoding when a quarter of the rows have ended their answers, so that the others go on without them.

    Args:
        eos_id: the token at which an answer ends.
        prompt: tokens of each row before its answer.
    """

    def __init__(self, eos_id: int, prompt: int) -> None:
        self._eos_id, self._prompt = eos_id, prompt

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
        ended = (input_ids[:, self._prompt :] == self._eos_id).any(1)
        return (4 * ended.sum() >= len(ended)).expand(len(ended))


class TransformersEngine:
    """The reference engine: ``model.generate`` on a left-padded batch.

    Args:
        folder: a checked Hugging Face model folder.
        eos_id: the token at which an answer ends.
        adapter: a checked folder with a LoRA adapter to put on the model.
    """

    def __init__(self, folder: Path, eos_id: int, adapter: Path | None = None) -> None:
        keep_freed_memory()
        placement = choose_device("auto")
        if placement.dtype == torch.float16:
            # Training stops where float16's range is too small (Gemma); answers would be wrong and nobody know.
            placement = replace(placement, dtype=torch.bfloat16)
        self._model: Any = load_model(folder, placement)
        if adapter is not None:
            load_adapter(self._model, adapter)
        self._model.eval()
        self._eos_id = eos_id

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        """Decode the batch.

        Padding is masked from the model, but older versions of transformers count it as a repetition, so
        it repeats the prompt's own first token: with the end-of-text token a padded answer would not end.
        """
        longest = max(len(p) for p in prompts)
        ids = torch.tensor([[p[0]] * (longest - len(p)) + list(p) for p in prompts])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
        output = self._generate(ids, mask, decoding, seed)
        return [self._completion(row) for row in output[:, longest:].tolist()]

    def complete_one(
        self, prompt: Sequence[int], decoding: Decoding, told: Callable[[int], bool]
    ) -> Completion:
        """Decode one prompt, with the decoding's own seed.

        Args:
            told: gets every token of the answer when it is computed; says whether to go on.
        """
        from transformers import StoppingCriteria, StoppingCriteriaList

        eos_id = self._eos_id

        class Told(StoppingCriteria):  # type: ignore[misc]
            def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:  # noqa: ARG002
                id = int(input_ids[0, -1])
                stop = id != eos_id and not told(id)
                return torch.tensor([stop], device=input_ids.device)

        ids = torch.tensor([list(prompt)])
        output = self._generate(
            ids,
            torch.ones_like(ids),
            decoding,
            decoding.seed,
            stopping_criteria=StoppingCriteriaList([Told()]),
        )
        return self._completion(output[0, len(prompt) :].tolist())

    @torch.inference_mode()
    def chances(self, ids: Sequence[int], top: int) -> list[tuple[float, tuple[tuple[int, float], ...]]]:
        """For every token but the first: its log probability given those before it, and the ``top`` likeliest ones."""
        row = torch.tensor([list(ids)], device=self._model.device)
        logits = self._model(input_ids=row[:, :-1], use_cache=False).logits[0].float()
        logprobs = logits.log_softmax(-1)
        own = logprobs.gather(-1, row[0, 1:, None])[:, 0].tolist()
        best = logprobs.topk(top)
        likeliest = [
            tuple(zip(i, v, strict=True))
            for i, v in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
        return list(zip(own, likeliest, strict=True))

    @torch.inference_mode()
    def _generate(
        self, ids: torch.Tensor, mask: torch.Tensor, decoding: Decoding, seed: int, **more: Any
    ) -> torch.Tensor:
        """The rows of ``ids`` with their answers behind them, padded with the end-of-text token."""
        from transformers import StaticCache, StoppingCriteriaList

        torch.manual_seed(seed)
        device = self._model.device
        ids, mask = ids.to(device), mask.to(device)
        config = self._config(decoding)
        if decoding.num_beams > 1:  # they change places in the cache
            return self._generated(ids, mask, config, **more)
        count, longest = ids.shape
        whole = longest + decoding.max_new_tokens
        # Room for every token is taken once: a cache that grows is copied whole for each of them.
        cache = StaticCache(config=self._model.config, max_cache_len=whole)
        if count == 1:
            return self._generated(ids, mask, config, past_key_values=cache, **more)
        output = torch.full((count, whole), self._eos_id, device=device)
        rows = torch.arange(count, device=device)
        while True:
            thinned = StoppingCriteriaList([_Thinned(self._eos_id, longest)])
            written = self._generated(
                ids, mask, config, past_key_values=cache, stopping_criteria=thinned, **more
            )
            output[rows, : written.shape[1]] = written
            left = whole - written.shape[1]
            on = (written[:, longest:] != self._eos_id).all(1)
            if left == 0 or not on.any():
                return output
            cache.reorder_cache(on.nonzero()[:, 0])
            rows, ids = rows[on], written[on]
            mask = torch.nn.functional.pad(mask[on], (0, ids.shape[1] - mask.shape[1]), value=1)
            config.max_new_tokens = left

    def _config(self, decoding: Decoding) -> Any:
        from transformers import GenerationConfig

        sampling = decoding.temperature > 0
        return GenerationConfig(
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
            disable_compile=True,
        )

    def _generated(self, ids: torch.Tensor, mask: torch.Tensor, config: Any, **more: Any) -> torch.Tensor:
        # The folder's own generation settings must not mix with the recipe's.
        self._model.generation_config = config
        output: torch.Tensor = self._model.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, **more
        )
        return output

    def _completion(self, ids: list[int]) -> Completion:
        if self._eos_id in ids:
            return Completion(tuple(ids[: ids.index(self._eos_id)]), "stop")
        return Completion(tuple(ids), "length")
