"""A merged model as a GGUF file, for llama.cpp and what is built on it.

For a model whose base came as a GGUF (an embedded base): that file's metadata and tokenizer with the merged
tensors put in, so that nothing is guessed which the base's publisher had right. Any other model is a
matter for llama.cpp's own converter.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gguf
import numpy as np
import orjson
from gguf.quants import quantize
from safetensors import safe_open

from mulmed.artifact import Artifact, damaged_files, disk_errors, read_artifact, write_atomic
from mulmed.base.embedded import EMBEDDED, EmbeddedBase, identity, join_parts
from mulmed.errors import MulmedError
from mulmed.prompts import Template, load_template
from mulmed.recipe import Decoding
from mulmed.training.merge import PROOF
from mulmed.training.modelfile import modelfile

Precision = Literal["f32", "f16", "q8_0"]
Tensor = np.ndarray[Any, Any]

MODELFILE = "Modelfile"
_TEMPLATES = ("alpaca",)
#: ``model_type`` of transformers -> architecture of llama.cpp.
_ARCHITECTURES = {"llama": gguf.MODEL_ARCH.LLAMA, "gemma3_text": gguf.MODEL_ARCH.GEMMA3}
_TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}
_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


@dataclass(frozen=True, slots=True)
class Merged:
    """A merged folder that is what its manifest says.

    Attributes:
        step: which step of a recipe it ends.
        config: its ``config.json``.
        weights: tensor name -> the safetensors file that holds it.
    """

    artifact: Artifact
    base: EmbeddedBase
    template: Template
    step: str
    config: Mapping[str, Any]
    weights: Mapping[str, Path]


def export_gguf(folder: Path, out: Path, precision: Precision = "f16") -> Path:
    """Write a merged model to the GGUF file ``out``, and a Modelfile for Ollama beside it.

    Norms are kept in float32, as llama.cpp expects. ``out`` appears when it is whole, not before.

    Args:
        folder: the ``merge-STEP`` folder of a run.
        precision: of the matrices. ``q8_0`` is 8 bits and a common factor for every 32 weights.

    Returns:
        The Modelfile.

    Raises:
        MulmedError: the folder is not a proven merge, was changed since, or its base is not an embedded one;
            a weight is too large for the precision; the disk is full.
    """
    if out.suffix != ".gguf":
        raise MulmedError(
            f"Programs know a GGUF file by its ending, and {out.name} has another.",
            where="--out",
            remedy=f"Call it {out.stem}.gguf.",
        )
    merged = read_merged(folder)
    work = out.with_name(f"{out.name}.partial")
    with disk_errors(out.parent, "--out"):
        out.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(work, ignore_errors=True)  # of an export that was killed
        work.mkdir()
        try:
            whole = work / out.name
            reader = gguf.GGUFReader(join_parts(merged.base, work / "source"))
            _write(merged, reader, whole, precision)
            with whole.open("rb") as file:
                os.fsync(file.fileno())
            text = modelfile(
                out.name,
                merged.template,
                _tokens(reader)[merged.config["eos_token_id"]],
                Decoding(),
                context=merged.config["max_position_embeddings"],
                title=_title(merged),
                licence=_licence(merged),
            )
            whole.replace(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        write_atomic(out.with_name(MODELFILE), text.encode())
    return out.with_name(MODELFILE)


def read_merged(folder: Path) -> Merged:
    """The merged model in ``folder``, every file of it checked against the manifest.

    Raises:
        MulmedError: it is not a finished merge, or not the one that was proven, or of a base or template
            that cannot be exported.
    """
    artifact = read_artifact(folder)
    stage = str(artifact.manifest["stage"]) if artifact else ""
    if artifact is None or not stage.startswith("merge-"):
        raise MulmedError(
            "This is not a finished merge of a run.",
            where=str(folder),
            remedy=f"Name a run's folder merge-STEP, which holds a manifest.json. {_converter(folder)}",
        )
    content = artifact.manifest["config"]["base"]
    base = next((b for b in EMBEDDED.values() if identity(b) == content), None)
    if base is None:
        raise MulmedError(
            "The model's base is not an embedded one, so there is no GGUF of it to put the weights into.",
            where=str(folder),
            remedy=f"Embedded bases are {' and '.join(EMBEDDED)}. {_converter(folder)}",
        )
    if damaged := damaged_files(artifact):
        raise MulmedError(
            f"The folder was changed since the merge was proven: {', '.join(damaged)}.",
            where=str(folder),
            remedy="Remove the folder, and let `mulmed train` merge the step again.",
        )
    digest = artifact.manifest["config"]["template"]
    template = next((t for t in map(load_template, _TEMPLATES) if t.sha256 == digest), None)
    if template is None:
        raise MulmedError(
            "The model was trained with a prompt template that this version does not have.",
            where=str(folder),
            remedy="Export it with the version of MulMed that made it, or train it again.",
        )
    weights: dict[str, Path] = {}
    for path in (folder / name for name in artifact.manifest["files"] if name.endswith(".safetensors")):
        with safe_open(path, framework="pt") as file:
            weights |= dict.fromkeys(file.keys(), path)
    config = orjson.loads((folder / "config.json").read_bytes())
    return Merged(artifact, base, template, stage.removeprefix("merge-"), config, weights)


def _converter(folder: Path) -> str:
    return (
        "Other models are converted by llama.cpp's own program: "
        f"python convert_hf_to_gguf.py {folder} --outfile MODEL.gguf --outtype f16"
    )


def _write(merged: Merged, source: Any, path: Path, precision: Precision) -> None:
    plan = _plan(merged, source)
    writer = gguf.GGUFWriter(path, source.get_field(gguf.Keys.General.ARCHITECTURE).contents())
    for field in _metadata(merged, source, precision):
        writer.add_key_value(*field)
    kinds = {}
    for name, (_, shape) in plan.items():
        kinds[name] = kind = _kind(shape, precision)
        block, size = gguf.GGML_QUANT_SIZES[kind]
        length = math.prod(shape) // block * size
        writer.add_tensor_info(name, shape, np.dtype(np.float32), length, raw_dtype=kind)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, (key, _) in plan.items():  # one at a time: the whole model need not fit into memory
            tensor = to_llama_cpp(key, _read(merged, key), merged.config)
            writer.write_tensor_data(_encode(tensor, kinds[name], name))
    except OSError as error:
        # numpy says how much of an array it could write, and not that the disk is full.
        raise OSError(error.errno or errno.ENOSPC, str(error), str(path)) from error
    finally:
        writer.close()


def _plan(merged: Merged, source: Any) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The source's tensors in its order: name there -> name in the folder, and shape.

    Raises:
        MulmedError: the folder's model is not of the base's architecture, shape or vocabulary.
    """
    architecture = source.get_field(gguf.Keys.General.ARCHITECTURE).contents()
    ours = _ARCHITECTURES.get(merged.config["model_type"])
    if ours is None or gguf.MODEL_ARCH_NAMES[ours] != architecture:
        raise _misfit(merged, f"it is a {merged.config['model_type']!r} model, the base {architecture!r}")
    names = gguf.get_tensor_name_map(ours, merged.config["num_hidden_layers"])
    found = {}
    for key in merged.weights:
        found[names.get_name(key, try_suffixes=(".weight",)) or key] = key
    expected = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in source.tensors}
    if other := sorted(found.keys() ^ expected.keys()):
        raise _misfit(merged, f"{len(other)} tensors are only in one of them, the first is {other[0]}")
    plan = {name: (found[name], _shape(merged, found[name])) for name in expected}
    for name, (key, shape) in plan.items():
        if shape != expected[name]:
            raise _misfit(merged, f"{key} has the shape {shape}, in the base {expected[name]}")
    tokenizer = orjson.loads((merged.artifact.path / "tokenizer.json").read_bytes())
    vocabulary = dict(tokenizer["model"]["vocab"])
    vocabulary |= {added["content"]: added["id"] for added in tokenizer["added_tokens"]}
    # A GGUF writes the blanks of some of SentencePiece's tokens plainly.
    blank = "▁" if source.get_field(gguf.Keys.Tokenizer.MODEL).contents() == "llama" else " "
    if vocabulary != {token.replace(" ", blank): i for i, token in enumerate(_tokens(source))}:
        raise _misfit(merged, "their vocabularies differ")
    return plan


def _misfit(merged: Merged, how: str) -> MulmedError:
    return MulmedError(
        f"The model does not fit into the GGUF of {merged.base.title}: {how}.",
        where=str(merged.artifact.path),
        remedy=_converter(merged.artifact.path),
    )


def to_llama_cpp(key: str, tensor: Tensor, config: Mapping[str, Any]) -> Tensor:
    """A tensor of a transformers folder as llama.cpp has it.

    Llama: transformers rotates the first half of a head against the second, llama.cpp rotates neighbours,
    so the rows of queries and keys are interleaved. Gemma: transformers adds 1 to the weights of its norms at
    run time, llama.cpp has it in the file. Both as in llama.cpp's ``convert_hf_to_gguf.py``.

    Args:
        key: name in the folder.
        config: the folder's ``config.json``.
    """
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(key.split(".")[-2])
    if config["model_type"] == "llama" and heads:
        halves = tensor.reshape(config[heads], 2, -1, *tensor.shape[1:])
        return halves.swapaxes(1, 2).reshape(tensor.shape)
    if config["model_type"] == "gemma3_text" and key.endswith("norm.weight"):
        return tensor + np.float32(1)
    return tensor


def _kind(shape: tuple[int, ...], precision: Precision) -> Any:
    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    block, _ = gguf.GGML_QUANT_SIZES[_TYPES[precision]]
    return _TYPES[precision if shape[-1] % block == 0 else "f16"]


def _encode(tensor: Tensor, kind: Any, name: str) -> Tensor:
    with np.errstate(over="ignore"):
        encoded: Tensor = quantize(np.ascontiguousarray(tensor), kind)
    if encoded.dtype == np.float16 and not np.isfinite(encoded).all():
        raise MulmedError(
            f"A weight of {name} is larger than 16-bit numbers reach (65,504).",
            where="--precision",
            remedy="Export with --precision f32.",
        )
    return encoded


def _metadata(merged: Merged, source: Any, precision: Precision) -> list[tuple[str, Any, Any, Any]]:
    """The source's fields with ours in their place: key, value, type, type of an array's elements."""
    keys, kinds = gguf.Keys, gguf.GGUFValueType
    chat_template, begins = _chat_template(merged, source)
    proof = orjson.loads((merged.artifact.path / PROOF).read_bytes())
    ours: dict[str, tuple[Any, Any, Any]] = {
        keys.General.NAME: (_title(merged), kinds.STRING, None),
        keys.General.DESCRIPTION: (_licence(merged), kinds.STRING, None),
        keys.General.LICENSE_NAME: (merged.base.licence, kinds.STRING, None),
        keys.General.FINETUNE: (merged.step, kinds.STRING, None),
        keys.General.LANGUAGES: (proof["languages"], kinds.ARRAY, kinds.STRING),
        keys.General.FILE_TYPE: (int(_FILE_TYPES[precision]), kinds.UINT32, None),
        keys.General.QUANTIZATION_VERSION: (gguf.GGML_QUANT_VERSION, kinds.UINT32, None),
        keys.Tokenizer.EOS_ID: (merged.config["eos_token_id"], kinds.UINT32, None),
        keys.Tokenizer.PAD_ID: (merged.config["pad_token_id"], kinds.UINT32, None),
        keys.Tokenizer.ADD_BOS: (begins, kinds.BOOL, None),
        keys.Tokenizer.ADD_EOS: (False, kinds.BOOL, None),
        keys.Tokenizer.CHAT_TEMPLATE: (chat_template, kinds.STRING, None),
        "mulmed.merge": (merged.artifact.content, kinds.STRING, None),
        "mulmed.template": (merged.template.sha256, kinds.STRING, None),
    }
    fields = [
        (f.name, f.contents(), f.types[0], f.types[-1] if f.types[0] == kinds.ARRAY else None)
        for f in source.fields.values()
        # The writer writes these itself.
        if not f.name.startswith("GGUF.") and f.name not in (keys.General.ARCHITECTURE, *ours)
    ]
    return fields + [(key, *value) for key, value in ours.items()]


def _chat_template(merged: Merged, source: Any) -> tuple[str, bool]:
    """The folder's chat template, and whether its prompts begin with the begin-of-text token.

    Raises:
        MulmedError: it is not the layout of the template that the manifest names.
    """
    found = (merged.artifact.path / "chat_template.jinja").read_text(encoding="utf-8")
    tokens = _tokens(source)
    eos = tokens[merged.config["eos_token_id"]]
    bos = tokens[source.get_field(gguf.Keys.Tokenizer.BOS_ID).contents()]
    for begins in (True, False):
        if found == merged.template.chat_template(bos if begins else "", eos):
            return found, begins
    raise _misfit(merged, "its chat template is not the one it was trained with")


def _tokens(source: Any) -> list[str]:
    tokens: list[str] = source.get_field(gguf.Keys.Tokenizer.LIST).contents()
    return tokens


def _title(merged: Merged) -> str:
    return f"{merged.base.title}, fine-tuned by MulMed ({merged.step})"


def _licence(merged: Merged) -> str:
    return (
        f"{merged.base.notice} This is a modified version: fine-tuned with MulMed (step {merged.step}), the "
        "weights changed."
    )


def _shape(merged: Merged, key: str) -> tuple[int, ...]:
    with safe_open(merged.weights[key], framework="pt") as file:
        return tuple(file.get_slice(key).get_shape())


def _read(merged: Merged, key: str) -> Tensor:
    with safe_open(merged.weights[key], framework="pt") as file:
        tensor: Tensor = file.get_tensor(key).float().numpy()  # by way of torch: numpy has no bfloat16
    return tensor
