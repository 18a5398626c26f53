"""Training records in which a question of the test set is found again."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict

import polars as pl

from mulmed.corpus.batch import StageResult, from_batch
from mulmed.corpus.deduplicate import normal_form
from mulmed.corpus.record import Record
from mulmed.corpus.stage import Finding, Outcome, result
from mulmed.recipe import Decontaminate

_WORD = re.compile(r"[^\W_]+")


def ngrams(text: str, language: str, settings: Decontaminate) -> set[str]:
    """The distinct n-grams of a text: characters in Chinese, words in every other language.

    Case, width, spaces and punctuation do not count. Empty where the text is shorter than n.
    """
    if language == "zh":
        units: str | list[str] = normal_form(text)
        n, between = settings.ngram_zh, ""
    else:
        units = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        n, between = settings.ngram_en, " "
    return {between.join(units[i : i + n]) for i in range(len(units) - n + 1)}


def decontaminate(batch: pl.DataFrame, settings: Decontaminate) -> StageResult:
    """Records of a whole corpus without training and validation records that contain a test question.

    A test question (its longest user turn, with the context) counts as found when at least ``settings.overlap``
    of its distinct n-grams occur in the texts of one record; one too short for an n-gram when it equals a
    user's turn of the record. Test records are never dropped. The audit's detail is the id of the test
    record with the largest overlap, and that overlap.
    """
    records = list(from_batch(batch))
    tests = [record for record in records if record.split == "test"]
    index: dict[str, list[int]] = defaultdict(list)
    sizes: list[int] = []
    short: dict[str, int] = {}
    for i, record in enumerate(tests):
        question = _question(record)
        grams = ngrams(question, record.language, settings)
        sizes.append(len(grams))
        for gram in grams:
            index[gram].append(i)
        if not grams and (whole := normal_form(question)):
            short.setdefault(whole, i)

    def outcome(record: Record) -> Outcome:
        if record.split == "test" or not tests:
            return Outcome(record)
        found: Counter[int] = Counter()
        grams = set[str]().union(*(ngrams(t, record.language, settings) for t in _texts(record)))
        for gram in grams & index.keys():
            found.update(index[gram])
        # Ties go to the test record that comes first, so that the audit is the same on every run.
        best = max(found, key=lambda i: (found[i] / sizes[i], -i), default=None)
        if best is not None and found[best] / sizes[best] >= settings.overlap:
            return _contaminated(tests[best], found[best] / sizes[best])
        for turn in record.turns:
            if turn.role == "user" and (i := short.get(normal_form(turn.text))) is not None:
                return _contaminated(tests[i], 1.0)
        return Outcome(record)

    return result("decontaminate", ((record, outcome(record)) for record in records))


def _contaminated(test: Record, overlap: float) -> Outcome:
    return Outcome(None, (Finding("test question", 1, f"{test.id} overlap {overlap:.2f}"),))


def _question(record: Record) -> str:
    longest = max((t.text for t in record.turns if t.role == "user"), key=len)
    return f"{longest}\n{record.context}" if record.context else longest


def _texts(record: Record) -> list[str]:
    texts = [t.text for t in record.turns]
    return [*texts, f"{record.turns[0].text}\n{record.context}"] if record.context else texts
