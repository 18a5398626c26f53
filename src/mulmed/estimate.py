"""What a run will cost, before it runs: tokens, memory and time of each step."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import orjson

from mulmed.artifact import read_artifact
from mulmed.base import count_parameters
from mulmed.corpus.files import resolve
from mulmed.recipe import Step
from mulmed.stages import RECORDS, Run
from mulmed.stages.common import VERSIONS

#: Tokens a character, and characters a record, where nothing has been counted yet. Rough on purpose: the
#: estimate says so, and is exact once the corpus is built.
_TOKENS_PER_CHARACTER = {"zh": 0.8}
_TOKENS_PER_LATIN_CHARACTER = 0.25
_COMPRESSION = {".gz": 3.0, ".zst": 3.5}
_BYTES_PER_CHARACTER = {"zh": 2.8}
#: Tensors of the hidden size a token keeps for the backward pass of one block; measured on SmolLM2 and
#: Gemma 3 in float32 (attention, norms, gated MLP).
_ACTIVATIONS_PER_BLOCK = 24
#: torch, transformers and what they load: what the peak that benchmarks/training.py measures with SmolLM2-135M on a CPU (2.8 GB,
#: docs/performance.md) leaves beside weights, activations and logits as reckoned here.
_LIBRARIES = 400_000_000
#: Bytes a weight of a linear layer in the frozen base: 8 bits; 4 bits, and for every 64 of them a scale in 8
#: bits and for every 256 of those one in 32 (Dettmers et al. 2023, section 3). What an int8 layer has an output is left out.
_BYTES = {"int8": 1.0, "nf4": (4 + 8 / 64 + 32 / (64 * 256)) / 8}
#: Share of a CPU's float32 matrix-product rate that a step reaches (docs/performance.md), by the base's precision.
_EFFICIENCY = {None: 0.6, "int8": 0.48}


def estimate(work: Run) -> list[dict[str, Any]]:
    """One row a step: examples, tokens, optimizer steps, precision, peak memory of each process in bytes, seconds.

    Time is that of an earlier training of this run, where one was made by the same base, device, precision and number of
    processes; else it is reckoned for one process on a CPU in float32 (its base in that or in int8), and otherwise None: nobody
    has measured what share of its peak a step reaches there. Cost of LoRA: 4 operations a weight and token (2 forward, 2 for the gradients of activations);
    the head counts on target tokens only, taken as half of all.
    """
    from mulmed.training.model import choose_device
    from mulmed.training.packing import total_steps

    recipe, workers = work.recipe, work.recipe.workers
    counts, basis = _token_counts(work)
    shape = model_shape(work.base.folder)
    processes = workers.processes if workers else 1
    measured = _measured(work)
    rows = []
    for name, step in recipe.steps.items():
        examples = sum(counts[s][0] for s in step.sources)
        tokens = int(sum(counts[s][1] for s in step.sources) * step.epochs)
        placement = choose_device(step.precision)
        precision = str(placement.dtype).removeprefix("torch.")
        speed = measured.get((placement.name, precision, step.base_precision, processes))
        on_cpu = (placement.device.type, precision, processes) == ("cpu", "float32", 1)
        if speed is None and on_cpu and step.base_precision in _EFFICIENCY:
            speed = _reckoned(shape, step.base_precision)
        rows.append(
            {
                "step": name,
                "examples": examples,
                "tokens": tokens,
                "optimizer_steps": total_steps(examples, step.batch, step.epochs) if examples else 0,
                "precision": precision,
                "base_precision": step.base_precision,
                "processes": processes,
                "memory_bytes": memory(
                    shape,
                    step,
                    placement.dtype.itemsize,
                    gpu=placement.device.type == "cuda",
                    parts=processes if workers and workers.shard else 1,
                ),
                "seconds": tokens / speed if speed else None,
                "basis": basis,
                "device": placement.name,
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
    """Weights of the body, of the head, and of embedding and head together; hidden size, blocks and vocabulary."""
    from transformers import AutoConfig

    if not (folder / "config.json").exists():  # an embedded base not converted yet: Gemma 3 270M's shape
        head = 168_000_000
        return {
            "body": 100_000_000,
            "head": head,
            "embeddings": head,
            "hidden": 640,
            "blocks": 18,
            "vocabulary": 262_144,
        }
    config = AutoConfig.from_pretrained(folder, local_files_only=True).get_text_config()
    head = config.vocab_size * config.hidden_size
    embeddings = head * (1 if config.tie_word_embeddings else 2)
    return {
        "body": count_parameters(folder) - embeddings,
        "head": head,
        "embeddings": embeddings,
        "hidden": config.hidden_size,
        "blocks": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
    }


def memory(shape: Mapping[str, int], step: Step, width: int, *, gpu: bool, parts: int = 1) -> int:
    """Peak memory of a training process in bytes: of the GPU where there is one, else of the machine.

    Args:
        shape: from :func:`model_shape`.
        step: the recipe's step.
        width: bytes of a number of the base and the activations.
        gpu: whether it trains there. A base that is cut or in 4 bits is then read elsewhere.
        parts: into how many the base's blocks are cut among the processes (FSDP2); embedding and head stay whole.
    """
    ends = width * shape["embeddings"]
    whole = width * shape["body"] + ends
    if step.base_precision is not None:
        weights = _BYTES[step.base_precision] * shape["body"] + ends
    else:  # a block is put together for its turn
        weights = width * shape["body"] * (1 / parts + (1 / shape["blocks"] if parts > 1 else 0)) + ends
    activations = width * _ACTIVATIONS_PER_BLOCK * shape["blocks"] * shape["hidden"] * step.micro_batch_tokens
    logits = 3 * 4 * 256 * shape["vocabulary"]
    # On a CPU a base that becomes smaller was there whole before, and the room it had is not given back.
    before = 0 if gpu else _LIBRARIES + (whole if step.base_precision is not None or parts > 1 else 0)
    return round(before + weights + activations + logits)


def _measured(work: Run) -> dict[tuple[str, str, str | None, int], float]:
    """Tokens a second that this run's trainings reached, by device, precision, that of the base, and processes."""
    found = {}
    for name in work.recipe.steps:
        artifact = read_artifact(work.pipeline.folder(f"train-{name}"))
        if artifact is None or artifact.manifest["version"] != VERSIONS["train"]:
            continue
        if artifact.manifest["config"]["base"] != work.base.content:
            continue
        run = orjson.loads((artifact.path / "run.json").read_bytes())
        if run["tokens_per_second"]:
            way = artifact.manifest["config"]["step"]["base_precision"]
            key = (run["device"], run["precision"], way, run["processes"])
            found[key] = float(run["tokens_per_second"])
    return found


@cache
def _matrix_rate() -> float:
    """Operations a second of a float32 product on this machine's CPU, measured now."""
    import torch

    n = 1024
    a = torch.randn(n, n)
    a @ a
    started = time.perf_counter()
    for _ in range(5):
        a @ a
    return 5 * 2 * n**3 / (time.perf_counter() - started)


def _reckoned(shape: Mapping[str, int], base_precision: str | None) -> float:
    """Tokens a second on this machine's CPU."""
    operations = 4 * (shape["body"] + 0.5 * shape["head"])
    return _matrix_rate() * _EFFICIENCY[base_precision] / operations
