"""The merge: what is on disk computes what base and adapter compute, or there is no artifact."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mulmed.artifact import read_artifact
from mulmed.corpus.record import Record, Turn
from mulmed.errors import MulmedError
from mulmed.pipeline import Pipeline, Stage
from mulmed.prompts import Example, Renderer, load_template
from mulmed.recipe import Lora
from mulmed.training.lora import CONFIG, WEIGHTS, add_adapters, load_adapter, save_adapter, trainable
from mulmed.training.merge import PROOF, TOLERANCES, compare, merge
from mulmed.training.model import Placement, load_model
from mulmed.training.seal import SEAL, seal, weights_hash
from tests.conftest import TEXTS, make_record

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = Placement(torch.device("cpu"), torch.float32, "cpu")


def silent(label: str, done: int, total: int) -> None:
    del label, done, total


def own_renderer(base: Path) -> Renderer:
    """Merging writes the chat template into the renderer's tokenizer: the tests' shared one stays as it is."""
    return Renderer(AutoTokenizer.from_pretrained(base), load_template("alpaca"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    settings = Lora(r=4, alpha=6, targets=("q_proj", "v_proj", "down_proj"))
    model = load_model(taught, CPU)
    add_adapters(model, settings, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in trainable(model).values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.1)
    save_adapter(model, settings, "taught", folder)
    seal(folder, weights_hash(taught))
    return folder


def trained_on(base: Path, adapter: Path, folder: Path) -> Path:
    """The adapter as if it had been trained on another base."""
    seal(shutil.copytree(adapter, folder), weights_hash(base))
    return folder


@pytest.fixture(scope="module")
def merged(
    tmp_path_factory: pytest.TempPathFactory, taught: Path, adapter: Path, examples: list[Example]
) -> Path:
    out = tmp_path_factory.mktemp("merged")
    merge(taught, adapter, examples, own_renderer(taught), out, progress=silent)
    return out


def test_the_proof_holds_and_says_on_what(merged: Path, examples: list[Example]) -> None:
    proof = json.loads((merged / PROOF).read_text())
    assert proof["holds"] is True
    assert proof["prompts"] == 6
    assert proof["positions"] == sum(len(e.ids) for e in examples)
    assert proof["languages"] == ["en", "zh"]
    assert 0 < proof["max_abs_logit_difference"] < 1e-4 * proof["max_abs_logit"]
    assert proof["argmax_agreement"] == 1
    assert proof["saved_precision"] == "float32"
    assert proof["folding"] is None  # nothing was rounded: the proof itself is as strict
    assert proof["other_tensors"] == []


def test_any_program_can_load_the_merged_folder(
    merged: Path, taught: Path, adapter: Path, examples: list[Example]
) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(merged).eval()
    ours = load_model(taught, CPU).eval()
    base = load_model(taught, CPU).eval()
    load_adapter(ours, adapter)
    with torch.no_grad():
        for example in examples:
            ids = torch.tensor([example.ids])
            torch.testing.assert_close(theirs(ids).logits, ours(ids).logits, rtol=1e-4, atol=1e-4)
            assert (theirs(ids).logits - base(ids).logits).abs().max() > 0.1
    assert {p.suffix for p in merged.iterdir()} == {".json", ".safetensors", ".jinja"}


CONVERSATIONS = [
    *(make_record(i, *text) for i, text in enumerate(TEXTS)),
    Record(
        "t:9:0",
        "instruction",
        "en",
        (Turn("user", "Classify the food."), Turn("assistant", "Fruit.")),
        "t",
        "t.json",
        9,
        context='  Pears, {{ not }} "jinja" and \\n <|im_end|> ',
    ),
]


@pytest.mark.parametrize("record", CONVERSATIONS, ids=lambda r: f"{r.task} {r.language}")
def test_any_server_builds_our_prompt(merged: Path, renderer: Renderer, record: Record) -> None:
    tokenizer = AutoTokenizer.from_pretrained(merged)
    messages = renderer.template.messages(record, with_answer=False)
    if record.context:  # special tokens in a text are ids to a server: ours stay text
        messages[0]["input"] = messages[0]["input"].replace("<|im_end|>", "")
    theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    assert theirs == renderer.prompt(messages)
    assert tokenizer.eos_token_id == renderer.eos_id
    config = json.loads((merged / "generation_config.json").read_text())
    assert config["eos_token_id"] == renderer.eos_id
    assert json.loads((merged / "config.json").read_text())["eos_token_id"] == renderer.eos_id


def test_half_precision_stays_half_precision(
    taught: Path, adapter: Path, examples: list[Example], tmp_path: Path
) -> None:
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(taught, dtype=torch.bfloat16).save_pretrained(base)
    out = tmp_path / "out"
    out.mkdir()
    own = trained_on(base, adapter, tmp_path / "adapter")
    proof = merge(base, own, examples, own_renderer(taught), out, progress=silent)
    assert proof["saved_precision"] == "bfloat16"
    # Rounding of the weights hides nothing: folding is proven before it, to float32.
    assert proof["folding"]["max_abs_logit_difference"] < 1e-4 * proof["folding"]["max_abs_logit"]
    assert proof["max_abs_logit_difference"] > 1e-4 * proof["max_abs_logit"]
    assert {t.dtype for t in load_file(out / "model.safetensors").values()} == {torch.bfloat16}
    before = load_file(base / "model.safetensors")
    for name, tensor in load_file(out / "model.safetensors").items():
        adapted = any(target in name for target in ("q_proj", "v_proj", "down_proj"))
        assert torch.equal(tensor, before[name]) != adapted, name


def scale_one_matrix(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.1.self_attn.q_proj.weight"] *= 1.05


def swap_two_layers(tensors: dict[str, torch.Tensor]) -> None:
    a, b = (f"model.layers.{i}.self_attn.v_proj.weight" for i in (0, 1))
    tensors[a], tensors[b] = tensors[b], tensors[a]


@pytest.mark.parametrize("damage", [scale_one_matrix, swap_two_layers, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_wrong_merge_leaves_no_artifact(
    taught: Path,
    adapter: Path,
    examples: list[Example],
    tmp_path: Path,
    damage: Callable[[dict[str, torch.Tensor]], None] | None,
    dtype: torch.dtype,
) -> None:
    """What is on disk is changed before it is proven: one matrix, the order of layers, no merge at all."""
    base = tmp_path / "base"
    AutoModelForCausalLM.from_pretrained(taught, dtype=dtype).save_pretrained(base)
    own = trained_on(base, adapter, tmp_path / "adapter")
    root = tmp_path / "run"

    def make(out: Path, progress: Callable[[str, int, int], None]) -> None:
        merge(base, own, examples, own_renderer(taught), out, progress=progress)

    def progress(label: str, done: int, total: int) -> None:
        del done, total
        if label == "proving":
            weights = root / "merge-x.partial" / "model.safetensors"
            tensors = load_file(weights if damage else base / "model.safetensors")
            if damage:
                damage(tensors)
            save_file(tensors, weights, metadata={"format": "pt"})

    stage = Stage(name="merge-x", title="", version=1, parents={}, config={}, make=make)
    pipeline = Pipeline(root, [stage])
    with pytest.raises(MulmedError, match="does not compute") as caught:
        pipeline.run(["merge-x"], announce=lambda *_: None, progress=lambda _: progress)
    assert caught.value.where.endswith(PROOF)
    assert json.loads(Path(caught.value.where).read_text())["holds"] is False
    assert read_artifact(root / "merge-x") is None
    assert not (root / "merge-x").exists()
    assert pipeline.status(stage).state != "fresh"


def test_another_bases_adapter_is_refused(
    taught: Path, tiny: Path, examples: list[Example], tmp_path: Path
) -> None:
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(tiny)
    config.num_hidden_layers = 3
    model = AutoModelForCausalLM.from_config(config)
    add_adapters(model, Lora(), seed=1)
    save_adapter(model, Lora(), "deeper", tmp_path)
    seal(tmp_path, weights_hash(taught))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(MulmedError, match="does not belong to this model: 6 tensors differ"):
        merge(taught, tmp_path, examples, own_renderer(taught), out, progress=silent)
    assert list(out.iterdir()) == []


def other_numbers(tensors: dict[str, torch.Tensor]) -> None:
    next(iter(tensors.values()))[0, 0] += 1e-3


@pytest.mark.parametrize("changed", ["adapter", "settings", "base", "configuration", "seal"])
def test_what_is_not_as_training_left_it_is_not_merged(
    taught: Path, adapter: Path, examples: list[Example], tmp_path: Path, changed: str
) -> None:
    """A number in a thousand, changed in place: names, shapes and sizes of the files stay."""
    base, mine = shutil.copytree(taught, tmp_path / "base"), shutil.copytree(adapter, tmp_path / "adapter")
    message, where = "not the one that training wrote", str(mine)
    if changed in ("adapter", "base"):
        file = mine / WEIGHTS if changed == "adapter" else base / "model.safetensors"
        tensors = load_file(file)
        other_numbers(tensors)
        save_file(tensors, file, metadata={"format": "pt"})
    elif changed == "settings":  # twice the scale, and nothing else would tell
        text = (mine / CONFIG).read_text()
        (mine / CONFIG).write_text(text.replace('"lora_alpha": 6.0', '"lora_alpha": 9.0'))
        assert (mine / CONFIG).read_text() != text
    elif changed == "configuration":
        config = json.loads((base / "config.json").read_text())
        config["rope_parameters"]["rope_theta"] *= 2
        (base / "config.json").write_text(json.dumps(config))
    else:
        (mine / SEAL).unlink()
        message, where = "does not say on which base", str(mine / SEAL)
    if changed in ("base", "configuration"):
        message, where = "trained on another base", str(base)
    with pytest.raises(MulmedError, match=message) as caught:
        merge(base, mine, examples, own_renderer(taught), tmp_path / "out", progress=silent)
    assert caught.value.where.startswith(where)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("more", [0, 7])
def test_tied_embeddings_and_resized_vocabularies_stay_as_they_are(
    taught: Path, examples: list[Example], tmp_path: Path, tied: bool, more: int
) -> None:
    """``more`` words than the tokenizer has, as when a vocabulary was padded or extended."""
    base, adapter, out = (tmp_path / name for name in ("base", "adapter", "out"))
    model = AutoModelForCausalLM.from_pretrained(taught)
    words = model.config.vocab_size + more
    model.resize_token_embeddings(words, mean_resizing=False)
    if not tied:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight * 0.9)
        model.config.tie_word_embeddings = False
    model.save_pretrained(base)
    settings = Lora(dora=True, rslora=True)
    ours = load_model(base, CPU)
    add_adapters(ours, settings, seed=1)
    with torch.no_grad():
        for p in trainable(ours).values():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(2)) * 0.1)
    adapter.mkdir()
    save_adapter(ours, settings, "base", adapter)
    seal(adapter, weights_hash(base))
    proof = merge(base, adapter, examples, own_renderer(taught), out, progress=silent)
    assert proof["holds"] is True
    before, after = load_file(base / "model.safetensors"), load_file(out / "model.safetensors")
    assert before.keys() == after.keys()
    assert ("lm_head.weight" in after) == (not tied)
    for name, tensor in after.items():
        adapted = any(target in name for target in settings.targets)
        assert torch.equal(tensor, before[name]) != adapted, name
    assert after["model.embed_tokens.weight"].shape[0] == words
    config = json.loads((out / "config.json").read_text())
    assert (config["vocab_size"], config["tie_word_embeddings"]) == (words, tied)
    ours.eval()
    theirs = AutoModelForCausalLM.from_pretrained(out).eval()
    assert (theirs.lm_head.weight is theirs.model.embed_tokens.weight) == tied
    ids = torch.tensor([examples[0].ids])
    with torch.no_grad():
        torch.testing.assert_close(theirs(ids).logits, ours(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_merge_without_a_held_out_example_is_refused(taught: Path, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="no held-out example"):
        merge(taught, adapter, [], own_renderer(taught), tmp_path, progress=silent)


def test_compared_numbers() -> None:
    expected = [torch.tensor([[0.0, 0.0], [2.0, -4.0]]), torch.tensor([[1.0, 0.0]])]
    actual = [torch.tensor([[0.0, 0.5], [2.0, -4.0]]), torch.tensor([[1.0, 0.0]])]
    proof: dict[str, Any] = compare(expected, actual, TOLERANCES[torch.bfloat16])
    assert proof["positions"] == 3
    assert proof["max_abs_logit"] == 4
    assert proof["max_abs_logit_difference"] == 0.5
    # KL of (1/2, 1/2) from softmax(0, 0.5) = (0.37754, 0.62246), over three positions
    assert proof["mean_kl"] == pytest.approx(0.030943 / 3, abs=1e-5)
    # of the two equal logits the first is the most likely: one position of three disagrees
    assert proof["argmax_agreement"] == pytest.approx(2 / 3)
    assert proof["holds"] is False
    assert compare(expected, expected, TOLERANCES[torch.float32])["holds"] is True
    # a model that computes nothing at all
    assert compare(expected, [t * torch.nan for t in expected], TOLERANCES[torch.float32])["holds"] is False
