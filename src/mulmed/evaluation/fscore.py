"""Token precision, recall and F1: how many tokens an answer shares with the reference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from mulmed.evaluation.metric import Metric
from mulmed.evaluation.tokenize import tokens

_OVERLAP = (
    "Tokens are counted as a multiset (a token shared twice needs two on each side), after Rajpurkar et al. "
    "2016 (SQuAD), averaged over questions. English words are lower-cased runs of letters and digits; "
    "Chinese is counted by character with Latin runs as words. Unlike SQuAD's script, English articles are "
    "kept: answers are whole paragraphs, and Chinese has no articles to match."
)

METRICS = {
    "f1": Metric(
        "Token F1", f"Harmonic mean of precision and recall of the answer's tokens. {_OVERLAP}", "higher"
    ),
    "precision": Metric(
        "Token precision", f"Share of the answer's tokens found in the reference. {_OVERLAP}", "higher"
    ),
    "recall": Metric(
        "Token recall", f"Share of the reference's tokens found in the answer. {_OVERLAP}", "higher"
    ),
}


@dataclass(frozen=True, slots=True)
class Score:
    """Shares between 0 and 1."""

    precision: float
    recall: float
    f1: float

    @property
    def fmeasure(self) -> float:
        """``f1``, by the name it goes by in ROUGE."""
        return self.f1


def from_counts(shared: int, answer: int, reference: int) -> Score:
    """Score of ``shared`` matching units out of ``answer`` and ``reference``; 0 where a side has none."""
    precision = shared / answer if answer else 0.0
    recall = shared / reference if reference else 0.0
    # 2PR / (P + R) with P and R written out: one division, so F1 of a swapped pair is the same float.
    return Score(precision, recall, 2 * shared / (answer + reference) if shared else 0.0)


def shared_count(answer: Sequence[Hashable], reference: Sequence[Hashable]) -> int:
    """Size of the multiset intersection."""
    a, r = Counter(answer), Counter(reference)
    common = a.keys() & r.keys()
    return sum(map(min, map(a.__getitem__, common), map(r.__getitem__, common)))


def token_score(answer: Sequence[str], reference: Sequence[str]) -> Score:
    """Precision, recall and F1 by multiset overlap (Rajpurkar et al. 2016, SQuAD).

    Two empty texts agree (1, 1, 1), as in SQuAD 2.0; one empty text alone scores 0.
    """
    if not answer and not reference:
        return Score(1.0, 1.0, 1.0)
    return from_counts(shared_count(answer, reference), len(answer), len(reference))


def token_f1(prediction: str, reference: str, language: str) -> Score:
    """Token precision, recall and F1 of one answer, as reports average them (see :data:`METRICS`).

    Args:
        prediction: the answer scored.
        reference: the answer it is held against.
        language: ISO 639-1 code. The rule that cuts texts into tokens serves every language alike; named, so that all
            measures are called alike.
    """
    del language
    return token_score(tokens(prediction), tokens(reference))
