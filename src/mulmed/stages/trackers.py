"""The rows of a training log, shown in TensorBoard, MLflow, trackio or Weights & Biases as they come.

The log itself is always written and is what counts. Nothing leaves this machine unless the recipe names a
server, and the libraries' own usage reports are switched off.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import orjson

from mulmed.errors import MulmedError
from mulmed.recipe import Tracker

Track = Callable[[Mapping[str, Any]], None]
#: Takes metrics and the optimizer step.
Log = Callable[[Mapping[str, float], int], None]
#: Takes whether the run went well.
Close = Callable[[bool], None]


def metrics(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a log row under flat names: those of a mapping in it as ``name/key``."""
    flat: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{name}/{key}", inner)
        elif isinstance(value, int | float):
            flat[name] = float(value)

    for name, value in row.items():
        if name == "shares":
            for share in value:
                add(f"share/{share['task']}/{share['language']}", share["share"])
        elif name != "step":
            add(name, value)
    return flat


@contextlib.contextmanager
def tracking(
    tracker: Tracker | None,
    project: str,
    run: str,
    folder: Path,
    facts: Mapping[str, Any],
    tell: Callable[[str], None],
) -> Iterator[Track]:
    """What receives a training step's log rows; without a tracker it does nothing with them.

    A tracker that fails on the way is told of and left out from then on: training goes on. Each start
    of a training is a run of its own in the tracker, with the rows of earlier ones put in first.

    Args:
        project: the tracker's own project name takes its place.
        run: the run's name.
        folder: where what stays on this machine is written.
        facts: settings to show beside the curves.
        tell: receives a line for the user.

    Raises:
        MulmedError: the tracker's package is not installed, or it cannot be opened.
    """
    if tracker is None:
        yield lambda _: None
        return
    try:
        log, close = _OPEN[tracker.kind](tracker, tracker.project or project, run, folder, facts)
    except ImportError as error:
        raise MulmedError(
            f"The tracker {tracker.kind} is not installed.",
            where="tracker",
            remedy=f"pip install 'mulmed[{tracker.kind}]', or leave the key out.",
        ) from error
    except Exception as error:  # four libraries, each with exceptions of its own
        raise MulmedError(
            f"The tracker {tracker.kind} cannot be opened: {_first_line(error)}",
            where="tracker",
            remedy="Check its `uri` and your access to it, or leave the key out.",
        ) from error
    failed = False

    def guarded(action: Callable[[], None]) -> None:
        nonlocal failed
        if failed:
            return
        try:
            action()
        except Exception as error:
            failed = True
            tell(
                f"The tracker {tracker.kind} failed and is left out from here on ({_first_line(error)}); "
                "the training log goes on."
            )

    ended = False
    try:
        yield lambda row: guarded(lambda: log(metrics(row), row["step"]))
        ended = True
    finally:
        guarded(lambda: close(ended))


def _tensorboard(
    tracker: Tracker, project: str, run: str, folder: Path, facts: Mapping[str, Any]
) -> tuple[Log, Close]:
    library = importlib.import_module("torch.utils.tensorboard")
    parent = folder / "tensorboard" if tracker.uri is None else _path(tracker.uri)
    # Rows of an earlier start of the same run are hidden: they come again.
    writer = library.SummaryWriter(log_dir=str(parent / project / run), purge_step=0)
    writer.add_text("recipe", f"```\n{orjson.dumps(facts, option=orjson.OPT_INDENT_2).decode()}\n```", 0)

    def log(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return log, lambda _: writer.close()


def _mlflow(
    tracker: Tracker, project: str, run: str, folder: Path, facts: Mapping[str, Any]
) -> tuple[Log, Close]:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    library = importlib.import_module("mlflow")
    place = (folder / "mlflow").resolve()
    if tracker.uri is None:
        place.mkdir(parents=True, exist_ok=True)
    client = library.MlflowClient(tracking_uri=tracker.uri or f"sqlite:///{place / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(project)
    known = experiment.experiment_id if experiment else client.create_experiment(
        project, artifact_location=place.as_uri() if tracker.uri is None else None
    )  # fmt: skip
    run_id = client.create_run(known, run_name=run).info.run_id
    for name, value in facts.items():
        client.log_param(run_id, name, orjson.dumps(value).decode())

    def log(values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            client.log_metric(run_id, name, value, step=step)

    return log, lambda ended: client.set_terminated(run_id, "FINISHED" if ended else "FAILED")


def _trackio(
    tracker: Tracker, project: str, run: str, folder: Path, facts: Mapping[str, Any]
) -> tuple[Log, Close]:
    if tracker.uri is None:
        # Only the recipe may send anything anywhere, not what happens to be set around it.
        for name in ("TRACKIO_SERVER_URL", "TRACKIO_SPACE_ID", "TRACKIO_WEBHOOK_URL"):
            os.environ.pop(name, None)
        os.environ["TRACKIO_DIR"] = str((folder / "trackio").resolve())  # read when it is first imported
    library = importlib.import_module("trackio")
    with contextlib.redirect_stdout(sys.stderr):  # it prints; standard output may be JSON
        opened = library.init(
            project=project,
            name=run,
            server_url=tracker.uri,
            config=dict(facts),
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def close(_: bool) -> None:
        with contextlib.redirect_stdout(sys.stderr):
            library.finish()

    return lambda values, step: opened.log(dict(values), step=step), close


def _wandb(
    tracker: Tracker, project: str, run: str, folder: Path, facts: Mapping[str, Any]
) -> tuple[Log, Close]:
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    library = importlib.import_module("wandb")
    place = (folder / "wandb").resolve()
    place.mkdir(parents=True, exist_ok=True)
    settings = {
        "console": "off",
        "disable_code": True,
        "disable_git": True,
        "silent": True,
        "x_disable_machine_info": True,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_save_requirements": False,
    }
    opened = library.init(
        project=project,
        name=run,
        dir=str(place),
        config=dict(facts),
        mode="offline" if tracker.uri is None else "online",
        settings=settings if tracker.uri is None else settings | {"base_url": tracker.uri},
    )
    return (
        lambda values, step: opened.log(dict(values), step=step),
        lambda ended: opened.finish(exit_code=0 if ended else 1),
    )


_OPEN = {"tensorboard": _tensorboard, "mlflow": _mlflow, "trackio": _trackio, "wandb": _wandb}


def _path(uri: str) -> Path:
    parts = urlparse(uri)
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(uri)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
