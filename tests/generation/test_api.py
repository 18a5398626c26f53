"""Answers over the network, from a real server on this machine that misbehaves as told."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest

from mulmed.corpus.record import Record
from mulmed.errors import MulmedError
from mulmed.generation.answers import ANSWERS, RUN, SO_FAR, choose_records
from mulmed.generation.api import key_from, messages_of, write_api_answers
from mulmed.prompts import load_template
from mulmed.recipe import Api, Decoding
from tests.generation.test_answers import RECORDS

TEMPLATE = load_template("alpaca")
GREEDY = Decoding(max_new_tokens=24)
Answer = Callable[[dict[str, Any]], tuple[int, dict[str, str], Any]]


def completion(text: str, prompt: int = 10, answer: int = 5, finish: str = "stop") -> Any:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return {"choices": [choice], "usage": {"prompt_tokens": prompt, "completion_tokens": answer}}


def last(body: dict[str, Any]) -> str:
    text: str = body["messages"][-1]["content"]
    return text


class Server(ThreadingHTTPServer):
    daemon_threads = True
    bodies: list[dict[str, Any]]
    headers: list[dict[str, str]]
    times: list[float]
    answer: Answer
    at_once = most_at_once = 0


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        server: Server

        def do_POST(self) -> None:
            body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                self.server.bodies.append(body)
                self.server.headers.append(dict(self.headers))
                self.server.times.append(time.monotonic())
                self.server.at_once += 1
                self.server.most_at_once = max(self.server.most_at_once, self.server.at_once)
            try:
                status, headers, document = self.server.answer(body)
            finally:
                with lock:
                    self.server.at_once -= 1
            if status == 0:  # hang up without a word
                self.close_connection = True
                return
            payload = document if isinstance(document, bytes) else orjson.dumps(document)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    server.bodies, server.headers, server.times, server.answer = [], [], [], answer
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def questions() -> list[Record]:
    return choose_records(RECORDS, None)


def ask(server: Server, questions: list[Record], out: Path, **settings: Any) -> list[dict[str, Any]]:
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    out.mkdir(exist_ok=True)
    api = Api(api=url, model="m", **settings)
    write_api_answers("gpt", questions, api, TEMPLATE, GREEDY, out, progress=lambda *_: None)
    return [orjson.loads(line) for line in (out / ANSWERS).read_bytes().splitlines()]


def fine(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    return 200, {}, completion(f" re: {last(body)[-9:]} ")


def test_every_question_is_asked_once_and_answered_in_order(
    questions: list[Record], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(fine) as server:
        monkeypatch.setenv("MULMED_TEST_KEY", "secret")
        rows = ask(server, questions, tmp_path / "out", key_env="MULMED_TEST_KEY")
    assert [r["id"] for r in rows] == [q.id for q in questions]
    assert [r["answer"] for r in rows] == [
        f"re: {messages_of(q, TEMPLATE)[-1]['content'][-9:]}".strip() for q in questions
    ]
    assert len(server.bodies) == len(questions)
    assert {h["Authorization"] for h in server.headers} == {"Bearer secret"}
    body = server.bodies[0]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 24, 0.0)
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"] * (len(body["messages"]) // 2) + [
        "user"
    ]
    assert (rows[0]["prompt_tokens"], rows[0]["answer_tokens"], rows[0]["finish"]) == (10, 5, "stop")
    assert "secret" not in "".join(p.read_text() for p in (tmp_path / "out").iterdir())
    assert not (tmp_path / "out" / SO_FAR).exists()


def test_a_dialogue_goes_with_its_history(questions: list[Record]) -> None:
    (dialogue,) = [q for q in questions if q.id == "t:3:0"]
    messages = messages_of(dialogue, TEMPLATE)
    assert [m["role"] for m in messages] == ["user", "assistant", "user"]
    assert [m["content"] for m in messages[1:]] == ["Since when?", "Since Monday."]
    assert messages[0]["content"].endswith("My back hurts.")
    assert len(messages[0]["content"]) > len("My back hurts.")  # the task's instruction comes first


def test_what_passes_is_tried_again_and_the_servers_pause_is_kept(
    questions: list[Record], tmp_path: Path
) -> None:
    codes = iter([(503, {}), (429, {"Retry-After": "1"}), (0, {})])

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        status, headers = next(codes, (200, {}))
        return (status, headers, {}) if status != 200 else fine(body)

    with serving(answer) as server:
        rows = ask(server, questions[:2], tmp_path / "out", concurrency=1)
    assert [r["status"] for r in rows] == ["ok", "ok"]
    assert len(server.bodies) == 5
    assert server.times[2] - server.times[1] >= 0.95


def test_a_question_without_an_answer_is_failed_not_empty(questions: list[Record], tmp_path: Path) -> None:
    bad = {
        questions[0].id: (400, {}, {"error": "x"}),
        questions[1].id: (200, {}, b"<html>"),
        questions[2].id: (200, {}, completion("partly", finish="content_filter")),
        questions[3].id: (200, {}, {"choices": [{"message": {"content": None}}]}),
    }
    by_text = {messages_of(q, TEMPLATE)[-1]["content"]: q.id for q in questions}

    with serving(lambda body: bad.get(by_text[last(body)]) or fine(body)) as server:
        rows = ask(server, questions, tmp_path / "out")
    assert [r["status"] for r in rows] == ["failed"] * 4 + ["ok"] * (len(questions) - 4)
    assert [r["answer"] for r in rows[:4]] == [None] * 4
    assert rows[0]["error"] == "the server answered 400"
    assert "filter" in rows[2]["error"]
    assert len(server.bodies) == len(questions)  # none of these passes, so none is tried again


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_address_or_model_stops_at_once(
    questions: list[Record], tmp_path: Path, status: int
) -> None:
    with serving(lambda _: (status, {}, {})) as server, pytest.raises(MulmedError, match=str(status)):
        ask(server, questions, tmp_path / "out", concurrency=1)
    assert len(server.bodies) == 1
    assert not (tmp_path / "out" / ANSWERS).exists()


def test_no_server_is_told(questions: list[Record], tmp_path: Path) -> None:
    with serving(fine) as server:
        pass
    with pytest.raises(MulmedError, match="cannot be reached"):
        ask(server, questions, tmp_path / "out", attempts=1)


def test_a_stopped_run_asks_only_what_is_left(questions: list[Record], tmp_path: Path) -> None:
    numbers = itertools.count()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        return (401, {}, {}) if next(numbers) == 3 else fine(body)

    with serving(answer) as server:
        with pytest.raises(MulmedError):
            ask(server, questions, tmp_path / "out", concurrency=1)
        kept = (tmp_path / "out" / SO_FAR).read_bytes().splitlines()
        assert len(kept) == 3
        with (tmp_path / "out" / SO_FAR).open("ab") as file:
            file.write(b'{"id": "t:4:0", "ans')  # killed while writing
        rows = ask(server, questions, tmp_path / "out", concurrency=1)
    assert [r["status"] for r in rows] == ["ok"] * len(questions)
    assert len(server.bodies) == 4 + len(questions) - 3
    with serving(fine) as undisturbed:
        again = ask(undisturbed, questions, tmp_path / "again")
    url = {"settings_sha256"}  # the port differs
    assert [{k: v for k, v in r.items() if k not in url} for r in rows] == [
        {k: v for k, v in r.items() if k not in url} for r in again
    ]


def test_no_more_is_spent_than_allowed_and_the_run_goes_on_with_more(
    questions: list[Record], tmp_path: Path
) -> None:
    # Ten prompt tokens for 1 dollar each and five for 2: 20 dollars a question, but set aside is the dearest answer.
    prices = (1e6, 2e6)
    sizes = [sum(len(m["content"].encode()) + 64 for m in messages_of(q, TEMPLATE)) for q in questions]
    budget = 20 + sizes[1] + 2 * 24 + 1.0
    assert budget < 40 + sizes[2] + 2 * 24
    with serving(fine) as server:
        with pytest.raises(MulmedError, match="spending cap") as caught:
            ask(server, questions, tmp_path / "out", concurrency=1, prices=prices, budget=budget)
        assert "40.00 are spent" in str(caught.value)
        assert len(server.bodies) == 2
        rows = ask(server, questions, tmp_path / "out", concurrency=3, prices=prices, budget=1e4)
    assert len(server.bodies) == len(questions)
    assert [r["cost"] for r in rows] == [20.0] * len(questions)
    assert orjson.loads((tmp_path / "out" / RUN).read_bytes())["cost"] == 20.0 * len(questions)


def test_an_answer_lost_on_the_way_counts_as_its_dearest(questions: list[Record], tmp_path: Path) -> None:
    first = iter([True])
    size = sum(len(m["content"].encode()) + 64 for m in messages_of(questions[0], TEMPLATE))
    with serving(lambda body: (0, {}, b"") if next(first, False) else fine(body)) as server:
        rows = ask(server, questions[:1], tmp_path / "out", prices=(1e6, 1e6), budget=1e4)
    assert rows[0]["cost"] == 15 + size + 24


def test_questions_go_at_the_pace_and_side_by_side_as_asked(questions: list[Record], tmp_path: Path) -> None:
    def slow(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        time.sleep(0.3)
        return fine(body)

    with serving(slow) as server:
        ask(server, questions, tmp_path / "a", concurrency=3)
        assert server.most_at_once == 3
    with serving(fine) as server:
        ask(server, questions[:4], tmp_path / "b", concurrency=4, per_minute=300)
    gaps = [b - a for a, b in itertools.pairwise(sorted(server.times))]
    assert sum(gaps) >= 3 * 0.2 - 0.02


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MULMED_TEST_KEY", raising=False)
    with pytest.raises(MulmedError, match="MULMED_TEST_KEY"):
        key_from("MULMED_TEST_KEY")
    monkeypatch.setenv("MULMED_TEST_KEY", "")
    with pytest.raises(MulmedError, match="MULMED_TEST_KEY"):
        key_from("MULMED_TEST_KEY")
    monkeypatch.setenv("MULMED_TEST_KEY", "k")
    assert key_from("MULMED_TEST_KEY") == "k"
    assert key_from(None) is None
