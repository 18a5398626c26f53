"""Test questions -> answers on file, resumable and traceable.

Each stage of answering leaves ``answers.jsonl``, one row a question in the questions' order, and ``run.json``, which tells how
long each took. A row's ``status`` is ``ok``, ``failed`` (with the reason under ``error``) or, where a data set that carries
answers has none to this question, ``absent``; its answer is then null, and nothing scores it as empty.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mulmed.artifact import hash_json, write_atomic, write_json
from mulmed.corpus.record import Record
from mulmed.errors import MulmedError
from mulmed.generation.engine import Completion, Engine
from mulmed.prompts import Renderer
from mulmed.recipe import Decoding

ANSWERS = "answers.jsonl"
RUN = "run.json"
SO_FAR = "answers.so-far"


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out record and what is asked of a model: all its turns but the last answer."""

    record: Record
    prompt: tuple[int, ...]

    @property
    def prompt_sha256(self) -> str:
        """Over the prompt's token ids as little-endian 32-bit integers."""
        return hashlib.sha256(struct.pack(f"<{len(self.prompt)}i", *self.prompt)).hexdigest()


def choose_questions(records: Sequence[Record], limit: int | None, renderer: Renderer) -> list[Question]:
    """The test records to ask (:func:`choose_records`), as prompts of the renderer's template."""
    return [
        Question(r, tuple(renderer.prompt(renderer.template.messages(r, with_answer=False))))
        for r in choose_records(records, limit)
    ]


def choose_records(records: Sequence[Record], limit: int | None) -> list[Record]:
    """The test records to ask, at most ``limit`` of each task and language, in file order.

    Which ones is decided by a hash of the record's id, so that a larger limit contains the smaller one's.

    Raises:
        MulmedError: there is no test record.
    """
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        if record.split == "test":
            groups.setdefault((record.task, record.language), []).append(record)
    if not groups:
        raise MulmedError(
            "There is no test question.",
            where="corpus.sources",
            remedy="Give a source `split: test`, or a test share.",
        )
    chosen: set[str] = set()
    for group in groups.values():
        ranked = sorted(group, key=lambda r: hashlib.sha256(r.id.encode()).digest())
        chosen |= {r.id for r in ranked[:limit]}
    return [r for r in records if r.id in chosen and r.split == "test"]


@dataclass(frozen=True, slots=True)
class Answering:
    """Who answers, and how: what every row tells besides the question.

    Attributes:
        model: its name in the recipe.
        content: what decides its weights: the hash of its artifact or files, or the name a server gives it.
        engine: what computes the answers.
        decoding: how.
        context: tokens a prompt and its answer may have together; None where the engine knows no bound.
    """

    model: str
    content: str
    engine: str
    decoding: Decoding
    context: int | None = None

    @property
    def settings_sha256(self) -> str:
        return hash_json({"decoding": self.decoding.model_dump(mode="json"), "engine": self.engine})


def write_answers(
    answering: Answering,
    questions: Sequence[Question],
    load: Callable[[], Engine],
    renderer: Renderer,
    batch: int,
    out: Path,
    *,
    progress: Callable[[str, int, int], None],
) -> None:
    """Write ``answers.jsonl``: one answer a question, in the questions' order.

    Questions are asked in batches of similar length. Each finished batch is kept at once; a run that was
    stopped asks only the others, in the same batches, so that its answers are those of an undisturbed
    run. A question that leaves no room for its answer in the model's context is listed as failed.
    """
    decoding, context = answering.decoding, answering.context
    rows = read_so_far(out / SO_FAR)
    fitting = []
    for i, question in enumerate(questions):
        if context is None or len(question.prompt) + decoding.max_new_tokens <= context:
            fitting.append(i)
        else:
            reason = f"{len(question.prompt)} tokens of prompt leave no room for an answer in a context of {context}"
            rows[question.record.id] = _failed(answering, question, renderer, reason)
    if not fitting:
        raise MulmedError(
            "No test question leaves room for an answer in the model's context.",
            where=f"{answering.model}: {context} tokens, of which generation.decoding.max_new_tokens are {decoding.max_new_tokens}",
            remedy="Ask for shorter answers, or choose a model with a longer context.",
        )
    order = sorted(fitting, key=lambda i: (-len(questions[i].prompt), i))
    batches = [order[k : k + batch] for k in range(0, len(order), batch)]
    engine: Engine | None = None
    started = time.monotonic()
    tokens = 0
    with (out / SO_FAR).open("ab") as file:
        for number, indices in enumerate(batches):
            if all(questions[i].record.id in rows for i in indices):
                continue
            engine = engine or load()
            asked_at = time.monotonic()
            completions = engine.complete(
                [questions[i].prompt for i in indices], decoding, decoding.seed + number
            )
            seconds = (time.monotonic() - asked_at) / len(indices)
            for i, completion in zip(indices, completions, strict=True):
                row = _row(answering, questions[i], completion, renderer) | {"seconds": seconds}
                rows[row["id"]] = row
                tokens += len(completion.ids)
                file.write(orjson.dumps(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            speed = tokens / (time.monotonic() - started)
            progress(f"{speed:.0f} tokens/s", len(rows), len(questions))
    finish_answers(out, [rows[q.record.id] for q in questions], answering.engine)


def finish_answers(out: Path, rows: Sequence[dict[str, Any]], engine: str, **told: Any) -> None:
    """Write ``answers.jsonl`` and ``run.json`` from rows that may have ``seconds``, and remove the file of answers so far.

    ``run.json`` holds what differs from run to run: ``seconds`` by question (of a batch, its share) and in all, over all
    processes that were at it.
    """
    seconds = {row["id"]: round(row.pop("seconds"), 3) for row in rows if "seconds" in row}
    write_atomic(
        out / ANSWERS,
        b"".join(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) + b"\n" for row in rows),
    )
    facts = {
        "engine": engine,
        "tokens": sum(row["answer_tokens"] or 0 for row in rows),
        "seconds": round(sum(seconds.values()), 1),
        "seconds_of_question": seconds,
    }
    write_json(out / RUN, facts | told)
    (out / SO_FAR).unlink(missing_ok=True)


def asked(model: str, record: Record) -> dict[str, Any]:
    """What every row of ``answers.jsonl`` tells of its question."""
    return {
        "id": record.id,
        "model": model,
        "task": record.task,
        "language": record.language,
        "source": record.source,
        "question": record.turns[-2].text,
        "history": [{"role": t.role, "text": t.text} for t in record.turns[:-2]],
        "reference": record.turns[-1].text,
    }


def _row(
    answering: Answering, question: Question, completion: Completion, renderer: Renderer
) -> dict[str, Any]:
    text = renderer.tokenizer.decode(list(completion.ids), skip_special_tokens=True)
    text, ended = end_of_turn(text, renderer)
    return _prompted(answering, question, renderer) | {
        "answer": text,
        "answer_tokens": len(completion.ids),
        "finish": "stop" if ended else completion.finish,
        "status": "ok",
        "error": None,
    }


def _failed(answering: Answering, question: Question, renderer: Renderer, reason: str) -> dict[str, Any]:
    nothing = {"answer": None, "answer_tokens": 0, "finish": None, "status": "failed", "error": reason}
    return _prompted(answering, question, renderer) | nothing


def _prompted(answering: Answering, question: Question, renderer: Renderer) -> dict[str, Any]:
    return asked(answering.model, question.record) | {
        "model_content": answering.content,
        "prompt_sha256": question.prompt_sha256,
        "template_sha256": renderer.template.sha256,
        "settings_sha256": answering.settings_sha256,
        "prompt_tokens": len(question.prompt),
    }


def end_of_turn(text: str, renderer: Renderer) -> tuple[str, bool]:
    """The answer without what a model wrote after it on the user's behalf, and whether it did.

    A model that goes on with the next turn's heading has ended its answer without saying so. The same
    rule holds for every model compared.
    """
    t = renderer.template
    lines = "\n".join((t.user, t.input, t.assistant)).splitlines()
    headings = dict.fromkeys(line for line in lines if line.startswith("#"))
    cut = [at for heading in headings if (at := text.find(heading)) >= 0]
    return (text[: min(cut)].strip(), True) if cut else (text.strip(), False)


def read_so_far(path: Path) -> dict[str, dict[str, Any]]:
    """Answers of an interrupted run; a line that was being written is dropped from the file as well."""
    rows: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return rows
    whole = bytearray()
    for line in _lines(path):
        with contextlib.suppress(orjson.JSONDecodeError):
            row = orjson.loads(line)
            rows[row["id"]] = row
            whole += line
    write_atomic(path, bytes(whole))
    return rows


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n"))


def check_template(folder: Path, renderer: Renderer) -> None:
    """Refuse to ask a model with another prompt layout than it was trained with.

    Raises:
        MulmedError: the folder's own chat template is not the renderer's.
    """
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folder, local_files_only=True).chat_template
    if theirs != renderer.chat_template:
        raise MulmedError(
            "The model's chat template is not the one this recipe asks its questions with.",
            where=str(folder),
            remedy="Merge the step again with the recipe's template.",
        )
