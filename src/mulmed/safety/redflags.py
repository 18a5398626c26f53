"""Signs of an emergency in what a user writes: found before and regardless of any model.

By rules: what is searched for and how it is combined is data (:mod:`.lexicon`); whether it is so now is judged by
:mod:`.context`. And by a small classifier (:mod:`.classifier`) that reads what people say in words of their own, and
what the rules found. A flag means that the emergency notice is shown; it is no diagnosis, and no flag is no
all-clear. Measured on labelled messages by ``benchmarks/safety.py``; see ``docs/safety.md``.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mulmed.safety import classifier
from mulmed.safety.context import Context, Hit
from mulmed.safety.lexicon import Lexicon, Rule, lexicon, rules, rules_by_concept
from mulmed.safety.measures import measures
from mulmed.safety.normalize import Words, words

Certainty = Literal["clear", "possible"]


@dataclass(frozen=True, slots=True)
class RedFlag:
    """A sign of danger.

    Attributes:
        category: ``heart``, ``stroke``, ``suicide`` ... (the kinds of ``lexicons/rules.yaml``).
        start, end: the characters of the text as given that the sign rests on, first to last.
        certainty: ``possible`` where something harmless is likely as well.
        reason: the concepts found, or ``classifier``; never the words, fit for a log.
    """

    category: str
    start: int
    end: int
    certainty: Certainty
    reason: str


class SecondReader(Protocol):
    """One who reads messages as well (:class:`mulmed.safety.reader.Reader`)."""

    def odds(self, texts: Sequence[str]) -> Sequence[float]:
        """Log odds that each text tells of danger."""


def red_flags(
    text: str, language: str | None = None, reader: SecondReader | None = None
) -> tuple[RedFlag, ...]:
    """The signs of an emergency in a message: at most one a kind, in the order of the text.

    Args:
        text: what the user wrote, as written.
        language: only this language's phrases (``en`` or ``zh``); ``None``: all at once.
        reader: reads the message as well; what it finds is weighed with what the classifier does.

    Raises:
        MulmedError: there are no phrases for ``language``.
    """
    row, context = _read(text, language)
    flags = _by_rules(row, context) if context else {}
    flags = _weighed(text, row, context, flags, language, reader)
    return tuple(flag for flag, _ in sorted(flags.values(), key=lambda pair: (pair[1], pair[0].category)))


#: How sure the classifier must be to call a danger clear, and below what it overrules the rules. Kinds of which nothing
#: may be missed: a rule is overruled only where classifier and second reader both see nothing, and the classifier's flag
#: stands beside others.
CLEAR, DOUBT = 0.95, 0.45
_ALWAYS = ("suicide", "violence", "infant_fever")
#: What is not of a language.
_OTHER = {"en": re.compile("[\u2e80-\U0010ffff]"), "zh": re.compile("[a-z]")}


def flags_by_rules(text: str) -> tuple[RedFlag, ...]:
    """What the rules alone would raise: for measurements."""
    row, context = _read(text, None)
    return tuple(flag for flag, _ in _by_rules(row, context).values()) if context else ()


def _read(text: str, language: str | None) -> tuple[Words, Context | None]:
    """A message's row of words, and the phrases in it if there are any."""
    known = lexicon(language)
    row = words(text)
    found = [*known.find(row.text), *_misspelled(row.text, known)]
    found += measures(row.text, [(start, end) for start, end, concept in found if concept == "unit"])
    return row, Context(row.text, found) if found else None


def _by_rules(row: Words, context: Context) -> dict[str, tuple[RedFlag, int]]:
    """The flags that rules raise, by kind, and where in the row of words each begins."""
    flags: dict[str, tuple[RedFlag, int]] = {}
    known_rules, by_concept = rules(), rules_by_concept()
    numbers = {number for concept in context.concepts for number in by_concept.get(concept, ())}
    for rule in [known_rules[number] for number in sorted(numbers)]:
        if rule.kind in flags and (rule.possible or flags[rule.kind][0].certainty == "clear"):
            continue
        if match := _matches(rule, context):
            begins = min(h.start for h in match)
            start, end = row.source(begins, max(h.end for h in match))
            certainty: Certainty = "possible" if rule.possible else "clear"
            reason = "+".join(h.concept for h in match)
            flags[rule.kind] = RedFlag(rule.kind, start, end, certainty, reason), begins
    return flags


def _plain(row: Words, context: Context | None) -> str:
    """A message's words without what it says is not so, which the classifier would take for said, and without instructions."""
    if context is None:
        return row.text
    signs = rules_by_concept()
    letters = list(row.text)
    telling = set()  # clauses with a sign
    for concept in context.concepts:
        if concept in signs:
            for hit in context.hits(concept):
                telling.add(hit.clause)
                if "negated" in hit.why_not:
                    for place in range(hit.start, hit.end):
                        if letters[place] != " ":
                            letters[place] = "_"
    for hit in context.hits("instruction"):
        if hit.clause not in telling:
            telling.add(hit.clause)
            start, end = context.clause(hit)
            letters[start:end] = " " * (end - start)
    return "".join(letters)


def _weighed(
    text: str,
    row: Words,
    context: Context | None,
    flags: dict[str, tuple[RedFlag, int]],
    language: str | None,
    reader: SecondReader | None,
) -> dict[str, tuple[RedFlag, int]]:
    """The flags after the classifier has read the message: some of the rules' taken back, or one of its own."""
    plain = _plain(row, context)
    if language:
        plain = _OTHER[language].sub(" ", plain)
    if not plain.strip(" .,"):
        return flags
    concepts = context.concepts if context else ()
    told = context is not None and context.told  # a part of a text to be summarised is not the writer's own

    def second(spans: Sequence[tuple[int, int]]) -> Sequence[float]:
        assert reader is not None
        return reader.odds([text, *(text[slice(*row.source(*span))] for span in spans[1:])])

    found = marks(context, flags) if context else []
    read = classifier.verdict(plain, found, whole_only=told, second=second if reader else None)
    if read.sure < DOUBT:
        flags = {kind: flag for kind, flag in flags.items() if kind in _ALWAYS and not read.harmless}
    pet = "animal" in concepts and "person" not in concepts
    if not read.raised or (pet and read.sure < CLEAR):
        return flags
    if flags and (read.kind in flags or read.kind not in _ALWAYS):
        return flags
    start, end = row.source(read.start, read.end)
    certainty: Certainty = "clear" if read.sure >= CLEAR else "possible"
    return flags | {read.kind: (RedFlag(read.kind, start, end, certainty, "classifier"), read.start)}


def marks(context: Context, flags: dict[str, tuple[RedFlag, int]]) -> list[tuple[int, str]]:
    """What the rules found, for the classifier: concepts, why they do not count where they do not, and flags."""
    found: list[tuple[int, str]] = []
    for concept in context.concepts:
        otherwise = f"{concept} not"
        for start, _, _, _, _, why_not in context.hits(concept):
            if why_not:
                found.append((start, otherwise))
                found += [(start, f"why {reason}") for reason in why_not]
            else:
                found.append((start, concept))
    for kind, (flag, begins) in flags.items():
        found += [(begins, f"flag {kind}"), (begins, f"flag {flag.certainty}")]
    return found


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
