from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.evaluation import score
from mulmed.evaluation.measure import METRICS, cut, measure
from mulmed.evaluation.readability import readability
from mulmed.recipe import Evaluation

SETTINGS = Evaluation(resamples=200, confidence=0.9)
ENGLISH = {"f1", "precision", "recall", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2", "length"}
GRADES = {"fkgl", "cli", "dcrs"}
CHINESE = ENGLISH | {"rouge1_word", "rouge2_word", "rougeL_word"}


def row(model: str, id: str, answer: str | None, reference: str, language: str, task: str) -> dict[str, Any]:
    fields = {"language": language, "task": task, "status": "failed" if answer is None else "ok"}
    return {"id": id, "model": model, "answer": answer, "reference": reference, **fields}


WORDS = {
    "en": list(map("word{}".format, range(25))),
    "zh": list("多喝水注意休息发烧三天建议做检查请放心按时吃药"),
}


def rows(models: tuple[str, ...] = ("base", "mulmed"), each: int = 12, seed: int = 0) -> list[dict[str, Any]]:
    """Answers whose models differ in how many tokens they take from the reference: later ones, more."""
    rng = np.random.default_rng(seed)
    found = []
    for language, words in WORDS.items():
        for number in range(each):
            reference = rng.choice(words, 10)
            task = "qa" if number % 3 else "summary"
            for rank, model in enumerate(models):
                kept = rng.random(10) < (rank + 1) / (len(models) + 1)
                answer = np.where(kept, reference, rng.choice(words, 10))[: 10 - rank]
                glue = " " if language == "en" else ""
                texts = glue.join(answer), glue.join(reference)
                found.append(row(model, f"{language}:{number}", *texts, language, task))
    return found


def values_of(answer: str, reference: str, language: str) -> dict[str, float]:
    return measure(cut(answer, language), cut(reference, language))


def value(scores: dict[str, Any], **key: str) -> float:
    (found,) = [r for r in scores["rows"] if key.items() <= r.items()]
    return float(found["value"])


def test_worked_example_of_a_chinese_answer() -> None:
    values = values_of("多喝热水。", "多喝水，多休息", "zh")
    # 多 喝 水 of 4 and 6 characters; 2-grams 多喝; words 多, 喝热水 against 多, 喝水, 多, 休息 or alike.
    assert values["f1"] == values["rouge1"] == pytest.approx(6 / 10)
    assert values["rouge2"] == pytest.approx(2 / 8)
    assert values["rougeL"] == pytest.approx(6 / 10)
    assert values["length"] == 4
    assert values.keys() == CHINESE - {"distinct1", "distinct2"}


def test_only_english_rouge_stems() -> None:
    english = values_of("patient", "patients", "en")
    assert (english["f1"], english["rouge1"], english["rougeL"]) == (0.0, 1.0, 1.0)
    assert values_of("patient", "patients", "fr")["rouge1"] == 0.0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_identical_texts_score_1_and_an_empty_answer_0(language: str) -> None:
    reference = "Rest, and see a doctor." if language == "en" else "多休息，做CT。"
    same = values_of(reference, reference, language)
    same.pop("length")
    assert set(same.values()) == {1.0}
    assert set(values_of("", reference, language).values()) == {0.0}


def test_every_model_language_task_and_metric_has_one_row_in_the_agreed_form() -> None:
    scores = score.score_answers(rows(), SETTINGS, seed=1)
    expected = {
        (model, language, task, metric)
        for model in ("base", "mulmed")
        for language, metrics in (("en", ENGLISH), ("zh", CHINESE))
        for task in ("all", "qa", "summary")
        for metric in metrics
    }
    expected |= {(model, "en", "summary", grade) for model in ("base", "mulmed") for grade in GRADES}
    keys = [(r["model"], r["language"], r["task"], r["metric"]) for r in scores["rows"]]
    assert sorted(keys) == sorted(expected)
    assert {tuple(r) for r in scores["rows"]} == {
        ("model", "language", "task", "metric", "value", "low", "high", "n")
    }
    assert {r["n"] for r in scores["rows"] if r["task"] == "qa"} == {8}
    for r in scores["rows"]:
        assert r["low"] <= r["value"] <= r["high"]
    assert list(scores["metrics"]) == [m for m in METRICS if m in CHINESE | GRADES]
    assert all(set(m) == {"name", "definition", "better"} for m in scores["metrics"].values())
    assert (scores["confidence"], scores["resamples"]) == (0.9, 200)
    compared = {
        (d["model"], d["baseline"], d["language"], d["task"], d["metric"]) for d in scores["differences"]
    }
    assert compared == {("mulmed", "base", *key[1:]) for key in expected}


def test_values_are_means_over_questions_and_differences_are_differences_of_them() -> None:
    answers = rows()
    scores = score.score_answers(answers, SETTINGS, seed=1)
    own = [
        values_of(r["answer"], r["reference"], "zh")["f1"]
        for r in answers
        if (r["model"], r["language"], r["task"]) == ("mulmed", "zh", "qa")
    ]
    assert value(scores, model="mulmed", language="zh", task="qa", metric="f1") == pytest.approx(np.mean(own))
    for d in scores["differences"]:
        key = {k: d[k] for k in ("language", "task", "metric")}
        ours, theirs = value(scores, model="mulmed", **key), value(scores, model="base", **key)
        assert d["difference"] == pytest.approx(ours - theirs, abs=1e-12)
        assert d["low"] <= d["difference"] <= d["high"]
        assert 0 < d["p"] <= d["p_holm"] <= 1


def test_the_better_model_is_found_better() -> None:
    scores = score.score_answers(rows(each=60), SETTINGS, seed=1)
    (d,) = [
        d for d in scores["differences"] if (d["language"], d["task"], d["metric"]) == ("zh", "all", "rougeL")
    ]
    assert d["low"] > 0.05
    assert d["p_holm"] < 0.05


def test_the_better_of_many_models_is_found_better() -> None:
    """However many tests share a family, p has digits enough to outlast the correction for them."""
    answers = [
        row(
            model,
            f"q:{i}",
            "drink water now" if model == "mulmed" else f"no {model}",
            "drink water",
            "en",
            "qa",
        )
        for model in ("base", *"abcdefgh", "mulmed")
        for i in range(40)
    ]
    scores = score.score_answers(answers, SETTINGS, seed=1)
    family = [d for d in scores["differences"] if d["metric"] == "f1"]
    assert len(family) == 45 * 2
    better = [d for d in family if d["model"] == "mulmed"]
    assert len(better) == 9 * 2
    assert max(d["p_holm"] for d in better) < 0.05


def test_order_of_rows_changes_nothing_but_the_seed_changes_the_intervals() -> None:
    answers = rows()
    one = score.score_answers(answers, SETTINGS, seed=1)
    mixed = [r for m in ("base", "mulmed") for r in reversed(answers) if r["model"] == m]
    assert score.score_answers(mixed, SETTINGS, seed=1) == one
    other = score.score_answers(answers, SETTINGS, seed=2)
    assert [r["value"] for r in other["rows"] if "distinct" not in r["metric"]] == [
        r["value"] for r in one["rows"] if "distinct" not in r["metric"]
    ]
    assert [r["low"] for r in other["rows"]] != [r["low"] for r in one["rows"]]


def test_a_language_is_scored_the_same_alone_and_beside_another() -> None:
    answers = rows()
    both = score.score_answers(answers, SETTINGS, seed=1)
    alone = score.score_answers([r for r in answers if r["language"] == "zh"], SETTINGS, seed=1)
    assert alone["rows"] == [r for r in both["rows"] if r["language"] == "zh"]


def test_failed_answers_are_counted_not_scored() -> None:
    answers = rows()
    before = score.score_answers(answers, SETTINGS, seed=1)
    for r in answers:
        if r["model"] == "mulmed" and r["id"] in ("en:1", "en:2"):
            r |= {"answer": None, "status": "failed"}
    scores = score.score_answers(answers, SETTINGS, seed=1)
    assert scores["failed"] == {"base": 0, "mulmed": 2}
    counts = {
        (r["model"], r["metric"]): r["n"]
        for r in scores["rows"]
        if (r["language"], r["task"]) == ("en", "all")
    }
    assert (counts["base", "f1"], counts["mulmed", "f1"]) == (12, 10)
    assert counts["base", "distinct1"] == counts["mulmed", "distinct1"] == 10
    key = {"language": "en", "task": "all", "metric": "f1"}
    assert value(scores, model="base", **key) == value(before, model="base", **key)
    # The difference leaves the two questions out on both sides.
    common = [r for r in answers if r["language"] == "en" and r["id"] not in ("en:1", "en:2")]
    f1 = {
        m: np.mean([values_of(r["answer"], r["reference"], "en")["f1"] for r in common if r["model"] == m])
        for m in ("base", "mulmed")
    }
    (d,) = [d for d in scores["differences"] if key.items() <= d.items()]
    assert d["difference"] == pytest.approx(f1["mulmed"] - f1["base"])
    assert {"language": "en", "task": "all", "questions": 12, "common": 10}.items() <= scores["groups"][
        0
    ].items()


def test_an_empty_answer_scores_0_and_lowers_the_mean() -> None:
    answers = [
        row("m", "q:1", "rest", "rest", "en", "qa"),
        row("m", "q:2", "", "rest", "en", "qa"),
    ]
    scores = score.score_answers(answers, SETTINGS, seed=1)
    assert value(scores, task="qa", metric="f1") == 0.5
    assert value(scores, task="qa", metric="length") == 0.5


def test_distinct_is_compared_at_the_tersest_models_budget() -> None:
    terse = [row("terse", f"q:{i}", f"word{i} same", "rest", "en", "qa") for i in range(10)]
    wordy = [row("wordy", f"q:{i}", f"word{i} same same same same", "rest", "en", "qa") for i in range(10)]
    scores = score.score_answers(terse + wordy, SETTINGS, seed=1)
    assert scores["groups"][0]["distinct_budget"] == 20
    key = {"task": "all", "metric": "distinct1"}
    assert value(scores, model="terse", **key) == 11 / 20
    assert (
        value(scores, model="wordy", **key) == 5 / 20
    )  # four answers fit: four words of their own, and "same"


def test_one_question_shows_no_difference_however_large() -> None:
    answers = [
        row("base", "q:1", "no", "drink water", "en", "qa"),
        row("mulmed", "q:1", "drink water", "drink water", "en", "qa"),
    ]
    scores = score.score_answers(answers, SETTINGS, seed=1)
    for d in scores["differences"]:
        assert d["low"] <= -abs(d["difference"])
        assert d["high"] >= abs(d["difference"])
        assert d["p"] == 1.0
    spans = {r["metric"]: (r["low"], r["high"]) for r in scores["rows"] if r["model"] == "mulmed"}
    assert spans.pop("length") == (0.0, 4.0)
    assert set(spans.values()) == {(0.0, 1.0)}


def test_holm_spans_pairs_and_tasks_of_one_language_and_metric() -> None:
    scores = score.score_answers(rows(("base", "a", "b"), each=30), SETTINGS, seed=1)
    family = [d for d in scores["differences"] if (d["language"], d["metric"]) == ("en", "f1")]
    assert len(family) == 3 * 3
    smallest = min(family, key=lambda d: d["p"])
    assert smallest["p_holm"] == pytest.approx(min(1.0, 9 * smallest["p"]))


def test_every_two_models_are_compared_once_and_the_baseline_first() -> None:
    def pairs(models: tuple[str, ...], baseline: str | None = None) -> list[tuple[str, str]]:
        found = score.score_answers(rows(models, each=3), SETTINGS, 1, baseline)["differences"]
        return list(dict.fromkeys((d["model"], d["baseline"]) for d in found))

    assert pairs(("mulmed", "base")) == [("mulmed", "base")]
    assert pairs(("crossla", "mulmed")) == [("mulmed", "crossla")]
    three = ("base", "crossla", "mulmed")
    assert pairs(three) == [("crossla", "base"), ("mulmed", "base"), ("mulmed", "crossla")]
    assert pairs(three, "crossla") == [("base", "crossla"), ("mulmed", "crossla"), ("mulmed", "base")]
    with pytest.raises(MulmedError, match="bas3"):
        pairs(("base", "mulmed"), "bas3")


def test_slices_by_source_and_by_thirds_of_the_references_length() -> None:
    answers = []
    for number in range(9):
        reference = " ".join(f"w{k}" for k in range(number + 1))
        answer = reference if number < 3 else "other"
        answers.append({**row("m", f"q:{number}", answer, reference, "en", "qa"), "source": "ab"[number % 2]})
    found = {
        (r["by"], r["slice"]): (r["value"], r["n"])
        for r in score.score_answers(answers, SETTINGS, seed=1)["slices"]
        if r["metric"] == "f1"
    }
    assert found == {
        ("source", "a"): (2 / 5, 5),
        ("source", "b"): (1 / 4, 4),
        ("reference length", "short"): (1.0, 3),
        ("reference length", "middle"): (0.0, 3),
        ("reference length", "long"): (0.0, 3),
    }


def test_one_source_and_one_length_make_no_slices() -> None:
    answers = [{**row("m", f"q:{i}", "rest", "rest", "en", "qa"), "source": "a"} for i in range(3)]
    assert score.score_answers(answers, SETTINGS, seed=1)["slices"] == []


def test_readability_is_graded_in_english_lay_summaries_alone_and_empty_ones_have_none() -> None:
    text = "The cell makes a protein. It keeps the heart healthy."
    answers = [
        row("m", "q:1", text, text, "en", "summary"),
        row("m", "q:2", "", text, "en", "summary"),
        row("m", "q:3", text, text, "en", "qa"),
        row("m", "q:4", "多喝水。", "多喝水。", "zh", "summary"),
    ]
    scores = score.score_answers(answers, SETTINGS, seed=1)
    graded = [r for r in scores["rows"] if r["metric"] == "fkgl"]
    assert [(r["language"], r["task"], r["n"]) for r in graded] == [("en", "summary", 1)]
    grade = readability(text)["fkgl"]
    assert graded[0]["value"] == pytest.approx(grade)
    assert graded[0]["low"] <= grade <= graded[0]["high"]
    of_references = {
        (r["language"], r["task"], r["metric"]): (r["value"], r["n"]) for r in scores["references"]
    }
    assert of_references["en", "summary", "fkgl"] == (pytest.approx(grade), 2)
    assert of_references["en", "all", "length"] == (10.0, 3)
    assert ("en", "all", "fkgl") not in of_references


def test_models_without_a_common_question_are_refused() -> None:
    answers = rows(each=2)
    for r in answers:
        if r["language"] == "zh" and (r["model"] == "base") == (r["id"] == "zh:0"):
            r |= {"answer": None, "status": "failed"}
    with pytest.raises(MulmedError, match="language zh"):
        score.score_answers(answers, SETTINGS, seed=1)


def test_leaks_are_counted_and_scored_as_they_stand() -> None:
    clean = [row("m", f"q:{i}", "rest well", "rest well", "en", "qa") for i in range(2)]
    leaky = [{**clean[0], "answer": "rest well<|im_end|>"}, clean[1]]
    scores = score.score_answers(leaky, SETTINGS, seed=1)
    assert scores["leaked_special_tokens"] == {"m": 1}
    assert value(scores, task="qa", metric="precision") == (2 / 4 + 1) / 2


def test_written_scores_are_rounded_repeatable_and_hold_no_text(tmp_path: Path) -> None:
    answers = rows()
    answers[0]["answer"] = "Xanthippe " + answers[0]["answer"]
    files = []
    for model in ("base", "mulmed"):
        files.append(tmp_path / f"{model}.jsonl")
        files[-1].write_bytes(b"".join(orjson.dumps(r) + b"\n" for r in answers if r["model"] == model))
    returned = score.write_scores(files, tmp_path / "a", SETTINGS, seed=1)
    score.write_scores(files, tmp_path / "b", SETTINGS, seed=1)
    for name in ("scores.json", "scores_per_question.jsonl"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
        assert b"Xanthippe" not in (tmp_path / "a" / name).read_bytes()
    written = orjson.loads((tmp_path / "a/scores.json").read_bytes())
    assert written == returned
    exact = score.score_answers(answers, SETTINGS, seed=1)
    for r, full in zip(written["rows"], exact["rows"], strict=True):
        assert r["value"] == round(full["value"], 6)
    lines = [orjson.loads(line) for line in (tmp_path / "a/scores_per_question.jsonl").open("rb")]
    assert len(lines) == len(answers)
    f1 = [r["f1"] for r in lines if (r["model"], r["language"]) == ("mulmed", "zh")]
    assert np.mean(f1) == pytest.approx(
        value(written, model="mulmed", language="zh", task="all", metric="f1"), abs=1e-6
    )


def absent(rows: list[dict[str, Any]], model: str, keep: set[str]) -> list[dict[str, Any]]:
    """The same rows, ``model`` asked only the questions of ``keep``."""
    nothing = {"answer": None, "status": "absent"}
    return [r | nothing if r["model"] == model and r["id"] not in keep else r for r in rows]


def test_a_model_that_was_asked_a_part_leaves_the_others_scores_alone() -> None:
    """Its own answers and its differences are those of a comparison on that part alone."""
    every = rows(("base", "mulmed", "chatgpt"), seed=3)
    keep = {f"en:{n}" for n in range(7)}
    found = score.score_answers(absent(every, "chatgpt", keep), SETTINGS, 1)
    without = score.score_answers([r for r in every if r["model"] != "chatgpt"], SETTINGS, 1)

    def of(scores: dict[str, Any], *models: str) -> list[dict[str, Any]]:
        told = scores["rows"] + scores["differences"] + scores["slices"]
        return [
            {k: v for k, v in r.items() if k != "p_holm"}
            for r in told
            if {r["model"], r.get("baseline", r["model"])} <= set(models)
        ]

    assert of(found, "base", "mulmed") == of(without, "base", "mulmed")
    assert found["groups"] == without["groups"]
    part = score.score_answers([r for r in every if r["id"] in keep], SETTINGS, 1)

    def all_english(scores: dict[str, Any], key: str) -> list[dict[str, Any]]:
        return [
            {k: v for k, v in r.items() if k != "p_holm"}
            for r in scores[key]
            if (r["model"], r["language"], r["task"]) == ("chatgpt", "en", "all")
        ]

    assert all_english(found, "differences") == all_english(part, "differences")
    assert len(all_english(part, "differences")) == 2 * len(ENGLISH)
    comparable = [r for r in all_english(part, "rows") if not r["metric"].startswith("distinct")]
    assert (
        all_english(found, "rows") == comparable
    )  # fewer words are more varied: no distinct-n beside the others'
    assert {r["n"] for r in comparable} == {7}
    assert not [r for r in found["rows"] if (r["model"], r["language"]) == ("chatgpt", "zh")]
    assert found["absent"] == {"base": 0, "mulmed": 0, "chatgpt": 24 - 7}
    assert found["failed"] == {"base": 0, "mulmed": 0, "chatgpt": 0}


def test_a_model_that_was_asked_a_whole_language_is_compared_there_like_any_other() -> None:
    every = rows(("base", "mulmed", "chatgpt"), seed=3)
    english = {f"en:{n}" for n in range(12)}
    found = score.score_answers(absent(every, "chatgpt", english), SETTINGS, 1)
    whole = score.score_answers(every, SETTINGS, 1)
    assert [r for r in found["rows"] if r["language"] == "en"] == [
        r for r in whole["rows"] if r["language"] == "en"
    ]


def test_an_absent_answer_is_no_empty_one() -> None:
    """Were it scored as empty, or counted as failed, the mean or the number of questions would tell."""
    every = [row("a", f"q:{i}", "rest", "rest", "en", "qa") for i in range(4)]
    rival = [row("b", f"q:{i}", "rest", "rest", "en", "qa") for i in range(4)]
    found = score.score_answers(every + absent(rival, "b", {"q:1", "q:2"}), SETTINGS, 1)
    assert value(found, model="b", language="en", task="all", metric="f1") == 1.0
