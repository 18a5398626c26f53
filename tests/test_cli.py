"""The command line: what a user sees when all is well, and one clear message when it is not."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mulmed import __version__
from tests.runs import ENVIRONMENT, SAMPLES, STAGES, Main, command, mulmed, write_recipe


@pytest.fixture
def finished(whole: Path, tmp_path: Path, taught: Path) -> Path:
    """A recipe whose run is done."""
    shutil.copytree(whole, tmp_path / "out")
    return write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out")


def parts(stderr: str) -> tuple[str, str, str]:
    """The three parts of an error; nothing else may be there."""
    found = re.fullmatch(r"error: (.+)\n  where: (.+)\n  remedy: (.+)\n", stderr, re.DOTALL)
    assert found, stderr
    return found[1], found[2], found[3]


# --- mistakes ----------------------------------------------------------------------------------------


def no_recipe(folder: Path, base: Path) -> Path:
    del base
    return folder / "nowhere.yaml"


def broken_yaml(folder: Path, base: Path) -> Path:
    path = write_recipe(folder / "recipe.yaml", base, folder / "out")
    path.write_text(path.read_text() + "more: [1,\n")
    return path


def wrong_key(folder: Path, base: Path) -> Path:
    return write_recipe(folder / "recipe.yaml", base, folder / "out", {"steps.mulmed.epoch": 1})


def no_corpus(folder: Path, base: Path) -> Path:
    return write_recipe(
        folder / "recipe.yaml", base, folder / "out", {"corpus.sources.haodf.path": "nowhere.txt"}
    )


def pickles(folder: Path, base: Path) -> Path:
    model = shutil.copytree(base, folder / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    return write_recipe(folder / "recipe.yaml", model, folder / "out")


def remote_code(folder: Path, base: Path) -> Path:
    model = shutil.copytree(base, folder / "model")
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "x.X"}}))
    return write_recipe(folder / "recipe.yaml", model, folder / "out")


def unknown_base(folder: Path, base: Path) -> Path:
    del base
    return write_recipe(folder / "recipe.yaml", "lama-7b", folder / "out")


@pytest.mark.parametrize(
    ("mistake", "what", "where", "remedy"),
    [
        (no_recipe, "No such file or directory", "nowhere.yaml", "path"),
        (broken_yaml, "not valid YAML", r"recipe\.yaml, line \d+", "Mend the line"),
        (
            wrong_key,
            r"steps\.mulmed\.epoch: unknown key \(did you mean 'epochs'\?\)",
            r"recipe\.yaml",
            "--set",
        ),
        (no_corpus, r"No file matches 'nowhere\.txt'", r"corpus\.sources\.haodf\.path", "get the file"),
        (pickles, r"only pickled weights \(pytorch_model\.bin\)", "model", "safetensors"),
        (remote_code, "run code of its own", r"config\.json", "architecture"),
        (unknown_base, "no base model 'lama-7b'", "base: lama-7b", "smollm2-135m"),
    ],
)
def test_one_message_and_exit_code_2(
    taught: Path, tmp_path: Path, mistake: Callable[[Path, Path], Path], what: str, where: str, remedy: str
) -> None:
    recipe = mistake(tmp_path, taught)
    done = mulmed("run", recipe)
    assert done.returncode == 2
    assert done.stdout == ""
    told = parts(done.stderr)
    for text, pattern in zip(told, (what, where, remedy), strict=True):
        assert re.search(pattern, text), text
    assert not (tmp_path / "out" / "corpus").exists()
    assert not (tmp_path / "out" / "corpus.partial").exists()


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["train", "RECIPE", "--step", "mulmd"], "no step 'mulmd'"),
        (["preview", "RECIPE", "--step", "mulmd"], "no step 'mulmd'"),
        (["generate", "RECIPE", "--model", "llama"], "no model 'llama'"),
        (["run", "RECIPE", "--set", "steps.mulmed.epochs"], "key.subkey=value"),
        (["run", "RECIPE", "--set", "steps.mulmed.epochs=none"], "steps.mulmed.epochs"),
        (["run", "RECIPE", "--data", "/nowhere"], "No file matches"),
    ],
)
def test_wrong_arguments(finished: Path, here: Main, arguments: list[str], what: str) -> None:
    code, out, err = here(*(finished if a == "RECIPE" else a for a in arguments))
    assert (code, out) == (2, "")
    assert what in parts(err)[0]


@pytest.mark.parametrize("arguments", [["run"], ["run", "x", "--no-such-option"], ["fly"]])
def test_wrong_usage_is_explained(here: Main, arguments: list[str]) -> None:
    code, _, err = here(*arguments)
    assert code == 2
    assert "Usage: mulmed" in err


ALPACA = [{"instruction": f"Name fruit number {i}.", "input": "", "output": f"Pear {i}."} for i in range(10)]


def with_alpaca(folder: Path, base: Path, text: str, **changes: Any) -> Path:
    """The tiny recipe with a file of one's own in place of the Alpaca sample."""
    shutil.copytree(SAMPLES, folder / "data")
    (folder / "data" / "alpaca_en.json").write_text(text)
    settings = {
        "data": str(folder / "data"),
        **{f"corpus.sources.alpaca-en.{k}": v for k, v in changes.items()},
    }
    return write_recipe(folder / "recipe.yaml", base, folder / "out", settings)


def test_a_broken_record_in_a_json_array(here: Main, taught: Path, tmp_path: Path) -> None:
    lines = json.dumps(ALPACA, indent=1).splitlines()
    lines[18] = '  "output": "Pear 3.'  # the quote is not closed
    code, _, err = here("corpus", "build", with_alpaca(tmp_path, taught, "\n".join(lines)))
    assert code == 2
    _, where, _ = parts(err[err.index("error:") :])
    assert "alpaca_en.json" in where
    assert re.search(r"line (1[89]|20)\b", where), where
    assert not (tmp_path / "out" / "corpus").exists()


@pytest.mark.parametrize("text", ["", "[]", " \n"])
def test_an_empty_corpus(here: Main, taught: Path, tmp_path: Path, text: str) -> None:
    code, _, err = here("corpus", "build", with_alpaca(tmp_path, taught, text))
    assert code == 2
    what, where, _ = parts(err[err.index("error:") :])
    assert "alpaca" in where
    assert "record" in what or "empty" in what or "JSON" in what
    assert not (tmp_path / "out" / "corpus").exists()


def test_a_record_without_an_answer_is_set_aside_and_counted(
    here: Main, taught: Path, tmp_path: Path
) -> None:
    records = [*ALPACA, {"instruction": "Tell me a secret word: xyzzy", "input": "", "output": " "}]
    recipe = with_alpaca(tmp_path, taught, json.dumps(records))
    code, _, err = here("corpus", "build", recipe)
    assert code == 2  # one in eleven is more than five in a hundred
    what, where, remedy = parts(err[err.index("error:") :])
    assert "1 of 11 records" in what
    assert "corpus.sources.alpaca-en: alpaca_en.json, row 10" in where
    assert "corpus.sources.alpaca-en.max_rejected to 0.10" in remedy
    assert "xyzzy" not in err
    code, out, err = here("corpus", "build", recipe, "--set", "corpus.sources.alpaca-en.max_rejected=0.1")
    assert code == 0
    rows = [
        json.loads(line) for line in (tmp_path / "out" / "corpus" / "rejected.jsonl").read_text().splitlines()
    ]
    (row,) = [r for r in rows if r["source"] == "alpaca-en"]
    assert (row["file"], row["row"]) == ("alpaca_en.json", 10)
    assert row["reason"]
    assert "rejected" in out
    for file in (tmp_path / "out" / "corpus").glob("*.json*"):
        assert "xyzzy" not in file.read_text()


# --- when all is well --------------------------------------------------------------------------------


def test_help_is_quick_and_lists_what_there_is() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = mulmed("--help")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.6
    listed = re.findall(r"^│ ([a-z]+) ", done.stdout, re.MULTILINE)
    assert set(listed) == {
        "run",
        "corpus",
        "preview",
        "train",
        "generate",
        "evaluate",
        "report",
        "export",
        "review",
        "serve",
        "chat",
    }
    # Every line fits into 80 columns.
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_version(here: Main) -> None:
    assert here("--version") == (0, f"{__version__}\n", "")


def test_a_run_tells_what_it_does_in_whole_lines_without_colours(finished: Path, here: Main) -> None:
    shutil.rmtree(finished.parent / "out" / "generate-crossla")
    code, out, err = here("evaluate", finished)
    assert code == 0
    first, last = err.splitlines()  # the answers are the same, so they are not scored again
    assert first == "generate-crossla: answer the test questions with crossla (running; it is not there yet)"
    assert re.fullmatch(r"  done in \d+\.\d s", last)
    assert "\x1b" not in out + err


def test_the_report_takes_in_the_results_of_a_review(finished: Path, here: Main, tmp_path: Path) -> None:
    from mulmed.review.results import results
    from mulmed.review.study import move
    from tests.review.studies import make_study, rate_all

    store = make_study(str(tmp_path / "study.db"))
    rate_all(store, lambda name, item: (2, 1, len(item["answer"]) % 3))
    move(store, "locked")
    move(store, "unblinded")
    file = tmp_path / "results.json"
    override = f"report.review={file}"
    code, _, err = here("report", finished, "--set", override)
    assert (code, parts(err)[0]) == (2, "There are no results of a review.")
    file.write_text(json.dumps(results(store, resamples=100)))
    assert here("report", finished, "--set", override)[0] == 0
    page = finished.parent / "out" / "report" / "index.html"
    assert "3 annotators rated the answers of 3 models to 4 questions" in page.read_text()
    assert str(tmp_path) not in page.read_text()
    assert here("report", finished)[0] == 0  # without it again
    assert "annotators rated" not in page.read_text()


def test_a_finished_run_prints_scores_and_where_the_report_lies(finished: Path) -> None:
    done = mulmed("run", finished)
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "Everything is up to date."
    assert lines[-1] == f"Report: {finished.parent / 'out' / 'report' / 'index.html'}"
    rows = [line.split()[:2] for line in lines if re.match(r"^ (en|zh) ", line)]
    assert rows == [[lang, m] for lang in ("en", "zh") for m in ("base", "crossla", "mulmed")]
    assert "\x1b" not in done.stdout


def test_a_stages_file_that_was_damaged_is_told(finished: Path, here: Main) -> None:
    file = finished.parent / "out" / "evaluate" / "engines.json"
    file.write_bytes(b"x" * file.stat().st_size)
    code, _, err = here("run", finished)
    what, where, remedy = parts(err)
    assert (code, what, where) == (2, "A file of an earlier stage is not valid JSON.", str(file))
    assert "Delete that stage's folder" in remedy


def test_answers_made_elsewhere_are_scored_beside_the_recipes(
    finished: Path, tmp_path: Path, here: Main
) -> None:
    answers = finished.parent / "out" / "generate-mulmed" / "answers.jsonl"
    rows = [json.loads(line) for line in answers.read_text("utf-8").splitlines()]
    made = tmp_path / "theirs.jsonl"
    made.write_text(
        "".join(json.dumps({"id": r["id"], "prediction": r["reference"]}) + "\n" for r in rows), "utf-8"
    )
    before = (finished.parent / "out" / "evaluate" / "scores.json").read_bytes()
    arguments = (
        "--predictions",
        f"theirs={made}",
        "--samples",
        tmp_path / "samples",
        "--out",
        tmp_path / "scores",
    )
    code, out, err = here("evaluate", finished, *arguments, "--json")
    assert (code, err) == (0, "")
    scores = json.loads(out)
    f1 = {
        r["model"]: r["value"]
        for r in scores["rows"]
        if (r["metric"], r["task"], r["language"]) == ("f1", "all", "zh")
    }
    assert list(f1) == ["base", "crossla", "mulmed", "theirs"]
    assert f1["theirs"] == 1.0
    assert f1["base"] < 1.0
    assert (finished.parent / "out" / "evaluate" / "scores.json").read_bytes() == before
    assert {p.name.split("_")[1] for p in (tmp_path / "samples").iterdir()} == set(f1)
    # Without a recipe: questions and answers alone.
    alone = tmp_path / "[alone]"  # brackets are markup to what prints
    code, out, _ = here("evaluate", answers, "--predictions", f"theirs={made}", "--out", alone)
    assert code == 0
    assert out.splitlines()[-1] == f"Scores: {alone / 'scores.json'}"
    assert [line.split()[:2] for line in out.splitlines() if re.match(r"^ (en|zh) ", line)] == [
        ["en", "theirs"],
        ["zh", "theirs"],
    ]
    code, _, err = here("evaluate", answers)
    assert code == 2
    assert "--predictions NAME=FILE" in err
    # The recipe's own scores in another place are the same.
    code, _, _ = here("evaluate", finished, "--out", tmp_path / "own")
    assert code == 0
    assert (tmp_path / "own" / "scores.json").read_bytes() == before
    code, _, err = here("evaluate", finished, "--predictions", "theirs")
    assert code == 2
    assert "NAME=FILE" in err


def test_json_outputs(finished: Path, here: Main) -> None:
    def read(*arguments: str | Path) -> Any:
        code, out, err = here(*arguments, finished, "--json")
        assert (code, err) == (0, "")
        return json.loads(out)

    output = str(finished.parent / "out")
    for name in (["run"], ["corpus", "build"], ["train"], ["generate"], ["report"]):
        assert {k: read(*name)[k] for k in ("ran", "output")} == {"ran": [], "output": output}
    stats = read("corpus", "stats")
    sizes = [(r["source"], r["task"], r["size"]) for r in stats["statistics"]["table1"]]
    assert sum(size for source, _, size in sizes if source == "haodf") == 16
    assert [s for s in sizes if s[0] != "haodf"] == [("alpaca-en", "instruction", 8), ("icliniq", "qa", 6)]
    assert stats["funnel"]["stages"][0]["stage"] == "read"
    assert read("evaluate") == json.loads((Path(output) / "evaluate" / "scores.json").read_text())
    preview = read("preview")
    assert preview["step"] == "mulmed"
    assert [(s["task"], s["language"]) for s in preview["shares"]] == [("dialogue", "zh"), ("qa", "zh")]
    dry = json.loads(here("run", finished, "--dry-run", "--json")[1])
    assert [(s["stage"], s["state"]) for s in dry["stages"]] == [(s, "fresh") for s in STAGES]
    assert [s["step"] for s in dry["steps"]] == ["crossla", "mulmed"]


def test_a_dry_run_says_what_would_run_and_why(finished: Path, here: Main) -> None:
    before = sorted((finished.parent / "out").rglob("*"))
    code, out, _ = here("run", finished, "--dry-run", "--set", "generation.questions=1")
    assert code == 0
    states = {m[1]: m[2] for m in re.finditer(r"^(\S+) +.+? +(fresh|stale|resumable)\b", out, re.MULTILINE)}
    fresh = {"corpus", "train-crossla", "merge-crossla", "train-mulmed", "merge-mulmed"}
    assert states == {s: "fresh" if s in fresh else "stale" for s in STAGES}
    assert "changed: questions" in out
    assert "generate-base will change" in out
    # 8 examples, 2 at a time
    assert re.search(r"^crossla +8 +[\d,]+ +4 +float32 +\d+\.\d GiB +\d+ (s|min) *$", out, re.MULTILINE), out
    assert sorted((finished.parent / "out").rglob("*")) == before


def test_a_dry_run_before_anything_writes_no_artifact(taught: Path, tmp_path: Path, here: Main) -> None:
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out")
    code, out, _ = here("run", recipe, "--dry-run", "--json")
    assert code == 0
    states = json.loads(out)["stages"]
    assert [s["stage"] for s in states] == STAGES
    assert {s["state"] for s in states} == {"stale"}
    assert not (tmp_path / "out").exists() or [p.name for p in (tmp_path / "out").iterdir()] == [
        ".hashes.json"
    ]


def test_preview_shows_what_is_learned_in_brackets(finished: Path, here: Main) -> None:
    code, out, err = here("preview", finished, "--step", "crossla", "-n", "2")
    assert (code, err) == (0, "")
    assert "\x1b" not in out
    learned = re.findall(r"⟦(.+?)⟧", out, re.DOTALL)
    assert len(learned) == 3  # two examples, and the legend
    assert all(text.endswith("<|im_end|>") for text in learned[:2])
    assert "### Response:\n⟦" in out
    assert "### Instruction:" not in "".join(learned)
    _, text, _ = here("preview", finished, "--step", "mulmed", "--json", "-n", "1")
    for example in json.loads(text)["examples"]:
        spans = example["spans"]
        assert [s["learned"] for s in spans] == [False, True] * (len(spans) // 2)
        assert spans[0]["text"].endswith("### Response:\n")
        assert all(s["text"].endswith("<|im_end|>") for s in spans[1:-1:2])  # the last may be cut
        assert not any("<|im_end|>" in s["text"] for s in spans[::2])


def test_ctrl_c_during_training_and_on_from_there(
    taught: Path, whole: Path, tmp_path: Path, here: Main
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    shutil.copytree(whole / "corpus", out / "corpus")
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, out)
    process = subprocess.Popen(
        command("train", recipe, "--step", "crossla"),
        env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    log = out / "train-crossla.partial" / "log.jsonl"
    deadline = time.monotonic() + 120
    while not log.exists() or '"step": 2,' not in log.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    assert stderr.splitlines()[-1] == "Stopped. The same command goes on from here."
    assert stderr.splitlines()[0].startswith("train-crossla: train the adapter of crossla (running; ")
    assert "Traceback" not in stderr
    assert "done in" not in stderr
    assert "\x1b" not in stderr
    code, _, err = here("train", recipe, "--step", "crossla")
    assert code == 0
    assert "train-crossla: train the adapter of crossla (resuming; it is not there yet)" in err
    resumed = json.loads((out / "train-crossla" / "run.json").read_text())
    assert resumed["resumed_at"] >= 1
    for name in ("adapter_model.safetensors", "log.jsonl"):
        assert (out / "train-crossla" / name).read_bytes() == (whole / "train-crossla" / name).read_bytes()
