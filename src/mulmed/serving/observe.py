"""What is told of a request when it has ended: counts and kinds, never a word of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from mulmed.monitoring.shape import Shape

Outcome = Literal["ok", "refused", "left", "deadline", "drained", "failed"]


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that has ended, whatever became of it.

    Attributes:
        request: its id, as the answer tells it.
        at: when it came, seconds since the epoch.
        endpoint: ``chat``, ``completions``, ``summarize``, ``answer``, ``dialogue`` or a page's own name.
        task: ``summary``, ``qa``, ``dialogue`` or ``instruction``.
        language: of the user, ``en`` or ``zh``.
        outcome: ``left``: the client went away.
        question_characters: of the last message.
        answer_characters: of all choices, as shown.
        prompt_tokens, completion_tokens: as the model counts them.
        turns: messages of the conversation.
        flags: kinds of red flags, each with its certainty.
        actions: what the policy did, ``kind:action`` to how often.
        masked: kinds of identifiers, with how many different values.
        waited: seconds in the queue (the longest of the choices).
        first: seconds until the first text of the model was shown; None where none was.
        seconds: in all.
        shape: of the last message, for monitoring.
    """

    request: str
    at: float
    endpoint: str
    task: str
    language: str
    outcome: Outcome
    question_characters: int
    answer_characters: int
    prompt_tokens: int
    completion_tokens: int
    turns: int
    flags: Mapping[str, str]
    actions: Mapping[str, int]
    masked: Mapping[str, int]
    waited: float
    first: float | None
    seconds: float
    shape: Shape


#: Gets every finished request, in the event loop: it must not block. Slow work belongs into a thread of its own.
Observer = Callable[[Finished], None]
