"""The stage that writes the report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulmed.artifact import hash_file, hash_json, read_artifact
from mulmed.base import Base, count_parameters
from mulmed.errors import MulmedError
from mulmed.pipeline import Progress, Stage, versions
from mulmed.recipe import Recipe
from mulmed.stages.common import VERSIONS

if TYPE_CHECKING:
    from mulmed.stages.run import Run


def report_stage(run: Run) -> Stage:
    """All artifacts -> tables, figures and the report."""
    recipe = run.recipe
    steps = [n for n in recipe.steps if n in recipe.models or _is_ancestor(recipe, n)]
    parents: dict[str, tuple[str, ...]] = {"corpus": (), "evaluate": ()}
    parents |= {f"train-{s}": () for s in steps}
    parents |= {f"merge-{s}": ("proof.json",) for s in steps}
    parents |= {f"generate-{m}": () for m in recipe.models}

    review = Path(recipe.report.review).expanduser() if recipe.report.review else None
    if review is not None and not review.is_file():
        raise MulmedError(
            "There are no results of a review.",
            where=f"report.review: {review}",
            remedy="Write them with `mulmed review results`, or take the key out.",
        )

    def make(out: Path, progress: Progress) -> None:
        from mulmed.report.build import ReportInputs, build_report
        from mulmed.report.hub import write_cards
        from mulmed.review.results import read_results

        progress("drawing", 0, 1)
        folder = run.pipeline.folder
        licence = f"{run.base.licence}. {run.base.notice}" if run.base.licence else ""
        build_report(
            out,
            ReportInputs(
                recipe=recipe,
                base={
                    "name": run.base.label,
                    "licence": licence,
                    "parameters": count_parameters(run.base.folder),
                },
                corpus=folder("corpus"),
                training={s: folder(f"train-{s}") for s in steps},
                merges={s: folder(f"merge-{s}") for s in steps},
                generations={m: folder(f"generate-{m}") for m in recipe.models},
                evaluation=folder("evaluate"),
                lineage=[_lineage(run, name) for name in parents],
                versions=versions(),
                review=review,
            ),
        )
        write_cards(
            run.root, steps, out, recipe.name, read_results(review, "report.review") if review else None
        )
        progress("drawn", 1, 1)

    return Stage(
        name="report",
        title="write the report",
        version=VERSIONS["report"],
        parents=parents,
        config={"recipe": _shown(recipe, run.base), "base": run.base.content}
        | ({"review": hash_file(review)} if review else {}),
        make=make,
        # The page also tells how long things took on which machine.
        volatile=("index.html",),
    )


def _lineage(run: Run, stage: str) -> dict[str, Any]:
    artifact = read_artifact(run.pipeline.folder(stage))
    assert artifact is not None
    manifest = artifact.manifest
    return {
        "stage": stage,
        "key": manifest["key"],
        "manifest_sha256": hash_json(dict(manifest["files"])),
        "seconds": manifest["seconds"],
    }


def _is_ancestor(recipe: Recipe, step: str) -> bool:
    """Whether any answering model was built on this step."""
    for model in recipe.models:
        while model in recipe.steps:
            if model == step:
                return True
            model = recipe.steps[model].parent
    return False


def _shown(recipe: Recipe, base: Base) -> dict[str, Any]:
    """What of the recipe the report prints: all but the places on this machine."""
    shown = recipe.model_dump(
        mode="json",
        exclude={
            "data": True,
            "output": True,
            **({} if recipe.languages else {"languages": True}),
            "tracker": True,
            "workers": True,
            "corpus": {"key", "executor"},
            "report": {"review"},
        },
    )
    for baseline in shown["generation"]["baselines"].values():
        for key in baseline.keys() & {"model", "adapter", "file"}:
            baseline[key] = baseline[key] and Path(baseline[key]).name
    return shown | {"base": base.label}
