"""Filters of a reply's text give the same however it is cut."""

from __future__ import annotations

import itertools
import re

from hypothesis import given
from hypothesis import strategies as st

from mulmed.safety import Policy, mask
from mulmed.serving.reply import Reply
from mulmed.serving.text import Trimmed, Until, language_of

SHORT = st.text("ab#\n ", max_size=12)
STRINGS = st.lists(st.text("ab#", min_size=1, max_size=4), max_size=3)


@given(st.lists(SHORT, max_size=6), STRINGS)
def test_text_ends_where_the_first_string_begins(pieces: list[str], strings: list[str]) -> None:
    whole = "".join(pieces)
    until = Until(strings)
    shown = "".join(map(until.feed, pieces)) + until.finish()
    pattern = "|".join(map(re.escape, strings))
    assert shown == (re.split(pattern, whole, maxsplit=1)[0] if strings else whole)
    assert until.hit == (shown != whole)


def test_only_what_may_be_the_beginning_of_a_string_is_held_back() -> None:
    until = Until(["###"])
    assert [until.feed(p) for p in ("a #", "b #", "#", "x", "##")] == ["a ", "#b ", "", "##x", ""]
    assert until.finish() == "##"
    # "ca" is whole, but "abcab" would begin before it.
    until = Until(["ca", "abcab"])
    assert [until.feed("abca"), until.feed("c")] == ["", "ab"]
    assert until.hit


@given(st.lists(SHORT, max_size=6))
def test_blanks_around_a_text_go(pieces: list[str]) -> None:
    trimmed = Trimmed()
    assert "".join(map(trimmed.feed, pieces)) == "".join(pieces).strip()


REPLY = (
    " \nAs a doctor, I see you, [NAME_1].\nTake 500 mg of paracetamol every 6 hours. Call [PHONE_1]! 请多喝水。"
    "STOPPED here.\n### Instruction:\nMore"
)


def shown(pieces: list[str], stop: tuple[str, ...]) -> tuple[str, bool]:
    vault = mask(["My name is John Smith, my number is 415-555-0134."]).vault
    assert set(vault.values) == {"[NAME_1]", "[PHONE_1]"}
    reply = Reply(["### Instruction:"], stop, vault, Policy(), "en")
    text = ""
    for piece in pieces:
        text += reply.feed(piece)
        if reply.ended:
            break
    return text + reply.finish(), reply.ended


@given(st.lists(st.integers(0, len(REPLY)), max_size=20), st.sampled_from([(), ("STOP",), ("415",)]))
def test_a_reply_is_the_same_however_it_is_cut(cuts: list[int], stop: tuple[str, ...]) -> None:
    places = [0, *sorted(cuts), len(REPLY)]
    pieces = [REPLY[a:b] for a, b in itertools.pairwise(places)]
    assert shown(pieces, stop) == shown([REPLY], stop)


def test_what_a_reply_becomes() -> None:
    text, ended = shown([REPLY], ())
    assert ended
    assert text == (
        "I see you, John Smith.\nTake 500 mg of paracetamol every 6 hours. Call 415-555-0134! 请多喝水。"
        "STOPPED here.\n\nDoses in this answer have not been checked for you. Ask a doctor or pharmacist before you "
        "take, change or stop a medicine."
    )
    # The stop string is sought in what the user would read.
    assert shown([REPLY], ("415-555",))[0].startswith("I see you, John Smith.\nTake 500 mg of paracetamol")
    assert "0134" not in shown([REPLY], ("415-555",))[0]


def test_the_language_is_that_of_the_last_text_with_words() -> None:
    assert language_of(["My head hurts."]) == "en"
    assert language_of(["我吃了 aspirin 两片"]) == "zh"
    assert language_of(["I saw 王 yesterday"]) == "en"
    assert language_of(["头痛", "?", "120/80"]) == "zh"
    assert language_of(["37.5"]) == "en"
