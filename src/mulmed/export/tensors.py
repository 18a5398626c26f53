"""Tensors of a transformers model as llama.cpp names, arranges and encodes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import gguf
import numpy as np
from gguf.quants import quantize

from mulmed.errors import MulmedError
from mulmed.export.merged import Model, Tensor

Precision = Literal["f32", "f16", "q8_0"]

#: ``model_type`` of transformers -> architecture of llama.cpp.
_ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "gemma3_text": gguf.MODEL_ARCH.GEMMA3}
_TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
#: Largest weight an encoding can hold: Q8_0 keeps a block's weights as whole numbers up to 127 times one float16.
_LIMITS = {_TYPES["f16"]: 65_504.0, _TYPES["q8_0"]: 127 * 65_504.0}


def match_tensors(merged: Model, source: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The source's tensors in its order: name there -> name in the folder, and shape.

    Args:
        source: reader of the base's own GGUF.

    Raises:
        MulmedError: the folder's model is not of the base's architecture or shape.
    """
    architecture = source.get_field(gguf.Keys.General.ARCHITECTURE).contents()
    ours = _ARCHITECTURES.get(merged.config["model_type"])
    if ours is None or gguf.MODEL_ARCH_NAMES[ours] != architecture:
        raise merged.misfit(f"it is a {merged.config['model_type']!r} model, the base {architecture!r}")
    names = gguf.get_tensor_name_map(ours, merged.config["num_hidden_layers"])
    found = {names.get_name(key, try_suffixes=(".weight",)) or key: key for key in merged.weights}
    expected = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in source.tensors}
    if other := sorted(found.keys() ^ expected.keys()):
        raise merged.misfit(f"{len(other)} tensors are only in one of them, the first is {other[0]}")
    plan = {name: (found[name], merged.shape(found[name])) for name in expected}
    for name, (key, shape) in plan.items():
        if shape != expected[name]:
            raise merged.misfit(f"{key} has the shape {shape}, in the base {expected[name]}")
    return plan


def to_llama_cpp(key: str, tensor: Tensor, config: Mapping[str, Any]) -> Tensor:
    """A tensor of a transformers folder as llama.cpp has it.

    Llama: transformers rotates the first half of a head against the second, llama.cpp rotates neighbours,
    so the rows of queries and keys are interleaved. Gemma: transformers adds 1 to the weights of its norms at
    run time, llama.cpp has it in the file. Both as in llama.cpp's ``convert_hf_to_gguf.py``.

    Args:
        key: name in the folder.
        config: the folder's ``config.json``.
    """
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(key.split(".")[-2])
    if config["model_type"] == "llama" and heads:
        halves = tensor.reshape(config[heads], 2, -1, *tensor.shape[1:])
        return halves.swapaxes(1, 2).reshape(tensor.shape)
    if config["model_type"] == "gemma3_text" and key.endswith("norm.weight"):
        return tensor + np.float32(1)
    return tensor


def encoding(shape: tuple[int, ...], precision: Precision) -> Any:
    """How a tensor of this shape is stored: norms in float32, rows that no whole blocks fill in float16."""
    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    block, _ = gguf.GGML_QUANT_SIZES[_TYPES[precision]]
    return _TYPES[precision if shape[-1] % block == 0 else "f16"]


def encode(tensor: Tensor, kind: Any, name: str) -> Tensor:
    """The stored bytes of a float32 tensor.

    With a step ``s``, the distance of neighbouring float16 numbers at the weight, float16 is off by at most
    ``s / 2``. Q8_0 keeps 32 weights as whole numbers from -127 to 127 times a common factor, the largest
    magnitude / 127 rounded to float16: a weight is off by at most half a factor, and by the factor's own
    rounding, at most 127 times half its float16 step.

    Raises:
        MulmedError: a weight is too large for the encoding.
    """
    if (limit := _LIMITS.get(kind)) and np.abs(tensor).max() > limit:
        raise MulmedError(
            f"A weight of {name} is larger than this precision reaches ({limit:,.0f}).",
            where="--precision",
            remedy="Export with --precision f32.",
        )
    encoded: Tensor = quantize(np.ascontiguousarray(tensor), kind)
    return encoded
