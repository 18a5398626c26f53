"""The stage graph: what is stale and why, in which order, resumed where it stopped."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mulmed.artifact import (
    Artifact,
    adopt,
    disk_errors,
    finish,
    hash_json,
    only_one,
    open_partial,
    read_artifact,
)
from mulmed.errors import MulmedError

#: (label, done, total); total 0 while it is unknown
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step from parents' artifacts to one artifact.

    Attributes:
        name: also the name of its folder.
        title: what it does, for people.
        version: raised when its code changes what it writes.
        parents: stage name -> the files of that artifact it reads (all of them when empty).
        config: its part of the recipe, and hashes of what else decides its bytes.
        volatile: files it writes that hold times or machine facts.
        make: does the work: writes into the folder it is given.
    """

    name: str
    title: str
    version: int
    parents: Mapping[str, tuple[str, ...]]
    config: Mapping[str, Any]
    make: Callable[[Path, Progress], None]
    volatile: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """Whether a stage has to run.

    ``fresh``: its artifact is there and nothing it depends on has changed. ``stale``: it has to run.
    ``resumable``: it has to run and a part of its work is there.
    """

    state: Literal["fresh", "stale", "resumable"]
    reason: str
    key: str | None = None


@dataclass(slots=True)
class Pipeline:
    """A recipe's stages, in an order in which each comes after its parents, in one output folder."""

    root: Path
    stages: Sequence[Stage]
    _statuses: dict[str, Status] = field(default_factory=dict)

    def folder(self, name: str) -> Path:
        """Where the stage's artifact lies or will lie."""
        return self.root / name

    def needed_for(self, targets: Iterable[str]) -> list[Stage]:
        """The named stages and all they depend on, in order.

        Raises:
            MulmedError: there is no such stage.
        """
        by_name = {s.name: s for s in self.stages}
        wanted: set[str] = set()
        todo = list(targets)
        while todo:
            name = todo.pop()
            if name not in by_name:
                raise MulmedError(
                    f"The recipe has no stage {name!r}.",
                    where=str(self.root),
                    remedy="Its stages are: " + ", ".join(by_name),
                )
            if name not in wanted:
                wanted.add(name)
                todo += by_name[name].parents
        return [s for s in self.stages if s.name in wanted]

    def status(self, stage: Stage) -> Status:
        """Whether the stage has to run, looking at manifests only."""
        artifacts: dict[str, Artifact] = {}
        for parent in stage.parents:
            artifact = read_artifact(self.folder(parent))
            if artifact is None:
                return self._not_fresh(stage, f"{parent} is not there yet", None)
            if self._statuses.get(parent, Status("fresh", "")).state != "fresh":
                return self._not_fresh(stage, f"{parent} will change", None)
            artifacts[parent] = artifact
        key = self._key(stage, artifacts)
        artifact = read_artifact(self.folder(stage.name))
        if artifact is None:
            return self._not_fresh(stage, "it is not there yet", key)
        if artifact.manifest["key"] == key:
            return Status("fresh", "", key)
        return self._not_fresh(stage, _difference(stage, artifact, artifacts), key)

    def statuses(self, stages: Sequence[Stage]) -> list[tuple[Stage, Status]]:
        """Status of each, in order; a stage is stale when a parent is."""
        self._statuses.clear()
        for stage in stages:
            self._statuses[stage.name] = self.status(stage)
        return [(s, self._statuses[s.name]) for s in stages]

    def run(
        self,
        targets: Iterable[str],
        *,
        announce: Callable[[Stage, Status], None],
        progress: Callable[[Stage], Progress],
    ) -> list[str]:
        """Bring the targets and all they depend on up to date.

        Returns:
            The names of the stages that ran.
        """
        ran: list[str] = []
        alone = False
        self._statuses.clear()
        with disk_errors(self.root), contextlib.ExitStack() as stack:
            for stage in self.needed_for(targets):
                status = self.status(stage)
                if status.state != "fresh" and not alone:
                    alone = True
                    stack.enter_context(only_one(self.root / ".lock", str(self.root)))
                    status = self.status(stage)  # the other process may just have finished it
                announce(stage, status)
                if status.state != "fresh":
                    self._make(stage, status, progress(stage))
                    ran.append(stage.name)
        return ran

    def _make(self, stage: Stage, status: Status, progress: Progress) -> None:
        assert status.key is not None  # every parent is fresh by now
        folder = self.folder(stage.name)
        if adopt(folder, status.key):
            return
        partial = open_partial(folder, status.key)
        started = time.monotonic()
        stage.make(partial, progress)
        finish(
            partial,
            folder,
            stage=stage.name,
            key=status.key,
            version=stage.version,
            config=stage.config,
            parents={p: self._content(p, files) for p, files in stage.parents.items()},
            volatile=stage.volatile,
            seconds=time.monotonic() - started,
            versions=versions(),
        )

    def _content(self, parent: str, files: tuple[str, ...]) -> str:
        artifact = read_artifact(self.folder(parent))
        assert artifact is not None
        return artifact.content_of(files)

    def _key(self, stage: Stage, artifacts: Mapping[str, Artifact]) -> str:
        return hash_json(
            {
                "stage": stage.name,
                "version": stage.version,
                "config": stage.config,
                "parents": {p: artifacts[p].content_of(files) for p, files in stage.parents.items()},
            }
        )

    def _not_fresh(self, stage: Stage, reason: str, key: str | None) -> Status:
        marker = self.root / f"{stage.name}.partial" / ".key"
        resumable = key is not None and marker.exists() and marker.read_text() == key
        return Status("resumable" if resumable else "stale", reason, key)


def _difference(stage: Stage, artifact: Artifact, parents: Mapping[str, Artifact]) -> str:
    """Why an existing artifact is stale, in words."""
    old = artifact.manifest
    if old["version"] != stage.version:
        return "the stage's code has changed"
    for name, files in stage.parents.items():
        if old["parents"].get(name) != parents[name].content_of(files):
            return f"{name} has changed"
    changed = sorted(_changed_keys(old["config"], dict(stage.config)))
    return "changed: " + ", ".join(changed) if changed else "its inputs have changed"


def _changed_keys(old: Any, new: Any, prefix: str = "") -> Iterable[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _changed_keys(old.get(key), new.get(key), f"{prefix}.{key}" if prefix else str(key))
    elif hash_json(old) != hash_json(new):
        yield prefix


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = ("mulmed", "torch", "transformers", "tokenizers", "safetensors", "polars", "numpy")
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
