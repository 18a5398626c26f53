"""How fast a LoRA step of LLaMA-7B's shape is on this GPU, beside padded transformers + peft.

    python benchmarks/training_gpu.py --json FILE         # one GPU of 80 GB or more, under eight minutes
    python benchmarks/training_gpu.py --shape tiny --seconds 5      # the same code, anywhere

Weights are random: speed does not depend on them. Lengths of examples and the share that is learned are those of the
recipe's two steps (`LENGTHS`; `--lengths recipes/small.yaml --data FOLDER` measures them again), the ids random. Ours packs
examples without padding and runs the training loop's own step; the rival is what alpaca-lora does, micro-batches padded to
their longest example, in two sizes. Both train LoRA (r 8, on q, k, v) with AdamW over batches of 128 examples, the base in
the precision that suits the device.

Reported for each: non-padding tokens and examples a second, model FLOPs utilization (`mulmed.training.flops`: 4 N operations
a non-padding token; of the GPU's published dense peak and of what a large product reaches here), peak memory, and how
long the paper's steps would take (102.7k examples once, 294.6k three times).
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mulmed.prompts import Example
from mulmed.recipe import Lora
from mulmed.training.flops import counted_weights, utilization
from mulmed.training.lora import add_adapters, trainable
from mulmed.training.model import Placement, choose_device, compile_blocks, keep_freed_memory, use_packed_loss
from mulmed.training.packing import packs_of
from mulmed.training.prepare import best_attention
from mulmed.training.step import accumulate, update

SHAPES: dict[str, dict[str, int]] = {
    "7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 32,
        "vocab_size": 32000,
    },
    "tiny": {
        "hidden_size": 64,
        "intermediate_size": 172,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 1000,
    },
}
#: Tokens of an example at 0%, 2.5%, ... 100% of each step's training records, and the share of them that is learned:
#: `recipes/small.yaml` at cutoff 256 in SmolLM2's tokens, sources weighted by `SIZES`.
LENGTHS: dict[str, list[int]] = {
    "crossla": [
        45, 52, 57, 64, 68, 72, 73, 76, 78, 82, 86, 91, 92, 99, 103, 105, 109, 110, 116, 121, 128, 131, 135, 140, 148, 158,
        165, 174, 187, 193, 201, 209, 215, 220, 225, 228, 231, 236, 237, 241, 256,
    ],
    "mulmed": [
        83, 138, 162, 166, 175, 187, 198, 201, 207, 210, 212, 215, 218, 219, 222, 223, 225, 226, 226, 227, 229, 230, 231, 232,
        232, 233, 234, 234, 234, 235, 235, 236, 237, 238, 238, 239, 239, 240, 240, 240, 241,
    ],
}  # fmt: skip
LEARNED = {"crossla": 0.553, "mulmed": 0.381}
#: Examples that the paper's steps see, epochs included.
SEEN = {"crossla": 102_700, "mulmed": 3 * 294_600}
#: Records of the step's sources in full, as published.
SIZES = {
    "crossla": {"alpaca-en": 52_002, "alpaca-zh": 50_700},
    "mulmed": {"plos": 27_525, "elife": 4_828, "healthcaremagic": 112_165, "haodf": 151_000},
}
SETTINGS = Lora()
RIVAL_BATCHES = (8, 32)


def draw_examples(step: str, number: int, vocabulary: int, seed: int) -> list[Example]:
    """Random ids in the lengths of a step's records."""
    rng = np.random.default_rng(seed)
    quantiles = LENGTHS[step]
    lengths = np.interp(rng.random(number), np.linspace(0, 1, len(quantiles)), quantiles).round().astype(int)
    examples = []
    for i, n in enumerate(lengths.tolist()):
        learned = max(1, round(n * LEARNED[step]))
        mask = (False,) * (n - learned) + (True,) * learned
        examples.append(Example(tuple(rng.integers(3, vocabulary, n).tolist()), mask, f"r{i}", "qa", "en"))
    return examples


def measure_lengths(recipe: Path, data: str | None) -> None:
    """Print `LENGTHS` and `LEARNED` of a recipe whose corpus is built where its key is not stale, else now."""
    from mulmed.recipe import load_recipe
    from mulmed.stages import Run

    changes = ("base=smollm2-135m", *([f"data={data}"] if data else []))
    run = Run(load_recipe(recipe, changes), tell=print)
    run.pipeline.run(("corpus",), announce=lambda *_: None, progress=lambda _: lambda *_: None)
    records = run.records()
    for step, sizes in SIZES.items():
        rows = []
        for source, size in sizes.items():
            own = [run.renderer.example(r) for r in records if r.source == source and r.split == "train"]
            rows += [(len(e.ids), e.targets, size / len(own)) for e in own]
        lengths, targets, weights = map(np.array, zip(*sorted(rows), strict=True))
        below = np.cumsum(weights) / weights.sum()
        places = np.minimum(np.searchsorted(below, np.linspace(0, 1, 41)), len(rows) - 1)
        learned = (targets * weights).sum() / (lengths * weights).sum()
        print(f"{step}: {[int(lengths[i]) for i in places]}, learned {learned:.3f}")


def batches(step: str, size: int, vocabulary: int) -> Iterator[list[Example]]:
    """Batches without an end."""
    for seed in count():
        yield draw_examples(step, size, vocabulary, seed)


def new_model(shape: str, placement: Placement) -> Any:
    """A LLaMA with random weights, made on the device."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    with placement.device:
        model = AutoModelForCausalLM.from_config(
            LlamaConfig(**SHAPES[shape], max_position_embeddings=2048),
            dtype=placement.dtype,
            attn_implementation="sdpa",
        )
    return model.train()


def ours(model: Any, placement: Placement, tokens: int) -> tuple[str, Callable[[Sequence[Example]], None]]:
    """The training loop's own step."""
    attention, uncompiled = best_attention(placement)
    use_packed_loss(model.eval(), draw_examples("crossla", 2, model.config.vocab_size, seed=99), attention)
    add_adapters(model, SETTINGS, seed=1)
    model.train()
    if uncompiled is None:
        compile_blocks(model)
    parameters = trainable(model)
    fused = placement.device.type == "cuda"
    optimizer = torch.optim.AdamW(parameters.values(), lr=3e-4, weight_decay=0, fused=fused)

    def step(batch: Sequence[Example]) -> None:
        packs = packs_of(batch, tokens)
        accumulate(model, packs, sum(len(p.targets) for p in packs))
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        update(optimizer, 3e-4)

    return f"ours, {attention} attention{', compiled' if uncompiled is None else ''}", step


def rival(model: Any, placement: Placement, size: int) -> tuple[str, Callable[[Sequence[Example]], None]]:
    """transformers + peft: micro-batches padded to their longest example and a multiple of 8."""
    import peft

    config = peft.LoraConfig(
        r=SETTINGS.r,
        lora_alpha=int(SETTINGS.alpha),
        lora_dropout=SETTINGS.dropout,
        target_modules=list(SETTINGS.targets),
        task_type="CAUSAL_LM",
    )
    wrapped = peft.get_peft_model(model, config).train()
    parameters = [p for p in wrapped.parameters() if p.requires_grad]
    device = placement.device
    optimizer = torch.optim.AdamW(parameters, lr=3e-4, weight_decay=0, fused=device.type == "cuda")
    half = placement.dtype if placement.dtype != torch.float32 else torch.bfloat16

    def step(batch: Sequence[Example]) -> None:
        groups = [batch[i : i + size] for i in range(0, len(batch), size)]
        for group in groups:
            width = -(-max(len(e.ids) for e in group) // 8) * 8
            ids = torch.zeros(len(group), width, dtype=torch.long)
            labels = torch.full((len(group), width), -100)
            mask = torch.zeros(len(group), width, dtype=torch.long)
            for row, example in enumerate(group):
                n = len(example.ids)
                ids[row, :n] = torch.tensor(example.ids)
                mask[row, :n] = 1
                learned = torch.tensor(example.mask)
                labels[row, :n][learned] = ids[row, :n][learned]
            with torch.autocast(device.type, half, enabled=placement.dtype != torch.float32):
                out = wrapped(
                    input_ids=ids.to(device), attention_mask=mask.to(device), labels=labels.to(device)
                )
            (out.loss / len(groups)).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return f"transformers + peft, padded, micro-batch {size}", step


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(placement: Placement) -> float:
    """Operations a second of a large product."""
    n = 8192 if placement.device.type == "cuda" else 512
    a = torch.randn(n, n, device=placement.device).to(placement.dtype)
    a @ a
    wait(placement.device)
    started, rounds = time.perf_counter(), 20
    for _ in range(rounds):
        a @ a
    wait(placement.device)
    return rounds * 2 * n**3 / (time.perf_counter() - started)


def measure(
    step: Callable[[Sequence[Example]], None],
    feed: Iterator[list[Example]],
    warmup: int,
    seconds: float,
    device: torch.device,
) -> dict[str, float]:
    """Real tokens and examples a second, waiting for the device only before and after."""
    for _ in range(warmup):
        step(next(feed))
    wait(device)
    tokens = examples = steps = 0
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or not steps:
        batch = next(feed)
        step(batch)
        if steps % 4 == 3:
            wait(device)  # else the host would queue steps for longer than it is to measure
        tokens += sum(len(e.ids) for e in batch)
        examples += len(batch)
        steps += 1
    wait(device)
    passed = time.perf_counter() - started
    return {
        "optimizer_steps": steps,
        "seconds": passed,
        "tokens_per_second": tokens / passed,
        "examples_per_second": examples / passed,
    }


def peak_memory(device: torch.device) -> int | None:
    """Bytes that tensors took at most since the last contender began; unknown on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def packages() -> dict[str, str]:
    """Versions of what decides the numbers."""
    found = {}
    for package in ("torch", "transformers", "peft"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", choices=SHAPES, default="7b")
    parser.add_argument("--tokens", type=int, default=8192, help="tokens packed into one forward pass")
    parser.add_argument("--batch", type=int, default=128, help="examples an optimizer step")
    parser.add_argument("--seconds", type=float, default=40, help="measured for each contender and step")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--lengths", type=Path, help="only measure the lengths in this recipe's corpus")
    parser.add_argument("--data", help="folder of that corpus's files")
    arguments = parser.parse_args()
    if arguments.lengths:
        measure_lengths(arguments.lengths, arguments.data)
        return
    keep_freed_memory()
    placement = choose_device("auto")
    device = placement.device
    on_gpu = device.type == "cuda"
    dtype = str(placement.dtype).removeprefix("torch.")
    print(f"{placement.name}; base in {dtype}: {placement.reason}", flush=True)
    reached = matrix_rate(placement)
    contenders: list[Callable[[Any], tuple[str, Callable[[Sequence[Example]], None]]]] = [
        lambda model: ours(model, placement, arguments.tokens)
    ]
    if "peft" in packages():
        contenders += [lambda model, size=size: rival(model, placement, size) for size in RIVAL_BATCHES]
    else:
        print("peft is not installed: no rival.", flush=True)
    document: dict[str, Any] = {
        "machine": placement.name,
        "precision": dtype,
        "reason": placement.reason,
        "shape": arguments.shape,
        "versions": packages(),
        "batch": arguments.batch,
        "matrix_rate": reached,
        "results": [],
    }
    for make in contenders:
        if on_gpu:
            torch.cuda.reset_peak_memory_stats(device)
        model = new_model(arguments.shape, placement)
        weights = counted_weights(model)
        name, step = make(model)
        hours = 0.0
        for of in LENGTHS:
            feed = batches(of, arguments.batch, SHAPES[arguments.shape]["vocab_size"])
            found = measure(step, feed, 2, arguments.seconds, device)
            used = utilization(
                weights, found["tokens_per_second"], placement.name, placement.dtype.itemsize == 2
            )
            projected = SEEN[of] / found["examples_per_second"] / 3600 if arguments.shape == "7b" else None
            hours += projected or 0
            row = {
                "contender": name,
                "step": of,
                **found,
                **used,
                "share_of_matrix_rate": used["operations_per_second"] / reached,
                "peak_bytes": peak_memory(device),
                "projected_hours": projected,
            }
            document["results"].append(row)
            of_peak = f"MFU {used['mfu']:.1%}, " if used["mfu"] else ""
            memory = f", {row['peak_bytes'] / 1e9:.1f} GB" if row["peak_bytes"] else ""
            paper = f"; the paper's step in {projected:,.2f} h" if projected else ""
            print(
                f"{name}, {of}: {found['tokens_per_second']:,.0f} tokens/s, {found['examples_per_second']:,.1f} "
                f"examples/s, {of_peak}{row['share_of_matrix_rate']:.1%} of a product's rate{memory}{paper}",
                flush=True,
            )
            if arguments.json:  # after each, so that a run that is cut short leaves what it has
                arguments.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        if hours:
            print(f"{name}: the paper's two steps in {hours:,.2f} h", flush=True)
        del model, step, make
        gc.collect()
        if on_gpu:
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
