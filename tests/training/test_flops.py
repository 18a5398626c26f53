"""Model FLOPs utilization: the published numbers of LLaMA-7B, and those of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from mulmed.training.flops import counted_weights, utilization
from mulmed.training.loop import RUN
from tests.training.small import fine_tune

LLAMA_7B = LlamaConfig(
    hidden_size=4096,
    intermediate_size=11008,
    num_hidden_layers=32,
    num_attention_heads=32,
    vocab_size=32000,
    tie_word_embeddings=False,
)


@pytest.mark.parametrize("tied", [False, True])
def test_weights_of_llama_7b_without_its_embedding(tied: bool) -> None:
    LLAMA_7B.tie_word_embeddings = tied
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(LLAMA_7B)
    model.tie_weights()
    # 6,738,415,616 in all (Touvron et al. 2023 say 6.7B); the embedding is looked up, the head multiplied
    assert counted_weights(model) == 6_738_415_616 - 32_000 * 4096


@pytest.mark.parametrize(
    ("device", "half", "peak"),
    [
        ("NVIDIA H200", True, 989e12),
        ("NVIDIA H100 80GB HBM3", True, 989e12),
        ("NVIDIA H100 PCIe", True, 756e12),
        ("NVIDIA A100-SXM4-80GB", True, 312e12),
        ("Tesla T4", True, 65e12),
        ("NVIDIA H200", False, None),
        ("x86_64 CPU, 2 threads", False, None),
    ],
)
def test_share_of_the_published_peak(device: str, half: bool, peak: float | None) -> None:
    found = utilization(6_607_343_616, 20_000, device, half)
    assert found["operations_per_second"] == 4 * 6_607_343_616 * 20_000
    assert found["peak"] == peak
    assert found["mfu"] == (pytest.approx(528.587e12 / peak, rel=1e-5) if peak else None)


def test_a_run_tells_what_it_did_a_second(taught: Path, tmp_path: Path) -> None:
    fine_tune(taught, tmp_path)
    run = json.loads((tmp_path / RUN).read_text())
    # two blocks of: q and o 48 x 48, k and v 24 x 48, three of the gated MLP 96 x 48, two norms; a norm; the tied head
    weights = 2 * (2 * 48 * 48 + 2 * 24 * 48 + 3 * 96 * 48 + 2 * 48) + 48 + 49_152 * 48
    assert run["weights"] == weights
    assert run["operations_per_second"] == pytest.approx(4 * weights * run["tokens_per_second"], rel=1e-2)
    assert run["peak"] is None
    assert run["mfu"] is None
    assert run["precision_reason"] == "most CPUs multiply it faster than half precision"
