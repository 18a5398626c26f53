"""Hashed n-grams are those one would write down, and nothing else."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus.ngrams import HashSet, blocks, folded, units

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


@settings(deadline=None, max_examples=300)
@given(_TEXTS)
def test_units_and_ngrams_are_those_of_the_plain_definition(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "replace").decode() for text in texts]
    block = units(texts)
    plain = [plain_units(text) for text in texts]
    assert block.lengths.tolist() == [len(p) for p in plain]
    text, _, hashes = block.ngrams(2, 3)
    sizes = np.where(block.chinese, 3, 2)
    expected = [
        (i, tuple(p[k : k + n]))
        for i, (p, n) in enumerate(zip(plain, sizes, strict=True))
        for k in range(len(p) - n + 1)
    ]
    assert text.tolist() == [i for i, _ in expected]
    # Hashes are equal exactly where the n-grams are.
    assert len(set(zip(hashes.tolist(), (g for _, g in expected), strict=True))) == len(set(hashes.tolist()))
    assert len(set(hashes.tolist())) == len({g for _, g in expected})
    letters = ["".join(re.findall(r"[^\W_]+", folded(t.replace("\0", " ")))) for t in texts]
    assert len(set(block.wholes().tolist())) == len(set(letters))


def test_hashes_do_not_depend_on_the_neighbours() -> None:
    texts = ["I have a headache since Monday.", "头痛三天了，怎么办？", "Ｉ HAVE a headache; since monday"]
    together = units(texts).ngrams(3, 4)
    alone = [units([t]).ngrams(3, 4)[2].tolist() for t in texts]
    assert together[2].tolist() == [h for part in alone for h in part]
    assert alone[0] == alone[2] != []


@given(st.lists(st.integers(0, 2**64 - 1)), st.lists(st.integers(0, 2**64 - 1)))
def test_a_hash_set_finds_what_it_holds(held: list[int], asked: list[int]) -> None:
    hashes = HashSet(np.array(held, np.uint64))
    asked += held[:3]
    found, places = hashes.find(np.array(asked, np.uint64))
    assert found.tolist() == [i for i, a in enumerate(asked) if a in held]
    assert [int(hashes.hashes[p]) for p in places] == [asked[i] for i in found]


@given(st.lists(st.integers(0, 100_000)))
def test_blocks_cover_everything_in_order(lengths: list[int]) -> None:
    assert [i for part in blocks(lengths) for i in range(len(lengths))[part]] == list(range(len(lengths)))
