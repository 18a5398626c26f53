"""What earlier scrubbing and the sites themselves left behind.

The ChatDoctor corpora had the sites' and the doctors' names replaced by "Chat Doctor", and with them,
by a slip, every stretch from "dr" to the next full stop ("chil ChatDoctor." was "children."). Greetings lose the
name and stay; signatures become a name's placeholder; lost words become an ellipsis. Trailers of the sites
("Consult an orthopaedist online -->", with or without a link behind the arrow) go with their sentence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

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
_CHOSEN = re.compile(
    rf"\s*\bfor\s+(?:choosing|using|contacting|visiting|trusting|selecting)\s+(?:the\s+|us\s+at\s+)?{_SITE}{_AFTER}",
    re.IGNORECASE,
)
_GREETING = re.compile(
    r"((?:well?come|thank|greetings|query|question|writing|post(?:ing|ed)?|consult(?:ing|ation)?|asking|asked|contact)"
    rf"\b[^.!?\n]{{0,60}}?)\s*\b(?:(?:to|at|on|in|with|from|by|via|through|for|of)\s+)?(?:the\s+|our\s+)?{_SITE}{_AFTER}",
    re.IGNORECASE,
)
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
_LITERALS = (b"chat", b"magic", b"cliniq", b"hcm", b"->", b" online")
_LITERALS_ZH = tuple(
    map(str.encode, ("好大夫", "春雨医生", "丁香医生", "微医", "健康网", "寻医问药", "有问必答"))
)


def has_residue(text: str) -> bool:
    """Whether there may be something for :func:`scrub` in a text."""
    raw = text.encode("utf-8", "surrogatepass")
    lower = raw.lower()
    return any(literal in lower for literal in _LITERALS) or (
        len(raw) != len(text) and any(literal in raw for literal in _LITERALS_ZH)
    )


def scrub(draft: Draft) -> None:
    """Take such left-overs out of a text: edits under the rules ``SITE``, ``URL`` and ``NAME``."""
    if "->" in draft.text:
        draft.change(
            Edit(*m.span(), "", "SITE") for m in _ARROW.finditer(draft.text) if _ADVERTISED.search(m[0])
        )
    trailers = _places(draft.text, (" online",))
    draft.change(Edit(*m.span(), "", "SITE") for m in _near(_TRAILER, draft.text, trailers, 190, 190))
    if not draft.text.isascii():
        draft.sub(_SITE_ZH, "[SITE]", "SITE")
    places = _places(draft.text)
    if not any(_near(_ANY, draft.text, places, 30, 30)):
        return
    if "http" in draft.text.lower():
        links = [m.span() for m in _LINK.finditer(draft.text) if _ANY.search(m[0])]
        draft.change(Edit(start, end, "[URL]", "URL") for start, end in links)
        places = _places(draft.text)
    for pattern, before, behind, edit in _PASSES:
        if draft.change(map(edit, _near(pattern, draft.text, places, before, behind))):
            places = _places(draft.text)


def _places(text: str, literals: Sequence[str] = ("chat", "magic", "cliniq", "hcm")) -> Sequence[int]:
    """Where one of the literals stands, in order; everywhere where lower case has another length."""
    lower = text.lower()
    if len(lower) != len(text):
        return range(len(text))
    places = []
    for literal in literals:
        place = lower.find(literal)
        while place >= 0:
            places.append(place)
            place = lower.find(literal, place + 1)
    return sorted(places)


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


#: In their order: a pattern, how far before and behind a site's name it is looked for, and the edit it calls for.
_PASSES: tuple[tuple[re.Pattern[str], int, int, Callable[[re.Match[str]], Edit]], ...] = (
    (_SIGNATURE, 60, 30, lambda m: Edit(m.end("cue"), m.end(), "[NAME]", "NAME")),
    (_CHOSEN, 70, 30, lambda m: Edit(*m.span(), _glue(m), "SITE")),
    (_GREETING, 120, 30, lambda m: Edit(m.end(1), m.end(), _glue(m), "SITE")),
    (_LEFT, 30, 30, lambda m: Edit(*m.span(), _ellipsis(m), "SITE")),
)
