"""BenTsao's corpora (Wang et al. 2023): knowledge questions, and dialogues about the liver cancer literature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mulmed.corpus.record import Role
from mulmed.corpus.sources.layout import Parsed, Unusable, alternate, conversation, pair, text

_SPEAKER = re.compile(r"\s*<(user|bot)>\s*[:：]\s*")
_ROLES: Mapping[str, Role] = {"user": "user", "bot": "assistant"}


def parse(row: Mapping[str, Any]) -> Parsed:
    """Records of task ``qa``; of task ``dialogue`` where ``<user>:`` and ``<bot>:`` make several rounds.

    The instruction of such a row holds the rounds up to the last question, its output the last answer.
    """
    instruction, answer = text(row, "instruction"), text(row, "output")
    before, *said = _SPEAKER.split(instruction)
    if not said:
        if isinstance(more := row.get("input"), str) and more.strip():
            instruction = f"{instruction}\n{more}"
        return Parsed("qa", pair(instruction, answer))
    if before.strip():
        raise Unusable("text before the first speaker")
    utterances = [(_ROLES[speaker], words) for speaker, words in zip(said[::2], said[1::2], strict=True)]
    if utterances[-1][0] != "user":
        raise Unusable("the last round has no question")
    turns, notes = alternate([*utterances, ("assistant", answer)])
    return Parsed(conversation(turns), turns, notes=notes)
