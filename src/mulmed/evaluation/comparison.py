"""The answers of the compared models, checked before anything is scored."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mulmed.errors import MulmedError
from mulmed.evaluation.tokenize import tokens

#: Marks of prompt templates and tokenizers that a decoded answer must not hold: ChatML-like ``<|...|>``,
#: sentence and turn marks, Alpaca's section heads, Llama's ``[INST]``.
LEAK = re.compile(
    r"<\|[^|<>\n]{1,40}\|>"
    r"|</?s>|<(?:bos|eos|pad|unk|mask|start_of_turn|end_of_turn)>"
    r"|###\s?(?:Instruction|Input|Response)\b"
    r"|\[/?INST\]",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Question:
    """A test question as far as scoring needs it."""

    id: str
    language: str
    task: str
    reference: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Every model's answers to one set of questions.

    Attributes:
        models: in the order of their first answer.
        questions: sorted by id, so that nothing depends on the order of the files.
        answers: text by (model, question id); failed and absent answers have no entry.
        failed: answers with status ``failed``, by model.
        absent: (model, question id) of those with status ``absent``: never asked for, since the data set that carries
            the model's answers has none to this question.
        leaked: answers holding special tokens or template marks (:data:`LEAK`), by model. They are scored as
            they stand: the mark is part of what a reader would have seen.
    """

    models: tuple[str, ...]
    questions: tuple[Question, ...]
    answers: Mapping[tuple[str, str], str]
    failed: Mapping[str, int]
    leaked: Mapping[str, int]
    absent: frozenset[tuple[str, str]] = frozenset()

    def models_of(self, questions: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The models that were asked any of these questions, and those of them that were asked all.

        Where no model was asked all of them, the second holds the first: there is no whole to compare on.
        """
        asked = {m: sum((m, id) not in self.absent for id in questions) for m in self.models}
        present = tuple(m for m in self.models if asked[m])
        return present, tuple(m for m in present if asked[m] == len(questions)) or present


def compare(answers: Iterable[Mapping[str, Any]]) -> Comparison:
    """Check the rows of one or more ``answers.jsonl`` against each other.

    Raises:
        MulmedError: there is no answer; a row lacks a field or has an unknown status; a model answers a
            question twice, or not at all (a failed answer must say so), or gave no answer that succeeded; two
            models disagree on a question's reference, language, task or source; a reference has no word to score by.
    """
    questions: dict[str, Question] = {}
    found: dict[tuple[str, str], str | None] = {}
    absent = set()
    for row in answers:
        model, question, answer = _parse(row)
        known = questions.setdefault(question.id, question)
        where = f"model {model}, question {question.id}"
        if known != question:
            raise MulmedError(
                "Two models were asked different questions under one id: reference, language, task or source differ.",
                where=where,
                remedy="Generate all compared models' answers from the same corpus.",
            )
        if (model, question.id) in found:
            raise MulmedError(
                "A model answers one question twice.",
                where=where,
                remedy="Give each answers file once, and each model a name of its own.",
            )
        found[model, question.id] = answer
        if row["status"] == "absent":
            absent.add((model, question.id))
    models = tuple(dict.fromkeys(model for model, _ in found))
    if not models:
        raise MulmedError("There are no answers to score.", where="answers", remedy="Generate answers first.")
    for question in questions.values():
        if not tokens(question.reference):
            raise MulmedError(
                "A reference answer holds no word to score by.",
                where=f"question {question.id}",
                remedy="Take the record out of the test split.",
            )
    for model in models:
        _check_complete(model, questions, found)
    return Comparison(
        models=models,
        questions=tuple(questions[id] for id in sorted(questions)),
        answers={key: answer for key, answer in found.items() if answer is not None},
        failed={m: sum(found[m, id] is None and (m, id) not in absent for id in questions) for m in models},
        leaked={m: sum(LEAK.search(found[m, id] or "") is not None for id in questions) for m in models},
        absent=frozenset(absent),
    )


def _parse(row: Mapping[str, Any]) -> tuple[str, Question, str | None]:
    """Model, question and answer (``None`` if failed or absent) of one row."""
    where = f"model {row.get('model', '?')}, question {row.get('id', '?')}"
    answered = row.get("status") == "ok"
    for key in ("id", "model", "language", "task", "reference", *(("answer",) if answered else ())):
        if not isinstance(row.get(key), str):
            raise MulmedError(
                f"An answer's field {key!r} is missing or not text.",
                where=where,
                remedy="Generate the answers anew.",
            )
    if row.get("status") not in ("ok", "failed", "absent"):
        raise MulmedError(
            "An answer's status is none of 'ok', 'failed' and 'absent'.",
            where=where,
            remedy="Generate the answers anew.",
        )
    question = Question(
        row["id"], row["language"], row["task"], row["reference"], str(row.get("source") or "")
    )
    return row["model"], question, row["answer"] if answered else None


def _check_complete(
    model: str, questions: Iterable[str], found: Mapping[tuple[str, str], str | None]
) -> None:
    missing = sorted(id for id in questions if (model, id) not in found)
    if missing:
        raise MulmedError(
            f"A model lacks answers to {len(missing)} of the questions that other models answered.",
            where=f"model {model}, question {missing[0]}" + (" and others" if len(missing) > 1 else ""),
            remedy="Generate the missing answers, or leave the model out of the comparison.",
        )
    if all(found[model, id] is None for id in questions):
        raise MulmedError(
            "All answers of a model failed, so there is nothing to score.",
            where=f"model {model}",
            remedy="See the errors in its answers.jsonl and generate again, or leave the model out.",
        )


def read_answers(files: Sequence[Path]) -> list[dict[str, Any]]:
    """Rows of ``answers.jsonl`` files, in their order.

    Raises:
        MulmedError: a file cannot be read, or a line is not a JSON object.
    """
    rows: list[dict[str, Any]] = []
    for file in files:
        try:
            lines = file.read_bytes().split(b"\n")
        except OSError as error:
            raise MulmedError(
                f"Answers cannot be read: {error.strerror}.", where=str(file), remedy="Check the path."
            ) from error
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                row = None
            if not isinstance(row, dict):
                raise MulmedError(
                    "A line of answers is not a JSON object.",
                    where=f"{file}, line {number}",
                    remedy="Generate the answers anew: the file may have been cut off.",
                )
            rows.append(row)
    return rows
