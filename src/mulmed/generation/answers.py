"""Test questions -> answers on file, resumable and traceable."""

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
_SO_FAR = "answers.so-far"


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
    return [
        Question(r, tuple(renderer.prompt(renderer.template.messages(r, with_answer=False))))
        for r in records
        if r.id in chosen and r.split == "test"
    ]


def write_answers(
    model: str,
    questions: Sequence[Question],
    load: Callable[[], Engine],
    renderer: Renderer,
    decoding: Decoding,
    batch: int,
    out: Path,
    *,
    progress: Callable[[str, int, int], None],
) -> None:
    """Write ``answers.jsonl``: one answer a question, in the questions' order.

    Questions are asked in batches of similar length. Each finished batch is kept at once; a run that was
    stopped asks only the others, in the same batches, so that its answers are those of an undisturbed
    run.
    """
    settings = hash_json(decoding.model_dump())
    order = sorted(range(len(questions)), key=lambda i: (-len(questions[i].prompt), i))
    batches = [order[k : k + batch] for k in range(0, len(order), batch)]
    rows = _read_so_far(out / _SO_FAR)
    engine: Engine | None = None
    started = time.monotonic()
    tokens = 0
    with (out / _SO_FAR).open("ab") as file:
        for number, indices in enumerate(batches):
            if all(questions[i].record.id in rows for i in indices):
                continue
            engine = engine or load()
            completions = engine.complete(
                [questions[i].prompt for i in indices], decoding, decoding.seed + number
            )
            for i, completion in zip(indices, completions, strict=True):
                row = _row(model, questions[i], completion, renderer, settings)
                rows[row["id"]] = row
                tokens += len(completion.ids)
                file.write(orjson.dumps(row) + b"\n")
            file.flush()
            os.fsync(file.fileno())
            speed = tokens / (time.monotonic() - started)
            progress(f"{speed:.0f} tokens/s", len(rows), len(questions))
    write_atomic(
        out / ANSWERS,
        b"".join(orjson.dumps(rows[q.record.id], option=orjson.OPT_SORT_KEYS) + b"\n" for q in questions),
    )
    write_json(
        out / RUN,
        {"seconds": round(time.monotonic() - started, 1), "tokens": tokens, "engine": "transformers"},
    )
    (out / _SO_FAR).unlink()


def _row(
    model: str, question: Question, completion: Completion, renderer: Renderer, settings: str
) -> dict[str, Any]:
    record = question.record
    text = renderer.tokenizer.decode(list(completion.ids), skip_special_tokens=True)
    text, ended = end_of_turn(text, renderer)
    return {
        "id": record.id,
        "model": model,
        "task": record.task,
        "language": record.language,
        "source": record.source,
        "question": record.turns[-2].text,
        "history": [{"role": t.role, "text": t.text} for t in record.turns[:-2]],
        "reference": record.turns[-1].text,
        "answer": text,
        "prompt_sha256": question.prompt_sha256,
        "template_sha256": renderer.template.sha256,
        "settings_sha256": settings,
        "prompt_tokens": len(question.prompt),
        "answer_tokens": len(completion.ids),
        "finish": "stop" if ended else completion.finish,
        "status": "ok",
        "error": None,
    }


def end_of_turn(text: str, renderer: Renderer) -> tuple[str, bool]:
    """The answer without what a model wrote after it on the user's behalf, and whether it did.

    A model that goes on with the next turn's heading has ended its answer without saying so. The same
    rule holds for every model compared.
    """
    t = renderer.template
    cut = [at for heading in (t.user, t.input, t.assistant) if (at := text.find(heading.strip())) >= 0]
    return (text[: min(cut)].strip(), True) if cut else (text.strip(), False)


def _read_so_far(path: Path) -> dict[str, dict[str, Any]]:
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
