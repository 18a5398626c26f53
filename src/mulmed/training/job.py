"""A training run as files, for processes that are not this one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from mulmed.artifact import write_json
from mulmed.prompts import Example
from mulmed.recipe import Step

_JOB, _EXAMPLES = "job.json", "examples.safetensors"


@dataclass(frozen=True, slots=True)
class Job:
    """The arguments of :func:`mulmed.training.loop.train` that are the same in every process.

    ``shard`` says whether the base is cut into parts among them.
    """

    base: Path
    examples: Sequence[Example]
    validation: Sequence[Example]
    settings: Step
    out: Path
    seed: int
    base_name: str
    new_tokens: range | None
    shard: bool


def write_job(folder: Path, job: Job) -> None:
    """Write a job into an empty folder that all its processes can read."""
    tensors: dict[str, npt.NDArray[np.generic]] = {}
    rows: dict[str, list[list[str]]] = {}
    for name, examples in (("examples", job.examples), ("validation", job.validation)):
        tensors[f"{name}.lengths"] = np.array([len(e.ids) for e in examples], np.int32)
        tensors[f"{name}.ids"] = np.array([i for e in examples for i in e.ids], np.int32)
        tensors[f"{name}.mask"] = np.array([m for e in examples for m in e.mask], np.uint8)
        rows[name] = [[e.record_id, e.task, e.language] for e in examples]
    save_file(tensors, folder / _EXAMPLES)
    write_json(
        folder / _JOB,
        {
            "base": str(job.base.resolve()),
            "out": str(job.out.resolve()),
            "settings": job.settings.model_dump(mode="json"),
            "seed": job.seed,
            "base_name": job.base_name,
            "new_tokens": None if job.new_tokens is None else [job.new_tokens.start, job.new_tokens.stop],
            "shard": job.shard,
            "rows": rows,
        },
    )


def read_job(folder: Path) -> Job:
    """What :func:`write_job` wrote."""
    document = json.loads((folder / _JOB).read_text(encoding="utf-8"))
    tensors = load_file(folder / _EXAMPLES)

    def examples(name: str) -> list[Example]:
        ends = np.cumsum(tensors[f"{name}.lengths"])[:-1]
        ids, masks = (np.split(tensors[f"{name}.{part}"], ends) for part in ("ids", "mask"))
        return [
            Example(tuple(i.tolist()), tuple(m.astype(bool).tolist()), *row)
            for row, i, m in zip(document["rows"][name], ids, masks, strict=False)
        ]

    return Job(
        base=Path(document["base"]),
        examples=examples("examples"),
        validation=examples("validation"),
        settings=Step.model_validate(document["settings"]),
        out=Path(document["out"]),
        seed=document["seed"],
        base_name=document["base_name"],
        new_tokens=None if document["new_tokens"] is None else range(*document["new_tokens"]),
        shard=document["shard"],
    )
