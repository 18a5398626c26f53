"""From the recipe's ``base:`` to a checked model folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mulmed.artifact import FileHashes, hash_json
from mulmed.base.embedded import EMBEDDED, convert_embedded, embedded_folder, identity
from mulmed.errors import MulmedError

#: Files that decide what a model computes. Pickles are refused, so they are not in this list.
MODEL_FILES = ("*.safetensors", "*.json", "*.jinja", "tokenizer.model", "*.txt")


@dataclass(frozen=True, slots=True)
class Base:
    """A base model that is at hand.

    Attributes:
        name: as the recipe calls it.
        folder: Hugging Face layout with safetensors.
        content: what decides its bytes: the pinned package, or a hash over its files' names and hashes.
        licence: short licence name when known.
        notice: what the licence wants said.
    """

    name: str
    folder: Path
    content: str
    licence: str
    notice: str


def resolve_base(name: str, revision: str | None, hashes: FileHashes, *, tell: Callable[[str], None]) -> Base:
    """The base model called ``name`` in a recipe, found and checked but not yet converted.

    An existing folder is checked. Anything of the form ``owner/model`` is looked up in the Hugging Face
    cache and, because the recipe names it, fetched from the hub when it is not there.

    Raises:
        MulmedError: there is no such model, or its folder holds pickles or asks for remote code.
    """
    if name in EMBEDDED:
        base = EMBEDDED[name]
        return Base(name, embedded_folder(base), identity(base), base.licence, base.notice)
    folder = Path(name).expanduser()
    if not folder.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise MulmedError(
                f"There is no base model {name!r}.",
                where=f"base: {name}",
                remedy=f"Name an embedded base ({', '.join(EMBEDDED)}), an existing Hugging Face folder, "
                "or a model of the hub as owner/model.",
            )
        folder = _hub_folder(name, revision, tell)
    check_folder(folder)
    files = sorted({p for pattern in MODEL_FILES for p in folder.glob(pattern) if p.is_file()})
    content = hash_json({p.name: hashes(p) for p in files})
    return Base(name, folder.resolve(), content, "", "")


def prepare_base(base: Base, tell: Callable[[str], None]) -> None:
    """Convert an embedded base if that has not been done yet; nothing to do for others."""
    if base.name in EMBEDDED:
        convert_embedded(EMBEDDED[base.name], tell)


def check_folder(folder: Path) -> None:
    """Refuse a model folder that could run code, or that is not whole.

    Raises:
        MulmedError: no ``config.json``, no safetensors, pickled weights, or remote code.
    """
    config = folder / "config.json"
    if not config.is_file():
        raise MulmedError(
            "The model folder has no config.json.",
            where=str(folder),
            remedy="Point `base:` at a folder in the Hugging Face layout.",
        )
    try:
        settings = json.loads(config.read_text(encoding="utf-8"))
    except ValueError as error:
        raise MulmedError(
            "The model's config.json is not valid JSON.", where=str(config), remedy=str(error)
        ) from error
    if "auto_map" in settings:
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
    for index in folder.glob("*.safetensors.index.json"):
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
        missing = sorted(s for s in shards if not (folder / s).is_file())
        if missing:
            raise MulmedError(
                f"The model folder lacks {len(missing)} of its {len(shards)} weight files.",
                where=f"{folder}: {missing[0]}",
                remedy="Fetch the missing files.",
            )


def _hub_folder(name: str, revision: str | None, tell: Callable[[str], None]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    if revision is None:
        raise MulmedError(
            "A model of the hub needs a pinned revision, so that a run can be repeated.",
            where=f"base: {name}",
            remedy="Set base_revision to a commit hash, or base to a local folder.",
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
            where=f"base: {name}, base_revision: {revision}",
            remedy="Check name, revision and network, or fetch it elsewhere and name its folder.",
        ) from error


def count_parameters(folder: Path) -> int:
    """Number of weights in a folder's safetensors, from their headers alone."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        total += sum(math.prod(t["shape"]) for name, t in header.items() if name != "__metadata__")
    return total
