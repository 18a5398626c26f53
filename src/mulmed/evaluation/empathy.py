"""Humanistic care in words: how often answers speak of courtesy and comfort, beside clinical terms.

The paper (3.4, Figure 5) shows the frequent words of its model's answers, cut by jieba and nltk, and reads
care out of some of them. A count alone shows nothing, so here it is a rate with an interval, set against the
doctors' own answers to the same questions. It counts words; it does not judge whether they were meant or
fitting, which is the ethics review's part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from mulmed import recipe
from mulmed.evaluation.comparison import Comparison, compare
from mulmed.evaluation.lexicon import CATEGORIES, FUNCTION_WORDS, LEXICON, Category
from mulmed.evaluation.significance import Floats, bootstrap_means, interval
from mulmed.evaluation.tokenize import jieba_words, normalize

#: The speaker of the reference answers.
DOCTORS = "reference"
#: Tasks whose reference answers are a doctor's.
TASKS = ("qa", "dialogue")


def spoken_words(text: str, language: str) -> list[str]:
    """Words as the paper counts them: jieba's in Chinese, nltk's in English ("don't" and "x-ray" are one)."""
    if language == "zh":
        return jieba_words(text)
    return [word for word in _english().tokenize(_plain(text)) if any(map(str.isalnum, word))]


@cache
def _english() -> Any:
    from nltk.tokenize import TweetTokenizer  # needs no downloaded data and keeps contractions whole

    return TweetTokenizer()


def _plain(text: str) -> str:
    return normalize(text).replace("’", "'")


@cache
def _pattern(language: str, category: Category) -> re.Pattern[str]:
    # The longest phrase first: 早日康复 counts once, and "don't worry" before anything inside it.
    phrases = sorted(LEXICON[language][category].split(", "), key=lambda phrase: (-len(phrase), phrase))
    either = "|".join(map(re.escape, phrases))
    return re.compile(either if language == "zh" else rf"(?<![\w-])(?:{either})(?![\w-])")


def phrase_count(text: str, language: str, category: Category) -> int:
    """Phrases of the lexicon's ``category`` in a text, not counting one inside another."""
    return len(_pattern(language, category).findall(_plain(text)))


def care(answers: Sequence[Mapping[str, Any]], settings: recipe.Evaluation, seed: int) -> dict[str, Any]:
    """Rates of courteous, comforting and clinical phrases, and the frequent words, by speaker.

    Args:
        answers: rows of ``answers.jsonl`` of all models. Counted are questions to doctors (tasks ``qa`` and
            ``dialogue``) that no model failed, in languages that have a lexicon.

    Returns:
        ``rates``: phrases a 1,000 words, over all answers together, for every model and for ``reference``,
        the doctors. ``differences``: model minus doctors, on the same questions. Intervals are percentile
        bootstraps over questions. ``words``: the 100 most frequent words of each, most frequent first, with
        the category of those in the lexicon. ``categories``: what each holds. ``languages_without_lexicon``:
        those left out.

    Raises:
        MulmedError: see :func:`mulmed.evaluation.comparison.compare`.
    """
    comparison = compare(answers)
    rates: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    languages = sorted({question.language for question in comparison.questions})
    for language in filter(LEXICON.__contains__, languages):
        texts = _texts(comparison, language)
        if not texts[DOCTORS]:
            continue
        said = {who: [spoken_words(text, language) for text in own] for who, own in texts.items()}
        found, compared = _rates(texts, said, language, settings, seed)
        rates += found
        differences += compared
        for who, own in said.items():
            words += [{"speaker": who, "language": language, **w} for w in frequent_words(own, language)]
    return {
        "rates": rates,
        "differences": differences,
        "words": words,
        "categories": dict(CATEGORIES),
        "confidence": settings.confidence,
        "languages_without_lexicon": [language for language in languages if language not in LEXICON],
    }


def _texts(comparison: Comparison, language: str) -> dict[str, list[str]]:
    """Answers of every model and of the doctors to the same questions, in the same order."""
    questions = [
        q
        for q in comparison.questions
        if q.language == language
        and q.task in TASKS
        and all((model, q.id) in comparison.answers for model in comparison.models)
    ]
    texts = {DOCTORS: [q.reference for q in questions]}
    for model in comparison.models:
        texts[model] = [comparison.answers[model, q.id] for q in questions]
    return texts


def _rates(
    texts: Mapping[str, Sequence[str]],
    said: Mapping[str, Sequence[Sequence[str]]],
    language: str,
    settings: recipe.Evaluation,
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    # (questions, speakers, words and one column a category): one draw serves all, so speakers are paired.
    counts = np.array(
        [
            [
                [len(words), *(phrase_count(text, language, c) for c in CATEGORIES)]
                for text, words in zip(texts[who], said[who], strict=True)
            ]
            for who in texts
        ],
        dtype=np.float64,
    ).transpose(1, 0, 2)
    rng = np.random.default_rng(seed % 2**32)
    means = bootstrap_means(counts.reshape(len(counts), -1), settings.resamples, rng)
    samples = _per_thousand(means.reshape(-1, *counts.shape[1:]))
    values = _per_thousand(counts.mean(axis=0)[None])[0]
    low, high = interval(samples, settings.confidence)
    apart_low, apart_high = interval(samples - samples[:, :1], settings.confidence)
    rates, differences = [], []
    for s, speaker in enumerate(texts):
        for c, category in enumerate(CATEGORIES):
            key = {"language": language, "category": category}
            ends = {"low": float(low[s, c]), "high": float(high[s, c]), "n": len(counts)}
            rates.append({"speaker": speaker, **key, "rate": float(values[s, c]), **ends})
            if speaker != DOCTORS:
                apart = {"low": float(apart_low[s, c]), "high": float(apart_high[s, c])}
                difference = float(values[s, c] - values[0, c])
                differences.append({"model": speaker, **key, "difference": difference, **apart})
    return rates, differences


def _per_thousand(counts: Floats) -> Floats:
    """Phrases a 1,000 words from (..., words and categories); 0 for a speaker without words."""
    words = counts[..., :1]
    rate: Floats = 1000 * counts[..., 1:] / np.where(words > 0, words, np.inf)
    return rate


def frequent_words(answers: Sequence[Sequence[str]], language: str, top: int = 100) -> list[dict[str, Any]]:
    """The ``top`` most frequent of the answers' words: ``word``, ``count``, and ``category`` or ``None``.

    Left out are function words, numbers and, in Chinese, words of one character. Ties go by the alphabet.
    """
    ignored = frozenset(FUNCTION_WORDS[language].split())
    counts = Counter(
        word
        for words in answers
        for word in words
        if word not in ignored and not word[0].isdigit() and len(word) > 1
    )
    known = {
        phrase: category for category in CATEGORIES for phrase in LEXICON[language][category].split(", ")
    }
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]
    return [{"word": word, "count": count, "category": known.get(word)} for word, count in ranked]
