"""English names: by what stands around them, and by lists of given and family names.

By a cue: a title ("Dr. X"), a greeting ("Hi X,"), an introduction ("my name is X", "X is a 50-year-old"), a form
field, a relative ("my wife X"), a signature. Without a cue: capitalised words of which one is a given name
that is no ordinary word ("Martha", "Mark Young", "Juliusz A Kwiatkowski"). Eponyms, drugs and places (own lists) are no
people, and no name is found before "disease", "syndrome", "sign" and their like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mulmed.corpus.deidentify.lexicon import (
    given_names,
    lone_given_names,
    ordinary,
    surnames,
    transcribed_names,
    word_list,
)
from mulmed.corpus.deidentify.names_en_listed import (
    EDGE,
    INITIAL,
    LOWER,
    NOT_PERSON_BEHIND,
    UPPER,
    WORD,
    find_listed,
    kind_of,
)
from mulmed.corpus.deidentify.names_en_told import SPEAKING, find_lone, find_series, find_speaking
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, matches

#: Literals of words (see :mod:`.triggers`) before which the rules by cue look.
WORDS_EN: dict[str, tuple[str, ...]] = {
    "title": (
        "dr ", "drs ", "prof ", " mr ", " mrs ", " ms ", " aunt ", " doctor ", " professor ", " miss ", " nurse ", " sister ", " mx ",
    ),
    "spoken": (
        " hi ", " hello", " hey", " good morning ", " good afternoon ", " good evening ", " so ", " okay ", " ok ", " alright ", " all right ", " thank",
        " bye ", " patient is ", " next patient ", " this is ",
    ),
    "reported": (
        " referred by ", " seen by ", " examined by ", " operated by ", " treated by ", " done by ", " performed by ", " prescribed by ", " advised by ",
        " suggested by ", " reviewed by ", " discussed ", " spoke ", " spoken ", " talked ", " met ", " results of ", " report of ", " please ask", " ask ",
        " asked ", " says ", " said ", " told ", " saw ", " consulted ",
    ),
    "introduced": (" name ", " name s ", " names ", " named ", " called ", " call me ", " call him ", " call her ", " calls me "),
    "i am": (" i am ", " i m ", " i   m ", " this is ", " myself ", " im "),
    "greeting": (" hi ", " hii", " hello", " hey", " dear "),
    "speaking": SPEAKING,
    "closing": (
        "regard", "sincerely", "wishes", "thank", "yours", "cheers", "love", "take care", "signed",
    ),
    "relative": tuple(
        f" {word} "
        for word in (
            "wife", "husband", "son", "daughter", "mother", "father", "mom", "mum", "dad", "brother", "sister", "friend", "baby", "child", "uncle", "aunt",
            "partner", "boyfriend", "girlfriend", "fiance", "fiancee", "kid", "patient",
        )
    ),
}  # fmt: skip
SHAPES_EN: dict[str, tuple[str, ...]] = {
    "field": ("author", "correspond", "contact", "written by", "reviewed by", "signed by", "physician:", "doctor:", "surgeon:"),
    "aged": (" is a 0", " is an 0", ", a 0", ", an 0", ", age 0", ", aged 0", " is aged 0"),
}  # fmt: skip

_CAPITAL = rf"(?:{WORD}|[{UPPER}]['’][{UPPER}][{LOWER}]+|[{UPPER}]\.|[{UPPER}]{{2,}}(?![{LOWER}])|[{UPPER}](?=\s[{UPPER}]))"
_FULL = rf"{_CAPITAL}(?:(?:[ \t\xa0]|(?<=\.)){_CAPITAL}){{0,3}}"
_TITLE = re.compile(
    r"(?:(?<![A-Z])(?:Drs?|DR)|(?<![A-Za-z])(?:Prof|PROF|Mr|MR|Mrs|MRS|Ms|MS|Mx))(?:\.\s*|\s+)"
    rf"(?:(?:Dr|Prof|DR)(?:\.\s*|\s+))?({_FULL})"
    rf"|(?<![A-Za-z])(?:Doctor|Professor|Miss|Nurse|Sister|Aunt|Uncle)(?:[ \t]+)({_FULL})"
)
#: Titles that are not capitalised though the name is; 20 ms. is a time.
_TITLE_SMALL = re.compile(rf"(?<![A-Za-z])(?<!\d)(?<!\d\s)(?:dr|prof|mr|mrs|ms)(?:\.\s*|\s+)({_FULL})")
_TITLE_LOWER = re.compile(
    r"(?<![A-Za-z])(?P<title>[Dd]r|mr|mrs|ms|miss|doctor|nurse)(?:\s?\.\s*|\s+)(?P<first>[a-z]{3,})(?:\s(?P<second>[a-z]{3,}))?"
)
_NAMED = re.compile(
    rf"{EDGE}(?:my (?:full |first |last |good )?name(?:'s| is)|(?:his|her|their|the) name(?:'s| is)|name of (?:the )?patient(?: is)?|(?:patient(?:'s|’s)?|full|first|last|family|maiden|middle|user) name\s*(?::|is)|name\?"
    rf"|(?<![A-Za-z] )name\s*:|['’]s name(?: is)?(?=\s(?-i:[A-Z]))|\b(?:named|called|calls? (?:me|him|her)))[ \t:]*"
    rf"(?:(?:Dr|Mr|Mrs|Ms)\.?\s+)?([A-Za-zÀ-ž][\w’'-]+(?:[ ][A-Z]\.?(?=\s))?(?:[ ][A-Za-zÀ-ž][\w’'-]+){{0,2}})",
    re.IGNORECASE,
)
_NAME_CUE = re.compile(r"(?:my |patient|(?:full |first |last |family |maiden |middle )?name)", re.IGNORECASE)
_CALLS = re.compile("calls? ", re.IGNORECASE)
_I_AM = re.compile(
    rf"{EDGE}(?:[Ii] am|[Ii]['’]m|[Ii]m|[Tt]his is|[Mm]yself)\s+((?:Dr\.?\s*)?{WORD}(?:\s[A-Z]\.?(?=\s))?(?:\s{WORD})*)"
    r"(?=\s*(?:$|[.,;!\n(]|\bfrom\b|\bhere\b|\band\b|\baged?\b|\d))"
)
_GREETING = re.compile(
    rf"{EDGE}(?:[Hh]i+|HI+|[Hh]ello+|HELLO|[Hh]ey+|[Dd]ear|DEAR)\b(?:\s+(?:[Dd]ear|DEAR)\b)?[\s,!.]{{0,3}}"
    rf"([{UPPER}{LOWER}][{UPPER}{LOWER}'’-]+(?:[ ][{UPPER}{LOWER}][{UPPER}{LOWER}'’-]*){{0,2}}?)(?=\s*(?:[,;.!:?\n-]|$|\bwelcome\b|\bthanks?\b))"
)
_CLOSING = re.compile(
    r"(?:[Rr]egards?|REGARDS|[Ss]incerely|[Ww]ishes|[Tt]hanks|[Tt]hank you|THANKS|[Yy]ours|[Cc]heers|[Ll]ove|[Tt]ake [Cc]are|[Ss]igned)"
    rf"\s*[,.!:-]*\s*(?:(?:Dr|DR)\.?\s*)?({_FULL})(?=[\s,.;()]*(?:$|\n|MD\b|MBBS\b|M\.D|MS\b|DNB\b|DM\b|[A-Z][a-z]+olog|Consultant|Physician|General|Senior))"
)
_CLOSING_LOWER = re.compile(
    r"(?:regards?|sincerely|wishes|thanks|thank you|yours|cheers|love|signed)\s*[,.!:-]*\s+([a-z]{3,}(?:\s[a-z]{3,})?)[\s.]*$",
    re.IGNORECASE,
)
_FIELD = re.compile(
    rf"(?:[Cc]orrespond(?:ence|ing [Aa]uthor)(?: to)?|[Aa]uthors?|[Cc]ontact(?: [Pp]erson)?|(?:[Ww]ritten|[Rr]eviewed|[Ss]igned) by|[Pp]hysician|[Dd]octor|[Ss]urgeon)"
    rf"\s*:\s*(?:Dr\.?\s+)?({_FULL})"
)
_AGED = re.compile(
    rf"{EDGE}((?:{WORD}|[a-z]{{3,}})(?:\s(?:{WORD}|[a-z]{{3,}}))?)\s?,?\s(?:is\s)?(?:an?|aged?)\s\d{{1,3}}(?:[\s-]*(?:years?|yrs?|y\.?o|months?|weeks?|days?)|[,.\s])"
)
_AGE_AHEAD = re.compile(r"(?:\sis\s(?:an?|aged)|,\s(?:an?|aged?))\s[0-9]")
_RELATIVE = re.compile(
    rf"{EDGE}(?:wife|husband|son|daughter|mother|father|mom|mum|dad|brother|sister|friend|baby|child|uncle|aunt|partner|boyfriend|girlfriend|fiancee?|kid|patient)"
    rf"\s?,?\s+({WORD}(?:\s{WORD})?)"
)
_SPOKEN = re.compile(
    rf"{EDGE}(?P<cue>hi+|hello+|hey+|good (?:morning|afternoon|evening)|(?:next )?patient is|this is|so|okay|ok|alright|all right|thank you|thanks|bye)\s?,?\s"
    rf"(?P<first>[{UPPER}{LOWER}]{{3,}})(?:\s(?P<second>[{UPPER}{LOWER}]{{3,}}))?(?P<after>\s?[,.!?])?",
    re.IGNORECASE,
)
_REPORTED = re.compile(
    rf"{EDGE}(?:(?:referred|seen|examined|operated|treated|done|performed|prescribed|advised|suggested|reviewed) by|(?:discussed|spoke|spoken|talked|met)(?: \w+){{0,3}} with|results of|report of|(?:please )?ask(?:ed)?(?: for)?|says|said|told|saw|met|consulted)\s+({WORD}(?:\s{WORD}){{0,2}})",
    re.IGNORECASE,
)
_SPEAKER = re.compile(rf"^[\W\d]*({WORD}):", re.MULTILINE)
_WORD_SMALL = re.compile(rf"(?<![{LOWER}])([{LOWER}]{{3,}})(?![{LOWER}])")
_VOCATIVE = re.compile(r",\s?+([a-z]{3,}+)(?=\s?[,.?!;])")
_SPOKEN_WORDS = frozenset(
    [
        "mason",
        "virginia",
        "paul",
        "jean",
        "victoria",
        "charlotte",
        "jordan",
        "austin",
        "grace",
        "rose",
        "dawn",
        "ruth",
        "joy",
        "faith",
    ]
)
_NAMES_LIKE_VERBS = frozenset(
    [
        "ahmed",
        "mohammed",
        "muhammed",
        "mohamed",
        "javed",
        "saeed",
        "syed",
        "sayed",
        "waleed",
        "khaled",
        "rasheed",
        "naveed",
        "fred",
        "alfred",
        "reed",
    ]
)


def find_names_en(text: str, hits: Hits) -> Iterator[Span]:
    """English names; titles stay. Those that no cue announces where ``alone`` and ``small`` of the hits say."""
    yield from _by_cue(text, hits)
    yield from find_speaking(text, hits.get("speaking", ()))
    if "alone" in hits:
        capitals = hits["alone"]
        yield from find_listed(text, capitals)
        yield from find_series(text, capitals)
        yield from find_lone(text, capitals)
        for match in _SPEAKER.finditer(text) if ":" in text else ():
            if kind_of(match[1]) in ("given", "foreign"):
                yield Span(*match.span(1), "NAME")
    if "small" in hits:
        for match in (_WORD_SMALL if text.islower() else _VOCATIVE).finditer(text):
            if match[1] in transcribed_names():
                yield Span(*match.span(1), "NAME")


def small_names(text: str) -> bool:
    """Whether a given name without a capital stands where one is told: in a text without any, or between commas."""
    words = (_WORD_SMALL if text.islower() else _VOCATIVE).findall(text)
    return not transcribed_names().isdisjoint(words)


def _by_cue(text: str, hits: Hits) -> Iterator[Span]:
    if titles := hits.get("title"):
        yield from _leading(matches(_TITLE, text, titles))
        for match in matches(_TITLE_SMALL, text, titles):
            if match[1].split()[0].strip(".").lower() not in ordinary() and (span := _leading_name(match, 1)):
                yield span
    if closings := hits.get("closing"):
        yield from _leading(
            match
            for match in matches(_CLOSING, text, closings)
            if not all(_plain(w.strip(".").lower()) for w in match[1].split())
        )
    if fields := hits.get("field"):
        yield from _leading(matches(_FIELD, text, fields))
    if titles:
        yield from _titled_small(text, titles)
    if introductions := hits.get("introduced"):
        yield from _introduced(text, introductions)
    if "i am" in hits:
        for match in matches(_I_AM, text, hits["i am"]):
            words = match[1].lower().removeprefix("dr").strip(". ").split()
            if words and words[0] not in ordinary() and (span := _leading_name(match, 1)):
                yield span
    if "greeting" in hits:
        for match in matches(_GREETING, text, hits["greeting"]):
            if not _plain(match[1].split()[0].lower()) and (span := _greeted(match)):
                yield span
    if "spoken" in hits:
        for match in matches(_SPOKEN, text, hits["spoken"]):
            if not _plain(match["first"].lower()):
                yield from _spoken_to(match)
    if "reported" in hits:
        yield from _reported(text, hits["reported"])
    if closings:
        for match in matches(_CLOSING_LOWER, text, closings):
            words = match[1].split()
            if all(w not in ordinary() for w in words) and any(map(_listed, words)):
                yield Span(*match.span(1), "NAME")
    for start in hits.get("aged", ()):
        if not _AGE_AHEAD.match(text, start):
            continue
        for match in _AGED.finditer(text, max(0, start - 40), start + 24):
            if span := _subject(match):
                yield span
    if "relative" in hits:
        for match in matches(_RELATIVE, text, hits["relative"]):
            first = match[1].split()[0].lower()
            named = first not in ordinary() or (first in given_names() and first not in word_list("words_en"))
            if named and (span := _leading_name(match, 1)):
                yield span


def _leading(found: Iterable[re.Match[str]]) -> Iterator[Span]:
    for match in found:
        if span := _leading_name(match, match.lastindex or 1):
            yield span


def _titled_small(text: str, titles: Iterable[int]) -> Iterator[Span]:
    for match in matches(_TITLE_LOWER, text, titles):
        first, second = match["first"], match["second"]
        if first in word_list("not_names_en"):
            continue
        known = first in given_names() or first in surnames()
        if match["title"].lower() == "dr":
            verb = first.endswith(("ed", "ing", "ly")) and first not in _NAMES_LIKE_VERBS
            if verb or (first in word_list("words_en") and not known):
                continue
        elif not known or (match["title"] in ("doctor", "nurse", "miss") and first in ordinary()):
            continue
        more = (
            second and second not in ordinary() and (second in surnames() or match["title"].lower() == "dr")
        )
        yield Span(match.start("first"), match.end() if more else match.end("first"), "NAME")


def _introduced(text: str, cues: Iterable[int]) -> Iterator[Span]:
    for match in matches(_NAMED, text, _words_back(cues, text)):
        strong = _NAME_CUE.match(match[0]) is not None
        if span := _leading_name(match, 1, lower=strong):
            word = text[span.start : span.end].split()[0].lower()
            called = _CALLS.match(match[0]) and text[span.start].isupper()
            if strong or (word not in ordinary() and (called or _listed(word))):
                yield span


def _reported(text: str, cues: Iterable[int]) -> Iterator[Span]:
    for match in matches(_REPORTED, text, cues):
        words = match[1].split()
        capital = len(words) > 1 and words[0][0].isupper() and words[1][0].isupper()
        if capital and kind_of(words[0]) not in ("word", "word family") and kind_of(words[1]) != "word":
            yield Span(match.start(1), match.start(1) + len(" ".join(words[:2])), "NAME")


def _plain(word: str) -> bool:
    """An ordinary word that is no given name as well."""
    return word in ordinary() and word not in given_names()


def _listed(word: str) -> bool:
    return word in given_names() or word in surnames()


def _words_back(starts: Iterable[int], text: str) -> list[int]:
    """Places up to three words before each of ``starts``, and these: where "my full name is" may begin."""
    places = set()
    for start in starts:
        places.add(start)
        for _ in range(3):
            start = text.rfind(" ", 0, max(start - 1, 0)) + 1
            places.add(start)
    return sorted(places)


def _leading_name(match: re.Match[str], group: int, lower: bool = False) -> Span | None:
    """The leading words of a group that can be a name; initials alone are none."""
    start = match.start(group)
    end = start
    real = False
    for word in re.finditer(r"\S+", match[group]):
        bare = re.split("['’](?=s\\b)", word[0].strip(".,"))[0]
        low = bare.lower()
        if low in word_list("not_names_en") or (
            real and lower and not bare[0].isupper() and low in ordinary()
        ):
            break
        if real and low in word_list("words_en") and low not in surnames() and low not in given_names():
            break
        end = start + word.start() + len(bare)
        real = real or not INITIAL.fullmatch(bare)
    if not real or NOT_PERSON_BEHIND.match(match.string, end):
        return None
    return Span(start, end, "NAME")


def _greeted(match: re.Match[str]) -> Span | None:
    words = match[1].split()
    first = words[0].lower().strip("'’-")
    if first.startswith(("doc", "dr", "sir", "mad", "mam")) or first in word_list("not_names_en"):
        return None
    known = first in given_names() or first in surnames()
    if first in ordinary() and not (first in given_names() and words[0][0].isupper()):
        return None
    if not known and (len(first) < 4 or (words[0].islower() and len(words) > 1)):
        return None
    end = match.start(1) + len(words[0])
    for word in words[1:]:
        if word.lower() in ordinary() and word.lower() not in surnames():
            break
        end += 1 + len(word)
    return Span(match.start(1), end, "NAME")


def _spoken_to(match: re.Match[str]) -> Iterator[Span]:
    """Somebody greeted or spoken to in a transcript, in whatever case: "so martha , how are you"."""
    first, second = match["first"], match["second"] or ""
    cue = match["cue"].lower()
    low = first.lower()
    greeted = cue.startswith(("hi", "hello", "hey", "good", "next", "patient"))
    if low in word_list("not_names_en") or low.startswith(("doc", "there")):
        return
    lone = low in lone_given_names()
    named = (
        lone
        or (
            greeted
            and low in given_names()
            and (
                low not in word_list("words_en")
                or match["after"] is not None
                or first[0].isupper()
                or low in _SPOKEN_WORDS
            )
        )
        or (
            not greeted
            and match["after"] is not None
            and not second
            and first[0].isupper()
            and low not in ordinary()
        )
    )
    if not named:
        return
    more = second.lower() in surnames() and second.lower() not in ordinary()
    yield Span(match.start("first"), match.end("second") if more else match.end("first"), "NAME")


def _subject(match: re.Match[str]) -> Span | None:
    """The name before "is a 50-year-old": words of lists, in whatever case."""
    words = match[1].split()
    start = match.start(1)
    if len(words) == 2 and words[0].lower() not in given_names():
        start += len(words[0]) + 1
        words = words[1:]
    first = words[0].lower()
    named = first in lone_given_names() or (
        words[0][0].isupper() and (first not in ordinary() or first in given_names())
    )
    return Span(start, match.end(1), "NAME") if named else None
