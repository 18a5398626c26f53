"""English names without a cue: runs of capitalised words in which a given or a family name stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache

from mulmed.corpus.deidentify.lexicon import (
    common_surnames,
    given_names,
    lone_given_names,
    not_people,
    ordinary,
    surnames,
    word_list,
)
from mulmed.corpus.deidentify.spans import Span

#: Capital and small letters of the languages of Europe.
UPPER, LOWER = "A-ZÀ-ÖØ-ÞĀ-ž", "a-zß-öø-ÿĀ-ž"
# Possessive: a name gives none of its letters back when what must follow does not.
WORD = rf"[{UPPER}][{LOWER}]++(?:['’-][{UPPER}]?[{LOWER}]++)*+(?:[{UPPER}][{LOWER}]++)?+"
EDGE = rf"(?<![{UPPER}{LOWER}\d])"
_CAPITALISED = re.compile(rf"[{UPPER}][{LOWER}]+")
_CAPITALISED_ASCII = re.compile("[A-Z][a-z]+")
#: Capitalised words with a capital behind a space.
_SEVERAL = re.compile(rf"[{UPPER}][{LOWER}]+[^ ]*(?: [{UPPER}][^ ]*)+")
_SEVERAL_ASCII = re.compile("[A-Z][a-z]+[^ ]*(?: [A-Z][^ ]*)+")
_GLUED_WORD = re.compile("[A-Z][a-z]+(?:[A-Z][a-z]+)?")
_SMALL = b"abcdefghijklmnopqrstuvwxyz"
_BIG = _SMALL.upper()
#: Bytes of a text as cases: A for a capital, a for a small letter.
_CASES = bytes(65 if c in _BIG else 97 if c in _SMALL else 32 if c == 32 else 46 for c in range(256))
_GLUED, _PAIR = b"aA", b"A A"
#: What can stand between the capitals of two words of a name, beside a space.
_INSIDE = _SMALL + b"'-."
_NOT_SPACE = re.compile(r"\S+")
_RUN = re.compile(
    rf"{EDGE}(?<![@./_]){WORD}(?:[ ](?:[{UPPER}]\.?(?=[ ])|{WORD}|[{UPPER}]['’][{UPPER}][{LOWER}]+)){{0,4}}"
)
NOT_PERSON_BEHIND = re.compile(
    r"(?:['’]?s)?[\s-]+(?:(?:and|or|/)\s+[A-Z]\w+['’s]*\s+)?(?:muscular\s|motor\s|cell\s|reed\s)?(?:disease|syndrome|sign|test|palsy|lymphoma|sarcoma|tumou?r|catheter|contracture|fracture|disorder|reflex|criteria|score"
    r"|scale|stain|phenomenon|phenomena|node|nodes|ulcer|ulcers|esophagus|oesophagus|thyroiditis|cyst|gland|glands|duct|procedure|operation|maneuver|manoeuvre|position|method|effect|virus|formula|classification"
    r"|hernia|triad|reaction|index|anemia|anaemia|dystrophy|chorea|ataxia|encephalopathy|hospital|clinic|university|institute|college|school|street|road|avenue|lane|drive|city|county|island|river|diet|tablets?|tab"
    r"|capsules?|cream|gel|ointment|syrup|injection|drops|mg|ml)\b",
    re.IGNORECASE,
)
_PREPARATION_BEFORE = re.compile(
    r"(?:tablets?|tab|cap|capsules?|syrup|cream|ointment|drops|taking|takes?|took|use|using|used|apply|applied|lotion|inj|injection|called|on|with|and|,|\d)\.?\s$",
    re.IGNORECASE,
)
INITIAL = re.compile(r"[^\W\d_]\.?")
_SHORT_FAMILIES = frozenset(["li", "xu", "wu", "ng", "ho", "lu", "ma", "hu", "yu", "le", "vu"])
_DRUG_LIKE = re.compile(
    r"(?:in|ine|ol|ide|ate|um|il|ax|vir|mab|nib|cid|one|ene|an|oin|ort|gel|tab|vit|cal|al|is|us|ia|sis|ic|ium)$"
)


@cache
def _skipped() -> frozenset[str]:
    """Capitalised words that neither are a name alone nor begin one."""
    plain = (w for w in ordinary() if w not in given_names() and w not in surnames())
    return frozenset(w.capitalize() for w in plain)


def words_alone() -> dict[str, tuple[str, ...]]:
    """Literals of words (see :mod:`.triggers`) that are a person's name wherever they stand."""
    return {"alone": tuple(f" {name} " for name in sorted(lone_given_names()))}


def may_hold_names(text: str) -> bool:
    """Whether a name without a cue (:func:`find_listed`) may stand in a text that holds none of :func:`words_alone`.

    A fast look that errs on the side of yes.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if _GLUED in raw.translate(_CASES) and not lone_given_names().isdisjoint(
        word.lower() for word in _GLUED_WORD.findall(text)
    ):
        return True
    if text.isascii():
        return _PAIR in raw.translate(_CASES, _INSIDE) and any(map(_names_in, _SEVERAL_ASCII.findall(text)))
    return any(map(_names_in, _SEVERAL.findall(text)))


@lru_cache(maxsize=1 << 15)
def _names_in(words: str) -> bool:
    """Whether a stretch of capitalised words holds a name."""
    return any(True for _ in find_listed(words))


def find_listed(text: str) -> Iterator[Span]:
    done = 0
    for capital in (_CAPITALISED_ASCII if text.isascii() else _CAPITALISED).finditer(text):
        if capital[0] in _skipped() or capital.start() < done:
            continue
        run = _RUN.match(text, capital.start())
        if run is None:
            continue
        done = run.end()
        words = [(m.start(), m[0]) for m in _NOT_SPACE.finditer(run[0])]
        position = 0
        while position < len(words):
            length = _name_length([w for _, w in words[position:]])
            if not length:
                position += 1
                continue
            start = run.start() + words[position][0]
            at, last = words[position + length - 1]
            end = run.start() + at + len(re.split("['’]s$", last)[0])
            doubtful = length > 1 and {kind_of(w) for _, w in words[position : position + length]} == {
                "unknown"
            }
            if not NOT_PERSON_BEHIND.match(text, end) and not (
                doubtful and _PREPARATION_BEFORE.search(text, max(0, start - 14), start)
            ):
                yield Span(start, end, "NAME")
            position += length


def _name_length(words: list[str]) -> int:
    """How many of the leading words of a run of capitalised words are a name."""
    kinds = [kind_of(w) for w in words]
    first = kinds[0]
    if first == "given":
        length = 1
        while length < len(words) and kinds[length] in (
            "given",
            "initial",
            "family",
            "unknown",
            "word family",
            "ambiguous",
            "foreign",
        ):
            length += 1
        return length - (kinds[length - 1] == "initial")
    if first in ("ambiguous", "family", "unknown", "foreign") and len(words) > 1:
        middle = 1
        while middle < len(words) - 1 and kinds[middle] == "initial":
            middle += 1
        behind = kinds[middle]
        known = {first, behind} & {"ambiguous", "family", "given", "foreign"}
        if behind == "initial":
            return 0
        if (
            (middle > 1 and behind != "word" and known)
            or (first == "ambiguous" and (behind == "family" or words[middle].lower() in common_surnames()))
            or (first == "family" and behind in ("family", "given", "foreign"))
            or (
                first == "unknown"
                and behind == "unknown"
                and not any(_DRUG_LIKE.search(w) for w in (words[0], words[middle]))
            )
            or (first in ("unknown", "foreign") and behind in ("foreign", "given", "family"))
            or (first == "foreign" and behind == "unknown")
        ):
            length = middle + 1
            while length < len(words) and kinds[length] in ("family", "foreign", "unknown", "given"):
                length += 1
            return length
    return 0


def kind_of(word: str) -> str:
    """What a capitalised word can be in a name."""
    if INITIAL.fullmatch(word):
        return "initial"
    low = re.split("['’]s$", word)[0].lower()
    if len(low) < 3:
        return "family" if low in _SHORT_FAMILIES else "word"
    if low in not_people() and low not in given_names():
        return "word family" if low in common_surnames() and low not in word_list("drugs_en") else "word"
    if low in ordinary():
        if low in given_names():
            return "ambiguous"
        return "word family" if low in common_surnames() else "word"
    if low in given_names():
        return "given"
    if low in surnames():
        return "family"
    return "unknown" if word.isascii() else "foreign"
