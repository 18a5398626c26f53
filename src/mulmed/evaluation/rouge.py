"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) on token lists, for a single reference."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz.distance import LCSseq

from mulmed.evaluation.fscore import Score, from_counts, shared_count
from mulmed.evaluation.metric import Metric

_KINDS = {
    "1": "share of single tokens in common",
    "2": "share of neighbouring token pairs in common",
    "L": "length of the longest common subsequence of tokens",
}
_TOKENS = (
    "English by words with Porter's stemmer, the same numbers as the rouge_score package; Chinese by "
    "character with Latin runs as words; other languages by words"
)

METRICS = {
    f"rouge{kind}{suffix}": Metric(
        f"ROUGE-{kind}{label}",
        f"ROUGE-{kind} F-score (Lin 2004): {what}, harmonic mean of precision and recall, averaged over "
        f"questions. {tokens}.",
        "higher",
    )
    for suffix, label, tokens in (("", "", _TOKENS), ("_word", " (words)", "Chinese by jieba's words"))
    for kind, what in _KINDS.items()
}


def rouge_n(answer: Sequence[str], reference: Sequence[str], n: int) -> Score:
    """ROUGE-N: multiset overlap of n-grams. A side without n-grams scores 0, as in ``rouge_score``."""
    a = list(zip(*(answer[i:] for i in range(n)), strict=False))
    r = list(zip(*(reference[i:] for i in range(n)), strict=False))
    return from_counts(shared_count(a, r), len(a), len(r))


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> Score:
    """ROUGE-L at the level of the whole text: longest common subsequence of tokens (Lin 2004, 3.1)."""
    # rapidfuzz compares hashes of the elements: small integers have hashes of their own, strings may collide.
    codes: dict[str, int] = {}
    a, r = ([codes.setdefault(token, len(codes)) for token in side] for side in (answer, reference))
    return from_counts(LCSseq.similarity(a, r), len(a), len(r))
