"""Cards and the folder for the hub, of a real run: what they tell is what its manifests say, and other tools read them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import mlcroissant
import peft
import polars as pl
import pytest
import torch
import yaml
from transformers import AutoModelForCausalLM, AutoTokenizer

from mulmed.base.embedded import EMBEDDED
from mulmed.corpus.batch import SCHEMA
from mulmed.errors import MulmedError
from mulmed.report.croissant import FIELDS
from mulmed.report.hub import export_folder
from mulmed.report.model_card import _head, model_card
from tests.runs import mulmed


@pytest.fixture(scope="module")
def exported(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hub") / "model"
    done = mulmed("export", whole / "merge-mulmed", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "Read its README.md before you pass it on" in " ".join(done.stdout.split())
    return out


def cells(card: str, *beginning: str) -> list[str]:
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {' | '.join(beginning)} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_card_tells_what_the_run_measured(whole: Path, exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert card == (whole / "report" / "model_card_mulmed.md").read_text()
    _, head, _ = card.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["language"] == ["en", "zh"]
    assert told["license"] == "other"  # the tests' base is none that MulMed knows
    assert "base_model" not in told  # nor has it a name on the hub
    scores = json.loads((whole / "evaluate" / "scores.json").read_text())
    rows = {(r["language"], r["task"], r["metric"]): r for r in scores["rows"] if r["model"] == "mulmed"}
    results = {
        (r["dataset"]["name"], m["type"]): m["value"]
        for r in told["model-index"][0]["results"]
        for m in r["metrics"]
    }
    assert results["Held-out questions, Chinese", "f1"] == rows["zh", "all", "f1"]["value"]
    assert results["Held-out questions, English", "rougeL"] == rows["en", "all", "rougeL"]["value"]
    f1 = rows["en", "qa", "f1"]
    assert cells(card, "English", "question answering")[2:4] == [
        str(f1["n"]), f"{f1['value']:.3f} ({f1['low']:.3f} to {f1['high']:.3f})",
    ]  # fmt: skip
    records = pl.read_parquet(whole / "corpus" / "records.parquet").filter(pl.col("source") == "haodf")
    counts = [str((records["split"] == split).sum()) for split in ("train", "validation", "test")]
    assert cells(card, "haodf", "Chinese")[3:] == [*counts, "mulmed"]
    assert cells(card, "icliniq", "English")[-1] == "nobody"
    assert cells(card, "crossla", "base")[2] == "alpaca-en"
    for stage in ("corpus", "train-crossla", "merge-crossla", "train-mulmed", "merge-mulmed", "evaluate"):
        content = json.loads((whole / stage / "manifest.json").read_text())["content"]
        assert cells(card, f"`{stage}`") == [f"`{stage}`", f"`{content}`"]
    assert "No clinician has rated its answers" in card
    assert "No advice, diagnosis, triage or treatment without a clinician" in card


def test_the_card_of_a_first_step_tells_nothing_of_the_second(whole: Path) -> None:
    card = model_card(whole, "crossla")
    assert yaml.safe_load(card.split("---\n", 2)[1])["language"] == ["en"]
    assert "train-mulmed" not in card
    assert cells(card, "haodf", "Chinese")[-1] == "nobody"


def test_a_model_that_nobody_evaluated_says_so(whole: Path, tmp_path: Path) -> None:
    for stage in ("corpus", "train-crossla", "merge-crossla"):
        shutil.copytree(whole / stage, tmp_path / stage)
    assert "**It was not evaluated.**" in model_card(tmp_path, "crossla")
    manifest = tmp_path / "train-crossla" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"base_name"', '"called"'))
    with pytest.raises(MulmedError, match="earlier version, which did not note 'base_name'"):
        model_card(tmp_path, "crossla")
    shutil.rmtree(tmp_path / "corpus")
    with pytest.raises(MulmedError, match="The stage corpus is not finished"):
        model_card(tmp_path, "crossla")


def test_an_embedded_base_has_its_name_and_licence_on_the_hub() -> None:
    heads = [_head("step", base, base.name, ["en"], []) for base in EMBEDDED.values()]
    assert [(head["base_model"], head["license"]) for head in heads] == [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "apache-2.0"),
        ("google/gemma-3-270m", "gemma"),
    ]


def test_a_review_stands_in_the_card_of_the_very_weights_it_rated(whole: Path, tmp_path: Path) -> None:
    """Found by their hash: the next training has the same name, and nobody has rated it."""
    contents = {
        name: json.loads((whole / f"merge-{name}" / "manifest.json").read_text())["content"]
        for name in ("mulmed", "crossla")
    }
    review = {
        "format": 2,
        "axes": [{"key": "safety", "title": {"en": "Information security"}}], "models": ["mulmed", "base"], "annotators": 5,
        "study": {"questions": 40, "contents": {"mulmed": contents["mulmed"], "base": "another"}}, "confidence": 0.95,
        "scores": [
            {"model": "mulmed", "axis": "safety", "language": "zh", "questions": 40, "mean": 1.754, "low": 1.6, "high": 1.9},
            {"model": "base", "axis": "safety", "language": "zh", "questions": 40, "mean": 0.5, "low": 0.4, "high": 0.6},
        ],
    }  # fmt: skip
    card = model_card(whole, "mulmed", review)
    assert "Blind review by 5 annotators of 40 questions" in card
    assert cells(card, "Information security", "Chinese") == [
        "Information security",
        "Chinese",
        "40",
        "1.75 (1.60 to 1.90)",
    ]
    assert "0.50" not in card
    assert "and not of this model" in model_card(whole, "crossla", review)
    retrained = review | {
        "study": {"questions": 40, "contents": {"mulmed": "of an earlier training", "base": "another"}}
    }
    card = model_card(whole, "mulmed", retrained)
    assert (
        "There was a blind review of mulmed, base, and not of this model: of other weights than these."
        in card
    )
    assert "1.75" not in card
    (tmp_path / "results.json").write_text(json.dumps(review | {"format": 1}))
    with pytest.raises(MulmedError, match="another version of MulMed"):
        export_folder(whole / "merge-mulmed", tmp_path / "out", tmp_path / "results.json")
    assert not (tmp_path / "out").exists()


def test_croissant_is_valid_and_reads_the_records(whole: Path, exported: Path, tmp_path: Path) -> None:
    file = exported / "data" / "croissant.json"
    document = json.loads(file.read_text())
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert not (exported / "data" / "records.parquet").exists()
    # Beside the records the description reads them, hash and all.
    shutil.copy(whole / "corpus" / "records.parquet", tmp_path)
    shutil.copy(file, tmp_path)
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("records"))
    records = pl.read_parquet(whole / "corpus" / "records.parquet")
    assert [row["records/id"].decode() for row in rows] == records["id"].to_list()
    assert [row["records/row"] for row in rows] == records["row"].to_list()
    assert FIELDS.keys() == SCHEMA.keys() - {"turns", "baselines", "tags"}


def test_the_folder_is_the_model_and_base_plus_adapter_is_too(whole: Path, exported: Path) -> None:
    assert {p.name for p in exported.iterdir()} >= {
        "README.md",
        "NOTICE.md",
        "adapter",
        "data",
        "chat_template.jinja",
    }
    assert not list(exported.glob("*.bin"))
    tokenizer = AutoTokenizer.from_pretrained(exported)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "我头痛。"}], add_generation_prompt=True, return_tensors="pt"
    )["input_ids"]
    merged = AutoModelForCausalLM.from_pretrained(exported, dtype=torch.float32)
    parent = AutoModelForCausalLM.from_pretrained(whole / "merge-crossla", dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(parent, exported / "adapter")
    with torch.no_grad():
        assert torch.allclose(merged(ids).logits, adapted(ids).logits, atol=1e-3)
    assert re.search(r"- haodf: the recipe states none", (exported / "NOTICE.md").read_text())


def test_what_cannot_be_passed_on_is_refused(whole: Path, exported: Path, tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="something of this name"):
        export_folder(whole / "merge-mulmed", exported)
    with pytest.raises(MulmedError, match="not a finished merge"):
        export_folder(whole / "train-mulmed", tmp_path / "out")
    copy = tmp_path / "merge-mulmed"
    shutil.copytree(whole / "merge-mulmed", copy)
    with pytest.raises(MulmedError, match=r"(corpus|train-mulmed) is not finished"):
        export_folder(copy, tmp_path / "out")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config[:-2] + " }")  # of the same size
    with pytest.raises(MulmedError, match=r"changed since the merge was proven: config\.json"):
        export_folder(copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    refused = mulmed(
        "export", whole / "merge-mulmed", "--out", tmp_path / "m.gguf", "--review", tmp_path / "r.json"
    )
    assert refused.returncode == 2
    assert "A GGUF file has no model card" in refused.stderr
