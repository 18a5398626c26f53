"""How fast a LoRA step is on a CPU, against what users would take instead, and against the hardware.

    python benchmarks/training.py --model FOLDER [--rounds 5] [--trl PYTHON_WITH_TRL] [--json FILE]

Every contender sees the same examples: lengths log-normal with a mean of 160 tokens, cut off at 256 (padded
in batches of eight they come to about 1.5 times their real tokens), random ids, loss on the last half.
Contenders take turns, round after round, in processes of their own that keep their model; while one works
the others sleep. Reported is the median over rounds of real (non-padding) tokens a second, the ratio to
ours, each process's peak memory, and our share of what the machine's matrix products alone would allow, which
is measured in every round too.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

CUTOFF = 256
HERE = Path(__file__).parent
OURS = ("ours", "ours, int8 base")


def draw_examples(count: int, vocabulary: int, seed: int) -> list[dict[str, list[int]]]:
    """Token ids and labels (-100 where nothing is learned) of ``count`` examples."""
    rng = np.random.default_rng(seed)
    # The mean of a log-normal is exp(mu + sigma^2 / 2); sigma is that of the instruction corpora.
    sigma = 0.5
    lengths = rng.lognormal(np.log(172) - sigma**2 / 2, sigma, count).round().clip(24, CUTOFF).astype(int)
    examples = []
    for n in lengths:
        ids = rng.integers(10, vocabulary - 10, n).tolist()
        learned = n // 2
        examples.append({"input_ids": ids, "labels": [-100] * (n - learned) + ids[n - learned :]})
    return examples


def contenders(trl: str | None) -> dict[str, list[str]]:
    """Name -> command of the process that trains when told to."""
    here = [sys.executable, str(HERE / "training_worker.py")]
    found = {name: [*here, name] for name in OURS}
    # The manner of alpaca-lora: micro-batches of 8, padded to the longest, in random order.
    found["transformers + peft, batch 8"] = [*here, "trainer", "8", "random"]
    # What suits transformers better on a CPU: batches of similar length, several sizes of them.
    for size in (2, 4, 8):
        found[f"transformers + peft, batch {size}, by length"] = [*here, "trainer", str(size), "length"]
    if trl:
        found["TRL, batch 8"] = [trl, str(HERE / "training_worker.py"), "trl", "8", "random"]
    return found


class Worker:
    """A process that holds a model and trains on a file of examples when told to."""

    def __init__(self, command: list[str], model: str) -> None:
        self._process = subprocess.Popen(
            [*command, "--model", model], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.ask({"ready": True})

    def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        if line := self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        raise SystemExit(f"a contender ended: {self._process.args}")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def matrix_limit(model: str, examples: list[dict[str, list[int]]]) -> float:
    """Tokens a second if a step were nothing but its products, at the rate this machine does them now.

    Two products a weight and token (forward, and the gradient of the activations), the head on targets only.
    The rate is that of the model's own largest layer with a thousand tokens.
    """
    import torch
    from transformers import AutoConfig

    from mulmed.estimate import model_shape

    shape = model_shape(Path(model))
    config = AutoConfig.from_pretrained(model)
    tokens = sum(len(e["input_ids"]) for e in examples)
    targets = sum(sum(t >= 0 for t in e["labels"]) for e in examples)
    x = torch.randn(1024, config.hidden_size)
    w = torch.randn(config.intermediate_size, config.hidden_size)
    times = []
    for _ in range(30):
        started = time.perf_counter()
        x @ w.t()
        times.append(time.perf_counter() - started)
    rate = 2 * x.shape[0] * w.numel() / median(times)
    return tokens / ((4 * shape["body"] * tokens + 4 * shape["head"] * targets) / rate)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="folder of a causal language model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=32, help="examples a round")
    parser.add_argument("--trl", help="a Python with TRL installed")
    parser.add_argument("--only", nargs="*", help="ours, and contenders whose name contains one of these")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from transformers import AutoConfig

    vocabulary = AutoConfig.from_pretrained(arguments.model).vocab_size
    chosen = {
        name: command
        for name, command in contenders(arguments.trl).items()
        if not arguments.only or any(part in name for part in (OURS[0], *arguments.only))
    }
    workers = {name: Worker(command, arguments.model) for name, command in chosen.items()}
    rates: dict[str, list[float]] = {name: [] for name in workers}
    limits = []
    peaks: dict[str, float] = {}
    for number in range(-1, arguments.rounds):  # round -1 warms up
        examples = draw_examples(arguments.examples, vocabulary, seed=number + 1)
        tokens = sum(len(e["input_ids"]) for e in examples)
        limit = matrix_limit(arguments.model, examples)
        for name, worker in workers.items():
            answer = worker.ask({"examples": examples, "seed": number + 1})
            if number >= 0:
                rates[name].append(tokens / answer["seconds"])
            peaks[name] = answer["peak_bytes"]
            print(f"round {number}: {name}: {tokens / answer['seconds']:.0f} tokens/s", file=sys.stderr)
        if number >= 0:
            limits.append(limit)
    for worker in workers.values():
        worker.close()
    ours = median(rates["ours"])
    rows = [
        {
            "contender": name,
            "tokens_per_second": round(median(values), 1),
            "rounds": [round(v, 1) for v in values],
            # Of each round's own pair, so that a slow minute of the machine counts for both.
            "ours_is_faster_by": round(median(o / v for o, v in zip(rates["ours"], values, strict=True)), 2),
            "peak_gb": round(peaks[name] / 1e9, 2),
        }
        for name, values in rates.items()
    ]
    result = {
        "machine": platform.processor() or platform.machine(),
        "versions": {p: version(p) for p in ("torch", "transformers", "peft")},
        "model": Path(arguments.model).name,
        "examples_a_round": arguments.examples,
        "matrix_limit_tokens_per_second": round(median(limits), 1),
        "share_of_limit": round(median(o / m for o, m in zip(rates["ours"], limits, strict=True)), 3),
        "contenders": rows,
    }
    print(f"{'contender':44s} {'tokens/s':>9s} {'ours x':>7s} {'peak GB':>8s}")
    for row in rows:
        print(
            f"{row['contender']:44s} {row['tokens_per_second']:9.1f} {row['ours_is_faster_by']:7.2f} "
            f"{row['peak_gb']:8.2f}"
        )
    print(
        f"products alone: {result['matrix_limit_tokens_per_second']} tokens/s; "
        f"ours ({ours:.0f}) reaches {result['share_of_limit']:.0%}"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
