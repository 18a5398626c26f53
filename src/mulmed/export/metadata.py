"""What a GGUF says of a model besides its tensors: the base's own words, with ours in their place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gguf

from mulmed.export.merged import Merged
from mulmed.export.tensors import Precision
from mulmed.training.merge import PROOF

_FILE_TYPES = {
    "f32": gguf.LlamaFileType.ALL_F32,
    "f16": gguf.LlamaFileType.MOSTLY_F16,
    "q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}


#: Key, value, type, type of an array's elements.
Field = tuple[str, Any, Any, Any]


def metadata(merged: Merged, source: Any, precision: Precision) -> list[Field]:
    """The fields to write.

    Args:
        source: reader of the base's own GGUF.

    Raises:
        MulmedError: the folder's vocabulary, way of cutting words or chat template is not one that the file
            could tell.
    """
    keys, kinds = gguf.Keys, gguf.GGUFValueType
    _check_vocabulary(merged, source)
    chat_template, begins = _chat_template(merged, source)
    ours: dict[str, tuple[Any, Any, Any]] = {
        keys.General.NAME: (merged.title, kinds.STRING, None),
        keys.General.DESCRIPTION: (merged.licence, kinds.STRING, None),
        keys.General.LICENSE_NAME: (merged.base.licence, kinds.STRING, None),
        keys.General.FINETUNE: (merged.step, kinds.STRING, None),
        keys.General.BASE_MODEL_COUNT: (1, kinds.UINT32, None),
        keys.General.BASE_MODEL_NAME.format(id=0): (merged.base.title, kinds.STRING, None),
        keys.General.LANGUAGES: (merged.json(PROOF)["languages"], kinds.ARRAY, kinds.STRING),
        keys.General.FILE_TYPE: (int(_FILE_TYPES[precision]), kinds.UINT32, None),
        keys.General.QUANTIZATION_VERSION: (gguf.GGML_QUANT_VERSION, kinds.UINT32, None),
        keys.Tokenizer.PRE: (_pre_tokenizer(merged, source), kinds.STRING, None),
        keys.Tokenizer.EOS_ID: (merged.config["eos_token_id"], kinds.UINT32, None),
        keys.Tokenizer.PAD_ID: (merged.config["pad_token_id"], kinds.UINT32, None),
        keys.Tokenizer.ADD_BOS: (begins, kinds.BOOL, None),
        keys.Tokenizer.ADD_EOS: (False, kinds.BOOL, None),
        keys.Tokenizer.CHAT_TEMPLATE: (chat_template, kinds.STRING, None),
        "mulmed.merge": (merged.content, kinds.STRING, None),
        "mulmed.template": (merged.template.sha256, kinds.STRING, None),
    }
    # The model is no longer its organization's.
    return _with(ours, source, keys.General.ORGANIZATION)


def plain_metadata(source: Any, eos_id: int, precision: Precision) -> list[Field]:
    """The base's fields for a model that is asked with token ids, and ends its answers with ``eos_id``."""
    keys, number = gguf.Keys, gguf.GGUFValueType.UINT32
    ours = {
        keys.General.FILE_TYPE: (int(_FILE_TYPES[precision]), number, None),
        keys.General.QUANTIZATION_VERSION: (gguf.GGML_QUANT_VERSION, number, None),
        keys.Tokenizer.EOS_ID: (eos_id, number, None),
    }
    return _with(ours, source)


def _with(ours: Mapping[str, tuple[Any, Any, Any]], source: Any, *left_out: str) -> list[Field]:
    """The source's fields with ours in their place."""
    # The writer writes the architecture itself.
    gone = {gguf.Keys.General.ARCHITECTURE, *left_out, *ours}
    fields = [
        (f.name, f.contents(), f.types[0], f.types[-1] if f.types[0] == gguf.GGUFValueType.ARRAY else None)
        for f in source.fields.values()
        if not f.name.startswith("GGUF.") and f.name not in gone
    ]
    return fields + [(key, *value) for key, value in ours.items()]


def tokens(source: Any) -> list[str]:
    """The vocabulary of a GGUF, by id."""
    found: list[str] = source.get_field(gguf.Keys.Tokenizer.LIST).contents()
    return found


def _check_vocabulary(merged: Merged, source: Any) -> None:
    vocabulary = dict(merged.tokenizer["model"]["vocab"])
    vocabulary |= {added["content"]: added["id"] for added in merged.tokenizer["added_tokens"]}
    # A GGUF writes the blanks of some of SentencePiece's tokens plainly.
    blank = "▁" if source.get_field(gguf.Keys.Tokenizer.MODEL).contents() == "llama" else " "
    if vocabulary != {token.replace(" ", blank): i for i, token in enumerate(tokens(source))}:
        raise merged.misfit("their vocabularies differ")


def _pre_tokenizer(merged: Merged, source: Any) -> str:
    """llama.cpp's name of the rule by which the folder's tokenizer cuts a text before it merges bytes.

    The base's file may name another: transformers reads a GGUF's vocabulary but not this name, so that
    the folder's tokenizer, the one of training, cuts as GPT-2's whatever the file says (of SmolLM2: it
    does not part ``①`` or ``½`` from the blank before it). The model is to be asked as it was trained.
    """
    named = str(source.get_field(gguf.Keys.Tokenizer.PRE).contents())
    if source.get_field(gguf.Keys.Tokenizer.MODEL).contents() != "gpt2":
        return named  # SentencePiece's tokenizers are not cut beforehand
    rule = merged.tokenizer["pre_tokenizer"]
    parts = rule["pretokenizers"] if rule["type"] == "Sequence" else [rule]
    # ``trim_offsets`` moves no token, only where one is said to begin.
    match [{k: v for k, v in part.items() if k != "trim_offsets"} for part in parts]:
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}]:
            return "gpt-2"
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        ]:
            return "smollm"
    raise merged.misfit("its tokenizer cuts words by a rule that has no name there")


def _chat_template(merged: Merged, source: Any) -> tuple[str, bool]:
    """The folder's chat template, and whether its prompts begin with the begin-of-text token."""
    found = (merged.folder / "chat_template.jinja").read_text(encoding="utf-8")
    words = tokens(source)
    eos = words[merged.config["eos_token_id"]]
    bos = words[source.get_field(gguf.Keys.Tokenizer.BOS_ID).contents()]
    for begins in (True, False):
        if found == merged.template.chat_template(bos if begins else "", eos):
            return found, begins
    raise merged.misfit("its chat template is not the one it was trained with")
