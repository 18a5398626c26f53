"""The HTTP interface: OpenAI's protocol, and what a supervisor asks."""

# No postponed annotations here: FastAPI must see the models that stand in make_router.

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mulmed.corpus.record import Turn
from mulmed.serving.completions import make_completions
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Exchange
from mulmed.serving.frame import framed, unframed
from mulmed.serving.metrics import CONTENT_TYPE
from mulmed.serving.schema import ChatRequest
from mulmed.serving.service import Service
from mulmed.serving.streams import EventStream, Write, event, unless_left
from mulmed.serving.tasks import make_tasks
from mulmed.serving.told import ERRORS, RESPONSES, beside, check_model, head, nowhere, principal, usage


def make_router(service: Service) -> APIRouter:
    """All of ``/v1``, ``/health``, ``/ready`` and ``/metrics``."""
    router = APIRouter()

    @router.get("/health", tags=["supervision"])
    def health() -> dict[str, str]:
        """The process is alive."""
        return {"status": "ok"}

    @router.get("/ready", tags=["supervision"], responses={503: {"description": "they are not"}})
    def ready() -> Response:
        """Requests are let in."""
        return JSONResponse({"ready": service.ready}, 200 if service.ready else 503)

    @router.get("/metrics", tags=["supervision"], response_class=Response)
    def metrics() -> Response:
        """Counts and times in Prometheus' format; nothing of what was said."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @router.get("/v1/models", tags=["openai"])
    def models() -> dict[str, Any]:
        """The one model that is served."""
        return {"object": "list", "data": [_model(service)]}

    @router.get("/v1/models/{name}", tags=["openai"], responses={404: ERRORS[404]})
    def model(name: str) -> dict[str, Any]:
        """That model, by name."""
        check_model(service, name)
        return _model(service)

    @router.post("/v1/chat/completions", tags=["openai"], responses=RESPONSES)
    async def chat(request: Request, body: ChatRequest) -> Response:
        """A conversation goes on. The prompt is the one that the exported chat template makes."""
        check_model(service, body.model)
        turns = [Turn(m.role, unframed(m.text) if m.role == "assistant" else m.text) for m in body.messages]
        ask = body.ask(
            "chat", "instruction", turns, service.settings, choices=body.n or 1, principal=principal(request)
        )
        exchange = await service.begin(ask)
        if body.stream:
            with_usage = body.stream_options is not None and body.stream_options.include_usage
            return EventStream(lambda write: _stream(service, exchange, with_usage, write))
        choices = await unless_left(request.receive, service.run(exchange, nowhere))
        told = [
            {
                "index": index,
                "message": {"role": "assistant", "content": framed(exchange, c.text), "refusal": None},
                "logprobs": None,
                "finish_reason": c.finish,
            }
            for index, c in enumerate(choices)
        ]
        return JSONResponse(
            head(service, exchange.id, "chat.completion")
            | {"choices": told, "usage": usage(exchange).model_dump(), "mulmed": beside(exchange)}
        )

    router.include_router(make_completions(service))
    router.include_router(make_tasks(service))
    return router


def _model(service: Service) -> dict[str, Any]:
    return {"id": service.model.name, "object": "model", "created": 0, "owned_by": "mulmed"}


async def _stream(service: Service, exchange: Exchange, with_usage: bool, write: Write) -> None:
    begin = head(service, exchange.id, "chat.completion.chunk") | ({"usage": None} if with_usage else {})

    async def tell(index: int, delta: dict[str, str], finish: str | None = None) -> None:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
        await write(event(begin | {"choices": [choice]}))

    before, after = framed(exchange, "\0").split("\0")
    try:
        for index in range(exchange.ask.choices):
            await tell(index, {"role": "assistant", "content": before})
        choices = await service.run(exchange, lambda index, text: tell(index, {"content": text}))
        for index, choice in enumerate(choices):
            await tell(index, {"content": after})
            await tell(index, {}, choice.finish)
        if with_usage:
            await write(event(begin | {"choices": [], "usage": usage(exchange).model_dump()}))
        await write(b"data: [DONE]\n\n")
    except ApiError as error:
        await write(event(error.body()))
