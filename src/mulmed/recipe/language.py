"""A language as data: what a recipe's ``languages`` files say, for languages that MulMed does not come with.

English and Chinese have rules of their own in the code (names, addresses, what a sentence's words weigh, readability).
Another language has its file: how it is written, what a model is told in it, which words say little, and which patterns
give somebody away. What a file cannot give is told by :attr:`Language.gaps`, in the account of the corpus, in the report and wherever a
model is asked in that language.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mulmed.recipe.settings import Settings

#: Languages with rules in the code; a file may not take their place.
BUILT_IN = {"en": "English", "zh": "Chinese"}
#: What identifies someone: the kinds of :data:`mulmed.corpus.deidentify.KINDS` that a pattern may have.
Kind = Literal[
    "NAME", "PHONE", "EMAIL", "URL", "IP", "ID", "LICENSE", "RECORD_NUMBER", "ACCOUNT", "PLATE", "DEVICE", "ADDRESS", "ZIP",
    "HOSPITAL", "DEPARTMENT", "DATE_OF_BIRTH", "DATE", "AGE",
]  # fmt: skip
#: Lists of phrases by which moderation leaves out a text (the first ones), takes a sentence out, or tags a cry for help.
Unwanted = Literal["insult", "hate", "sexual", "weapons", "gambling", "advertisement", "referral", "crisis"]
#: Kinds of words of care (:data:`mulmed.evaluation.lexicon.CATEGORIES`).
CareKind = Literal[
    "greeting", "politeness", "acknowledgement", "reassurance", "hope", "caution", "next step", "dismissal", "blame",
    "false reassurance", "clinical",
]  # fmt: skip
Phrase = Annotated[str, Field(min_length=3)]


class Identifier(Settings):
    """A pattern of what identifies someone; of a pattern with a group, the group is what is replaced."""

    kind: Kind
    pattern: str = Field(min_length=2, description="in the syntax of Python's `re`")

    @field_validator("pattern")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            compiled = re.compile(value)
        except re.error as error:
            raise ValueError(f"{value!r} is no pattern: {error}") from None
        if compiled.groups > 1:
            raise ValueError(
                f"{value!r} has more than one group; write (?:...) for those that are not replaced"
            )
        if compiled.match(""):
            raise ValueError(f"{value!r} matches where nothing stands")
        return value


class Care(Settings):
    """Words of care, as :mod:`mulmed.evaluation.lexicon` counts them."""

    categories: dict[CareKind, tuple[str, ...]] = Field(min_length=1)
    negations: tuple[str, ...] = Field((), description="words behind which a phrase does not count")
    passed_over: tuple[str, ...] = Field((), description="longer phrases that mean something else")


class Language(Settings):
    """One language's file."""

    code: str = Field(pattern="^[a-z]{2}$", description="ISO 639-1")
    name: str = Field(min_length=1, description="in English")
    own_name: str = Field(min_length=1, description="in the language itself")
    letters: str = Field(min_length=1, description="of its script, as inside a set of `re`: A-Za-zÀ-ÿ")
    units: Literal["words", "characters"] = Field(
        "words", description="what lengths are counted in: characters where no spaces stand between words"
    )
    sentence_ends: str = Field(".!?…", min_length=1)
    abbreviations: tuple[str, ...] = Field((), description="whose full stop ends no sentence, without it")
    instructions: dict[Literal["summary", "qa", "dialogue"], str] = Field(
        min_length=1, description="what stands before a user's first text, by task"
    )
    stop_words: tuple[str, ...] = Field(min_length=1, description="left out of lists of frequent words")
    identifiers: tuple[Identifier, ...] = ()
    unwanted: dict[Unwanted, tuple[Phrase, ...]] = Field({}, description="phrases, not patterns")
    care: Care | None = None

    @field_validator("stop_words", "abbreviations", mode="before")
    @classmethod
    def _words_of_a_text(cls, value: object) -> object:
        return tuple(value.split()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> Language:
        if self.code in BUILT_IN:
            raise ValueError(f"{BUILT_IN[self.code]} has rules of its own, and no file takes their place")
        try:
            re.compile(f"[{self.letters}]")
        except re.error as error:
            raise ValueError(f"letters: {self.letters!r} is no set of characters: {error}") from None
        return self

    @property
    def gaps(self) -> tuple[str, ...]:
        """What this language does not get, a sentence each."""
        patterns = (
            f"only by its form or by {len(self.identifiers)} patterns of its file"
            if self.identifiers
            else "only by its form (numbers, addresses on the net)"
        )
        said = [
            f"What identifies someone is found {patterns}: there is no recogniser of names, places or hospitals, so "
            "a name that no pattern announces stays. Nobody has measured how much is missed.",
            "Nothing in the code knows its drugs, allergies or negations: long texts are shortened by their sentences' places "
            "and numbers alone.",
            "There are no red flags and no checks of an answer's advice in it: a model asked in this language has none of "
            "the safety around it that English and Chinese have.",
        ]
        if not self.unwanted:
            said.append(
                "No list of insults, advertising or cries for help: moderation lets everything in it pass."
            )
        elif "crisis" not in self.unwanted:
            said.append("No list of cries for help: nobody in danger is tagged.")
        if self.care is None:
            said.append("No words of care are counted.")
        return tuple(said)


_NONE: dict[str, Language] = {}
_current: ContextVar[dict[str, Language]] = ContextVar("languages", default=_NONE)


@contextlib.contextmanager
def using(languages: Sequence[Language]) -> Iterator[None]:
    """Within the block, these languages are known beside the built-in ones, in this thread and task."""
    before = _current.set({language.code: language for language in languages})
    try:
        yield
    finally:
        _current.reset(before)


def added() -> dict[str, Language]:
    """By its code, each language that a file has added."""
    return _current.get()


def is_known(code: str) -> bool:
    """Whether a language is built in, or has been added."""
    return code in BUILT_IN or code in _current.get()


def by_words(code: str) -> bool:
    """Whether a language has spaces between its words."""
    own = _current.get().get(code)
    return own.units == "words" if own is not None else code != "zh"
