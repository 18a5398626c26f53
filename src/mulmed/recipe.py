"""The recipe file: one YAML document that says everything a run depends on.

Unknown keys are refused with the nearest known one, so nothing is accepted and ignored.
"""

from __future__ import annotations

import codecs
import difflib
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from mulmed.errors import MulmedError

Layout = Literal[
    "aci-bench",
    "ai-medical-chatbot",
    "alpaca",
    "bentsao",
    "cmtmedqa",
    "columns",
    "disc-medllm",
    "healthcaremagic",
    "huatuo26m",
    "icliniq",
    "jats",
    "laysumm",
    "medical-qa",
    "meddialog-en",
    "meddialog-zh",
    "medquad",
    "messages",
    "mts-dialog",
    "sharegpt",
    "toyhom",
]
#: A file of a data set on the Hugging Face hub, at one commit.
HUB_PATH = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})/(?P<file>[^\s/].*)")
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
#: What may be a folder's name.
Name = Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]*$")]


def _is_switch(annotation: Any) -> bool:
    """Whether true and false stand for a part of the recipe with its defaults, and for leaving it out."""
    return any(isinstance(kind, type) and issubclass(kind, BaseModel) for kind in typing.get_args(annotation))


class Settings(BaseModel):
    """Base of every part of a recipe: immutable, strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _yes_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        # YAML reads `yes` as true, and pydantic would read that as 1.
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and not _is_switch(annotation):
            raise ValueError("true or false stands where another kind of value belongs")
        return value


class Holdout(Settings):
    """Shares of a source kept out of training, chosen by a stable hash of the question."""

    validation: Fraction = 0.0
    test: Fraction = 0.0

    @model_validator(mode="after")
    def _leaves_something(self) -> Holdout:
        if self.validation + self.test > 1.0:
            raise ValueError("validation and test together exceed the whole source")
        return self


class Columns(Settings):
    """Which columns of a table, or keys of JSON objects, make a record."""

    question: str | tuple[str, ...] = Field(
        description="several are joined by a line feed; one that another contains is left out"
    )
    answer: str
    context: str | None = Field(None, description="what an instruction is about; task `instruction` only")
    language: str | None = Field(None, description="two-letter code of a record in another language")
    history: str | None = Field(None, description="earlier rounds: a list of [question, answer]")
    task: Literal["qa", "instruction", "summary"] = "qa"

    @model_validator(mode="after")
    def _fit_the_task(self) -> Columns:
        if self.context is not None and self.task != "instruction":
            raise ValueError(
                "a context column belongs to `task: instruction`; or name it among the question's"
            )
        if self.history is not None and self.task != "qa":
            raise ValueError("a history column belongs to `task: qa`")
        return self

    @property
    def questions(self) -> tuple[str, ...]:
        return (self.question,) if isinstance(self.question, str) else self.question


class Source(Settings):
    """One published corpus: where it lies, how it is laid out, what it is for."""

    layout: Layout
    path: str | tuple[str, ...] = Field(
        description="file(s) or globs, relative to `data`; or hub:OWNER/NAME@COMMIT/FILE"
    )
    language: str = Field(pattern="^[a-z]{2}$")
    encoding: str = Field("utf-8", description="of text files, for example gb18030")
    columns: Columns | None = Field(None, description="for `layout: columns`")
    split: Literal["train", "validation", "test"] | Holdout = "train"
    turns: Literal["all", "first"] = Field(
        "all", description="dialogue sources: the whole dialogue, or its first question and answer"
    )
    limit: int | None = Field(None, ge=1, description="at most so many records, in hash order")
    max_rejected: Fraction = Field(0.05, description="a larger rejected share stops the run")
    licence: str | None = Field(None, description="the publisher's, an SPDX name; told in the data card")

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)  # refuses codecs that are no text encodings, too
        except LookupError:
            near = _did_you_mean(
                value.lower(), ("utf-8", "gb18030", "gbk", "big5", "utf-16", "cp1252", "latin-1")
            )
            raise ValueError(f"{value!r} is no text encoding{near}") from None
        return codecs.lookup(value).name

    @field_validator("path")
    @classmethod
    def _pinned(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for path in (value,) if isinstance(value, str) else value:
            if path.startswith("hub:") and not HUB_PATH.fullmatch(path):
                raise ValueError(
                    f"{path!r} names no file at a pinned commit: hub:OWNER/NAME@COMMIT/FILE, "
                    "with all 40 hexadecimal digits of the commit"
                )
        return value

    @model_validator(mode="after")
    def _keys_fit_the_layout(self) -> Source:
        if (self.layout == "columns") != (self.columns is not None):
            raise ValueError("`columns:` and `layout: columns` belong together")
        if self.layout in ("jats", "medquad") and self.encoding != "utf-8":
            raise ValueError(
                f"files of layout {self.layout} say their encoding themselves; leave `encoding` out"
            )
        return self

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path,) if isinstance(self.path, str) else self.path


class Deidentify(Settings):
    """How people, places and numbers that identify someone are masked."""

    profile: Literal["fast", "full"] = Field("fast", description="rules; or rules and names by a model")
    surrogates: Literal["placeholder", "consistent"] = Field(
        "placeholder", description="[NAME] and the like; or made-up values, the same for the same person"
    )


class Deduplicate(Settings):
    """When two records count as the same. Exact duplicates always do."""

    near: Fraction | None = Field(0.8, ge=0.5, description="Jaccard similarity of shingles; null: exact only")


class Decontaminate(Settings):
    """When a training record counts as overlapping a test record.

    Overlap is the share of a test question's n-grams (words in English, characters in Chinese) found
    in the training record; a shared long n-gram of question or answer is an overlap by itself.
    """

    ngram_en: int = Field(8, ge=1)
    ngram_zh: int = Field(12, ge=1)
    overlap: Fraction = 0.5
    shared_en: int = Field(13, ge=1, description="words in a row in common with a test record")
    shared_zh: int = Field(20, ge=1, description="characters in a row in common with a test record")


class Executor(Settings):
    """Where the corpus is cleaned. It changes how long that takes, never what comes out."""

    processes: int | None = Field(None, ge=1, description="on this machine; default: one a core")
    ray: str | None = Field(None, description="`auto` or the address of a Ray cluster")

    @model_validator(mode="after")
    def _one_of_them(self) -> Executor:
        if self.processes is not None and self.ray is not None:
            raise ValueError("name processes or ray, not both")
        return self


class Corpus(Settings):
    """Which sources are read, and how they are cleaned. A stage set to false is left out."""

    sources: dict[str, Source] = Field(min_length=1)
    repair: bool = True
    simplify: bool = Field(False, description="traditional Chinese characters to simplified ones")
    deidentify: Deidentify | None = Deidentify()
    moderate: bool = True
    deduplicate: Deduplicate | None = Deduplicate()
    decontaminate: Decontaminate | None = Decontaminate()
    key: str | None = Field(
        None,
        description="secret of the audit's hashes of what was removed (without it none) and of surrogates",
    )
    executor: Executor = Executor()

    @field_validator("deidentify", "deduplicate", "decontaminate", mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value


class Lora(Settings):
    """Low-rank adaptation (Hu et al. 2021). The paper adapts query, key and value."""

    r: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = Field(("q_proj", "k_proj", "v_proj"), min_length=1)


class Step(Settings):
    """One LoRA fine-tuning, merged into its parent afterwards."""

    parent: str = Field(description="`base`, or the name of an earlier step")
    sources: tuple[str, ...] = Field(min_length=1)
    epochs: float = Field(1, gt=0)
    batch: int = Field(8, ge=1, description="examples an optimizer step")
    learning_rate: float = Field(3e-4, gt=0)
    warmup: Fraction = Field(0.1, description="share of the steps with a rising rate")
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are clipped to this norm")
    lora: Lora = Lora()
    micro_batch_tokens: int = Field(1024, ge=1, description="tokens packed into one forward pass")
    validate_every: int | None = Field(None, ge=1, description="optimizer steps; default five times a run")
    checkpoint_every: int = Field(50, ge=1, description="optimizer steps between checkpoints")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    base_precision: Literal["int8"] | None = Field(
        None, description="of the frozen base's weights while training; default: that of `precision`"
    )

    @model_validator(mode="after")
    def _int8_beside_float32(self) -> Step:
        if self.base_precision == "int8" and self.precision == "bfloat16":
            raise ValueError("base_precision int8 works beside float32; leave precision out")
        return self


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
    """Which models answer which of the test questions."""

    models: tuple[str, ...] = Field((), description="`base` and step names; default: all of them")
    questions: int | None = Field(None, ge=1, description="at most so many a task and language")
    decoding: Decoding = Decoding()
    batch: int = Field(8, ge=1)


class Evaluation(Settings):
    """How answers are scored."""

    resamples: int = Field(1000, ge=100, description="bootstrap resamples over questions")
    confidence: float = Field(0.95, gt=0, lt=1)


class Report(Settings):
    """What the report shows."""

    examples: int = Field(2, ge=0, description="answers side by side, a task and language")


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
    corpus: Corpus
    steps: dict[Name, Step] = Field(min_length=1)
    generation: Generation = Generation()
    evaluation: Evaluation = Evaluation()
    report: Report = Report()

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
                        f"{_did_you_mean(source, self.corpus.sources)}, which corpus.sources lacks"
                    )
            earlier.append(name)
        for model in self.generation.models:
            if model not in earlier:
                raise ValueError(f"generation.models names {model!r}, which is none of {', '.join(earlier)}")
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

    @property
    def models(self) -> tuple[str, ...]:
        """The models that answer: those named, else the base and every step."""
        return self.generation.models or ("base", *self.steps)


def load_recipe(path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """The recipe in ``path`` with ``key.subkey=value`` overrides applied (values are YAML).

    A relative ``data`` is resolved against the recipe's folder, one given as an override against the
    working directory.

    Raises:
        MulmedError: the file is missing or not YAML, or a key or value is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise MulmedError(
            f"The recipe cannot be read: {error.strerror}.", where=str(path), remedy="Check the path."
        ) from error
    except UnicodeDecodeError as error:
        raise MulmedError(
            f"The recipe is not UTF-8 (byte {error.start}).", where=str(path), remedy="Save it as UTF-8."
        ) from error
    try:
        document = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise MulmedError(
            "The recipe is not valid YAML.", where=f"{path}{line}", remedy=f"Mend the line: {error}"
        ) from error
    if not isinstance(document, dict):
        raise MulmedError(
            "The recipe is not a mapping of keys to values.",
            where=str(path),
            remedy="Start from a file under recipes/.",
        )
    document["data"] = str((path.parent / Path(str(document.get("data") or ".")).expanduser()).resolve())
    for override in overrides:
        _apply_override(document, override)
    document["data"] = str(Path(str(document["data"])).expanduser().resolve())
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        raise _explain(error, path) from error


class _Loader(yaml.SafeLoader):
    """YAML in which a key may stand only once: the other one would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} is written twice", key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _apply_override(document: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise MulmedError(
            "An override must look like key.subkey=value.",
            where=f"--set {override}",
            remedy="For example: --set steps.mulmed.epochs=1",
        )
    *parents, last = key.split(".")
    here = document
    for depth, parent in enumerate(parents):
        below = here.setdefault(parent, {})
        if not isinstance(below, dict):
            raise MulmedError(
                f"{'.'.join(parents[: depth + 1])} is a single value and has no key below it.",
                where=f"--set {override}",
                remedy="Set that key itself.",
            )
        here = below
    try:
        here[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise MulmedError(
            "The value of an override is not valid YAML.",
            where=f"--set {override}",
            remedy="Quote it: --set 'key=\"value\"'",
        ) from error


def _did_you_mean(wrong: str, known: typing.Iterable[str]) -> str:
    near = difflib.get_close_matches(wrong, list(known), n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


#: What pydantic finds when a value has another form than the one it is tried as.
_OTHER_FORM = ("literal_error", "model_type", "string_type", "tuple_type")


def _explain(error: ValidationError, path: Path) -> MulmedError:
    """All of pydantic's findings as one message, with the nearest known key for each unknown one."""
    findings = []
    for finding in error.errors():
        location = [str(part) for part in finding["loc"]]
        key = ".".join(p for p in location if not p.endswith("]") and p not in ("Holdout", "str"))
        if finding["type"] == "extra_forbidden":
            known = _known_keys(tuple(finding["loc"][:-1]))
            text = f"unknown key{_did_you_mean(location[-1], known)}"
        elif finding["type"] == "missing":
            text = "required key is missing"
        else:
            text = finding["msg"].removeprefix("Value error, ")
        findings.append((key, text, finding["type"] in _OTHER_FORM))
    lines: dict[str, str] = {}
    for key, text, other_form in findings:
        # A key with two forms is tried as both: what does not concern the form that was meant goes.
        if other_form and any(not o and f"{k}.".startswith(f"{key}.") for k, _, o in findings):
            continue
        lines[key] = f"{lines[key]}; or: {text}" if key in lines else f"{key}: {text}" if key else text
    return MulmedError(
        "The recipe has "
        + ("an error" if len(lines) == 1 else f"{len(lines)} errors")
        + ":\n    "
        + "\n    ".join(lines.values()),
        where=str(path),
        remedy="Correct the key in the file, or override it with --set key=value.",
    )


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    """Keys that the model at ``location`` of a recipe knows."""
    model: Any = Recipe
    for part in location:
        if isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[str(part)].annotation
        elif typing.get_origin(model) is dict:
            model = typing.get_args(model)[1]
        elif typing.get_origin(model) in (typing.Union, types.UnionType):
            pass  # pydantic adds the name of the union's member to the location
        if typing.get_origin(model) in (typing.Union, types.UnionType):
            members = [m for m in typing.get_args(model) if isinstance(m, type) and issubclass(m, BaseModel)]
            model = members[0] if members else model
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []
