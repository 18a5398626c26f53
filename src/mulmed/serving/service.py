"""The service, without HTTP: the safety layer before the model, a place to compute, the model, the safety layer after it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing

from mulmed import safety
from mulmed.recipe import Serving
from mulmed.safety import Vault
from mulmed.safety.redflags import SecondReader
from mulmed.serving.admission import Admission, Hold
from mulmed.serving.before import prepare, prepare_unguarded
from mulmed.serving.engine import EngineFailed, Scored, ServingEngine
from mulmed.serving.errors import ApiError
from mulmed.serving.exchange import Ask, Choice, Exchange, finished
from mulmed.serving.metrics import Metrics
from mulmed.serving.model import Model
from mulmed.serving.observe import Observer, Outcome
from mulmed.serving.records import Records
from mulmed.serving.reply import Continuation, Reply, headings

#: Gets the number of the choice and some more of its text.
Emit = Callable[[int, str], Awaitable[None]]
_NO_POLICY = safety.Policy("allow", "allow", "allow", "allow", "allow")


class Service:
    """A model, an engine that computes it, and what stands around both.

    Attributes:
        observers: each is told of every request that has ended; pages and monitoring add theirs.

    Args:
        model: whose renderer makes every prompt.
        engine: has the model loaded.
        settings: what the safety layer does, and what is admitted.
        records: where decisions are recorded.
        reader: looks for red flags beside rules and classifier.
        evaluation: the model is to be measured: no safety layer, and texts are continued as they are.
    """

    def __init__(
        self,
        model: Model,
        engine: ServingEngine,
        settings: Serving,
        records: Records | None = None,
        *,
        reader: SecondReader | None = None,
        evaluation: bool = False,
    ) -> None:
        self.model = model
        self.engine = engine
        self.settings = settings
        self.evaluation = evaluation
        self.admission = Admission(engine.slots, settings.limits.queue)
        self.metrics = Metrics(self.admission)
        self.observers: list[Observer] = [self.metrics]
        self._records = records
        self._reader = reader
        self.numbers = _numbers(settings)
        self._policy = safety.Policy(**settings.policy.model_dump())
        self._headings = headings(model.renderer)
        self._before_model = ThreadPoolExecutor(2, "safety")
        self._timers: set[asyncio.Timeout] = set()
        self._cut = False

    @property
    def ready(self) -> bool:
        """Whether requests are let in."""
        return not (self.admission.draining or self._unrecorded)

    @property
    def _unrecorded(self) -> bool:
        return self._records is not None and self._records.failed

    def turn_away(self, endpoint: str) -> ApiError | None:
        """Why not even one completion can be let in now; None: it can. Who is turned away is counted and forgotten.

        Args:
            endpoint: its name in counts.
        """
        refused = self._unwritten() or self.admission.refusal(1)
        if refused is not None:
            self.metrics.turned_away(endpoint)
        return refused

    async def begin(self, ask: Ask) -> Exchange:
        """Let a request in, and do what comes before the model. Whoever begins must :meth:`run`.

        Raises:
            ApiError: there is no place (429), the service ends or cannot record its decisions (503), or the
                conversation leaves no room for an answer (413).
        """
        return await self._begin(ask, self._enter([ask])[0])

    async def answer_all(self, asks: Sequence[Ask]) -> list[Exchange | ApiError]:
        """Answer several requests, as many at a time as there are slots: each finished, or why it is not.

        Raises:
            ApiError: there are no places for all of them.
        """

        async def answer(ask: Ask, hold: Hold) -> Exchange | ApiError:
            try:
                exchange = await self._begin(ask, hold)
                await self.run(exchange, _nowhere)
            except ApiError as error:
                return error
            return exchange

        holds = self._enter(asks)
        try:
            return list(await asyncio.gather(*map(answer, asks, holds)))
        finally:
            for hold in holds:
                hold.leave()

    def _enter(self, asks: Sequence[Ask]) -> list[Hold]:
        try:
            if refused := self._unwritten():
                raise refused
            return self.admission.enter([ask.choices for ask in asks])
        except ApiError:
            for ask in asks:
                self._end(self._exchange(ask, None), "refused")
            raise

    def _unwritten(self) -> ApiError | None:
        if not self._unrecorded:
            return None
        return ApiError(503, "records_failed", "The service cannot record its decisions.")

    def _exchange(self, ask: Ask, hold: Hold | None) -> Exchange:
        now = asyncio.get_running_loop().time()
        deadline = now + self.settings.limits.deadline
        return Exchange(secrets.token_hex(12), ask, hold, time.time(), now, deadline)

    async def _begin(self, ask: Ask, hold: Hold) -> Exchange:
        exchange = self._exchange(ask, hold)
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(0)  # who came in the same moment and is turned away need not wait for this
            await loop.run_in_executor(self._before_model, self._prepare, exchange)
        except BaseException as error:
            hold.leave()
            if isinstance(error, ApiError):
                error.notice = exchange.notice
            refused = isinstance(error, ApiError)
            self._end(exchange, "refused" if refused else "left")
            raise
        return exchange

    async def run(self, exchange: Exchange, emit: Emit) -> tuple[Choice, ...]:
        """Let the model answer, all choices at once.

        Args:
            emit: gets the text as it may be shown, piece by piece.

        Raises:
            ApiError: the deadline passed (504), the service ended (503), or the engine failed (502).
        """
        outcome: Outcome = "failed"
        exchange.choices = tuple(Choice() for _ in range(exchange.ask.choices))
        try:
            async with asyncio.timeout_at(exchange.deadline) as timer:
                self._timers.add(timer)
                if self._cut:
                    timer.reschedule(0)
                try:
                    async with asyncio.TaskGroup() as group:
                        for index in range(exchange.ask.choices):
                            group.create_task(self._complete(exchange, index, emit))
                finally:
                    self._timers.discard(timer)
            outcome = "ok"
        except TimeoutError:
            outcome = "drained" if self._cut else "deadline"
            if self._cut:
                raise _with_notice(ApiError(503, "shutting_down", "The service ended."), exchange) from None
            late = ApiError(504, "deadline_exceeded", "The answer took too long.", retry_after=10)
            raise _with_notice(late, exchange) from None
        except asyncio.CancelledError:
            outcome = "left"
            raise
        except BaseExceptionGroup as group:
            other = group.split((EngineFailed, OSError, EOFError))[1]
            if other is not None:
                raise other.exceptions[0] from None
            raise _with_notice(
                ApiError(502, "engine_failed", "The model did not answer."), exchange
            ) from None
        finally:
            if exchange.hold is not None:
                exchange.hold.leave()
            self._end(exchange, outcome)
        return exchange.choices

    async def score(self, ids: Sequence[int], top: int) -> list[Scored]:
        """Each token's chance given those before it, in evaluation.

        Raises:
            ApiError: the engine cannot tell.
        """
        async with self.admission.slot():
            found = await self.engine.score(ids, top)
        if found is None:
            message = f"{self.engine.name} tells no probabilities here: serve it with --engine transformers."
            raise ApiError(400, "unsupported", message, param="logprobs")
        return found

    def drain(self) -> None:
        """Let nobody new in."""
        self.admission.draining = True

    def cut(self) -> None:
        """End what still runs, with an error."""
        self._cut = True
        for timer in self._timers:
            timer.reschedule(0)

    def close(self) -> None:
        """End the engine, and write what is to be recorded."""
        self._before_model.shutdown(cancel_futures=True)
        self.engine.close()
        if self._records is not None:
            self._records.close()

    def _prepare(self, exchange: Exchange) -> None:
        room = min(self.settings.limits.context, self.engine.context)
        if self.evaluation:
            prepare_unguarded(exchange, self.model.renderer, room)
        else:
            prepare(exchange, self.model.renderer, room, self.numbers, self._reader)

    async def _complete(self, exchange: Exchange, index: int, emit: Emit) -> None:
        choice = exchange.choices[index]
        seed = (exchange.decoding.seed + index) % 2**32
        decoding = exchange.decoding.model_copy(update={"seed": seed})
        reply = self._reply(exchange)

        async def show(text: str) -> None:
            if text:
                if exchange.first is None:
                    exchange.first = asyncio.get_running_loop().time() - exchange.began
                choice.text += text
                await emit(index, text)

        entered = asyncio.get_running_loop().time()
        try:
            async with self.admission.slot():
                choice.waited = asyncio.get_running_loop().time() - entered
                async with aclosing(self.engine.stream(exchange.prompt, decoding)) as pieces:
                    async for piece in pieces:
                        choice.tokens += piece.tokens
                        choice.ids += piece.ids
                        choice.finish = piece.finish or choice.finish
                        await show(reply.feed(piece.text))
                        if reply.ended:
                            choice.finish = "stop"
                            break
            await show(reply.finish())
            if reply.ended:
                choice.finish = "stop"
        finally:
            choice.actions = reply.actions

    def _reply(self, exchange: Exchange) -> Reply | Continuation:
        stop = exchange.ask.stop
        if exchange.ask.ids is not None:
            return Continuation(stop)
        if self.evaluation:
            return Reply(self._headings, stop, Vault(), _NO_POLICY, exchange.language)
        return Reply(self._headings, stop, exchange.vault, self._policy, exchange.language)

    def _end(self, exchange: Exchange, outcome: Outcome) -> None:
        told = finished(exchange, outcome, asyncio.get_running_loop().time() - exchange.began)
        for observer in self.observers:
            observer(told)
        if self._records is not None and exchange.label:  # else nothing was decided
            self._records.write(exchange, told, self.model)


def _numbers(settings: Serving) -> safety.Numbers | None:
    if settings.numbers is not None:
        return safety.Numbers(**settings.numbers.model_dump())
    return safety.numbers_of(settings.region) if settings.region else None


def _with_notice(error: ApiError, exchange: Exchange) -> ApiError:
    error.notice = exchange.notice
    return error


async def _nowhere(_index: int, _text: str) -> None:
    """The answer is wanted as a whole."""
