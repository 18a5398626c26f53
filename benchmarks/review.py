"""The review's server under load, and killed under load.

    python benchmarks/review.py load [--annotators 50] [--seconds 30] [--pause 1.0] [--database URL]
    python benchmarks/review.py crash [--kills 20] [--database URL]

``load``: as many annotators at once, each saving a score, waiting for the server's answer, pausing (a person is slower) and
saving the next; prints the percentiles of the time from request to acknowledgement. ``crash``: eight annotators save without
pause, the server is ended by SIGKILL after a random while and started again, so many times; then every acknowledged score must
be in the database, unchanged, and the log must verify. Both use invented answers, SQLite in a temporary folder or an empty
PostgreSQL database (``postgresql://USER@HOST/DATABASE``), and the server as `mulmed review serve` starts it; nothing leaves
loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from mulmed.review.access import invite, names
from mulmed.review.audit import verify
from mulmed.review.create import create
from mulmed.review.database import Store, open_store
from mulmed.review.plan import Annotator
from mulmed.review.rubric import load_rubric
from mulmed.review.saving import places, read_item
from mulmed.review.study import move

AXES = ("information_security", "etiology_explainability", "user_guidance")


def make_study(target: str, annotators: int) -> Store:
    rows = [
        {
            "id": f"q{q}", "model": model, "language": "en", "task": "qa", "status": "ok",
            "question": f"Question {q}: my head has been aching for days. What can I do?",
            "answer": f"Answer {q} of {n}: rest, drink enough, and see a doctor if it does not get better. " * 5,
        }
        for q in range(30)
        for n, model in enumerate(("one-model", "two-model", "three-model"))
    ]  # fmt: skip
    store = open_store(target, create=True)
    people = [Annotator(f"annotator {n}") for n in range(annotators)]
    rubric = load_rubric().model_copy(update={"training": ()})
    create(
        store, rows, people, rubric,
        questions=30, overlap=annotators, seed=1, repeats=0.05, on_unsafe="score_all", name="benchmark",
    )  # fmt: skip
    move(store, "open")
    return store


def start(target: str, port: int) -> subprocess.Popen[bytes]:
    code = "from mulmed.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, "review", "serve", target, "--port", str(port)],
        stdout=subprocess.DEVNULL,
    )
    for _ in range(1200):
        try:
            httpx.get(f"http://127.0.0.1:{port}/static/shared/icon.svg", timeout=1)
            return server
        except httpx.HTTPError:
            time.sleep(0.05)
    raise SystemExit("the server did not start")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def rating(scores: int, value: int) -> dict[str, Any]:
    """A draft with so many scores, finished when all are there."""
    given = {axis: (value + n) % 3 for n, axis in enumerate(AXES[:scores])}
    return {"scores": given, "comment": "", "marks": [], "skip": None, "done": scores == len(AXES)}


class Client:
    """One annotator: what they save, and what the server said was saved."""

    def __init__(self, store: Store, number: int, port: int) -> None:
        self.http = httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30)
        self.number = number
        self.token = invite(store, number)
        self.places = [place.id for place in places(store, number)]
        self.acknowledged: dict[str, tuple[int, dict[str, Any]]] = {}
        self.seconds: list[float] = []
        self.sent = 0
        self.unknown: tuple[str, dict[str, Any]] | None = None

    async def sign_in(self) -> None:
        assert (await self.http.post(f"/invitation/{self.token}")).status_code == 303

    async def save(self) -> None:
        """The next score; one whose outcome is unknown is sent again first, under its old id."""
        if self.unknown is None:
            place = self.places[self.sent // 3 % len(self.places)]
            base = self.acknowledged.get(place, (0, {}))[0]
            given = rating(1 + self.sent % 3, self.sent // (3 * len(self.places)))
            self.unknown = (
                place,
                {"request": f"{self.number}-{self.sent:08}", "base": base, "rating": given},
            )
            self.sent += 1
        place, body = self.unknown
        began = time.perf_counter()
        response = await self.http.put(f"/api/ratings/{place}", json=body)
        self.seconds.append(time.perf_counter() - began)
        assert response.status_code == 200, response.text
        self.acknowledged[place] = (response.json()["version"], body["rating"])
        self.unknown = None


def check(store: Store, clients: list[Client]) -> int:
    """Scores that were acknowledged and are not there; also raises if the log does not verify."""
    lost = 0
    for client in clients:
        for place, (version, given) in client.acknowledged.items():
            item = read_item(store, client.number, place)
            assert item is not None
            same = (item["version"], item["rating"]) == (version, given)
            ahead = (
                client.unknown is not None and client.unknown[0] == place and item["version"] == version + 1
            )
            lost += not (same or ahead)
    wrong = verify(store)
    assert not wrong, wrong[:3]
    return lost


async def load(store: Store, port: int, seconds: float, pause: float) -> list[Client]:
    clients = [Client(store, number, port) for number in names(store)]
    for client in clients:
        await client.sign_in()
    ends = time.monotonic() + seconds

    async def work(client: Client) -> None:
        rng = random.Random(client.number)
        await asyncio.sleep(rng.random() * pause)
        while time.monotonic() < ends:
            await client.save()
            await asyncio.sleep(pause * (0.5 + rng.random()))

    await asyncio.gather(*map(work, clients))
    return clients


async def crash(store: Store, target: str, port: int, kills: int) -> tuple[list[Client], int]:
    server = start(target, port)
    clients = [Client(store, number, port) for number in names(store)]
    for client in clients:
        await client.sign_in()
    rng = random.Random(0)
    interrupted = 0

    async def work(client: Client) -> None:
        nonlocal interrupted
        while True:
            try:
                await client.save()
            except httpx.TransportError:
                interrupted += 1
                return

    for kill in range(kills):
        working = asyncio.gather(*map(work, clients))
        await asyncio.sleep(0.2 + 0.8 * rng.random())
        server.send_signal(signal.SIGKILL)
        await working
        server.wait()
        lost = check(store, clients)
        saved = sum(len(c.seconds) for c in clients)
        print(f"  kill {kill + 1}/{kills}: {saved} scores acknowledged, {lost} lost", file=sys.stderr)
        assert lost == 0
        server = start(target, port)
    server.terminate()
    server.wait()
    return clients, interrupted


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["load", "crash"])
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--pause", type=float, default=1.0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--database", help="an empty PostgreSQL database's URL; default: SQLite")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mulmed-review-") as folder:
        port = free_port()
        target = args.database or str(Path(folder) / "study.db")
        if args.what == "crash":
            store = make_study(target, 8)
            clients, interrupted = asyncio.run(crash(store, target, port, args.kills))
            lost, saved = check(store, clients), sum(len(c.seconds) for c in clients)
            print(
                f"{args.kills} kills, {saved} scores acknowledged, {interrupted} requests cut off, {lost} lost"
            )
            return
        store = make_study(target, args.annotators)
        server = start(target, port)
        clients = asyncio.run(load(store, port, args.seconds, args.pause))
        server.terminate()
        server.wait()
        times = sorted(t for c in clients for t in c.seconds)
        p50, p95, p99 = (times[int(len(times) * q)] * 1000 for q in (0.5, 0.95, 0.99))
        print(
            f"{args.annotators} annotators, {len(times)} saves in {args.seconds:g} s ({len(times) / args.seconds:.0f} a second),"
            f" {check(store, clients)} lost; ms: median {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, longest {times[-1] * 1000:.1f},"
            f" mean {statistics.mean(times) * 1000:.1f}"
        )


if __name__ == "__main__":
    main()
