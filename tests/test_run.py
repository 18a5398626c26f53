"""Whole runs on the sample corpora with a tiny model: what is redone, what survives a kill or a full disk."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mulmed.artifact import damaged_files, read_artifact
from mulmed.errors import MulmedError
from mulmed.recipe import load_recipe
from mulmed.stages import Run
from tests.forks import fork
from tests.forks import mulmed as forked_mulmed
from tests.runs import (
    ENVIRONMENT,
    SAMPLES,
    STAGES,
    bring_up_to_date,
    contents,
    mulmed,
    small_encoder,
    write_recipe,
)


@pytest.fixture
def copy(whole: Path, tmp_path: Path, taught: Path) -> Path:
    """A recipe with a finished run of its own, to be changed."""
    shutil.copytree(whole, tmp_path / "out")
    return write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out")


def test_what_a_run_leaves(whole: Path) -> None:
    assert sorted(p.name for p in whole.iterdir() if not p.name.startswith(".")) == sorted(STAGES)
    for stage in STAGES:
        artifact = read_artifact(whole / stage)
        assert artifact is not None
        assert damaged_files(artifact) == []
        assert not list((whole / stage).rglob("*.tmp"))
        assert str(Path.home()) not in (whole / stage / "manifest.json").read_text()


def test_a_second_run_does_nothing_at_once(copy: Path) -> None:
    code = (
        "import sys; from mulmed.cli import app; app(['run', sys.argv[1]], standalone_mode=False); "
        "heavy = {'torch', 'transformers', 'polars', 'matplotlib'} & set(sys.modules); print('heavy:', heavy)"
    )
    before = contents(copy.parent / "out")
    done = subprocess.run(
        [sys.executable, "-c", code, copy], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert "Everything is up to date." in done.stdout
    assert "heavy: set()" in done.stdout
    assert contents(copy.parent / "out") == before


def test_a_changed_key_redoes_what_depends_on_it(copy: Path, tmp_path: Path) -> None:
    """One after the other, each beside the changes before it; what needs no other stage's result to be known is not run."""
    generation = ["generate-base", "generate-crossla", "generate-mulmed"]
    changes = []

    def ran(change: str) -> list[str]:
        changes.append(change)
        return bring_up_to_date(copy, *changes)

    assert bring_up_to_date(copy) == []
    assert ran("report.examples=1") == ["report"]
    assert stale(copy, *changes, "evaluation.resamples=120") == ["evaluate", "report"]
    encoder = small_encoder(tmp_path / "encoder", ["the", "pain", "你", "好"])
    assert ran(f"evaluation.bertscore.model={encoder}") == ["evaluate", "report"]
    assert "BERTScore recall" in (copy.parent / "out" / "report" / "index.html").read_text(encoding="utf-8")
    changes[-1] = f"evaluation.bertscore.model={shutil.copytree(encoder, tmp_path / 'elsewhere')}"
    assert stale(copy, *changes) == ["report"]  # which prints the recipe; the model is the same
    assert stale(copy, *changes, "steps.mulmed.checkpoint_every=7") == ["report"]  # which prints the recipe
    assert ran("generation.decoding.max_new_tokens=5") == [*generation, "evaluate", "report"]
    # So large a rate that the answers change: were they the same, their scores would not be made again.
    assert ran("steps.mulmed.learning_rate=0.05") == [
        "train-mulmed",
        "merge-mulmed",
        "generate-mulmed",
        "evaluate",
        "report",
    ]
    assert bring_up_to_date(copy, *changes) == []
    assert read_artifact(copy.parent / "out" / "merge-crossla") is not None


def stale(recipe: Path, *overrides: str) -> list[str]:
    """What would run, as far as it is known before anything has."""
    work = Run(load_recipe(recipe, overrides), tell=lambda _: None)
    return [
        stage.name
        for stage, status in work.pipeline.statuses(work.pipeline.stages)
        if status.state != "fresh"
    ]


def test_what_would_run_again(copy: Path, taught: Path, tmp_path: Path) -> None:
    assert stale(copy) == []
    assert (
        stale(copy, "workers={processes: 2, shard: true}") == []
    )  # who trains changes nothing in what is trained
    assert stale(copy, "steps.crossla.learning_rate=1e-5") == [
        s for s in STAGES if s not in ("corpus", "generate-base")
    ]
    assert stale(copy, "steps.mulmed.parent=base") == [
        "train-mulmed",
        "merge-mulmed",
        "generate-mulmed",
        "evaluate",
        "report",
    ]
    assert stale(copy, "generation.models=[base, mulmed]") == ["evaluate", "report"]
    assert stale(copy, "cutoff=200") == STAGES
    assert stale(copy, "seed=1") == STAGES
    assert stale(copy, "corpus.sources.haodf.limit=10") == STAGES
    # The same model and data in another place are the same.
    model = tmp_path / "elsewhere" / taught.name
    shutil.copytree(taught, model)
    shutil.copytree(SAMPLES, tmp_path / "data")
    assert stale(copy, f"data={tmp_path / 'data'}") == []
    assert stale(copy, f"base={model}") == []
    # Another model, or other data, is not.
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    assert stale(copy, f"base={model}") == STAGES
    with (tmp_path / "data" / "alpaca_en.json").open("a") as file:
        file.write("\n")
    assert stale(copy, f"data={tmp_path / 'data'}") == STAGES


def test_each_of_two_files_of_one_name_counts(taught: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for name in ("alpaca_en.json", "haodf.txt", "iCliniq.json"):
            shutil.copy(SAMPLES / name, tmp_path / "data" / name)
    shutil.copy(SAMPLES / "alpaca_en.json", tmp_path / "data" / "a" / "x.json")
    (tmp_path / "data" / "b" / "x.json").write_text(
        '[{"instruction": "Say one.", "input": "", "output": "One."}]'
    )
    changes = {"data": str(tmp_path / "data"), "corpus.sources.alpaca-en.path": "*/x.json"}
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out", changes)
    assert bring_up_to_date(recipe, targets=("corpus",)) == ["corpus"]
    assert bring_up_to_date(recipe, targets=("corpus",)) == []
    for folder in ("a", "b"):
        with (tmp_path / "data" / folder / "x.json").open("a") as file:
            file.write("\n")
        assert bring_up_to_date(recipe, targets=("corpus",)) == ["corpus"], folder


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("train-mulmed", "adapter_model.safetensors"),
        ("train-mulmed", "run.json"),
        ("report", "index.html"),
    ],
)
def test_what_was_damaged_is_made_again_and_nothing_else(copy: Path, stage: str, name: str) -> None:
    file = copy.parent / "out" / stage / name
    before = contents(copy.parent / "out")
    if name.endswith(".safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    assert bring_up_to_date(copy) == [stage]
    assert file.exists()
    assert contents(copy.parent / "out") == before


# --- killed ------------------------------------------------------------------------------------------


def log_has(text: str) -> Callable[[Path], bool]:
    return lambda file: file.exists() and text in file.read_text()


#: Moments, each with the file that tells it has come.
MOMENTS: list[tuple[str, Callable[[Path], bool]]] = [
    ("train-crossla.partial/log.jsonl", log_has('"step": 3,')),
    ("merge-crossla.partial/model.safetensors", Path.exists),
    ("generate-crossla.partial/answers.so-far", log_has("\n")),
]


def test_killed_again_and_again_a_run_ends_the_same(whole: Path, taught: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, out)
    for name, has_come in MOMENTS:
        process = fork(forked_mulmed, "run", recipe)
        deadline = time.monotonic() + 120
        while not has_come(out / name):
            assert process.is_alive(), f"it ended before {name}"
            assert time.monotonic() < deadline, name
            time.sleep(0.001)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        stage = name.split(".partial")[0]
        # What has its final name is whole; what was being made has not got it.
        assert read_artifact(out / stage) is None
        for finished in (p for p in out.iterdir() if p.is_dir() and not p.name.endswith(".partial")):
            artifact = read_artifact(finished)
            assert artifact is not None
            assert damaged_files(artifact) == []
    bring_up_to_date(recipe)
    assert contents(out) == contents(whole)
    assert sorted(p.name for p in out.iterdir() if not p.name.startswith(".")) == sorted(STAGES)


# --- disks -------------------------------------------------------------------------------------------


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a file system in memory with the given options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = []

    def mount(options: str) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "none", folder],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for _ in mounted:
        busy = subprocess.run(["umount", folder], capture_output=True, check=False).returncode
        if busy:
            subprocess.run(["umount", "--lazy", folder], check=True)
        assert not busy, "a file was left open"


def test_a_read_only_output(disk: Callable[[str], Path], taught: Path, tmp_path: Path) -> None:
    out = disk("ro") / "out"
    done = mulmed("run", write_recipe(tmp_path / "recipe.yaml", taught, out))
    assert done.returncode == 2
    assert "error: Writing failed: Read-only file system." in done.stderr
    assert f"where: {out}" in done.stderr
    assert "remedy: Free some space or choose another folder with `output:`" in done.stderr
    assert "Traceback" not in done.stderr


#: Kilobytes at which each stage's writing fails.
@pytest.mark.parametrize(
    ("kilobytes", "stage"),
    [(8, "corpus"), (100, "train-crossla"), (4_000, "merge-crossla"), (11_500, "merge-crossla")],
)
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    disk: Callable[[str], Path], taught: Path, tmp_path: Path, whole: Path, kilobytes: int, stage: str
) -> None:
    out = disk(f"size={kilobytes}k") / "out"
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, out)
    if stage != "corpus":  # what is done is done
        out.mkdir()
        shutil.copytree(whole / "corpus", out / "corpus")
    if stage == "merge-crossla":
        shutil.copytree(whole / "train-crossla", out / "train-crossla")
    with pytest.raises(MulmedError, match="Writing failed: No space left on device") as caught:
        bring_up_to_date(recipe, targets=(stage,))
    assert "`output:`" in caught.value.remedy
    assert not (out / stage).exists()
    subprocess.run(["mount", "-o", "remount,size=64m", out.parent], check=True)
    assert bring_up_to_date(recipe, targets=(stage,)) == [stage]
    assert contents(out)[stage] == contents(whole)[stage]


def test_bad_training_data_stops_before_training(taught: Path, tmp_path: Path) -> None:
    """A source all of whose records go to the test set leaves its step nothing to learn from."""
    changes: dict[str, Any] = {"corpus.sources.haodf.split": "test"}
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out", changes)
    with pytest.raises(MulmedError, match="mulmed has no training example") as caught:
        bring_up_to_date(recipe, targets=("train-mulmed",))
    assert caught.value.where == "steps.mulmed.sources"
    assert not (tmp_path / "out" / "train-mulmed").exists()


def test_a_broken_tokenizer_is_told(taught: Path, tmp_path: Path) -> None:
    model = shutil.copytree(taught, tmp_path / "model")
    (model / "tokenizer.json").write_text("{")
    recipe = write_recipe(tmp_path / "recipe.yaml", model, tmp_path / "out")
    with pytest.raises(MulmedError, match="tokenizer cannot be loaded") as caught:
        bring_up_to_date(recipe, targets=("corpus",))
    assert caught.value.where == str(model)


def test_scores_cover_every_model_and_language(whole: Path) -> None:
    scores = json.loads((whole / "evaluate" / "scores.json").read_text())
    cells = {
        (r["model"], r["language"]) for r in scores["rows"] if r["metric"] == "f1" and r["task"] == "all"
    }
    assert cells == {(m, lang) for m in ("base", "crossla", "mulmed") for lang in ("en", "zh")}
    assert all(r["low"] <= r["value"] <= r["high"] for r in scores["rows"])


def test_no_place_of_this_machine_stands_in_what_others_read(whole: Path, taught: Path) -> None:
    texts = [p for p in whole.glob("*/**/*") if p.suffix in (".json", ".jsonl", ".html", ".svg", ".jinja")]
    assert len(texts) > 20
    for place in (str(whole.parent), str(taught), str(SAMPLES), str(Path.home()) + "/"):
        assert [p for p in texts if place in p.read_text(encoding="utf-8")] == []
