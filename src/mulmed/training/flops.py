"""Model FLOPs utilization (Chowdhery et al. 2022) of LoRA training."""

from __future__ import annotations

from typing import Any

#: Published dense peaks of NVIDIA GPUs in half precision, operations a second, by what their names contain.
PEAKS = {
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "V100": 125e12,
    "T4": 65e12,
}


def counted_weights(model: Any) -> int:
    """N: a model's weights that are multiplied with every token: all but the embedding, the head included.

    Args:
        model: as loaded, before adapters and rounding.
    """
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    total: int = sum(p.numel() for p in model.parameters())
    return total if head is embedding else total - int(embedding.numel())


def utilization(weights: int, tokens_per_second: float, device: str, half: bool) -> dict[str, float | None]:
    """Operations that training does a second, and their share of the device's published peak.

    4 N operations a token that is no padding: 2 N forward, 2 N for the gradients of activations. Gradients of the
    frozen weights are not computed, those of the adapters, attention and the head's saved positions not counted.

    Args:
        weights: N, from :func:`counted_weights`.
        tokens_per_second: without padding.
        device: its name.
        half: whether the base is in half precision; no peak is known for others.

    Returns:
        ``weights``, ``operations_per_second``, and ``peak`` and ``mfu`` (None where no peak is known).
    """
    rate = 4 * weights * tokens_per_second
    peak = next((peak for name, peak in PEAKS.items() if name in device), None) if half else None
    return {
        "weights": weights,
        "operations_per_second": rate,
        "peak": peak,
        "mfu": None if peak is None else rate / peak,
    }
