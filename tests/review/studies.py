"""Invented answers, and studies made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mulmed.review.access import names
from mulmed.review.create import create
from mulmed.review.database import Store, open_store
from mulmed.review.plan import Annotator
from mulmed.review.rubric import OnUnsafe, load_rubric
from mulmed.review.saving import Place, places, read_item, save_rating
from mulmed.review.study import move

MODELS = ("Quillon-9", "wrenlet", "tern-xl")
_TEXTS = {
    "en": (
        (
            "My knee hurts when I climb stairs. What can I do?",
            "Strengthen the thigh, and see a doctor if it swells.",
        ),
        (
            "Is it safe to take two kinds of pain tablets together?",
            "Some pairs are dangerous. Ask a pharmacist first.",
        ),
        (
            "I feel dizzy when I stand up.",
            "Stand up slowly and drink enough. Have your blood pressure measured.",
        ),
    ),
    "zh": (
        ("嗓子疼了三天，要吃药吗？", "多喝温水，多休息。如果发烧或吞咽困难，请到医院就诊。"),
        ("血压有点高，平时要注意什么？", "少盐饮食，坚持运动，每天量血压，并按医生的要求复查。"),
        ("孩子咳嗽一周了怎么办？", "咳嗽超过一周应就医听诊。呼吸急促或发热时请尽快就诊。"),
    ),
}


def answers(questions: int = 4, models: Sequence[str] = MODELS) -> list[dict[str, Any]]:
    """Rows as in ``answers.jsonl``: half of the questions English, half Chinese."""
    rows = []
    for n in range(questions):
        language = ("en", "zh")[n % 2]
        question, answer = _TEXTS[language][n // 2 % 3]
        for m, model in enumerate(models):
            rows.append(
                {
                    "id": f"{language}-source-{n}",
                    "model": model,
                    "model_content": f"weights of {model}",
                    "language": language,
                    "task": "qa",
                    "question": f"{question} ({n})",
                    "answer": f"{answer} [{n}{'abcdefgh'[m]}]",
                    "status": "ok",
                }
            )
    return rows


def make_study(
    target: str,
    *,
    state: str = "open",
    questions: int = 4,
    people: Sequence[str] = ("Ada", "Bo", "Chen"),
    overlap: int | None = None,
    on_unsafe: OnUnsafe = "score_all",
    repeats: float = 0.05,
    training: bool = False,
    models: Sequence[str] = MODELS,
    judge: str | None = None,
    show_judge: bool = False,
) -> Store:
    """A study of invented answers in the database at ``target``."""
    rubric = load_rubric()
    if not training:
        rubric = rubric.model_copy(update={"training": ()})
    store = open_store(target, create=True)
    create(
        store,
        answers(questions, models),
        [Annotator(name) for name in people],
        rubric,
        questions=questions,
        overlap=overlap or len(people),
        seed=7,
        repeats=repeats,
        on_unsafe=on_unsafe,
        name="invented",
        judge=judge,
        show_judge=show_judge,
    )
    if state == "open":
        move(store, "open")
    return store


def rating(*scores: int, done: bool = True, skip: str | None = None, **more: Any) -> dict[str, Any]:
    """A rating with the axes' scores in their order."""
    keys = ("information_security", "etiology_explainability", "user_guidance")
    return {
        "scores": dict(zip(keys, scores, strict=False)),
        "comment": "",
        "marks": [],
        "skip": skip,
        "done": done,
    } | more


@dataclass(frozen=True)
class Rated:
    """One saved rating of a simulated annotator."""

    annotator: str
    place: Place
    item: dict[str, Any]
    scores: tuple[int, ...]


def rate_all(store: Store, score: Any) -> list[Rated]:
    """Everybody rates everything: ``score(name, item)`` gives the scores."""
    found = []
    for number, name in names(store).items():
        for place in places(store, number):
            item = read_item(store, number, place.id)
            assert item is not None
            scores = tuple(score(name, item))
            save_rating(store, number, place.id, rating(*scores), 0, f"{name}-{place.id}")
            found.append(Rated(name, place, item, scores))
    return found
