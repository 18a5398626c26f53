"""BERTScore: how near the words of an answer are to those of the reference, by a language model's embeddings.

Zhang et al. 2020 (ICLR, arXiv:1904.09675), without weighting by inverse document frequency and without rescaling: the
same numbers as the authors' ``bert-score`` package for the same model and layer. It is computed only where the user
names a model, for which layer and language its publisher answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulmed.errors import MulmedError
from mulmed.evaluation.metric import Metric

if TYPE_CHECKING:
    import torch

METRICS = {
    "bertscore": Metric(
        "BERTScore",
        "Harmonic mean of BERTScore's precision and recall: each token's largest cosine similarity to a token of the other"
        " text, averaged (Zhang et al. 2020; no idf, not rescaled). Unrelated texts score far above 0: compare models,"
        " not languages.",
        "higher",
    ),
    "bertscore_precision": Metric("BERTScore precision", "As BERTScore, over the answer's tokens.", "higher"),
    "bertscore_recall": Metric("BERTScore recall", "As BERTScore, over the reference's tokens.", "higher"),
}


@dataclass(frozen=True, slots=True)
class BertScore:
    """Precision, recall and F1 of one answer, each at most 1; all 0 where one of the texts is empty."""

    precision: float
    recall: float
    f1: float

    def values(self) -> Mapping[str, float]:
        """By the keys of :data:`METRICS`."""
        return {"bertscore": self.f1, "bertscore_precision": self.precision, "bertscore_recall": self.recall}


def bert_scores(
    pairs: Sequence[tuple[str, str]],
    folder: Path,
    layer: int | None = None,
    *,
    batch: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> list[BertScore]:
    """BERTScore of (answer, reference) pairs, in their order.

    Args:
        pairs: texts; what is longer than the model can read is cut at its end.
        folder: an encoder in the Hugging Face layout, read from there alone.
        layer: whose output is compared, from 1 to the number of layers; default the last. The authors recommend 8 for
            bert-base-chinese, 9 for bert-base-multilingual-cased, 17 for roberta-large.
        batch: texts embedded at once, the longest first.
        progress: told the number of texts done and their total.

    Raises:
        MulmedError: the model has no such layer, or cannot be loaded.
    """
    import torch

    tokenizer, model = _load(folder, layer)
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None) or 10**9)
    texts = sorted({text.strip() for pair in pairs for text in pair} - {""}, key=lambda t: (-len(t), t))
    embedded: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    with torch.inference_mode():
        for start in range(0, len(texts), batch):
            some = texts[start : start + batch]
            embedded |= zip(some, _embed(some, tokenizer, model, longest), strict=True)
            if progress:
                progress(min(start + batch, len(texts)), len(texts))
        return [_score(*(embedded.get(text.strip()) for text in pair)) for pair in pairs]


def _load(folder: Path, layer: int | None) -> tuple[Any, Any]:
    """Tokenizer, and model cut behind the layer."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        layers = AutoConfig.from_pretrained(folder, local_files_only=True).num_hidden_layers
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        wanted = layers if layer is None else layer
        if not 1 <= wanted <= layers:
            raise MulmedError(
                f"The model of BERTScore has {layers} layers, not {layer}.",
                where="evaluation.bertscore.layer",
                remedy=f"Set it to a number from 1 to {layers}, or leave it out for the last.",
            )
        # What stands above the layer is neither loaded nor run.
        model = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype="float32",
            num_hidden_layers=wanted,
        )
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise MulmedError(
            f"The model of BERTScore cannot be loaded: {str(error).splitlines()[0]}",
            where=f"evaluation.bertscore.model: {folder}",
            remedy="Name an encoder such as bert-base-multilingual-cased, with safetensors and tokenizer.",
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, model.eval()


def _embed(
    texts: list[str], tokenizer: Any, model: Any, longest: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """For each text: unit vectors of its tokens (tokens, width), and which of them are words, not marks of the model's."""
    import torch

    given = tokenizer(
        texts,
        padding=True,
        truncation=True,
        max_length=longest,
        return_special_tokens_mask=True,
        return_tensors="pt",
    )
    marks = given.pop("special_tokens_mask")
    states = model(**given).last_hidden_state
    units = torch.nn.functional.normalize(states.float(), dim=-1)
    for vectors, there, mark in zip(units, given["attention_mask"].bool(), marks.bool(), strict=True):
        yield vectors[there], ~mark[there]


def _score(
    answer: tuple[torch.Tensor, torch.Tensor] | None, reference: tuple[torch.Tensor, torch.Tensor] | None
) -> BertScore:
    """Greedy matching; the model's own marks (CLS, SEP) may be matched, but do not count, as with the authors."""
    if answer is None or reference is None or not answer[1].any() or not reference[1].any():
        return BertScore(0.0, 0.0, 0.0)
    similarity = answer[0] @ reference[0].T
    precision = float(similarity.amax(dim=1)[answer[1]].mean())
    recall = float(similarity.amax(dim=0)[reference[1]].mean())
    both = precision + recall
    return BertScore(precision, recall, 2 * precision * recall / both if both else 0.0)
