"""Words of care, by language: what doctors say beyond the medicine, and what nobody should say to a patient.

The lists are data beside this module (``lexicons/LANGUAGE.yaml``), our own and made for answers to patients. Those of another
language are the ``care`` of its file. ``clinical`` holds the general terms of a consultation, no diseases or drugs: it measures register, not topic.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from mulmed.evaluation.tokenize import normalize
from mulmed.recipe.language import BUILT_IN, added

#: What each category holds. A model is not better for more of any; the anti-patterns should be rare.
CATEGORIES: dict[str, str] = {
    "greeting": "words that open a conversation",
    "politeness": "requests, thanks, apologies, polite address",
    "acknowledgement": "the patient's feelings and worries taken up",
    "reassurance": "comfort, and offers of help",
    "hope": "good wishes, encouragement, prospects",
    "caution": "warnings, risks, what to watch for",
    "next step": "what to do or whom to see",
    "dismissal": "anti-pattern: the complaint waved away",
    "blame": "anti-pattern: the patient at fault",
    "false reassurance": "anti-pattern: certainty that no distant adviser has",
    "clinical": "general terms of a consultation: examination, diagnosis, treatment",
}
#: Politeness is polite behind a negation too ("don't hesitate, please"); nothing else means the same there.
_UNNEGATED = frozenset({"greeting", "politeness"})


@dataclass(frozen=True, slots=True)
class Lexicon:
    """One language's phrases.

    Attributes:
        phrases: category by phrase; ``None`` for what is only there to be passed over.
        pattern: every phrase, the longest first.
        negated: matches right before a phrase that is negated.
        function_words: left out of lists of frequent words.
    """

    phrases: dict[str, str | None]
    pattern: re.Pattern[str]
    negated: re.Pattern[str]
    function_words: frozenset[str]

    def count(self, text: str) -> Counter[str]:
        """Phrases of each category in a text; none is counted inside another or behind a negation."""
        plain = plain_text(text)
        counts: Counter[str] = Counter()
        for match in self.pattern.finditer(plain):
            category = self.phrases[match[0]]
            if category and (category in _UNNEGATED or not self._behind_negation(plain, match.start())):
                counts[category] += 1
        return counts

    def _behind_negation(self, plain: str, start: int) -> bool:
        return self.negated.search(plain, max(0, start - 40), start) is not None


def plain_text(text: str) -> str:
    """A text in the form the lists are written in: normalised, lower case, straight apostrophes, single spaces."""
    return " ".join(normalize(text).replace("’", "'").split())


def languages() -> list[str]:
    """Languages of which words are counted; one added without words of care has a lexicon without phrases."""
    return sorted([*BUILT_IN, *added()])


def lexicon(language: str) -> Lexicon:
    """The lexicon of a language that has one."""
    own = added().get(language)
    if own is None:
        return _built_in(language)
    care = own.care
    phrases: dict[str, str | None] = dict.fromkeys(map(plain_text, care.passed_over if care else ()))
    for category, said in care.categories.items() if care else ():
        phrases |= dict.fromkeys(map(plain_text, said), category)
    negations = [plain_text(word) for word in (care.negations if care else ())]
    return _made(phrases, negations, own.units == "words", frozenset(map(plain_text, own.stop_words)))


@cache
def _built_in(language: str) -> Lexicon:
    text = (files("mulmed.evaluation") / "lexicons" / f"{language}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    phrases: dict[str, str | None] = dict.fromkeys(_split(document["passed over"]))
    for category in CATEGORIES:
        for phrase in _split(document["categories"][category]):
            phrases[phrase] = category
    spaced = any(" " in phrase for phrase in phrases)
    ignored = frozenset(document["function words"].split())
    return _made(phrases, _split(document["negations"]), spaced, ignored)


def _made(
    phrases: dict[str, str | None], negations: Sequence[str], spaced: bool, ignored: frozenset[str]
) -> Lexicon:
    longest_first = sorted(phrases, key=lambda phrase: (-len(phrase), phrase))
    either = "|".join(map(re.escape, longest_first))
    negated = "|".join(map(re.escape, negations)) or "(?!)"
    return Lexicon(
        phrases,
        # Scripts without spaces have no borders between words.
        re.compile(rf"(?<![\w'-])(?:{either})(?![\w-]|'\w)" if spaced else either),
        re.compile(rf"(?<![\w'-])(?:{negated})\s+(?:[\w'-]+\s+)?\Z" if spaced else rf"(?:{negated})\w?\Z"),
        ignored,
    )


def _split(phrases: str) -> list[str]:
    return [phrase.strip() for phrase in phrases.split(",")]
