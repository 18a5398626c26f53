"""One contender of :mod:`training`: holds a model, trains on the examples it is sent, says how long it took.

Reads one JSON object a line from standard input and answers one a line. Each ask is one optimizer run over the
examples, the effective batch being 16; the time is that of the training loop, without loading or set-up.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

BATCH = 16
#: The recipe's default of ``micro_batch_tokens``.
CAPACITY = 1536
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": ["q_proj", "k_proj", "v_proj"]}
Examples = list[dict[str, list[int]]]
Train = Callable[[Examples, int], float]


def ours(model_folder: str, *, int8: bool) -> Train:
    from pathlib import Path

    import torch

    from mulmed.recipe import Lora
    from mulmed.training.attention import use_packed_attention
    from mulmed.training.fused import fuse_norms
    from mulmed.training.int8 import quantize_base
    from mulmed.training.lora import add_adapters, trainable
    from mulmed.training.model import choose_device, keep_freed_memory, load_model
    from mulmed.training.packing import make_pack, pack_evenly, pack_lengths
    from mulmed.training.step import accumulate
    from mulmed.training.threads import accumulate_side_by_side, side_by_side

    keep_freed_memory()
    model = load_model(Path(model_folder), choose_device("float32"))
    use_packed_attention(model)
    fuse_norms(model)
    add_adapters(model, Lora(), seed=1)
    if int8:
        quantize_base(model)
    model.train()
    parameters = list(trainable(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=3e-4)
    together = side_by_side(model.device, CAPACITY)

    def train(examples: Examples, seed: int) -> float:
        started = time.perf_counter()
        for start in range(0, len(examples), BATCH):
            torch.manual_seed(seed + start)
            batch = examples[start : start + BATCH]
            masks = [[label >= 0 for label in e["labels"]] for e in batch]
            targets = sum(map(sum, masks))
            lengths = [len(e["input_ids"]) for e in batch]
            groups = (
                pack_evenly(lengths, CAPACITY // together, together)
                if together > 1
                else pack_lengths(lengths, CAPACITY)
            )
            packs = [make_pack([batch[i]["input_ids"] for i in g], [masks[i] for i in g]) for g in groups]
            if together > 1:
                accumulate_side_by_side(model, packs, targets, together).item()
            else:
                accumulate(model, packs, targets).item()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    return train


class _Clock:
    """A Trainer callback that times the loop itself."""

    def __new__(cls) -> Any:
        from transformers import TrainerCallback

        class Clock(TrainerCallback):
            began = seconds = 0.0

            def on_train_begin(self, *_: Any, **__: Any) -> None:
                self.began = time.perf_counter()

            def on_train_end(self, *_: Any, **__: Any) -> None:
                self.seconds = time.perf_counter() - self.began

        return Clock()


def _arguments(size: int, order: str, seed: int) -> dict[str, Any]:
    return {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": size,
        "gradient_accumulation_steps": BATCH // size,
        "num_train_epochs": 1,
        "learning_rate": 3e-4,
        "max_grad_norm": 1.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "seed": seed,
        "disable_tqdm": True,
        "remove_unused_columns": False,
    } | ({"train_sampling_strategy": "group_by_length"} if order == "length" else {})


def _tokenizer(model_folder: str) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    return tokenizer


def _peft_model(model_folder: str) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    return get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **LORA))


def trainer(model_folder: str, size: int, order: str) -> Train:
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    model = _peft_model(model_folder)
    tokenizer = _tokenizer(model_folder)
    # alpaca-lora's collator
    collate = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, padding=True)

    def train(examples: Examples, seed: int) -> float:
        data = [{**e, "attention_mask": [1] * len(e["input_ids"])} for e in examples]
        clock = _Clock()
        Trainer(
            model=model,
            args=TrainingArguments(**_arguments(size, order, seed)),
            train_dataset=data,
            data_collator=collate,
            callbacks=[clock],
        ).train()
        return float(clock.seconds)

    return train


def trl(model_folder: str, size: int, order: str) -> Train:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model = _peft_model(model_folder)
    tokenizer = _tokenizer(model_folder)

    def train(examples: Examples, seed: int) -> float:
        data = Dataset.from_list(
            [
                {"input_ids": e["input_ids"], "completion_mask": [int(x >= 0) for x in e["labels"]]}
                for e in examples
            ]
        )
        clock = _Clock()
        arguments = _arguments(size, order, seed)
        del arguments["remove_unused_columns"]
        SFTTrainer(
            model=model,
            # TRL's own default recomputes activations, which no CPU needs: switched off in its favour.
            args=SFTConfig(**arguments, max_length=256, bf16=False, gradient_checkpointing=False),
            train_dataset=data,
            processing_class=tokenizer,
            callbacks=[clock],
        ).train()
        return float(clock.seconds)

    return train


def main() -> None:
    # What libraries print goes to the error output: the answers have a channel of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    *words, _, model = sys.argv[1:]
    if words[0].startswith("ours"):
        train = ours(model, int8="int8" in words[0])
    else:
        train = {"trainer": trainer, "trl": trl}[words[0]](model, int(words[1]), words[2])
    for line in sys.stdin:
        message = json.loads(line)
        answer: dict[str, Any] = {"ready": True}
        if "examples" in message:
            seconds = train(message["examples"], message["seed"])
            answer = {
                "seconds": seconds,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
