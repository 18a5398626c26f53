"""The estimate of a dry run: right about what can be counted, and defined for every architecture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import transformers

from mulmed.estimate import _measured, estimate, memory, model_shape
from mulmed.recipe import Step, load_recipe
from mulmed.stages import Run
from mulmed.stages.common import VERSIONS
from tests.runs import bring_up_to_date, one_thread, write_recipe

SHAPE = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "intermediate_size": 64}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8}


@pytest.mark.parametrize(
    ("config", "body"),
    [
        # two layers of attention (q, k, v, o), a gated MLP and two norms; the last norm
        (
            transformers.LlamaConfig(**SHAPE, **HEADS),
            2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32) + 32,
        ),
        (
            transformers.LlamaConfig(**SHAPE, **HEADS, tie_word_embeddings=True),
            2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32) + 32,
        ),
        # other names for everything, biases, learned positions, an MLP of four times the width
        (
            transformers.GPT2Config(vocab_size=300, n_embd=32, n_layer=2, n_head=4, n_positions=50),
            50 * 32 + 2 * (4 * 32 * 32 + 4 * 32 + 8 * 32 * 32 + 5 * 32 + 4 * 32) + 2 * 32,
        ),
    ],
    ids=["llama", "llama, tied", "gpt2"],
)
def test_weights_of_body_and_head(config: transformers.PreTrainedConfig, body: int, tmp_path: Path) -> None:
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    shape = model_shape(tmp_path)
    embeddings = 300 * 32 * (1 if config.tie_word_embeddings else 2)
    assert shape == {
        "body": body,
        "head": 300 * 32,
        "embeddings": embeddings,
        "hidden": 32,
        "blocks": 2,
        "vocabulary": 300,
    }


#: LLaMA-7B: 6,476,271,616 weights in 32 blocks and the last norm, 131,072,000 each in embedding and head.
SEVEN = {
    "body": 6_476_271_616,
    "head": 131_072_000,
    "embeddings": 262_144_000,
    "hidden": 4096,
    "blocks": 32,
    "vocabulary": 32_000,
}
#: Activations of 1,536 tokens: 24 tensors of 4,096 numbers for each in 32 blocks; 256 positions' logits thrice in float32.
NUMBERS, LOGITS = 24 * 32 * 4096 * 1536, 98_304_000


@pytest.mark.parametrize(
    ("settings", "width", "gpu", "parts", "expected"),
    [
        ({}, 4, False, 1, 400_000_000 + 26_953_662_464 + 4 * NUMBERS + LOGITS),
        # read in float32, and 8 bits a weight of the blocks beside it
        (
            {"base_precision": "int8"}, 4, False, 1,
            400_000_000 + 26_953_662_464 + 6_476_271_616 + 1_048_576_000 + 4 * NUMBERS + LOGITS,
        ),
        ({}, 2, True, 1, 13_476_831_232 + 2 * NUMBERS + LOGITS),
        # 4.127 bits a weight, as QLoRA's paper counts them; embedding and head in half precision
        (
            {"base_precision": "nf4"}, 2, True, 1,
            round(6_476_271_616 * 4.126953125 / 8) + 524_288_000 + 2 * NUMBERS + LOGITS,
        ),
        # a quarter of the blocks and one whole
        (
            {}, 2, True, 4,
            12_952_543_232 // 4 + 12_952_543_232 // 32 + 524_288_000 + 2 * NUMBERS + LOGITS,
        ),
        ({"micro_batch_tokens": 6144}, 2, True, 1, 13_476_831_232 + 8 * NUMBERS + LOGITS),
    ],
    ids=["cpu", "cpu, int8", "gpu", "gpu, nf4", "four gpus", "large packs"],
)  # fmt: skip
def test_memory_by_hand(settings: dict[str, Any], width: int, gpu: bool, parts: int, expected: int) -> None:
    step = Step(parent="base", sources=("a",), **settings)
    assert memory(SEVEN, step, width, gpu=gpu, parts=parts) == expected


def test_a_step_is_counted_from_the_cleaned_corpus(taught: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out", {"steps.mulmed.epochs": 3})
    before = estimate(Run(load_recipe(recipe), tell=lambda _: None))
    assert {row["basis"] for row in before} == {"from the sizes of the raw files"}
    bring_up_to_date(recipe, targets=("corpus",))
    work = Run(load_recipe(recipe), tell=lambda _: None)
    crossla, mulmed = estimate(work)
    assert crossla["basis"] == "from the cleaned corpus"
    for row, epochs in ((crossla, 1), (mulmed, 3)):
        examples = work.examples(row["step"], "train")
        assert row["examples"] == len(examples)
        assert row["optimizer_steps"] == -(-len(examples) // 2) * epochs
        assert row["tokens"] == pytest.approx(epochs * sum(len(e.ids) for e in examples), rel=0.5)
        assert row["memory_bytes"] > 4 * 2_400_000  # the weights alone
        assert 0 < row["seconds"] < 600
        assert (row["precision"], row["base_precision"], row["processes"]) == ("float32", None, 1)


def test_time_is_that_of_an_earlier_training_or_unknown(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two processes, and in half precision or on a base in 4 bits on a CPU, nobody has measured what a step reaches."""
    recipe = write_recipe(
        tmp_path / "recipe.yaml", taught, tmp_path / "out", {"steps.mulmed.precision": "float16"}
    )
    bring_up_to_date(recipe, targets=("train-crossla",))
    run = json.loads((tmp_path / "out" / "train-crossla" / "run.json").read_text())
    with one_thread():
        crossla, mulmed = estimate(Run(load_recipe(recipe, ("seed=7",)), tell=lambda _: None))
        two = estimate(Run(load_recipe(recipe, ("workers.processes=2",)), tell=lambda _: None))
        narrow = ("steps.crossla.base_precision=nf4", "steps.mulmed.base_precision=nf4")
        four_bits = estimate(Run(load_recipe(recipe, narrow), tell=lambda _: None))
    assert crossla["seconds"] == pytest.approx(crossla["tokens"] / run["tokens_per_second"])
    assert (mulmed["seconds"], mulmed["precision"]) == (None, "float16")
    assert [(row["seconds"], row["processes"]) for row in two] == [(None, 2), (None, 2)]
    assert mulmed["memory_bytes"] < crossla["memory_bytes"]
    assert [(row["seconds"], row["base_precision"]) for row in four_bits] == [(None, "nf4"), (None, "nf4")]
    work = Run(load_recipe(recipe), tell=lambda _: None)
    assert list(_measured(work).values()) == [run["tokens_per_second"]]
    work.base = replace(work.base, content="another base")
    assert _measured(work) == {}
    work = Run(load_recipe(recipe), tell=lambda _: None)
    monkeypatch.setitem(VERSIONS, "train", VERSIONS["train"] + 1)  # another way of training, at another speed
    assert _measured(work) == {}
