"""Whole runs at the smallest scale: a recipe on the sample corpora, and the command line as a process."""

from __future__ import annotations

import contextlib
import copy
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import yaml

from mulmed.recipe import load_recipe
from mulmed.stages import Run

#: Exit code, what was printed, and what was printed as an error, of ``mulmed ARGUMENTS``.
Main = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "recipes" / "samples"
RECIPE: dict[str, Any] = {
    "name": "tiny",
    "data": str(SAMPLES),
    "cutoff": 224,
    "corpus": {
        "sources": {
            "alpaca-en": {"layout": "alpaca", "path": "alpaca_en.json", "language": "en", "limit": 8},
            "haodf": {
                "layout": "meddialog-zh",
                "path": "haodf.txt",
                "language": "zh",
                "limit": 16,
                "split": {"validation": 0.2, "test": 0.3},
            },
            "icliniq": {
                "layout": "icliniq",
                "path": "iCliniq.json",
                "language": "en",
                "split": "test",
                "limit": 6,
            },
        }
    },
    "steps": {
        "crossla": {"parent": "base", "sources": ["alpaca-en"], "batch": 2, "checkpoint_every": 1},
        "mulmed": {"parent": "crossla", "sources": ["haodf"], "batch": 2, "checkpoint_every": 1},
    },
    "generation": {"questions": 3, "batch": 2, "decoding": {"max_new_tokens": 8}},
    "evaluation": {"resamples": 100},
}
STAGES = [
    "corpus",
    "train-crossla",
    "merge-crossla",
    "train-mulmed",
    "merge-mulmed",
    "generate-base",
    "generate-crossla",
    "generate-mulmed",
    "evaluate",
    "report",
]
#: No test may ask a hub, and a terminal's width and colours must not decide what is printed.
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE")},
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


def small_encoder(folder: Path, words: Sequence[str]) -> Path:
    """An encoder of three layers with random weights and a vocabulary of its own, in the Hugging Face layout."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    marks = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: number for number, word in enumerate([*marks, *dict.fromkeys(words)])}
    BertTokenizer(vocab=vocabulary, model_max_length=40).save_pretrained(folder)
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
    )
    BertModel(config).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def one_thread(count: int = 1) -> Iterator[None]:
    """Tiny models are faster on one thread than on two that wait for each other."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def write_recipe(path: Path, base: Path | str, output: Path, changes: dict[str, Any] | None = None) -> Path:
    """The tiny recipe as a file, with ``{"key.subkey": value}`` changed (None removes the key)."""
    document = copy.deepcopy(RECIPE) | {"base": str(base), "output": str(output)}
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        here = document
        for parent in parents:
            here = here.setdefault(parent, {})
        if value is None:
            here.pop(last)
        else:
            here[last] = value
    path.write_text(yaml.safe_dump(document, allow_unicode=True, sort_keys=False), encoding="utf-8")
    return path


def bring_up_to_date(recipe: Path, *overrides: str, targets: tuple[str, ...] = ("report",)) -> list[str]:
    """Run in this process what the recipe needs; the names of the stages that ran."""
    work = Run(load_recipe(recipe, overrides), tell=lambda _: None)
    with one_thread():
        return work.pipeline.run(
            targets, announce=lambda *_: None, progress=lambda _: lambda label, done, total: None
        )


def contents(output: Path) -> dict[str, str]:
    """The hash of each finished artifact's reproducible bytes."""
    return {
        p.parent.name: orjson.loads(p.read_bytes())["content"] for p in sorted(output.glob("*/manifest.json"))
    }


def command(*arguments: str | Path) -> list[str]:
    return [str(Path(sys.executable).with_name("mulmed")), *map(str, arguments)]


def mulmed(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """``mulmed ARGUMENTS`` as its own process, output captured (so not on a terminal)."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT,
        timeout=300,
        check=False,
    )
