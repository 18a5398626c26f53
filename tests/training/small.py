"""A training that takes a second: five examples, fifteen optimizer steps, a model of two layers."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mulmed.prompts import Example, Renderer, load_template
from mulmed.recipe import Lora, Step
from mulmed.training.checkpoint import State, load_checkpoint, save_checkpoint
from mulmed.training.log import LOG
from mulmed.training.loop import train
from mulmed.training.lora import add_adapters, trainable
from mulmed.training.model import Placement, load_model
from mulmed.training.packing import epoch_order
from tests.conftest import TEXTS, make_record
from tests.runs import one_thread

CPU = Placement(torch.device("cpu"), torch.float32, "cpu")
SETTINGS = Step(
    parent="base",
    sources=("t",),
    epochs=5,
    batch=2,
    learning_rate=2e-2,
    validate_every=4,
    checkpoint_every=2,
    micro_batch_tokens=256,
)
#: 5 epochs of 5 examples, two at a time
STEPS = 15


@functools.cache
def misled(base: Path) -> list[Example]:
    """Answers the model does not know: those of the next question."""
    from transformers import AutoTokenizer

    renderer = Renderer(AutoTokenizer.from_pretrained(base), load_template("alpaca"))
    examples = []
    for i, (task, language, texts) in enumerate(TEXTS):
        answer = TEXTS[(i + 1) % len(TEXTS)][2][-1]
        examples.append(renderer.example(make_record(i, task, language, (*texts[:-1], answer))))
    return examples


class Stopped(Exception):
    """Stands for what kills a process between two steps."""


def fine_tune(
    base: Path,
    out: Path,
    settings: Step = SETTINGS,
    *,
    examples: list[Example] | None = None,
    seed: int = 42,
    stop_at: int | None = None,
    threads: int = 1,
    track: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> None:
    """Train on five misleading answers (or the first five examples); the sixth and the first validate."""
    examples = examples or misled(base)
    out.mkdir(parents=True, exist_ok=True)

    def progress(label: str, done: int, total: int) -> None:
        if done == stop_at:
            raise Stopped

    with one_thread(threads):
        train(
            base,
            examples[:5],
            [examples[5], examples[0]],
            settings,
            out,
            seed=seed,
            base_name="tiny",
            progress=progress,
            track=track,
        )


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


def batch_of(step: int) -> list[int]:
    """Which of the five examples optimizer step ``step`` (from 1) sees, two at a time."""
    epoch, inside = divmod(step - 1, 3)
    return [int(i) for i in epoch_order(5, epoch, 42)[2 * inside : 2 * inside + 2]]


def adapted(model: Any) -> Any:
    """The model with adapters that do something."""
    add_adapters(model, Lora(dropout=0), seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, p in trainable(model).items():
            if "lora_B" in name:
                p.copy_(torch.randn(p.shape, generator=generator) * 0.02)
    return model


def fresh_state(base: Path, settings: Step = SETTINGS) -> State:
    """An untrained adapter on the base and its optimizer."""
    model = load_model(base, CPU)
    add_adapters(model, settings.lora, seed=1)
    parameters = trainable(model)
    return State(parameters, torch.optim.AdamW(parameters.values()))


def saved_state(base: Path, out: Path, settings: Step = SETTINGS) -> State:
    """The state in a run's checkpoint."""
    state = fresh_state(base, settings)
    load_checkpoint(out, state)
    return state


def spoil(base: Path, out: Path, change: Callable[[str, torch.Tensor], None]) -> None:
    """A checkpoint after four steps with some of its parameters changed."""
    state = fresh_state(base)
    state.step = state.updates = 4
    with torch.no_grad():
        for name, p in state.parameters.items():
            change(name, p)
            state.optimizer.state[p] = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
    save_checkpoint(out, state)
