"""Examples and a small random model for the training tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mulmed.corpus.record import Record, Turn
from mulmed.prompts import Example, Renderer, load_template

TEXTS = [
    (
        "qa",
        "en",
        (
            "I have had a dry cough for five days.",
            "Drink warm fluids and rest; see a doctor if you get a fever.",
        ),
    ),
    ("qa", "zh", ("孩子发烧两天了，怎么办？", "请多喂水，按体重服退烧药，三天不退请就医。")),
    (
        "summary",
        "en",
        (
            "Sleep loss impairs glucose tolerance in healthy adults.",
            "Poor sleep makes it harder to control blood sugar.",
        ),
    ),
    (
        "dialogue",
        "en",
        ("My back hurts.", "Since when?", "Since Monday.", "Keep moving and use a warm pack."),
    ),
    ("instruction", "en", ("Name two fruits.", "Apple and pear.")),
    ("dialogue", "zh", ("我头痛。", "多久了？", "三天。", "建议去神经内科看看。")),
]


def make_record(i: int, task: str, language: str, texts: tuple[str, ...]) -> Record:
    roles = ("user", "assistant")
    turns = tuple(Turn(roles[k % 2], t) for k, t in enumerate(texts))  # type: ignore[arg-type]
    return Record(f"t:{i}:0", task, language, turns, "t", "t.json", i)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def renderer(smollm_tokenizer: Any) -> Renderer:
    return Renderer(smollm_tokenizer, load_template("alpaca"))


@pytest.fixture(scope="session")
def examples(renderer: Renderer) -> list[Example]:
    return [renderer.example(make_record(i, *text)) for i, text in enumerate(TEXTS)]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, smollm: Path, smollm_tokenizer: Any) -> Path:
    """A Llama with random weights, two layers, SmolLM2's tokenizer: fast enough for whole runs."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(smollm)
    config.num_hidden_layers = 2
    config.hidden_size = 48
    config.intermediate_size = 96
    config.num_attention_heads = 4
    config.num_key_value_heads = 2
    config.head_dim = 12
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    folder = tmp_path_factory.mktemp("tiny")
    model.save_pretrained(folder)
    smollm_tokenizer.save_pretrained(folder)
    return folder
