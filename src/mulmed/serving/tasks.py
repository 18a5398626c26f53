"""``/v1/tasks``: one endpoint a task, typed; singly, streaming, or several at once."""

# No postponed annotations here: FastAPI must see the models that stand in add_task.

from typing import Any

from fastapi import APIRouter, Request

from mulmed.corpus.record import Task
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Ask, Choice, Exchange
from mulmed.serving.schema import (
    AnswerBatch,
    AnswerRequest,
    BatchAnswer,
    DialogueBatch,
    DialogueRequest,
    ErrorBody,
    SummarizeBatch,
    SummarizeRequest,
    TaskAnswer,
)
from mulmed.serving.service import Service
from mulmed.serving.streams import EventStream, Write, event, unless_left
from mulmed.serving.told import ERRORS, RESPONSES, flags, nowhere, principal, usage

_TASKS: tuple[tuple[str, Task, Any, Any], ...] = (
    ("summarize", "summary", SummarizeRequest, SummarizeBatch),
    ("answer", "qa", AnswerRequest, AnswerBatch),
    ("dialogue", "dialogue", DialogueRequest, DialogueBatch),
)


def make_tasks(service: Service) -> APIRouter:
    """The endpoints of all tasks."""
    router = APIRouter(prefix="/v1/tasks", tags=["tasks"])
    for name, kind, single, batch in _TASKS:
        _add(router, service, name, kind, single, batch)
    return router


def _add(router: APIRouter, service: Service, name: str, kind: Task, single: Any, batch: Any) -> None:
    def asked(request: Request, body: Any) -> Ask:
        ask: Ask = body.ask(
            name, kind, body.turns(), service.settings, language=body.language, principal=principal(request)
        )
        return ask

    async def one(request: Request, body: single) -> Any:
        exchange = await service.begin(asked(request, body))
        if body.stream:
            return EventStream(lambda write: _stream(service, exchange, write))
        (choice,) = await unless_left(request.receive, service.run(exchange, nowhere))
        return answer(exchange, choice)

    async def many(request: Request, body: batch) -> Any:
        most = service.settings.limits.batch
        if len(body.items) > most:
            raise ApiError(413, "batch_too_large", f"A batch may have {most} items at most.", param="items")
        if any(item.stream for item in body.items):
            raise ApiError(400, "invalid_request", "A batch does not stream.", param="items")
        asks = [asked(request, item) for item in body.items]
        done = await unless_left(request.receive, service.answer_all(asks))
        return BatchAnswer(
            items=[
                ErrorBody.model_validate(d.body()) if isinstance(d, ApiError) else answer(d, d.choices[0])
                for d in done
            ]
        )

    one.__doc__ = f"{single.__doc__} With ``stream``, server-sent events ``opening``, ``text``, ``closing``, or ``error``."
    many.__doc__ = f"Several of ``/v1/tasks/{name}`` at once; one that fails does not touch the others."
    router.post(f"/{name}", response_model=TaskAnswer, name=name, responses=RESPONSES)(one)
    router.post(f"/{name}/batch", response_model=BatchAnswer, name=f"{name}_batch", responses=ERRORS)(many)


def answer(exchange: Exchange, choice: Choice) -> TaskAnswer:
    """A reply with all that is to be shown with it."""
    return TaskAnswer(
        id=exchange.id,
        task=exchange.ask.task,
        language=exchange.language,
        notice=exchange.notice,
        flags=flags(exchange),
        answer=choice.text,
        label=exchange.label,
        disclaimer=exchange.disclaimer,
        masked=dict(exchange.masked),
        policy=dict(exchange.actions),
        finish=choice.finish,
        usage=usage(exchange),
    )


async def _stream(service: Service, exchange: Exchange, write: Write) -> None:
    """The notice before anything is computed, the text, and what is known at the end only."""
    whole = answer(exchange, Choice()).model_dump()
    closing = ("answer", "policy", "finish", "usage")
    await write(event({k: v for k, v in whole.items() if k not in closing}, "opening"))
    try:
        (choice,) = await service.run(exchange, lambda _, text: write(event({"text": text}, "text")))
        whole = answer(exchange, choice).model_dump()
        await write(event({k: whole[k] for k in closing}, "closing"))
    except ApiError as error:
        await write(event(error.body(), "error"))
