"""How hard an English text is to read: the measures by which lay summaries are compared (Goldsack et al. 2022).

All three are grades of American schools, estimated from counts. They see the length of words and sentences and
know nothing of sense: a garbled text of short words reads "easy".
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from importlib.resources import files

from mulmed.corpus.sentences import sentences
from mulmed.evaluation.metric import Metric

METRICS = {
    "fkgl": Metric(
        "Flesch-Kincaid grade",
        "School grade by the length of sentences in words and of words in syllables (Kincaid et al. 1975): 0.39 words a "
        "sentence + 11.8 syllables a word - 15.59. Syllables are counted by rules of spelling. Lay summaries in English only.",
        "lower",
    ),
    "cli": Metric(
        "Coleman-Liau index",
        "School grade by letters and sentences a 100 words (Coleman and Liau 1975): 0.0588 letters - 0.296 sentences - 15.8. "
        "Lay summaries in English only.",
        "lower",
    ),
    "dcrs": Metric(
        "Dale-Chall score",
        "Share of words not on the Dale-Chall list of some 3,000 that most pupils of the fourth grade know, and the length of "
        "sentences (Dale and Chall 1948): 0.1579 percent + 0.0496 words a sentence, + 3.6365 above 5 percent. The list is the "
        "textstat package's; regular inflections of its words count as known. Lay summaries in English only.",
        "lower",
    ),
}

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")

_VOWELS = re.compile(r"[aeiouy]+")
#: Endings, and joints of compound words, whose e is silent: tabl|e is not, nor is treat|ed or dos|es.
_SILENT = re.compile(
    r"(?<=[a-z][^laeiouy])e(?=(?:ly|ful|less|ness|ment|fore|work|ty|by)?$)|(?<=[aeiouy][lr])e(?=(?:s|ly|fore)?$)"
    r"|(?<=[^laeiouysxzcgh])e(?=s$)|(?<=[^aeiouytd])e(?=d(?:ly)?$)"
)
#: Neighbouring vowels of two syllables: med|i-a|l, prev|i-ou|s, re-a|ct, nucl|e-a|r ...
_APART = re.compile(
    r"i(?=a(?!ge|l$|lly$|n$|ns$)|o|u|e[tn])|(?<![ctg])i(?=al|an)|e(?=o(?!u)|ing)|(?<![qg])u(?=a|ou|ing|it[yi])"
    r"|[aoy](?=ing)|(?<=r)e(?=act)|(?<=cr)e(?=at)|(?<=nucl)e(?=ar)|e(?=us$)|are(?=as?$)|oe(?=s$|lo)|(?=[st]m$|sms$)|(?<=r)e(?=i)"
)
#: ... and i that only softens the consonant before it: na|ti-on, spe|ci-al, pa|ti-ent.
_SOFT = re.compile(r"(?:[cstxg]i(?=on|ou|en[tc]))|(?<=ll)i(?=on)|(?<=v)i(?=or)|(?<=n)i(?=on$)")


@lru_cache(maxsize=1 << 16)
def syllables(word: str) -> int:
    """Syllables of an English word by rules of spelling, at least one; capital letters alone are spelled out (DNA: 3)."""
    if 1 < len(word) < 6 and word.isupper():
        return sum(3 if letter == "W" else 1 for letter in word)
    low = word.lower()
    bare = _SILENT.sub("", low) if len(low) > 2 else low
    return max(1, len(_VOWELS.findall(bare)) + len(_APART.findall(bare)) - len(_SOFT.findall(bare)))


def readability(text: str) -> dict[str, float]:
    """``fkgl``, ``cli`` and ``dcrs`` of an English text; nothing for a text without a word."""
    words = [word for found in _WORD.findall(text) for word in found.split("-")]
    if not words:
        return {}
    count = sum(_WORD.search(sentence) is not None for sentence in sentences(text, "en"))
    letters = sum(sum(map(str.isalpha, word)) for word in words)
    per_sentence = len(words) / count
    hard = 100 * sum(not known(word) for word in words) / len(words)
    return {
        "fkgl": 0.39 * per_sentence + 11.8 * sum(map(syllables, words)) / len(words) - 15.59,
        "cli": (5.88 * letters - 29.6 * count) / len(words) - 15.8,
        "dcrs": 0.1579 * hard + 0.0496 * per_sentence + (3.6365 if hard > 5 else 0.0),
    }


@cache
def _easy() -> frozenset[str]:
    listed = files("textstat") / "resources" / "en" / "easy_words.txt"
    return frozenset(listed.read_text(encoding="utf-8").lower().split())


#: Regular inflections (Dale and Chall's rules): what is taken off a word's end, and what may have stood there.
_INFLECTED = (("'s", ""), ("s'", "s"), ("ies", "y"), ("ied", "y"), ("es", ""), ("s", ""), ("ed", ""), ("ed", "e"), ("ing", ""), ("ing", "e"), ("er", ""), ("est", ""), ("ly", ""))  # fmt: skip


@lru_cache(maxsize=1 << 16)
def known(word: str) -> bool:
    """Whether a word, or what it is a regular inflection of, stands on the Dale-Chall list."""
    low = word.lower().replace("’", "'")
    if low in _easy():
        return True
    for end, instead in _INFLECTED:
        stem = low.removesuffix(end) + instead
        if low.endswith(end) and len(stem) > 1:
            doubled = stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] else stem
            if stem in _easy() or doubled in _easy():
                return True
    return False
