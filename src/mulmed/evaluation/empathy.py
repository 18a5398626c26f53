"""Humanistic care in words: how often answers greet, acknowledge, reassure, warn and guide, beside clinical terms.

The paper (3.4, Figure 5) shows the frequent words of its model's answers, cut by jieba and nltk, and reads
care out of some of them. A count alone shows nothing, so here it is a rate with an interval, set against the
doctors' own answers to the same questions and against the other models'. It counts words; it does not judge whether
they were meant or fitting, which is the ethics review's part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from mulmed import recipe
from mulmed.evaluation.comparison import Comparison, compare
from mulmed.evaluation.keywords import content_words, distinctive_words, frequent_words, spoken_words
from mulmed.evaluation.lexicon import CATEGORIES, languages, lexicon
from mulmed.evaluation.significance import Floats, bootstrap_means, interval

#: The speaker of the reference answers.
DOCTORS = "reference"
#: Tasks whose reference answers are a doctor's.
TASKS = ("qa", "dialogue")


def care(answers: Sequence[Mapping[str, Any]], settings: recipe.Evaluation, seed: int) -> dict[str, Any]:
    """Rates of the lexicon's phrases, the frequent words and the distinctive ones, by speaker.

    Args:
        answers: rows of ``answers.jsonl`` of all models. Counted are questions to doctors (tasks ``qa`` and
            ``dialogue``) that no model failed, in languages that have a lexicon; a model that was not asked all of a
            language's is left out there.

    Returns:
        ``rates``: phrases a 1,000 words, over all answers together, for every model and for ``reference``,
        the doctors. ``differences``: one speaker's rate minus another's (``model``, ``against``) on the same questions: every
        model against the doctors, then every two models. Intervals are percentile bootstraps over questions. ``words``: the
        100 most frequent words of each, most frequent first, with the category of those in the lexicon. ``distinctive``: the
        words that are most a speaker's against another, both ways round, by log-odds with a prior (see :mod:`.keywords`).
        ``volumes``: each speaker's number of words. ``categories``: what each holds. ``languages_without_lexicon``: those left out.

    Raises:
        MulmedError: see :func:`mulmed.evaluation.comparison.compare`.
    """
    comparison = compare(answers)
    rates: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    words: list[dict[str, Any]] = []
    distinctive: list[dict[str, Any]] = []
    volumes: list[dict[str, Any]] = []
    spoken = sorted({question.language for question in comparison.questions})
    for language in filter(languages().__contains__, spoken):
        texts = _texts(comparison, language)
        if not texts[DOCTORS]:
            continue
        said = {who: [spoken_words(text, language) for text in own] for who, own in texts.items()}
        if lexicon(language).phrases:
            found, compared = _rates(texts, said, language, settings, seed)
            rates += found
            differences += compared
        for who, own in said.items():
            volumes.append({"speaker": who, "language": language, "words": sum(map(len, own))})
            words += [{"speaker": who, "language": language, **w} for w in frequent_words(own, language)]
        counts = {who: content_words(own, language) for who, own in said.items()}
        for one, other in _pairs(list(texts)):
            for who, against in ((one, other), (other, one)):
                key = {"speaker": who, "against": against, "language": language}
                distinctive += [{**key, **w} for w in distinctive_words(counts[who], counts[against])]
    return {
        "rates": rates,
        "differences": differences,
        "words": words,
        "distinctive": distinctive,
        "volumes": volumes,
        "categories": dict(CATEGORIES),
        "confidence": settings.confidence,
        "languages_without_lexicon": [
            code for code in spoken if code not in languages() or not lexicon(code).phrases
        ],
    }


def _pairs(speakers: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every model against the doctors, then every later model against every earlier one."""
    models = [who for who in speakers if who != DOCTORS]
    yield from ((model, DOCTORS) for model in models)
    yield from ((later, earlier) for earlier, later in combinations(models, 2))


def _texts(comparison: Comparison, language: str) -> dict[str, list[str]]:
    """Answers of every model and of the doctors to the same questions, in the same order."""
    asked = [q for q in comparison.questions if q.language == language and q.task in TASKS]
    _, models = comparison.models_of([q.id for q in asked])
    questions = [q for q in asked if all((model, q.id) in comparison.answers for model in models)]
    texts = {DOCTORS: [q.reference for q in questions]}
    for model in models:
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
                [len(words), *(count[category] for category in CATEGORIES)]
                for words, count in zip(said[who], map(lexicon(language).count, texts[who]), strict=True)
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
    speakers, categories = list(texts), list(CATEGORIES)
    rates = [
        {
            "speaker": speaker, "language": language, "category": category, "rate": float(values[s, c]),
            "low": float(low[s, c]), "high": float(high[s, c]), "n": len(counts),
        }
        for s, speaker in enumerate(speakers)
        for c, category in enumerate(categories)
    ]  # fmt: skip
    differences = []
    for one, other in _pairs(speakers):
        a, b = speakers.index(one), speakers.index(other)
        low, high = interval(samples[:, a] - samples[:, b], settings.confidence)
        differences += [
            {
                "model": one, "against": other, "language": language, "category": category,
                "difference": float(values[a, c] - values[b, c]), "low": float(low[c]), "high": float(high[c]),
            }
            for c, category in enumerate(categories)
        ]  # fmt: skip
    return rates, differences


def _per_thousand(counts: Floats) -> Floats:
    """Phrases a 1,000 words from (..., words and categories); 0 for a speaker without words."""
    words = counts[..., :1]
    rate: Floats = 1000 * counts[..., 1:] / np.where(words > 0, words, np.inf)
    return rate
