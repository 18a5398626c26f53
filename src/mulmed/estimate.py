"""What a run will cost, before it runs: tokens, memory and time of each step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulmed.artifact import read_artifact
from mulmed.base import count_parameters
from mulmed.corpus.files import resolve
from mulmed.recipe import Step
from mulmed.stages import RECORDS, Run

#: Tokens a character, and characters a record, where nothing has been counted yet. Rough on purpose: the
#: estimate says so, and is exact once the corpus is built.
_TOKENS_PER_CHARACTER = {"zh": 0.8}
_TOKENS_PER_LATIN_CHARACTER = 0.25
_COMPRESSION = {".gz": 3.0, ".zst": 3.5}
_BYTES_PER_CHARACTER = {"zh": 2.8}
#: Float32 tensors of the hidden size a token keeps for the backward pass of one block; measured on
#: SmolLM2 and Gemma 3 (attention, norms, gated MLP).
_ACTIVATIONS_PER_BLOCK = 24
#: Share of the machine's matrix-product rate that a step reaches.
_EFFICIENCY = 0.6


def estimate(work: Run) -> list[dict[str, Any]]:
    """One row a step: examples, tokens, optimizer steps, peak memory in bytes, seconds.

    Cost of LoRA: 4 operations a weight and token (2 forward, 2 for the gradients of activations); the
    head counts on target tokens only, taken as half of all.
    """
    from mulmed.training.packing import total_steps

    recipe = work.recipe
    counts, basis = _token_counts(work)
    shape = model_shape(work.base.folder)
    rate, device = _matrix_rate()
    rows = []
    for name, step in recipe.steps.items():
        examples = sum(counts[s][0] for s in step.sources)
        tokens = int(sum(counts[s][1] for s in step.sources) * step.epochs)
        work_per_token = 4 * (shape["body"] + 0.5 * shape["head"])
        rows.append(
            {
                "step": name,
                "examples": examples,
                "tokens": tokens,
                "optimizer_steps": total_steps(examples, step.batch, step.epochs) if examples else 0,
                "memory_bytes": _memory(shape, step),
                "seconds": tokens * work_per_token / (rate * _EFFICIENCY),
                "basis": basis,
                "device": device,
            }
        )
    return rows


def _token_counts(work: Run) -> tuple[Mapping[str, tuple[int, int]], str]:
    """Training records and tokens of each source: counted if the corpus is built, else guessed."""
    if read_artifact(work.pipeline.folder("corpus")) is not None:
        import polars as pl

        frame = (
            pl.scan_parquet(work.pipeline.folder("corpus") / RECORDS)
            .filter(pl.col("split") == "train")
            .select(
                "source",
                "language",
                characters=pl.col("turns")
                .list.eval(pl.element().struct.field("text").str.len_chars())
                .list.sum(),
            )
            .group_by("source", "language")
            .agg(pl.len(), pl.col("characters").sum())
            .collect()
        )
        counts = dict.fromkeys(work.recipe.corpus.sources, (0, 0))
        for source, language, records, characters in frame.iter_rows():
            tokens = characters * _TOKENS_PER_CHARACTER.get(language, _TOKENS_PER_LATIN_CHARACTER)
            counts[source] = (records, min(records * work.recipe.cutoff, int(tokens + 45 * records)))
        return counts, "from the cleaned corpus"
    counts = {}
    for name, source in work.recipe.corpus.sources.items():
        size = 0.0
        for path in resolve(Path(work.recipe.data), source.paths, f"corpus.sources.{name}.path"):
            size += path.stat().st_size * _COMPRESSION.get(path.suffix, 1.0)
        characters = size / _BYTES_PER_CHARACTER.get(source.language, 1.0)
        records = int(characters / (150 if source.language == "zh" else 700)) or 1
        records = min(records, source.limit or records)
        counts[name] = (records, records * min(work.recipe.cutoff, 180))
    return counts, "from the sizes of the raw files"


def model_shape(folder: Path) -> dict[str, int]:
    """Weights of the body and of the head, hidden size, blocks and vocabulary of a model folder."""
    from transformers import AutoConfig

    if not (folder / "config.json").exists():  # an embedded base not converted yet: Gemma 3 270M's shape
        return {"body": 100_000_000, "head": 168_000_000, "hidden": 640, "blocks": 18, "vocabulary": 262_144}
    config = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    head = config.vocab_size * config.hidden_size
    return {
        "body": count_parameters(folder) - head * (1 if config.tie_word_embeddings else 2),
        "head": head,
        "hidden": config.hidden_size,
        "blocks": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
    }


def _memory(shape: Mapping[str, int], step: Step) -> int:
    weights = 4 * (shape["body"] + 2 * shape["head"])
    activations = 4 * _ACTIVATIONS_PER_BLOCK * shape["blocks"] * shape["hidden"] * step.micro_batch_tokens
    logits = 3 * 4 * 256 * shape["vocabulary"]
    return weights + activations + logits


def _matrix_rate() -> tuple[float, str]:
    """Operations a second of a float32 product (bfloat16 on a GPU) on this machine, measured now."""
    import torch

    from mulmed.training.model import choose_device

    placement = choose_device("auto")
    n = 8192 if placement.device.type == "cuda" else 1024
    a = torch.randn(n, n, dtype=placement.dtype, device=placement.device)
    a @ a
    started = time.perf_counter()
    for _ in range(5):
        b = a @ a
    b[0, 0].item()
    return 5 * 2 * n**3 / (time.perf_counter() - started), placement.name
