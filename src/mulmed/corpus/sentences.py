"""Sentences of English and Chinese text, cut so that the pieces put together are the text again."""

from __future__ import annotations

import re

# A full stop after these does not end a sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:Dr|Mr|Mrs|Ms|Prof|St|vs|etc|e\.g|i\.e|approx|al|cf|Fig|Figs|No|Nos|Inj|Tab|Cap|Syp|resp|incl"
    r"|temp|wt|ht|yrs?|mins?|hrs?)|\b[A-Za-z]|(?:^|[\s:;,)])\d{1,2})\.$",
    re.IGNORECASE,
)
_ENGLISH_END = re.compile(
    r"[.!?…]+[\"'”’)\]]*(?:\s+|(?=[A-Z][a-z]))"  # "the pain.Take care" is two sentences as well
    r"|\n+"
)
_CHINESE_END = re.compile(r"(?:[。！？!?；;…]|\.(?=\s|$))+[”’」』）)】\]]*\s*|\n+")


def sentences(text: str, language: str) -> list[str]:
    """Sentences with the space that follows them: ``"".join(sentences(t, l)) == t``.

    Line breaks always end a sentence. Decimal numbers, list numbers ("1. rest") and common
    abbreviations do not; nor does a Chinese comma.
    """
    end = _CHINESE_END if language == "zh" else _ENGLISH_END
    pieces, start = [], 0
    for match in end.finditer(text):
        if not match.end() or match.end() == len(text):
            continue
        if language != "zh" and "\n" not in match[0]:
            at = match.start()
            # Most sentences end in a word of five letters or more, which is an abbreviation only if "approx".
            ending = text[max(start, at - 5) : at]
            long = len(ending) == 5 and ending.isalpha() and ending.lower() != "pprox"
            if (
                not long
                and match[0].rstrip() == "."
                and _ABBREVIATION.search(text[max(start, at - 12) : at + 1])
            ):
                continue
        pieces.append(text[start : match.end()])
        start = match.end()
    if start < len(text):
        pieces.append(text[start:])
    return pieces
