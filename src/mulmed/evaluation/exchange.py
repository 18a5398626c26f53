"""Answers made elsewhere, in and out: JSON Lines of predictions, and samples as lm-evaluation-harness logs them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from mulmed.artifact import hash_json, write_atomic
from mulmed.errors import MulmedError
from mulmed.evaluation.comparison import read_answers

Row = dict[str, Any]
#: What a question must tell; its ``source`` and its wording (``question``) are kept where given.
_NEEDED = ("id", "language", "task", "reference")
_KEPT = (*_NEEDED, "source", "question")


def read_questions(files: Sequence[Path]) -> dict[str, Row]:
    """Questions by id, from JSON Lines with ``id``, ``language``, ``task`` and ``reference``, such as an ``answers.jsonl``.

    Raises:
        MulmedError: a file cannot be read or holds no question, a field is missing or not text, or one id stands for two.
    """
    questions: dict[str, Row] = {}
    for file in files:
        for number, row in enumerate(read_answers([file]), 1):
            for key in _NEEDED:
                if not isinstance(row.get(key), str):
                    raise MulmedError(
                        f"A question's field {key!r} is missing or not text.",
                        where=f"{file}, row {number}",
                        remedy=f"Give every question the text fields {', '.join(_NEEDED)}.",
                    )
            question = {key: row[key] for key in _KEPT if key in row}
            if questions.setdefault(row["id"], question) != question:
                raise MulmedError(
                    "Two different questions have one id.",
                    where=f"{file}, row {number}, id {row['id']}",
                    remedy="Give every question an id of its own.",
                )
    if not questions:
        raise MulmedError(
            "There is no question to score by.",
            where=", ".join(map(str, files)),
            remedy="Name a file of questions.",
        )
    return questions


def read_predictions(file: Path, model: str, questions: Mapping[str, Row]) -> list[Row]:
    """Rows as in ``answers.jsonl`` of a model's answers to ``questions``.

    A line is ``{"id": ..., "prediction": ...}``, or a row of another run's ``answers.jsonl``, or a sample of
    lm-evaluation-harness: the answer is then the first of its ``filtered_resps``, and the id that of its ``doc``, or its ``doc_id`` where the document has none. A prediction of ``null``
    is a failed answer, and so is a question that the file does not answer: listed, never scored as empty.

    Raises:
        MulmedError: the file cannot be read; a line has no id or no answer; an id is none of the questions' or comes twice; no
            question is answered.
    """
    found: dict[str, str | None] = {}
    for number, row in enumerate(read_answers([file]), 1):
        where = f"{file}, row {number}"
        id, answer = _parse(row, where)
        if id not in questions:
            raise MulmedError(
                f"A prediction's id {id!r} is none of the questions'.",
                where=where,
                remedy="Score the predictions by the questions they were made for.",
            )
        if id in found:
            raise MulmedError(
                f"The question {id!r} is answered twice.", where=where, remedy="Leave one of the answers out."
            )
        found[id] = answer
    if not any(answer is not None for answer in found.values()):
        raise MulmedError(
            "The file answers no question.", where=str(file), remedy="Check that it is the right file."
        )
    rows = []
    for id, question in questions.items():
        answer = found.get(id)
        failed = {"answer": None, "status": "failed", "error": "no prediction in the file"}
        outcome = failed if answer is None else {"answer": answer, "status": "ok", "error": None}
        rows.append({**question, "model": model, **outcome})
    return rows


def _parse(row: Mapping[str, Any], where: str) -> tuple[str, str | None]:
    id: Any = None
    answer: Any = None
    if "prediction" in row:
        id, answer = row.get("id"), row["prediction"]
    elif "status" in row:
        id, answer = row.get("id"), row.get("answer") if row["status"] == "ok" else None
    elif "filtered_resps" in row or "resps" in row:
        document = row.get("doc")
        id = document.get("id") if isinstance(document, dict) else None
        id = row.get("doc_id") if id is None else id
        answer = row.get("filtered_resps") or row.get("resps")
        while isinstance(answer, list):  # one list a question, in some versions one a request within
            answer = answer[0] if answer else None
    if not isinstance(id, str | int) or not isinstance(answer, str | None):
        raise MulmedError(
            "A line is no answer.",
            where=where,
            remedy='Write {"id": "...", "prediction": "..."}, or samples of lm-evaluation-harness.',
        )
    return str(id), answer


def write_samples(
    rows: Iterable[Mapping[str, Any]], scores: Iterable[Mapping[str, Any]], out: Path
) -> list[Path]:
    """Answers with their scores as lm-evaluation-harness logs samples: a file a model, language and task.

    Args:
        rows: of ``answers.jsonl``, of any number of models; failed answers are left out.
        scores: rows of ``scores_per_question.jsonl`` for the same answers.
        out: folder for ``samples_MODEL_LANGUAGE_TASK.jsonl``.

    Returns:
        The files, in the order of the models.
    """
    by_answer = {(s["model"], s["id"]): s for s in scores}
    files: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["status"] != "ok":
            continue
        scored = {
            k: v
            for k, v in by_answer[row["model"], row["id"]].items()
            if k not in ("id", "model", "language", "task")
        }
        own = files["_".join(["samples", _safe(row["model"]), row["language"], row["task"]]) + ".jsonl"]
        document = {key: row[key] for key in ("id", "question", "reference", "source") if key in row}
        own.append(
            {
                "doc_id": len(own),
                "doc": document,
                "target": row["reference"],
                "resps": [[row["answer"]]],
                "filtered_resps": [row["answer"]],
                "filter": "none",
                "metrics": list(scored),
                "doc_hash": hash_json(document),
                "prompt_hash": row.get("prompt_sha256"),
                "target_hash": hash_json(row["reference"]),
                **scored,
            }
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, samples in files.items():
        write_atomic(out / name, b"".join(orjson.dumps(s) + b"\n" for s in samples))
    return [out / name for name in files]


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name)
