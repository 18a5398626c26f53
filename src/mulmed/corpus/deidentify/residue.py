"""What earlier scrubbing and the sites themselves left behind.

The ChatDoctor corpora had the sites' and the doctors' names replaced by "Chat Doctor", and with them,
by a slip, every stretch from "dr" to the next full stop ("chil ChatDoctor." was "children."). Greetings lose the
name and stay; signatures become a name's placeholder; lost words become an ellipsis. Trailers of the sites
("Consult an orthopaedist online -->", with or without a link behind the arrow) go with their sentence.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate

from ahocorasick_rs import BytesAhoCorasick

from mulmed.corpus.edits import Draft, Edit

_SITE = (
    r"(?:chat\s*doctor|health\s*care\s*magic|i?cliniq|(?<![A-Za-z])HCM(?=\s+(?:forum|team)))(?:\s*\.\s*com)?"
)
_AFTER = r"(?:'s)?(?:\s+(?:forum|team|service|website|platform|community|site)s?\b)?"
_LINK = re.compile(
    r"https?://[^\s]*\s?(?:chat\s*doctor)?(?:\s*\.com\S*)?(?:\s*chat\s*doctor)?", re.IGNORECASE
)
_ANY = re.compile(_SITE, re.IGNORECASE)
_SIGNATURE = re.compile(
    r"(?P<cue>\b(?:regards|wishes|thanks|thank you|take care|good day|sincerely|i am|i'm|myself|dr)\b[\s,.!]*)"
    r"chat\s*doctor\.?(?P<rest>(?:\s+[A-Z]\.)*(?:\s+(?-i:[A-Z][a-z]+)){0,2})(?=\W|$)",
    re.IGNORECASE,
)
#: How what stands before a signature ends, and what may stand between.
_SIGNED = (
    "regards", "wishes", "thanks", "thank you", "take care", "good day", "sincerely", "i am", "i'm", "myself", "dr",
)  # fmt: skip
_GAP = (
    " \t\n\r\x0b\x0c\x1c\x1d\x1e\x1f\x85\xa0\u3000,.!"
    + "".join(map(chr, range(0x2000, 0x200B)))
    + "\u2028\u2029\u202f\u205f\u1680"
)
_CHOSEN = re.compile(
    rf"\s*\bfor\s+(?:choosing|using|contacting|visiting|trusting|selecting)\s+(?:the\s+|us\s+at\s+)?{_SITE}{_AFTER}",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"((?:well?come|thank|greetings|query|question|writing|post(?:ing|ed)?|consult(?:ing|ation)?|asking|asked|contact)"
    rf"\b[^.!?\n]{{0,60}}?)\s*\b(?:(?:to|at|on|in|with|from|by|via|through|for|of)\s+)?(?:the\s+|our\s+)?{_SITE}{_AFTER}",
    re.IGNORECASE,
)
_GREETED = ("wel", "thank", "greetings", "query", "question", "writing", "post", "consult", "ask", "contact")
_LEFT = re.compile(rf"\s*{_SITE}\s?\.?", re.IGNORECASE)
_ARROW = re.compile(
    r"(?:[^.?!\n>-]|-(?!-*>)){0,160}-+>[ \t]*(?:(?:https?://|www\.)\S+|\.)?(?=\s|$)", re.IGNORECASE
)
_ADVERTISED = re.compile(
    r"\b(?:consult|for (?:more|further|any)|online|ask|revert|follow.?up|reach)\b", re.IGNORECASE
)
_TRAILER = re.compile(
    r"\s*For (?:more|further|any) (?:information|queries|doubts?|clarifications?|assistance|help)[^.?!\n]{0,20}? consult [^.?!\n]{3,100}? online\s*(?:-*>)?\s*(?:https?://\S+)?[ \t]*(?=\s|$)",
    re.IGNORECASE,
)
_SITE_ZH = re.compile(
    r"好大夫(?:在线|网站?)+|(?<=[在于上从到])好大夫(?=[上平app])|(?:春雨医生|丁香医生|微医|39健康网|寻医问药网?|有问必答网?)(?:网|平台|在线)?"
)

#: Literals in lower case without one of which no rule here applies.
_LITERALS = (
    "chat", "magic", "cliniq", "hcm", "->", " online", "好大夫", "春雨医生", "丁香医生", "微医", "健康网", "寻医问药", "有问必答",
)  # fmt: skip
#: How many of them are of the sites' names; the next two, and then the Chinese ones.
_SITES, _ARROW_LITERAL, _ONLINE_LITERAL = 4, 4, 5
_MAGIC, _CLINIQ = 1, 2
_LOOK = BytesAhoCorasick([literal.encode() for literal in _LITERALS])


def with_residue(texts: Sequence[str]) -> list[int]:
    """The positions of those of many texts that may hold something for :func:`scrub`."""
    raw = "\n".join(texts).encode("utf-8", "surrogatepass").lower()
    found = _LOOK.find_matches_as_indexes(raw)
    if not found:
        return []
    sizes = (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts)
    ends = list(accumulate(size + 1 for size in sizes))
    return sorted({bisect_right(ends, place) for _, place, _ in found})


def scrub(draft: Draft) -> None:
    """Take such left-overs out of a text: edits under the rules ``SITE``, ``URL`` and ``NAME``."""
    lower = draft.text.encode("utf-8", "surrogatepass").lower()
    found = {index for index, _, _ in _LOOK.find_matches_as_indexes(lower)}
    if _ARROW_LITERAL in found:
        draft.change(
            Edit(*m.span(), "", "SITE") for m in _ARROW.finditer(draft.text) if _ADVERTISED.search(m[0])
        )
    if _ONLINE_LITERAL in found:
        trailers = _places(draft.text, (" online",))
        draft.change(Edit(*m.span(), "", "SITE") for m in _near(_TRAILER, draft.text, trailers, 190, 190))
    if max(found, default=0) > _ONLINE_LITERAL:
        draft.sub(_SITE_ZH, "[SITE]", "SITE")
    if min(found, default=_SITES) >= _SITES:
        return
    sites = _sites(draft.text)
    if sites and b"http" in lower:
        links = [m.span() for m in _LINK.finditer(draft.text) if _ANY.search(m[0])]
        sites = _changed(draft, [Edit(start, end, "[URL]", "URL") for start, end in links], sites)
    while sites:
        before = draft.text
        for look, edit in _PASSES:
            sites = sites and _changed(draft, list(map(edit, look(draft.text, sites))), sites)
        # What stood around a name may make another.
        sites = [] if draft.text is before else _sites(draft.text)


def _changed(draft: Draft, edits: Sequence[Edit], sites: Sequence[int]) -> list[int]:
    """Make the edits. Returns where the sites are now that none of them took out."""
    if not draft.change(edits):
        return list(sites)
    left: list[int] = []
    further = iter((*edits, None))
    edit, shift = next(further), 0
    for site in sites:
        while edit and edit.end <= site:
            shift += len(edit.replacement) - (edit.end - edit.start)
            edit = next(further)
        if edit is None or site < edit.start:
            left.append(site + shift)
    return left


def _sites(text: str) -> list[int]:
    """Where the names of the sites begin, in order."""
    if not text.isascii():
        return [match.start() for match in _near(_ANY, text, _places(text), 30, 30)]
    sites = []
    done = 0
    for index, place, _ in _LOOK.find_matches_as_indexes(text.encode().lower()):
        if index >= _SITES or place < done:
            continue
        if index == _MAGIC:
            match = _ANY.search(text, max(done, place - 30), place + 30)
        else:
            # iCliniq begins a letter earlier.
            match = _ANY.match(text, max(done, place - (index == _CLINIQ))) or _ANY.match(text, place)
        if match:
            sites.append(match.start())
            done = match.end()
    return sites


def _signatures(text: str, sites: Iterable[int]) -> Iterator[re.Match[str]]:
    signed = (site for site in sites if text[max(0, site - 80) : site].rstrip(_GAP).lower().endswith(_SIGNED))
    return _near(_SIGNATURE, text, signed, 60, 30)


def _chosen(text: str, sites: Iterable[int]) -> Iterator[re.Match[str]]:
    chosen = (site for site in sites if "ing" in text[max(0, site - 70) : site].lower())
    return _near(_CHOSEN, text, chosen, 70, 30)


def _greetings(text: str, sites: Iterable[int]) -> Iterator[re.Match[str]]:
    """Greetings begin with one of a few words, the first of which counts."""
    done = 0
    for site in sites:
        if site < done:
            continue
        # No greeting reaches over the end of a sentence.
        low = max(done, site - 120, *(text.rfind(end, 0, site) + 1 for end in ".!?"))
        before = text[low:site].lower()
        starts = sorted({low + at for cue in _GREETED for at in _found(before, cue)})
        for start in starts if len(before) == site - low else range(low, site):
            if match := _GREETING.match(text, start):
                done = match.end()
                yield match
                break


def _found(text: str, word: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def _left(text: str, sites: Iterable[int]) -> Iterator[re.Match[str]]:
    done = 0
    for site in sites:
        start = done + len(text[done:site].rstrip())
        if site >= done and (match := _LEFT.match(text, start)):
            done = match.end()
            yield match


def _places(text: str, literals: Sequence[str] = _LITERALS[:_SITES]) -> Sequence[int]:
    """Where one of the literals stands, in order; everywhere where lower case has another length."""
    lower = text.lower()
    if len(lower) != len(text):
        return range(len(text))
    return sorted(place for literal in literals if literal in lower for place in _found(lower, literal))


def _near(
    pattern: re.Pattern[str], text: str, places: Iterable[int], before: int, behind: int
) -> Iterator[re.Match[str]]:
    """Matches of a pattern around the places of which it must hold one: long texts have few of them.

    ``before`` and ``behind``: how far from the place a match may begin, and how much of what stands behind
    it tells whether it does; how far it reaches is not limited.
    """
    done = 0
    for place in places:
        if place < done:
            continue
        for near in pattern.finditer(text, max(done, place - before), place + behind):
            if near.start() >= done and (match := pattern.match(text, near.start())):  # not cut at the end
                done = match.end()
                yield match


def _glue(match: re.Match[str]) -> str:
    """A name that had no space behind it swallowed the end of the sentence: "consulting ChatDoctorRead"."""
    following = match.string[match.end() : match.end() + 1]
    return ". " if following.isalnum() or following == "_" else ""


def _ellipsis(match: re.Match[str]) -> str:
    return "... " if match.string[match.end() : match.end() + 1].isalpha() else "..."


#: In their order: what looks for the left-overs around the sites' names, and the edit each calls for.
_PASSES: tuple[
    tuple[Callable[[str, Sequence[int]], Iterator[re.Match[str]]], Callable[[re.Match[str]], Edit]], ...
] = (
    (_signatures, lambda m: Edit(m.end("cue"), m.end(), "[NAME]", "NAME")),
    (_chosen, lambda m: Edit(*m.span(), _glue(m), "SITE")),
    (_greetings, lambda m: Edit(m.end(1), m.end(), _glue(m), "SITE")),
    (_left, lambda m: Edit(*m.span(), _ellipsis(m), "SITE")),
)
