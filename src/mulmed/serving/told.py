"""What several endpoints tell: usage, flags, the head of OpenAI's objects, errors for the OpenAPI document."""

from __future__ import annotations

import time
from typing import Any

from fastapi import Request

from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Exchange
from mulmed.serving.schema import ErrorBody, Flag, Usage
from mulmed.serving.service import Service

#: The statuses that every asking endpoint may answer with, for the OpenAPI document.
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": text}
    for status, text in (
        (400, "the request is not understood"),
        (401, "a key is needed"),
        (404, "there is no such model"),
        (413, "more than the context, the body or the batch may have"),
        (429, "the queue is full; Retry-After tells when to come again"),
        (502, "the engine failed"),
        (503, "the service ends"),
        (504, "the deadline passed"),
    )
}


#: What answers with ``stream`` look like, for the OpenAPI document.
_TEXT = {"type": "string"}
_EVENT = {"type": "object", "properties": {"event": _TEXT, "data": _TEXT}, "required": ["data"]}
_EVENTS = {"text/event-stream": {"schema": _EVENT}}
RESPONSES: dict[int | str, dict[str, Any]] = {200: {"content": _EVENTS}, **ERRORS}


def principal(request: Request) -> str:
    """The name of the key that a request came with; empty where none is asked for."""
    return str(getattr(request.state, "key", ""))


def check_model(service: Service, name: str) -> None:
    """Raises :class:`ApiError` (404) for any other model than the one there is."""
    if name != service.model.name:
        raise ApiError(
            404, "model_not_found", f"The only model here is {service.model.name!r}.", param="model"
        )


def head(service: Service, id: str, kind: str) -> dict[str, Any]:
    """The beginning of OpenAI's objects."""
    return {
        "id": f"mulmed-{id}",
        "object": kind,
        "created": int(time.time()),
        "model": service.model.name,
        "system_fingerprint": service.model.content[:16],
    }


def usage(*exchanges: Exchange) -> Usage:
    """Tokens of all of them together."""
    prompt = sum(len(e.prompt) for e in exchanges)
    written = sum(c.tokens for e in exchanges for c in e.choices)
    return Usage(prompt_tokens=prompt, completion_tokens=written, total_tokens=prompt + written)


def flags(exchange: Exchange) -> list[Flag]:
    """The red flags, without the words they rest on."""
    return [Flag(category=f.category, certainty=f.certainty) for f in exchange.flags]


def beside(exchange: Exchange) -> dict[str, Any]:
    """What the safety layer found and did, beside OpenAI's fields."""
    return {
        "language": exchange.language,
        "flags": [f.model_dump() for f in flags(exchange)],
        "masked": exchange.masked,
        "policy": exchange.actions,
    }


async def nowhere(_index: int, _text: str) -> None:
    """The answer is sent as a whole."""
