"""Lay summaries of PLOS and eLife articles (Goldsack et al. 2022), as published: tokenised text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mulmed.corpus.sources.layout import Note, Parsed, Unusable, pair, text


def parse(row: Mapping[str, Any]) -> Parsed:
    """Records of task ``summary``: abstract and lay summary, with the corpus's tokenisation undone.

    Two published forms are read: ``abstract`` and ``lay_summary``; or ``article``, whose first
    paragraph is the abstract, and ``summary``. Either text may be a list of sentences.
    """
    summary_key = "summary" if "lay_summary" not in row and "summary" in row else "lay_summary"
    if "abstract" not in row and "article" in row:
        abstract = _text(row, "article").strip().split("\n", 1)[0]
    else:
        abstract = _text(row, "abstract")
    summary = _text(row, summary_key)
    notes = []
    texts = []
    for content in (abstract, summary):
        written = detokenise(content) if is_tokenised(content) else content
        if written != content:
            notes.append(Note("tokenised text joined", characters=len(content) - len(written)))
        texts.append(written)
    return Parsed("summary", pair(*texts), notes=tuple(notes))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if isinstance(value, list):
        if not all(isinstance(sentence, str) for sentence in value):
            raise Unusable(f"{key} is not text")
        return text({key: " ".join(value)}, key)
    return text(row, key)


def is_tokenised(content: str) -> bool:
    """Whether most full stops and commas stand alone, as a tokeniser leaves them."""
    padded = f"{content} "
    alone = padded.count(" . ") + padded.count(" , ")
    return 2 * alone > padded.count(". ") + padded.count(", ")


def _without_spaces(match: re.Match[str]) -> str:
    return match.group().replace(" ", "")


# In this order: what is a number, an address or an abbreviation must be known before the rules of
# ordinary sentences close the gap before a stop. A rule runs where its first pattern, which begins with a
# literal and so costs little, is found.
_RULES: tuple[tuple[re.Pattern[str], re.Pattern[str], Any], ...] = tuple(
    (re.compile(trigger), re.compile(pattern), replacement)
    for trigger, pattern, replacement in (
        # 0 . 05; a sentence that ends in one number and is followed by another is rare enough.
        (r" \. \d", r" \. (?<=\d \. )(?=\d)", "."),
        # 10 , 000 and 1 , 120 , 998, but not 2010 , 201
        (r" , \d{3}(?!\d)", r"(?<![\d.])\d{1,3}(?: , \d{3})+(?!\d)", _without_spaces),
        # http://www . example . org/a . html; a capital after the address begins a sentence.
        (r"http", r"https?://\S+ \. [^\s.,()]\S*(?: \. [a-z0-9]\S*)*", _without_spaces),
        (r"www \. ", r"\bwww \. [^\s.,()]\S*(?: \. [a-z0-9]\S*)*", _without_spaces),
        # a . name@example . org
        (r"@", r" \. (?<=\w \. )(?=[\w+-]+@)", "."),
        (r"@", r"@[\w-]+(?: \. [a-z]\S*)+", _without_spaces),
        # e . g . and i . e . and P . R . China, T . b . gambiense
        (r" \. [A-Za-z] \.", r" \. (?<=\b[A-Za-z] \. )(?=[A-Za-z] \.)", "."),
        (r" \. \.", r" \.(?: \.)+", " ..."),
    )
)
_GAP_BEFORE_STOP = re.compile(r" +(?=[.,?!;:)\]][\s)\]”’\"'.,;:?!])")
_GAP_BEFORE_QUOTE = re.compile(r" (?<=[.,?!] )(?=[”’])")


def detokenise(content: str) -> str:
    """Text as it was written, from text in which the corpus set spaces around ``. , ( ) ?``.

    Decimal and thousands separators, addresses, and abbreviations of single letters are joined too.
    """
    content = f"{content} "  # so that a space follows the last stop as well
    for trigger, pattern, replacement in _RULES:
        if trigger.search(content):
            content = pattern.sub(replacement, content)
    for stop in " . ", " , ", " ) ":  # nearly all of them, in a tenth of the pattern's time
        content = content.replace(stop, stop[1:])
    if any(f" {stop}" in content for stop in ".,?!;:)]"):
        content = _GAP_BEFORE_STOP.sub("", content)
    for bracket in "(", "[":
        while f"{bracket} " in content:
            content = content.replace(f"{bracket} ", bracket)
    if " ”" in content or " ’" in content:
        content = _GAP_BEFORE_QUOTE.sub("", content)
    return content.strip()
