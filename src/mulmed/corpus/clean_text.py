"""Single texts through repair, de-identification and moderation: JSON Lines in, JSON Lines out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

import orjson

from mulmed.corpus.deidentify import deidentify_text
from mulmed.corpus.moderate import judge_text
from mulmed.corpus.repair import repair_text


def clean_lines(
    lines: Iterable[bytes], profile: Literal["fast", "full"] = "full"
) -> Iterator[dict[str, Any]]:
    """One result a line, in order; empty lines are passed over.

    A line is a JSON string, or an object with ``text`` and, if it is known, ``language``; its other keys come
    back unchanged. The result has ``text`` (repaired and masked), ``repairs`` (offsets into the text given),
    ``spans`` (what was masked; offsets into the repaired text), ``action`` (``keep``, ``drop`` or ``crisis``)
    and ``reasons``. A text to be dropped is returned all the same: whether to use it is the caller's decision.
    A line that cannot be used gives ``error`` and ``line`` (its number, from 1) instead, never its content.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            given = orjson.loads(line)
        except orjson.JSONDecodeError:
            yield {"line": number, "error": "the line is not valid JSON"}
            continue
        fields = {"text": given} if isinstance(given, str) else given
        if not isinstance(fields, dict) or not isinstance(fields.get("text"), str):
            yield {"line": number, "error": "the line is neither a string nor an object with a text"}
        elif not isinstance(language := fields.get("language"), str | None):
            yield {"line": number, "error": "language is not text"}
        else:
            yield fields | clean_text(fields["text"], language, profile)


def clean_text(
    text: str, language: str | None = None, profile: Literal["fast", "full"] = "full"
) -> dict[str, Any]:
    """What :func:`clean_lines` says of one text."""
    repaired = repair_text(text, language)
    masked = deidentify_text(repaired.text, language, profile)
    verdict = judge_text(masked.text, language)
    return {
        "text": masked.text,
        "repairs": [
            {"start": e.start, "end": e.end, "rule": e.rule, "replacement": e.replacement}
            for e in repaired.changes
        ],
        "spans": [
            {"kind": s.kind, "start": s.start, "end": s.end, "replacement": s.replacement}
            for s in masked.spans
        ],
        "action": verdict.action,
        "reasons": list(verdict.reasons),
    }
