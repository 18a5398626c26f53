"""Trackers show a training's numbers, on this machine unless told otherwise, and never stop it."""

from __future__ import annotations

import importlib.util
import json
import os
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mulmed.errors import MulmedError
from mulmed.recipe import Tracker
from mulmed.stages import trackers
from mulmed.stages.trackers import metrics, tracking
from tests.runs import ENVIRONMENT, ROOT, bring_up_to_date, contents, write_recipe

PACKAGES = {"tensorboard": "tensorboard", "mlflow": "mlflow", "trackio": "trackio", "wandb": "wandb"}
VALIDATION = {
    "step": 0,
    "validation_loss": 3.0,
    "validation_loss_by": {"zh": 3.5},
    "validation_loss_by_group": {"qa": {"zh": 3.5}},
}
ROWS: list[dict[str, Any]] = [
    VALIDATION,
    {"step": 1, "loss": 2.5, "learning_rate": 1e-4, "tokens": 120},
    {"step": 2, "loss": 2.25, "learning_rate": 5e-5, "tokens": 80},
    {"step": 2, "kept": 2, "shares": [{"task": "qa", "language": "zh", "share": 0.6, "seen": 9}]},
]


def test_a_row_as_flat_numbers() -> None:
    assert metrics(VALIDATION) == {
        "validation_loss": 3.0, "validation_loss_by/zh": 3.5, "validation_loss_by_group/qa/zh": 3.5,
    }  # fmt: skip
    assert metrics(ROWS[-1]) == {"kept": 2.0, "share/qa/zh": 0.6}


def test_no_tracker_is_no_tracker(tmp_path: Path) -> None:
    with tracking(None, "p", "r", tmp_path / "t", {}, lambda _: None) as track:
        track(ROWS[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_tracker_that_is_not_installed_is_told(
    kind: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[kind], None)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    with (
        pytest.raises(MulmedError, match=f"{kind} is not installed") as caught,
        tracking(Tracker(kind=kind), "p", "r", tmp_path, {}, lambda _: None),
    ):
        raise AssertionError("it trained")
    assert f"pip install 'mulmed[{kind}]'" in caught.value.remedy


def test_a_tracker_that_fails_is_left_out_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged, told = [], []

    def opened(*_: Any) -> Any:
        def log(values: Mapping[str, float], step: int) -> None:
            logged.append(step)
            if step:
                raise ConnectionError("the server is away\nand stays away")

        return log, lambda ended: logged.append(-1)

    monkeypatch.setitem(trackers._OPEN, "mlflow", opened)
    with tracking(Tracker(kind="mlflow"), "p", "r", tmp_path, {}, told.append) as track:
        for row in ROWS:
            track(row)
    assert logged == [0, 1]
    assert told == [
        "The tracker mlflow failed and is left out from here on (the server is away); the training log goes on."
    ]


#: Logs the rows, and writes down every address that was asked for.
TRACK = """
import json, sys
asked = []
def look(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        asked.append(str(arguments[1][0]))
    if event == "socket.getaddrinfo":
        asked.append(str(arguments[0]))
sys.addaudithook(look)
from pathlib import Path
from mulmed.recipe import Tracker
from mulmed.stages.trackers import tracking
kind, folder, rows = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
told = []
with tracking(Tracker(kind=kind), "project", "crossla", folder, {"step": "crossla", "lora": {"r": 8}}, told.append) as track:
    for row in rows:
        track(row)
asked = [a for a in asked if a not in ("127.0.0.1", "::1", "localhost", "0.0.0.0")]
(folder / "asked.json").write_text(json.dumps({"asked": asked, "told": told}))
"""


@pytest.mark.parametrize("kind", PACKAGES)
def test_what_a_tracker_shows_stays_on_this_machine(kind: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(PACKAGES[kind]) is None:
        pytest.skip(f"{kind} is not installed: pip install 'mulmed[{kind}]'")
    folder = tmp_path / "tracking"
    # Servers that happen to be set around it, and credentials for them, must not be used.
    elsewhere = {
        "MLFLOW_TRACKING_URI": "http://192.0.2.1:5000",
        "TRACKIO_SERVER_URL": "http://192.0.2.1:7860",
        "WANDB_BASE_URL": "http://192.0.2.1:8080",
        "WANDB_API_KEY": "0" * 40,
        "HOME": str(tmp_path / "home"),
    }
    environment = {k: v for k, v in ENVIRONMENT.items() if k != "HF_HUB_OFFLINE"} | elsewhere
    done = subprocess.run(
        [sys.executable, "-c", TRACK, kind, folder, json.dumps(ROWS)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""  # a terminal, or JSON, is there
    assert json.loads((folder / "asked.json").read_text()) == {"asked": [], "told": []}
    assert READ[kind](folder) == [(1, 2.5), (2, 2.25)]


def read_tensorboard(folder: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard" / "project" / "crossla"))
    events.Reload()
    assert events.Scalars("validation_loss_by_group/qa/zh")[0].value == 3.5
    assert events.Scalars("share/qa/zh")[0].value == pytest.approx(0.6)
    return [(e.step, e.value) for e in events.Scalars("loss")]


def read_mlflow(folder: Path) -> list[tuple[int, float]]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("project")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("crossla", "FINISHED")
    assert run.data.params == {"step": '"crossla"', "lora": '{"r":8}'}
    assert client.get_metric_history(run.info.run_id, "share/qa/zh")[0].value == 0.6
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "loss")]


def read_trackio(folder: Path) -> list[tuple[int, float]]:
    import sqlite3

    (database,) = (folder / "trackio").glob("project*.db")
    with sqlite3.connect(database) as connection:
        rows = connection.execute("SELECT step, metrics FROM metrics ORDER BY step").fetchall()
    return [(step, json.loads(values)["loss"]) for step, values in rows if "loss" in json.loads(values)]


def read_wandb(folder: Path) -> list[tuple[int, float]]:
    from wandb.proto import wandb_internal_pb2

    (file,) = (folder / "wandb").glob("wandb/offline-run-*/*.wandb")
    data, found = file.read_bytes()[7:], []
    while data:  # LevelDB's log format: checksum, length and kind of a chunk, and the chunk
        _, length, whole = struct.unpack("<IHB", data[:7])
        assert whole == 1  # cut into several only at every 32 KiB
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data[7 : 7 + length])
        data = data[7 + length :]
        values = {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item}
        if "loss" in values:
            found.append((values["_step"], values["loss"]))
    return found


READ = {
    "tensorboard": read_tensorboard,
    "mlflow": read_mlflow,
    "trackio": read_trackio,
    "wandb": read_wandb,
}


def test_a_tracker_changes_nothing_in_what_is_made(
    whole: Path, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the recipe: it gets the numbers of both steps, no record's id or text, and no key changes."""
    seen: list[tuple[str, Any]] = []

    def opened(tracker: Tracker, project: str, run: str, folder: Path, facts: Mapping[str, Any]) -> Any:
        seen.append((run, [project, str(folder), dict(facts)]))
        return lambda values, step: seen.append((run, [step, dict(values)])), lambda _: None

    monkeypatch.setitem(trackers._OPEN, "tensorboard", opened)
    recipe = write_recipe(tmp_path / "recipe.yaml", taught, tmp_path / "out", {"tracker": "tensorboard"})
    bring_up_to_date(recipe, targets=("train-crossla",))
    name, (project, folder, facts) = seen[0]
    assert (name, project, folder) == ("crossla", "tiny", str(tmp_path / "out" / "tracking"))
    assert (facts["step"], facts["lora"]["r"]) == ("crossla", 8)
    log = [json.loads(x) for x in (tmp_path / "out/train-crossla/log.jsonl").read_text().splitlines()]
    assert [v["loss"] for _, (_, v) in seen[1:] if "loss" in v] == [r["loss"] for r in log if "loss" in r]
    assert all(isinstance(v, float) for _, (_, values) in seen[1:] for v in values.values())
    assert contents(tmp_path / "out") == {
        stage: content for stage, content in contents(whole).items() if stage in ("corpus", "train-crossla")
    }
