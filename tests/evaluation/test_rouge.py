from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer, tokenizers

from mulmed.evaluation.fscore import Score
from mulmed.evaluation.rouge import rouge, rouge_l, rouge_n
from mulmed.evaluation.tokenize import jieba_words, stemmed_words, tokens

KINDS = ["rouge1", "rouge2", "rougeL"]
SMALL = st.lists(st.sampled_from("abcde"), max_size=25)

# Our own sentences, in the manner of patients and doctors.
ENGLISH = [
    "Hello, I have had a throbbing headache for three days, worse when I bend forwards.",
    "A headache that worsens on bending forward, with a blocked nose, often comes from the sinuses.",
    "Please drink plenty of fluids, rest, and take paracetamol 500 mg up to four times a day.",
    "Drinking fluids and resting is pleasing; paracetamol (500mg) taken four times daily may help!",
    "If the fever persists beyond 72 hours, or you notice stiffness of the neck, go to a hospital.",
    "",
    "...",
]
CHINESE = [
    "您好，发烧三天，体温38.5℃，伴有咳嗽，需要做CT检查吗？",
    "您好，建议您先查血常规，如果发烧超过三天，可以考虑做胸部CT。",
    "多喝水，注意休息，体温超过38.5度可以口服布洛芬退烧。",
    "请放心，这种情况大多是病毒感染，多休息、多饮水，一般一周左右可以恢复。",
    "。",
]


class _Characters(tokenizers.Tokenizer):
    def tokenize(self, text: str) -> list[str]:
        return tokens(text)


class _Words(tokenizers.Tokenizer):
    def tokenize(self, text: str) -> list[str]:
        return jieba_words(text)


def ours(answer: list[str], reference: list[str]) -> dict[str, Score]:
    return {
        "rouge1": rouge_n(answer, reference, 1),
        "rouge2": rouge_n(answer, reference, 2),
        "rougeL": rouge_l(answer, reference),
    }


def assert_same(found: dict[str, Score], expected: dict[str, tuple[float, float, float]]) -> None:
    for kind in KINDS:
        score = found[kind]
        assert (score.precision, score.recall, score.f1) == pytest.approx(expected[kind], abs=1e-12), kind


@pytest.mark.parametrize("reference", ENGLISH)
@pytest.mark.parametrize("answer", ENGLISH)
def test_english_equals_rouge_score_with_stemmer(answer: str, reference: str) -> None:
    oracle = rouge_scorer.RougeScorer(KINDS, use_stemmer=True)
    assert_same(ours(stemmed_words(answer), stemmed_words(reference)), oracle.score(reference, answer))


def test_english_equals_rouge_score_on_random_texts() -> None:
    oracle = rouge_scorer.RougeScorer(KINDS, use_stemmer=True)
    words = " ".join(ENGLISH).split()
    rng = np.random.default_rng(0)
    for _ in range(200):
        answer, reference = (" ".join(rng.choice(words, rng.integers(0, 60))) for _ in range(2))
        assert_same(ours(stemmed_words(answer), stemmed_words(reference)), oracle.score(reference, answer))


@pytest.mark.parametrize("tokenizer", [_Characters(), _Words()])
@pytest.mark.parametrize("reference", CHINESE)
@pytest.mark.parametrize("answer", CHINESE)
def test_chinese_equals_rouge_score_given_our_tokens(
    answer: str, reference: str, tokenizer: tokenizers.Tokenizer
) -> None:
    oracle = rouge_scorer.RougeScorer(KINDS, tokenizer=tokenizer)
    found = ours(tokenizer.tokenize(answer), tokenizer.tokenize(reference))
    assert_same(found, oracle.score(reference, answer))


def test_identical_chinese_texts_score_1_where_rouge_scores_own_tokenizer_gives_0() -> None:
    text = "多喝水，注意休息。"
    own = rouge_scorer.RougeScorer(KINDS, use_stemmer=True).score(text, text)
    assert [own[kind].fmeasure for kind in KINDS] == [0.0, 0.0, 0.0]
    for cut in (tokens, jieba_words):
        assert [score.f1 for score in ours(cut(text), cut(text)).values()] == [1.0, 1.0, 1.0]


def test_worked_example() -> None:
    answer, reference = tokens("多喝热水"), tokens("多喝水热敷")
    # 1-grams 多喝水热 of 4 and 5; 2-grams 多喝 of 3 and 4; subsequence 多喝热 (or 多喝水).
    assert rouge_n(answer, reference, 1).f1 == pytest.approx(8 / 9)
    assert rouge_n(answer, reference, 2).f1 == pytest.approx(2 / 7)
    assert rouge_l(answer, reference).f1 == pytest.approx(6 / 9)


def _lcs(a: list[str], b: list[str]) -> int:
    """Longest common subsequence by the textbook table."""
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


@given(SMALL, SMALL)
def test_lcs_equals_the_table(answer: list[str], reference: list[str]) -> None:
    expected = _lcs(answer, reference) / len(answer) if answer else 0.0
    assert rouge_l(answer, reference).precision == pytest.approx(expected, abs=1e-12)


def test_lcs_equals_the_table_beyond_one_machine_word() -> None:
    rng = np.random.default_rng(1)
    for length in (63, 64, 65, 200):
        a, b = (list(rng.choice(list("abcdefgh"), length)) for _ in range(2))
        assert rouge_l(a, b).recall == pytest.approx(_lcs(a, b) / length)


@given(SMALL, SMALL)
def test_properties(answer: list[str], reference: list[str]) -> None:
    scores, swapped = ours(answer, reference), ours(reference, answer)
    for kind in KINDS:
        assert 0.0 <= scores[kind].f1 <= 1.0
        assert scores[kind].f1 == swapped[kind].f1
    assert scores["rougeL"].f1 <= scores["rouge1"].f1  # a common subsequence is a common multiset
    assert rouge_l(answer, answer).f1 == float(bool(answer))


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [*pairwise(ENGLISH), *pairwise(CHINESE)],
)
def test_texts_are_cut_as_their_language_asks(prediction: str, reference: str) -> None:
    english = rouge_scorer.RougeScorer(KINDS, use_stemmer=True).score(reference, prediction)
    characters = rouge_scorer.RougeScorer(KINDS, tokenizer=_Characters()).score(reference, prediction)
    words = rouge_scorer.RougeScorer(KINDS, tokenizer=_Words()).score(reference, prediction)
    assert_same(rouge(prediction, reference, "en"), english)
    assert_same(rouge(prediction, reference, "zh"), characters)
    assert_same(rouge(prediction, reference, "zh", units="words"), words)
    for kind, score in rouge(prediction, reference, "en").items():
        assert score.fmeasure == pytest.approx(english[kind].fmeasure, abs=1e-12)
