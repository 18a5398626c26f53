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

from mulmed.artifact import hash_json
from mulmed.corpus.record import Record
from mulmed.errors import MulmedError
from mulmed.generation.answers import SO_FAR, Answering, asked, finish_answers, read_so_far
from mulmed.prompts import Template
from mulmed.recipe import Api, Decoding
from mulmed.recipe.baselines import LOOPBACK

#: What may pass: too many requests, timeouts, and what servers say when they are busy or being replaced.
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_LONGEST_PAUSE = 60.0  # seconds


def key_from(variable: str | None) -> str | None:
    """The key in an environment variable; no file and no log of a run ever holds it.

    Raises:
        MulmedError: the variable is not set.
    """
    if variable is None:
        return None
    if key := os.environ.get(variable):
        return key
    raise MulmedError(
        "The key of an API is not there.",
        where=f"environment variable {variable}",
        remedy=f"Set it: export {variable}=...",
    )


def cost_of(api: Api, prompt_tokens: int, answer_tokens: int) -> float:
    """US dollars; 0 without prices."""
    into, out = api.prices or (0.0, 0.0)
    return (prompt_tokens * into + answer_tokens * out) / 1e6


def messages_of(record: Record, template: Template) -> list[dict[str, str]]:
    """Chat messages of a question: the task's instruction and the patient's words, with the dialogue before them."""
    return [
        {"role": m["role"], "content": "\n\n".join(filter(None, (m["content"], m.get("input"))))}
        for m in template.messages(record, with_answer=False)
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

    api: Api
    spent: float = 0.0
    aside: dict[str, float] = field(default_factory=dict)

    def set_aside(self, id: str, messages: Sequence[dict[str, str]], decoding: Decoding) -> bool:
        """Whether a question can be paid for whatever its answer costs."""
        # A tokenizer of bytes has no more tokens than bytes; what a server adds around a message is less than 64.
        longest = sum(len(m["content"].encode()) + 64 for m in messages)
        most = cost_of(self.api, longest, decoding.max_new_tokens)
        budget = self.api.budget
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
    records: Sequence[Record],
    api: Api,
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
    answering = Answering(model, api.model, f"api {api.api}", decoding)
    key = key_from(api.key_env)
    rows = read_so_far(out / SO_FAR)
    purse = _Purse(api, sum(row["cost"] for row in rows.values()))
    left = [r for r in records if rows.get(r.id, {}).get("status") != "ok"]
    before = {r.id: rows[r.id]["cost"] for r in left if r.id in rows}
    stop = threading.Event()
    pace = _Pace(api.per_minute, stop)
    capped = False
    with (out / SO_FAR).open("ab") as file, _client(api, key) as client:
        pool = ThreadPoolExecutor(api.concurrency)
        under_way: dict[Future[dict[str, Any]], Record] = {}
        try:
            while left or under_way:
                while left and len(under_way) < api.concurrency:
                    messages = messages_of(left[0], template)
                    capped = not purse.set_aside(left[0].id, messages, decoding)
                    if capped:  # until answers under way turn out cheaper than they might have
                        break
                    ask = pool.submit(_ask, client, api, messages, decoding, pace)
                    under_way[ask] = left.pop(0)
                if not under_way:
                    break
                done, _ = wait(under_way, return_when=FIRST_COMPLETED)
                for future in done:
                    record = under_way.pop(future)
                    id = record.id
                    try:
                        reply = future.result()
                    except Unanswered as error:
                        reply = _NOTHING | {"error": str(error), "lost": error.lost}
                    row = _row(answering, record, reply, template)
                    cost = cost_of(api, row["prompt_tokens"], row["answer_tokens"])
                    row["cost"] = before.get(id, 0.0) + purse.pay(id, cost, reply["lost"])
                    rows[id] = row
                    file.write(orjson.dumps(row) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                failures = sum(row["status"] == "failed" for row in rows.values())
                spent = f", {purse.spent:.2f} USD" if api.prices else ""
                progress(f"{failures} failed{spent}", len(rows), len(records))
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    if capped:
        raise MulmedError(
            f"The spending cap of {api.budget:.2f} USD would be passed: {purse.spent:.2f} are spent, and "
            f"{len(left)} questions are not asked yet.",
            where=api.api,
            remedy="Raise the cap and run again: the answers so far are kept.",
        )
    if not any(row["status"] == "ok" for row in rows.values()):
        reason = next((row["error"] for row in rows.values()), "there was none")
        raise MulmedError(
            f"No question was answered: {reason}.",
            where=api.api,
            remedy="Check that the server runs and knows the model.",
        )
    finish_answers(out, [rows[r.id] for r in records], answering.engine, cost=round(purse.spent, 6))


#: A reply that did not come.
_NOTHING: dict[str, Any] = {
    "text": None,
    "finish": None,
    "prompt_tokens": 0,
    "answer_tokens": 0,
    "seconds": 0.0,
}


def _row(answering: Answering, record: Record, reply: dict[str, Any], template: Template) -> dict[str, Any]:
    return asked(answering.model, record) | {
        "model_content": answering.content,
        "answer": reply["text"],
        "prompt_sha256": hash_json(messages_of(record, template)),
        "template_sha256": template.sha256,
        "settings_sha256": answering.settings_sha256,
        "prompt_tokens": reply["prompt_tokens"],
        "answer_tokens": reply["answer_tokens"],
        "finish": reply["finish"],
        "status": "failed" if reply["text"] is None else "ok",
        "error": reply.get("error"),
        "seconds": reply["seconds"],
    }


def _client(api: Api, key: str | None) -> Any:
    import httpx2

    return httpx2.Client(
        headers={"Authorization": f"Bearer {key}"} if key else {},
        timeout=api.timeout,
        follow_redirects=False,  # a key goes where the user sent it and nowhere else
        trust_env=urlsplit(api.api).hostname not in LOOPBACK,
    )


def _ask(
    client: Any, api: Api, messages: list[dict[str, str]], decoding: Decoding, pace: _Pace
) -> dict[str, Any]:
    """One answer, after as many attempts as it takes and the endpoint allows.

    Raises:
        Unanswered: this question gets none.
        Refused: no question would.
    """
    import httpx2

    body = {
        "model": api.model,
        "messages": messages,
        "max_tokens": decoding.max_new_tokens,
        "temperature": decoding.temperature,
        "seed": decoding.seed,
    }
    if decoding.temperature > 0:
        body["top_p"] = decoding.top_p
    reason, lost, began = "no attempt was allowed", 0, time.monotonic()
    for attempt in range(api.attempts):
        pace.take_turn()
        pause = min(_LONGEST_PAUSE, 2.0**attempt) * (0.5 + random.random() / 2)
        try:
            response = client.post(f"{api.api.rstrip('/')}/chat/completions", json=body)
        except httpx2.TransportError as error:
            reason = f"the server cannot be reached ({type(error).__name__})"
            lost += not isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout)
            pace.sleep(pause)
            continue
        if response.status_code == 200:
            return _reply(response, lost) | {"seconds": time.monotonic() - began}
        reason = f"the server answered {response.status_code}"
        if response.status_code in (401, 403, 404):
            raise Refused(
                f"The server answers {response.status_code} to every question.",
                where=api.api,
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
