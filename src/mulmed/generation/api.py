"""Answers of a model behind an OpenAI-compatible API: ChatGPT, or a server of vLLM, llama.cpp or Ollama.

The questions go as chat messages: how the server lays them out for its model is the server's affair. Only
what the user named is asked, and no more is spent than was allowed.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import orjson

from mulmed.artifact import hash_json, write_atomic, write_json
from mulmed.errors import MulmedError
from mulmed.generation.answers import ANSWERS, RUN, SO_FAR, Question, asked, read_so_far
from mulmed.prompts import Template
from mulmed.recipe import Decoding

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
#: What may pass: too many requests, timeouts, and what servers say when they are busy or being replaced.
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_PAUSE = 60.0  # seconds


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A model behind an API, and how it may be asked.

    Attributes:
        url: what stands before ``/chat/completions``, for example ``http://127.0.0.1:8080/v1``.
        model: its name there.
        key: sent as a bearer token, over TLS or to this machine only.
        concurrency: questions under way at once.
        per_minute: at most so many questions a minute.
        attempts: how often a question is asked before it is given up.
        timeout: seconds to wait for an answer.
        prices: US dollars a million tokens of prompts and of answers.
        budget: US dollars that may be spent. Before a question is sent its dearest possible answer is set aside; an answer
            that was lost on the way counts as its dearest.
    """

    url: str
    model: str
    key: str | None = None
    concurrency: int = 4
    per_minute: int | None = None
    attempts: int = 6
    timeout: float = 120.0
    prices: tuple[float, float] | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise MulmedError(
                "An API's address begins with http:// or https://.",
                where=self.url,
                remedy="Write for example http://127.0.0.1:8080/v1.",
            )
        if self.key and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise MulmedError(
                "A key would be sent without encryption.", where=self.url, remedy="Use https://."
            )
        if self.budget is not None and self.prices is None:
            raise MulmedError(
                "A spending cap needs prices.", where=self.url, remedy="Give the prices a million tokens."
            )

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float:
        """US dollars; 0 without prices."""
        into, out = self.prices or (0.0, 0.0)
        return (prompt_tokens * into + answer_tokens * out) / 1e6


def key_from(variable: str | None) -> str | None:
    """The key in an environment variable; no file of a run ever holds it.

    Raises:
        MulmedError: the variable is not set.
    """
    if variable is None:
        return None
    try:
        return os.environ[variable]
    except KeyError:
        raise MulmedError(
            "The key of an API is not there.",
            where=f"environment variable {variable}",
            remedy=f"Set it: export {variable}=...",
        ) from None


def messages_of(question: Question, template: Template) -> list[dict[str, str]]:
    """Chat messages of a question: the task's instruction and the patient's words, with the dialogue before them."""
    return [
        {"role": m["role"], "content": "\n\n".join(filter(None, (m["content"], m.get("input"))))}
        for m in template.messages(question.record, with_answer=False)
    ]


class Unanswered(Exception):
    """A question that got no answer, and why, in words that hold nothing of the question.

    ``lost``: answers that the server may have made, and charged for, all the same.
    """

    def __init__(self, reason: str, lost: int = 0) -> None:
        super().__init__(reason)
        self.lost = lost


class Refused(MulmedError):
    """The server will answer no question at all."""


@dataclass(slots=True)
class _Purse:
    """What was spent, and what is set aside for answers under way."""

    endpoint: Endpoint
    spent: float = 0.0
    aside: dict[str, float] = field(default_factory=dict)

    def set_aside(self, id: str, messages: Sequence[dict[str, str]], decoding: Decoding) -> bool:
        """Whether a question can be paid for whatever its answer costs."""
        # A tokenizer of bytes has no more tokens than bytes; what a server adds around a message is less than 64.
        longest = sum(len(m["content"].encode()) + 64 for m in messages)
        most = self.endpoint.cost(longest, decoding.max_new_tokens)
        budget = self.endpoint.budget
        if budget is not None and self.spent + sum(self.aside.values()) + most > budget:
            return False
        self.aside[id] = most
        return True

    def pay(self, id: str, cost: float, lost: int) -> float:
        """What a question came to, answers lost on the way counted as its dearest."""
        cost += lost * self.aside.pop(id)
        self.spent += cost
        return cost


class _Pace:
    """Keeps requests of all threads apart by 60 / ``per_minute`` seconds, and all of them back where the server says so."""

    def __init__(self, per_minute: int | None, stop: threading.Event) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0
        self._stop = stop
        self._lock = threading.Lock()

    def take_turn(self) -> None:
        with self._lock:
            start = max(time.monotonic(), self._next)
            self._next = start + self._gap
        self.sleep(start - time.monotonic())

    def hold(self, seconds: float) -> None:
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def sleep(self, seconds: float) -> None:
        if seconds > 0 and self._stop.wait(seconds):
            raise Unanswered("stopped")


def write_api_answers(
    model: str,
    questions: Sequence[Question],
    endpoint: Endpoint,
    template: Template,
    decoding: Decoding,
    out: Path,
    *,
    progress: Callable[[str, int, int], None],
) -> None:
    """Write ``answers.jsonl`` of a model behind an API: one answer a question, in the questions' order.

    Every answer is kept at once; a run that was stopped asks only what is not answered. A question that got no answer is
    listed as failed with the reason, never as an empty answer.

    Raises:
        MulmedError: the server refuses every question (wrong key, address or model), or none was answered; or the spending
            cap would be passed: the answers so far are kept, and the run goes on from them.
    """
    settings = hash_json([decoding.model_dump(mode="json"), endpoint.url, endpoint.model])
    rows = read_so_far(out / SO_FAR)
    purse = _Purse(endpoint, sum(row["cost"] for row in rows.values()))
    left = [q for q in questions if rows.get(q.record.id, {}).get("status") != "ok"]
    before = {q.record.id: rows[q.record.id]["cost"] for q in left if q.record.id in rows}
    stop = threading.Event()
    pace = _Pace(endpoint.per_minute, stop)
    started = time.monotonic()
    capped = False
    with (out / SO_FAR).open("ab") as file, _client(endpoint) as client:
        pool = ThreadPoolExecutor(endpoint.concurrency)
        under_way: dict[Future[dict[str, Any]], Question] = {}
        try:
            while left or under_way:
                while left and len(under_way) < endpoint.concurrency:
                    messages = messages_of(left[0], template)
                    capped = not purse.set_aside(left[0].record.id, messages, decoding)
                    if capped:  # until answers under way turn out cheaper than they might have
                        break
                    question = left.pop(0)
                    ask = pool.submit(_ask, client, endpoint, messages, decoding, pace)
                    under_way[ask] = question
                if not under_way:
                    break
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    question = under_way.pop(future)
                    id = question.record.id
                    try:
                        reply = future.result()
                    except Unanswered as error:
                        reply = _NOTHING | {"error": str(error), "lost": error.lost}
                    row = _row(model, question, reply, template, settings)
                    cost = endpoint.cost(row["prompt_tokens"], row["answer_tokens"])
                    row["cost"] = before.get(id, 0.0) + purse.pay(id, cost, reply["lost"])
                    rows[id] = row
                    file.write(orjson.dumps(row) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                failures = sum(row["status"] == "failed" for row in rows.values())
                spent = f", {purse.spent:.2f} USD" if endpoint.prices else ""
                progress(f"{failures} failed{spent}", len(rows), len(questions))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    if capped:
        raise MulmedError(
            f"The spending cap of {endpoint.budget:.2f} USD would be passed: {purse.spent:.2f} are spent, and "
            f"{len(left)} questions are not asked yet.",
            where=endpoint.url,
            remedy="Raise the cap and run again: the answers so far are kept.",
        )
    if not any(row["status"] == "ok" for row in rows.values()):
        reason = next((row["error"] for row in rows.values()), "there was none")
        raise MulmedError(
            f"No question was answered: {reason}.",
            where=endpoint.url,
            remedy="Check that the server runs and knows the model.",
        )
    write_atomic(
        out / ANSWERS,
        b"".join(orjson.dumps(rows[q.record.id], option=orjson.OPT_SORT_KEYS) + b"\n" for q in questions),
    )
    tokens = sum(row["answer_tokens"] for row in rows.values())
    cost = round(sum(row["cost"] for row in rows.values()), 6)
    seconds = round(time.monotonic() - started, 1)
    write_json(out / RUN, {"seconds": seconds, "tokens": tokens, "engine": "api", "cost": cost})
    (out / SO_FAR).unlink()


#: A reply that did not come.
_NOTHING: dict[str, Any] = {"text": None, "finish": None, "prompt_tokens": 0, "answer_tokens": 0}


def _row(
    model: str, question: Question, reply: dict[str, Any], template: Template, settings: str
) -> dict[str, Any]:
    return asked(model, question.record) | {
        "answer": reply["text"],
        "prompt_sha256": hash_json(messages_of(question, template)),
        "template_sha256": template.sha256,
        "settings_sha256": settings,
        "prompt_tokens": reply["prompt_tokens"],
        "answer_tokens": reply["answer_tokens"],
        "finish": reply["finish"],
        "status": "failed" if reply["text"] is None else "ok",
        "error": reply.get("error"),
    }


def _client(endpoint: Endpoint) -> Any:
    import httpx2

    return httpx2.Client(
        headers={"Authorization": f"Bearer {endpoint.key}"} if endpoint.key else {},
        timeout=endpoint.timeout,
        follow_redirects=False,  # a key goes where the user sent it and nowhere else
        trust_env=urlsplit(endpoint.url).hostname not in _LOOPBACK,
    )


def _ask(
    client: Any, endpoint: Endpoint, messages: list[dict[str, str]], decoding: Decoding, pace: _Pace
) -> dict[str, Any]:
    """One answer, after as many attempts as it takes and the endpoint allows.

    Raises:
        Unanswered: this question gets none.
        Refused: no question would.
    """
    import httpx2

    body = {
        "model": endpoint.model,
        "messages": messages,
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
    }
    if decoding.temperature > 0:
        body["top_p"] = decoding.top_p
    reason, lost = "no attempt was allowed", 0
    for attempt in range(endpoint.attempts):
        pace.take_turn()
        pause = min(_LONGEST_PAUSE, 2.0**attempt) * (0.5 + random.random() / 2)
        try:
            response = client.post(f"{endpoint.url.rstrip('/')}/chat/completions", json=body)
        except httpx2.TransportError as error:
            reason = f"the server cannot be reached ({type(error).__name__})"
            lost += not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            pace.sleep(pause)
            continue
        if response.status_code == 200:
            return _reply(response, lost)
        reason = f"the server answered {response.status_code}"
        if response.status_code in (401, 403, 404):
            raise Refused(
                f"The server answers {response.status_code} to every question.",
                where=endpoint.url,
                remedy="Check the key, the address and the model's name.",
            )
        if response.status_code not in _PASSING:
            break
        with_pause = _retry_after(response.headers.get("retry-after"))
        if with_pause is not None:
            pace.hold(with_pause)
        else:
            pace.sleep(pause)
    raise Unanswered(reason, lost)


def _retry_after(value: str | None) -> float | None:
    """Seconds that the server asks to be left alone; dates, which it may give instead, are not read."""
    try:
        return min(_LONGEST_PAUSE, max(0.0, float(value or "")))
    except ValueError:
        return None


def _reply(response: Any, lost: int) -> dict[str, Any]:
    try:
        document = orjson.loads(response.content)
        choice, usage = document["choices"][0], document.get("usage") or {}
        text = choice["message"]["content"]
        finish = choice.get("finish_reason")
        reply = {
            "text": text.strip(),
            "finish": finish if finish in ("stop", "length") else "stop",
            "prompt_tokens": int(usage.get("prompt_tokens", 0)),
            "answer_tokens": int(usage.get("completion_tokens", 0)),
            "lost": lost,
        }
    except (orjson.JSONDecodeError, KeyError, IndexError, TypeError, AttributeError, ValueError):
        raise Unanswered("the server's answer is not a chat completion", lost + 1) from None
    if finish == "content_filter":
        raise Unanswered("the server's filter withheld the answer", lost + 1)
    return reply
