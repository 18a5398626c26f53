"""The loop: it learns, and it ends in the same bytes however it was packed, stopped or killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from mulmed.errors import MulmedError
from mulmed.prompts import Example, Renderer, load_template
from mulmed.recipe import Lora, Step
from mulmed.training.checkpoint import FOLDER
from mulmed.training.log import LOG
from mulmed.training.loop import RUN, train
from mulmed.training.lora import CONFIG, WEIGHTS
from mulmed.training.loss import pack_loss, packs_of, validation_loss
from mulmed.training.model import Placement, load_model, use_packed_loss
from mulmed.training.packing import batch_indices
from tests.conftest import TEXTS, make_record
from tests.runs import ENVIRONMENT, ROOT, one_thread

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = Placement(torch.device("cpu"), torch.float32, "cpu")
SETTINGS = Step(
    parent="base",
    sources=("t",),
    epochs=5,
    batch=2,
    learning_rate=2e-2,
    validate_every=4,
    checkpoint_every=2,
    micro_batch_tokens=256,
)
#: 5 epochs of 5 examples, two at a time
STEPS = 15


def fine_tune(base: Path, out: Path, settings: Step = SETTINGS, *, seed: int = 42) -> None:
    """Train on answers the model does not know: those of the next question."""
    from transformers import AutoTokenizer

    renderer = Renderer(AutoTokenizer.from_pretrained(base), load_template("alpaca"))
    examples = []
    for i, (task, language, texts) in enumerate(TEXTS):
        answer = TEXTS[(i + 1) % len(TEXTS)][2][-1]
        examples.append(renderer.example(make_record(i, task, language, (*texts[:-1], answer))))
    out.mkdir(parents=True, exist_ok=True)
    with one_thread():
        train(
            base,
            examples[:5],
            [examples[5], examples[0]],
            settings,
            out,
            seed=seed,
            base_name="tiny",
            progress=lambda label, done, total: None,
        )


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    # How often a checkpoint is written must not matter.
    fine_tune(taught, out, SETTINGS.model_copy(update={"checkpoint_every": 1000}))
    return out


def test_it_learns(undisturbed: Path) -> None:
    losses = [r["loss"] for r in rows(undisturbed) if "loss" in r]
    assert losses[0] > 2
    assert sum(losses[-3:]) / 3 < 0.75 * sum(losses[:3]) / 3
    validations = {r["step"]: r["validation_loss"] for r in rows(undisturbed) if "validation_loss" in r}
    assert list(validations) == [0, 4, 8, 12, 15]
    assert validations[15] < validations[0]


def test_the_log_tells_what_happened(undisturbed: Path, renderer: Renderer) -> None:
    log = [r for r in rows(undisturbed) if "loss" in r]
    assert [r["step"] for r in log] == list(range(1, STEPS + 1))
    assert [r["epoch"] for r in log[:4]] == [0.3333, 0.6667, 1.0, 1.3333]
    # two steps of warm-up (a tenth of 15, rounded up), then down to just above zero
    assert [r["learning_rate"] for r in log[:4]] == pytest.approx([0.01, 0.02, 0.02, 0.02 * 12 / 13])
    assert log[-1]["learning_rate"] == pytest.approx(0.02 / 13)
    examples = [
        renderer.example(make_record(i, task, lang, (*texts[:-1], TEXTS[(i + 1) % 6][2][-1])))
        for i, (task, lang, texts) in enumerate(TEXTS[:5])
    ]
    for r in log:
        batch = [examples[i] for i in batch_indices(5, 2, r["step"] - 1, 42)]
        assert r["tokens"] == sum(len(e.ids) for e in batch)
        assert r["target_tokens"] == sum(e.targets for e in batch)


def test_what_a_finished_run_leaves(undisturbed: Path) -> None:
    assert {p.name for p in undisturbed.iterdir()} == {WEIGHTS, CONFIG, LOG, RUN}
    run = json.loads((undisturbed / RUN).read_text())
    assert (run["steps"], run["resumed_at"], run["precision"]) == (STEPS, 0, "float32")
    assert json.loads((undisturbed / CONFIG).read_text())["base_model_name_or_path"] == "tiny"


def test_a_killed_run_ends_in_the_same_bytes(taught: Path, undisturbed: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    code = f"from pathlib import Path; from tests.training.test_loop import fine_tune; fine_tune(Path({str(taught)!r}), Path({str(out)!r}))"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not (out / LOG).exists() or '"step": 5,' not in (out / LOG).read_text():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (out / FOLDER / "last.safetensors").exists()
    assert not (out / WEIGHTS).exists()
    with (out / LOG).open("a") as log:
        log.write('{"step": 14, "loss": 0.1}\n{"step": 15, "lo')  # steps that were lost, a line cut short
    fine_tune(taught, out)
    assert json.loads((out / RUN).read_text())["resumed_at"] >= 4
    for name in (WEIGHTS, CONFIG, LOG):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert {p.name for p in out.iterdir()} == {WEIGHTS, CONFIG, LOG, RUN}


def test_another_seed_is_another_run(taught: Path, undisturbed: Path, tmp_path: Path) -> None:
    fine_tune(taught, tmp_path, SETTINGS.model_copy(update={"epochs": 0.5}), seed=43)
    assert rows(tmp_path)[1]["loss"] != rows(undisturbed)[1]["loss"]


def test_packing_does_not_change_what_is_learned(taught: Path, tmp_path: Path) -> None:
    adapters, losses = [], []
    for capacity in (1, 300, 4096):  # each example alone, some together, the whole batch in one pack
        changes = {"micro_batch_tokens": capacity, "lora": Lora(dropout=0), "batch": 4, "epochs": 2}
        fine_tune(taught, tmp_path / str(capacity), SETTINGS.model_copy(update=changes))
        adapters.append(load_file(tmp_path / str(capacity) / WEIGHTS))
        losses.append([r["loss"] for r in rows(tmp_path / str(capacity)) if "loss" in r])
    for loss, adapter in zip(losses[1:], adapters[1:], strict=True):
        assert loss == pytest.approx(losses[0], abs=2e-5)
        for name, tensor in adapter.items():
            torch.testing.assert_close(tensor, adapters[0][name], rtol=0, atol=1e-4)


def test_validation_weighs_tokens_not_examples_or_languages(taught: Path, examples: list[Example]) -> None:
    model = load_model(taught, CPU)
    with torch.no_grad():
        sums = [pack_loss(model, packs_of([e], 4096)[0]).item() for e in examples]
    row = validation_loss(model, examples, 300)
    assert row["validation_loss"] == pytest.approx(
        sum(sums) / sum(e.targets for e in examples), rel=1e-3, abs=2e-6
    )
    for language in ("en", "zh"):
        own = [(s, e.targets) for s, e in zip(sums, examples, strict=True) if e.language == language]
        expected = sum(s for s, _ in own) / sum(n for _, n in own)
        assert row["validation_loss_by"][language] == pytest.approx(expected, rel=1e-3, abs=2e-6)


def test_a_loss_that_is_no_number_stops_the_run(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match=r"no longer finite at optimizer step \d+ of 15") as caught:
        fine_tune(taught, tmp_path, SETTINGS.model_copy(update={"learning_rate": 1e30}))
    assert "learning_rate" in caught.value.remedy
    assert not (tmp_path / WEIGHTS).exists()
    assert all("nan" not in line.lower() for line in (tmp_path / LOG).read_text().splitlines())


SHAPE: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
CONFIGS = {
    "llama": transformers.LlamaConfig(**SHAPE),
    "qwen3": transformers.Qwen3Config(**SHAPE),
    "mistral": transformers.MistralConfig(**SHAPE, sliding_window=6),
    "gemma2 without a bound": transformers.Gemma2Config(
        **SHAPE, attn_logit_softcapping=None, final_logit_softcapping=2.0, sliding_window=6
    ),
    # scaled logits: another head
    "granite": transformers.GraniteConfig(**SHAPE, logits_scaling=8.0),
    "cohere": transformers.CohereConfig(**SHAPE, logit_scale=0.06),
    # bounded scores: another attention
    "gemma2": transformers.Gemma2Config(**SHAPE),
    # ALiBi inside its own attention, which cannot be replaced
    "bloom": transformers.BloomConfig(vocab_size=300, hidden_size=32, n_layer=2, n_head=4),
    # a state that runs on from one example of a pack into the next
    "lfm2": transformers.Lfm2Config(**SHAPE, layer_types=["conv", "full_attention"]),
}
REFUSED = ("granite", "cohere", "gemma2", "bloom", "lfm2")


@pytest.mark.parametrize("name", CONFIGS)
def test_architectures_that_cannot_be_packed_are_refused(name: str) -> None:
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(CONFIGS[name], dtype=torch.float32).eval()
    with torch.no_grad():
        for p in model.parameters():  # as drawn they are so small that every architecture says ln V
            if p.dim() > 1:
                p.mul_(10)
    examples = [
        Example(tuple(range(a, b)), (False,) * 5 + (True,) * (b - a - 5), str(a), "qa", "en")
        for a, b in ((5, 25), (60, 90))
    ]
    if name in REFUSED:
        with pytest.raises(MulmedError, match="This architecture's") as caught:
            use_packed_loss(model, examples)
        assert name in caught.value.where.lower()
    else:
        use_packed_loss(model, examples)
