"""What earlier scrubbing left behind: "Chat Doctor" in place of site names, signatures and lost words.

The ChatDoctor corpora had the sites' and the doctors' names replaced by "Chat Doctor", and with them,
by a slip, every stretch from "dr" to the next full stop ("chil ChatDoctor." was "children."). Greetings lose the
name and stay; signatures become a name's placeholder; lost words become an ellipsis.
"""

from __future__ import annotations

import re

_SITE = r"(?:chat\s*doctor|health\s*care\s*magic|i?cliniq)(?:\s*\.\s*com)?"
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
_LEFT = re.compile(r"\s*chat\s*doctor(?:\s*\.\s*com)?\s?\.?", re.IGNORECASE)
_GLUED = re.compile(r"\x00(?=\w)")


def scrub(text: str) -> tuple[str, int, int]:
    """Text without such residue; the numbers of removed or elided mentions, and of [NAME]s put in."""
    mentions = len(_ANY.findall(text))
    if not mentions:
        return text, 0, 0
    text = _LINK.sub(lambda m: "[URL]" if _ANY.search(m[0]) else m[0], text)
    text, names = _SIGNATURE.subn(r"\g<cue>[NAME]", text)
    text = _CHOSEN.sub("\x00", text)
    text = _GREETING.sub("\\1\x00", text)
    # A name that had no space behind it swallowed the end of the sentence: "consulting ChatDoctorRead".
    text = _GLUED.sub(". ", text).replace("\x00", "")
    text = re.sub(r"\.\.\.(?=[^\W\d_])", "... ", _LEFT.sub("...", text))
    return text, mentions - names, names
