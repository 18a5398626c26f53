"""Signs of an emergency in what a user writes: found by rules, before and regardless of any model.

What is searched for and how it is combined is data (:mod:`.lexicon`); whether it is so now is judged by
:mod:`.context`. A flag means that the emergency notice is shown; it is no diagnosis, and no flag is no
all-clear. Measured on labelled messages by ``benchmarks/safety.py``; see ``docs/safety.md``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Literal

from mulmed.safety.context import Context, Hit
from mulmed.safety.lexicon import Lexicon, Rule, lexicon, rules, rules_by_concept
from mulmed.safety.measures import measures
from mulmed.safety.normalize import words

Certainty = Literal["clear", "possible"]


@dataclass(frozen=True, slots=True)
class RedFlag:
    """A sign of danger.

    Attributes:
        category: ``heart``, ``stroke``, ``suicide`` ... (the kinds of ``lexicons/rules.yaml``).
        start, end: the characters of the text as given that the sign rests on, first to last.
        certainty: ``possible`` where something harmless is likely as well.
        reason: the concepts found, never the words; fit for a log.
    """

    category: str
    start: int
    end: int
    certainty: Certainty
    reason: str


def red_flags(text: str, language: str | None = None) -> tuple[RedFlag, ...]:
    """The signs of an emergency in a message: at most one a kind, in the order of the text.

    Args:
        text: what the user wrote, as written.
        language: only this language's phrases (``en`` or ``zh``); ``None``: all at once.

    Raises:
        MulmedError: there are no phrases for ``language``.
    """
    known = lexicon(language)
    row = words(text)
    found = [*known.find(row.text), *_misspelled(row.text, known)]
    found += measures(row.text, [(start, end) for start, end, concept in found if concept == "unit"])
    if not found:
        return ()
    context = Context(row.text, found)
    flags: dict[str, tuple[RedFlag, int]] = {}
    known_rules, by_concept = rules(), rules_by_concept()
    numbers = {number for concept in context.concepts for number in by_concept.get(concept, ())}
    for rule in [known_rules[number] for number in sorted(numbers)]:
        if rule.kind in flags and (rule.possible or flags[rule.kind][0].certainty == "clear"):
            continue
        if match := _matches(rule, context):
            start, end = row.source(min(h.start for h in match), max(h.end for h in match))
            certainty: Certainty = "possible" if rule.possible else "clear"
            reason = "+".join(h.concept for h in match)
            flags[rule.kind] = RedFlag(rule.kind, start, end, certainty, reason), start
    return tuple(flag for flag, _ in sorted(flags.values(), key=lambda pair: (pair[1], pair[0].category)))


def _matches(rule: Rule, context: Context) -> tuple[Hit, ...] | None:
    """One hit for each need of the rule, close enough together, or nothing."""
    for need in rule.needs[1:]:
        if need.isdisjoint(context.concepts):
            return None
    choices = []
    for need in rule.needs:
        choice = [h for concept in need for h in context.hits(concept) if h.why_not <= rule.even]
        if not choice:
            return None
        choices.append(choice)
    if not rule.unless_anywhere.isdisjoint(context.concepts):
        return None
    if rule.within == "message":
        if not rule.unless.isdisjoint(context.concepts):
            return None
        return tuple(choice[0] for choice in choices)
    by = "clause" if rule.within == "clause" else "sentence"
    places = [{getattr(h, by): h for h in reversed(choice)} for choice in choices]
    common = set(places[0]).intersection(*places[1:])
    for place in sorted(common):
        match = tuple(p[place] for p in places)
        if rule.unless.isdisjoint(context.around(match[0])):
            return match
    return None


_WORD = re.compile(r"(?<= )[a-z]{5,24}(?= )")


def _misspelled(text: str, known: Lexicon) -> list[tuple[int, int, str]]:
    """Phrases that are found when misspelt words are spelled right; they stand where the misspelt ones do."""
    changes = []
    for match in _WORD.finditer(text):
        if (right := known.spelled(match[0])) is not None:
            changes.append((match.start(), match.end(), right))
    if not changes:
        return []
    pieces: list[str] = []
    begins, shifts = [0], [0]  # where a stretch of the corrected text begins, and how far it was moved
    position = length = 0
    spelled: list[tuple[int, int]] = []
    for start, end, right in changes:
        pieces += [text[position:start], right]
        length += start - position
        spelled.append((length, length + len(right)))
        length += len(right)
        begins.append(length)
        shifts.append(length - end)
        position = end
    right_text = "".join([*pieces, text[position:]])

    def back(place: int) -> int:
        return place - shifts[bisect_right(begins, place) - 1]

    ends = [end for _, end in spelled]
    found = []
    for start, end, concept in known.find(right_text):
        word = bisect_right(ends, start)
        if word < len(spelled) and spelled[word][0] < end:
            found.append((back(start), back(end), concept))
    return found
