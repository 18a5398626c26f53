"""Tokens counted word by word are exactly the tokenizer's, and never more than the bound."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.prompts import Renderer, load_template
from mulmed.prompts.counting import Part, TokenCounter
from mulmed.prompts.pieces import Numbers, codes_of

_PIECES = st.sampled_from(
    [
        " ", " ", " ", " ", "  ", "\n", "\n\n", "\t", "\u3000", "\xa0", "\u2028", "\x85", "\x1c", "▁", "a", "don't", "the",
        "I'm", "'s", "38.5℃", "5mg", "12345", "...", "?!", "头痛三天", "，", "怎么办？", "é", "e\u0301", "𠮷", "😀", "\0",
        "<td>", "<b> </b>", ">", " </", "</s>", "<s>", "<bos>", "<|endoftext|>", "<0x0A>", "_", "Dr.", "ﬁ", "\ud800",
    ]
)  # fmt: skip
_TEXTS = st.lists(st.one_of(_PIECES, st.text(max_size=3)), max_size=14).map("".join)


@pytest.fixture(scope="session", params=["smollm", "gemma", "llama", "word by word"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    if request.param == "word by word":
        return _sentencepiece_like()
    return request.getfixturevalue(f"{request.param}_tokenizer")


def test_words_are_counted_apart_where_the_tokenizer_allows_it(
    smollm_tokenizer: Any, gemma_tokenizer: Any, llama_tokenizer: Any
) -> None:
    kinds = [TokenCounter(t).kind for t in (smollm_tokenizer, gemma_tokenizer, _sentencepiece_like())]
    assert kinds == ["bytes", "signs", "prepended"]
    assert TokenCounter(llama_tokenizer).kind is None  # trained without care: it has tokens of several words


def _sentencepiece_like() -> Any:
    """LLaMA's kind again, with a vocabulary in which a space stands only before a word, as in LLaMA's own."""
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    signs = [*"▁abcdehtors.,<>/", "头", "痛"]
    merges = [
        ("▁", "▁"),
        ("▁", "t"),
        ("h", "e"),
        ("▁t", "he"),
        ("d", "o"),
        ("▁", "a"),
        ("头", "痛"),
        ("▁", "头"),
    ]
    vocabulary = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{i:02X}>" for i in range(256)),
        *signs,
        *map("".join, merges),
    ]
    backend = Tokenizer(
        models.BPE(
            {t: i for i, t in enumerate(vocabulary)},
            merges,
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


@pytest.fixture(scope="session")
def counter(tokenizer: Any) -> TokenCounter:
    return TokenCounter(tokenizer)


@settings(max_examples=300)
@given(texts=st.lists(_TEXTS, max_size=4))
def test_counts_are_the_renderers_and_below_the_bound(
    texts: list[str], tokenizer: Any, counter: TokenCounter
) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    counts = Renderer(tokenizer, load_template("alpaca")).count_tokens(texts)
    assert counter(texts) == counts
    assert counter(texts) == counts  # from memory
    assert all(a <= b for a, b in zip(counts, counter.at_most(texts), strict=True))


def test_known_counts() -> None:
    counter = TokenCounter(_sentencepiece_like())
    # ▁the ▁a 头痛: "头痛" is merged before "▁头" could be, so the sign for the space stays apart.
    assert counter(["the", "the a", "the a 头痛", "", "é"]) == [1, 2, 4, 0, 3]
    assert counter.at_most(["the a", "é"]) == [6, 3]


def test_a_pickled_counter_counts_the_same(counter: TokenCounter) -> None:
    texts = ["Take 5 mg of it, twice a day.", "头痛三天了，怎么办？"]
    assert pickle.loads(pickle.dumps(counter))(texts) == counter(texts)


def test_stretches_are_measured_without_counting_again(counter: TokenCounter) -> None:
    texts = ["Take 5 mg of it, twice a day.", "", "头痛三天了，怎么办？", "two  spaces\tthen  more"]
    measured = counter.measure(texts)
    assert measured.sizes == counter(texts)
    for i, text in enumerate(texts):
        for end in range(len(text) + 1):
            assert sum(measured.between(i, [end, len(text)])) == measured.sizes[i]
    if counter.kind is not None:  # no token has parts of two words
        end = texts[0].index(" twice")
        assert measured.between(0, [end, len(texts[0])])[0] == counter([texts[0][:end]])[0]


@settings(max_examples=200)
@given(texts=st.lists(_TEXTS, min_size=1, max_size=3), chosen=st.data())
def test_stretches_put_together_are_counted_where_they_meet(
    texts: list[str], chosen: st.DataObject, tokenizer: Any, counter: TokenCounter
) -> None:
    texts = [3 * text.encode("utf-8", "replace").decode() for text in texts]
    measured = counter.measure(texts)
    parts: list[Part] = []
    for _ in range(chosen.draw(st.integers(1, 4))):
        number = chosen.draw(st.integers(0, len(texts) - 1))
        ends = st.integers(0, len(texts[number]))
        begin, end = sorted((chosen.draw(ends), chosen.draw(ends)))
        parts += [(number, begin, end), chosen.draw(st.sampled_from(["", "\n"]))]
    whole = "".join(p if isinstance(p, str) else texts[p[0]][p[1] : p[2]] for p in parts)
    assert [measured.joined(parts)] == Renderer(tokenizer, load_template("alpaca")).count_tokens([whole])


@given(st.lists(st.lists(st.text("ab头痛 \U0001f600", min_size=1, max_size=5), min_size=1), max_size=4))
def test_equal_pieces_have_one_number(batches: list[list[str]]) -> None:
    numbers, seen = Numbers(), list[str]()
    for pieces in batches:
        begins = np.cumsum([0, *map(len, pieces)])
        found, new = numbers.of(codes_of("".join(pieces)), begins)
        seen += [pieces[i] for i in new]
        assert [seen[number] for number in found] == pieces
    assert len(set(seen)) == len(seen) == len(numbers.hashes)


def test_numbers_stay_when_their_table_grows() -> None:
    numbers = Numbers()
    words = [f"{i:06}" for i in range(50_000)]
    for k in range(0, len(words), 10_000):
        numbers.of(codes_of("".join(words[k : k + 10_000])), np.arange(0, 60_001, 6))
    found, new = numbers.of(codes_of("".join(words)), np.arange(0, 300_001, 6))
    assert (found.tolist(), new.tolist()) == (list(range(50_000)), [])


def test_a_tokenizer_that_is_set_to_cut_and_pad_counts_the_same(smollm_tokenizer: Any) -> None:
    counter = TokenCounter(smollm_tokenizer)
    expected = counter(["It hurts here.", "Hello"])
    backend = smollm_tokenizer.backend_tokenizer
    backend.enable_truncation(2)
    backend.enable_padding(length=9)
    try:
        fresh = TokenCounter(smollm_tokenizer)
        assert fresh(["It hurts here.", "Hello"]) == expected == [4, 1]
        assert counter(["Hello there, how are you?"]) == [7]
    finally:
        backend.no_truncation()
        backend.no_padding()
