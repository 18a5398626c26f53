from typing import Any

import pytest

from mulmed.evaluation.empathy import care, frequent_words, phrase_count, spoken_words
from mulmed.evaluation.lexicon import CATEGORIES, FUNCTION_WORDS, LEXICON
from mulmed.recipe import Evaluation

SETTINGS = Evaluation(resamples=200, confidence=0.9)


def row(model: str, id: str, answer: str, reference: str, **other: str) -> dict[str, Any]:
    fields = {"language": "en", "task": "qa", "status": "ok"}
    return {"id": id, "model": model, "answer": answer, "reference": reference, **fields, **other}


def test_words_are_those_of_nltk_and_jieba() -> None:
    assert spoken_words("Hello, don’t worry... an X-ray (500mg)!", "en") == [
        *("hello", "don't", "worry", "an", "x-ray", "500mg")
    ]
    assert spoken_words("您好，请放心。", "zh") == ["您好", "请", "放心"]


@pytest.mark.parametrize(
    ("text", "language", "counts"),
    [
        ("Hello, I understand your concern. Please don’t worry.", "en", (2, 3, 0)),
        ("This chill is helpless; sign here, assign there.", "en", (0, 0, 1)),  # hi, help, sign only as words
        ("Thank you. Thanks! The X-ray test shows no disease.", "en", (2, 0, 3)),
        ("您好，请放心，祝您早日康复。", "zh", (2, 3, 0)),  # 您好 once, not 您 again; 祝您 in both
        ("建议到医院检查，明确诊断后治疗。", "zh", (0, 0, 4)),
        ("", "zh", (0, 0, 0)),
    ],
)
def test_phrases_are_counted_once_each(text: str, language: str, counts: tuple[int, int, int]) -> None:
    assert tuple(phrase_count(text, language, category) for category in CATEGORIES) == counts


@pytest.mark.parametrize("language", LEXICON)
def test_lists_name_each_phrase_once_in_the_form_texts_are_read_in(language: str) -> None:
    assert set(LEXICON[language]) == set(CATEGORIES)
    phrases = [phrase for category in CATEGORIES for phrase in LEXICON[language][category].split(", ")]
    assert len(set(phrases)) == len(phrases)
    assert all(phrase == phrase.strip().lower() and "’" not in phrase for phrase in phrases)
    function_words = FUNCTION_WORDS[language].split()
    assert len(set(function_words)) == len(function_words)
    assert not set(function_words) & set(phrases)
    for category in CATEGORIES:
        for phrase in LEXICON[language][category].split(", "):
            assert phrase_count(phrase, language, category) == 1, phrase


def test_rates_are_per_thousand_words_of_all_answers_together() -> None:
    answers = [
        row("m", "q:1", "Please rest now.", "Rest."),  # 1 courtesy in 3 words
        row("m", "q:2", "Drink water, eat well, sleep early, walk.", "Please drink."),  # 0 in 7
    ]
    found = {(r["speaker"], r["category"]): r for r in care(answers, SETTINGS, 1)["rates"]}
    assert found["m", "courtesy"]["rate"] == pytest.approx(1000 / 10)  # not the mean of 333 and 0
    assert found["reference", "courtesy"]["rate"] == pytest.approx(1000 / 3)
    assert found["m", "comfort"] == {
        **{"speaker": "m", "language": "en", "category": "comfort", "rate": 0.0, "low": 0.0, "high": 0.0},
        "n": 2,
    }
    for r in found.values():
        assert r["low"] <= r["rate"] <= r["high"]


def test_models_are_compared_with_the_doctors_on_the_same_draws() -> None:
    references = [f"Take the tablet number {i}, please." + " Rest." * i for i in range(20)]
    same = [row("same", f"q:{i}", text, text) for i, text in enumerate(references)]
    warm = [row("warm", f"q:{i}", text + " I understand.", text) for i, text in enumerate(references)]
    found = {(d["model"], d["category"]): d for d in care(same + warm, SETTINGS, 1)["differences"]}
    assert [found["same", "courtesy"][k] for k in ("difference", "low", "high")] == [0.0, 0.0, 0.0]
    assert found["warm", "comfort"]["low"] > 0
    assert found["warm", "courtesy"]["high"] < 0  # the same words spread over longer answers


def test_only_questions_to_doctors_that_no_model_failed_count() -> None:
    answers = [
        row("a", "q:1", "Rest.", "Hope."),
        row("b", "q:1", "Rest.", "Hope."),
        row("a", "q:2", "Please.", "Please."),
        {**row("b", "q:2", "", "Please."), "status": "failed", "answer": None},
        row("a", "s:1", "Please.", "Please.", task="summary"),
        row("b", "s:1", "Please.", "Please.", task="summary"),
        row("a", "f:1", "Merci.", "Merci.", language="fr"),
        row("b", "f:1", "Merci.", "Merci.", language="fr"),
    ]
    found = care(answers, SETTINGS, 1)
    assert {r["rate"] for r in found["rates"] if r["category"] == "courtesy"} == {0.0}
    assert {r["n"] for r in found["rates"]} == {1}
    assert found["languages_without_lexicon"] == ["fr"]
    assert [(w["speaker"], w["word"]) for w in found["words"]] == [
        *(("reference", "hope"), ("a", "rest"), ("b", "rest"))
    ]


def test_a_model_that_says_nothing_has_rate_0() -> None:
    found = care([row("m", f"q:{i}", "", "Please rest.") for i in range(3)], SETTINGS, 1)
    assert {r["rate"] for r in found["rates"] if r["speaker"] == "m"} == {0.0}


def test_frequent_words_leave_out_function_words_numbers_and_single_characters() -> None:
    said = [spoken_words(t, "zh") for t in ("我建议检查，如果需要检查3次，请放心。", "检查后放心。")]
    words = frequent_words(said, "zh")
    assert words == [
        {"word": "检查", "count": 3, "category": "clinical"},
        {"word": "放心", "count": 2, "category": "comfort"},
        {"word": "建议", "count": 1, "category": None},
    ]
    said = [["the", "hope", "is", "that", "2", "hopes"], ["and", "the", "hope"]]
    assert [w["word"] for w in frequent_words(said, "en", top=1)] == ["hope"]
