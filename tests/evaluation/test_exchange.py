from pathlib import Path
from typing import Any

import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.evaluation.exchange import read_predictions, read_questions, write_samples
from mulmed.evaluation.score import score_answers, write_scores_of
from mulmed.recipe import Evaluation

QUESTIONS = [
    {"id": "q:1", "language": "en", "task": "qa", "reference": "Drink water and rest.", "source": "a", "question": "I cough."},
    {"id": "q:2", "language": "en", "task": "qa", "reference": "See a doctor today.", "source": "b"},
    {"id": "q:3", "language": "zh", "task": "dialogue", "reference": "多喝水，多休息。", "source": "c"},
]  # fmt: skip
SETTINGS = Evaluation(resamples=100)


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


@pytest.fixture
def questions(tmp_path: Path) -> dict[str, dict[str, Any]]:
    return read_questions([lines(tmp_path / "questions.jsonl", QUESTIONS)])


def test_predictions_become_answers_and_what_is_missing_fails(
    tmp_path: Path, questions: dict[str, dict[str, Any]]
) -> None:
    file = lines(
        tmp_path / "p.jsonl", [{"id": "q:3", "prediction": "多喝水。"}, {"id": "q:1", "prediction": ""}]
    )
    rows = read_predictions(file, "gpt", questions)
    assert [(r["id"], r["answer"], r["status"]) for r in rows] == [
        ("q:1", "", "ok"),
        ("q:2", None, "failed"),
        ("q:3", "多喝水。", "ok"),
    ]
    scores = score_answers(rows, SETTINGS, seed=1)
    assert scores["failed"] == {"gpt": 1}
    # The empty answer is an answer and scores 0; the missing one is left out.
    values = {(r["language"], r["task"]): (r["value"], r["n"]) for r in scores["rows"] if r["metric"] == "f1"}
    assert values["en", "all"] == (0.0, 1)
    assert values["zh", "all"] == (2 * 3 / 9, 1)


@pytest.mark.parametrize(
    ("rows", "what", "where"),
    [
        ([{"id": "q:9", "prediction": "x"}], "none of the questions", "row 1"),
        ([{"id": "q:1", "prediction": "x"}] * 2, "answered twice", "row 2"),
        ([{"id": "q:1", "prediction": None}], "answers no question", "p.jsonl"),
        ([{"prediction": "x"}], "no answer", "row 1"),
        ([{"id": "q:1", "prediction": 3}], "no answer", "row 1"),
        ([{"id": "q:1", "answer": "x"}], "no answer", "row 1"),
    ],
)
def test_bad_predictions_are_named(
    tmp_path: Path,
    questions: dict[str, dict[str, Any]],
    rows: list[dict[str, Any]],
    what: str,
    where: str,
) -> None:
    with pytest.raises(MulmedError, match=what) as caught:
        read_predictions(lines(tmp_path / "p.jsonl", rows), "gpt", questions)
    assert where in str(caught.value.where)


def test_questions_that_differ_under_one_id_are_refused(tmp_path: Path) -> None:
    other = {**QUESTIONS[0], "reference": "Something else."}
    with pytest.raises(MulmedError, match="one id"):
        read_questions([lines(tmp_path / "q.jsonl", [QUESTIONS[0], other])])
    with pytest.raises(MulmedError, match="'task'"):
        read_questions([lines(tmp_path / "q.jsonl", [{k: v for k, v in other.items() if k != "task"}])])


def test_samples_of_the_harness_are_read_whichever_way_they_are_nested(
    tmp_path: Path, questions: dict[str, dict[str, Any]]
) -> None:
    samples = [
        {
            "doc_id": 0,
            "doc": {"id": "q:1"},
            "target": "t",
            "resps": [["raw"]],
            "filtered_resps": ["filtered"],
        },
        {"doc_id": 1, "doc": {"id": "q:2"}, "target": "t", "resps": [["raw"]]},
        {"doc_id": "q:3", "doc": {}, "target": "t", "resps": [[]], "filtered_resps": []},
    ]
    rows = read_predictions(lines(tmp_path / "s.jsonl", samples), "lm", questions)
    assert [r["answer"] for r in rows] == ["filtered", "raw", None]


def test_another_runs_answers_are_predictions(tmp_path: Path, questions: dict[str, dict[str, Any]]) -> None:
    given = [
        {**QUESTIONS[0], "model": "theirs", "answer": "Rest.", "status": "ok"},
        {**QUESTIONS[1], "model": "theirs", "answer": "half", "status": "failed"},
    ]
    rows = read_predictions(lines(tmp_path / "answers.jsonl", given), "ours", questions)
    assert [(r["model"], r["answer"]) for r in rows] == [("ours", "Rest."), ("ours", None), ("ours", None)]


def test_samples_written_are_read_again_and_carry_the_scores(
    tmp_path: Path, questions: dict[str, dict[str, Any]]
) -> None:
    answers = ["Drink water.", "Wait.", "多休息。"]
    given = [{"id": id, "prediction": text} for id, text in zip(questions, answers, strict=True)]
    rows = read_predictions(lines(tmp_path / "p.jsonl", given), "a/b", questions)
    write_scores_of(rows, tmp_path / "scores", SETTINGS, seed=1)
    scored = [
        orjson.loads(line)
        for line in (tmp_path / "scores/scores_per_question.jsonl").read_bytes().splitlines()
    ]
    files = write_samples(rows, scored, tmp_path / "samples")
    assert [f.name for f in files] == ["samples_a-b_en_qa.jsonl", "samples_a-b_zh_dialogue.jsonl"]
    samples = [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]
    assert [s["filtered_resps"] for s in samples] == [[text] for text in answers]
    assert [s["target"] for s in samples] == [q["reference"] for q in QUESTIONS]
    assert [s["doc_id"] for s in samples] == [0, 1, 0]
    assert samples[0]["f1"] == round(2 * 2 / (2 + 4), 6)
    assert "f1" in samples[0]["metrics"]
    again = read_predictions(lines(tmp_path / "all.jsonl", samples), "a/b", questions)
    assert again == rows
