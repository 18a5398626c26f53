"""English names without a cue: runs of capitalised words in which a given or a family name stands."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache

from mulmed.corpus.deidentify.lexicon import (
    common_surnames,
    given_names,
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
_SMALL = re.compile(f"[{LOWER}]")
_JOINTS = frozenset("-'’")
_JOINT = re.compile("['-]")
_HYPHENED = re.compile(rf"{EDGE}{WORD}['’-]$")
_NOT_SPACE = re.compile(r"\S+")
_RUN = re.compile(
    rf"{EDGE}(?<![@./_]){WORD}(?:[ ](?:[{UPPER}]\.?(?=[ ])|{WORD}|[{UPPER}]['’][{UPPER}][{LOWER}]+)){{0,4}}"
)
NOT_PERSON_BEHIND = re.compile(
    r"(?:['’]?s)?(?:[^\S\n]|-|\n(?=(?-i:[a-z])))+(?:(?:and|or|/)\s+[A-Z]\w+['’s]*\s+)?(?:muscular\s|motor\s|cell\s|reed\s)?(?:disease|syndrome|sign|test|palsy|lymphoma|sarcoma|tumou?r|catheter|contracture|fracture|disorder|reflex|criteria|score"
    r"|scale|stain|phenomenon|phenomena|node|nodes|ulcer|ulcers|esophagus|oesophagus|thyroiditis|cyst|gland|glands|duct|procedure|operation|maneuver|manoeuvre|position|method|effect|virus|formula|classification"
    r"|hernia|triad|reaction|index|anemia|anaemia|dystrophy|chorea|ataxia|encephalopathy|hospital|clinic|university|institute|college|school|street|road|avenue|lane|drive|city|county|island|river|diet|tablets?|tab"
    r"|capsules?|cream|gel|ointment|syrup|injection|drops|mg|ml"
    # Heads of eponyms and words that are a disease or an operation by their ending.
    r"|type|complex|bacillus|bod(?:y|ies)|trichrome|yeast|infections?|lesions?|nodules?|n[ae]?evus|ligament|canal|valve|shunt|bandage|boot|protocol|regimen|equation"
    r"|congenital|compan(?:y|ies)|inc|ltd|\w+(?:itis|osis|a?emia|opathy|plasia|trophy|asthenia|trichosis|algia|penia|uria|[eo]ctomy|otomy|plasty))\b",
    re.IGNORECASE,
)
_PREPARATION_BEFORE = re.compile(
    r"(?:tablets?|tab|cap|capsules?|syrup|cream|ointment|drops|taking|takes?|took|use|using|used|apply|applied|lotion|inj|injection|called|on|with|and|,|\d)\.?\s$",
    re.IGNORECASE,
)
#: Endings of family names of Europe that no drug, disease or place has; a word with one is a name wherever it stands.
_TELLING = re.compile(
    r"[^\W\d_]{2,}(?:ová|dóttir|dottir|sson|ssen|[rnldtk]sen|[wd]ski|cki|wska|cka|czyk|wicz|ović|ević|vić|ovic|evic|enko|chuk|escu|[aouäö]nen|inen|shvili|adze"
    r"|poulos|oğlu|oglu|ström|strom|qvist|quist|gaard|[lr]und|berg|mann|meyer|maier|hofer|bauer|ández|guez|ínez)"
)
INITIAL = re.compile(r"[^\W\d_]\.?")
_SHORT_FAMILIES = frozenset(["li", "xu", "wu", "ng", "ho", "lu", "ma", "hu", "yu", "le", "vu"])
DRUG_LIKE = re.compile(
    r"(?:in|ine|ol|ide|ate|um|il|ax|vir|mab|nib|cid|one|ene|an|oin|ort|gel|tab|vit|cal|al|is|us|ia|sis|ic|ium)$"
)


@cache
def _skipped() -> frozenset[str]:
    """Capitalised words that neither are a name alone nor begin one."""
    return frozenset(word for word in map(str.capitalize, ordinary()) if kind_of(word) == "word")


def unusual(text: str) -> list[int]:
    """Where the capitalised words stand that can be of a name: the places for :func:`find_listed` to look."""
    words = set((_CAPITALISED_ASCII if text.isascii() else _CAPITALISED).findall(text)) - _skipped()
    if not words:
        return []
    places = []
    for word in words:
        place = text.find(word)
        while place >= 0:
            end = place + len(word)
            # The word itself, not one that begins like it, and not the end of Dandy-Walker.
            inside = text[place - 1 : place] in _JOINTS and _HYPHENED.search(text[max(0, place - 20) : place])
            if not inside and not _SMALL.match(text, end):
                places.append(place)
            place = text.find(word, end)
    return sorted(places)


def find_listed(text: str, capitals: Iterable[int]) -> Iterator[Span]:
    """Names in the runs of capitalised words that begin at ``capitals`` (see :func:`unusual`)."""
    done = 0
    for capital in capitals:
        if capital < done or (run := _RUN.match(text, capital)) is None:
            continue
        done = run.end()
        for first, last, doubtful in _names_of(run[0]):
            start, end = capital + first, capital + last
            if not NOT_PERSON_BEHIND.match(text, end) and not (
                doubtful and _PREPARATION_BEFORE.search(text, max(0, start - 14), start)
            ):
                yield Span(start, end, "NAME")


@lru_cache(maxsize=1 << 15)
def _names_of(run: str) -> tuple[tuple[int, int, bool], ...]:
    """Names in a run of capitalised words: where each begins and ends, and whether no list knows any word of it."""
    words = [(m.start(), m[0]) for m in _NOT_SPACE.finditer(run)]
    found = []
    position = 0
    while position < len(words):
        length = _name_length([w for _, w in words[position:]])
        if length:
            at, last = words[position + length - 1]
            kinds = {kind_of(w) for _, w in words[position : position + length]}
            end = at + len(re.split("['’]s$", last)[0])
            found.append((words[position][0], end, length > 1 and kinds == {"unknown"}))
        position += max(length, 1)
    return tuple(found)


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
            or (first == "ambiguous" and behind == "foreign")
            or (
                # Charlotte, Marie and Victoria are places and a disease, but no words; Will and May are.
                first == "ambiguous"
                and behind == "unknown"
                and words[0].lower() not in word_list("words_en")
                and not DRUG_LIKE.search(words[middle])
            )
            or (first == "family" and behind in ("family", "given", "foreign"))
            or (
                first == "unknown"
                and behind == "unknown"
                and not any(DRUG_LIKE.search(w) for w in (words[0], words[middle]))
            )
            or (first in ("unknown", "foreign") and behind in ("foreign", "given", "family"))
            or (first == "foreign" and behind == "unknown")
            or (
                first == "unknown"
                and middle > 1
                and behind == "unknown"
                and not any(map(DRUG_LIKE.search, words))
            )
        ):
            length = middle + 1
            while length < len(words) and kinds[length] in ("family", "foreign", "unknown", "given"):
                length += 1
            return length
    return int(first in ("unknown", "family", "foreign") and _tells(words[0]))


def _tells(word: str) -> bool:
    """Whether a capitalised word is a name by its letters alone."""
    low = _stem(word)
    # Text that was read in the wrong encoding ends words with these: "Donâ".
    accented = len(low) > 3 and not low.isascii() and low[-1] not in "âã"
    return accented or _TELLING.fullmatch(low) is not None


def _stem(word: str) -> str:
    return re.split("['’]s$", word)[0].lower().replace("’", "'")


@lru_cache(maxsize=1 << 15)
def kind_of(word: str) -> str:
    """What a capitalised word can be in a name."""
    if INITIAL.fullmatch(word):
        return "initial"
    low = _stem(word)
    if len(low) < 3:
        return "family" if low in _SHORT_FAMILIES else "word"
    parts = _JOINT.split(low)
    if len(parts) > 1 and (
        (len(parts[0]) > 2 and kind_of(parts[0]) == "word") or not not_people().isdisjoint(parts)
    ):
        return "word"  # Post-Inflammatory, Dandy-Walker
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
    return "unknown" if low.isascii() else "foreign"
