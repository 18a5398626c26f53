"""Fold an adapter into its base, and prove that the merged model computes the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.prompts import Example, Renderer
from mulmed.training.loop import Progress
from mulmed.training.lora import adapters, load_adapter
from mulmed.training.model import Placement, load_model
from mulmed.training.rows import fold_token_rows
from mulmed.training.seal import check_seal

PROOF = "proof.json"
_POSITIONS = 32


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What the merge may change at most, per position of the held-out prompts.

    Attributes:
        logit: largest absolute logit difference, relative to the largest absolute logit.
        kl: mean Kullback-Leibler divergence in nats.
        argmax: least share of positions with the same most likely token.
    """

    logit: float
    kl: float
    argmax: float


#: Rounding of the saved weights is all that may differ.
TOLERANCES = {
    torch.float32: Tolerance(logit=1e-4, kl=1e-6, argmax=0.999),
    torch.float16: Tolerance(logit=2e-2, kl=2e-3, argmax=0.98),
    torch.bfloat16: Tolerance(logit=0.1, kl=2e-2, argmax=0.95),
}


def merge(
    base: Path,
    adapter: Path,
    prompts: Sequence[Example],
    renderer: Renderer,
    out: Path,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Write the merged model to ``out`` with its tokenizer, chat template and ``proof.json``.

    The weights are folded in float32 and saved in the base's own precision. The proof, at every position
    of held-out examples, has three parts: the folded weights give the logits of base plus adapter, to
    float32 rounding; the folder, read back, holds these weights and no others, rounded to its precision;
    and its logits differ from those of base plus adapter by no more than that rounding explains. In
    float32 there is nothing to round, and the first part is the last.

    Returns:
        The proof.

    Raises:
        MulmedError: the adapter was changed, or trained on another base; the proof does not hold, or there
            is no held-out example.
    """
    if not prompts:
        raise MulmedError(
            "There is no held-out example to prove the merge on.",
            where=str(out.name),
            remedy="Give a source a validation or test share.",
        )
    placement = Placement(torch.device("cpu"), torch.float32, "cpu")
    progress("base and adapter", 0, 3)
    check_seal(adapter, base)
    model = load_model(base, placement)
    saved_dtype = stored_dtype(base)
    load_adapter(model, adapter)
    model.eval()
    expected = [_logits(model, e) for e in prompts]
    progress("folding", 1, 3)
    for path, layer in adapters(model).items():
        layer.base.weight.data = layer.folded()
        parent, _, name = path.rpartition(".")
        setattr(model.get_submodule(parent), name, layer.base)
    fold_token_rows(model)
    folding = None
    if saved_dtype != torch.float32:
        folding = compare(expected, (_logits(model, e) for e in prompts), TOLERANCES[torch.float32])
    model.to(saved_dtype)
    renderer.tokenizer.chat_template = renderer.chat_template
    # Whoever loads the folder gets the ids that training used.
    for config in (model.config, model.generation_config):
        config.eos_token_id = renderer.eos_id
        config.bos_token_id = renderer.bos_id
        config.pad_token_id = renderer.tokenizer.pad_token_id
    model.save_pretrained(out)
    renderer.tokenizer.save_pretrained(out)
    progress("proving", 2, 3)
    merged = load_model(out, Placement(placement.device, saved_dtype, "cpu"))
    other = _other_tensors(model, merged)
    del model
    if saved_dtype != torch.float32:
        merged = load_model(out, placement)
    merged.eval()
    proof = compare(expected, (_logits(merged, e) for e in prompts), TOLERANCES[saved_dtype])
    proof["folding"] = folding
    proof["other_tensors"] = other
    proof["holds"] = proof["holds"] and not other and (folding is None or folding["holds"])
    proof["prompts"] = len(prompts)
    proof["languages"] = sorted({e.language for e in prompts})
    proof["saved_precision"] = str(saved_dtype).removeprefix("torch.")
    write_json(out / PROOF, proof)
    progress("proven", 3, 3)
    if not proof["holds"]:
        raise MulmedError(
            "The merged model does not compute what base and adapter compute (largest logit difference "
            f"{proof['max_abs_logit_difference']:.3g}, argmax agreement {proof['argmax_agreement']:.4f}, "
            f"{len(other)} tensors other than they were saved).",
            where=str(out / PROOF),
            remedy="The merged folder is not used. Check the base model's precision, and report this.",
        )
    return proof


def compare(
    expected: Iterable[torch.Tensor], actual: Iterable[torch.Tensor], tolerance: Tolerance
) -> dict[str, Any]:
    """Differences between two series of logits, each of shape (positions, vocabulary).

    With ``d = a - b`` and ``p = softmax(a)``, the Kullback-Leibler divergence of a position is
    ``sum(p d) + log(sum(p exp(-d)))``: for close logits two small numbers are added, where the difference
    of two logarithms of softmax would be lost in float32's rounding.
    """
    largest = difference = kl = 0.0
    agree = positions = 0
    for whole_a, whole_b in zip(expected, actual, strict=True):
        # A few positions at a time: a vocabulary of 262,144 makes these the largest tensors of a merge.
        for a, b in zip(torch.split(whole_a, _POSITIONS), torch.split(whole_b, _POSITIONS), strict=True):
            agree += int((a.argmax(-1) == b.argmax(-1)).sum())
            largest = max(largest, a.abs().max().item())
            d = a - b
            difference = max(difference, d.abs().max().item())
            p = a.softmax(-1)
            mean_d = torch.linalg.vecdot(p, d).double()
            kl += (mean_d + torch.linalg.vecdot(p, d.neg_().expm1_()).double().log1p()).sum().item()
        positions += whole_a.shape[0]
    mean_kl, agreement = kl / positions, agree / positions
    holds = (
        difference <= tolerance.logit * largest and mean_kl <= tolerance.kl and agreement >= tolerance.argmax
    )
    return {
        "positions": positions,
        "max_abs_logit_difference": difference,
        "max_abs_logit": largest,
        "mean_kl": max(0.0, mean_kl),
        "argmax_agreement": agreement,
        "tolerance": {"logit": tolerance.logit, "kl": tolerance.kl, "argmax": tolerance.argmax},
        "holds": bool(holds),
    }


def _other_tensors(saved: Any, read: Any) -> list[str]:
    """Names of the tensors that are not, bit for bit, what was saved."""
    found = read.state_dict()
    return [name for name, tensor in saved.state_dict().items() if not torch.equal(tensor, found[name])]


@torch.no_grad()
def _logits(model: Any, example: Example) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([example.ids]), use_cache=False).logits[0].float()
    return logits


def stored_dtype(folder: Path) -> torch.dtype:
    """Precision of the base's own files."""
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(folder, local_files_only=True).dtype
    return dtype if dtype in TOLERANCES else torch.float32
