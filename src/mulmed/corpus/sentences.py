"""Sentences of a text, cut so that the pieces put together are the text again.

English and Chinese have rules here; another language has its file's ends of sentences and abbreviations.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

from mulmed.recipe.language import added

# A full stop after these does not end a sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|vs|etc|e\.g|i\.e|approx|al|cf|Fig|Figs|No|Nos|Inj|Tab|Cap|Syp|resp|incl"
    r"|temp|wt|ht|yrs?|mins?|hrs?)|\b[A-Za-z]|(?:^|[\s:;,)])\d{1,2})\.$",
    re.IGNORECASE,
)
# Each begins with one set of characters, for which a text is searched fastest.
_ENGLISH_END = re.compile(
    r"[.!?…\n](?:(?<=\n)\n*"
    r"|(?<!\n)[.!?…]*[\"'”’)\]]*(?:\s+|(?=[A-Z][a-z])))"  # "the pain.Take care" is two sentences as well
)
_CHINESE_END = re.compile(
    r"[。！？!?；;….\n](?:(?<=\n)\n*|(?:(?<![.\n])|(?<=\.)(?=\s|$))(?:[。！？!?；;…]|\.(?=\s|$))*[”’」』）)】\]]*\s*)"
)


def sentences(text: str, language: str) -> list[str]:
    """Sentences with the space that follows them: ``"".join(sentences(t, l)) == t``.

    Line breaks always end a sentence. Decimal numbers, list numbers ("1. rest") and common
    abbreviations do not; nor does a Chinese comma.
    """
    return [text[start:end] for start, end in pairwise([0, *sentence_ends(text, language)])]


def sentence_ends(text: str, language: str) -> list[int]:
    """Where the :func:`sentences` of a text end, and the next ones begin."""
    if language == "zh":
        ends = [match.end() for match in _CHINESE_END.finditer(text)]
    elif (own := added().get(language)) is not None:
        end, abbreviation = _rules(own.sentence_ends, own.abbreviations, own.units)
        ends = [
            match.end()
            for match in end.finditer(text)
            if match[0].rstrip() != "."
            or "\n" in match[0]
            or not abbreviation.search(text, 0, match.start() + 1)
        ]
    else:
        ends, begin = [], 0
        for match in _ENGLISH_END.finditer(text):
            if not _abbreviates(text, begin, *match.span()):
                begin = match.end()
                ends.append(begin)
    if text and (not ends or ends[-1] < len(text)):
        ends.append(len(text))
    return ends


@cache
def _rules(marks: str, abbreviations: tuple[str, ...], units: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """What ends a sentence of a language that a file has added, and what stands before a full stop that does not."""
    mark = f"[{re.escape(marks)}]"
    # Between words stand spaces, and so they do between sentences; elsewhere only a full stop may be a point.
    after = r"(?:\s+|$)" if units == "words" else r"(?:\s+|$|(?<!\.))"
    known = "|".join(re.escape(word) for word in sorted(abbreviations, key=len, reverse=True))
    before = rf"\b(?:{known})|" if known else ""
    return (
        re.compile(rf"\n+|{mark}(?!\n){mark}*[\"'”’»)\]」』]*{after}"),
        re.compile(rf"(?:{before}\b[^\W\d_]|(?:^|[\s:;,)])\d{{1,2}})\.$", re.IGNORECASE),
    )


def _abbreviates(text: str, begin: int, at: int, end: int) -> bool:
    """Whether a full stop in the sentence from ``begin`` belongs to an abbreviation or to a list's number."""
    # Most sentences end in a word of five letters or more, which is an abbreviation only if "approx".
    ending = text[at - 5 : at] if at - 5 >= begin else ""
    if ending.isalpha() and ending.lower() != "pprox":
        return False
    mark = text[at:end]
    return (
        mark.rstrip() == "."
        and "\n" not in mark
        and _ABBREVIATION.search(text[max(begin, at - 12) : at + 1]) is not None
    )
