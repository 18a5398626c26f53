"""The recipe's corpus part: which sources are read, and how they are cleaned."""

from __future__ import annotations

import codecs
import re
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from mulmed.recipe.settings import Fraction, Settings, did_you_mean

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
            near = did_you_mean(
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
