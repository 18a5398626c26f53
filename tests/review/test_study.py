"""A whole study as its people do it: command line, five annotators in a real browser, lock, unblind, figures, report."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from playwright.sync_api import expect

from mulmed.cli import main
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
        training = page.get_by_text("Practice").count() > 0
        page.keyboard.press("Enter")
        if training:
            expect(page.locator("#feedback")).to_be_visible()
            page.keyboard.press("Enter")
        page.wait_for_url(lambda now, here=here: now != here)
        done += 1
    expect(page.get_by_text("All of them are rated")).to_be_visible()
    return done


def test_from_answers_to_figures(
    tmp_path: Path, browser: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*arguments: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["mulmed", "review", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), capsys.readouterr().out

    def review(*arguments: str | Path) -> str:
        code, out = command(*arguments)
        assert code == 0
        return out

    study, file = tmp_path / "study.db", tmp_path / "answers.jsonl"
    file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in answers(4, MODELS)))
    given = [word for name in PEOPLE for word in ("--annotator", name)]
    rubric = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    rubric["training"] = rubric["training"][:1]
    (tmp_path / "rubric.yaml").write_text(yaml.safe_dump(rubric, allow_unicode=True), encoding="utf-8")
    given += ["--rubric", str(tmp_path / "rubric.yaml"), "--count", "2"]
    made = json.loads(review("create", study, "--answers", file, *given, "--json"))
    assert made["questions"] == [{"language": c, "task": "qa", "questions": 1} for c in ("en", "zh")]
    assert set(made["ratings"].values()) == {1 + 4 + 1}  # training, answers, a hidden repeat
    review("open", study)
    with serving(str(study)) as server:
        assert command("serve", study, "--port", str(server.port))[0] == 2  # taken
        links = json.loads(review("invite", study, "--url", server.url, "--json"))
        for person in PEOPLE:
            context = browser.new_context()
            context.set_default_timeout(15_000)
            assert rate(context, links[person], person) == 6
            context.close()
    status = json.loads(review("status", study, "--json"))
    assert [p["done"] for p in status["progress"]] == [5] * 5
    review("lock", study)
    assert command("serve", tmp_path / "nowhere.db")[0] == 2
    assert command("results", study, "--out", tmp_path / "out")[0] == 2  # not unblinded yet
    assert not (tmp_path / "out").exists()
    review("unblind", study)
    table = review("results", study, "--out", tmp_path / "out")
    assert "undefined: no variation" in table
    results = json.loads((tmp_path / "out/results.json").read_text())
    means = {(r["model"], r["axis"]): r["mean"] for r in results["scores"] if r["language"] == "all"}
    assert means == {
        (model, axis): pytest.approx(value)
        for model, guidance in zip(MODELS, (2, 1), strict=True)
        for axis, value in (
            ("information_security", 2),
            ("etiology_explainability", 9 / 5),
            ("user_guidance", guidance),
        )
    }
    assert all(r["same"] == r["twice"] == 5 for r in results["repeats"])
    assert (tmp_path / "out/review-scores.svg").stat().st_size > 5000
    assert "All of it holds" in review("verify", study)

    # The report takes it in.
    inputs = write_run(tmp_path / "run")
    build_report(tmp_path / "report", dataclasses.replace(inputs, review=tmp_path / "out/results.json"))
    html = (tmp_path / "report/index.html").read_text()
    section = html[
        html.index('<section id="review"') : html.index("</section>", html.index('<section id="review"'))
    ]
    assert "5 annotators rated the answers of 2 models to 2 questions" in section
    assert "Every answer was rated on all axes, unsafe ones too." in section
    assert "undefined: no variation" in section
    assert section.count("<svg") == 2
    assert '<data value="1.8">1.80</data>' in section
    assert results["rubric"]["sha256"] in section
    assert not any(name in section for name in PEOPLE)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(MulmedError, match="no results of a review"):
        build_report(tmp_path / "report", dataclasses.replace(inputs, review=tmp_path / "other.json"))
