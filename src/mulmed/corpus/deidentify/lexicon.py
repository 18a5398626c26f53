"""The word lists behind the rules for names. Each list names its source in its own first lines."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from itertools import compress


@cache
def word_list(name: str) -> frozenset[str]:
    """The words of one of our lexicons (``lexicons/NAME.txt``; lines beginning with # are comments)."""
    return frozenset(ranked(name))


@cache
def ranked(name: str) -> tuple[str, ...]:
    """The same words in the order of the file."""
    text = files("mulmed.corpus").joinpath("lexicons", f"{name}.txt").read_text(encoding="utf-8")
    return tuple(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


@cache
def given_names() -> frozenset[str]:
    """Given names of the United States, South Asia, Europe, Africa and Japan, in lower case."""
    return word_list("given_names_en") | word_list("given_names_in") | word_list("given_names_eu")


@cache
def surnames() -> frozenset[str]:
    """Family names of the United States and of India, in lower case."""
    return word_list("surnames_en") | word_list("surnames_in")


@cache
def ordinary() -> frozenset[str]:
    """Words that are no name by themselves: ordinary words, eponyms, drugs, places, in lower case."""
    return word_list("words_en") | word_list("not_names_en") | not_people()


@cache
def not_people() -> frozenset[str]:
    """Eponyms, drugs and places, in lower case."""
    return word_list("eponyms_en") | word_list("drugs_en") | word_list("places_en")


@cache
def lone_given_names() -> frozenset[str]:
    """Given names that mean a person wherever they stand alone."""
    return given_names() - ordinary()


@cache
def transcribed_names() -> frozenset[str]:
    """Given names to be told from other words where nothing is capitalised: rare ones that are short are misspelt words."""
    rare = {name for name in given_names() if len(name) > 4}
    return (frozenset(ranked("given_names_en")[:1500]) | rare) - ordinary()


@cache
def common_surnames() -> frozenset[str]:
    """Family names common enough to make a name of a word such as Mark or Rose before them."""
    return frozenset(ranked("surnames_en")[:1000]) | word_list("surnames_in")


@cache
def not_people_zh() -> frozenset[str]:
    """Chinese drugs, herbs and words that look like a name."""
    return word_list("not_people_zh")


@cache
def _jieba() -> tuple[dict[str, str], frozenset[str]]:
    fields = files("jieba").joinpath("dict.txt").read_text(encoding="utf-8").replace("\n", " ").split(" ")
    short = [2 <= len(word) <= 5 for word in fields[:-1:3]]
    words = dict(compress(zip(fields[::3], fields[2::3], strict=False), short))
    common = (
        word
        for word, count in compress(zip(fields[::3], fields[1::3], strict=False), short)
        if int(count) >= 100
    )
    return words, frozenset(common)


def chinese_words() -> dict[str, str]:
    """Words of two to five characters with their part of speech, from jieba's dictionary (MIT)."""
    return _jieba()[0]


def common_chinese_words() -> frozenset[str]:
    """Those that jieba's dictionary counts a hundred times or more."""
    return _jieba()[1]
