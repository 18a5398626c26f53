"""Answers side by side, chosen by hash and never by how good they look."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulmed.corpus.record import TASKS
from mulmed.report.files import broken, read_lines


@dataclass(frozen=True, slots=True)
class Answer:
    """What one model said; ``remark`` tells why the text is missing or ends early."""

    model: str
    text: str
    remark: str


@dataclass(frozen=True, slots=True)
class Example:
    """One test question with its reference and every model's answer.

    ``history`` holds (speaker, text) pairs of the dialogue before the question.
    """

    id: str
    task: str
    language: str
    source: str
    history: tuple[tuple[str, str], ...]
    question: str
    reference: str
    answers: tuple[Answer, ...]


def choose_examples(generations: Mapping[str, Path], a_group: int) -> tuple[Example, ...]:
    """For every language and task the ``a_group`` questions whose identifiers hash lowest.

    Raises:
        MulmedError: an answers file is broken, or a model lacks a chosen question.
    """
    paths = {model: folder / "answers.jsonl" for model, folder in generations.items()}
    if not a_group:
        return ()
    try:
        groups: dict[tuple[str, int, str], list[str]] = defaultdict(list)
        for row in read_lines(next(iter(paths.values()))):
            groups[row["language"], TASKS.index(row["task"]), row["task"]].append(row["id"])
        chosen = [
            name for group in sorted(groups) for name in heapq.nsmallest(a_group, groups[group], key=_hash)
        ]
        wanted = set(chosen)
        rows = {
            model: {row["id"]: row for row in read_lines(path) if row["id"] in wanted}
            for model, path in paths.items()
        }
        for model, path in paths.items():
            if missing := wanted - rows[model].keys():
                raise broken(path, f"The model {model} was not asked question {min(missing)}.")
        return tuple(_example(name, {model: rows[model][name] for model in paths}) for name in chosen)
    except (KeyError, ValueError) as error:
        raise broken(
            next(iter(paths.values())).parent, f"The answers are not in the expected form: {error!r}."
        ) from error


def _hash(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def _example(name: str, rows: Mapping[str, Mapping[str, Any]]) -> Example:
    row = next(iter(rows.values()))
    speakers = {"user": "Patient", "assistant": "Doctor"}
    return Example(
        id=name,
        task=row["task"],
        language=row["language"],
        source=row["source"],
        history=tuple((speakers[turn["role"]], turn["text"]) for turn in row["history"]),
        question=row["question"],
        reference=row["reference"],
        answers=tuple(Answer(model, r["answer"] or "", _remark(r)) for model, r in rows.items()),
    )


def _remark(row: Mapping[str, Any]) -> str:
    if row["status"] == "absent":
        return "The data set has no answer of this system."
    if row["status"] != "ok":
        return "No answer: the model failed on this question."
    if not row["answer"].strip():
        return "The model answered with nothing."
    return "Cut at the token limit." if row["finish"] == "length" else ""
