"""What an adapter was trained on, and that neither it nor its base has changed since."""

from __future__ import annotations

import json
from pathlib import Path

from mulmed.artifact import hash_file, hash_json, write_json
from mulmed.errors import MulmedError
from mulmed.training.lora import CONFIG, WEIGHTS

SEAL = "seal.json"


def weights_hash(folder: Path) -> str:
    """Hash of a model's configuration and weights: what decides its numbers."""
    files = (folder / "config.json", *sorted(folder.glob("*.safetensors")))
    return hash_json({file.name: hash_file(file) for file in files})


def seal(adapter: Path, base: str) -> None:
    """Write the hashes of an adapter's files, and of the base they were trained on, beside them."""
    files = {name: hash_file(adapter / name) for name in (CONFIG, WEIGHTS)}
    write_json(adapter / SEAL, {"base": base, "files": files})


def check_seal(adapter: Path, base: Path) -> None:
    """Make sure that an adapter is as training left it, and that ``base`` is the model it was trained on.

    Raises:
        MulmedError: it is not, or nobody knows.
    """
    try:
        sealed = json.loads((adapter / SEAL).read_text(encoding="utf-8"))
        known = sealed["base"], sealed["files"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MulmedError(
            "The adapter does not say on which base it was trained.",
            where=str(adapter / SEAL),
            remedy="Delete the adapter's folder and train it again.",
        ) from error
    for name in (CONFIG, WEIGHTS):
        if known[1].get(name) != hash_file(adapter / name):
            raise MulmedError(
                "The adapter is not the one that training wrote.",
                where=str(adapter / name),
                remedy="Delete the adapter's folder and train it again.",
            )
    if known[0] != weights_hash(base):
        raise MulmedError(
            "The adapter was trained on another base model.",
            where=str(base),
            remedy="Merge it into the base it was trained on, unchanged.",
        )
