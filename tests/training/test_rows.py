"""New tokens' rows: peft's loss, gradients and files, tied or not; all other rows as they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from mulmed.prompts import Example, Renderer, load_template
from mulmed.prompts.vocabulary import Vocabulary, extend_tokenizer, learn_vocabulary
from mulmed.recipe import Lora, Step
from mulmed.training.grow import grow_model
from mulmed.training.loop import train
from mulmed.training.lora import CONFIG, WEIGHTS, add_adapters, load_adapter, save_adapter, trainable
from mulmed.training.loss import pack_loss
from mulmed.training.merge import merge
from mulmed.training.model import Placement, load_model, use_packed_loss
from mulmed.training.packing import packs_of
from mulmed.training.rows import add_token_rows, fold_token_rows
from tests.conftest import TEXTS, make_record
from tests.prompts.test_vocabulary import LEARNED
from tests.training.test_parity import peft_loss_and_gradients, relative

pytestmark = pytest.mark.usefixtures("single_thread")
WIDE = Placement(torch.device("cpu"), torch.float64, "cpu")
CPU = Placement(torch.device("cpu"), torch.float32, "cpu")
SETTINGS = Lora(r=2, dropout=0.0)


class Grown:
    """A tiny base with tied or untied weights whose tokenizer has learned Chinese."""

    def __init__(self, tied: bool, tiny: Path, tokenizer: Any, folder: Path) -> None:
        config = AutoConfig.from_pretrained(tiny)
        config.tie_word_embeddings = tied
        torch.manual_seed(3)
        self.tied, self.base, self.folder = tied, folder / "base", folder / "grown"
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(self.base)
        tokenizer.save_pretrained(self.base)
        self.vocabulary: Vocabulary = learn_vocabulary(tokenizer, LEARNED, 30)
        extended = extend_tokenizer(tokenizer, self.vocabulary)
        grow_model(self.base, self.vocabulary, extended, self.folder)
        self.renderer = Renderer(extended, load_template("alpaca"))
        self.examples: list[Example] = [
            self.renderer.example(make_record(i, *text)) for i, text in enumerate(TEXTS)
        ]
        used = {id_ for e in self.examples for id_ in e.ids}
        assert used & set(self.vocabulary.ids)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def grown(
    request: pytest.FixtureRequest,
    tiny: Path,
    smollm_tokenizer: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Grown:
    return Grown(request.param, tiny, smollm_tokenizer, tmp_path_factory.mktemp("grown"))


def disturbed(model: Any) -> None:
    """Adapters and rows as after some training."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for p in trainable(model).values():
            p += torch.randn(p.shape, generator=generator, dtype=p.dtype) * 0.05


def test_a_new_token_begins_as_the_mean_of_its_pieces(grown: Grown) -> None:
    old, new = (load_file(folder / "model.safetensors") for folder in (grown.base, grown.folder))
    assert json.loads((grown.folder / "config.json").read_text())["vocab_size"] == grown.vocabulary.ids.stop
    assert ("lm_head.weight" in new) is not grown.tied
    for name, tensor in old.items():
        assert torch.equal(new[name][: len(tensor)], tensor), name
        if len(new[name]) != len(tensor):
            assert name in ("model.embed_tokens.weight", "lm_head.weight")
            for id_, pieces in zip(grown.vocabulary.ids, grown.vocabulary.pieces, strict=True):
                mean = sum(tensor[p] for p in pieces) / len(pieces)
                torch.testing.assert_close(new[name][id_], mean)


def test_half_precision_stays_half_precision(grown: Grown, tmp_path: Path) -> None:
    AutoModelForCausalLM.from_pretrained(grown.base, dtype=torch.bfloat16).save_pretrained(tmp_path / "half")
    grow_model(tmp_path / "half", grown.vocabulary, grown.renderer.tokenizer, tmp_path / "out")
    assert {t.dtype for t in load_file(tmp_path / "out" / "model.safetensors").values()} == {torch.bfloat16}


def test_loss_and_gradients_equal_peft(grown: Grown, tmp_path: Path) -> None:
    """peft reads the adapter's own files, `trainable_token_indices` included."""
    model = load_model(grown.folder, WIDE)
    use_packed_loss(model, grown.examples[:2])
    add_adapters(model, SETTINGS, seed=1)
    add_token_rows(model, grown.vocabulary.ids)
    model.to(torch.float64)
    disturbed(model)
    save_adapter(model, SETTINGS, "base", tmp_path)
    total = sum(e.targets for e in grown.examples)
    loss = 0.0
    for pack in packs_of(grown.examples, 200):
        part = pack_loss(model, pack) / total
        part.backward()
        loss += part.item()
    expected_loss, expected = peft_loss_and_gradients(grown.folder, tmp_path, grown.examples, torch.float64)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    ours = trainable(model)
    assert len(ours) == 12 + (1 if grown.tied else 2)
    assert ours.keys() == expected.keys()
    for name, parameter in ours.items():
        assert parameter.grad is not None
        assert relative(parameter.grad, expected[name]) < 1e-9, name


def test_only_the_new_rows_are_folded(grown: Grown) -> None:
    model = load_model(grown.folder, CPU)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    add_adapters(model, SETTINGS, seed=1)
    add_token_rows(model, grown.vocabulary.ids)
    disturbed(model)
    ids = torch.tensor([grown.examples[1].ids])
    with torch.no_grad():
        expected = model(ids).logits
        fold_token_rows(model)
        torch.testing.assert_close(model(ids).logits, expected)
    ids_new = grown.vocabulary.ids
    matrices = {"model.embed_tokens.weight", "lm_head.weight"}
    for name, tensor in model.state_dict().items():
        if name in matrices:
            assert torch.equal(tensor[: ids_new.start], before[name][: ids_new.start])
            assert (tensor[ids_new.start :] != before[name][ids_new.start :]).any(-1).all()
        elif name in before:
            assert torch.equal(tensor, before[name])
    assert (model.lm_head.weight is model.model.embed_tokens.weight) is grown.tied


def test_trained_saved_merged(grown: Grown, tmp_path: Path) -> None:
    """The whole way: rows of tokens in the texts move, the merge is proven, the folder is a plain model."""
    adapter, out = tmp_path / "adapter", tmp_path / "out"
    for folder in (adapter, out):
        folder.mkdir()
    settings = Step(parent="base", sources=("t",), epochs=4, batch=3, learning_rate=5e-2, lora=SETTINGS)
    train(
        grown.folder,
        grown.examples,
        grown.examples,
        settings,
        adapter,
        seed=1,
        base_name="grown",
        new_tokens=grown.vocabulary.ids,
        progress=lambda *_: None,
    )
    log = [json.loads(line) for line in (adapter / "log.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in log if "validation_loss" in row]
    assert losses[-1] < losses[0] - 0.2
    config = json.loads((adapter / CONFIG).read_text())
    layers = {"embed_tokens"} if grown.tied else {"embed_tokens", "lm_head"}
    assert config["trainable_token_indices"] == {layer: list(grown.vocabulary.ids) for layer in layers}
    rows = load_file(adapter / WEIGHTS)[
        "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
    ]
    start = load_file(grown.folder / "model.safetensors")["model.embed_tokens.weight"][
        grown.vocabulary.first :
    ]
    used = {id_ for e in grown.examples for id_ in e.ids}
    moved = (rows != start).any(-1).tolist()
    for id_, has_moved in zip(grown.vocabulary.ids, moved, strict=True):
        # A tied row is also an answer that might have been given, and is pushed away from.
        assert has_moved == (grown.tied or id_ in used)
    proof = merge(grown.folder, adapter, grown.examples, grown.renderer, out, progress=lambda *_: None)
    assert proof["holds"]
    ours = load_model(grown.folder, CPU).eval()
    load_adapter(ours, adapter)
    theirs = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(grown.folder), adapter
    ).eval()
    merged = AutoModelForCausalLM.from_pretrained(out).eval()
    assert (
        AutoTokenizer.from_pretrained(out)("头痛发烧")["input_ids"]
        == grown.renderer.tokenizer("头痛发烧")["input_ids"]
    )
    with torch.no_grad():
        ids = torch.tensor([grown.examples[1].ids])
        torch.testing.assert_close(merged(ids).logits, ours(ids).logits, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(merged(ids).logits, theirs(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.model
def test_a_scaled_embedding_scales_new_rows_too(gemma: Path) -> None:
    """Gemma multiplies what it looks up by the root of the hidden size."""
    model = load_model(gemma, CPU)
    ids = torch.tensor([[2, 9259, 236764, 1902, 9259]])
    with torch.no_grad():
        expected = model(ids).logits
        model.requires_grad_(False)
        add_token_rows(model, range(9250, 9270))
        torch.testing.assert_close(model(ids).logits, expected)
        model.get_input_embeddings().rows[9] = 0
        assert (model(ids).logits - expected).abs().max() > 0.1


def test_padding_rows_are_trained_like_others() -> None:
    """An embedding drops the gradient of its padding token's row; the new rows have numbers of their own."""
    base = torch.nn.Embedding(6, 3, padding_idx=0)

    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.head = base, torch.nn.Linear(3, 6, bias=True)

        def get_input_embeddings(self) -> Any:
            return self.embedding

        def get_output_embeddings(self) -> Any:
            return self.head

        def set_input_embeddings(self, layer: Any) -> None:
            self.embedding = layer

        def set_output_embeddings(self, layer: Any) -> None:
            self.head = layer

    model = Model().requires_grad_(False)
    plain = model.head(base.weight)
    add_token_rows(model, range(4, 6))
    hidden = model.embedding(torch.tensor([0, 1, 2, 3, 4, 5]))
    assert torch.equal(hidden.detach(), base.weight)
    torch.testing.assert_close(model.head(hidden).detach(), plain)
    hidden.sum().backward()
    assert torch.equal(model.embedding.rows.grad, torch.ones(2, 3))
