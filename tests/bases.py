"""Small embedded bases, made for the tests: real GGUF files in real packages, with words and sizes of their own.

The published ones hold a hundred thousand words and more; reading such a file takes half a minute.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from mulmed.base.embedded import EMBEDDED, EmbeddedBase, convert_embedded
from mulmed.prompts import load_template
from tests.conftest import TEXTS

HIDDEN, HEADS, INNER = 64, 2, 96
SAID = [t for _, _, texts in TEXTS for t in texts]
LAYOUT = load_template("alpaca")
WORDS = [
    LAYOUT.preamble + LAYOUT.user + LAYOUT.input + LAYOUT.assistant,
    *(sentence for by_language in LAYOUT.instructions.values() for sentence in by_language.values()),
]


def make_base(folder: Path, architecture: str) -> EmbeddedBase:
    """A package in ``folder`` that holds a model with random weights: ``llama`` or ``gemma3``."""
    name = f"small-{architecture}"
    package = folder / f"small_{architecture}-1.0.dist-info"
    package.mkdir(parents=True)
    file = folder / f"{name}.gguf"
    _write(file, architecture)
    (package / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (package / "RECORD").write_text(f"{file.name},,\n{package.name}/METADATA,,\n{package.name}/RECORD,,\n")
    return EmbeddedBase(
        name=name,
        title=f"Small {architecture}",
        packages=(f"{name}==1.0",),
        parts=(file.name,),
        gguf_bytes=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
        licence="CC0-1.0",
        notice="Random numbers, CC0.",
        hub=f"tests/{name}",
        hub_licence="cc0-1.0",
    )


@contextlib.contextmanager
def installed(folder: Path, *bases: EmbeddedBase) -> Iterator[pytest.MonkeyPatch]:
    """As if the packages in ``folder`` were installed and MulMed knew their models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        patch.setenv("MULMED_CACHE", str(folder / "cache"))
        for base in bases:
            patch.setitem(EMBEDDED, base.name, base)
        importlib.invalidate_caches()
        yield patch


def converted(folder: Path, base: EmbeddedBase) -> Path:
    """The base as a Hugging Face folder."""
    with installed(folder, base):
        return convert_embedded(base, lambda _: None).path


@dataclass(frozen=True)
class Sizes:
    """``base`` is of the rotary embedding; Gemma's sixth layer is the first that looks back over everything."""

    kind: Any
    layers: int
    head: int
    base: float


SIZES = {
    "llama": Sizes(gguf.MODEL_ARCH.LLAMA, layers=2, head=HIDDEN // HEADS, base=10_000.0),
    "gemma3": Sizes(gguf.MODEL_ARCH.GEMMA3, layers=6, head=256, base=1_000_000.0),
}


def _write(path: Path, architecture: str) -> None:
    sizes = SIZES[architecture]
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("Small")
    writer.add_organization("The tests")
    writer.add_license("cc0-1.0")
    writer.add_block_count(sizes.layers)
    writer.add_context_length(1024)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(sizes.base)
    vocabulary = (_llama_words if architecture == "llama" else _gemma_words)(writer, sizes)
    rng = np.random.default_rng(0)
    for name, shape in _shapes(vocabulary, sizes).items():
        drawn = rng.normal(size=shape).astype(np.float32)
        writer.add_tensor(name, 1 + 0.1 * drawn if len(shape) == 1 else 0.2 * drawn)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes(vocabulary: int, sizes: Sizes) -> dict[str, tuple[int, ...]]:
    t = gguf.MODEL_TENSOR
    whole, keys = HEADS * sizes.head, HEADS // 2 * sizes.head
    shapes: dict[Any, tuple[int, ...]] = {
        t.TOKEN_EMBD: (vocabulary, HIDDEN), t.OUTPUT_NORM: (HIDDEN,), t.ATTN_NORM: (HIDDEN,),
        t.ATTN_Q: (whole, HIDDEN), t.ATTN_K: (keys, HIDDEN), t.ATTN_V: (keys, HIDDEN), t.ATTN_OUT: (HIDDEN, whole),
        t.FFN_NORM: (HIDDEN,), t.FFN_GATE: (INNER, HIDDEN), t.FFN_UP: (INNER, HIDDEN), t.FFN_DOWN: (HIDDEN, INNER),
    }  # fmt: skip
    if sizes.kind == gguf.MODEL_ARCH.GEMMA3:
        shapes |= dict.fromkeys((t.ATTN_Q_NORM, t.ATTN_K_NORM), (sizes.head,))
        shapes |= dict.fromkeys((t.ATTN_POST_NORM, t.FFN_POST_NORM), (HIDDEN,))
    return {
        gguf.TENSOR_NAMES[kind].format(bid=layer) + ".weight": shape
        for kind, shape in shapes.items()
        for layer in (range(sizes.layers) if "{bid}" in gguf.TENSOR_NAMES[kind] else [0])
    }


def _llama_words(writer: gguf.GGUFWriter, sizes: Sizes) -> int:
    """Bytes and their merges, as SmolLM2 has them."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=800,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(WORDS * 9 + SAID * 3, trainer)
    words, merges = _learned(backend)
    writer.add_rope_dimension_count(sizes.head)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_types([3] * len(special) + [1] * (len(words) - len(special)))
    writer.add_token_merges(merges)
    _special_ids(writer, bos=1, eos=2, unk=0, pad=2, begins=False)
    return len(words)


def _gemma_words(writer: gguf.GGUFWriter, sizes: Sizes) -> int:
    """SentencePiece's BPE with bytes to fall back on, as Gemma has it."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]
    fallback = [f"<0x{i:02X}>" for i in range(256)]
    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    trainer = trainers.BpeTrainer(vocab_size=900, special_tokens=[*special, *fallback], show_progress=False)
    backend.train_from_iterator(WORDS * 9 + SAID * 3, trainer)
    words, _ = _learned(backend)
    first = len(special) + len(fallback)
    writer.add_key_length(sizes.head)
    writer.add_value_length(sizes.head)
    writer.add_sliding_window(32)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(words)
    writer.add_token_scores([-1000.0] * first + [-float(i) for i in range(len(words) - first)])
    writer.add_token_types([3] * len(special) + [6] * len(fallback) + [1] * (len(words) - first))
    writer.add_add_space_prefix(False)
    _special_ids(writer, bos=2, eos=1, unk=3, pad=0, begins=True)
    return len(words)


def _learned(backend: Any) -> tuple[list[str], list[str]]:
    model = json.loads(backend.to_str())["model"]
    words = sorted(model["vocab"], key=model["vocab"].get)
    return words, [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]


def _special_ids(writer: gguf.GGUFWriter, *, bos: int, eos: int, unk: int, pad: int, begins: bool) -> None:
    writer.add_bos_token_id(bos)
    writer.add_eos_token_id(eos)
    writer.add_unk_token_id(unk)
    writer.add_pad_token_id(pad)
    writer.add_add_bos_token(begins)
    writer.add_add_eos_token(False)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
