"""New tokens for Chinese: what they stand for, that nothing else changes, and that any program can read them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, GemmaTokenizer, LlamaTokenizer, PreTrainedTokenizerFast

from mulmed.errors import MulmedError
from mulmed.prompts import Renderer, load_template
from mulmed.prompts.counting import TokenCounter
from mulmed.prompts.vocabulary import LEAST, Vocabulary, extend_tokenizer, learn_vocabulary
from tests.conftest import TEXTS, make_record

#: Of bytes that every vocabulary knows: SmolLM2's lacks some control characters'.
LETTERS = st.text(st.characters(exclude_categories=["Cc", "Cs"], max_codepoint=0xFFFF), max_size=4)
#: Our own sentences, often enough to be learned.
LEARNED = [
    "孩子发烧两天了，请问怎么办？",
    "建议多喂水，按体重服用退烧药，三天不退请就医。",
    "我头痛三天了，吃药以后还是头痛。CT检查没有问题。",
    "头痛和发烧都要就医，不要自己服用退烧药。",
] * 6
HELD_OUT = "老人头痛，发烧不退，请问要就医检查吗？"


def byte_tokenizer() -> Any:
    """Byte-level BPE over the 256 bytes with two merges: of 头's first bytes, and of "th"."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*alphabet, "å¤", "th", "<eos>"])}
    backend = Tokenizer(models.BPE(vocab, [("å", "¤"), ("t", "h")]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")


def ids(tokenizer: Any, text: str) -> list[int]:
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


def in_pieces(vocabulary: Vocabulary, found: list[int]) -> list[int]:
    """Token ids with every new one written as the old ones it stands for."""
    pieces = dict(zip(vocabulary.ids, vocabulary.pieces, strict=True))
    return [old for id_ in found for old in pieces.get(id_, (id_,))]


@pytest.fixture(scope="module", params=["bytes", "smollm", "llama"])
def both(request: pytest.FixtureRequest) -> tuple[Any, Vocabulary, Any]:
    """A tokenizer of each kind, what it learned, and what it became."""
    name = request.param
    tokenizer = byte_tokenizer() if name == "bytes" else request.getfixturevalue(f"{name}_tokenizer")
    vocabulary = learn_vocabulary(tokenizer, LEARNED, 60)
    return tokenizer, vocabulary, extend_tokenizer(tokenizer, vocabulary)


def test_a_worked_example() -> None:
    """头 is E5 A4 B4, 痛 is E7 97 9B; 头 is there 9 times, the first bytes of 痛 and 痒 8, 痛 7, 头痛 4."""
    tokenizer = byte_tokenizer()
    texts = ["头痛", "头 ab 痛"] * 3 + ["头痛 ab ab", "头痒", "头"]
    vocabulary = learn_vocabulary(tokenizer, texts, 4)
    of = tokenizer.convert_tokens_to_ids
    assert vocabulary.first == 259
    assert vocabulary.tokens == ("å¤´", "çĹ", "çĹĽ")
    assert vocabulary.merges == (("å¤", "´"), ("ç", "Ĺ"), ("çĹ", "Ľ"))
    assert vocabulary.pieces == (
        (of("å¤"), of("´")),
        (of("ç"), of("Ĺ")),
        (of("ç"), of("Ĺ"), of("Ľ")),
    )
    extended = extend_tokenizer(tokenizer, vocabulary)
    assert ids(extended, "头痛th") == [259, 261, of("th")]
    assert extended.decode([259, 261, of("th")]) == "头痛th"
    assert ids(tokenizer, "头痛th")[0] == of("å¤")  # the one given stays as it is


def test_the_most_frequent_come_first() -> None:
    tokenizer = byte_tokenizer()
    texts = ["痛" * 3] * 5 + ["头"] * 9
    assert learn_vocabulary(tokenizer, texts, 1).tokens == ("çĹ",)  # 15 times, before 9 of 头
    assert learn_vocabulary(tokenizer, texts, 2).tokens == ("çĹ", "çĹĽ")


def test_characters_that_are_missing_come_first(llama_tokenizer: Any) -> None:
    """A vocabulary that falls back to bytes can merge only characters, so it gets these by themselves."""
    assert "痒" not in llama_tokenizer.get_vocab()
    vocabulary = learn_vocabulary(llama_tokenizer, ["皮肤痒痒"] * LEAST + ["疹"] * (LEAST - 1), 10)
    assert vocabulary.tokens[:3] == ("痒", "皮", "肤")
    assert set(vocabulary.tokens[3:]) == {"皮肤", "痒痒", "皮肤痒痒"}
    one = llama_tokenizer.convert_tokens_to_ids([f"<0x{b:02X}>" for b in "痒".encode()])
    assert vocabulary.pieces[0] == tuple(one)
    extended = extend_tokenizer(llama_tokenizer, vocabulary)
    assert extended.convert_ids_to_tokens(ids(extended, "皮肤痒痒")) == ["▁", "皮肤痒痒"]
    assert learn_vocabulary(llama_tokenizer, ["皮肤痒痒"] * LEAST, 2).tokens == ("痒", "皮")


def test_fewer_tokens_for_chinese_and_the_same_for_english(both: tuple[Any, Vocabulary, Any]) -> None:
    tokenizer, vocabulary, extended = both
    assert 0 < len(vocabulary.tokens) <= 60
    assert vocabulary.ids.start == len(tokenizer)
    assert len(extended) == len(tokenizer) + len(vocabulary.tokens)
    assert len(ids(extended, HELD_OUT)) < 0.8 * len(ids(tokenizer, HELD_OUT))
    english = "Below is an instruction.\n\n### Response:\nDrink 2.5 ml twice – “naïve” 😀 café, <b>π</b>"
    assert ids(extended, english) == ids(tokenizer, english)
    assert extended.all_special_ids == tokenizer.all_special_ids


@given(st.data())
def test_text_comes_back_and_new_tokens_are_their_pieces(
    both: tuple[Any, Vocabulary, Any], data: st.DataObject
) -> None:
    tokenizer, vocabulary, extended = both
    parts = st.one_of(st.sampled_from([*HELD_OUT, *LEARNED, "头痛", " ", "\n"]), LETTERS)
    text = "".join(data.draw(st.lists(parts, max_size=8)))
    found = ids(extended, text)
    assert in_pieces(vocabulary, found) == ids(tokenizer, text)
    decoded = extended.decode(found, clean_up_tokenization_spaces=False)
    assert decoded == tokenizer.decode(ids(tokenizer, text), clean_up_tokenization_spaces=False)
    if tokenizer.convert_ids_to_tokens(0) != "<unk>":  # LLaMA's own decoder takes a leading space away
        assert decoded == text


def test_any_program_reads_it(both: tuple[Any, Vocabulary, Any], tmp_path: Path) -> None:
    tokenizer, vocabulary, extended = both
    extended.save_pretrained(tmp_path)
    for read in (AutoTokenizer.from_pretrained(tmp_path), PreTrainedTokenizerFast.from_pretrained(tmp_path)):
        assert len(read) == len(extended)
        assert read.convert_tokens_to_ids(list(vocabulary.tokens)) == list(vocabulary.ids)
        for text in [HELD_OUT, *LEARNED[:4], "A mixed 头痛 text."]:
            assert ids(read, text) == ids(extended, text)
        assert read.eos_token_id == tokenizer.eos_token_id
    assert Vocabulary.of(json.loads(json.dumps(vocabulary.document()))) == vocabulary


def test_added_tokens_keep_their_numbers(tmp_path: Path) -> None:
    """Where added tokens stand behind the vocabulary, as Qwen's do, a larger one must not push them on."""
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<|im_start|>", "<think>"])
    before = {t: tokenizer.convert_tokens_to_ids(t) for t in ("<eos>", "<|im_start|>", "<think>")}
    assert before == {"<eos>": 258, "<|im_start|>": 259, "<think>": 260}
    extended = extend_tokenizer(tokenizer, learn_vocabulary(tokenizer, LEARNED, 20))
    extended.save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert {t: read.convert_tokens_to_ids(t) for t in before} == before
    assert ids(read, "<|im_start|>头") == ids(extended, "<|im_start|>头")
    assert max(ids(read, "头痛发烧")) > 260


def test_counting_and_rendering_go_on(both: tuple[Any, Vocabulary, Any]) -> None:
    tokenizer, _, extended = both
    counter = TokenCounter(extended)
    assert counter.kind == TokenCounter(tokenizer).kind
    texts = [HELD_OUT, *LEARNED[:4], "头痛 head 头痛", ""]
    assert counter(texts) == [len(ids(extended, text)) for text in texts]
    renderer = Renderer(extended, load_template("alpaca"))
    example = renderer.example(make_record(0, *TEXTS[1]))
    answer = [id_ for id_, learned in zip(example.ids, example.mask, strict=True) if learned]
    assert extended.decode(answer[:-1]).strip() == TEXTS[1][2][1]


def test_order_and_repetition_of_the_run_change_nothing(smollm_tokenizer: Any) -> None:
    assert learn_vocabulary(smollm_tokenizer, LEARNED, 30) == learn_vocabulary(
        smollm_tokenizer, LEARNED[::-1], 30
    )
    small, large = (learn_vocabulary(smollm_tokenizer, LEARNED, n) for n in (10, 30))
    assert large.tokens[: len(small.tokens)] == small.tokens


def test_too_little_to_learn_from_is_said(smollm_tokenizer: Any) -> None:
    with pytest.raises(MulmedError, match=f"occur {LEAST} times"):
        learn_vocabulary(smollm_tokenizer, ["头痛"] * (LEAST - 1) + ["Headache."] * 50, 10)


def test_another_kind_of_tokenizer_is_refused() -> None:
    backend = Tokenizer(models.Unigram([("<unk>", 0.0), ("头", -1.0)], unk_id=0))
    with pytest.raises(MulmedError, match="Unigram"):
        learn_vocabulary(PreTrainedTokenizerFast(tokenizer_object=backend), LEARNED, 10)


@pytest.mark.parametrize("kind", [GemmaTokenizer, LlamaTokenizer])
def test_tokenizers_built_by_their_own_class(kind: type[Any], tmp_path: Path) -> None:
    """Gemma's and Llama's classes build what surrounds the merges themselves, whatever their file says."""
    special = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        "<mask>",
        "<s>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
    ]
    characters = sorted(set("▁\n：，。？ABCDEFabcdefghijklmnopqrstuvwxyz头痛发烧"))
    vocab = {token: i for i, token in enumerate([*special, *characters, "发烧"])}
    tokenizer = kind(vocab=vocab, merges=[("发", "烧")])
    assert tokenizer.convert_ids_to_tokens(ids(tokenizer, "发烧头痛"))[-3:] == ["发烧", "头", "痛"]
    vocabulary = learn_vocabulary(tokenizer, LEARNED, 80)
    assert {"退", "头痛"} <= set(vocabulary.tokens)
    extend_tokenizer(tokenizer, vocabulary).save_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    assert type(read) is kind
    assert len(ids(read, HELD_OUT)) < 0.5 * len(ids(tokenizer, HELD_OUT))
    for text in [HELD_OUT, *LEARNED[:4], "Fever: 38.5 °C\n\n  twice "]:
        found = ids(read, text)
        assert in_pieces(vocabulary, found) == ids(tokenizer, text)
        assert read.decode(found) == text
