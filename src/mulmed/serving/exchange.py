"""A request on its way through the service: what was asked, what the safety layer says, what was answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from mulmed.corpus.record import Task, Turn
from mulmed.monitoring.shape import shape_of
from mulmed.recipe import Decoding
from mulmed.safety import RedFlag, Vault
from mulmed.serving.admission import Hold
from mulmed.serving.engine import Finish
from mulmed.serving.observe import Finished, Outcome
from mulmed.serving.text import Language


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, read and found well formed.

    Attributes:
        endpoint: its name in counts.
        task: decides the instruction before the first message, as in training; ``instruction`` has none.
        turns: the conversation; the user has the last word.
        decoding: how to decode; ``max_new_tokens`` is cut to the room there is unless ``exact``.
        exact: the client asked for just so many tokens.
        language: of the user; None: as the last message is written.
        stop: strings at which the reply ends.
        choices: replies wanted.
        user: whose request it is, for the record of decisions (as a keyed hash).
        ids: in evaluation only: go on from these token ids, without template and safety layer.
    """

    endpoint: str
    task: Task
    turns: tuple[Turn, ...] = field(repr=False)
    decoding: Decoding
    exact: bool = False
    language: Language | None = None
    stop: tuple[str, ...] = field(default=(), repr=False)
    choices: int = 1
    user: str = field(default="", repr=False)
    ids: tuple[int, ...] | None = field(default=None, repr=False)


@dataclass(slots=True)
class Choice:
    """One reply, as far as it has come.

    Attributes:
        text: as shown: identifiers restored, policy applied.
        ids: what the model wrote, where the engine tells it.
        tokens: of the model.
        waited: seconds in the queue.
    """

    text: str = field(default="", repr=False)
    ids: list[int] = field(default_factory=list, repr=False)
    finish: Finish = "stop"
    tokens: int = 0
    actions: Counter[str] = field(default_factory=Counter)
    waited: float = 0.0


@dataclass(slots=True)
class Exchange:
    """A request that was let in, with what the safety layer says before the first token.

    Attributes:
        notice: the emergency notice, or empty.
        label, disclaimer: to be shown with the reply.
        masked: kinds of identifiers, with how many different values.
        prompt: what the model is asked, as token ids.
        deadline: of the event loop's clock.
    """

    id: str
    ask: Ask
    hold: Hold | None
    at: float
    began: float
    deadline: float
    language: Language = "en"
    flags: tuple[RedFlag, ...] = ()
    notice: str = ""
    label: str = ""
    disclaimer: str = ""
    masked: Mapping[str, int] = field(default_factory=dict)
    prompt: tuple[int, ...] = field(default=(), repr=False)
    decoding: Decoding = field(default_factory=Decoding)
    vault: Vault = field(default_factory=Vault, repr=False)
    choices: tuple[Choice, ...] = ()
    first: float | None = None

    @property
    def actions(self) -> Counter[str]:
        """What the policy did, over all choices."""
        return sum((choice.actions for choice in self.choices), Counter())


def finished(exchange: Exchange, outcome: Outcome, seconds: float) -> Finished:
    """What is told of a request that has ended ``seconds`` after it came."""
    ask, choices = exchange.ask, exchange.choices
    return Finished(
        request=exchange.id,
        at=exchange.at,
        endpoint=ask.endpoint,
        task=ask.task,
        language=exchange.language,
        outcome=outcome,
        question_characters=len(ask.turns[-1].text),
        answer_characters=sum(len(choice.text) for choice in choices),
        prompt_tokens=len(exchange.prompt),
        completion_tokens=sum(choice.tokens for choice in choices),
        turns=len(ask.turns),
        flags={flag.category: flag.certainty for flag in exchange.flags},
        actions=dict(exchange.actions),
        masked=exchange.masked,
        waited=max((choice.waited for choice in choices), default=0.0),
        first=exchange.first,
        seconds=seconds,
        shape=shape_of(ask.turns[-1].text),
    )
