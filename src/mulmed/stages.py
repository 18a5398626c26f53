"""A recipe's stages: which room does what, from which artifacts. Nothing heavy is imported until it runs."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mulmed.artifact import FileHashes, hash_json, read_artifact, write_json
from mulmed.base import Base, count_parameters, prepare_base, resolve_base
from mulmed.errors import MulmedError
from mulmed.pipeline import Pipeline, Progress, Stage, versions
from mulmed.prompts.template import load_template
from mulmed.recipe import Recipe, Step

if TYPE_CHECKING:
    from mulmed.corpus.record import Record
    from mulmed.prompts import Example, Renderer

RECORDS = "records.parquet"
ADAPTER = ("adapter_config.json", "adapter_model.safetensors")
#: Held-out examples a language on which a merge is proven.
PROOF_EXAMPLES = 4
VERSIONS = {"corpus": 6, "train": 2, "merge": 2, "generate": 1, "evaluate": 3, "report": 2}


class Run:
    """A recipe bound to its output folder and base model.

    Args:
        recipe: the whole recipe.
        tell: receives lines for the user, such as a base model's licence notice.

    Raises:
        MulmedError: a source file or the base model is missing.
    """

    def __init__(self, recipe: Recipe, tell: Callable[[str], None]) -> None:
        self.recipe = recipe
        self.root = Path(recipe.output or Path("runs") / recipe.name)
        self.template = load_template(recipe.template)
        self._tell = tell
        self._hashes = FileHashes(self.root / ".hashes.json")
        self.base: Base = resolve_base(recipe.base, recipe.base_revision, self._hashes, tell=tell)
        self.pipeline = Pipeline(self.root, self._stages())
        self._hashes.save()

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The base model's tokenizer with the recipe's template."""
        from transformers import AutoTokenizer

        from mulmed.prompts import Renderer

        prepare_base(self.base, self._tell)
        try:
            tokenizer = AutoTokenizer.from_pretrained(
                self.base.folder, local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # tokenizers raises nothing more specific
            raise MulmedError(
                f"The base model's tokenizer cannot be loaded: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
                where=str(self.base.folder),
                remedy="Fetch its tokenizer files again.",
            ) from error
        return Renderer(tokenizer, self.template)

    def records(self) -> list[Record]:
        """The cleaned corpus, in file order."""
        import polars as pl

        from mulmed.corpus.batch import from_batch

        return list(from_batch(pl.read_parquet(self.pipeline.folder("corpus") / RECORDS)))

    def examples(self, step: str, split: str) -> list[Example]:
        """The rendered examples of a step's sources in one split."""
        sources = self.recipe.steps[step].sources
        return [self.renderer.example(r) for r in self.records() if r.source in sources and r.split == split]

    def model_folder(self, model: str) -> Path:
        """Where the model called ``base`` or after a step lies."""
        return self.base.folder if model == "base" else self.pipeline.folder(f"merge-{model}")

    def _stages(self) -> list[Stage]:
        stages = [self._corpus()]
        for name, step in self.recipe.steps.items():
            stages += [self._train(name, step), self._merge(name, step)]
        stages += [self._generate(model) for model in self.recipe.models]
        stages += [self._evaluate(), self._report()]
        return stages

    def _corpus(self) -> Stage:
        from mulmed.corpus.files import resolve

        recipe = self.recipe
        data = Path(recipe.data)
        inputs = {
            name: [
                [path.name, self._hashes(path)]
                for path in resolve(data, source.paths, f"corpus.sources.{name}.path")
            ]
            for name, source in recipe.corpus.sources.items()
        }

        def make(out: Path, progress: Progress) -> None:
            from mulmed.corpus.build import build_corpus
            from mulmed.corpus.record import TASKS
            from mulmed.prompts.counting import TokenCounter

            languages = {source.language for source in recipe.corpus.sources.values()}
            known = [
                (task, language)
                for task in TASKS
                for language in sorted(languages)
                if task == "instruction" or language in self.template.instructions[task]
            ]
            build_corpus(
                recipe.corpus,
                data,
                out,
                seed=recipe.seed,
                cutoff=recipe.cutoff,
                overhead={(t, lang): self.renderer.overhead(t, lang) for t, lang in known},
                count_tokens=TokenCounter(self.renderer.tokenizer),
                progress=progress,
            )

        return Stage(
            name="corpus",
            title="read and clean the corpora",
            version=VERSIONS["corpus"],
            parents={},
            config={
                # Where it is worked on changes nothing; the key is a secret, and manifests are published.
                "corpus": recipe.corpus.model_dump(mode="json", exclude={"executor", "key"}),
                "key": _fingerprint(recipe.corpus.key),
                "cutoff": recipe.cutoff,
                "seed": recipe.seed,
                "template": self.template.sha256,
                "base": self.base.content,
                "inputs": inputs,
            },
            make=make,
        )

    def _train(self, name: str, step: Step) -> Stage:
        base_name = self.base.label if step.parent == "base" else f"merge-{step.parent}"

        def make(out: Path, progress: Progress) -> None:
            from mulmed.prompts.inspect import check_examples, target_shares
            from mulmed.training.loop import train

            examples = self.examples(name, "train")
            validation = self.examples(name, "validation")
            for part in (examples, validation) if validation else (examples,):
                check_examples(part, self.recipe.cutoff, name)
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
            train(
                self.model_folder(step.parent),
                examples,
                validation,
                step,
                out,
                seed=self.recipe.seed,
                base_name=base_name,
                progress=progress,
            )

        return Stage(
            name=f"train-{name}",
            title=f"train the adapter of {name}",
            version=VERSIONS["train"],
            parents={"corpus": (RECORDS,), **self._parent(step.parent)},
            config={
                # How often it is saved changes nothing in what is learned.
                "step": step.model_dump(mode="json", exclude={"checkpoint_every"}),
                "base_name": base_name,
                "cutoff": self.recipe.cutoff,
                "seed": self.recipe.seed,
                "template": self.template.sha256,
                "base": self.base.content,
            },
            make=make,
            volatile=("run.json",),
        )

    def _merge(self, name: str, step: Step) -> Stage:
        def make(out: Path, progress: Progress) -> None:
            from mulmed.training.merge import merge

            held_out: list[Example] = []
            for language in sorted({s.language for s in self.recipe.corpus.sources.values()}):
                records = [r for r in self.records() if r.split != "train" and r.language == language]
                held_out += [self.renderer.example(r) for r in records[:PROOF_EXAMPLES]]
            merge(
                self.model_folder(step.parent),
                self.pipeline.folder(f"train-{name}"),
                held_out,
                self.renderer,
                out,
                progress=progress,
            )

        return Stage(
            name=f"merge-{name}",
            title=f"merge {name} and prove it",
            version=VERSIONS["merge"],
            parents={"corpus": (RECORDS,), f"train-{name}": ADAPTER, **self._parent(step.parent)},
            config={"template": self.template.sha256, "base": self.base.content},
            make=make,
        )

    def _generate(self, model: str) -> Stage:
        generation = self.recipe.generation

        def make(out: Path, progress: Progress) -> None:
            from mulmed.generation.answers import check_template, choose_questions, write_answers
            from mulmed.generation.engine import TransformersEngine

            folder = self.model_folder(model)
            if model == "base":
                prepare_base(self.base, self._tell)
            else:
                check_template(folder, self.renderer)
            write_answers(
                model,
                choose_questions(self.records(), generation.questions, self.renderer),
                lambda: TransformersEngine(folder, self.renderer.eos_id),
                self.renderer,
                generation.decoding,
                generation.batch,
                out,
                progress=progress,
            )

        return Stage(
            name=f"generate-{model}",
            title=f"answer the test questions with {model}",
            version=VERSIONS["generate"],
            parents={"corpus": (RECORDS,), **self._parent(model)},
            config={
                "decoding": generation.decoding.model_dump(mode="json"),
                "questions": generation.questions,
                "batch": generation.batch,
                "template": self.template.sha256,
                "base": self.base.content,
            },
            make=make,
            volatile=("run.json",),
        )

    def _evaluate(self) -> Stage:
        models = self.recipe.models

        def make(out: Path, progress: Progress) -> None:
            from mulmed.evaluation.comparison import read_answers
            from mulmed.evaluation.empathy import care
            from mulmed.evaluation.score import write_scores

            progress("scoring", 0, 1)
            files = [self.pipeline.folder(f"generate-{m}") / "answers.jsonl" for m in models]
            settings, seed = self.recipe.evaluation, self.recipe.seed
            write_scores(files, out, settings, seed)
            write_json(out / "care.json", care(read_answers(files), settings, seed))
            progress("scored", 1, 1)

        return Stage(
            name="evaluate",
            title="score the answers",
            version=VERSIONS["evaluate"],
            parents={f"generate-{m}": ("answers.jsonl",) for m in models},
            config={
                "evaluation": self.recipe.evaluation.model_dump(mode="json"),
                "models": list(models),
                "seed": self.recipe.seed,
            },
            make=make,
        )

    def _report(self) -> Stage:
        recipe = self.recipe
        steps = [n for n in recipe.steps if n in recipe.models or _is_ancestor(recipe, n)]
        parents: dict[str, tuple[str, ...]] = {"corpus": (), "evaluate": ()}
        parents |= {f"train-{s}": () for s in steps}
        parents |= {f"merge-{s}": ("proof.json",) for s in steps}
        parents |= {f"generate-{m}": () for m in recipe.models}

        def make(out: Path, progress: Progress) -> None:
            from mulmed.report.build import ReportInputs, build_report

            progress("drawing", 0, 1)
            folder = self.pipeline.folder
            licence = f"{self.base.licence}. {self.base.notice}" if self.base.licence else ""
            build_report(
                out,
                ReportInputs(
                    recipe=recipe,
                    base={
                        "name": self.base.label,
                        "licence": licence,
                        "parameters": count_parameters(self.base.folder),
                    },
                    corpus=folder("corpus"),
                    training={s: folder(f"train-{s}") for s in steps},
                    merges={s: folder(f"merge-{s}") for s in steps},
                    generations={m: folder(f"generate-{m}") for m in recipe.models},
                    evaluation=folder("evaluate"),
                    lineage=[self._lineage(name) for name in parents],
                    versions=versions(),
                ),
            )
            progress("drawn", 1, 1)

        return Stage(
            name="report",
            title="write the report",
            version=VERSIONS["report"],
            parents=parents,
            config={"recipe": _shown(recipe, self.base), "base": self.base.content},
            make=make,
            # The page also tells how long things took on which machine.
            volatile=("index.html",),
        )

    def _lineage(self, stage: str) -> dict[str, Any]:
        artifact = read_artifact(self.pipeline.folder(stage))
        assert artifact is not None
        manifest = artifact.manifest
        return {
            "stage": stage,
            "key": manifest["key"],
            "manifest_sha256": hash_json(dict(manifest["files"])),
            "seconds": manifest["seconds"],
        }

    @staticmethod
    def _parent(model: str) -> Mapping[str, tuple[str, ...]]:
        return {} if model == "base" else {f"merge-{model}": ()}


def _is_ancestor(recipe: Recipe, step: str) -> bool:
    """Whether any answering model was built on this step."""
    for model in recipe.models:
        while model != "base":
            if model == step:
                return True
            model = recipe.steps[model].parent
    return False


def _shown(recipe: Recipe, base: Base) -> dict[str, Any]:
    """What of the recipe the report prints: all but the places on this machine."""
    shown = recipe.model_dump(
        mode="json", exclude={"data": True, "output": True, "corpus": {"key", "executor"}}
    )
    return shown | {"base": base.label}


def _fingerprint(key: str | None) -> str | None:
    """What tells one secret from another without giving either away."""
    if key is None:
        return None
    return hashlib.pbkdf2_hmac("sha256", key.encode(), b"mulmed corpus key", 600_000).hex()[:16]
