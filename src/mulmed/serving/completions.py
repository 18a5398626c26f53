"""``/v1/completions``: OpenAI's older protocol; in evaluation with plain texts, ``echo`` and ``logprobs``."""

# No postponed annotations here: FastAPI must see the models that stand in make_completions.

from dataclasses import replace
from itertools import accumulate
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mulmed.corpus.record import Turn
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Ask, Choice, Exchange
from mulmed.serving.frame import framed
from mulmed.serving.schema import CompletionRequest
from mulmed.serving.service import Service
from mulmed.serving.streams import EventStream, Write, event, unless_left
from mulmed.serving.told import RESPONSES, check_model, head, principal, usage


def make_completions(service: Service) -> APIRouter:
    """The endpoint."""
    router = APIRouter()

    @router.post("/v1/completions", tags=["openai"], responses=RESPONSES)
    async def completions(request: Request, body: CompletionRequest) -> Response:
        """Prompts, each answered by itself."""
        check_model(service, body.model)
        _check(service, body)
        asks = [_ask(service, body, prompt, principal(request)) for prompt in body.prompts()]
        if body.stream:
            exchange = await service.begin(asks[0])
            with_usage = body.stream_options is not None and body.stream_options.include_usage
            return EventStream(lambda write: _stream(service, exchange, body.echo, with_usage, write))
        return JSONResponse(await unless_left(request.receive, _answered(service, body, asks)))

    return router


def _check(service: Service, body: CompletionRequest) -> None:
    """What goes in evaluation only, or not together."""
    ids = not isinstance(body.prompts()[0], str)
    if not service.evaluation:
        for name, given in (("echo", body.echo), ("logprobs", body.logprobs is not None), ("prompt", ids)):
            if given:
                what = "token ids are" if name == "prompt" else "it is"
                raise ApiError(
                    400,
                    "unsupported",
                    f"{name}: {what} there when the model is served with --evaluation only.",
                    param=name,
                )
    if body.max_tokens == 0 and (body.stream or not body.echo):
        raise ApiError(
            400,
            "invalid_request",
            "max_tokens: 0 goes with echo only, and not with stream.",
            param="max_tokens",
        )
    if body.stream and (len(body.prompts()) > 1 or body.logprobs is not None):
        raise ApiError(400, "unsupported", "stream: one prompt at a time, without logprobs.", param="stream")
    most = service.settings.limits.batch
    if len(body.prompts()) > most:
        raise ApiError(413, "batch_too_large", f"There may be {most} prompts at most.", param="prompt")


def _ask(service: Service, body: CompletionRequest, prompt: str | list[int], name: str) -> Ask:
    text = prompt if isinstance(prompt, str) else ""
    ask = body.ask(
        "completions",
        "instruction",
        [Turn("user", text)],
        service.settings,
        choices=body.n or 1,
        principal=name,
    )
    if not service.evaluation:
        return ask
    tokenizer = service.model.renderer.tokenizer
    ids = tokenizer(prompt)["input_ids"] if isinstance(prompt, str) else prompt
    if max(ids) >= len(tokenizer):
        raise ApiError(400, "invalid_request", "prompt: there is no such token.", param="prompt")
    return replace(ask, ids=tuple(ids))


async def _answered(service: Service, body: CompletionRequest, asks: list[Ask]) -> dict[str, Any]:
    done = await service.answer_all(asks)
    exchanges = []
    for exchange in done:
        if isinstance(exchange, ApiError):
            raise exchange
        exchanges.append(exchange)
    choices: list[dict[str, Any]] = []
    for exchange in exchanges:
        for choice in exchange.choices:
            if body.max_tokens == 0:
                choice = Choice(finish="length")
            logprobs = None
            if body.logprobs is not None:
                logprobs = await _logprobs(service, exchange, choice, body.echo, body.logprobs)
            choices.append(
                {
                    "index": len(choices),
                    "text": _echoed(service, exchange, body.echo) + framed(exchange, choice.text),
                    "logprobs": logprobs,
                    "finish_reason": choice.finish,
                }
            )
    found = usage(*exchanges)
    if body.max_tokens == 0:
        found = found.model_copy(update={"completion_tokens": 0, "total_tokens": found.prompt_tokens})
    return head(service, exchanges[0].id, "text_completion") | {
        "choices": choices,
        "usage": found.model_dump(),
    }


def _echoed(service: Service, exchange: Exchange, echo: bool) -> str:
    return str(service.model.renderer.tokenizer.decode(list(exchange.prompt))) if echo else ""


async def _logprobs(
    service: Service, exchange: Exchange, choice: Choice, echo: bool, top: int
) -> dict[str, Any]:
    """Of the answer's tokens, with ``echo`` of the prompt's as well, as OpenAI's older protocol lays them out."""
    decode = service.model.renderer.tokenizer.decode
    ids = [*exchange.prompt, *choice.ids]
    first = 0 if echo else len(exchange.prompt)
    scored = (await service.score(ids, max(top, 1)))[first:]
    tokens = [decode([id]) for id in ids[first:]]
    return {
        "tokens": tokens,
        # Nothing stands before the first token of all.
        "token_logprobs": [s.logprob if s.top else None for s in scored],
        "top_logprobs": [{decode([id]): value for id, value in s.top} if s.top else None for s in scored],
        "text_offset": list(accumulate(map(len, tokens[:-1]), initial=0)) if tokens else [],
    }


async def _stream(service: Service, exchange: Exchange, echo: bool, with_usage: bool, write: Write) -> None:
    begin = head(service, exchange.id, "text_completion") | ({"usage": None} if with_usage else {})

    async def tell(index: int, text: str, finish: str | None = None) -> None:
        choice = {"index": index, "text": text, "logprobs": None, "finish_reason": finish}
        await write(event(begin | {"choices": [choice]}))

    before, after = framed(exchange, "\0").split("\0")
    try:
        for index in range(exchange.ask.choices):
            await tell(index, _echoed(service, exchange, echo) + before)
        choices = await service.run(exchange, tell)
        for index, choice in enumerate(choices):
            await tell(index, after, choice.finish)
        if with_usage:
            await write(event(begin | {"choices": [], "usage": usage(exchange).model_dump()}))
        await write(b"data: [DONE]\n\n")
    except ApiError as error:
        await write(event(error.body()))
