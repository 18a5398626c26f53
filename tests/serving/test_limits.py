"""The queue, the deadline, clients that leave, a service that ends."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from mulmed.recipe import Serving
from mulmed.serving.engine import ServingEngine
from mulmed.serving.model import open_model
from tests.bases import installed
from tests.conftest import TEXTS, Small
from tests.serving.conftest import Serve, Served, serving
from tests.serving.held import Held

pytestmark = pytest.mark.usefixtures("single_thread")
COUGH, REST = TEXTS[0][2]
ASK = {"question": COUGH}


@pytest.fixture
def held(llamacpp: ServingEngine) -> Held:
    return Held(llamacpp)


def until(condition: Any) -> None:
    for _ in range(400):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come about")


def ask(served: Served, **more: Any) -> httpx.Response:
    return httpx.post(f"{served.url}/v1/tasks/answer", json=ASK | more, timeout=30)


def test_all_who_are_let_in_are_answered_and_the_others_told_when_to_come_again(
    held: Held, serve: Serve
) -> None:
    with serve(held, Serving(limits={"queue": 6})) as served, ThreadPoolExecutor(10) as pool:
        waiting = [pool.submit(ask, served) for _ in range(10)]
        admission = served.service.admission
        until(lambda: (admission.running, admission.waiting) == (4, 6))
        began = time.monotonic()
        refused = ask(served)
        assert time.monotonic() - began < 1
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert 1 <= int(refused.headers["retry-after"]) <= 10
        # A batch comes in as a whole or not at all.
        batch = httpx.post(f"{served.url}/v1/tasks/answer/batch", json={"items": [ASK]})
        assert batch.status_code == 429
        assert served.client.get("/ready").status_code == 200
        held.go.set()
        assert [w.result().json()["answer"] for w in waiting] == [REST] * 10
        until(lambda: (admission.running, admission.waiting) == (0, 0))
        assert ask(served).status_code == 200
        assert [f.outcome for f in served.wait_for(11)] == ["ok"] * 11
        turned_away = 'mulmed_turned_away_total{endpoint="answer"} 2.0'
        assert turned_away in served.client.get("/metrics").text.splitlines()


def test_a_full_service_turns_away_before_a_byte_of_the_body_is_read(held: Held, serve: Serve) -> None:
    """So nothing of it can have been parsed, masked or counted in tokens: the body is never sent."""
    asking = ["/v1/chat/completions", "/v1/completions", "/v1/page/send"]
    asking += [f"/v1/tasks/{task}{b}" for task in ("summarize", "answer", "dialogue") for b in ("", "/batch")]
    with serve(held, Serving(limits={"queue": 0})) as served, ThreadPoolExecutor(4) as pool:
        host = served.url.removeprefix("http://")

        def answer_to_the_head(path: str) -> bytes:
            with socket.create_connection(host.split(":"), timeout=10) as connection:
                head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 90000\r\n\r\n"
                connection.sendall(head.encode())
                answer = b""
                while not answer.endswith(b"}}"):
                    answer += connection.recv(1 << 16) or b"}}"
                return answer

        described = served.client.get("/openapi.json").json()["paths"]  # the page's are not
        assert {path for path, by in described.items() if "post" in by} == {*asking} - {"/v1/page/send"}
        waiting = [pool.submit(ask, served) for _ in range(4)]
        until(lambda: served.service.admission.running == 4)
        for path in asking:
            answer = answer_to_the_head(path)
            assert answer.startswith(b"HTTP/1.1 429 "), path
            assert b"\r\nretry-after: " in answer
            assert b"\r\nx-content-type-options: nosniff\r\n" in answer
            assert b'"queue_full"' in answer
        # Strangers learn nothing new: another site's page is refused as ever, and what does not exist is not there.
        foreign = {"Origin": "https://example.org"}
        assert httpx.post(f"{served.url}/v1/tasks/answer", json=ASK, headers=foreign).status_code == 403
        assert httpx.post(f"{served.url}/v1/tasks/other", json=ASK).status_code == 404
        # Bodies that are sent nevertheless do not come between the next requests of their connection.
        assert served.client.post("/v1/tasks/answer", content=b"x" * 900_000).status_code == 429
        assert served.client.get("/v1/models").status_code == 200
        held.go.set()
        assert [w.result().json()["answer"] for w in waiting] == [REST] * 4
        assert len(served.wait_for(4)) == 4


@pytest.mark.parametrize("stream", [False, True])
def test_what_takes_too_long_is_ended(held: Held, serve: Serve, stream: bool) -> None:
    with serve(held, Serving(limits={"deadline": 0.4})) as served:
        got = ask(served, stream=stream)
        if stream:
            assert got.status_code == 200
            name, data = got.text.strip().split("\n\n")[-1].split("\n")
            assert name == "event: error"
            error = json.loads(data.removeprefix("data: "))["error"]
        else:
            assert got.status_code == 504
            error = got.json()["error"]
        assert error["code"] == "deadline_exceeded"
        assert held.closed == 1
        assert served.service.admission.running == served.service.admission.waiting == 0
        assert [f.outcome for f in served.wait_for(1)] == ["deadline"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_its_place(held: Held, serve: Serve, stream: bool) -> None:
    with serve(held) as served:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{served.url}/v1/tasks/answer", json=ASK | {"stream": stream}, timeout=0.4)
        until(lambda: held.closed == 1)
        until(lambda: served.service.admission.running == 0)
        assert [f.outcome for f in served.wait_for(1)] == ["left"]


def test_long_answers_under_way_are_given_up_when_their_clients_leave(
    endless: Path, small_llama: Small, start: Any, serve: Serve
) -> None:
    """They hold all slots of llama.cpp; the next one is answered."""
    with installed(small_llama.packages, small_llama.base):
        model = open_model(str(endless), print)
    round_and_round = Serving(decoding={"repetition_penalty": 1.0})
    with serving(model, start("llamacpp", model), round_and_round) as served:
        for letter in "abcdefghijklmnopqrstuvwxyz":  # one of them sets it going in circles
            long = {"question": letter, "max_tokens": 900}
            finish = ask(served, **long).json()["finish"]
            if finish == "length":
                break
        assert finish == "length"
        served.finished.clear()
        streams = [httpx.Client() for _ in range(4)]
        for client in streams:
            request = client.build_request(
                "POST", f"{served.url}/v1/tasks/answer", json=long | {"stream": True}
            )
            client.send(request, stream=True)
        until(lambda: served.service.admission.running == 4)
        for client in streams:
            client.close()
        until(lambda: served.service.admission.running == 0)
        assert ask(served, question=long["question"], max_tokens=1).json()["finish"] == "length"
        assert sorted(f.outcome for f in served.wait_for(5)) == ["left"] * 4 + ["ok"]


def test_draining_lets_finish_and_lets_nobody_in(held: Held, serve: Serve) -> None:
    with serve(held) as served, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, served)
        until(lambda: served.service.admission.running == 1)
        served.service.drain()
        assert served.client.get("/ready").status_code == 503
        refused = ask(served)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert "retry-after" in refused.headers
        held.go.set()
        assert waiting.result().json()["answer"] == REST


def test_batches_answer_each_item_by_itself(served: Served) -> None:
    items = [ASK, {"question": "I cannot breathe. " * 400}, {"question": TEXTS[1][2][0]}]
    got = served.client.post("/v1/tasks/answer/batch", json={"items": items}).json()["items"]
    assert [g.get("answer") for g in got] == [REST, None, TEXTS[1][2][1]]
    assert got[1]["error"]["code"] == "context_length_exceeded"
    assert got[1]["error"]["notice"]
    many = served.client.post("/v1/tasks/answer/batch", json={"items": [ASK] * 65})
    assert (many.status_code, many.json()["error"]["code"]) == (413, "batch_too_large")


def test_many_at_once_lose_nothing(served: Served) -> None:
    """More streams than slots; each gets its own answer."""
    questions = [(t[2][0], t[2][1]) for t in TEXTS if t[0] == "qa"] * 8
    got: list[str] = [""] * len(questions)

    def stream(index: int) -> None:
        with httpx.stream(
            "POST",
            f"{served.url}/v1/tasks/answer",
            json={"question": questions[index][0], "stream": True},
            timeout=60,
        ) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and '"text":' in line:
                    got[index] += json.loads(line[6:])["text"]

    threads = [threading.Thread(target=stream, args=(i,)) for i in range(len(questions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [answer for _, answer in questions]
