"""Which words an answerer uses, and which it uses more than another: the paper's Figure 5, and what it leaves open.

The most frequent words of any text about medicine are words about medicine. What tells two speakers apart are the words one
uses more than the other, by log-odds with a prior (Monroe, Colaresi and Quinn 2008), which lets neither rare words nor common
ones win by their frequency.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from mulmed.evaluation.lexicon import lexicon, plain_text
from mulmed.evaluation.significance import Floats
from mulmed.evaluation.tokenize import jieba_words, tokens
from mulmed.recipe.language import added

#: Weight of the prior: the two speakers' words together, scaled to this share of them.
PRIOR_SHARE = 0.1


def spoken_words(text: str, language: str) -> list[str]:
    """Words as the paper counts them: jieba's in Chinese, nltk's in English ("don't" and "x-ray" are one).

    In a language that a file has added: :func:`~mulmed.evaluation.tokenize.tokens`.
    """
    if language == "zh":
        return jieba_words(text)
    if language in added():
        return tokens(text)
    return [word for word in _english().tokenize(plain_text(text)) if any(map(str.isalnum, word))]


@cache
def _english() -> Any:
    from nltk.tokenize import TweetTokenizer  # needs no downloaded data and keeps contractions whole

    return TweetTokenizer()


def content_words(answers: Iterable[Sequence[str]], language: str) -> Counter[str]:
    """How often each word is used. Left out are function words, numbers and, in Chinese, words of one character."""
    ignored = lexicon(language).function_words
    return Counter(
        word
        for words in answers
        for word in words
        if word not in ignored and not word[0].isdigit() and len(word) > 1
    )


def frequent_words(answers: Iterable[Sequence[str]], language: str, top: int = 100) -> list[dict[str, Any]]:
    """The ``top`` most frequent of the answers' words: ``word``, ``count``, and ``category`` or ``None``.

    The category is the lexicon's. Ties go by the alphabet.
    """
    known = lexicon(language).phrases
    counts = content_words(answers, language)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]
    return [{"word": word, "count": count, "category": known.get(word)} for word, count in ranked]


def log_odds(own: Floats, other: Floats, prior: Floats) -> Floats:
    """How much more each word is one speaker's than another's: z-scores of log-odds ratios with a Dirichlet prior.

    Monroe, Colaresi and Quinn 2008, equations 15, 16, 20 and 22 (informative Dirichlet prior).

    Args:
        own: (words,) counts of one speaker.
        other: (words,) counts of the other.
        prior: (words,) pseudo-counts, above 0.

    Returns:
        (words,): above 0 where the word is the first speaker's; beyond 1.96 either way a word by itself is significant, which
        among many words says little.
    """
    a, b = own + prior, other + prior
    total_a, total_b = a.sum(), b.sum()
    delta = np.log(a / (total_a - a)) - np.log(b / (total_b - b))
    z: Floats = delta / np.sqrt(1 / a + 1 / b)
    return z


def distinctive_words(
    own: Mapping[str, int], other: Mapping[str, int], top: int = 20
) -> list[dict[str, Any]]:
    """The ``top`` words that are most one speaker's against another: ``word``, ``z``, ``count``, ``count_other``.

    The prior is the two speakers' words together, scaled to :data:`PRIOR_SHARE`. Only words with z above 1.96 are listed, the
    highest first; ties go by the alphabet.
    """
    words = sorted({*own, *other})
    if len(words) < 2:
        return []
    a, b = (np.array([side.get(word, 0) for word in words], dtype=np.float64) for side in (own, other))
    pooled = a + b
    z = log_odds(a, b, pooled * PRIOR_SHARE)
    order = sorted(range(len(words)), key=lambda i: (-z[i], words[i]))[:top]
    return [
        {"word": words[i], "z": float(z[i]), "count": int(a[i]), "count_other": int(b[i])}
        for i in order
        if z[i] > 1.96
    ]
