"""A frozen base in 4 bits, as QLoRA has it (Dettmers et al. 2023), by bitsandbytes."""

from __future__ import annotations

from typing import Any

import torch

from mulmed.errors import MulmedError


def quantize_base_nf4(model: Any, device: torch.device) -> None:
    """Replace every linear layer but the head by its 4-bit form on the device, and put the rest there.

    Weights are rounded to NormalFloat4 in blocks of 64, the blocks' scales to 8 bits (double quantization).
    One layer after the other: a GPU never holds the whole base in more than 4 bits. Products are computed in the
    model's own precision.

    Raises:
        MulmedError: bitsandbytes is not installed.
    """
    try:
        from bitsandbytes.nn import Linear4bit, Params4bit
    except ImportError as error:
        raise MulmedError(
            "bitsandbytes is not installed.",
            where="base_precision: nf4",
            remedy="pip install 'mulmed[qlora]'",
        ) from error
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is not torch.nn.Linear or layer is head:
                continue
            narrow = Linear4bit(
                layer.in_features,
                layer.out_features,
                bias=layer.bias is not None,
                compute_dtype=model.dtype,
                quant_type="nf4",
                device="meta",
            )
            # On CPUs with bfloat16 products it would repack its weights in the first validation, for good, and
            # from then on let no gradient through.
            narrow.support_avx512bf16_for_cpu = False
            weight = layer.weight.detach().contiguous()
            narrow.weight = Params4bit(weight, requires_grad=False, quant_type="nf4", module=narrow)
            if layer.bias is not None:
                narrow.bias = torch.nn.Parameter(layer.bias.detach(), requires_grad=False)
            setattr(parent, name, narrow.to(device))
    model.to(device)
