"""A whole recipe with llama.cpp as its engine and rivals of every kind, on a small embedded base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.prompts import load_template
from mulmed.recipe import load_recipe
from mulmed.stages import Run
from tests.bases import installed
from tests.conftest import Small
from tests.generation.test_api import fine, serving
from tests.runs import bring_up_to_date, write_recipe

pytest.importorskip("xllamacpp", reason="llama.cpp (the extra `llamacpp`) is not installed")
pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(autouse=True)
def small_base_is_installed(small_llama: Small) -> Iterator[None]:
    with installed(small_llama.packages, small_llama.base):
        yield


def rows(folder: Path, model: str) -> list[dict[str, Any]]:
    return [orjson.loads(x) for x in (folder / f"generate-{model}/answers.jsonl").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, small_llama: Small) -> Path:
    """The run's folder."""
    folder = tmp_path_factory.mktemp("rivals")
    with installed(small_llama.packages, small_llama.base), serving(fine) as server:
        changes: dict[str, Any] = {
            "generation.engine": "llamacpp",
            "generation.gguf": "q8_0",
            "generation.decoding.max_new_tokens": 6,
            "generation.models": ["base", "crossla"],
            "corpus.sources.icliniq.limit": 12,
        }
        recipe = write_recipe(folder / "recipe.yaml", small_llama.base.name, folder / "out", changes)
        bring_up_to_date(recipe, targets=("evaluate",))
        asked = [row["id"] for row in rows(folder / "out", "base")]
        made = [{"id": id, "prediction": f"Answer {i}" if i else None} for i, id in enumerate(asked)]
        file = folder / "made.jsonl"
        file.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in made))
        changes["generation.models"] = []
        changes["generation.baselines"] = {
            "chatgpt": {"source": "icliniq"},
            "made": {"file": str(file)},
            "server": {"api": f"http://127.0.0.1:{server.server_address[1]}/v1", "model": "m"},
            "doctor": {"model": str(small_llama.taught), "template": "chatdoctor"},
        }
        recipe = write_recipe(folder / "recipe.yaml", small_llama.base.name, folder / "out", changes)
        ran = bring_up_to_date(recipe)
        assert [name for name in ran if name.startswith("generate")] == [
            f"generate-{m}" for m in ("chatgpt", "made", "mulmed", "server", "doctor")
        ]
    return folder / "out"


OWN = ("base", "crossla", "mulmed")
ALL = (*OWN, "chatgpt", "made", "server", "doctor")


def test_every_model_is_scored_on_what_it_was_asked(run: Path) -> None:
    scores = orjson.loads((run / "evaluate/scores.json").read_bytes())
    sizes = {
        (r["model"], r["language"]): r["n"]
        for r in scores["rows"]
        if (r["task"], r["metric"]) == ("all", "f1")
    }
    asked = {lang: sum(r["language"] == lang for r in rows(run, "base")) for lang in ("en", "zh")}
    answered = sum(row["status"] == "ok" for row in rows(run, "chatgpt"))
    assert sizes["base", "zh"] == asked["zh"]
    assert sizes["chatgpt", "en"] == answered
    assert ("chatgpt", "zh") not in sizes
    assert sizes["made", "en"] + sizes["made", "zh"] == sum(asked.values()) - 1
    assert scores["failed"] == dict.fromkeys(ALL, 0) | {"made": 1}
    assert scores["absent"] == dict.fromkeys(ALL, 0) | {"chatgpt": sum(asked.values()) - answered}
    pairs = {(r["model"], r["baseline"]) for r in scores["differences"] if r["language"] == "en"}
    assert ("chatgpt", "base") in pairs
    assert ("doctor", "chatgpt") in pairs


def test_the_data_sets_answers_are_scored_as_published(run: Path) -> None:
    import polars as pl

    from mulmed.corpus.batch import from_batch

    records = {r.id: r for r in from_batch(pl.read_parquet(run / "corpus/records.parquet"))}
    for row in rows(run, "chatgpt"):
        published = records[row["id"]].baselines.get("chatgpt")
        assert row["answer"] == published
        assert row["status"] == ("absent" if published is None else "ok")


def test_no_engine_is_scored_without_its_agreement(run: Path) -> None:
    engines = orjson.loads((run / "evaluate/engines.json").read_bytes())
    assert set(engines) == set(OWN)
    for model in OWN:
        found = engines[model]
        assert found == orjson.loads((run / f"generate-{model}/agreement.json").read_bytes())
        assert found["engine"] == "llama.cpp, q8_0"
        assert found["answers"] == min(8, len(rows(run, "base")))
        assert found["same_beginning"] >= found["answers"] / 2
        # The model's weights for llama.cpp are no part of its answers.
        assert not list((run / f"generate-{model}").glob("*.gguf"))
    page = (run / "report/index.html").read_text(encoding="utf-8")
    (table,) = re.findall(r"<table>\s*<caption>How each model.*?</table>", page, re.DOTALL)
    cells = [re.sub(r"<[^>]+>", "", c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table, re.DOTALL)]
    told = dict(zip(cells[4::4], zip(cells[5::4], cells[6::4], cells[7::4], strict=True), strict=True))
    assert list(told) == list(ALL)
    found = engines["mulmed"]
    assert told["mulmed"][0] == "llama.cpp, q8_0"
    assert told["mulmed"][2].startswith(f"{found['identical']} of {found['answers']} answers the same")
    assert told["doctor"] == ("transformers", "chatdoctor", "is the reference")
    assert told["server"][0] == "m behind the API of 127.0.0.1"
    assert told["chatgpt"][0] == "elsewhere: published in icliniq"


def test_each_baseline_has_its_own_prompt(run: Path) -> None:
    own, doctor, server = (rows(run, m) for m in ("base", "doctor", "server"))
    assert {r["template_sha256"] for r in doctor} == {load_template("chatdoctor").sha256}
    assert not {r["prompt_sha256"] for r in own} & {r["prompt_sha256"] for r in doctor}
    assert [r["id"] for r in own] == [r["id"] for r in doctor] == [r["id"] for r in server]
    assert [r["answer"][:3] for r in server] == ["re:"] * len(server)


def test_no_place_of_this_machine_is_in_the_reports_manifest(run: Path, small_llama: Small) -> None:
    text = (run / "report/manifest.json").read_text() + (run / "report/index.html").read_text()
    assert str(small_llama.packages) not in text
    assert str(run.parent) not in text


def refused(folder: Path, small: Small, changes: dict[str, Any], match: str, base: str = "") -> None:
    recipe = write_recipe(folder / "recipe.yaml", base or small.base.name, folder / "out", changes)
    with pytest.raises(MulmedError, match=match):
        Run(load_recipe(recipe), tell=lambda _: None)


def test_what_cannot_answer_is_found_out_before_anything_runs(small_llama: Small, tmp_path: Path) -> None:
    refused(
        tmp_path,
        small_llama,
        {"generation.engine": "llamacpp"},
        "none of the base",
        str(small_llama.taught),
    )
    refused(tmp_path, small_llama, {"generation.baselines": {"a": {"file": "no.jsonl"}}}, "no such file")
    refused(
        tmp_path,
        small_llama,
        {"generation.baselines": {"a": {"model": "./nowhere"}}},
        "no base model",
    )
    for kind, match in (("bin", "pickled"), ("", "lacks adapter_config.json")):
        folder = tmp_path / f"adapter{kind}"
        folder.mkdir()
        if kind:
            (folder / "adapter_model.bin").write_bytes(b"x")
        a = {"model": str(small_llama.taught), "adapter": str(folder)}
        refused(tmp_path, small_llama, {"generation.baselines": {"a": a}}, match)
