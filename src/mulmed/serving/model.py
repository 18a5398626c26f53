"""The model that is served: a merge of a run, or an embedded base as it is."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mulmed.artifact import disk_errors, only_one, read_artifact
from mulmed.base.embedded import EMBEDDED, EmbeddedBase, cache_folder, convert_embedded, embedded_of, identity
from mulmed.base.resolve import check_folder
from mulmed.errors import MulmedError
from mulmed.prompts import Renderer, load_template
from mulmed.recipe import Language
from mulmed.serving.engine import ServingEngine

EngineName = Literal["llamacpp", "transformers", "vllm"]
Precision = Literal["f32", "f16", "q8_0"]
_TEMPLATES = ("alpaca",)


@dataclass(frozen=True)
class Model:
    """A model at hand, checked.

    Attributes:
        name: what clients call it.
        content: hash of its files, for the record of decisions.
        base: the embedded base that it is or was trained from; None for others.
        context: tokens that its positions go to.
        trained: whether it was trained with the template; a base was not.
    """

    name: str
    folder: Path
    content: str
    renderer: Renderer
    base: EmbeddedBase | None
    context: int
    trained: bool

    @property
    def reviewed_as(self) -> str:
        """What the model's answers tell of its weights (``model_content``), by which a review knows it."""
        return self.content if self.trained or self.base is None else identity(self.base)


def open_model(name: str, tell: Callable[[str], None]) -> Model:
    """The model called ``name``: a run's folder ``merge-STEP``, or an embedded base.

    Raises:
        MulmedError: there is none, it is not a finished merge, or was trained with another prompt template than this
            version's.
    """
    if name in EMBEDDED and not Path(name).is_dir():
        base: EmbeddedBase | None = EMBEDDED[name]
        artifact = convert_embedded(EMBEDDED[name], tell)
        called, digest = name, None
        languages: list[Language] = []
    else:
        folder = Path(name)
        found = read_artifact(folder)
        if found is None or not str(found.manifest["stage"]).startswith("merge-"):
            raise MulmedError(
                "There is no finished model to serve.",
                where=name,
                remedy=f"Name a run's folder merge-STEP, which holds a manifest.json, or an embedded base ({', '.join(EMBEDDED)}).",
            )
        artifact = found
        check_folder(folder)
        called = str(artifact.manifest["stage"]).removeprefix("merge-")
        digest = artifact.manifest["config"]["template"]
        languages = [Language.model_validate(one) for one in artifact.manifest["config"].get("languages", ())]
        for language in languages:
            tell(
                f"{language.name} was added to this model by a file. The service knows English and Chinese: a message in "
                f"{language.name} is read as one of these. {' '.join(language.gaps)}"
            )
        base = embedded_of(artifact.manifest["config"]["base"])
    return _opened(called, artifact.path, artifact.content, base, digest, languages)


def _opened(
    called: str,
    folder: Path,
    content: str,
    base: EmbeddedBase | None,
    digest: str | None,
    languages: Sequence[Language],
) -> Model:
    from transformers import AutoConfig, AutoTokenizer

    from mulmed.generation.answers import check_template

    known = (load_template(name, languages) for name in _TEMPLATES)
    template = next((t for t in known if digest in (None, t.sha256)), None)
    if template is None:
        raise MulmedError(
            "The model was trained with a prompt template that this version does not have.",
            where=str(folder / "manifest.json"),
            remedy="Serve it with the version of MulMed that made it, or train it again.",
        )
    renderer = Renderer(AutoTokenizer.from_pretrained(folder, local_files_only=True), template)
    if digest is not None:
        check_template(folder, renderer)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    return Model(called, folder, content, renderer, base, config.max_position_embeddings, digest is not None)


def start_engine(
    model: Model,
    engine: EngineName | None,
    *,
    slots: int,
    context: int,
    precision: Precision,
    threads: int | None,
    tell: Callable[[str], None],
    python: str = sys.executable,
) -> ServingEngine:
    """The engine with the model loaded.

    Args:
        engine: None takes llama.cpp where it is installed and the model's base is embedded, else transformers.
        precision, threads: of llama.cpp.
        python: of the environment that has vLLM.

    Raises:
        MulmedError: llama.cpp is asked, and is not installed, or there is no GGUF to be made of the model.
    """
    from mulmed.serving.llamacpp import LlamaCpp
    from mulmed.serving.reference import Reference
    from mulmed.serving.vllm import start_vllm

    if engine is None:
        fits = model.base is not None and importlib.util.find_spec("xllamacpp") is not None
        engine = "llamacpp" if fits else "transformers"
    room = min(context, model.context)
    eos_id = model.renderer.eos_id
    if engine == "transformers":
        return Reference(model.folder, model.renderer.tokenizer, eos_id, context=room)
    if engine == "vllm":
        return start_vllm(python, model.folder, eos_id, slots=slots, context=room, tell=tell)
    if model.base is None:
        raise MulmedError(
            "llama.cpp reads a GGUF file, and there is none of this model's base.",
            where="--engine llamacpp",
            remedy="Let transformers answer (--engine transformers), or start from an embedded base.",
        )
    return LlamaCpp(gguf_of(model, precision, tell), eos_id, slots=slots, context=room, threads=threads)


def gguf_of(model: Model, precision: Precision, tell: Callable[[str], None]) -> Path:
    """The model as GGUF, in the user's cache; made now if it is not there yet."""
    from mulmed.export.gguf import write_weights

    assert model.base is not None
    folder = cache_folder() / "serving"
    path = folder / f"{model.name}-{model.content[:16]}-{precision}.gguf"
    with disk_errors(folder, "MULMED_CACHE"):
        folder.mkdir(parents=True, exist_ok=True)
        with only_one(path.with_suffix(".lock"), str(path), wait=True):
            if not path.exists():
                tell(f"Writing the model for llama.cpp (once): {path}")
                write_weights(model.folder, model.base, model.renderer.eos_id, path, precision)
    os.utime(path)
    return path
