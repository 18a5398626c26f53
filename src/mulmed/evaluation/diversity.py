"""Diversity: distinct-1 and distinct-2 (Li et al. 2016) over a model's whole output, at equal token budgets.

The share of distinct n-grams falls as a text grows, so a model that says less looks more diverse. Therefore
all compared models' outputs are cut to one budget: the number of tokens the tersest of them produced. Answers
are taken in one order for all models, the last one is cut short, and n-grams never reach across answers.

A bootstrap over questions fails here: a question drawn twice adds tokens but no new n-gram, so in our
simulations a 95% percentile interval held the true value 0 to 2 times in 100, and moved onto the score it was
1.2 to 1.9 times too wide. The jackknife's influences (below) gave the right width within a tenth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from mulmed.evaluation.metric import Metric
from mulmed.evaluation.significance import Floats
from mulmed.evaluation.tokenize import tokens

_SHARE = (
    "over the total number of generated tokens, over the model's whole output (Li et al. 2016; neither a "
    "mean over answers nor divided by the number of n-grams). All models of a group are cut to the same "
    "number of tokens, that of the tersest one. English by words, Chinese by character with Latin runs as "
    "words. Interval and p by the jackknife over questions, with a normal approximation."
)

METRICS = {
    "distinct1": Metric("Distinct-1", f"Distinct tokens {_SHARE}", "higher"),
    "distinct2": Metric("Distinct-2", f"Distinct pairs of neighbouring tokens {_SHARE}", "higher"),
}

Answers = Sequence[Sequence[str]]


def token_budget(outputs: Sequence[Answers]) -> int:
    """Tokens of the tersest output that has any; 0 if none has."""
    return min((total for output in outputs if (total := sum(map(len, output)))), default=0)


@dataclass(frozen=True, slots=True)
class Distinct:
    """Distinct-n of one output.

    Attributes:
        value: distinct n-grams over tokens; 0 for an output without tokens.
        influences: (answers,) what each answer adds to ``value`` beyond an average answer of its length: its
            n-grams found in no other answer, less the output's mean rate of such n-grams a token, over all
            tokens. They sum to 0; answers beyond the budget have 0.
    """

    value: float
    influences: Floats


def distinct_within(answers: Answers, n: int, budget: int) -> Distinct:
    """Distinct-n of the first ``budget`` tokens of ``answers``, with each answer's influence on it.

    The influence is the jackknife's (Efron and Tibshirani 1993, ch. 11) at a fixed number of tokens: were an
    answer taken away, others would be read in its place, and bring new n-grams at the mean rate.
    """
    several = len(answers)
    holder: dict[tuple[str, ...], int] = {}  # the answer that holds an n-gram, or `several`
    lengths = np.zeros(len(answers))
    left = budget
    for index, answer in enumerate(answers):
        kept = answer[:left]
        left -= len(kept)
        lengths[index] = len(kept)
        for gram in zip(*(kept[i:] for i in range(n)), strict=False):
            if holder.setdefault(gram, index) != index:
                holder[gram] = several
    total = max(1.0, float(lengths.sum()))
    alone = np.bincount(np.fromiter(holder.values(), dtype=np.int64), minlength=several + 1)[:several]
    return Distinct(len(holder) / total, (alone - lengths * (alone.sum() / total)) / total)


def distinct(texts: Sequence[str], n: int, language: str, budget: int | None = None) -> float:
    """Distinct-n of a model's whole output (Li et al. 2016): distinct n-grams over the number of tokens.

    Not over the number of n-grams, as many implementations have it, nor a mean over texts. n-grams do not reach from one text
    into the next.

    Args:
        texts: the model's answers.
        n: 1 for words (characters in Chinese), 2 for pairs, and so on.
        language: ISO 639-1 code; one rule cuts all languages.
        budget: only the first so many tokens, for a comparison with models that say less. ``None``: all.

    Returns:
        A share of 0 to 1; 0 for texts without any token.
    """
    del language
    answers = [tokens(text) for text in texts]
    return distinct_within(answers, n, sum(map(len, answers)) if budget is None else budget).value


def standard_error(influences: Floats, budget: int) -> float:
    """Jackknife standard error of a score, or of a difference given the difference of two influences.

    Never less than one n-gram in ``budget`` tokens: where each n-gram occurs in several answers the
    influences are all 0, yet chance may add or take an n-gram. Infinite for a single answer, which tells
    nothing of spread.
    """
    n = len(influences)
    if n < 2:
        return float("inf")
    return max(float(np.sqrt(n / (n - 1) * np.square(influences).sum())), 1 / max(1, budget))


def normal_interval(value: float, error: float, confidence: float) -> tuple[float, float]:
    """``value`` plus and minus the standard ``error`` times the normal quantile of ``confidence``."""
    reach = NormalDist().inv_cdf((1 + confidence) / 2) * error
    return value - reach, value + reach


def normal_p(value: float, error: float) -> float:
    """Two-sided p of ``value`` being zero under a normal error."""
    return 2 * NormalDist().cdf(-abs(value) / error)
