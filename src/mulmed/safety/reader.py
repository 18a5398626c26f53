"""A second reader of messages: the first layers of Gemma 3 270M, and a head that tells danger from the rest.

Rules and the small classifier (:mod:`.classifier`) know words; a language model has read enough to know that other words
mean the same. Its middle layers hold most of that, so that a third of it is enough: a message's tokens go through
eight layers, their states are averaged, and three small networks on the average give log odds. They are added to the
classifier's. The head is ours (``benchmarks/red_flags/train_reader.py``), the layers are the embedded base's, which a
machine may have or not: without it, rules and classifier stand alone. Nothing is generated, and nothing in a message
is an instruction to anybody.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mulmed.errors import MulmedError

#: Layers a message goes through, and tokens of it that are read at most.
LAYERS, TOKENS = 8, 512
HEAD = Path(str(files("mulmed.safety").joinpath("reader.safetensors")))


class Encoder:
    """Messages as vectors.

    Args:
        folder: the converted base, a Hugging Face folder that was checked.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        # The weights stay in the file until they are used: of the layers cut off nothing is read.
        model: Any = AutoModel.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
        model.layers = model.layers[:LAYERS]
        model.norm = torch.nn.Identity()
        self._model = model.eval()

    @torch.inference_mode()
    def vectors(self, texts: Sequence[str]) -> torch.Tensor:
        """The mean of the states of each text's tokens, shape (texts, width); of its first 512 tokens."""
        batch = self._tokenizer(
            list(texts), return_tensors="pt", padding=True, truncation=True, max_length=TOKENS
        )
        mask = batch["attention_mask"][..., None].float()
        states = self._model(**batch, use_cache=False).last_hidden_state
        mean: torch.Tensor = (states * mask).sum(1) / mask.sum(1)
        return mean


class Reader:
    """The second reader: texts -> how likely each tells of somebody's present danger.

    Args:
        folder: the converted base.
        base: what the base is (``mulmed.base.embedded.identity``).

    Raises:
        MulmedError: the head was trained on the states of another base.
    """

    def __init__(self, folder: Path, base: str) -> None:
        if base != trained_on():
            raise MulmedError(
                "The second reader of red flags was trained on another base.",
                where=str(folder),
                remedy=f"It needs {trained_on()}.",
            )
        self._encoder = Encoder(folder)
        self._head = {name: tensor.float() for name, tensor in load_file(HEAD).items()}
        self._turn = threading.Lock()

    def odds(self, texts: Sequence[str]) -> list[float]:
        """Log odds of danger, one for each text; one call at a time computes."""
        with self._turn:
            vectors = torch.cat([self._encoder.vectors([text]) for text in texts])
        found: list[float] = head_odds(vectors, self._head).tolist()
        return found


def trained_on() -> str:
    """The base whose states the head was trained on."""
    with safe_open(HEAD, framework="pt") as file:
        return str(file.metadata()["base"])


def head_odds(vectors: torch.Tensor, head: dict[str, torch.Tensor]) -> torch.Tensor:
    """Log odds by the head's networks, averaged.

    Args:
        vectors: shape (texts, width).
        head: ``mean`` and ``spread`` (width), ``inner`` (networks, width, hidden), ``hidden`` and ``outer`` (networks,
            hidden), ``last`` (networks).
    """
    scaled = ((vectors - head["mean"]) / head["spread"]).clamp(-6, 6)
    hidden = torch.relu(torch.einsum("tw,nwh->nth", scaled, head["inner"]) + head["hidden"][:, None])
    each = torch.einsum("nth,nh->nt", hidden, head["outer"]) + head["last"][:, None]
    return each.mean(0)
