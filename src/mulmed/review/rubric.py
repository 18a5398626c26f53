"""The rubric as data: axes, their questions and anchored scores, skip reasons and training items, in every language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from mulmed.artifact import hash_json
from mulmed.errors import MulmedError
from mulmed.recipe.settings import Name, Settings

#: Text by language code.
Texts = dict[str, str]
OnUnsafe = Literal["score_all", "stop"]
PAPER = Path(__file__).parent / "rubrics" / "mulmed.yaml"


class Score(Settings):
    """A score with the words that anchor it."""

    value: int
    label: Texts
    anchor: Texts


class Axis(Settings):
    """One axis; ``gate`` says that the lowest score ends the rating where a study stops on unsafe answers."""

    key: Name
    gate: bool = False
    title: Texts
    question: Texts
    note: Texts = Field(default_factory=dict)
    scores: tuple[Score, ...] = Field(min_length=2)

    @property
    def values(self) -> tuple[int, ...]:
        """The scores, worst first."""
        return tuple(score.value for score in self.scores)


class SkipReason(Settings):
    """A reason for not rating an answer."""

    key: Name
    label: Texts


class TrainingItem(Settings):
    """An answer with the scores it should get and why; rated first, never counted."""

    language: str
    task: str
    question: str
    answer: str
    scores: dict[str, int]
    feedback: Texts


class Rubric(Settings):
    """All of it; axes are asked in their order."""

    name: Name
    version: int = Field(ge=1)
    axes: tuple[Axis, ...] = Field(min_length=1)
    skip_reasons: tuple[SkipReason, ...] = Field(min_length=1)
    training: tuple[TrainingItem, ...] = ()

    @model_validator(mode="after")
    def _holds_together(self) -> Rubric:
        keys = [axis.key for axis in self.axes]
        if len(set(keys)) < len(keys):
            raise ValueError("two axes have one key")
        languages = set(self.axes[0].title)
        for axis in self.axes:
            if list(axis.values) != sorted(set(axis.values)):
                raise ValueError(f"axes.{axis.key}.scores must rise from the worst to the best")
            texts = [axis.title, axis.question, *(t for s in axis.scores for t in (s.label, s.anchor))]
            if any(set(text) != languages for text in texts) or (axis.note and set(axis.note) != languages):
                raise ValueError(f"axes.{axis.key}: a text lacks one of the languages {sorted(languages)}")
        for i, item in enumerate(self.training):
            for axis in self.axes:
                if item.scores.get(axis.key) not in axis.values:
                    raise ValueError(f"training.{i}.scores lacks a valid score of {axis.key}")
        return self

    @property
    def sha256(self) -> str:
        """Hash of everything in it."""
        return hash_json(self.model_dump(mode="json"))

    def asked(self, scores: Mapping[str, int], on_unsafe: OnUnsafe) -> tuple[str, ...]:
        """The axes that these scores leave to be asked, in order: all, or those up to a gate that stops."""
        keys = []
        for axis in self.axes:
            keys.append(axis.key)
            if on_unsafe == "stop" and axis.gate and scores.get(axis.key) == axis.values[0]:
                break
        return tuple(keys)


def text_in(texts: Mapping[str, str], language: str) -> str:
    """A text of the rubric in a language, or in its first one where it lacks that."""
    return texts.get(language) or next(iter(texts.values()))


def load_rubric(path: Path = PAPER) -> Rubric:
    """The rubric in a YAML file; default: Table 2 of the paper.

    Raises:
        MulmedError: the file cannot be read, or its contents do not hold together.
    """
    try:
        return Rubric.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise MulmedError(
            f"The rubric cannot be read: {error.strerror}.", where=str(path), remedy="Check the path."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else None
        what = f"{'.'.join(map(str, first['loc']))}: {first['msg']}" if first else str(error)
        raise MulmedError(
            f"The rubric does not hold together: {what}",
            where=str(path),
            remedy="Compare it with src/mulmed/review/rubrics/mulmed.yaml.",
        ) from error
