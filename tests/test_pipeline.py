"""The stage graph: what depends on a change runs again, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mulmed.artifact import only_one, open_partial, read_artifact
from mulmed.errors import MulmedError
from mulmed.pipeline import Pipeline, Progress, Stage


def writes(name: str, text: str = "") -> Callable[[Path, Progress], None]:
    def make(out: Path, progress: Progress) -> None:
        progress("writing", 1, 1)
        (out / "main.txt").write_text(f"{name} {text}")
        (out / "side.txt").write_text(f"side of {name}")
        (out / "run.json").write_text("{}")

    return make


def stage(name: str, parents: dict[str, tuple[str, ...]] | None = None, **config: Any) -> Stage:
    return Stage(
        name=name,
        title=f"make {name}",
        version=1,
        parents=parents or {},
        config=config,
        make=writes(name, str(config)),
        volatile=("run.json",),
    )


#: d needs b and c, which need a; c reads only a's side.txt.
def diamond(**config: dict[str, Any]) -> list[Stage]:
    return [
        stage("a", **config.get("a", {})),
        stage("b", {"a": ()}, **config.get("b", {})),
        stage("c", {"a": ("side.txt",)}, **config.get("c", {})),
        stage("d", {"b": (), "c": ()}, **config.get("d", {})),
    ]


def run(root: Path, stages: list[Stage], *targets: str) -> list[str]:
    return Pipeline(root, stages).run(
        targets or ("d",), announce=lambda *_: None, progress=lambda _: lambda label, done, total: None
    )


def states(root: Path, stages: list[Stage]) -> dict[str, tuple[str, str]]:
    return {s.name: (st.state, st.reason) for s, st in Pipeline(root, stages).statuses(stages)}


def test_everything_runs_once_in_order(tmp_path: Path) -> None:
    assert run(tmp_path, diamond()) == ["a", "b", "c", "d"]
    assert run(tmp_path, diamond()) == []
    assert set(states(tmp_path, diamond()).values()) == {("fresh", "")}


def test_only_what_a_target_needs(tmp_path: Path) -> None:
    assert run(tmp_path, diamond(), "c") == ["a", "c"]
    assert run(tmp_path, diamond(), "b", "c") == ["b"]
    with pytest.raises(MulmedError, match="no stage 'e'") as caught:
        run(tmp_path, diamond(), "e")
    assert caught.value.remedy == "Its stages are: a, b, c, d"


@pytest.mark.parametrize(
    ("changed", "ran"),
    # c reads only a's side.txt; b, made again, says what it said before, so d is left alone
    [("d", ["d"]), ("b", ["b", "d"]), ("c", ["c", "d"]), ("a", ["a", "b"])],
)
def test_a_change_runs_what_depends_on_it(tmp_path: Path, changed: str, ran: list[str]) -> None:
    run(tmp_path, diamond())
    assert run(tmp_path, diamond(**{changed: {"x": 1}})) == ran
    assert run(tmp_path, diamond(**{changed: {"x": 1}})) == []


def test_a_change_that_leaves_the_bytes_stops_there(tmp_path: Path) -> None:
    run(tmp_path, diamond())
    stages = diamond(a={"x": 1})
    stages[0] = replace(stages[0], make=writes("a", "{}"))  # another setting, the same bytes
    assert run(tmp_path, stages) == ["a"]


def test_a_new_version_of_the_code_runs_again(tmp_path: Path) -> None:
    run(tmp_path, diamond())
    stages = diamond()
    stages[1] = replace(stages[1], version=2)
    assert states(tmp_path, stages)["b"] == ("stale", "the stage's code has changed")
    assert run(tmp_path, stages) == ["b"]  # which wrote the same


def test_reasons(tmp_path: Path) -> None:
    assert states(tmp_path, diamond()) == {
        "a": ("stale", "it is not there yet"),
        "b": ("stale", "a is not there yet"),
        "c": ("stale", "a is not there yet"),
        "d": ("stale", "b is not there yet"),
    }
    run(tmp_path, diamond(a={"rate": 1, "lora": {"r": 8}}))
    assert states(tmp_path, diamond(a={"rate": 2, "lora": {"r": 4}, "new": 1})) == {
        "a": ("stale", "changed: lora.r, new, rate"),
        "b": ("stale", "a will change"),
        "c": ("stale", "a will change"),
        "d": ("stale", "b will change"),
    }
    assert run(tmp_path, diamond(a={"rate": 2}), "a") == ["a"]
    assert states(tmp_path, diamond(a={"rate": 2}))["b"] == ("stale", "a has changed")


@pytest.mark.parametrize("name", ["main.txt", "run.json"])
def test_a_damaged_artifact_is_made_again(tmp_path: Path, name: str) -> None:
    run(tmp_path, diamond())
    (tmp_path / "a" / name).unlink()
    assert run(tmp_path, diamond()) == ["a"]  # its bytes are the same again, so nothing else has to
    assert (tmp_path / "a" / name).exists()
    (tmp_path / "b" / "main.txt").write_text("")
    assert run(tmp_path, diamond()) == ["b"]


def test_a_failed_stage_leaves_no_artifact_and_its_work(tmp_path: Path) -> None:
    def fail(out: Path, progress: Progress) -> None:
        del progress
        (out / "half.txt").write_text("x" * (1 + len(list(out.glob("half.txt")))))
        raise MulmedError("no")

    stages = diamond()
    stages[1] = replace(stages[1], make=fail)
    with pytest.raises(MulmedError, match="no"):
        run(tmp_path, stages)
    assert read_artifact(tmp_path / "a") is not None
    assert not (tmp_path / "b").exists()
    assert not (tmp_path / "c").exists()
    assert states(tmp_path, stages)["b"] == ("resumable", "it is not there yet")
    assert (tmp_path / "b.partial" / "half.txt").exists()
    # With other settings the half that is there is of no use.
    assert states(tmp_path, diamond(b={"x": 1}))["b"] == ("stale", "it is not there yet")
    assert run(tmp_path, diamond(b={"x": 1})) == ["b", "c", "d"]
    assert not (tmp_path / "b" / "half.txt").exists()
    assert not (tmp_path / "b.partial").exists()


def test_a_change_back_and_forth_keeps_the_unfinished_old_work_apart(tmp_path: Path) -> None:
    """An older artifact stays in place and readable until the new one is whole."""
    run(tmp_path, diamond())

    def stop(out: Path, progress: Progress) -> None:
        del out, progress
        raise KeyboardInterrupt

    stages = diamond(b={"x": 1})
    stages[1] = replace(stages[1], make=stop)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stages)
    assert (tmp_path / "b" / "main.txt").read_text() == "b {}"
    assert run(tmp_path, diamond()) == []


def test_a_run_killed_before_the_last_rename_does_not_work_again(tmp_path: Path) -> None:
    run(tmp_path, diamond())
    (tmp_path / "d").rename(tmp_path / "d.partial")
    before = (tmp_path / "d.partial" / "manifest.json").stat().st_mtime_ns
    run(tmp_path, diamond())
    assert (tmp_path / "d" / "manifest.json").stat().st_mtime_ns == before
    assert run(tmp_path, diamond()) == []


def test_an_output_folder_can_be_moved(tmp_path: Path) -> None:
    run(tmp_path / "here", diamond())
    (tmp_path / "here").rename(tmp_path / "there")
    assert run(tmp_path / "there", diamond()) == []


def test_a_second_process_waits_its_turn_but_may_read(tmp_path: Path) -> None:
    run(tmp_path, diamond())
    with only_one(tmp_path / ".lock", str(tmp_path)):
        assert run(tmp_path, diamond()) == []
        with pytest.raises(MulmedError, match="Another process") as caught:
            run(tmp_path, diamond(d={"x": 1}))
        assert caught.value.where == str(tmp_path)
    assert run(tmp_path, diamond(d={"x": 1})) == ["d"]


def test_the_artifact_another_process_has_just_finished_is_taken(tmp_path: Path) -> None:
    """It became fresh between the first look and the lock: the other stages still run, once."""
    stages = diamond()
    pipeline = Pipeline(tmp_path, stages)
    looked: list[str] = []
    status = pipeline.status

    class Late(Pipeline):
        def status(self, stage: Stage) -> Any:
            found = status(stage)
            if not looked:
                looked.append(stage.name)
                run(tmp_path, diamond(), "a")  # the other process, between look and lock
            return found

    late = Late(tmp_path, stages)
    ran = late.run(["d"], announce=lambda *_: None, progress=lambda _: lambda label, done, total: None)
    assert ran == ["b", "c", "d"]


@pytest.mark.parametrize("kind", ["a file", "below a file"])
def test_an_output_that_is_no_folder(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("mine")
    root = tmp_path / "file" if kind == "a file" else tmp_path / "file" / "out"
    with pytest.raises(MulmedError, match="Writing failed") as caught:
        run(root, diamond())
    assert str(tmp_path / "file") in caught.value.where
    assert (tmp_path / "file").read_text() == "mine"


def test_progress_and_announcements(tmp_path: Path) -> None:
    told: list[tuple[str, ...]] = []
    run(tmp_path, diamond(), "a")
    Pipeline(tmp_path, diamond()).run(
        ["b"],
        announce=lambda s, st: told.append((s.name, st.state)),
        progress=lambda s: lambda label, done, total: told.append((s.name, label)),
    )
    assert told == [("a", "fresh"), ("b", "stale"), ("b", "writing")]


def test_a_marker_of_other_work_is_not_resumable(tmp_path: Path) -> None:
    open_partial(tmp_path / "a", "some other key")
    assert states(tmp_path, diamond())["a"] == ("stale", "it is not there yet")
