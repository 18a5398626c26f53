"""Lay summaries of PLOS and eLife articles (Goldsack et al. 2022), as published: tokenised text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulmed.corpus.sources.layout import Found, Note, Parsed, Rejected, Unusable, pair, read_json, text


def read(path: Path) -> Iterator[Found | Rejected]:
    """Records of task ``summary``: abstract and lay summary, with the corpus's tokenisation undone.

    Two published forms are read: ``abstract`` and ``lay_summary``; or ``article``, whose first
    paragraph is the abstract, and ``summary``. Either text may be a list of sentences.
    """
    return read_json(path, _parse)


def _parse(row: Mapping[str, Any]) -> Parsed:
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


_FREE_STOP = re.compile(r"\S [.,](?=\s|$)")
_TIED_STOP = re.compile(r"\w[.,](?=\s|$)")


def is_tokenised(content: str) -> bool:
    """Whether most full stops and commas stand alone, as a tokeniser leaves them."""
    return len(_FREE_STOP.findall(content)) > len(_TIED_STOP.findall(content))


def _without_spaces(match: re.Match[str]) -> str:
    return match.group().replace(" ", "")


# In this order: what is a number, an address or an abbreviation must be known before the rules of
# ordinary sentences close the gap before a stop.
_RULES: tuple[tuple[re.Pattern[str], Any], ...] = (
    # 0 . 05; a sentence that ends in one number and is followed by another is rare enough.
    (re.compile(r"(?<=\d) \. (?=\d)"), "."),
    # 10 , 000 and 1 , 120 , 998, but not 2010 , 201
    (re.compile(r"(?<![\d.])\d{1,3}(?: , \d{3})+(?!\d)"), _without_spaces),
    # http://www . example . org/a . html; a capital after the address begins a sentence.
    (re.compile(r"(?:https?://\S+|\bwww) \. [^\s.,()]\S*(?: \. [a-z0-9]\S*)*"), _without_spaces),
    # a . name@example . org
    (re.compile(r"(?<=\w) \. (?=[\w+-]+@)"), "."),
    (re.compile(r"@[\w-]+(?: \. [a-z]\S*)+"), _without_spaces),
    # e . g . and i . e . and P . R . China, T . b . gambiense
    (re.compile(r"(?<=\b[A-Za-z]) \. (?=[A-Za-z] \.)"), "."),
    (re.compile(r" \.(?: \.)+"), " ..."),
    (re.compile(r" +([.,?!;:)\]])(?=[\s)\]”’\"'.,;:?!]|$)"), r"\1"),
    (re.compile(r"([(\[]) +"), r"\1"),
    (re.compile(r"(?<=[.,?!]) (?=[”’])"), ""),
)


def detokenise(content: str) -> str:
    """Text as it was written, from text in which the corpus set spaces around ``. , ( ) ?``.

    Decimal and thousands separators, addresses, and abbreviations of single letters are joined too.
    """
    for pattern, replacement in _RULES:
        content = pattern.sub(replacement, content)
    return content.strip()
