"""How fast a batch of questions is answered on a CPU, against asking transformers one by one.

    python benchmarks/generation.py [--base smollm2-135m] [--rounds 2] [--questions 32] [--alone 3] [--json FILE]

The questions are made of the sample records' words, each prompt 150 tokens long, each answer at most 128 tokens, decoded as
recipes do by default (greedy, repetition penalty 1.2). Contenders take turns, round after round, in one process: transformers'
`model.generate` on one question after another (so many as `--alone` says), the same on batches, and llama.cpp on our own GGUF
export in float16 and in eight bits. Loading is not timed. Reported are the medians over rounds of tokens of answers a second,
the ratio to one by one, and how far the answers agree with those of transformers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mulmed.base.embedded import EMBEDDED, convert_embedded
from mulmed.export.gguf import write_weights
from mulmed.generation.agreement import compare_answers
from mulmed.generation.engine import Completion, Engine, TransformersEngine
from mulmed.generation.llamacpp import LlamaCppEngine
from mulmed.prompts import Renderer, load_template
from mulmed.recipe import Decoding

PROMPT = 150
SAMPLES = Path(__file__).parents[1] / "recipes" / "samples" / "iCliniq.json"
DECODING = Decoding(max_new_tokens=128)


class Plain:
    """What one would write without this project: the model's own `generate`."""

    def __init__(self, folder: Path, eos_id: int) -> None:
        from transformers import AutoModelForCausalLM

        self._model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self._eos_id = eos_id

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        del seed  # greedy
        found = []
        for prompt in prompts:
            ids = torch.tensor([list(prompt)])
            output = self._model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=decoding.max_new_tokens,
                repetition_penalty=decoding.repetition_penalty,
                do_sample=False,
                eos_token_id=self._eos_id,
                pad_token_id=self._eos_id,
            )
            new = output[0, len(prompt) :].tolist()
            ended = new[-1:] == [self._eos_id]
            found.append(Completion(tuple(new[: len(new) - ended]), "stop" if ended else "length"))
        return found


def make_prompts(renderer: Renderer, count: int) -> list[list[int]]:
    """Prompts of `PROMPT` tokens each, no two alike: the samples' words, from another one on each time."""
    words = " ".join(row["input"] for row in json.loads(SAMPLES.read_text(encoding="utf-8"))).split()
    prompts = []
    for i in range(count):
        start, length, ids = 37 * i % (len(words) // 2), 20, []
        while len(ids) < PROMPT:
            length += 1
            ids = renderer.prompt([{"role": "user", "content": " ".join(words[start : start + length])}])
        head = renderer.prompt([{"role": "user", "content": ""}])
        tail = len(head) // 4  # the layout after the question stays whole
        prompts.append(ids[: PROMPT - tail] + ids[len(ids) - tail :])
    return prompts


def in_batches(engine: Engine, prompts: Sequence[Sequence[int]], size: int) -> list[Completion]:
    return [
        c
        for i in range(0, len(prompts), size)
        for c in engine.complete(prompts[i : i + size], DECODING, DECODING.seed)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default="smollm2-135m", choices=sorted(EMBEDDED))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--alone", type=int, default=3, help="questions asked one by one")
    parser.add_argument("--batch", type=int, default=32, help="questions answered at a time")
    parser.add_argument("--only", nargs="*", default=[], help="contenders whose names hold one of these")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    base = EMBEDDED[options.base]
    folder = convert_embedded(base, print).path
    from transformers import AutoTokenizer

    renderer = Renderer(AutoTokenizer.from_pretrained(folder), load_template("alpaca"))
    prompts = make_prompts(renderer, options.questions)
    eos, batch = renderer.eos_id, options.batch
    with tempfile.TemporaryDirectory() as scratch:
        reference = TransformersEngine(folder, eos)

        def llama(precision: Any) -> Callable[[], Engine]:
            file = Path(scratch) / f"{precision}.gguf"
            write_weights(folder, base, eos, file, precision)
            return lambda: LlamaCppEngine(file, eos, slots=batch, context=PROMPT + DECODING.max_new_tokens)

        contenders: dict[str, tuple[Callable[[], Engine], int, int]] = {
            "transformers, one by one": (lambda: Plain(folder, eos), options.alone, 1),
            "transformers, batches of 8": (lambda: reference, min(8, len(prompts)), 8),
            f"transformers, batches of {batch}": (lambda: reference, len(prompts), batch),
            f"llama.cpp f16, {batch} at a time": (llama("f16"), len(prompts), len(prompts)),
            f"llama.cpp q8_0, {batch} at a time": (llama("q8_0"), len(prompts), len(prompts)),
        }
        if options.only:
            contenders = {n: c for n, c in contenders.items() if any(part in n for part in options.only)}
        speeds: dict[str, list[float]] = {name: [] for name in contenders}
        answers: dict[str, list[Completion]] = {}
        for _ in range(options.rounds):
            for name, (load, count, size) in contenders.items():
                engine = load()
                engine.complete([prompts[0][:8]], DECODING.model_copy(update={"max_new_tokens": 1}), 0)
                started = time.perf_counter()
                answers[name] = in_batches(engine, prompts[:count], size)
                seconds = time.perf_counter() - started
                speeds[name].append(sum(len(c.ids) + (c.finish == "stop") for c in answers[name]) / seconds)
                print(f"{name}: {speeds[name][-1]:.1f} tokens/s", flush=True)
                del engine
    report(options, speeds, answers)


def report(
    options: argparse.Namespace, speeds: dict[str, list[float]], answers: dict[str, list[Completion]]
) -> None:
    """Print the table, and write it where it is wanted."""
    first = next(iter(speeds))
    whole = max(answers, key=lambda name: ("transformers" in name, len(answers[name])))
    rows = []
    for name, found in speeds.items():
        count = min(len(answers[name]), len(answers[whole]))
        agreement = compare_answers(answers[whole][:count], answers[name][:count])
        rows.append(
            {
                "contender": name,
                "tokens_per_second": median(found),
                "ratio": median(found) / median(speeds[first]),
                "against": whole,
                **agreement,
            }
        )
    for row in rows:
        print(
            f"{row['contender']:34} {row['tokens_per_second']:7.1f} tokens/s {row['ratio']:6.2f}  "
            f"{row['identical']} of {row['answers']} answers equal, {row['leading_share']:.1%} of tokens before a difference"
        )
    if options.json:
        machine = {
            "machine": platform.processor() or platform.machine(),
            "cores": os.cpu_count(),
            **{name: version(name) for name in ("torch", "transformers", "xllamacpp")},
        }
        told = {"base": options.base, "rounds": options.rounds, "speeds": speeds, "rows": rows}
        options.json.write_text(json.dumps(machine | told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
