"""The stages in which models answer the test questions, and are scored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from mulmed.artifact import read_artifact, write_json
from mulmed.base import prepare_base
from mulmed.base.embedded import EMBEDDED
from mulmed.errors import MulmedError
from mulmed.pipeline import Progress, Stage
from mulmed.recipe import Decoding
from mulmed.stages.common import RECORDS, VERSIONS, languages_of, parent_of

if TYPE_CHECKING:
    from mulmed.corpus.record import Record
    from mulmed.generation.answers import Question
    from mulmed.generation.engine import Engine
    from mulmed.stages.run import Run

    #: Writes the answers to the test records among these, at most so many a task and language, into a folder.
    Answerer = Callable[[Sequence[Record], int | None, Decoding, Path, Progress], None]

ANSWERS, AGREEMENT, RUN = "answers.jsonl", "agreement.json", "run.json"
_GGUF = "model.gguf"
#: Engines that fill a place as it falls free are handed so many times the questions they answer at a time.
_QUEUE = 4


def generate_stage(run: Run, model: str) -> Stage:
    """The base, or a step's model, and the test questions -> its answers."""
    generation = run.recipe.generation
    answer = answerer(run, model)

    def make(out: Path, progress: Progress) -> None:
        answer(run.records(), generation.questions, generation.decoding, out, progress)

    return Stage(
        name=f"generate-{model}",
        title=f"answer the test questions with {model}",
        version=VERSIONS["generate"],
        parents={"corpus": (RECORDS,), **parent_of(model)},
        config={
            "decoding": generation.decoding.model_dump(mode="json"),
            "questions": generation.questions,
            "batch": generation.batch,
            "engine": _engine_name(run),
            "template": run.template.sha256,
            "base": run.base.content,
        },
        make=make,
        volatile=(RUN,),
    )


def answerer(run: Run, model: str) -> Answerer:
    """How the base, or a step's model, answers.

    Raises:
        MulmedError: the recipe's engine cannot run it.
    """
    generation = run.recipe.generation
    engine = _engine_name(run)
    if generation.engine == "llamacpp" and run.base.name not in EMBEDDED:
        raise MulmedError(
            f"llama.cpp reads a GGUF file, and there is none of the base {run.base.label}.",
            where="generation.engine",
            remedy=f"Let transformers answer, or start from an embedded base ({', '.join(EMBEDDED)}). A model that "
            "llama.cpp's own converter made a GGUF of can answer as a baseline: serve it and name its `api`.",
        )

    if generation.engine == "llamacpp" and run.recipe.vocabulary is not None:
        raise MulmedError(
            "llama.cpp reads the base's own tokenizer, and this recipe teaches it more tokens.",
            where="generation.engine",
            remedy="Let transformers answer, or leave `vocabulary` out.",
        )

    def answer(
        records: Sequence[Record], limit: int | None, decoding: Decoding, out: Path, progress: Progress
    ) -> None:
        from mulmed.generation.answers import Answering, check_template, choose_questions, write_answers
        from mulmed.generation.engine import TransformersEngine

        folder = run.model_folder(model)
        # The base answers as it is, not with tokens that it was never trained on.
        renderer = run.base_renderer if model == "base" else run.renderer
        if model == "base":
            prepare_base(run.base, run.tell)
        else:
            check_template(folder, renderer)
        questions = choose_questions(records, limit, renderer)

        def load() -> Engine:
            if generation.engine == "transformers":
                return TransformersEngine(folder, renderer.eos_id)
            return _other_engine(run, folder, renderer.eos_id, questions, decoding, engine, out, progress)

        write_answers(
            Answering(model, _content(run, model), engine, decoding, context_of(folder)),
            questions,
            load,
            renderer,
            generation.batch * (1 if generation.engine == "transformers" else _QUEUE),
            out,
            progress=progress,
        )
        (out / _GGUF).unlink(missing_ok=True)

    return answer


def _engine_name(run: Run) -> str:
    generation = run.recipe.generation
    precision = generation.gguf or "f16"
    names = {"transformers": "transformers", "llamacpp": f"llama.cpp, {precision}", "vllm": "vLLM"}
    return names[generation.engine]


def _other_engine(
    run: Run,
    folder: Path,
    eos: int,
    questions: Sequence[Question],
    decoding: Decoding,
    name: str,
    out: Path,
    progress: Progress,
) -> Engine:
    """llama.cpp or vLLM with the model, found to say what transformers says."""
    from mulmed.export.gguf import write_weights
    from mulmed.generation.agreement import check_engine
    from mulmed.generation.engine import TransformersEngine
    from mulmed.generation.llamacpp import LlamaCppEngine
    from mulmed.generation.vllm import VllmEngine

    generation = run.recipe.generation
    limit = context_of(folder) or 10**9
    room = decoding.max_new_tokens
    prompts = [q.prompt for q in questions if len(q.prompt) + room <= limit]
    context = max(map(len, prompts)) + room
    engine: Engine
    if generation.engine == "vllm":
        engine = VllmEngine(folder, eos, slots=generation.batch, context=context)
    else:
        if not (out / _GGUF).exists():
            progress("writing the model for llama.cpp", 0, len(questions))
            write_weights(folder, EMBEDDED[run.base.name], eos, out / _GGUF, generation.gguf or "f16")
        engine = LlamaCppEngine(out / _GGUF, eos, slots=generation.batch, context=context)
    progress("comparing with transformers", 0, len(questions))
    check_engine(name, lambda: TransformersEngine(folder, eos), engine, prompts, decoding, out)
    return engine


def context_of(folder: Path) -> int | None:
    """Tokens a model can look back over, by its ``config.json``."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    found = config.get("max_position_embeddings")
    return int(found) if found else None


def _content(run: Run, model: str) -> str:
    artifact = None if model == "base" else read_artifact(run.model_folder(model))
    return artifact.content if artifact else run.base.content


def evaluate_stage(run: Run) -> Stage:
    """Every model's answers -> scores and comparisons."""
    models = run.recipe.models
    compared = run.compared_engines

    def make(out: Path, progress: Progress) -> None:
        from mulmed.evaluation.comparison import read_answers
        from mulmed.evaluation.empathy import care
        from mulmed.evaluation.score import write_scores

        encoder = run.encoder
        if encoder is not None:
            prepare_base(encoder, run.tell)
        folder = {m: run.pipeline.folder(f"generate-{m}") for m in models}
        files = [folder[m] / ANSWERS for m in models]
        settings, seed = run.recipe.evaluation, run.recipe.seed
        write_scores(files, out, settings, seed, encoder.folder if encoder else None, progress)
        write_json(out / "care.json", care(read_answers(files), settings, seed))
        # Beside the scores: whether an engine other than the reference says what the reference says.
        engines = {m: orjson.loads((folder[m] / AGREEMENT).read_bytes()) for m in compared}
        write_json(out / "engines.json", engines)

    return Stage(
        name="evaluate",
        title="score the answers",
        version=VERSIONS["evaluate"],
        parents={f"generate-{m}": (ANSWERS, *((AGREEMENT,) if m in compared else ())) for m in models},
        config={
            "evaluation": run.recipe.evaluation.model_dump(
                mode="json", exclude={"bertscore": {"model", "revision"}}
            ),
            "encoder": run.encoder and run.encoder.content,
            "models": list(models),
            "seed": run.recipe.seed,
            **languages_of(run.recipe),
        },
        make=make,
    )
