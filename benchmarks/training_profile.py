"""Where the time of a LoRA step on a CPU goes, beside its matrix products.

    python benchmarks/training_profile.py --model FOLDER [--tokens 1536]

One batch of `training.py`'s examples in packs as `micro_batch_tokens` makes them, all on one thread, so that nothing waits for
anything; the second of two passes is watched by torch's profiler. Printed are the shares of processor time by kind of operation, each
without what it calls.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile
from training_worker import BATCH, CAPACITY
from transformers import AutoConfig

from mulmed.recipe import Lora
from mulmed.training.attention import use_packed_attention
from mulmed.training.fused import fuse_norms
from mulmed.training.lora import add_adapters, trainable
from mulmed.training.loss import pack_loss
from mulmed.training.model import choose_device, keep_freed_memory, load_model
from mulmed.training.packing import make_pack, pack_evenly
from mulmed.training.threads import side_by_side
from training import draw_examples

#: Kind -> what the names of its operations begin with; the first that fits counts.
KINDS = {
    "matrix products": ("aten::mm", "aten::addmm", "aten::bmm"),
    "attention": ("aten::_scaled_dot_product",),
    "multiplications": ("aten::mul", "aten::addcmul"),
    "additions": ("aten::add", "aten::sum"),
    "copies": ("aten::copy_", "aten::cat", "aten::clone", "aten::fill_", "aten::zero_", "aten::index_fill"),
    "dropout's places": ("aten::uniform_", "aten::log1p", "aten::cumsum", "aten::rand", "aten::searchsorted"),
    "activation functions": ("aten::silu", "aten::gelu"),
    "loss": ("aten::_log_softmax", "aten::nll_loss", "aten::exp"),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="folder of a causal language model")
    parser.add_argument("--tokens", type=int, default=CAPACITY, help="micro_batch_tokens")
    options = parser.parse_args()
    keep_freed_memory()
    model = load_model(options.model, choose_device("float32"))
    use_packed_attention(model)
    fuse_norms(model)
    add_adapters(model, Lora(), seed=1)
    model.train()
    parameters = list(trainable(model).values())
    examples = draw_examples(BATCH, AutoConfig.from_pretrained(options.model).vocab_size, seed=0)
    together = side_by_side(model.device, options.tokens)
    groups = pack_evenly([len(e["input_ids"]) for e in examples], options.tokens // together, together)
    packs = [
        make_pack([examples[i]["input_ids"] for i in g], [[t >= 0 for t in examples[i]["labels"]] for i in g])
        for g in groups
    ]
    torch.set_num_threads(1)

    def run() -> float:
        started = time.process_time()
        for pack in packs:
            torch.autograd.grad(pack_loss(model, pack) / 1000, parameters)
        return time.process_time() - started

    run()
    seconds = run()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    shares: Counter[str] = Counter()
    for event in profiled.key_averages():
        kind = next((k for k, names in KINDS.items() if event.key.startswith(names)), "everything else")
        shares[kind] += event.self_cpu_time_total
    tokens = [sum(pack.lengths) for pack in packs]
    print(f"packs of {tokens} tokens: {seconds:.2f} s on one thread, {sum(tokens) / seconds:.0f} tokens/s")
    for kind, spent in shares.most_common():
        print(f"{kind:22}{spent / shares.total():6.1%}")


if __name__ == "__main__":
    main()
