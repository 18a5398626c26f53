"""What the service costs beside its engine, and how it holds under load: real processes, real requests, nothing simulated.

    python benchmarks/serving.py [--model smollm2-135m] [--rounds 3] [--reader never] [--soak SECONDS] [--json FILE]

``mulmed serve`` runs as a user starts it (llama.cpp, the safety layer, the record of decisions). Measured:

- Throughput (not with ``--rounds 0``): 32 streams at once through the service, and the same 32 prompts given to llama.cpp alone by the service's own
  engine, in alternation; tokens a second, and tokens a second of processor time of the process that computes, which other
  work on the machine touches less. A stream is lost if it does not end with its ``closing`` event.
- Queue: how long those streams waited for one of the slots, p95, interpolated in the buckets of ``/metrics``.
- Refusals: ten times as many requests at once as there are places. Connections are open before; a refusal's time runs from its
  last byte sent to its first byte received, while the model computes for those who were let in.
- Memory: the process's resident size before and after that, and during a soak of ``--soak`` seconds with 32 streams always under
  way; growth is that of the last three quarters, the first one warms up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from mulmed.corpus.record import Turn
from mulmed.recipe import Decoding
from mulmed.serving.before import prompt_of
from mulmed.serving.engine import ServingEngine
from mulmed.serving.model import Model, open_model, start_engine

STREAMS, TIMES = 32, 10
QUESTIONS = (
    "I have had a dry cough for five days and my throat is sore. What can I do at home?",
    "My back has hurt since I moved some boxes on Monday. Should I rest or keep moving?",
    "What do the two numbers of a blood pressure reading mean?",
    "我最近总是睡不好，白天没有精神，应该怎么办？",
    "How can I get more iron from food if I do not eat meat?",
    "孩子咳嗽一个星期了，没有发烧，需要去医院吗？",
    "Is it normal to feel tired in the first weeks after starting a new exercise plan?",
    "我妈妈的膝盖上下楼梯的时候疼，平时要注意什么？",
)


def question(index: int, tokens: int) -> dict[str, Any]:
    """One of the requests; sampled hot, so that answers are long and differ."""
    return {
        "question": QUESTIONS[index % len(QUESTIONS)],
        "max_tokens": tokens,
        "temperature": 1.0,
        "seed": index,
        "stream": True,
    }


# --- the service -------------------------------------------------------------------------------------


@contextmanager
def service(model: str, slots: int, queue: int, threads: int, reader: str) -> Any:
    """``mulmed serve`` on a free port: its process and port."""
    with tempfile.TemporaryDirectory() as state:
        command = [
            sys.executable,
            "-c",
            "from mulmed.cli import main; main()",
            "serve",
            model,
            "--engine",
            "llamacpp",
        ]
        command += ["--port", "0", "--state", state, "--threads", str(threads)]
        command += [
            "--set",
            f"limits.slots={slots}",
            "--set",
            f"limits.queue={queue}",
            "--set",
            "limits.context=512",
            "--set",
            f"reader={reader}",
        ]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        match = re.search(r":(\d+)  ", process.stdout.readline())
        assert match, "the service did not start"
        try:
            yield psutil.Process(process.pid), int(match[1])
        finally:
            process.terminate()
            process.wait(60)


async def post(port: int, body: dict[str, Any], go: asyncio.Event | None = None) -> tuple[int, float, bytes]:
    """Status, seconds to the first byte, and the whole answer; sent when ``go`` is set."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = json.dumps(body).encode()
    head = f"POST /v1/tasks/answer HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    if go is not None:
        await go.wait()
    began = time.perf_counter()
    writer.write(head.encode() + data)
    await writer.drain()
    first = await reader.read(1)
    seconds = time.perf_counter() - began
    answer = first + await reader.read()
    writer.close()
    return int(answer.split(b" ", 2)[1]), seconds, answer


def tokens_of(answer: bytes) -> int | None:
    """Tokens of a stream that came to its end; None: it was lost."""
    closing = answer.rpartition(b"event: closing")[2]
    found = re.search(rb'"completion_tokens":(\d+)', closing)
    return int(found[1]) if found else None


def busy(process: Any) -> float:
    """Seconds of processor time so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


async def through_the_service(process: Any, port: int, tokens: int) -> tuple[float, float, int]:
    """Tokens a second of all streams at once, a second of processor time, and how many streams were lost."""
    began, computed = time.perf_counter(), busy(process)
    answers = await asyncio.gather(*(post(port, question(i, tokens)) for i in range(STREAMS)))
    seconds, computed = time.perf_counter() - began, busy(process) - computed
    counts = [tokens_of(answer) for _, _, answer in answers]
    total = sum(c or 0 for c in counts)
    return total / seconds, total / computed, counts.count(None)


async def by_the_engine(engine: ServingEngine, prompts: list[list[int]], tokens: int) -> tuple[float, float]:
    """Tokens a second of the same prompts, ``slots`` at a time, and a second of this process's time."""
    free = asyncio.Semaphore(engine.slots)

    async def one(index: int) -> int:
        async with free:
            decoding = Decoding(max_new_tokens=tokens, temperature=1.0, seed=index)
            return sum([piece.tokens async for piece in engine.stream(prompts[index], decoding)])

    me = psutil.Process()
    began, computed = time.perf_counter(), busy(me)
    total = sum(await asyncio.gather(*(one(i) for i in range(STREAMS))))
    return total / (time.perf_counter() - began), total / (busy(me) - computed)


def waited(port: int, share: float) -> float:
    """That share of the requests so far waited no longer (seconds), interpolated in its bucket."""
    import urllib.request

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        families = {f.name: f for f in text_string_to_metric_families(answer.read().decode())}
    buckets = [
        (float(s.labels["le"]), s.value)
        for s in families["mulmed_queue_seconds"].samples
        if s.name.endswith("_bucket")
    ]
    wanted, below, before = share * buckets[-1][1], 0.0, 0.0
    for edge, count in buckets:
        if count >= wanted:
            return (
                below
                if edge == float("inf")
                else below + (edge - below) * (wanted - before) / max(count - before, 1)
            )
        below, before = edge, count
    return below


async def refusals(port: int, places: int, tokens: int) -> dict[str, Any]:
    """Ten times as many requests at once as there are places."""
    go = asyncio.Event()
    asked = [asyncio.create_task(post(port, question(i, tokens), go)) for i in range(TIMES * places)]
    await asyncio.sleep(2)
    go.set()
    answers = await asyncio.gather(*asked)
    times = sorted(seconds for status, seconds, _ in answers if status == 429)
    let_in = [answer for status, _, answer in answers if status == 200]
    return {
        "requests": len(answers),
        "let_in": len(let_in),
        "lost": sum(tokens_of(a) is None for a in let_in),
        "refused": len(times),
        "refused_ms": {name: 1000 * times[min(int(share * len(times)), len(times) - 1)] for name, share in (("median", 0.5), ("p95", 0.95), ("max", 1.0))},
        "without_retry_after": sum(status == 429 and b"retry-after" not in a.lower() for status, _, a in answers),
    }  # fmt: skip


async def soak(process: Any, port: int, seconds: float, tokens: int) -> dict[str, Any]:
    """32 streams always under way; the process's size once a second."""
    until = time.monotonic() + seconds
    done = lost = 0

    async def client(index: int) -> None:
        nonlocal done, lost
        while time.monotonic() < until:
            _, _, answer = await post(port, question(index, tokens))
            index += STREAMS
            done += 1
            lost += tokens_of(answer) is None

    clients = asyncio.gather(*(client(i) for i in range(STREAMS)))
    sizes = []
    while not clients.done():
        sizes.append(process.memory_info().rss / 2**20)
        print(
            f"\r{max(until - time.monotonic(), 0):4.0f} s left, {done} answered, {sizes[-1]:.0f} MiB ",
            end="",
            file=sys.stderr,
        )
        await asyncio.sleep(1)
    await clients
    print(file=sys.stderr)
    rest = sizes[len(sizes) // 4 :]
    tenth = max(len(rest) // 10, 1)
    return {
        "seconds": seconds,
        "answered": done,
        "lost": lost,
        "mib": {"begin": sizes[0], "after_a_quarter": statistics.median(rest[:tenth]), "end": statistics.median(rest[-tenth:])},
    }  # fmt: skip


# --- all of it ---------------------------------------------------------------------------------------


async def measure(
    arguments: argparse.Namespace, model: Model, engine: ServingEngine, process: Any, port: int
) -> dict[str, Any]:
    tokens, rounds = arguments.tokens, arguments.rounds
    prompts = [
        prompt_of(model.renderer, "qa", "en" if text.isascii() else "zh", [Turn("user", text)], [text])
        for text in (question(i, tokens)["question"] for i in range(STREAMS))
    ]
    await through_the_service(process, port, 4)  # words are read at the first request
    await by_the_engine(engine, prompts, 4)
    served, alone, lost = [], [], 0
    for number in range(rounds):
        *speeds, missing = await through_the_service(process, port, tokens)
        served.append(speeds)
        lost += missing
        alone.append(await by_the_engine(engine, prompts, tokens))
        print(
            f"round {number + 1} of {rounds}: {served[-1]} and {alone[-1]} tokens/s",
            file=sys.stderr,
            flush=True,
        )
    found: dict[str, Any] = {"streams": STREAMS, "lost": lost}
    if rounds:
        for name, which in (("tokens_per_second", 0), ("tokens_per_processor_second", 1)):
            through, by = [s[which] for s in served], [a[which] for a in alone]
            ratio = statistics.median(through) / statistics.median(by)
            found[name] = {"service": through, "engine": by, "ratio_of_medians": ratio}
        found["queue_wait_p95_seconds"] = waited(port, 0.95)
    before = process.memory_info().rss / 2**20
    found["ten_times_the_load"] = await refusals(port, STREAMS, tokens)
    found["ten_times_the_load"]["mib"] = {"before": before, "after": process.memory_info().rss / 2**20}
    if arguments.soak:
        found["soak"] = await soak(process, port, arguments.soak, tokens)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2-135m", help="as mulmed serve takes it")
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 1)
    parser.add_argument("--reader", choices=("auto", "always", "never"), default="auto", help="of red flags")
    parser.add_argument("--tokens", type=int, default=48, help="an answer may have")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--soak", type=float, default=0.0, help="seconds")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    model = open_model(arguments.model, print)
    engine = start_engine(
        model,
        "llamacpp",
        slots=arguments.slots,
        context=512,
        precision="f16",
        threads=arguments.threads,
        tell=print,
    )
    with service(
        arguments.model, arguments.slots, STREAMS - arguments.slots, arguments.threads, arguments.reader
    ) as (
        process,
        port,
    ):
        found = asyncio.run(measure(arguments, model, engine, process, port))
    found["machine"] = (
        f"{platform.machine()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f} at the end"
    )
    found["settings"] = {
        k: getattr(arguments, k) for k in ("model", "slots", "threads", "reader", "tokens", "rounds")
    }
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
