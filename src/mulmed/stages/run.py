"""A recipe's stages in their order. Nothing heavy is imported until one of them runs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mulmed.artifact import FileHashes
from mulmed.base import Base, prepare_base, resolve_base
from mulmed.pipeline import Pipeline, Progress, Stage
from mulmed.prompts.template import load_template
from mulmed.recipe import Made, Published, Recipe
from mulmed.recipe.language import using
from mulmed.stages.answers import evaluate_stage, generate_stage
from mulmed.stages.baselines import baseline_stage
from mulmed.stages.common import RECORDS, load_renderer
from mulmed.stages.corpus import corpus_stage
from mulmed.stages.report import report_stage
from mulmed.stages.training import merge_stage, train_stage
from mulmed.stages.vocabulary import read_vocabulary, vocabulary_stage

if TYPE_CHECKING:
    from mulmed.corpus.record import Record
    from mulmed.prompts import Example, Renderer


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
        self.template = load_template(recipe.template, recipe.languages)
        self.tell = tell
        self.hashes = FileHashes(self.root / ".hashes.json")
        self.base: Base = resolve_base(recipe.base, recipe.base_revision, self.hashes, tell=tell)
        bertscore = recipe.evaluation.bertscore
        self.encoder: Base | None = None
        if bertscore is not None:
            key = "evaluation.bertscore.model"
            self.encoder = resolve_base(bertscore.model, bertscore.revision, self.hashes, tell=tell, key=key)
        self.pipeline = Pipeline(self.root, self._stages())
        self.hashes.save()

    @functools.cached_property
    def renderer(self) -> Renderer:
        """The steps' tokenizer with the recipe's template: the base model's, or with the tokens learned."""
        from mulmed.prompts import Renderer
        from mulmed.prompts.vocabulary import extend_tokenizer

        vocabulary = read_vocabulary(self)
        if vocabulary is None:
            return self.base_renderer
        return Renderer(extend_tokenizer(self.base_renderer.tokenizer, vocabulary), self.template)

    @functools.cached_property
    def base_renderer(self) -> Renderer:
        """The base model's tokenizer with the recipe's template."""
        prepare_base(self.base, self.tell)
        return load_renderer(self.base.folder, self.template)

    @property
    def compared_engines(self) -> tuple[str, ...]:
        """Models whose answers come from another engine than the reference, which was compared with it."""
        if self.recipe.generation.engine == "transformers":
            return ()
        return tuple(m for m in self.recipe.models if m not in self.recipe.generation.baselines)

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

    def parent_folder(self, model: str) -> Path:
        """Where the model lies that a step on ``model`` trains: as it is, or the base with more tokens."""
        if model == "base" and self.recipe.vocabulary is not None:
            return self.pipeline.folder("vocabulary")
        return self.model_folder(model)

    def _stages(self) -> list[Stage]:
        stages = [corpus_stage(self)]
        baselines = self.recipe.generation.baselines
        # Answers that lie ready come first: what is missing there is told before hours of training.
        ready = [m for m in self.recipe.models if isinstance(baselines.get(m), Made | Published)]
        stages += [baseline_stage(self, model) for model in ready]
        if self.recipe.vocabulary is not None:
            stages.append(vocabulary_stage(self))
        for name, step in self.recipe.steps.items():
            stages += [train_stage(self, name, step), merge_stage(self, name, step)]
        for model in self.recipe.models:
            if model not in ready:
                answering = baseline_stage if model in baselines else generate_stage
                stages.append(answering(self, model))
        stages += [evaluate_stage(self), report_stage(self)]
        return [replace(stage, make=functools.partial(self._in_languages, stage.make)) for stage in stages]

    def _in_languages(self, make: Callable[[Path, Progress], None], out: Path, progress: Progress) -> None:
        with using(self.recipe.languages):
            make(out, progress)
