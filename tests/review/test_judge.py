"""A judge model: what it is asked, which replies count, by which engines, and who sees its scores when."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.prompts import Renderer
from mulmed.recipe import load_recipe
from mulmed.review.audit import verify
from mulmed.review.database import Store
from mulmed.review.judge import Judged, prompt, questions, save_replies, score_in
from mulmed.review.rubric import load_rubric
from mulmed.review.saving import Refused, judged, places, read_item, save_rating
from mulmed.stages import Run
from mulmed.stages.judge import judge
from tests.conftest import teach
from tests.generation.test_api import completion, serving
from tests.review.studies import MODELS, answers, make_study, rating
from tests.runs import write_recipe

JUDGE = 4  # its number, behind three people
AXES = [axis.key for axis in load_rubric().axes]


def scores(store: Store, number: int = JUDGE) -> dict[str, dict[str, int]]:
    """By answer, what somebody gave."""
    found = {}
    for place in places(store, number):
        item = read_item(store, number, place.id)
        assert item is not None
        if item["status"] == "done":
            found[item["answer"]] = item["rating"]["scores"]
    return found


def quiet(label: str, done: int, total: int) -> None:
    pass


# --- what it is asked, and what counts ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "score"),
    [
        ("2", 2),
        (" Score: 1.", 1),
        ("评分：0 分", 0),
        ("2/2", 2),
        ("2.0", 2),
        ("3", None),
        ("1 or 2", None),
        ("10", None),
        ("1.5", None),
        ("The answer is acceptable.", None),
        ("", None),
        (None, None),
    ],
)
def test_a_reply_counts_only_if_it_leaves_no_choice(reply: str | None, score: int | None) -> None:
    assert score_in(reply, (0, 1, 2)) == score


@pytest.mark.parametrize(
    ("language", "last"),
    [("en", "Reply with one number only: 0, 1, 2."), ("zh", "只回复一个数字：0, 1, 2。")],
)
def test_the_judge_reads_the_rubrics_own_words_in_the_answers_language(language: str, last: str) -> None:
    item = {
        "language": language,
        "question": "Q?",
        "answer": "A!",
        "history": [["user", "Before."], ["assistant", "Then."]],
    }
    axis = load_rubric().axes[0]
    text = prompt(item, axis)
    assert text.endswith(last)
    assert axis.question[language] in text
    assert axis.note[language] in text  # the direction of the first axis
    for score in axis.scores:
        assert f"{score.value}: {score.label[language]}. {score.anchor[language]}" in text
    assert [text.index(part) for part in ("Before.", "Then.", "Q?", "A!")] == sorted(
        text.index(part) for part in ("Before.", "Then.", "Q?", "A!")
    )


def test_nothing_that_the_judge_is_sent_tells_of_models_or_people(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), judge="judge-9")
    asked = questions(store)
    assert len(asked) == 4 * 3 * 3  # questions, models, axes
    text = " ".join(turn.text for record in asked for turn in record.turns)
    assert not [word for word in (*MODELS, "Ada", "source-", "judge-9") if word in text]


def test_an_answer_with_an_unreadable_reply_stays_unrated(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), judge="judge-9", questions=2)
    asked = [record.id for record in questions(store)]
    replies: dict[str, str | None] = dict.fromkeys(asked, "1")
    replies[asked[1]] = "I cannot say."  # the first answer's second axis
    assert save_replies(store, replies) == Judged(5, 1)
    assert len(scores(store)) == 5
    assert {record.id for record in questions(store)} == set(asked[:3])
    assert verify(store) == []


def test_behind_a_gate_the_judge_stops_where_people_do(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), judge="judge-9", questions=2, on_unsafe="stop")
    replies = {r.id: "0" if r.id.endswith(AXES[0]) else "?" for r in questions(store)}
    assert save_replies(store, replies) == Judged(6, 0)
    assert all(given == {AXES[0]: 0} for given in scores(store).values())


def test_a_study_without_a_judge_or_not_open_is_told(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="no judge model"):
        questions(make_study(str(tmp_path / "a.db")))
    with pytest.raises(MulmedError, match="is draft"):
        questions(make_study(str(tmp_path / "b.db"), state="draft", judge="judge-9"))
    with pytest.raises(MulmedError, match="nobody judges their own answers"):
        make_study(str(tmp_path / "c.db"), judge=MODELS[0])


# --- engines ----------------------------------------------------------------------------------------------


def test_a_judge_behind_an_api_is_asked_only_what_is_left(tmp_path: Path, tiny: Path) -> None:
    """The server says 2 to English and 1 to Chinese questions, and for a while nothing to the last of the axes."""
    store = make_study(str(tmp_path / "a.db"), judge="judge-9", questions=2)
    broken = threading.Event()
    broken.set()

    def answer(body: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
        text = body["messages"][-1]["content"]
        if broken.is_set() and load_rubric().axes[2].question["en"] in text:
            return 400, {}, {}
        return 200, {}, completion("1" if "回答" in text else "2")

    with serving(answer) as server:
        baseline = {"api": f"http://127.0.0.1:{server.server_port}/v1", "model": "judging", "attempts": 1}
        recipe = write_recipe(
            tmp_path / "recipe.yaml", tiny, tmp_path / "out", {"generation.baselines": {"judge-9": baseline}}
        )
        run = Run(load_recipe(recipe), tell=lambda _: None)
        assert judge(run, store, tmp_path / "replies", quiet) == Judged(3, 3)
        broken.clear()
        sent = len(server.bodies)
        assert judge(run, store, tmp_path / "replies", quiet) == Judged(3, 0)
        assert len(server.bodies) - sent == 9  # three answers, all their axes
        assert judge(run, store, tmp_path / "replies", quiet) == Judged(0, 0)
        assert len(server.bodies) - sent == 9
    language = {row["answer"]: row["language"] for row in answers(2)}
    assert scores(store) == {a: dict.fromkeys(AXES, 2 if language[a] == "en" else 1) for a in language}
    assert verify(store) == []


def test_a_model_on_this_machine_judges_by_the_command(
    tmp_path: Path, tiny: Path, renderer: Renderer, smollm_tokenizer: Any, command: Callable[..., Any]
) -> None:
    """A tiny model, taught by heart to give 2 to the answers of one language and 0 to those of the other."""
    store = make_study(str(tmp_path / "a.db"), judge="small", questions=2, models=MODELS[:2], people=("Ada",))
    examples = [
        renderer.example(_answered(record, "2" if record.language == "en" else "0"))
        for record in questions(store)
    ]
    teach(tiny, examples, tmp_path / "judge", steps=20)
    smollm_tokenizer.save_pretrained(tmp_path / "judge")
    recipe = write_recipe(
        tmp_path / "recipe.yaml",
        tiny,
        tmp_path / "out",
        {"generation.baselines": {"small": {"model": str(tmp_path / "judge")}}},
    )
    out = command("judge", store.where, recipe, "--out", tmp_path / "replies", "--json")
    assert orjson.loads(out) == {"rated": 4, "unreadable": 0}
    language = {row["answer"]: row["language"] for row in answers(2, MODELS[:2])}
    assert scores(store, 2) == {a: dict.fromkeys(AXES, 2 if language[a] == "en" else 0) for a in language}
    other = make_study(str(tmp_path / "b.db"), judge="large", questions=2)
    run = Run(load_recipe(recipe), tell=lambda _: None)
    with pytest.raises(MulmedError, match="no model of that name"):
        judge(run, other, tmp_path / "replies", quiet)


# --- shown, if the study says so --------------------------------------------------------------------------


def test_a_rating_made_before_the_judges_was_shown_is_final(tmp_path: Path) -> None:
    """Whoever has seen it may not change theirs; in a study that does not show it everybody may."""
    for shown in (True, False):
        store = make_study(str(tmp_path / f"{shown}.db"), judge="judge-9", show_judge=shown, questions=2)
        place = places(store, 1)[0]
        save_rating(store, 1, place.id, rating(2, done=False), 0, "draft")
        save_rating(store, 1, place.id, rating(2, 1, 0), 1, "done")
        if shown:
            with pytest.raises(Refused, match="final"):
                save_rating(store, 1, place.id, rating(0, 0, 0), 2, "after")
        else:
            save_rating(store, 1, place.id, rating(0, 0, 0), 2, "after")
        item = read_item(store, 1, place.id)
        assert item is not None
        assert item["rating"]["scores"] == dict(zip(AXES, (2, 1, 0) if shown else (0, 0, 0), strict=True))


def test_the_judges_scores_are_those_of_the_same_answer(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), judge="judge-9", questions=2)
    place = places(store, 1)[0]
    assert judged(store, "judge-9", place.id) is None
    save_replies(store, {r.id: str(n // 3 % 3) for n, r in enumerate(questions(store))})
    for place in places(store, 1):
        item = read_item(store, 1, place.id)
        assert item is not None
        assert judged(store, "judge-9", place.id) == scores(store)[item["answer"]]


def _answered(record: Any, reply: str) -> Any:
    import dataclasses

    question, answer = record.turns
    return dataclasses.replace(record, turns=(question, dataclasses.replace(answer, text=reply)))
