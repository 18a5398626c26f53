"""The chat page: served beside the interface, by the same process, with nothing from anywhere else."""

# No postponed annotations here: FastAPI must see the models that stand in add_page.

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, field_validator

from mulmed import safety
from mulmed.chat.watch import Watch
from mulmed.corpus.record import Turn
from mulmed.monitoring.store import REASONS, Reason
from mulmed.serving.app import Extension
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Ask, Exchange
from mulmed.serving.service import Service
from mulmed.serving.streams import EventStream, Write, event
from mulmed.web.markdown import LiveMarkdown, render_markdown
from mulmed.web.pages import LANGUAGES, STATIC, Pages, choose_language

HERE = Path(__file__).parent
#: The tasks in the order of the page.
PageTask = Literal["summary", "qa", "dialogue"]
#: Another answer than the one before is sampled, whatever the service does by itself.
_ANOTHER = 0.7
_COOKIE_SECONDS = 365 * 86400
_PLACEHOLDER = re.compile(r"(\[[A-Z]+(?:_[A-Z]+)*_\d+\])")

Texts = Annotated[list[str], Field(min_length=1, max_length=400)]


class Body(BaseModel):
    """Base of what the page sends."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Conversation(Body):
    """Turns of user and assistant; the user has the last word."""

    turns: Texts

    @field_validator("turns")
    @classmethod
    def _odd(cls, value: list[str]) -> list[str]:
        if len(value) % 2 == 0 or not all(text.strip() for text in value):
            raise ValueError("the user must have the last word, and no turn may be empty")
        return value


class Sending(Conversation):
    """A message; ``another``: the user wants another answer to it than before."""

    task: PageTask
    audience: Literal["patient", "clinician"]
    another: bool = False


class Rendering(Body):
    """Earlier answers, to be shown again."""

    texts: Annotated[list[str], Field(max_length=400)]


class Judging(Body):
    """What a user thought of an answer."""

    request: str = Field(min_length=8, max_length=64)
    good: bool
    reason: Reason | None = None


def add_page(watch: Watch | None = None) -> Extension:
    """The page as an extension of a service's application; without ``watch`` it does not ask what users think.

    What the page itself asks for lies under ``/v1/page/``, so that whatever guards the interface guards it too.
    """

    def extend(app: FastAPI, service: Service) -> None:
        app.mount("/static/shared", StaticFiles(directory=STATIC))
        app.mount("/static/chat", StaticFiles(directory=HERE / "static"))
        _add_page(app, service, Pages("mulmed.chat", HERE), watch)
        _add_calls(app, service, watch)
        if watch is not None:
            service.observers.append(watch)

    return extend


def _add_page(app: FastAPI, service: Service, pages: Pages, watch: Watch | None) -> None:
    @app.get("/", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        language = choose_language(
            request.cookies.get("language"), request.headers.get("accept-language", "")
        )
        data = {
            "texts": pages.texts(language, "js_"),
            "feedback": watch is not None,
            "label": safety.label(language),
            "disclaimer": safety.disclaimer(language, service.numbers),
            "model": service.model.name,
        }
        html = pages.render(
            "chat.html.j2", language, path="/", data=data, reasons=REASONS, trained=service.model.trained
        )
        return HTMLResponse(html)

    @app.post("/language/{code}", include_in_schema=False)
    def set_language(request: Request, code: str) -> Response:
        if code not in LANGUAGES:
            raise HTTPException(404)
        response = RedirectResponse("/", 303)
        secure = request.url.scheme == "https"
        response.set_cookie("language", code, max_age=_COOKIE_SECONDS, samesite="lax", secure=secure)
        return response


def _add_calls(app: FastAPI, service: Service, watch: Watch | None) -> None:
    @app.post("/v1/page/send", include_in_schema=False)
    async def send(sending: Sending) -> Response:
        turns = tuple(Turn(("user", "assistant")[i % 2], text) for i, text in enumerate(sending.turns))
        decoding = service.settings.decoding
        if sending.another:
            loop = asyncio.get_running_loop()
            update = {"temperature": _ANOTHER, "seed": int(loop.time() * 1e6) % 2**32}
            decoding = decoding.model_copy(update=update)
        exchange = await service.begin(Ask(sending.audience, sending.task, turns, decoding))
        return EventStream(lambda write: _stream(service, exchange, write))

    @app.post("/v1/page/render", include_in_schema=False)
    def render(rendering: Rendering) -> dict[str, Any]:
        return {"rendered": [render_markdown(text) for text in rendering.texts]}

    @app.post("/v1/page/masked", include_in_schema=False)
    def masked(conversation: Conversation) -> dict[str, Any]:
        """The last message as the model reads it, cut at its placeholders: every other piece is one."""
        return {"pieces": _PLACEHOLDER.split(safety.mask(conversation.turns).texts[-1])}

    @app.post("/v1/page/judge", include_in_schema=False)
    def judge(judging: Judging) -> Response:
        if watch is None or not watch.judge(judging.request, judging.good, judging.reason):
            return JSONResponse(ApiError(404, "unknown_request", "This answer cannot be judged.").body(), 404)
        return Response(status_code=204)


async def _stream(service: Service, exchange: Exchange, write: Write) -> None:
    """Events ``opening`` (before anything is computed), ``blocks`` ..., ``closing``; or ``error``."""
    flags = [{"category": flag.category, "certainty": flag.certainty} for flag in exchange.flags]
    opening = {
        "id": exchange.id,
        "language": exchange.language,
        "notice": exchange.notice,
        "flags": flags,
        "label": exchange.label,
        "disclaimer": exchange.disclaimer,
        "masked": dict(exchange.masked),
    }
    await write(event(opening, "opening"))
    live = LiveMarkdown()

    async def show(_: int, text: str) -> None:
        live.feed(text)
        change = live.change()
        await write(event({"text": text, "first": change.first, "blocks": change.blocks}, "blocks"))

    try:
        (choice,) = await service.run(exchange, show)
    except ApiError as error:
        await write(event(error.body(), "error"))
        return
    closing = {
        "policy": dict(exchange.actions),
        "finish": choice.finish,
        "tokens": [len(exchange.prompt), choice.tokens],
    }
    await write(event(closing, "closing"))
