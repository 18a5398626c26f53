"""A whole study as its people do it: command line, five annotators in a real browser, lock, unblind, figures, report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import yaml
from playwright.sync_api import expect

from mulmed.errors import MulmedError
from mulmed.report.build import build_report
from mulmed.review.rubric import PAPER
from tests.report.invented import write_run
from tests.review.server import serving
from tests.review.studies import answers

PEOPLE = ("Adaora", "Bohumil", "Chenxi", "Devika", "Emilio")
MODELS = ("Quillon-9", "wrenlet")


def scores_of(person: str, answer: str) -> tuple[int, int, int]:
    """What a simulated annotator thinks: the first model guides better, Emilio is stricter about explanations."""
    first = "a]" in answer
    return 2, 1 if person == "Emilio" else 2, 2 if first else 1


def rate(context: Any, url: str, person: str) -> int:
    """One annotator's whole work, by keyboard."""
    page = context.new_page()
    page.goto(url)
    page.get_by_role("button", name="Begin on this device").click()
    page.get_by_role("link", name="Begin").click()
    done = 0
    while "/rate/" in page.url:
        page.wait_for_selector("#answer:not(:empty)")
        here = page.url
        for score in scores_of(person, page.locator("#answer").inner_text()):
            page.keyboard.press(str(score))
        page.keyboard.press("Enter")
        page.wait_for_url(lambda now, here=here: now != here)
        done += 1
    expect(page.get_by_text("All of them are rated")).to_be_visible()
    return done


def test_from_answers_to_figures(
    tmp_path: Path, browser: Any, new_postgresql: Callable[[], str], command: Callable[..., str]
) -> None:
    """On PostgreSQL; three of the five rate a question, so that who rates what matters. Training has a test of its own."""
    study, file = new_postgresql(), tmp_path / "answers.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in answers(4, MODELS)))
    given = [word for name in PEOPLE for word in ("--annotator", name)]
    rubric = yaml.safe_load(PAPER.read_text(encoding="utf-8")) | {"training": []}
    (tmp_path / "rubric.yaml").write_text(yaml.safe_dump(rubric, allow_unicode=True), encoding="utf-8")
    given += ["--rubric", tmp_path / "rubric.yaml", "--count", "2", "--overlap", "3"]
    made = orjson.loads(command("create", study, "--answers", file, *given, "--json"))
    assert made["questions"] == [{"language": c, "task": "qa", "questions": 1} for c in ("en", "zh")]
    # Six turns at a question among five people: two answers each and a hidden repeat, four and one for one of them.
    assert sorted(made["ratings"].values()) == [3, 3, 3, 3, 5]
    command("open", study)
    with serving(study) as server:
        assert "cannot listen" in command("serve", study, "--port", server.port, fails=2)  # taken
        links = orjson.loads(command("invite", study, "--url", server.url, "--json"))
        for person in PEOPLE:
            context = browser.new_context()
            context.set_default_timeout(15_000)
            assert rate(context, links[person], person) == made["ratings"][person]
            context.close()
    status = orjson.loads(command("status", study, "--json"))
    assert {p["name"]: p["done"] for p in status["progress"]} == made["ratings"]
    command("lock", study)
    command("serve", tmp_path / "nowhere.db", fails=2)
    command("results", study, "--out", tmp_path / "out", fails=2)  # not unblinded yet
    assert not (tmp_path / "out").exists()
    command("unblind", study)
    table = command("results", study, "--out", tmp_path / "out")
    assert "undefined: no variation" in table
    command("export", study, tmp_path / "ratings.jsonl")
    rows = [orjson.loads(line) for line in (tmp_path / "ratings.jsonl").read_bytes().splitlines()]
    results = orjson.loads((tmp_path / "out/results.json").read_bytes())
    for found in results["scores"]:
        mine = [r for r in rows if r["model"] == found["model"] and r["kind"] == "rating"]
        mine = [r for r in mine if found["language"] in ("all", r["language"])]
        by_question = [
            [r[found["axis"]] for r in mine if r["question"] == q] for q in {r["question"] for r in mine}
        ]
        assert found["mean"] == pytest.approx(np.mean([np.mean(scores) for scores in by_question]))
    means = {(r["model"], r["axis"]): r["mean"] for r in results["scores"] if r["language"] == "all"}
    assert [means[model, "user_guidance"] for model in MODELS] == [2, 1]
    assert all(r["same"] == r["twice"] == 5 for r in results["repeats"])
    assert (tmp_path / "out/review-scores.svg").stat().st_size > 5000
    assert "All of it holds" in command("verify", study)

    # The report takes it in.
    inputs = write_run(tmp_path / "run")
    build_report(tmp_path / "report", dataclasses.replace(inputs, review=tmp_path / "out/results.json"))
    html = (tmp_path / "report/index.html").read_text()
    section = html[
        html.index('<section id="review"') : html.index("</section>", html.index('<section id="review"'))
    ]
    assert "5 annotators rated the answers of 2 models to 2 questions" in section
    assert "3 of them rated each question. Every answer was rated on all axes, unsafe ones too." in section
    assert "undefined: no variation" in section
    assert section.count("<svg") == 2
    explained = means[MODELS[0], "etiology_explainability"]
    assert f'<data value="{explained}">{explained:.2f}</data>' in section
    assert results["rubric"]["sha256"] in section
    assert not any(name in section for name in PEOPLE)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(MulmedError, match="no results of a review"):
        build_report(tmp_path / "report", dataclasses.replace(inputs, review=tmp_path / "other.json"))
