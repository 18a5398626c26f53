"""Chats as lists of messages: OpenAI's, ShareGPT's and DISC-MedLLM's spelling of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from mulmed.corpus.record import TASKS, Role, Task
from mulmed.corpus.sources.layout import Note, Parsed, Unusable, alternate, conversation


@dataclass(frozen=True, slots=True)
class _Spelling:
    """The keys of a list of messages, of a message's speaker and text; the speakers' names."""

    messages: str
    role: str
    content: str
    roles: Mapping[str, Role | Literal["system"]]


_MESSAGES = _Spelling(
    "messages", "role", "content", {"user": "user", "assistant": "assistant", "system": "system"}
)
_SHAREGPT = _Spelling(
    "conversations",
    "from",
    "value",
    {
        "human": "user",
        "user": "user",
        "gpt": "assistant",
        "chatgpt": "assistant",
        "assistant": "assistant",
        "system": "system",
    },
)
_DISC = _Spelling("conversation", "role", "content", {"patient": "user", "doctor": "assistant"})


def parse(row: Mapping[str, Any]) -> Parsed:
    """``{"messages": [{"role": ..., "content": ...}, ...]}``, roles user, assistant and system.

    The task is the one in ``task``, else ``dialogue`` for two rounds or more and ``qa`` for one.
    ``language`` in a row overrides the source's. System messages are left out and noted: what a
    record's task is, our own prompt says.
    """
    return _parse(row, _MESSAGES)


def parse_sharegpt(row: Mapping[str, Any]) -> Parsed:
    """``{"conversations": [{"from": "human", "value": ...}, {"from": "gpt", ...}, ...]}``."""
    return _parse(row, _SHAREGPT)


def parse_disc(row: Mapping[str, Any]) -> Parsed:
    """``{"conversation": [{"role": "patient", "content": ...}, {"role": "doctor", ...}, ...]}``.

    So DISC-MedLLM published the answers of several models in its evaluation (Bao et al. 2023).
    """
    return _parse(row, _DISC)


def _parse(row: Mapping[str, Any], spelling: _Spelling) -> Parsed:
    messages = row.get(spelling.messages)
    if not isinstance(messages, list):
        raise Unusable(f"{spelling.messages} is missing or not a list")
    utterances: list[tuple[Role, str]] = []
    system: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or not isinstance(content := message.get(spelling.content), str):
            raise Unusable("a message has no text content")
        name = message.get(spelling.role)
        role = spelling.roles.get(name) if isinstance(name, str) else None
        if role is None:
            raise Unusable(f"a message's role is none of {', '.join(spelling.roles)}")
        if role == "system":
            system.append(content)
        else:
            utterances.append((role, content))
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
