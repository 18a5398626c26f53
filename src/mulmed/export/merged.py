"""A merged model's folder, checked before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from safetensors import safe_open

from mulmed.artifact import Artifact, damaged_files, read_artifact
from mulmed.base.embedded import EMBEDDED, EmbeddedBase, embedded_of
from mulmed.errors import MulmedError
from mulmed.prompts import Template, load_template
from mulmed.recipe import Language

Tensor = np.ndarray[Any, Any]
_TEMPLATES = ("alpaca",)


@dataclass(frozen=True)
class Model:
    """A model's folder, its tensors read one at a time.

    Attributes:
        base: the embedded base that it is, or was trained from.
        weights: tensor name -> the safetensors file that holds it.
    """

    folder: Path
    base: EmbeddedBase
    weights: Mapping[str, Path]

    @cached_property
    def config(self) -> Mapping[str, Any]:
        """Its ``config.json``."""
        config: Mapping[str, Any] = self.json("config.json")
        return config

    def json(self, name: str) -> Any:
        """A JSON file of the folder."""
        return orjson.loads((self.folder / name).read_bytes())

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape."""
        with safe_open(self.weights[name], framework="pt") as file:
            return tuple(file.get_slice(name).get_shape())

    def tensor(self, name: str) -> Tensor:
        """A tensor in float32."""
        with safe_open(self.weights[name], framework="pt") as file:
            # By way of torch: numpy has no bfloat16.
            tensor: Tensor = file.get_tensor(name).float().numpy()
        return tensor

    def misfit(self, how: str) -> MulmedError:
        """The error that it cannot be put into its base's GGUF."""
        return MulmedError(
            f"The model does not fit into the GGUF of {self.base.title}: {how}.",
            where=str(self.folder),
            remedy=_converter(self.folder),
        )


def open_model(folder: Path, base: EmbeddedBase) -> Model:
    """The model in a folder of safetensors, taken as it is."""
    return Model(folder, base, _weights(folder.glob("*.safetensors")))


def _weights(files: Iterable[Path]) -> Mapping[str, Path]:
    weights: dict[str, Path] = {}
    for path in files:
        with safe_open(path, framework="pt") as file:
            weights |= dict.fromkeys(file.keys(), path)
    return weights


@dataclass(frozen=True)
class Merged(Model):
    """A merged folder that is what its manifest says.

    Attributes:
        template: the prompt it was trained with.
        step: which step of a recipe it ends.
        content: hash over its files.
    """

    template: Template
    step: str
    content: str

    @cached_property
    def tokenizer(self) -> Mapping[str, Any]:
        """Its ``tokenizer.json``."""
        tokenizer: Mapping[str, Any] = self.json("tokenizer.json")
        return tokenizer

    @property
    def title(self) -> str:
        """What it is, one line."""
        return f"{self.base.title}, fine-tuned by MulMed ({self.step})"

    @property
    def licence(self) -> str:
        """What the base's licence wants said of a model made from it."""
        return (
            f"{self.base.notice} This is a modified version: fine-tuned with MulMed (step {self.step}), the "
            "weights changed."
        )


def finished_merge(folder: Path, otherwise: str = "") -> Artifact:
    """The merge in ``folder``, every file of it checked against the manifest.

    Args:
        otherwise: what else may be done, for the error where there is none.

    Raises:
        MulmedError: it is not a finished merge, or not the one that was proven.
    """
    artifact = read_artifact(folder)
    if artifact is None or not str(artifact.manifest["stage"]).startswith("merge-"):
        raise MulmedError(
            "This is not a finished merge of a run.",
            where=str(folder),
            remedy=f"Name a run's folder merge-STEP, which holds a manifest.json. {otherwise}".rstrip(),
        )
    if damaged := damaged_files(artifact):
        raise MulmedError(
            f"The folder was changed since the merge was proven: {', '.join(damaged)}.",
            where=str(folder),
            remedy="Remove the folder, and let `mulmed train` merge the step again.",
        )
    return artifact


def read_merged(folder: Path) -> Merged:
    """The merged model in ``folder``, every file of it checked against the manifest.

    Raises:
        MulmedError: it is not a finished merge, or not the one that was proven, or of a base or template
            that cannot be exported.
    """
    artifact = finished_merge(folder, _converter(folder))
    config = artifact.manifest["config"]
    base = embedded_of(config["base"])
    if base is None:
        raise MulmedError(
            "The model's base is not an embedded one, so there is no GGUF of it to put the weights into.",
            where=str(folder),
            remedy=f"Embedded bases are {' and '.join(EMBEDDED)}. {_converter(folder)}",
        )
    digest = config["template"]
    languages = [Language.model_validate(language) for language in config.get("languages", ())]
    known = (load_template(name, languages) for name in _TEMPLATES)
    template = next((t for t in known if t.sha256 == digest), None)
    if template is None:
        raise MulmedError(
            "The model was trained with a prompt template that this version does not have.",
            where=str(folder),
            remedy="Export it with the version of MulMed that made it, or train it again.",
        )
    weights = _weights(folder / name for name in artifact.manifest["files"] if name.endswith(".safetensors"))
    return Merged(
        folder,
        base,
        weights,
        template,
        str(artifact.manifest["stage"]).removeprefix("merge-"),
        artifact.content,
    )


def _converter(folder: Path) -> str:
    return (
        "Other models are converted by llama.cpp's own program: "
        f"python convert_hf_to_gguf.py {folder} --outfile MODEL.gguf --outtype f16"
    )
