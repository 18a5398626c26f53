"""What comes before the model: red flags and their notice, identifiers masked, the prompt, and whether it fits."""

from __future__ import annotations

from collections.abc import Sequence

from mulmed import safety
from mulmed.corpus.record import Task, Turn
from mulmed.prompts import Message, Renderer
from mulmed.safety.redflags import SecondReader
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Exchange
from mulmed.serving.text import Language, language_of

#: Of a message that is too long to be answered, so many characters at either end are still looked at for red flags.
_ENDS = 4000


def prepare(
    exchange: Exchange,
    renderer: Renderer,
    room: int,
    numbers: safety.Numbers | None,
    reader: SecondReader | None = None,
) -> None:
    """Guard the exchange and fill in its prompt; what is to be said before the first token is said whatever comes next.

    Args:
        room: tokens of prompt and answer together.
        numbers: of emergency services, for notice and disclaimer.
        reader: looks for red flags as well.

    Raises:
        ApiError: the conversation leaves no room for an answer (413).
    """
    ask = exchange.ask
    texts = [turn.text for turn in ask.turns]
    exchange.language = language = _language(exchange)
    exchange.label = safety.label(language)
    exchange.disclaimer = safety.disclaimer(language, numbers)
    count = sum(renderer.count_tokens(texts))
    said = texts[-1]
    if count >= room and len(said) > 2 * _ENDS:
        said = f"{said[:_ENDS]}\n{said[-_ENDS:]}"
    exchange.flags = safety.red_flags(said, reader=reader)
    exchange.notice = safety.emergency_notice(exchange.flags, language, numbers)
    if count >= room:  # without the time that masking takes
        raise _too_long(count, 1, room)
    masked = safety.mask(texts)
    exchange.vault, exchange.masked = masked.vault, masked.vault.counts()
    _admit(exchange, prompt_of(renderer, ask.task, language, ask.turns, masked.texts), room)


def prepare_unguarded(exchange: Exchange, renderer: Renderer, room: int) -> None:
    """Fill in the prompt of a model that is to be measured: nothing is masked, no flag is looked for.

    Raises:
        ApiError: as :func:`prepare`.
    """
    ask = exchange.ask
    exchange.language = _language(exchange)
    texts = [turn.text for turn in ask.turns]
    ids = ask.ids or prompt_of(renderer, ask.task, exchange.language, ask.turns, texts)
    _admit(exchange, ids, room)


def prompt_of(
    renderer: Renderer, task: Task, language: Language, turns: Sequence[Turn], texts: Sequence[str]
) -> list[int]:
    """Token ids of a conversation, by the one renderer; ``texts`` stand in the turns' places."""
    messages: list[Message] = [
        {"role": turn.role, "content": text} for turn, text in zip(turns, texts, strict=True)
    ]
    if task != "instruction":
        messages[0]["content"] = renderer.template.instruct(task, language, messages[0]["content"])
    return renderer.prompt(messages)


def _language(exchange: Exchange) -> Language:
    ask = exchange.ask
    return ask.language or language_of([turn.text for turn in ask.turns if turn.role == "user"])


def _admit(exchange: Exchange, prompt: Sequence[int], room: int) -> None:
    """Cut the answer to the room that the prompt leaves, or refuse."""
    ask = exchange.ask
    exchange.prompt = tuple(prompt)
    left = room - len(exchange.prompt)
    wanted = ask.decoding.max_new_tokens if ask.exact else 1
    if wanted > left:
        raise _too_long(len(exchange.prompt), wanted, room)
    update = {"max_new_tokens": min(ask.decoding.max_new_tokens, left)}
    exchange.decoding = ask.decoding.model_copy(update=update)


def _too_long(prompt: int, wanted: int, room: int) -> ApiError:
    answer = "its answer" if wanted == 1 else f"an answer of {wanted}"
    return ApiError(
        413,
        "context_length_exceeded",
        f"The conversation has {prompt} tokens; with {answer} it does not fit into {room}.",
        param="messages",
    )
