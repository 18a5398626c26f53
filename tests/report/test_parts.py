"""Curves, tables, examples, headline and names, each on worked examples."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.errors import MulmedError
from mulmed.report import corpus_tables, names, score_tables, tables
from mulmed.report.account import energy_sentence, loss_sentence
from mulmed.report.curves import Curve, GroupLoss, Point, read_curve
from mulmed.report.examples import choose_examples
from mulmed.report.files import read_lines
from mulmed.report.headline import comparison, findings, lead
from mulmed.report.scores import Difference, Scores, read_scores
from tests.report.invented import (
    MODELS,
    STATISTICS,
    answers,
    outcome,
    recipe,
    scores_document,
    write_json,
    write_lines,
)

MINUS = "\N{MINUS SIGN}"


def read(tmp_path: Path, document: dict[str, object], models: tuple[str, ...] = MODELS) -> Scores:
    write_json(tmp_path / "scores.json", document)
    return read_scores(tmp_path / "scores.json", models)


def test_curve_of_a_worked_log(tmp_path: Path) -> None:
    step = {"learning_rate": 0.1, "grad_norm": 1.0}
    log = [
        {"step": 0, "validation_loss": 3.0, "validation_loss_by": {"en": 2.5, "zh": 3.5}},
        {"step": 1, "epoch": 0.5, "loss": 2.9, "target_tokens": 30, "tokens": 120} | step,
        {"step": 1, "validation_loss": 2.1, "validation_loss_by": {"en": 2.0, "zh": 2.2}},
        {"step": 2, "epoch": 1.0, "loss": 2.4, "target_tokens": 10, "tokens": 40} | step,
        {"step": 2, "validation_loss": 2.2, "validation_loss_by": {"en": 2.1, "zh": 2.3}},
    ]
    write_lines(tmp_path / "log.jsonl", log)
    write_json(tmp_path / "outcome.json", outcome(log, kept=1))
    curve = read_curve("a", tmp_path)
    # stopped early: the adapter is that after step 1, not the last one
    assert (curve.before, curve.after, curve.planned) == (3.0, 2.1, 12)
    assert curve.groups == (GroupLoss("qa", "en", 2.5, 2.0), GroupLoss("qa", "zh", 3.5, 2.2))
    row = tables.training_table([curve]).groups[0].rows[0]
    assert row[1].notes == ("of 12; the adapter after step 1 is kept",)
    cells = [[c.text for c in r] for r in tables.shares_table([curve]).groups[0].rows]
    assert cells[0][2:] == ["100", "300", "75.0%", "70.0%", "75.0%"]
    assert cells[1][5] == tables.NOT_APPLICABLE
    table = tables.validation_table([curve])
    assert table is not None
    assert [[c.text for c in r] for r in table.groups[0].rows][1][1:] == ["Chinese", "3.5000", "2.2000"]
    assert (curve.steps, curve.epochs, curve.tokens, curve.target_tokens) == (2, 1.0, 160, 40)
    assert curve.target_share == 0.25
    assert curve.train == (Point(1, 2.9), Point(2, 2.4))
    assert curve.by_language["zh"] == (Point(0, 3.5), Point(1, 2.2), Point(2, 2.3))


def test_validation_before_training_is_not_taken_for_after(tmp_path: Path) -> None:
    row = {"step": 1, "epoch": 1.0, "loss": 2.9, "target_tokens": 3, "tokens": 9}
    first = {"step": 0, "validation_loss": 3.0, "validation_loss_by": {"en": 3.0}}
    write_lines(tmp_path / "log.jsonl", [first, row])
    ended = {"planned_steps": 1, "steps": 1, "kept": 1, "before": None, "after": None, "shares": []}
    write_json(tmp_path / "outcome.json", ended)
    curve = read_curve("a", tmp_path)
    assert (curve.before, curve.after) == (3.0, None)
    assert tables.validation_table([curve]) is None
    assert "not measured" in [c.text for c in tables.training_table([curve]).groups[0].rows[0]]


@pytest.mark.parametrize("rows", [[], [{"step": 0, "validation_loss": 3.0, "validation_loss_by": {}}]])
def test_a_log_without_a_step_is_refused(tmp_path: Path, rows: list[dict[str, object]]) -> None:
    write_lines(tmp_path / "log.jsonl", rows)
    with pytest.raises(MulmedError, match="holds no optimizer step"):
        read_curve("a", tmp_path)


def test_a_loss_that_rises_is_said_to_rise() -> None:
    def curve(name: str, before: float, after: float) -> Curve:
        return Curve(
            name, (Point(1, 1.0),), (Point(0, before), Point(1, after)), {}, 1.0, 10, 5, 1, 1, (), ()
        )

    assert loss_sentence([curve("a", 2.0, 1.5), curve("b", 1.5, 1.6)]) == (
        "The loss on the validation records fell from 2.000 to 1.500 in step a and did not fall: it went from"
        " 1.500 to 1.600 in step b."
    )


def test_broken_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_bytes(b'{"a": 1}\n{"a":')
    with pytest.raises(MulmedError, match="not valid JSON") as caught:
        list(read_lines(tmp_path / "log.jsonl"))
    assert caught.value.where.endswith("log.jsonl, line 2")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="cannot be read: No such file") as caught:
        read_scores(tmp_path / "scores.json", MODELS)
    assert caught.value.where.endswith("scores.json")


@pytest.mark.parametrize(
    ("low", "high", "p", "verdict"),
    [
        (0.01, 0.09, 0.01, "higher"),
        (-0.09, -0.01, 0.01, "lower"),
        (-0.01, 0.09, 0.01, "undecided"),
        (0.0, 0.09, 0.01, "undecided"),
        (0.0, 0.0, 1.0, "undecided"),
        (0.01, 0.09, 0.06, "undecided"),  # the interval alone would claim it, the adjusted p does not
        (-0.09, -0.01, 0.051, "undecided"),
    ],
)
def test_verdict(tmp_path: Path, low: float, high: float, p: float, verdict: str) -> None:
    scores = read(tmp_path, scores_document())
    assert scores.verdict(Difference((low + high) / 2, low, high, p)) == verdict


def test_the_last_step_is_compared_even_when_listed_first(tmp_path: Path) -> None:
    scores = read(tmp_path, scores_document(), ("mulmed", "crossla", "base"))
    pair = comparison(recipe(), scores)
    assert (pair.model, pair.baseline) == ("mulmed", "base")


def test_a_model_alone_is_compared_with_none(tmp_path: Path) -> None:
    scores = read(tmp_path, scores_document(), ("mulmed",))
    pair = comparison(recipe(), scores)
    assert lead(pair, scores) == "Only the model mulmed was evaluated, so it is compared with none."
    assert findings(pair, scores)[0] == (
        "In English, the F1 of mulmed is 0.262 (95% interval 0.241 to 0.280; 40 questions)."
    )
    assert score_tables.difference_table(scores).groups == ()


def test_leaked_tokens_and_failures_are_told(tmp_path: Path) -> None:
    document = scores_document() | {"leaked_special_tokens": {"mulmed": 3}, "failed": {}}
    scores = read(tmp_path, document)
    assert findings(comparison(recipe(), scores), scores)[-1] == (
        "Every model answered every question. Answers with special tokens or marks of the prompt in them:"
        " mulmed 3."
    )


def test_groups_stand_in_the_order_of_the_tasks(tmp_path: Path) -> None:
    document = scores_document()
    document["rows"].reverse()
    assert read(tmp_path, document).groups == (
        ("en", "all"), ("en", "summary"), ("en", "qa"), ("zh", "all"), ("zh", "qa"), ("zh", "dialogue"),
    )  # fmt: skip


def test_word_rouge_is_chinese_only(tmp_path: Path) -> None:
    scores = read(tmp_path, scores_document())
    assert "rouge1_word" in scores.metrics_of("zh", "all")
    assert "rouge1_word" not in scores.metrics_of("en", "all")


def test_empty_cells_are_refused() -> None:
    with pytest.raises(MulmedError, match="empty cell") as caught:
        tables.versions_table({"mulmed": "0.1.0", "torch": ""})
    assert "Software" in caught.value.where
    with pytest.raises(MulmedError, match="empty cell"):
        tables.Table("c", ("a", "b"), (tables.Group("", ((tables.Cell("1"),),)),))


def test_corpus_table_shows_what_does_not_apply() -> None:
    rows = [[cell.text for cell in row] for row in corpus_tables.corpus_table(STATISTICS).groups[0].rows]
    dash = "\N{EM DASH}"
    assert rows[1] == ["laysumm", "lay summaries", "English", "338", "210.4", "171.8", dash, dash, dash]
    assert rows[2][-3:] == ["148.8", "36.1", "2.5"]


def test_splits_table_adds_up_and_fills_in_zero() -> None:
    rows = [[cell.text for cell in row] for row in corpus_tables.splits_table(STATISTICS).groups[0].rows]
    assert rows[0] == ["instructions", "instructions", "English", "480", "20", "0"]


def test_decoding_in_words() -> None:
    def shown(**decoding: object) -> dict[str, str]:
        table = tables.decoding_table(recipe(generation={"decoding": decoding, "questions": 40}))
        return {row[0].text: row[1].text for row in table.groups[0].rows}

    assert shown()["search"] == "greedy"
    assert shown(num_beams=4)["search"] == "beam search, 4 beams"
    assert shown(temperature=0.5)["search"] == "sampling, temperature 0.5, top-p 1, seed 42"
    assert shown()["questions"] == "at most 40 a task and language"


def generations(tmp_path: Path) -> dict[str, Path]:
    for model in MODELS:
        write_lines(tmp_path / model / "answers.jsonl", answers(model))
    return {model: tmp_path / model for model in MODELS}


def test_examples_are_the_lowest_hashes_whatever_the_order(tmp_path: Path) -> None:
    folders = generations(tmp_path)
    chosen = choose_examples(folders, 2)
    by_group: dict[tuple[str, str], list[str]] = {}
    for example in chosen:
        by_group.setdefault((example.language, example.task), []).append(example.id)
    assert list(by_group) == [("en", "summary"), ("en", "qa"), ("zh", "qa"), ("zh", "dialogue")]
    for (language, task), found in by_group.items():
        ids = [row["id"] for row in answers("base") if (row["language"], row["task"]) == (language, task)]
        assert found == sorted(ids, key=lambda name: hashlib.sha256(name.encode()).digest())[:2]
    for model in MODELS:
        write_lines(tmp_path / model / "answers.jsonl", answers(model)[::-1])
    assert choose_examples(folders, 2) == chosen


def test_examples_tell_why_an_answer_is_missing_or_short(tmp_path: Path) -> None:
    folders = generations(tmp_path)
    rows = answers("mulmed")
    rows[2]["answer"] = " \n"
    write_lines(tmp_path / "mulmed/answers.jsonl", rows)
    remarks = {
        (example.id, answer.model): answer.remark
        for example in choose_examples(folders, 99)
        for answer in example.answers
    }
    assert remarks["summary-en:0:0a1b2c3d", "crossla"] == "No answer: the model failed on this question."
    assert remarks["summary-en:1:0a1b2c3d", "base"] == "Cut at the token limit."
    assert remarks["summary-en:2:0a1b2c3d", "mulmed"] == "The model answered with nothing."
    assert remarks["summary-en:1:0a1b2c3d", "mulmed"] == ""


def test_a_question_one_model_never_got_is_refused(tmp_path: Path) -> None:
    folders = generations(tmp_path)
    write_lines(tmp_path / "mulmed/answers.jsonl", answers("mulmed")[1:])
    with pytest.raises(MulmedError, match="mulmed was not asked question summary-en:0"):
        choose_examples(folders, 3)
    assert choose_examples(folders, 0) == ()


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [
        (0.05, "0.050", "+0.050"),
        (-0.05, f"{MINUS}0.050", f"{MINUS}0.050"),
        (-0.0004, "0.000", "0.000"),
        (0.0, "0.000", "0.000"),
    ],
)
def test_signs(value: float, plain: str, with_sign: str) -> None:
    assert names.decimal(value) == plain
    assert names.signed(value) == with_sign


@given(st.floats(-1e6, 1e6))
def test_decimal_reads_back(value: float) -> None:
    assert abs(float(names.decimal(value).replace(MINUS, "-")) - value) <= 0.0005 + 1e-9 * abs(value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.21, "3.2 s"), (59.94, "59.9 s"), (245, "4 min 5 s"), (3599.6, "1 h 0 min"), (26_593, "7 h 23 min")],
)
def test_duration(seconds: float, text: str) -> None:
    assert names.duration(seconds) == text


def test_small_p_values_are_not_zero() -> None:
    assert names.p_value(0.0004) == "below 0.001"
    assert names.p_value(0.021) == "0.021"


def test_lists_in_words() -> None:
    assert [names.joined(list(w)) for w in ("", "a", "ab", "abc")] == ["", "a", "a and b", "a, b and c"]


def test_parameters() -> None:
    assert names.parameters(134_515_008) == "135 million"
    assert names.parameters(6_738_415_616) == "6.7 billion"


def test_what_shortening_kept_stands_beside_what_a_cut_would_have() -> None:
    table = corpus_tables.mentions_table(STATISTICS)
    assert table is not None
    assert [[cell.text for cell in row] for row in table.groups[0].rows] == [
        ["dose", "0", "0", tables.NOT_APPLICABLE, tables.NOT_APPLICABLE],
        ["drug", "40", "36", "90.0%", "55.0%"],
    ]
    assert "120 shortened records" in table.caption
    assert corpus_tables.mentions_table(STATISTICS | {"mentions": {}}) is None


def test_removals_by_group_have_their_interval() -> None:
    table = corpus_tables.removals_table(STATISTICS)
    assert table is not None
    assert [[cell.text for cell in row] for row in table.groups[0].rows] == [
        ["age", "250", "1", "0.4%", "0.1% to 2.2%"]
    ]
    assert corpus_tables.removals_table(STATISTICS | {"removals_by_group": []}) is None


@pytest.mark.parametrize(
    ("device", "watts", "energy"),
    [
        ("x86_64 CPU, 2 threads", 65, "0.13"),
        ("NVIDIA H200", 770, "1.5"),
        ("NVIDIA GeForce RTX 4090", 350, "0.7"),
    ],
)
def test_energy_is_time_at_an_assumed_power(device: str, watts: int, energy: str) -> None:
    lineage = [{"seconds": 3000.0}, {"seconds": 4200.0}, {"seconds": None}]
    said = energy_sentence([{"device": device}, {"device": device}], lineage)
    assert said.startswith(
        f"Training ran on {device}; all stages together took 2 h 0 min, 1 of them not counted"
    )
    assert f"At an assumed {watts} W throughout that is about {energy} kWh" in said
    assert "The power was not measured" in said
