"""A model is served only if people rated these very weights well enough, where the settings ask for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mulmed.artifact import read_artifact
from mulmed.base.embedded import identity
from mulmed.cli import main
from mulmed.review.create import create
from mulmed.review.database import open_store
from mulmed.review.plan import Annotator
from mulmed.review.results import results
from mulmed.review.rubric import load_rubric
from mulmed.review.study import move
from mulmed.serving.model import open_model
from tests.bases import installed
from tests.conftest import Small
from tests.review.studies import answers, rate_all


def reviewed(folder: Path, content: str, guidance: int) -> Path:
    """Results of a review in which the model with these weights got 2 everywhere but on the last axis."""
    rows = [
        row | ({"model": "mulmed", "model_content": content} if row["model"] == "wrenlet" else {})
        for row in answers(4)
    ]
    store = open_store(str(folder / "study.db"), create=True)
    rubric = load_rubric().model_copy(update={"training": ()})
    create(
        store, rows, [Annotator("Ada")], rubric,
        questions=4, overlap=1, seed=1, repeats=0, on_unsafe="score_all", name="invented",
    )  # fmt: skip
    move(store, "open")
    rate_all(store, lambda name, item: (2, 2, guidance))
    move(store, "locked")
    move(store, "unblinded")
    file = folder / "results.json"
    file.write_text(json.dumps(results(store, resamples=20)), encoding="utf-8")
    return file


@pytest.fixture
def serve(
    merged: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """What `mulmed serve` says against serving; its engine cannot be had here, so that it never comes to listen for good."""

    def told(*settings: str) -> str:
        given = [word for setting in settings for word in ("--set", f"require_review.{setting}")]
        monkeypatch.setattr(
            sys, "argv", ["mulmed", "serve", str(merged), "--port", "0", "--engine", "llamacpp", *given]
        )
        monkeypatch.setenv("COLUMNS", "400")
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        return capsys.readouterr().err

    return told


def test_a_model_is_served_only_with_a_review_that_clears_it(
    merged: Path, tmp_path: Path, serve: Callable[..., str]
) -> None:
    artifact = read_artifact(merged)
    assert artifact is not None
    file = reviewed(tmp_path, artifact.content, guidance=1)
    assert "cannot be read" in serve(f"results={tmp_path / 'nowhere.json'}")
    told = serve(f"results={file}", "questions=2", "minimum.user_guidance=1.5")
    assert "may not be served: user_guidance in 'en': mean 1.00, 1.5 is asked for" in told
    assert "user_guidance in 'zh'" in told
    cleared = serve(f"results={file}", "questions=2", "minimum.user_guidance=1")
    assert "may not be served" not in cleared
    assert "llama.cpp" in cleared  # it came as far as the engine
    assert serve() == cleared  # as if nothing were asked for


def test_another_trainings_review_clears_nothing(tmp_path: Path, serve: Callable[..., str]) -> None:
    file = reviewed(tmp_path, "weights of an earlier training", guidance=2)
    assert "the review judged other weights than these" in serve(f"results={file}", "questions=2")


def test_a_base_is_known_by_what_its_answers_say_of_it(small_llama: Small) -> None:
    with installed(small_llama.packages, small_llama.base):
        assert open_model(small_llama.base.name, print).reviewed_as == identity(small_llama.base)
