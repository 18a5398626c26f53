"""The GGUF of a merged model: read back by others it is the same model, and it is there whole or not at all."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from mulmed.base.embedded import identity
from mulmed.cli import main
from mulmed.errors import MulmedError
from mulmed.export.gguf import export_gguf
from mulmed.export.tensors import Precision, encode, encoding
from mulmed.prompts import Renderer
from mulmed.training.merge import TOLERANCES, compare
from tests.conftest import Small
from tests.export.conftest import Exported
from tests.export.errors import largest_error
from tests.export.merges import PROMPTS, TEMPLATE, make_merged

pytestmark = pytest.mark.usefixtures("single_thread")


def expected(exported: Exported) -> list[torch.Tensor]:
    return logits(AutoModelForCausalLM.from_pretrained(exported.merged), exported.renderer)


def logits(model: Any, renderer: Renderer) -> list[torch.Tensor]:
    """Of one English and one Chinese prompt."""
    with torch.inference_mode():
        return [model.eval()(torch.tensor([renderer.prompt(p)])).logits[0].float() for p in PROMPTS[:2]]


def read_back(path: Path) -> Any:
    """transformers' own reading of a GGUF file, in float32."""
    return AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)


def fields(path: Path) -> dict[str, Any]:
    return {
        f.name: f.contents()
        for f in gguf.GGUFReader(path).fields.values()
        if f.types[0] != gguf.GGUFValueType.ARRAY or len(f.data) < 9
    }


# --- what it computes --------------------------------------------------------------------------------


def test_transformers_reads_back_the_same_model(exported: Exported) -> None:
    model = read_back(exported.file)
    ours, base = (load_file(f / "model.safetensors") for f in (exported.merged, exported.small.converted))
    theirs = model.state_dict()
    for name, tensor in ours.items():
        if "norm" in name:  # of Gemma: 1 was put on and is taken off again
            torch.testing.assert_close(theirs[name], tensor, rtol=2**-22, atol=2**-22)
        else:
            assert torch.equal(theirs[name], tensor), name
        assert not torch.equal(theirs[name], base[name]), name
    compared = compare(expected(exported), logits(model, exported.renderer), TOLERANCES[torch.float32])
    assert compared["holds"]


@pytest.mark.parametrize("precision", ["f16", "q8_0"])
def test_less_precision_is_rounding_and_nothing_else(
    exported: Exported,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    precision: Precision,
) -> None:
    out = tmp_path / "small.gguf"
    arguments = ["export", str(exported.merged), "--out", str(out), "--precision", precision]
    monkeypatch.setattr(sys, "argv", ["mulmed", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert str(out.with_name("Modelfile")) in printed
    bits = {"f16": 16, "q8_0": 8.5}[precision]
    sizes = [
        sum(int(t.n_bytes) for t in gguf.GGUFReader(f).tensors if "norm" not in t.name)
        for f in (out, exported.file)
    ]
    assert sizes[0] / sizes[1] == bits / 32
    kinds = {t.name: t.tensor_type.name for t in gguf.GGUFReader(out).tensors}
    assert {kind for name, kind in kinds.items() if "norm" in name} == {"F32"}
    assert {kind for name, kind in kinds.items() if "norm" not in name} == {precision.upper()}
    assert fields(out)["general.file_type"] == {"f16": 1, "q8_0": 7}[precision]
    # Every weight is where rounding puts it.
    theirs = read_back(out).state_dict()
    for name, tensor in load_file(exported.merged / "model.safetensors").items():
        weights = tensor.numpy()
        error = np.abs(theirs[name].numpy().astype(np.float64) - weights)
        allowed = 2**-22 if weights.ndim == 1 else largest_error(weights, encoding(weights.shape, precision))
        assert (error <= allowed).all(), name


# --- what it says ------------------------------------------------------------------------------------


def test_metadata_is_the_bases_with_ours_in_its_place(llama: Exported) -> None:
    written = fields(llama.file)
    assert written["general.architecture"] == "llama"
    assert written["llama.rope.freq_base"] == 10_000
    assert written["llama.context_length"] == 1024
    assert written["tokenizer.ggml.pre"] == "gpt-2"  # the base's own file says smollm
    assert written["general.file_type"] == 0
    assert written["general.name"] == "Small llama, fine-tuned by MulMed (step)"
    assert written["general.license"] == "cc0-1.0"
    assert written["general.license.name"] == "CC0-1.0"
    assert "Random numbers, CC0." in written["general.description"]
    assert "modified version" in written["general.description"]
    assert "general.organization" not in written
    assert written["general.base_model.count"] == 1
    assert written["general.base_model.0.name"] == "Small llama"
    assert written["general.languages"] == ["en", "zh"]
    assert written["tokenizer.ggml.eos_token_id"] == llama.renderer.eos_id
    assert written["tokenizer.ggml.add_bos_token"] is False
    assert written["tokenizer.ggml.add_eos_token"] is False
    assert written["tokenizer.chat_template"] == llama.renderer.chat_template
    assert written["mulmed.template"] == TEMPLATE.sha256


def test_gemma_begins_with_its_token(gemma3: Exported) -> None:
    written = fields(gemma3.file)
    assert written["tokenizer.ggml.add_bos_token"] is True
    assert written["tokenizer.ggml.bos_token_id"] == gemma3.renderer.bos_id
    assert written["tokenizer.ggml.eos_token_id"] == gemma3.renderer.eos_id
    assert written["tokenizer.ggml.pre"] == "default"
    assert written["tokenizer.chat_template"] == gemma3.renderer.chat_template


def test_its_tokenizer_builds_our_prompts(exported: Exported) -> None:
    tokenizer = AutoTokenizer.from_pretrained(exported.file.parent, gguf_file=exported.file.name)
    for messages in PROMPTS:
        theirs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        assert theirs == exported.renderer.prompt(messages)


# --- refusals, and interruptions -----------------------------------------------------------------------


def refused(folder: Path, out: Path, match: str, precision: Any = "f32") -> MulmedError:
    with pytest.raises(MulmedError, match=match) as caught:
        export_gguf(folder, out, precision)
    assert not out.parent.exists() or list(out.parent.iterdir()) == []
    return caught.value


def test_a_changed_folder_is_refused(small_llama: Small, tmp_path: Path) -> None:
    folder = make_merged(tmp_path / "m", identity(small_llama.base), small_llama.taught, small_llama.renderer)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    refused(folder, tmp_path / "out" / "x.gguf", r"changed since the merge was proven: model\.safetensors")


def test_a_folder_that_is_no_merge_is_refused(small_llama: Small, tmp_path: Path) -> None:
    for folder in (small_llama.converted, small_llama.taught, tmp_path / "nowhere"):
        error = refused(folder, tmp_path / "out" / "x.gguf", "not a finished merge")
        assert f"convert_hf_to_gguf.py {folder} " in error.remedy


def test_another_base_is_left_to_llama_cpp(small_llama: Small, tmp_path: Path) -> None:
    folder = make_merged(tmp_path / "m", "0123", small_llama.taught, small_llama.renderer)
    error = refused(folder, tmp_path / "out" / "x.gguf", "base is not an embedded one")
    assert f"python convert_hf_to_gguf.py {folder} --outfile MODEL.gguf" in error.remedy


def test_another_template_is_refused(small_llama: Small, tmp_path: Path) -> None:
    base = identity(small_llama.base)
    folder = make_merged(tmp_path / "m", base, small_llama.taught, small_llama.renderer, template="0" * 64)
    refused(folder, tmp_path / "out" / "x.gguf", "prompt template that this version does not have")


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"model_type": "gemma3_text"}, "it is a 'gemma3_text' model, the base 'llama'"),
        ({"model_type": "mamba"}, "it is a 'mamba' model, the base 'llama'"),
        ({"num_hidden_layers": 1}, "9 tensors are only in one of them, the first is blk.1.attn_k.weight"),
        ({"hidden_size": 32}, r"embed_tokens.weight has the shape \(698, 32\), in the base \(698, 64\)"),
    ],
)
def test_another_architecture_or_shape_is_refused(
    small_llama: Small, tmp_path: Path, settings: dict[str, Any], match: str
) -> None:
    other = shutil.copytree(small_llama.taught, tmp_path / "other")
    config = AutoConfig.from_pretrained(other)
    for key in settings.keys() - {"model_type"}:
        setattr(config, key, settings[key])
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(other)
    written = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(written | settings))
    folder = make_merged(tmp_path / "m", identity(small_llama.base), other, small_llama.renderer)
    refused(folder, tmp_path / "out" / "x.gguf", match)


def words_of_our_own(tokenizer: dict[str, Any]) -> None:
    tokenizer["model"]["vocab"] |= {"cough": 698, "fever": 699}


def other_cutting(tokenizer: dict[str, Any]) -> None:
    tokenizer["pre_tokenizer"]["add_prefix_space"] = True


def the_publishers_cutting(tokenizer: dict[str, Any]) -> None:
    digits = {"type": "Digits", "individual_digits": True}
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, tokenizer["pre_tokenizer"]]}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (words_of_our_own, "their vocabularies differ"),
        (other_cutting, "cuts words by a rule that has no name there"),
        (the_publishers_cutting, None),
    ],
)
def test_the_tokenizer_is_told_or_refused(
    small_llama: Small, tmp_path: Path, change: Callable[[dict[str, Any]], None], match: str | None
) -> None:
    other = shutil.copytree(small_llama.taught, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    change(tokenizer)
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    base = small_llama.base
    folder = make_merged(tmp_path / "m", identity(base), other, small_llama.renderer)
    if match:
        refused(folder, tmp_path / "out" / "x.gguf", match)
    else:
        export_gguf(folder, tmp_path / "out" / "x.gguf")
        assert fields(tmp_path / "out" / "x.gguf")["tokenizer.ggml.pre"] == "smollm"


def test_another_ending_is_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "m", tmp_path / "out" / "model.bin", "has another")
    assert error.remedy == "Call it model.gguf."


def test_a_full_disk_leaves_the_last_good_file(llama: Exported, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    out.write_bytes(b"the last good one")
    source, whole = llama.small.base.gguf_bytes, llama.file.stat().st_size
    assert source < whole - 1000
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (whole - 1000, limits[1]))
    try:
        with pytest.raises(MulmedError, match="Writing failed") as caught:
            export_gguf(llama.merged, out, "f32")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "choose another folder with --out" in caught.value.remedy
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.ENOSPC, errno.EFBIG)
    assert out.read_bytes() == b"the last good one"
    assert [p.name for p in tmp_path.iterdir()] == ["model.gguf"]


def export_until_killed(merged: Path, out: Path) -> None:
    """In a process of its own: SIGKILL before the ninth of twenty tensors."""
    written = []

    def dies(*arguments: Any) -> Any:
        written.append(0)
        if len(written) == 9:
            os.kill(os.getpid(), signal.SIGKILL)
        return encode(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mulmed.export.gguf.encode", dies)
        export_gguf(merged, out, "f32")


def test_killed_halfway_it_leaves_nothing_that_looks_whole(llama: Exported, tmp_path: Path) -> None:
    out = tmp_path / "model.gguf"
    process = multiprocessing.get_context("fork").Process(
        target=export_until_killed, args=(llama.merged, out)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert [p.name for p in tmp_path.iterdir()] == ["model.gguf.partial"]
    export_gguf(llama.merged, out, "f32")
    assert out.read_bytes() == llama.file.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["Modelfile", "model.gguf"]
