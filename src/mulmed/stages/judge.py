"""A study's judge model answers: any model that the recipe names, by the engine that answers its questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mulmed.errors import MulmedError
from mulmed.pipeline import Progress
from mulmed.recipe import Api, Decoding, Local
from mulmed.stages.answers import ANSWERS, answerer
from mulmed.stages.baselines import baseline_answerer

if TYPE_CHECKING:
    from mulmed.review.database import Store
    from mulmed.review.judge import Judged
    from mulmed.stages.answers import Answerer
    from mulmed.stages.run import Run

#: A number, and a few words around it; penalties on repetition would fall on the scores that the question names.
_DECODING = Decoding(max_new_tokens=16, repetition_penalty=1.0)


def judge(run: Run, store: Store, out: Path, progress: Progress) -> Judged:
    """Ask the judge about every answer that it has not rated, and save its scores.

    Args:
        out: keeps the replies; stopped and started again with the same folder, only the rest is asked.

    Raises:
        MulmedError: the study has no judge or is not open, the recipe has no such model, or the model cannot answer.
    """
    from mulmed.evaluation.comparison import read_answers
    from mulmed.review.judge import Judged, questions, save_replies
    from mulmed.review.study import read_study

    asked = questions(store)
    if not asked:
        return Judged(0, 0)
    answer = _answerer(run, str(read_study(store).settings["judge"]))
    out.mkdir(parents=True, exist_ok=True)
    answer(asked, None, _DECODING, out, progress)
    return save_replies(store, {row["id"]: row["answer"] for row in read_answers([out / ANSWERS])})


def _answerer(run: Run, name: str) -> Answerer:
    if name == "base" or name in run.recipe.steps:
        return answerer(run, name)
    baseline = run.recipe.generation.baselines.get(name)
    if not isinstance(baseline, Local | Api):
        able = [k for k, b in run.recipe.generation.baselines.items() if isinstance(b, Local | Api)]
        raise MulmedError(
            f"The study's judge is {name!r}, and the recipe has no model of that name that could answer.",
            where="generation.baselines",
            remedy=f"Add it there (a `model` or an `api`). There are: {', '.join(['base', *run.recipe.steps, *able])}.",
        )
    return baseline_answerer(run, name, baseline)[1]
