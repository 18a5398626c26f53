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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from mulmed.artifact import disk_errors, write_atomic
from mulmed.base.embedded import EmbeddedBase, join_parts
from mulmed.errors import MulmedError
from mulmed.export.merged import Model, open_model, read_merged
from mulmed.export.metadata import Field, metadata, plain_metadata, tokens
from mulmed.export.modelfile import modelfile
from mulmed.export.tensors import Precision, encode, encoding, match_tensors, to_llama_cpp
from mulmed.recipe import Decoding

MODELFILE = "Modelfile"


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
            _write(merged, reader, whole, precision, metadata(merged, reader, precision))
            with whole.open("rb") as file:
                os.fsync(file.fileno())
            text = modelfile(
                out.name,
                merged.template,
                tokens(reader)[merged.config["eos_token_id"]],
                Decoding(),
                context=merged.config["max_position_embeddings"],
                title=merged.title,
                licence=merged.licence,
            )
            whole.replace(out)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        write_atomic(out.with_name(MODELFILE), text.encode())
    return out.with_name(MODELFILE)


def write_weights(
    folder: Path, base: EmbeddedBase, eos_id: int, out: Path, precision: Precision = "f16"
) -> None:
    """Write a model of an embedded base as a GGUF file that is only to be asked with token ids: no prompt, no Modelfile.

    Args:
        folder: the base as converted, or a merge made from it.
        eos_id: the token at which its answers end.
        out: appears when it is whole, not before.

    Raises:
        MulmedError: the folder's model is not of the base's shape, or a weight is too large for the precision.
    """
    work = out.with_name(f"{out.name}.partial")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    source = gguf.GGUFReader(join_parts(base, work / "source"))
    _write(
        open_model(folder, base),
        source,
        work / out.name,
        precision,
        plain_metadata(source, eos_id, precision),
    )
    (work / out.name).replace(out)
    shutil.rmtree(work)


def _write(merged: Model, source: Any, path: Path, precision: Precision, fields: Sequence[Field]) -> None:
    plan = match_tensors(merged, source)
    kinds = {name: encoding(shape, precision) for name, (_, shape) in plan.items()}
    writer = gguf.GGUFWriter(path, source.get_field(gguf.Keys.General.ARCHITECTURE).contents())
    for field in fields:
        writer.add_key_value(*field)
    for name, (_, shape) in plan.items():
        block, size = gguf.GGML_QUANT_SIZES[kinds[name]]
        length = math.prod(shape) // block * size
        writer.add_tensor_info(name, shape, np.dtype(np.float32), length, raw_dtype=kinds[name])
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name, (key, _) in plan.items():  # one at a time: the whole model need not fit into memory
            tensor = to_llama_cpp(key, merged.tensor(key), merged.config)
            writer.write_tensor_data(encode(tensor, kinds[name], name))
    except OSError as error:
        # numpy says how much of an array it could write, and not that the disk is full.
        raise OSError(error.errno or errno.ENOSPC, str(error), str(path)) from error
    finally:
        writer.close()
