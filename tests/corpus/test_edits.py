"""Edits in several passes: the sum of them is one series that turns the original into the result."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus.edits import Draft, Edit, apply, differences


def test_one_pass_is_kept_as_it_is() -> None:
    draft = Draft("a <b>c</b> d")
    assert draft.sub(re.compile("</?b>"), "", "tag") == 2
    assert draft.text == "a c d"
    assert draft.edits == (Edit(2, 5, "", "tag"), Edit(6, 10, "", "tag"))


def test_later_edits_are_told_in_offsets_of_the_original() -> None:
    draft = Draft("&lt;p&gt;Tel 123")
    draft.sub(re.compile("&lt;|&gt;"), lambda m: {"&lt;": "<", "&gt;": ">"}[m[0]], "entity")
    draft.sub(re.compile("<p>"), "", "tag")
    draft.sub(re.compile(r"\d+"), "[PHONE]", "phone")
    assert draft.text == "Tel [PHONE]"
    assert draft.edits == (Edit(0, 9, "", "entity+tag"), Edit(13, 16, "[PHONE]", "phone"))


def test_what_is_put_back_is_no_edit() -> None:
    draft = Draft("abc")
    assert draft.sub(re.compile("b"), "b", "same") == 0
    draft.sub(re.compile("b"), "x", "there")
    draft.sub(re.compile("x"), "b", "back")
    assert draft.text == "abc"
    assert draft.edits == ()


def test_an_edit_beside_an_earlier_one_stays_apart() -> None:
    draft = Draft("ab")
    draft.sub(re.compile("a"), "xx", "one")
    draft.sub(re.compile("b"), "y", "two")
    assert draft.edits == (Edit(0, 1, "xx", "one"), Edit(1, 2, "y", "two"))


@st.composite
def passes(draw: st.DrawFn) -> tuple[str, list[list[tuple[int, int, str]]]]:
    text = draw(st.text("abc", max_size=12))
    rounds = []
    for _ in range(draw(st.integers(1, 4))):
        cuts = sorted(draw(st.lists(st.integers(0, 14), max_size=6)))
        rounds.append(
            [(a, b, draw(st.text("xyz", max_size=3))) for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
        )
    return text, rounds


@settings(max_examples=500)
@given(passes())
def test_the_sum_of_all_passes_is_the_result(case: tuple[str, list[list[tuple[int, int, str]]]]) -> None:
    text, rounds = case
    draft, expected = Draft(text), text
    for number, edits in enumerate(rounds):
        made, last = [], -1
        for start, end, new in edits:
            start, end = min(start, len(expected)), min(end, len(expected))
            if start > last or (start == last and start < end):
                made.append(Edit(start, end, new, f"r{number}"))
                last = end
        expected = apply(expected, made)
        draft.change(made)
        assert draft.text == expected
        assert apply(text, draft.edits) == expected
        assert all(a.end <= b.start for a, b in zip(draft.edits, draft.edits[1:], strict=False))
        assert all(text[e.start : e.end] != e.replacement for e in draft.edits)


def test_differences_are_few_and_do_not_touch() -> None:
    assert list(differences("cafÃ© â€™s", "café ’s", "encoding", offset=10)) == [
        Edit(13, 15, "é", "encoding"),
        Edit(16, 19, "’", "encoding"),
    ]
    assert list(differences("same", "same", "none")) == []


@given(st.text("abc", max_size=12), st.text("abc", max_size=12))
def test_differences_make_the_one_text_out_of_the_other(before: str, after: str) -> None:
    edits = list(differences(before, after, "any"))
    assert apply(before, edits) == after
    assert all(a.end < b.start for a, b in pairwise(edits))
