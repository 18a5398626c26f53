"""Low-rank adapters (Hu et al. 2021) on the linear layers of a frozen model, in peft's file format."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.recipe import Lora
from mulmed.training.fused import dropped_elements, fused_lora, without
from mulmed.training.rows import add_token_rows, token_rows

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_PREFIX = "base_model.model."


class LoraLinear(torch.nn.Module):
    """``y = base(x) + s B(A(dropout(x)))`` with A and B trained, base frozen.

    The scale s is alpha / r, or alpha / sqrt(r) for rsLoRA. A starts as Kaiming-uniform noise and B as
    zeros (as in peft), so training starts at the base model.

    With DoRA, W + s B A is rescaled row by row to a norm that is learned, too, starting at that of W:
    ``y = base(x) + (g - 1) W d + g s B(A(d))`` with d = dropout(x) and g the learned norm over that of
    W + s B A, which counts as a constant in the gradient (section 4.3 of the paper). As in peft, what
    rescaling adds to the base's own output sees the dropped-out input as well.
    """

    def __init__(self, base: torch.nn.Linear, settings: Lora, generator: torch.Generator) -> None:
        super().__init__()
        self.base = base
        self.dropout = settings.dropout
        self.scale = settings.alpha / (math.sqrt(settings.r) if settings.rslora else settings.r)
        bound = math.sqrt(6 / ((1 + 5) * base.in_features))  # Kaiming uniform with a = sqrt(5)
        a = torch.empty(settings.r, base.in_features, dtype=torch.float32)
        a.uniform_(-bound, bound, generator=generator)
        b = torch.zeros(base.out_features, settings.r, dtype=torch.float32)
        self.lora_A = torch.nn.Parameter(a.to(base.weight.device))
        self.lora_B = torch.nn.Parameter(b.to(base.weight.device))
        self.lora_magnitude_vector: torch.nn.Parameter | None = None
        if settings.dora:
            self.lora_magnitude_vector = torch.nn.Parameter(self._norm())
        self.train(base.training)  # an adapter put on a model in evaluation must not drop anything out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dropout = self.dropout if self.training else 0.0
        if (
            type(self.base) is not torch.nn.Linear
            or x.dtype != self.lora_A.dtype
            or x.is_cuda
            or self.base.bias is not None
        ):
            return self.plain(x, dropout)
        if self.lora_magnitude_vector is None:
            return fused_lora(x, self.base.weight, self.lora_A, self.lora_B, self.scale, dropout)
        seen = _drop(x, dropout)
        out = fused_lora(seen, self.base.weight, self.lora_A, self.lora_B, self.scale, 0.0) * self.gain()
        return out if seen is x else out + self.base(x - seen)

    def plain(self, x: torch.Tensor, dropout: float) -> torch.Tensor:
        """The definition, for any base layer and precision; the fused path's twin."""
        seen = _drop(x, dropout)
        # On a GPU as under autocast: float32 would double what is read and written.
        dtype = x.dtype if x.is_cuda else self.lora_A.dtype
        low = F.linear(F.linear(seen.to(dtype), self.lora_A.to(dtype)), self.lora_B.to(dtype))
        update: torch.Tensor = low * self.scale
        unchanged: torch.Tensor = self.base(x)
        if self.lora_magnitude_vector is not None:
            gain = self.gain()
            update = (gain - 1) * F.linear(seen, self.base.weight) + gain * update
        return unchanged + update.to(x.dtype)

    def gain(self) -> torch.Tensor:
        """DoRA's factor on each output: the learned norm over the present one, shape (out,)."""
        assert self.lora_magnitude_vector is not None
        return self.lora_magnitude_vector / self._norm()

    @torch.no_grad()
    def _norm(self) -> torch.Tensor:
        weight = self.base.weight.to(self.lora_A.dtype)
        whole = torch.addmm(weight, self.lora_B, self.lora_A, alpha=self.scale)
        norm: torch.Tensor = torch.linalg.vector_norm(whole, dim=1)
        return norm

    def delta(self) -> torch.Tensor:
        """What LoRA adds to the base weight, in float32, shape (out, in)."""
        return self.scale * (self.lora_B.float() @ self.lora_A.float())

    def folded(self) -> torch.Tensor:
        """The weight that does what base and adapter do, in float32, shape (out, in)."""
        weight = self.base.weight.detach().float() + self.delta().detach()
        return weight if self.lora_magnitude_vector is None else self.gain().detach()[:, None] * weight


def _drop(x: torch.Tensor, dropout: float) -> torch.Tensor:
    if not dropout:
        return x
    if x.is_cuda:
        return F.dropout(x, dropout)  # fused with its neighbours where blocks are compiled
    return without(x, dropped_elements(x.numel(), dropout)) / (1 - dropout)


def add_adapters(model: torch.nn.Module, settings: Lora, seed: int) -> None:
    """Freeze the model and put an adapter on each linear layer whose last name is a target.

    Raises:
        MulmedError: a target names no linear layer of this model.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    # The head stays as it is: its weight often is the embedding's, and the loss reads it directly.
    find_head: Any = getattr(model, "get_output_embeddings", lambda: None)
    head = find_head()
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    known = {path.rpartition(".")[2] for path in linear}
    if missing := [t for t in settings.targets if t not in known]:
        raise MulmedError(
            f"The base model has no linear layer called {missing[0]!r} that can be adapted.",
            where="lora.targets",
            remedy="It has: " + ", ".join(sorted(known)),
        )
    for path in linear:
        parent, _, name = path.rpartition(".")
        if name in settings.targets:
            module = model.get_submodule(parent)
            setattr(module, name, LoraLinear(getattr(module, name), settings, generator))


def adapters(model: torch.nn.Module) -> dict[str, LoraLinear]:
    """The adapted layers by their path in the model, in order."""
    return {name: m for name, m in model.named_modules() if isinstance(m, LoraLinear)}


def trainable(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """The trained parameters under the names that peft gives them in its files."""
    found: dict[str, torch.nn.Parameter] = {}
    for path, layer in adapters(model).items():
        found[f"{_PREFIX}{path}.lora_A.weight"] = layer.lora_A
        found[f"{_PREFIX}{path}.lora_B.weight"] = layer.lora_B
        if layer.lora_magnitude_vector is not None:
            found[f"{_PREFIX}{path}.lora_magnitude_vector"] = layer.lora_magnitude_vector
    for path, row in token_rows(model).items():  # a "delta" to peft too is what stands in the row's place
        found[f"{_PREFIX}{path}.token_adapter.trainable_tokens_delta"] = row.rows
    return found


def save_adapter(model: torch.nn.Module, settings: Lora, base: str, folder: Path) -> None:
    """Write ``adapter_model.safetensors`` and ``adapter_config.json`` as peft would."""
    tensors = {name: p.detach().cpu().contiguous() for name, p in trainable(model).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config: dict[str, Any] = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": settings.r,
        "lora_alpha": settings.alpha,
        "lora_dropout": settings.dropout,
        "target_modules": sorted(settings.targets),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
    }
    if grown := token_rows(model):
        config["trainable_token_indices"] = {
            path.rpartition(".")[2]: list(layer.ids) for path, layer in grown.items()
        }
    config |= {"use_rslora": True} if settings.rslora else {}
    config |= {"use_dora": True} if settings.dora else {}
    write_json(folder / CONFIG, config)


def load_adapter(model: torch.nn.Module, folder: Path) -> None:
    """Put a saved adapter onto a plain model, ready for inference or merging.

    Raises:
        MulmedError: the adapter's tensors are not those of this model.
    """
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    settings = Lora(
        r=config["r"],
        alpha=config["lora_alpha"],
        dropout=config["lora_dropout"],
        targets=tuple(config["target_modules"]),
        rslora=config.get("use_rslora", False),
        dora=config.get("use_dora", False),
    )
    add_adapters(model, settings, seed=0)
    if indices := config.get("trainable_token_indices"):
        ids = next(iter(indices.values()))
        add_token_rows(model, range(ids[0], ids[-1] + 1))
    load_weights(model, load_file(folder / WEIGHTS), folder / WEIGHTS)


def load_weights(model: torch.nn.Module, tensors: dict[str, torch.Tensor], where: Path) -> None:
    """Copy adapter tensors into an adapted model; names and shapes must be exactly its own."""
    parameters = trainable(model)
    if tensors.keys() != parameters.keys():
        odd = sorted(tensors.keys() ^ parameters.keys())
        raise MulmedError(
            f"The adapter does not belong to this model: {len(odd)} tensors differ, first {odd[0]!r}.",
            where=str(where),
            remedy="Use the base model and targets it was trained with.",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            if tensors[name].shape != parameter.shape:
                raise MulmedError(
                    f"The adapter's tensor {name} has shape {tuple(tensors[name].shape)}, the model's "
                    f"{tuple(parameter.shape)}.",
                    where=str(where),
                    remedy="Use the base model and rank it was trained with.",
                )
            parameter.copy_(tensors[name])
