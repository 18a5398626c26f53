"""The stages of a training step: the adapter, and the model it is merged into."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from mulmed.artifact import write_json
from mulmed.pipeline import Progress, Stage
from mulmed.recipe import Step
from mulmed.stages.common import RECORDS, VERSIONS, languages_of, trained_from
from mulmed.stages.vocabulary import read_vocabulary

if TYPE_CHECKING:
    from mulmed.prompts import Example
    from mulmed.stages.run import Run

ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
#: Held-out examples a language on which a merge is proven.
PROOF_EXAMPLES = 4


def train_stage(run: Run, name: str, step: Step) -> Stage:
    """A step's examples and its parent model -> its adapter."""
    base_name = run.base.label if step.parent == "base" else f"merge-{step.parent}"

    def make(out: Path, progress: Progress) -> None:
        from mulmed.prompts.inspect import check_examples, target_shares
        from mulmed.stages.trackers import tracking
        from mulmed.training.job import Job
        from mulmed.training.launch import FOLDER, train_together
        from mulmed.training.loop import train

        shutil.rmtree(out / FOLDER, ignore_errors=True)  # left by processes that were killed
        vocabulary = read_vocabulary(run)
        examples = run.examples(name, "train")
        validation = run.examples(name, "validation")
        for part in (examples, validation) if validation else (examples,):
            check_examples(part, run.recipe.cutoff, name)
        shares = [
            {
                "task": s.task,
                "language": s.language,
                "examples": s.examples,
                "tokens": s.tokens,
                "targets": s.targets,
                "longest": s.longest,
            }
            for s in target_shares(examples)
        ]
        write_json(out / "examples.json", shares)
        recipe = run.recipe
        facts = {"step": name, "base": base_name, "cutoff": recipe.cutoff, "seed": recipe.seed}
        facts |= step.model_dump(mode="json")
        with tracking(recipe.tracker, recipe.name, name, run.root / "tracking", facts, run.tell) as track:
            base = run.parent_folder(step.parent)
            new_tokens = None if vocabulary is None else vocabulary.ids
            if recipe.workers is not None:
                shard = recipe.workers.shard
                job = Job(base, examples, validation, step, out, recipe.seed, base_name, new_tokens, shard)
                train_together(job, recipe.workers, progress=progress, track=track, tell=run.tell)
                return
            train(
                base,
                examples,
                validation,
                step,
                out,
                seed=recipe.seed,
                base_name=base_name,
                new_tokens=new_tokens,
                progress=progress,
                track=track,
                tell=run.tell,
            )

    return Stage(
        name=f"train-{name}",
        title=f"train the adapter of {name}",
        version=VERSIONS["train"],
        parents={"corpus": (RECORDS,), **trained_from(step.parent, run.recipe)},
        config={
            # How often it is saved changes nothing in what is learned.
            "step": step.model_dump(mode="json", exclude={"checkpoint_every"}),
            "base_name": base_name,
            "cutoff": run.recipe.cutoff,
            "seed": run.recipe.seed,
            "template": run.template.sha256,
            "base": run.base.content,
        },
        make=make,
        volatile=("run.json",),
    )


def merge_stage(run: Run, name: str, step: Step) -> Stage:
    """A step's adapter and its parent model -> the model after it."""

    def make(out: Path, progress: Progress) -> None:
        from mulmed.training.merge import merge

        held_out: list[Example] = []
        for language in sorted({s.language for s in run.recipe.corpus.sources.values()}):
            records = [r for r in run.records() if r.split != "train" and r.language == language]
            held_out += [run.renderer.example(r) for r in records[:PROOF_EXAMPLES]]
        merge(
            run.parent_folder(step.parent),
            run.pipeline.folder(f"train-{name}"),
            held_out,
            run.renderer,
            out,
            progress=progress,
        )

    return Stage(
        name=f"merge-{name}",
        title=f"merge {name} and prove it",
        version=VERSIONS["merge"],
        parents={"corpus": (RECORDS,), f"train-{name}": ADAPTER, **trained_from(step.parent, run.recipe)},
        config={"template": run.template.sha256, "base": run.base.content, **languages_of(run.recipe)},
        make=make,
    )
