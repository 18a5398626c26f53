"""Sentences that advertise or send the patient to a paid service, and texts that do nothing else."""

from __future__ import annotations

import re

from mulmed.corpus.edits import Edit, apply
from mulmed.corpus.moderate.lexicon import SELLS, Found, folded, matcher
from mulmed.corpus.sentences import sentences

#: A text this short says nothing once its advertisement is gone: words in English, characters in Chinese.
_LEAST = {"en": 6, "zh": 10}
#: So many selling phrases in a text are an advertisement, whatever else it says.
_SOLICITS = 3
# Advertising that is quoted, doubted or warned against.
_WARNS = re.compile(
    r"\b(?:do not|don't|never|beware|avoid|scam|fraud|no such|there is no|not believe|is there)\b"
    r"|不要|别信|不能?相信|不可信|谨防|警惕|虚假|骗|没有|不存在|切勿|切忌|勿|是真的吗|有没有|可信吗|听说|所谓|并非|不是|不确|不提?倡|不推荐|不建议"
)
_ENGLISH_WORD = re.compile(r"[a-z0-9]+")
_CHINESE_CHARACTER = re.compile(r"[\u4e00-\u9fff]")


def without_selling(text: str, language: str | None = None) -> tuple[str, tuple[Edit, ...]]:
    """The text without the sentences that advertise or refer to a paid service.

    The edits' rules are ``advertisement`` and ``referral``; offsets into ``text``.
    """
    edits = selling_edits(text, matcher(SELLS).matches(folded(text)), language)
    return (apply(text, edits), edits) if edits else (text, ())


def selling_edits(text: str, found: Found, language: str | None) -> tuple[Edit, ...]:
    """What takes the selling sentences out of a text in which the lists found ``found``."""
    if found.keys().isdisjoint(SELLS):
        return ()
    plain = folded(text)
    edits: list[Edit] = []
    position = 0
    for sentence in sentences(text, language or language_of(text)):
        end = position + len(sentence)
        rule = _sells(plain[position:end])
        if rule:
            edits.append(Edit(position, end, "", rule))
        position = end
    if edits and edits[-1].end == len(text):  # the space before it would stand at the end of the text
        last = edits[-1]
        floor = edits[-2].end if len(edits) > 1 else 0
        start = max(floor, len(text[: last.start].rstrip()))
        edits[-1] = last._replace(start=start)
    return tuple(edits)


def _sells(plain: str) -> str | None:
    found = matcher(SELLS).matches(plain)
    for rule in SELLS:
        if rule in found:
            return None if rule == "advertisement" and _WARNS.search(plain) else rule
    return None


def warns(plain: str) -> bool:
    """Whether a text in lower case quotes, doubts or warns against advertising."""
    return _WARNS.search(plain) is not None


def solicits(text: str, found: Found, language: str | None) -> bool:
    """Whether a text holds so many selling phrases, warnings left out, that it is one advertisement."""
    if len(found.get("advertisement", ())) < _SOLICITS:
        return False
    cut = map(folded, sentences(text, language or language_of(text)))
    phrases = (len(matcher(SELLS).matches(s).get("advertisement", ())) for s in cut if not _WARNS.search(s))
    return sum(phrases) >= _SOLICITS


def advertises(text: str, found: Found, language: str | None) -> str | None:
    """The rule by which a text is an advertisement and little else, or ``None``."""
    edits = selling_edits(text, found, language)
    if not edits:
        return None
    if says_little(apply(text, edits)) or solicits(text, found, language):
        return edits[0].rule
    return None


def says_little(text: str) -> bool:
    """Whether a text is too short to say anything."""
    language = language_of(text)
    pattern = _CHINESE_CHARACTER if language == "zh" else _ENGLISH_WORD
    return sum(1 for _ in pattern.finditer(folded(text))) < _LEAST[language]


def language_of(text: str) -> str:
    """``zh`` where more Chinese characters than English words stand in a text, else ``en``."""
    if text.isascii():
        return "en"
    chinese = sum(1 for _ in _CHINESE_CHARACTER.finditer(text))
    return "zh" if chinese > sum(1 for _ in _ENGLISH_WORD.finditer(text.lower())) else "en"
