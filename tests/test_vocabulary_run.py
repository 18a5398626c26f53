"""A whole run whose base gets more tokens: who is asked with which tokenizer, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from mulmed.recipe import load_recipe
from mulmed.stages import Run
from tests.runs import STAGES, bring_up_to_date, write_recipe


def answers(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_a_run_with_more_tokens(tmp_path: Path, taught: Path) -> None:
    out = tmp_path / "out"
    changes = {"vocabulary": {"tokens": 150}, "cutoff": 160}
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, out, changes)
    assert bring_up_to_date(recipe) == ["corpus", "vocabulary", *STAGES[1:]]
    assert bring_up_to_date(recipe) == []

    learned = json.loads((out / "corpus" / "vocabulary.json").read_text())
    assert 50 < len(learned["tokens"]) <= 150
    worth = {(row["language"], row["split"]): row for row in learned["worth"]}
    assert worth["zh", "train"]["tokens_after"] < 0.85 * worth["zh", "train"]["tokens_before"]
    assert worth["zh", "test"]["tokens_after"] < 0.9 * worth["zh", "test"]["tokens_before"]
    assert worth["en", "test"]["tokens_after"] == worth["en", "test"]["tokens_before"]

    # The budget is counted in the new tokens: records that fit now would not have.
    run = Run(load_recipe(recipe), tell=lambda _: None)
    records = [r for r in run.records() if r.split == "train" and r.language == "zh"]
    lengths = {r.id: [len(x.example(r).ids) for x in (run.base_renderer, run.renderer)] for r in records}
    assert max(after for _, after in lengths.values()) <= 160 < max(before for before, _ in lengths.values())

    # The base is asked as it is; the steps with their own tokenizer, the same questions.
    steps = {row["id"]: row for row in answers(out / "generate-mulmed")}
    for row in answers(out / "generate-base"):
        assert row["question"] == steps[row["id"]]["question"]
        assert row["prompt_tokens"] == len(run.base_renderer.prompt(messages(run, row["id"])))
        longer = row["prompt_tokens"] - steps[row["id"]]["prompt_tokens"]
        assert longer > 0 if row["language"] == "zh" else longer == 0

    for folder in (out / "vocabulary", out / "merge-crossla", out / "merge-mulmed"):
        tokenizer = AutoTokenizer.from_pretrained(folder)
        assert (
            tokenizer.convert_tokens_to_ids(learned["tokens"][-1])
            == learned["first"] + len(learned["tokens"]) - 1
        )
    page = (out / "report" / "index.html").read_text()
    assert f"Tokens a character before and after {len(learned['tokens'])} tokens" in page
    statuses = Run(load_recipe(recipe, ("vocabulary.tokens=20",)), tell=lambda _: None).pipeline
    stale = [
        s.name for s, status in statuses.statuses(statuses.needed_for(["report"])) if status.state != "fresh"
    ]
    assert stale == ["corpus", "vocabulary", *STAGES[1:]]


def messages(run: Run, record_id: str) -> Any:
    (record,) = [r for r in run.records() if r.id == record_id]
    return run.template.messages(record, with_answer=False)
