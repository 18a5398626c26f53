"""What was made, from what, and whether the merges are proven, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from mulmed.recipe import Recipe
from mulmed.report import names
from mulmed.report.curves import Curve


class BaseInfo(TypedDict):
    """The base model: its printed name, a line about its licence, its number of parameters."""

    name: str
    licence: str
    parameters: int


def what_was_made(
    recipe: Recipe, base: BaseInfo, funnel: Mapping[str, Any], statistics: Mapping[str, Any]
) -> list[str]:
    """Base, steps, corpus."""
    steps = [
        f"{name} from {'the base' if step.parent == 'base' else step.parent} on {names.joined(step.sources)}"
        for name, step in recipe.steps.items()
    ]
    times = "one LoRA fine-tuning" if len(steps) == 1 else f"{len(steps)} LoRA fine-tunings"
    first, last = funnel["stages"][0], funnel["stages"][-1]
    over = first["rules"].get(names.OVER_LIMIT, 0)
    limits = f" ({names.count(over)} more lay beyond the recipe's limits)" if over else ""
    languages = names.joined(sorted({names.language(row["language"]) for row in statistics["splits"]}))
    splits = {"train": 0, "validation": 0, "test": 0}
    for row in statistics["splits"]:
        splits[row["split"]] += row["records"]
    return [
        f"The base model is {base['name']} with {names.parameters(base['parameters'])} parameters. The"
        f" recipe {recipe.name} put it through {times}, merged into the model each time:"
        f" {'; '.join(steps)}.",
        f"Of {names.count(first['in'] - over)} records read{limits}, {names.count(last['out'])} in"
        f" {languages} were left after cleaning:"
        f" {names.count(splits['train'])} for training, {names.count(splits['validation'])} for validation"
        f" and {names.count(splits['test'])} for the test.",
    ]


def cleaning_left_out(recipe: Recipe) -> list[str]:
    """Cleaning stages that the recipe switched off, in plain words."""
    stages = ("repair", "deidentify", "moderate", "deduplicate", "decontaminate")
    return [names.stage(stage) for stage in stages if not getattr(recipe.corpus, stage)]


def loss_sentence(curves: Sequence[Curve]) -> str:
    """What training did to the loss on the validation records, step by step."""

    def change(curve: Curve) -> str:
        if curve.before is None or curve.after is None:
            return f"was not measured in step {curve.name}"
        before, after = names.decimal(curve.before), names.decimal(curve.after)
        verb = "fell" if curve.after < curve.before else "did not fall: it went"
        return f"{verb} from {before} to {after} in step {curve.name}"

    return f"The loss on the validation records {names.joined([change(curve) for curve in curves])}."


#: Watts assumed of a machine at work, by a word in its device's name: rated board power of the accelerator with a tenth for the
#: host (NVIDIA's data sheets: A100 SXM 400 W, H100 and H200 SXM 700 W).
POWER = {"A100": 440, "H100": 770, "H200": 770}
#: Of other accelerators, and of a machine that computes on its processor.
OTHER_GPU, PROCESSOR = 350, 65


def energy_sentence(runs: Sequence[Mapping[str, Any]], lineage: Sequence[Mapping[str, Any]]) -> str:
    """How long the stages took on which machine, and an estimate of the energy with what it assumes.

    Args:
        runs: each training step's ``run.json``.
        lineage: stages with their ``seconds``; ``None`` where nobody noted them.
    """
    devices = list(dict.fromkeys(str(run["device"]) for run in runs))
    noted = [float(stage["seconds"]) for stage in lineage if stage["seconds"] is not None]
    missing = len(lineage) - len(noted)
    watts = max(_watts(device) for device in devices)
    energy = sum(noted) * watts / 3_600_000
    return (
        f"Training ran on {names.joined(devices)}; all stages together took {names.duration(sum(noted))}"
        + (f", {missing} of them not counted because nobody noted their time" if missing else "")
        + f". At an assumed {watts} W throughout that is about {energy:.2g} kWh: an estimate from time alone. The power was not"
        " measured, and cooling, idle time, repeated attempts and the making of the base model are not in it."
    )


def _watts(device: str) -> int:
    if "CPU" in device:
        return PROCESSOR
    return next((watts for name, watts in POWER.items() if name in device), OTHER_GPU)


def merge_sentence(step: str, proof: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether a merge is proven, and what was measured."""
    holds = proof["holds"] is True
    allowed = proof["tolerance"]
    verdict = (
        "equals base plus adapter within the rounding of its weights"
        if holds
        else "does NOT equal base plus adapter, so its scores are not those of the trained adapter"
    )
    return holds, (
        f"Step {step}: the merged model {verdict}. On {names.count(proof['prompts'])} prompts"
        f" ({names.count(proof['positions'])} positions) the largest logit difference is"
        f" {proof['max_abs_logit_difference']:.2g}, where logits reach {proof['max_abs_logit']:.3g}; the mean"
        f" Kullback-Leibler divergence is {proof['mean_kl']:.2g}; both rank the same token first at"
        f" {100 * proof['argmax_agreement']:.2f}% of the positions. Allowed were {allowed['logit']:g} of the"
        f" largest logit, {allowed['kl']:g}, and at least {100 * allowed['argmax']:g}%."
    )
