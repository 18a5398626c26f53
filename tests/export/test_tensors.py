"""Tensors in llama.cpp's arrangement, and no further off than their encoding explains."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mulmed.errors import MulmedError
from mulmed.export.tensors import encode, encoding, to_llama_cpp
from tests.export.errors import largest_error

F32, F16, Q8_0 = (getattr(gguf.GGMLQuantizationType, name) for name in ("F32", "F16", "Q8_0"))


@pytest.mark.parametrize(
    ("model_type", "key", "rows", "expected"),
    [
        # One head of four rows: the halves (0, 1) and (2, 3) become the neighbours (0, 2) and (1, 3).
        ("llama", "model.layers.0.self_attn.q_proj.weight", [0, 1, 2, 3], [0, 2, 1, 3]),
        # Two heads of keys: each is interleaved by itself.
        ("llama", "model.layers.0.self_attn.k_proj.weight", [*range(8)], [0, 2, 1, 3, 4, 6, 5, 7]),
        ("llama", "model.layers.0.self_attn.v_proj.weight", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("llama", "model.norm.weight", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("gemma3_text", "model.layers.0.self_attn.q_proj.weight", [0, 1, 2, 3], [0, 1, 2, 3]),
        ("gemma3_text", "model.layers.0.self_attn.q_norm.weight", [0, 1, 2, 3], [1, 2, 3, 4]),
        ("gemma3_text", "model.norm.weight", [-1, 0, 5, 2], [0, 1, 6, 3]),
    ],
)
def test_layout_of_llama_cpp(model_type: str, key: str, rows: list[int], expected: list[int]) -> None:
    config = {"model_type": model_type, "num_attention_heads": 1, "num_key_value_heads": 2}
    tensor = np.array(rows, np.float32)
    if "proj" in key:
        tensor = tensor[:, None] * np.ones(3, np.float32)
    result = to_llama_cpp(key, tensor, config)
    assert result.dtype == np.float32
    assert result.shape == tensor.shape
    assert result.reshape(len(rows), -1)[:, 0].tolist() == expected


WEIGHTS = arrays(np.float32, (2, 64), elements=st.floats(-65_504, 65_504, width=32), fill=st.nothing())


@given(WEIGHTS, st.integers(-30, 4))
def test_an_encoded_weight_is_off_by_rounding_at_most(weights: np.ndarray, exponent: int) -> None:
    """At every size of weights: float16 has fewer bits for small numbers, and so for the factors of small blocks."""
    weights = np.clip(np.ldexp(weights, exponent), -65_504, 65_504)
    for kind in (F16, Q8_0):
        decoded = dequantize(encode(weights, kind, "w"), kind).astype(np.float64)
        assert (np.abs(decoded - weights) <= largest_error(weights, kind)).all()
    assert dequantize(encode(weights, F32, "w"), F32).tobytes() == weights.tobytes()


def test_a_block_of_eight_bits_by_hand() -> None:
    """Factor 0.5 (a float16 as it is): 63.5 is 127 times it, 0.6 its nearest multiple 0.5, 0.8 the multiple 1.0."""
    weights = np.zeros((1, 32), np.float32)
    weights[0, :4] = 63.5, 0.6, 0.8, -63.5
    block = encode(weights, Q8_0, "w")
    assert (
        block.tobytes()
        == np.float16(0.5).tobytes() + np.array([127, 1, 2, -127] + 28 * [0], np.int8).tobytes()
    )


@pytest.mark.parametrize(("kind", "limit"), [(F16, 65_504), (Q8_0, 127 * 65_504)])
def test_a_weight_that_would_be_infinite_is_refused(kind: gguf.GGMLQuantizationType, limit: int) -> None:
    weights = np.ones((1, 32), np.float32)
    weights[0, 5] = -limit
    assert np.isfinite(dequantize(encode(weights, kind, "w"), kind)).all()
    weights[0, 5] = -limit * 1.01
    with pytest.raises(MulmedError, match="A weight of w is larger") as caught:
        encode(weights, kind, "w")
    assert "--precision f32" in caught.value.remedy
    assert encode(weights, F32, "w") is not None


def test_rows_that_no_whole_blocks_fill_stay_in_16_bits() -> None:
    assert encoding((4, 96), "q8_0") == Q8_0
    assert encoding((4, 80), "q8_0") == F16
    assert encoding((4, 80), "f32") == F32
    assert encoding((96,), "q8_0") == F32
