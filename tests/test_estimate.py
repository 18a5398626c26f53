"""The estimate of a dry run: right about what can be counted, and defined for every architecture."""

from __future__ import annotations

from pathlib import Path

import pytest
import transformers

from mulmed.estimate import estimate, model_shape
from mulmed.recipe import load_recipe
from mulmed.stages import Run
from tests.runs import bring_up_to_date, write_recipe

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
    assert shape == {"body": body, "head": 300 * 32, "hidden": 32, "blocks": 2, "vocabulary": 300}


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
