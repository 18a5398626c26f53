"""Which architectures are packed, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.training.model import use_packed_loss

pytestmark = pytest.mark.usefixtures("single_thread")

SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SHAPE),
    "qwen3": transformers.Qwen3Config(**SHAPE),
    "mistral": transformers.MistralConfig(**SHAPE, sliding_window=6),
    "gemma2 without a bound": transformers.Gemma2Config(
        **SHAPE, attn_logit_softcapping=None, final_logit_softcapping=2.0, sliding_window=6
    ),
    # scaled logits: another head
    "granite": transformers.GraniteConfig(**SHAPE, logits_scaling=8.0),
    "cohere": transformers.CohereConfig(**SHAPE, logit_scale=0.06),
    # bounded scores: another attention
    "gemma2": transformers.Gemma2Config(**SHAPE),
    # ALiBi inside its own attention, which cannot be replaced
    "bloom": transformers.BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4),
    # a state that runs on from one example of a pack into the next
    "lfm2": transformers.Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"]),
}
REFUSED = ("granite", "cohere", "gemma2", "bloom", "lfm2")


@pytest.mark.parametrize("name", CONFIGS)
def test_architectures_that_cannot_be_packed_are_refused(name: str) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32).eval()
    with torch.no_grad():
        for p in model.parameters():  # as drawn they are so small that every architecture says ln V
            if p.dim() > 1:
                p.mul_(10)
    examples = [
        Example(tuple(range(a, b)), (False,) * 5 + (True,) * (b - a - 5), str(a), "qa", "en")
        for a, b in ((5, 25), (60, 90))
    ]
    if name in REFUSED:
        with pytest.raises(MulmedError, match="This architecture's") as caught:
            use_packed_loss(model, examples)
        assert name in caught.value.where.lower()
    else:
        use_packed_loss(model, examples)
