"""Answers that no model has to give any more: a data set carries them, or they lie in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mulmed.corpus.record import Record
from mulmed.errors import MulmedError
from mulmed.generation.answers import asked, finish_answers

#: What an answer from elsewhere cannot tell.
_UNKNOWN = {
    "prompt_sha256": None, "template_sha256": None, "settings_sha256": None, "prompt_tokens": None,
    "answer_tokens": None, "finish": None, "error": None,
}  # fmt: skip


def write_published(system: str, source: str, records: Sequence[Record], out: Path) -> None:
    """Write ``answers.jsonl`` of a system whose answers a source carries beside its own; ``absent`` where it has none.

    The answers have gone through the same cleaning as the rest of the record.

    Raises:
        MulmedError: none of the records carries an answer of the system.
    """
    said = {r.id: r.baselines[system] for r in records if r.source == source and system in r.baselines}
    if not said:
        known = sorted({name for r in records if r.source == source for name in r.baselines})
        raise MulmedError(
            f"The test questions of {source} carry no answers of {system!r}.",
            where=f"generation.baselines.{system}.source",
            remedy=f"They carry: {', '.join(known)}." if known else "Take the baseline out.",
        )
    rows = []
    for record in records:
        answer = said.get(record.id)
        status = {"answer": answer, "status": "absent" if answer is None else "ok"}
        rows.append(asked(system, record) | {"model_content": None} | _UNKNOWN | status)
    finish_answers(out, rows, "published")


def write_made(rows: Sequence[Mapping[str, Any]], content: str, out: Path) -> None:
    """Write ``answers.jsonl`` of answers made elsewhere.

    Args:
        rows: a question and its answer each; a question without an answer has the status ``failed``.
        content: hash of the file they come from.
    """
    finish_answers(out, [{"model_content": content, **_UNKNOWN, **row} for row in rows], "elsewhere")
