"""Chat messages: JSON Lines of ``{"messages": [{"role": ..., "content": ...}, ...]}``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from mulmed.corpus.record import TASKS, Role, Task
from mulmed.corpus.sources.layout import (
    Found,
    Note,
    Parsed,
    Rejected,
    Unusable,
    alternate,
    conversation,
    read_json,
)


def read(path: Path) -> Iterator[Found | Rejected]:
    """Records of the task in ``task``, else ``dialogue`` for two rounds or more and ``qa`` for one.

    ``language`` in a row overrides the source's. System messages are left out and noted: what a
    record's task is, our own prompt says.
    """
    return read_json(path, _parse)


def _parse(row: Mapping[str, Any]) -> Parsed:
    messages = row.get("messages")
    if not isinstance(messages, list):
        raise Unusable("messages is missing or not a list")
    utterances: list[tuple[Role, str]] = []
    system: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(content := message.get("content"), str):
            raise Unusable("a message has no text content")
        match message.get("role"):
            case "user" | "assistant" as role:
                utterances.append((cast(Role, role), content))
            case "system":
                system.append(content)
            case _:
                raise Unusable("a message's role is none of user, assistant, system")
    turns, notes = alternate(utterances)
    if system:
        notes += (Note("system message left out", len(system), sum(map(len, system))),)
    task = row.get("task")
    if task is None:
        task = conversation(turns)
    elif task not in TASKS:
        raise Unusable(f"task is none of {', '.join(TASKS)}")
    elif task != "dialogue" and len(turns) > 2:
        raise Unusable("only a dialogue may have more than one round")
    language = row.get("language")
    if language is not None and not (isinstance(language, str) and re.fullmatch("[a-z]{2}", language)):
        raise Unusable("language is not a two-letter code")
    return Parsed(cast(Task, task), turns, language=language, notes=notes)
