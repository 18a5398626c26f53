"""Hashed n-grams are those one would write down, and nothing else."""

from __future__ import annotations

import pickle
import random
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus.folding import folded
from mulmed.corpus.hashes import HashSet
from mulmed.corpus.ngrams import Units, blocks, units

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


def plain_units(text: str) -> list[str]:
    """What the module promises, sign by sign."""
    runs = re.findall(r"[^\W_]+", folded(text.replace("\0", " ")))
    han = [sign for run in runs for sign in run if _HAN.match(sign)]
    words = [word for run in runs for word in _HAN.sub(" ", run).split()]
    return [sign for run in runs for sign in run] if han and len(han) >= len(words) else runs


_SIGNS = st.sampled_from(
    "aZ9 ,.，。头痛三天℃㎎①ﬁéßİⅡ½\u0301\u0300\u00ad\uff9eｶＡ５\0_²\uac00\u1100\u1161\U00020000\U0001f600ςー\u3099"
)
_TEXTS = st.lists(
    st.text(st.one_of(_SIGNS, st.sampled_from("ab 头痛"), st.characters()), max_size=14),
    min_size=1,
    max_size=4,
)


@settings(max_examples=300)
@given(_TEXTS)
def test_units_and_ngrams_are_those_of_the_plain_definition(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    block = units(texts)
    plain = [plain_units(text) for text in texts]
    assert block.lengths.tolist() == [len(p) for p in plain]
    sizes = np.where(block.chinese, 3, 2)
    text, hashes = ngrams(block)
    expected = [
        (i, tuple(p[k : k + n]))
        for chinese in (False, True)
        for i, (p, n) in enumerate(zip(plain, sizes, strict=True))
        for k in range(len(p) - n + 1)
        if block.chinese[i] == chinese
    ]
    assert text == [i for i, _ in expected]
    # Hashes are equal exactly where the n-grams are.
    grams = [(bool(block.chinese[i]), g) for i, g in expected]
    assert len(set(zip(hashes, grams, strict=True))) == len(set(hashes)) == len(set(grams))
    letters = ["".join(re.findall(r"[^\W_]+", folded(t.replace("\0", " ")))) for t in texts]
    assert [text.decode() for text in block.letters(range(len(texts)))] == letters
    assert len(set(block.wholes(np.arange(len(texts))).tolist())) == len(set(letters))
    assert block.sizes.tolist() == [len(x.encode()) for x in letters]


def ngrams(block: Units, words: int = 2, characters: int = 3) -> tuple[list[int], list[int]]:
    """Of all n-grams, by words and by characters: the index of the text, and the hash."""
    by_words, by_characters = block.words.ngrams(words), block.characters.ngrams(characters)
    text = np.concatenate((by_words[0], by_characters[0]))
    return text.tolist(), np.concatenate((by_words[2], by_characters[2])).tolist()


def test_hashes_do_not_depend_on_the_neighbours() -> None:
    texts = ["I have a headache since Monday.", "头痛三天了，怎么办？", "Ｉ HAVE a headache; since monday"]
    text, together = ngrams(units(texts), 3, 4)
    alone = [ngrams(units([t]), 3, 4)[1] for t in texts]
    assert together == [*alone[0], *alone[2], *alone[1]]
    assert text == [0] * 4 + [2] * 4 + [1] * 5
    assert alone[0] == alone[2]


@given(_TEXTS, st.integers(1, 4))
def test_windows_are_the_ngrams_and_those_across_borders(texts: list[str], n: int) -> None:
    block = units([text.encode("utf-8", "replace").decode() for text in texts])
    for strand in (block.words, block.characters):
        text, position, hashes = strand.ngrams(n)
        windows = strand.windows(n)
        assert len(windows) == max(sum(strand.lengths) - n + 1, 0)
        inside, which = strand.inside(np.arange(len(windows)), n)
        assert inside.tolist() == position.tolist()
        assert strand.texts[which].tolist() == text.tolist()
        assert windows[inside].tolist() == hashes.tolist()


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 40, 300])
def test_words_of_any_length_are_told_apart(length: int) -> None:
    word = "".join(random.Random(length).choices("abcdefgh", k=length))
    others = [word[:i] + "z" + word[i + 1 :] for i in range(length)] + [word + "a", word[:-1], word[1:]]
    hashes = ngrams(units([word, *others]), 1, 1)[1]
    assert len(set(hashes)) == len({w for w in [word, *others] if w})
    # What stands behind a word does not count.
    assert (
        ngrams(units([word + ".", "x " + word + " y"]), 1, 1)[1][0]
        == hashes[0]
        == ngrams(units(["x " + word]), 1, 1)[1][1]
    )


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_a_hash_set_finds_what_it_holds(held: list[int], asked: list[int]) -> None:
    hashes = pickle.loads(pickle.dumps(HashSet(np.array(held, np.uint64))))
    asked += held[:3]
    found, places = hashes.find(np.array(asked, np.uint64))
    assert found.tolist() == [i for i, a in enumerate(asked) if a in held]
    assert [int(hashes.hashes[p]) for p in places] == [asked[i] for i in found]


@given(st.lists(st.integers(0, 100_000)))
def test_blocks_cover_everything_in_order(lengths: list[int]) -> None:
    assert [i for part in blocks(lengths) for i in range(len(lengths))[part]] == list(range(len(lengths)))
