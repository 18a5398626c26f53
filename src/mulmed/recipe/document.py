"""The whole recipe: corpus, steps, generation, evaluation, report."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mulmed.recipe.baselines import Baseline, Published
from mulmed.recipe.corpus import Corpus, Holdout
from mulmed.recipe.language import BUILT_IN, Language
from mulmed.recipe.settings import Name, Seed, Settings, did_you_mean
from mulmed.recipe.steps import Step


class Decoding(Settings):
    """How every compared model decodes."""

    max_new_tokens: int = Field(128, ge=1)
    num_beams: int = Field(1, ge=1)
    temperature: float = Field(0.0, ge=0, description="0 is greedy (or beam) search")
    top_p: float = Field(1.0, gt=0, le=1)
    repetition_penalty: float = Field(1.2, ge=1)
    no_repeat_ngram: int = Field(0, ge=0)
    seed: Seed = 42


class Generation(Settings):
    """Which models answer which of the test questions, and how."""

    models: tuple[str, ...] = Field(
        (), description="`base`, steps and baselines; default: all of them, in this order"
    )
    baselines: dict[Name, Baseline] = Field({}, description="rivals that answer the same questions")
    questions: int | None = Field(None, ge=1, description="at most so many a task and language")
    decoding: Decoding = Decoding()
    engine: Literal["transformers", "llamacpp", "vllm"] = Field(
        "transformers", description="of the base and the steps; compared with transformers before it answers"
    )
    gguf: Literal["f32", "f16", "q8_0"] | None = Field(
        None, description="llamacpp: precision of the matrices; default f16"
    )
    batch: int = Field(8, ge=1, description="questions answered at a time")

    @model_validator(mode="after")
    def _engine_has_it(self) -> Generation:
        if self.engine != "llamacpp" and self.gguf is not None:
            raise ValueError("gguf belongs to `engine: llamacpp`")
        for key, plain in (("num_beams", 1), ("no_repeat_ngram", 0)):
            if self.engine != "transformers" and getattr(self.decoding, key) != plain:
                raise ValueError(
                    f"{self.engine} has no decoding.{key}: leave it out, or let transformers answer"
                )
        return self


class BertScore(Settings):
    """BERTScore beside the other measures, by an encoder the user names."""

    model: str = Field(description="a Hugging Face folder, or a hub name")
    revision: str | None = Field(None, description="hub names only: the commit to use")
    layer: int | None = Field(None, ge=1, description="whose output is compared; default the last")


class Evaluation(Settings):
    """How answers are scored."""

    resamples: int = Field(1000, ge=100, description="bootstrap resamples over questions")
    confidence: float = Field(0.95, gt=0, lt=1)
    bertscore: BertScore | None = None


class Report(Settings):
    """What the report shows."""

    examples: int = Field(2, ge=0, description="answers side by side, a task and language")
    review: str | None = Field(None, description="results.json of `mulmed review results`")


class Vocabulary(Settings):
    """Tokens of Chinese characters that the base gets in addition, learned from the training records."""

    tokens: int = Field(
        ge=1, description="at most so many; some thousands for a base that knows little Chinese"
    )


class Workers(Settings):
    """Processes that train together, a GPU each where there are any."""

    processes: int = Field(ge=1, description="on this machine, or of a Ray cluster")
    ray: str | None = Field(
        None, description="`auto` or the address of a Ray cluster whose machines see `output` and `base`"
    )
    shard: bool = Field(
        False, description="cut the base into parts among them (FSDP2), where it does not fit whole"
    )

    @model_validator(mode="after")
    def _has_parts(self) -> Workers:
        if self.shard and self.processes == 1:
            raise ValueError("shard cuts the base among processes: set at least two, or leave it out")
        return self


class Tracker(Settings):
    """Where training is shown besides its own log: nothing leaves the machine unless ``uri`` says so."""

    kind: Literal["tensorboard", "mlflow", "trackio", "wandb"]
    uri: str | None = Field(
        None, description="a server, or TensorBoard's folder; default: `tracking/` in the run's output"
    )
    project: str | None = Field(None, min_length=1, description="default: the recipe's name")


class Recipe(Settings):
    """A whole run."""

    name: Name
    data: str = Field(".", description="folder of the raw corpora, relative to the recipe file")
    output: str | None = Field(None, description="default: runs/NAME in the working directory")
    base: str = Field(description="an embedded base, a Hugging Face folder, or a hub name")
    base_revision: str | None = Field(None, description="hub names only: the commit to use")
    template: Literal["alpaca"] = "alpaca"
    cutoff: int = Field(256, ge=32, description="tokens an example may have, template included")
    seed: Seed = 42
    languages: tuple[Language, ...] = Field(
        (), description="files of languages beside English and Chinese, or folders of them"
    )
    corpus: Corpus
    vocabulary: Vocabulary | None = None
    steps: dict[Name, Step] = Field(min_length=1)
    generation: Generation = Generation()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()
    workers: Workers | None = Field(None, description="who trains; default: this process alone")
    tracker: Tracker | None = Field(None, description="a tracker, or its kind alone")

    @field_validator("tracker", mode="before")
    @classmethod
    def _kind_alone(cls, value: Any) -> Any:
        return {"kind": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _names_exist(self) -> Recipe:
        earlier = ["base"]
        for name, step in self.steps.items():
            if name == "base":
                raise ValueError("a step may not be called 'base'")
            if step.parent not in earlier:
                raise ValueError(
                    f"steps.{name}.parent is {step.parent!r}, which is none of {', '.join(earlier)}"
                )
            for source in step.sources:
                if source not in self.corpus.sources:
                    raise ValueError(
                        f"steps.{name}.sources names {source!r}"
                        f"{did_you_mean(source, self.corpus.sources)}, which corpus.sources lacks"
                    )
            earlier.append(name)
        for name, baseline in self.generation.baselines.items():
            if name in earlier:
                raise ValueError(f"generation.baselines.{name}: the base or a step has this name")
            if isinstance(baseline, Published) and baseline.source not in self.corpus.sources:
                raise ValueError(
                    f"generation.baselines.{name}.source is {baseline.source!r}"
                    f"{did_you_mean(baseline.source, self.corpus.sources)}, which corpus.sources lacks"
                )
        earlier += self.generation.baselines
        for model in self.generation.models:
            if model not in earlier:
                raise ValueError(f"generation.models names {model!r}, which is none of {', '.join(earlier)}")
        return self

    @model_validator(mode="after")
    def _languages_are_known(self) -> Recipe:
        added = [language.code for language in self.languages]
        if twice := sorted({code for code in added if added.count(code) > 1}):
            raise ValueError(f"languages: two files are of the language {twice[0]!r}")
        known = [*BUILT_IN, *added]
        for name, source in self.corpus.sources.items():
            if source.language not in known:
                raise ValueError(
                    f"corpus.sources.{name}.language is {source.language!r}, which is none of {', '.join(known)}; "
                    "give the language a file under `languages`"
                )
        return self

    @model_validator(mode="after")
    def _has_a_test(self) -> Recipe:
        # Found out now, not after hours of training.
        if not any(
            s.split.test > 0 if isinstance(s.split, Holdout) else s.split == "test"
            for s in self.corpus.sources.values()
        ):
            raise ValueError(
                "corpus.sources: none has `split: test` or a test share, so there is nothing to score"
            )
        return self

    @model_validator(mode="after")
    def _cuts_whole_numbers(self) -> Recipe:
        rounded = [name for name, step in self.steps.items() if step.base_precision is not None]
        if self.workers is not None and self.workers.shard and rounded:
            raise ValueError(
                f"workers.shard: a base of base_precision (steps.{rounded[0]}) is not cut into parts"
            )
        return self

    @model_validator(mode="after")
    def _has_chinese_to_learn_from(self) -> Recipe:
        if self.vocabulary is not None and not any(
            s.language == "zh" and (isinstance(s.split, Holdout) or s.split == "train")
            for s in self.corpus.sources.values()
        ):
            raise ValueError(
                "vocabulary: no source of `language: zh` has training records to learn tokens from"
            )
        return self

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answer: those named, else the base, every step and every baseline."""
        return self.generation.models or ("base", *self.steps, *self.generation.baselines)
