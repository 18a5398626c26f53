"""The stages in which the recipe's baselines answer the test questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulmed.base import prepare_base, resolve_base
from mulmed.errors import MulmedError
from mulmed.pipeline import Progress, Stage
from mulmed.prompts.template import load_template
from mulmed.recipe import Api, Decoding, Local, Made, Published
from mulmed.stages.answers import RUN, context_of
from mulmed.stages.common import RECORDS, VERSIONS, load_renderer

if TYPE_CHECKING:
    from mulmed.corpus.record import Record
    from mulmed.stages.answers import Answerer
    from mulmed.stages.run import Run


def baseline_stage(run: Run, name: str) -> Stage:
    """A baseline and the test questions -> its answers.

    Raises:
        MulmedError: its model, adapter or file is not there, or may not be used.
    """
    generation = run.recipe.generation
    baseline = generation.baselines[name]
    if isinstance(baseline, Local | Api):
        told, answer = baseline_answerer(run, name, baseline)

        def make(out: Path, progress: Progress) -> None:
            answer(run.records(), generation.questions, generation.decoding, out, progress)

        return _stage(run, name, told | {"decoding": generation.decoding.model_dump(mode="json")}, make)
    return _made(run, name, baseline) if isinstance(baseline, Made) else _published(run, name, baseline)


def baseline_answerer(run: Run, name: str, baseline: Local | Api) -> tuple[dict[str, Any], Answerer]:
    """What decides a baseline's answers besides the questions and the decoding, and how it answers."""
    return _local(run, name, baseline) if isinstance(baseline, Local) else _api(run, name, baseline)


def _local(run: Run, name: str, baseline: Local) -> tuple[dict[str, Any], Answerer]:
    from mulmed.generation.adapter import check_adapter

    key = f"generation.baselines.{name}"
    batch = run.recipe.generation.batch
    found = resolve_base(baseline.model, baseline.revision, run.hashes, tell=run.tell, key=f"{key}.model")
    adapter = Path(baseline.adapter).expanduser() if baseline.adapter else None
    parts = check_adapter(adapter, f"{key}.adapter") if adapter else ()
    content = {"model": found.content, "adapter": [run.hashes(part) for part in parts]}
    template = load_template(baseline.template, run.recipe.languages)

    def answer(
        records: Sequence[Record], limit: int | None, decoding: Decoding, out: Path, progress: Progress
    ) -> None:
        from mulmed.artifact import hash_json
        from mulmed.generation.answers import Answering, choose_questions, write_answers
        from mulmed.generation.engine import TransformersEngine

        prepare_base(found, run.tell)
        renderer = load_renderer(found.folder, template)
        write_answers(
            Answering(name, hash_json(content), "transformers", decoding, context_of(found.folder)),
            choose_questions(records, limit, renderer),
            lambda: TransformersEngine(found.folder, renderer.eos_id, adapter),
            renderer,
            batch,
            out,
            progress=progress,
        )

    return {"template": template.sha256, "content": content, "batch": batch}, answer


def _api(run: Run, name: str, baseline: Api) -> tuple[dict[str, Any], Answerer]:
    template = load_template(baseline.template, run.recipe.languages)

    def answer(
        records: Sequence[Record], limit: int | None, decoding: Decoding, out: Path, progress: Progress
    ) -> None:
        from mulmed.generation.answers import choose_records
        from mulmed.generation.api import write_api_answers

        write_api_answers(
            name, choose_records(records, limit), baseline, template, decoding, out, progress=progress
        )

    # How fast and how dear it may be changes nothing in what it says.
    return {"api": baseline.api, "model": baseline.model, "template": template.sha256}, answer


def _published(run: Run, name: str, baseline: Published) -> Stage:
    def make(out: Path, progress: Progress) -> None:
        from mulmed.generation.published import write_published

        progress("taking the data set's answers", 0, 1)
        write_published(name, baseline.source, _records(run), out)

    return _stage(
        run, name, {"source": baseline.source}, make, f"take {name}'s answers from {baseline.source}"
    )


def _made(run: Run, name: str, baseline: Made) -> Stage:
    file = Path(run.recipe.data) / baseline.file
    if not file.is_file():
        raise MulmedError(
            "There is no such file of answers.",
            where=f"generation.baselines.{name}.file: {baseline.file}",
            remedy="Give its path relative to `data`.",
        )

    def make(out: Path, progress: Progress) -> None:
        from mulmed.evaluation.exchange import read_predictions
        from mulmed.generation.answers import asked
        from mulmed.generation.published import write_made

        progress("reading the answers", 0, 1)
        questions = {r.id: asked(name, r) for r in _records(run)}
        write_made(read_predictions(file, name, questions), content, out)

    content = run.hashes(file)
    return _stage(run, name, {"file": content}, make, f"take {name}'s answers from a file")


def _records(run: Run) -> list[Record]:
    from mulmed.generation.answers import choose_records

    return choose_records(run.records(), run.recipe.generation.questions)


def _stage(run: Run, name: str, config: dict[str, Any], make: Any, title: str = "") -> Stage:
    return Stage(
        name=f"generate-{name}",
        title=title or f"answer the test questions with {name}",
        version=VERSIONS["generate"],
        parents={"corpus": (RECORDS,)},
        config={**config, "questions": run.recipe.generation.questions},
        make=make,
        volatile=(RUN,),
    )
