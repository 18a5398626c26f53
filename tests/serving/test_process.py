"""``mulmed serve`` as a user starts it: a process, its files, its end."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from mulmed.base.embedded import cache_folder
from mulmed.safety import audit
from tests.runs import ENVIRONMENT, command

CANARY = "Zyxquorv"
LONG = {"question": "x", "max_tokens": 900, "stream": True}


@dataclass
class Process:
    """A service, and what it has said."""

    process: subprocess.Popen[str]
    url: str
    folder: Path

    def end(self, sig: int = signal.SIGTERM) -> str:
        """All that it said, when it has ended."""
        self.process.send_signal(sig)
        out, err = self.process.communicate(timeout=60)
        return out + err


@contextmanager
def process(model: Path, folder: Path, *options: str) -> Iterator[Process]:
    places = {name: str(folder / name.lower()) for name in ("TMPDIR", "MULMED_CACHE", "HF_HOME")}
    for place in places.values():
        Path(place).mkdir(exist_ok=True)
    # The converted bases of this machine: rglob looks behind no link.
    Path(places["MULMED_CACHE"], "base").symlink_to(cache_folder() / "base")
    started = subprocess.Popen(
        command(
            "serve", model, "--engine", "transformers", "--port", "0", "--state", folder / "state", *options
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=ENVIRONMENT | places,
    )
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        match = re.search(r"Serving step by transformers at (http://127\.0\.0\.1:\d+)", line)
        assert match, line + started.communicate(timeout=20)[1]
        yield Process(started, match[1], folder)
    finally:
        started.kill()
        started.wait()


@pytest.mark.model
@pytest.mark.usefixtures("gemma")  # the second reader reads along
def test_a_canary_is_found_nowhere_and_sigterm_lets_finish(endless: Path, tmp_path: Path) -> None:
    with (
        process(endless, tmp_path, "--set", "reader=always") as service,
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        said = f"My name is {CANARY}. {CANARY}@example.org, passport {CANARY}."
        chat: dict[str, Any] = {
            "model": "step",
            "messages": [{"role": "user", "content": said}],
            "max_tokens": 4,
        }
        question: dict[str, Any] = {"question": said, "max_tokens": 4}
        page = {"turns": [said], "task": "qa", "audience": "patient"}
        image = {"type": "image_url", "image_url": {"url": f"https://example.org/{CANARY}"}}
        tool = {"type": "function", "function": {"name": CANARY}}
        marked = dict.fromkeys(("X-Note", "User-Agent", "Authorization", "Cookie", "Referer"), CANARY)
        client.headers.update(marked)

        def message(**changed: Any) -> dict[str, Any]:
            return chat | {"messages": [chat["messages"][0] | changed]}

        sent: list[tuple[int, str, Any]] = [
            (200, "/v1/tasks/answer", question | {"user": CANARY, "stop": CANARY}),
            (200, "/v1/tasks/summarize", {"text": said, "max_tokens": 4, "stream": True}),
            (200, "/v1/tasks/dialogue", {"turns": [said, said, said], "max_tokens": 4}),
            (200, "/v1/tasks/answer/batch", {"items": [question]}),
            (200, "/v1/chat/completions", chat),
            (200, "/v1/chat/completions", chat | {"stream": True, "n": 2}),
            (200, "/v1/completions", {"model": "step", "prompt": said, "max_tokens": 4}),
            (200, f"/v1/page/send?{CANARY}={CANARY}", page),
            (200, "/v1/page/render", {"texts": [said]}),
            (200, "/v1/page/masked", {"turns": [said]}),
            (413, "/v1/tasks/answer", {"question": said * 300}),
            (404, "/v1/chat/completions", chat | {"model": CANARY}),
            (404, "/v1/page/judge", {"request": CANARY, "good": True}),
            (404, f"/language/{CANARY}", {}),
            (404, f"/v1/{CANARY}?{CANARY}={CANARY}", {}),
            (400, "/v1/page/judge", {"request": CANARY, "good": False, "reason": CANARY}),
            (400, "/v1/page/send", page | {"audience": CANARY}),
            (400, "/v1/tasks/dialogue", {"turns": [said, said]}),
            (400, "/v1/tasks/summarize/batch", {"items": [{"text": said, CANARY: 1}]}),
            (400, "/v1/tasks/answer", question | {"language": CANARY}),
            *((400, "/v1/chat/completions", chat | {name: CANARY}) for name in (CANARY, "seed", "stream_options", "response_format")),
            *((400, "/v1/chat/completions", chat | more) for more in ({"tools": [tool]}, {"tool_choice": tool}, {"metadata": {CANARY: CANARY}})),
            *((400, "/v1/chat/completions", message(**more)) for more in ({"name": CANARY}, {"role": CANARY}, {"role": "system"}, {"content": [image]})),
            (400, "/v1/completions", {"model": "step", "prompt": said, "suffix": CANARY}),
        ]  # fmt: skip
        for status, path, body in sent:
            assert client.post(path, json=body).status_code == status, (path, body)
        for content in (f'{{"question": "{CANARY}', f'{{"question": "\\ud800 {CANARY}"}}'):
            assert client.post("/v1/tasks/answer", content=content).status_code == 400
        assert client.post("/v1/tasks/answer", content=CANARY * 200_000).status_code == 413
        assert client.get(f"/v1/models/{CANARY}").status_code == 404
        for header, status in (("Origin", 403), ("Host", 421)):
            got = client.post("/v1/tasks/answer", json=question, headers={header: f"https://{CANARY}.org"})
            assert got.status_code == status
        # What the files hold while it runs, the database's log of changes among them.
        for _ in range(500):
            if b"/ok" in (tmp_path / "state" / "use.db-wal").read_bytes():
                break
            time.sleep(0.01)
        running = {p: p.read_bytes() for p in (tmp_path / "state").iterdir()}
        metrics = client.get("/metrics").text
        assert 'outcome="ok"' in metrics

        # One answer is under way when the service is told to end.
        events: list[str] = []

        def read() -> None:
            with httpx.stream(
                "POST", f"{service.url}/v1/tasks/answer", json=LONG | {"max_tokens": 150}, timeout=60
            ) as got:
                events.extend(got.iter_lines())

        reader = threading.Thread(target=read)
        reader.start()
        while not events:
            time.sleep(0.01)
        told = service.end()
        reader.join()
        assert service.process.returncode in (0, -signal.SIGTERM)
        assert "event: closing" in events  # it was answered to its end
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{service.url}/health")

    key = audit.load_key(tmp_path / "state" / "decisions.key")
    assert audit.verify(tmp_path / "state" / "decisions.jsonl", key).lines == 10
    written = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    assert any(b"/ok" in content for content in running.values())
    assert {"decisions.jsonl", "decisions.key", "use.db"} <= {p.name for p in written}
    for where, text in [
        ("metrics", metrics),
        ("output", told),
        *((str(p), b.decode("latin-1")) for p, b in [*running.items(), *written.items()]),
    ]:
        assert CANARY.lower() not in text.lower(), where
        assert "passport" not in text, where


def test_what_still_runs_at_the_end_gets_an_error_before_the_cut(endless: Path, tmp_path: Path) -> None:
    with process(
        endless, tmp_path, "--set", "limits.drain=0.3", "--set", "limits.slots=1", "--set", "reader=never"
    ) as service:
        events: list[str] = []

        def read() -> None:
            with httpx.stream("POST", f"{service.url}/v1/tasks/answer", json=LONG, timeout=60) as got:
                events.extend(got.iter_lines())

        readers = [threading.Thread(target=read) for _ in range(3)]  # two of them wait
        for reader in readers:
            reader.start()
        while events.count("event: opening") < 3:
            time.sleep(0.01)
        began = time.monotonic()
        service.end()
        for reader in readers:
            reader.join()
        assert time.monotonic() - began < 5
        errors = [
            json.loads(events[i + 1].removeprefix("data: "))["error"]
            for i, line in enumerate(events)
            if line == "event: error"
        ]
        assert [e["code"] for e in errors] == ["shutting_down"] * 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--host", "0.0.0.0"), "Beyond this machine the service asks for API keys"),
        (("--url", "https://mulmed.example.org"), "Beyond this machine the service asks for API keys"),
        (("--host", "0.0.0.0", "--insecure"), "the service must know its name"),
        (("--host", "0.0.0.0", "--evaluation"), "Without its safety layer a model is not served"),
        (("--url", "example.org"), "This is no address"),
    ],
)
def test_beyond_this_machine_it_asks_for_keys(
    options: tuple[str, ...], says: str, merged: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    from mulmed.cli import app
    from mulmed.errors import MulmedError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(MulmedError, match=says):
        app(["serve", str(merged), *options], standalone_mode=False)


def test_keys_and_the_record_are_looked_after(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    from mulmed.cli import app
    from mulmed.errors import MulmedError

    monkeypatch.chdir(tmp_path)

    def run(*options: str) -> str:
        app(["serve", *options], standalone_mode=False)
        return str(capsys.readouterr().out)

    key = run("--new-key", "clinic").strip()
    assert re.fullmatch(r"mulmed-[\w-]{43}", key)
    with pytest.raises(MulmedError, match="HTTPS proxy"):
        run("model", "--host", "0.0.0.0")
    with pytest.raises(MulmedError, match="record's key is not there"):
        run("--verify")
    secret = audit.load_key(tmp_path / "serving" / "decisions.key")
    record = tmp_path / "serving" / "decisions.jsonl"
    audit.append(record, secret, audit.AuditRecord("r", "m", "t", user=audit.keyed_hash(secret, "ann")))
    assert "1 lines, 0 deleted" in run("--verify")
    assert "Deleted: 1 decisions" in run("--forget", "ann")
    assert "2 lines, 1 deleted" in run("--verify")
