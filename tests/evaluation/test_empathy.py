from typing import Any

import pytest

from mulmed.evaluation.empathy import care
from mulmed.evaluation.lexicon import CATEGORIES
from mulmed.recipe import Evaluation

SETTINGS = Evaluation(resamples=200, confidence=0.9)


def row(model: str, id: str, answer: str, reference: str, **other: str) -> dict[str, Any]:
    fields = {"language": "en", "task": "qa", "status": "ok"}
    return {"id": id, "model": model, "answer": answer, "reference": reference, **fields, **other}


def test_rates_are_per_thousand_words_of_all_answers_together() -> None:
    answers = [
        row("m", "q:1", "Please rest now.", "Rest."),  # 1 polite word in 3
        row("m", "q:2", "Drink water, eat well, sleep early, walk.", "Please drink."),  # 0 in 7
    ]
    found = {(r["speaker"], r["category"]): r for r in care(answers, SETTINGS, 1)["rates"]}
    assert found["m", "politeness"]["rate"] == pytest.approx(1000 / 10)  # not the mean of 333 and 0
    assert found["reference", "politeness"]["rate"] == pytest.approx(1000 / 3)
    assert found["m", "acknowledgement"] == {
        **{
            "speaker": "m",
            "language": "en",
            "category": "acknowledgement",
            "rate": 0.0,
            "low": 0.0,
            "high": 0.0,
        },
        "n": 2,
    }
    for r in found.values():
        assert r["low"] <= r["rate"] <= r["high"]


def test_models_are_compared_with_the_doctors_on_the_same_draws() -> None:
    references = [f"Take the tablet number {i}, please." + " Rest." * i for i in range(20)]
    same = [row("same", f"q:{i}", text, text) for i, text in enumerate(references)]
    warm = [row("warm", f"q:{i}", text + " I understand.", text) for i, text in enumerate(references)]
    differences = care(same + warm, SETTINGS, 1)["differences"]
    found = {(d["model"], d["category"]): d for d in differences if d["against"] == "reference"}
    assert [found["same", "politeness"][k] for k in ("difference", "low", "high")] == [0.0, 0.0, 0.0]
    assert found["warm", "acknowledgement"]["low"] > 0
    assert found["warm", "politeness"]["high"] < 0  # the same words spread over longer answers
    (between,) = [d for d in differences if d["against"] == "same" and d["category"] == "acknowledgement"]
    assert between["model"] == "warm"
    assert between["low"] > 0
    compared = dict.fromkeys((d["model"], d["against"]) for d in differences)
    assert list(compared) == [("same", "reference"), ("warm", "reference"), ("warm", "same")]
    assert {d["category"] for d in differences} == set(CATEGORIES)


def test_words_that_tell_speakers_apart_go_both_ways() -> None:
    answers = [
        row("warm", f"q:{i}", "Understand fever rest fever.", "Tablets fever rest fever.") for i in range(20)
    ]
    found = care(answers, SETTINGS, 1)
    told = {
        (d["speaker"], d["against"]): d["word"] for d in found["distinctive"]
    }  # one word each, or more would overwrite
    assert told == {("warm", "reference"): "understand", ("reference", "warm"): "tablets"}
    assert len(found["distinctive"]) == 2
    assert found["volumes"] == [
        {"speaker": who, "language": "en", "words": 80} for who in ("reference", "warm")
    ]


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
    assert {r["rate"] for r in found["rates"] if r["category"] == "politeness"} == {0.0}
    assert {r["n"] for r in found["rates"]} == {1}
    assert found["languages_without_lexicon"] == ["fr"]
    assert [(w["speaker"], w["word"]) for w in found["words"]] == [
        *(("reference", "hope"), ("a", "rest"), ("b", "rest"))
    ]


def test_a_model_that_says_nothing_has_rate_0() -> None:
    found = care([row("m", f"q:{i}", "", "Please rest.") for i in range(3)], SETTINGS, 1)
    assert {r["rate"] for r in found["rates"] if r["speaker"] == "m"} == {0.0}
