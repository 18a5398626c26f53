"""The word lists behind the rules for names. Each list names its source in its own first lines."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


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
    """English, Indian and Arabic given names, in lower case."""
    return word_list("given_names_en") | word_list("given_names_in")


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
    """Given names common enough to be told from other words where nothing is capitalised."""
    return frozenset(ranked("given_names_en")[:1500]) - ordinary()


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
    words, common = {}, set()
    with files("jieba").joinpath("dict.txt").open(encoding="utf-8") as lines:
        for line in lines:
            word, count, tag = line.rstrip("\n").split(" ")
            if 2 <= len(word) <= 5:
                words[word] = tag
                if int(count) >= 100:
                    common.add(word)
    return words, frozenset(common)


def chinese_words() -> dict[str, str]:
    """Words of two to five characters with their part of speech, from jieba's dictionary (MIT)."""
    return _jieba()[0]


def common_chinese_words() -> frozenset[str]:
    """Those that jieba's dictionary counts a hundred times or more."""
    return _jieba()[1]
