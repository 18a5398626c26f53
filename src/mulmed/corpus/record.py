"""One record model for every task and language.

Pure Python, so that training and prompts can use it on a machine that has no data libraries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Task = Literal["instruction", "summary", "qa", "dialogue"]
Split = Literal["train", "validation", "test"]
Role = Literal["user", "assistant"]
TASKS: tuple[Task, ...] = ("instruction", "summary", "qa", "dialogue")
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance. In a dialogue the patient is ``user`` and the doctor ``assistant``."""

    role: Role
    text: str


@dataclass(frozen=True, slots=True)
class Record:
    """One training or test example, whatever corpus it came from.

    Attributes:
        id: stable identifier, see :func:`record_id`.
        task: ``instruction`` (Alpaca), ``summary``, ``qa`` or ``dialogue``.
        language: ISO 639-1 code (``en``, ``zh``).
        turns: user and assistant alternate, the first is the user's, the last the assistant's.
            Summary: abstract, lay summary. Question answering: question, answer. Instruction: the
            instruction itself, the output. Dialogue: two turns or more.
        context: Alpaca's ``input`` field; empty for every other task.
        split: ``train``, ``validation`` or ``test``.
        source: name of the source in the recipe.
        file: name of the file it was read from, without its folder.
        row: 0-based position of the record in that file.
        answer_cut: the last answer was cut to fit; it must not be followed by an end-of-text token.
        baselines: answers of other systems that the corpus itself carries, by system name.
        tags: what the record is about that must not be overlooked: ``crisis`` (suicide, self-harm).
    """

    id: str
    task: Task
    language: str
    turns: tuple[Turn, ...]
    source: str
    file: str
    row: int
    context: str = ""
    split: Split = "train"
    answer_cut: bool = False
    baselines: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


def record_id(source: str, file: str, row: int, turns: tuple[Turn, ...], context: str = "") -> str:
    """Identifier from where a record stood and what it said: ``source:row:16 hex digits``.

    The digits are the start of a SHA-256 over file name, roles and texts as read (before cleaning),
    so the id never changes with the cleaning settings. Two files of one source cannot collide, not even
    a million of one record each (all of them row 0): 64 bits make that a chance of one in 30 million.
    """
    parts = [file, context]
    for turn in turns:
        parts += (turn.role, turn.text)
    parts.append("")
    said = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return f"{source}:{row}:{hashlib.sha256(said).hexdigest()[:16]}"
