"""From the recipe's ``base:`` to a checked model folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mulmed.artifact import FileHashes, hash_json
from mulmed.base.embedded import EMBEDDED, convert_embedded, embedded_folder, identity
from mulmed.errors import MulmedError

#: Files that decide what a model computes. Pickles are refused, so they are not in this list.
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt")
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt")


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that is at hand.

    Attributes:
        name: as the recipe calls it.
        folder: Hugging Face layout with safetensors.
        label: what to call it in files that others read: never a place on this machine.
        content: what decides its bytes: the pinned package, or a hash over its files' names and hashes.
        licence: short licence name when known.
        notice: what the licence wants said.
    """

    name: str
    folder: Path
    label: str
    content: str
    licence: str
    notice: str


def resolve_base(
    name: str,
    revision: str | None,
    hashes: FileHashes,
    *,
    tell: Callable[[str], None],
    key: str = "base",
) -> Base:
    """The base model called ``name`` in a recipe, found and checked but not yet converted.

    An existing folder is checked. Anything of the form ``owner/model`` is looked up in the Hugging Face
    cache and, because the recipe names it, fetched from the hub when it is not there. ``key`` is the recipe's
    that names it, for messages.

    Raises:
        MulmedError: there is no such model, or its folder holds pickles or asks for remote code.
    """
    if name in EMBEDDED:
        base = EMBEDDED[name]
        return Base(name, embedded_folder(base), name, identity(base), base.licence, base.notice)
    folder = Path(name).expanduser()
    label = folder.resolve().name
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise MulmedError(
                f"There is no base model {name!r}.",
                where=f"{key}: {name}",
                remedy=f"Name an embedded base ({', '.join(EMBEDDED)}), an existing Hugging Face folder, "
                "or a model of the hub as owner/model.",
            )
        folder = _hub_folder(name, revision, tell, key)
        label = name
    check_folder(folder)
    files = sorted({p for pattern in MODEL_FILES for p in folder.glob(pattern) if p.is_file()})
    content = hash_json({p.name: hashes(p) for p in files})
    return Base(name, folder.resolve(), label, content, "", "")


def prepare_base(base: Base, tell: Callable[[str], None]) -> None:
    """Convert an embedded base if that has not been done yet; nothing to do for others."""
    if base.name in EMBEDDED:
        convert_embedded(EMBEDDED[base.name], tell)


def check_folder(folder: Path) -> None:
    """Refuse a model folder that could run code, or that is not whole.

    Raises:
        MulmedError: no ``config.json``, tokenizer or safetensors, a file that was cut short, pickled weights,
            or remote code.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise MulmedError(
            "The model folder has no config.json.",
            where=str(folder),
            remedy="Point `base:` at a folder in the Hugging Face layout.",
        )
    if "auto_map" in _read_json(config):
        raise MulmedError(
            "The model wants to run code of its own (auto_map in config.json); MulMed never does that.",
            where=str(config),
            remedy="Use a model whose architecture transformers knows itself.",
        )
    if not any(folder.glob("*.safetensors")):
        pickles = [p.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(pattern)]
        what = f"only pickled weights ({pickles[0]})" if pickles else "no weights"
        raise MulmedError(
            f"The model folder holds {what}; pickles can run code when they are read, and are refused.",
            where=str(folder),
            remedy="Convert it to safetensors on a machine you can afford to lose, or fetch the "
            "safetensors version.",
        )
    if not any((folder / name).is_file() for name in TOKENIZERS):
        raise MulmedError(
            "The model folder has no tokenizer.",
            where=str(folder),
            remedy=f"Put the model's own beside its weights: {', '.join(TOKENIZERS)}.",
        )
    for weights in folder.glob("*.safetensors"):
        _read_header(weights)
    for index in folder.glob("*.safetensors.index.json"):
        shards = set(_read_json(index).get("weight_map", {}).values())
        missing = sorted(s for s in shards if not (folder / s).is_file())
        if missing:
            raise MulmedError(
                f"The model folder lacks {len(missing)} of its {len(shards)} weight files.",
                where=f"{folder}: {missing[0]}",
                remedy="Fetch the missing files.",
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise ValueError("it holds no object")
    except ValueError as error:
        raise MulmedError(
            f"The model's {path.name} is not valid JSON: {error}.",
            where=str(path),
            remedy="Fetch the file again.",
        ) from error
    return settings


def _read_header(path: Path) -> dict[str, Any]:
    """Tensor names, shapes and places of a safetensors file, which must be as long as they say."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 0 < length <= size - 8:
                raise ValueError("its header is longer than the file")
            header: dict[str, Any] = json.loads(file.read(length))
        header.pop("__metadata__", None)
        if 8 + length + max((t["data_offsets"][1] for t in header.values()), default=0) != size:
            raise ValueError("its tensors end elsewhere than the file")
    except (ValueError, KeyError, TypeError) as error:
        raise MulmedError(
            f"This is not a whole safetensors file ({size:,} bytes): {error}.",
            where=str(path),
            remedy="Fetch the file again; with git, its large files as well (git lfs pull).",
        ) from error
    return header


def _hub_folder(name: str, revision: str | None, tell: Callable[[str], None], key: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if revision is None:
        raise MulmedError(
            "A model of the hub needs a pinned revision, so that a run can be repeated.",
            where=f"{key}: {name}",
            remedy="Set its revision (base_revision; elsewhere `revision` beside it) to a commit hash, or name a local folder.",
        )
    patterns = list(MODEL_FILES)
    try:
        return Path(
            snapshot_download(name, revision=revision, allow_patterns=patterns, local_files_only=True)
        )
    except LocalEntryNotFoundError:
        tell(f"Fetching {name} at {revision} from the Hugging Face hub, as the recipe asks.")
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise MulmedError(
            f"The hub did not give {name}: {type(error).__name__}.",
            where=f"{key}: {name}, revision: {revision}",
            remedy="Check name, revision and network, or fetch it elsewhere and name its folder.",
        ) from error


def count_parameters(folder: Path) -> int:
    """Number of weights in a folder's safetensors, from their headers alone."""
    headers = (_read_header(path) for path in folder.glob("*.safetensors"))
    return sum(math.prod(tensor["shape"]) for header in headers for tensor in header.values())
