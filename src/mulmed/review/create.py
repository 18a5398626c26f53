"""From answer files to a study in its database, with an account of what was left out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mulmed.artifact import hash_json
from mulmed.errors import MulmedError
from mulmed.review.candidates import gather
from mulmed.review.database import Store
from mulmed.review.plan import Annotator, assign, order, sample, strata
from mulmed.review.rubric import OnUnsafe, Rubric
from mulmed.review.study import create_study


@dataclass(frozen=True, slots=True)
class Account:
    """What became of the answers.

    Attributes:
        models: compared.
        chosen: questions in the study, by language and task.
        ratings: answers to rate, by annotator, hidden repeats and training included.
        incomplete: questions left out because a model did not answer.
        named: questions left out because an answer names a model, and their (question id, model).
    """

    models: tuple[str, ...]
    chosen: Mapping[tuple[str, str], int]
    ratings: Mapping[str, int]
    incomplete: int
    named: tuple[tuple[str, str], ...]


def create(
    store: Store,
    rows: Iterable[Mapping[str, Any]],
    people: Sequence[Annotator],
    rubric: Rubric,
    *,
    questions: int,
    overlap: int,
    seed: int,
    repeats: float,
    on_unsafe: OnUnsafe,
    name: str,
    judge: str | None = None,
    show_judge: bool = False,
) -> Account:
    """Make a study, in state draft.

    Questions of which an answer names a model are left out for all models: rated, it would not be blind.

    Args:
        rows: of ``answers.jsonl``.
        questions: how many to draw; answered by every model and naming none.
        overlap: annotators a question.
        repeats: share of an annotator's answers that come again, unannounced.
        judge: a model that rates everything beside the people, never counted as one of them.
        show_judge: annotators see its scores of an answer once they have finished their own, which are final then.

    Raises:
        MulmedError: the answers do not fit together, none is left, or there are too few annotators.
    """
    if not people or len({*(p.name for p in people), judge}) <= len(people):
        raise MulmedError(
            "There is no annotator, or two have one name.",
            where="--annotator",
            remedy="Name every annotator once.",
        )
    rows = list(rows)
    candidates = gather(rows)
    telling = {question for question, _ in candidates.named}
    chosen = sample([q for q in candidates.questions if q.id not in telling], questions, seed)
    if not chosen:
        raise MulmedError(
            "Every question has an answer that names a model.",
            where=f"models: {', '.join(candidates.models)}",
            remedy="Take the names out of the answers.",
        )
    if judge in candidates.models:
        raise MulmedError(
            f"{judge!r} is one of the models compared, and nobody judges their own answers.",
            where="--judge",
            remedy="Let another model judge.",
        )
    blocks = assign(chosen, people, overlap, seed)
    languages = {q.language for q in chosen}
    training = {
        person.name: [
            str(i)
            for i, t in enumerate(rubric.training)
            if t.language in languages and person.reads(t.language)
        ]
        for person in people
    }
    orders = {
        p.name: order(blocks[p.name], candidates.models, repeats, training[p.name], seed, p.name)
        for p in people
    }
    if judge is not None:
        orders[judge] = order([q.id for q in chosen], candidates.models, 0, [], seed, judge)
    settings = {
        "name": name,
        "judge": judge,
        "show_judge": show_judge,
        "seed": seed,
        "overlap": overlap,
        "repeats": repeats,
        "on_unsafe": on_unsafe,
        "models": len(candidates.models),
        "contents": dict(candidates.contents),
        "questions": len(chosen),
        "left_out_incomplete": candidates.incomplete,
        "left_out_named": len(telling),
        "answers_sha256": hash_json(rows),
        "rubric_sha256": rubric.sha256,
    }
    create_study(
        store,
        candidates=candidates,
        chosen=chosen,
        orders=orders,
        people=[*people, *([Annotator(judge)] if judge else [])],
        rubric=rubric,
        settings=settings,
    )
    return Account(
        candidates.models,
        strata(chosen),
        {name: len(turns) for name, turns in orders.items()},
        candidates.incomplete,
        tuple(sorted(candidates.named)),
    )
