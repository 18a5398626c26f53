"""The stages in which models answer the test questions, and are scored."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mulmed.artifact import write_json
from mulmed.base import prepare_base
from mulmed.pipeline import Progress, Stage
from mulmed.stages.common import RECORDS, VERSIONS, parent_of

if TYPE_CHECKING:
    from mulmed.stages.run import Run


def generate_stage(run: Run, model: str) -> Stage:
    """A model and the test questions -> its answers."""
    generation = run.recipe.generation

    def make(out: Path, progress: Progress) -> None:
        from mulmed.generation.answers import check_template, choose_questions, write_answers
        from mulmed.generation.engine import TransformersEngine

        folder = run.model_folder(model)
        # The base answers as it is, not with tokens that it was never trained on.
        renderer = run.base_renderer if model == "base" else run.renderer
        if model == "base":
            prepare_base(run.base, run.tell)
        else:
            check_template(folder, renderer)
        write_answers(
            model,
            choose_questions(run.records(), generation.questions, renderer),
            lambda: TransformersEngine(folder, renderer.eos_id),
            renderer,
            generation.decoding,
            generation.batch,
            out,
            progress=progress,
        )

    return Stage(
        name=f"generate-{model}",
        title=f"answer the test questions with {model}",
        version=VERSIONS["generate"],
        parents={"corpus": (RECORDS,), **parent_of(model)},
        config={
            "decoding": generation.decoding.model_dump(mode="json"),
            "questions": generation.questions,
            "batch": generation.batch,
            "template": run.template.sha256,
            "base": run.base.content,
        },
        make=make,
        volatile=("run.json",),
    )


def evaluate_stage(run: Run) -> Stage:
    """Every model's answers -> scores and comparisons."""
    models = run.recipe.models

    def make(out: Path, progress: Progress) -> None:
        from mulmed.evaluation.comparison import read_answers
        from mulmed.evaluation.empathy import care
        from mulmed.evaluation.score import write_scores

        encoder = run.encoder
        if encoder is not None:
            prepare_base(encoder, run.tell)
        files = [run.pipeline.folder(f"generate-{m}") / "answers.jsonl" for m in models]
        settings, seed = run.recipe.evaluation, run.recipe.seed
        write_scores(files, out, settings, seed, encoder.folder if encoder else None, progress)
        write_json(out / "care.json", care(read_answers(files), settings, seed))

    return Stage(
        name="evaluate",
        title="score the answers",
        version=VERSIONS["evaluate"],
        parents={f"generate-{m}": ("answers.jsonl",) for m in models},
        config={
            "evaluation": run.recipe.evaluation.model_dump(
                mode="json", exclude={"bertscore": {"model", "revision"}}
            ),
            "encoder": run.encoder and run.encoder.content,
            "models": list(models),
            "seed": run.recipe.seed,
        },
        make=make,
    )
