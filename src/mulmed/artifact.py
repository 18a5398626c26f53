"""A folder with a manifest: what a stage wrote, from what, and how to know it is whole.

A stage writes into ``NAME.partial``. The manifest is written last and the folder renamed, so a folder
called ``NAME`` with a manifest is always complete, whatever was killed when.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from mulmed.errors import MulmedError

MANIFEST = "manifest.json"
PARTIAL_KEY = ".key"


def hash_bytes(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def hash_json(value: Any) -> str:
    """SHA-256 of a value's canonical JSON (sorted keys)."""
    return hash_bytes(orjson.dumps(value, option=orjson.OPT_SORT_KEYS))


def hash_file(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileHashes:
    """Hashes of large input files, remembered by path, size and modification time.

    Hashing a 13 GB model takes a minute; asking whether anything changed must not.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._known: dict[str, list[Any]] = {}
        self._changed = False
        with contextlib.suppress(OSError, orjson.JSONDecodeError):
            known = orjson.loads(store.read_bytes())
            self._known = known if isinstance(known, dict) else {}

    def __call__(self, path: Path) -> str:
        stat = path.stat()
        stamp = [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(str(path))
        if isinstance(known, list) and known[:2] == stamp:
            return str(known[2])
        digest = hash_file(path)
        self._known[str(path)] = [*stamp, digest]
        self._changed = True
        return digest

    def save(self) -> None:
        """Write what was learned, if anything was and it can be written: it only saves time."""
        if self._changed:
            with contextlib.suppress(OSError):
                self._store.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(self._store, orjson.dumps(self._known, option=orjson.OPT_SORT_KEYS))
            self._changed = False


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that it is either whole or absent, also after a power cut."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Canonical, readable JSON (sorted keys, two spaces), written atomically."""
    option = orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    write_atomic(path, orjson.dumps(value, option=option) + b"\n")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A finished stage's folder and its manifest.

    Manifest keys: ``stage``, ``key`` (hash of all that could change its bytes), ``version`` (of the
    stage's code), ``config``, ``parents`` ({name: content hash}), ``files`` ({name: {sha256, bytes}}),
    ``volatile`` (files whose bytes hold times or machine facts, and so are not hashed), ``content``
    (hash over the names and hashes of ``files``), ``seconds`` and ``versions``.
    """

    path: Path
    manifest: Mapping[str, Any]

    @property
    def content(self) -> str:
        """Hash of the artifact's reproducible bytes: what its children depend on."""
        return str(self.manifest["content"])

    def content_of(self, names: tuple[str, ...]) -> str:
        """Hash over some of its files only; all of them when ``names`` is empty."""
        if not names:
            return self.content
        return hash_json({n: self.manifest["files"][n]["sha256"] for n in names})


def read_artifact(folder: Path) -> Artifact | None:
    """The artifact in ``folder``; None when there is none, or it is damaged (a file missing or cut)."""
    try:
        manifest = orjson.loads((folder / MANIFEST).read_bytes())
        for name, entry in manifest["files"].items():
            if (folder / name).stat().st_size != entry["bytes"]:
                return None
        if not all((folder / name).exists() for name in manifest["volatile"]):
            return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError):
        return None
    return Artifact(folder, manifest)


def damaged_files(artifact: Artifact) -> list[str]:
    """Names of files whose bytes no longer are those of the manifest (reads everything)."""
    return [
        name
        for name, entry in artifact.manifest["files"].items()
        if hash_file(artifact.path / name) != entry["sha256"]
    ]


def open_partial(folder: Path, key: str) -> Path:
    """The folder in which the artifact ``folder`` is being made.

    What an interrupted run with the same key left there is kept, so that work can be resumed; anything
    else is removed.
    """
    partial = folder.with_name(folder.name + ".partial")
    marker = partial / PARTIAL_KEY
    if partial.exists() and (not marker.exists() or marker.read_text() != key):
        shutil.rmtree(partial)
    partial.mkdir(parents=True, exist_ok=True)
    write_atomic(marker, key.encode())
    return partial


def finish(
    partial: Path,
    folder: Path,
    *,
    stage: str,
    key: str,
    version: int,
    config: Any,
    parents: Mapping[str, str],
    volatile: tuple[str, ...],
    seconds: float,
    versions: Mapping[str, str],
) -> Artifact:
    """Write the manifest and put the finished folder in its place, replacing an older one."""
    files = {}
    for path in _files(partial):
        name = path.relative_to(partial).as_posix()
        if name in (PARTIAL_KEY, MANIFEST) or name in volatile:
            continue
        files[name] = {"sha256": hash_file(path), "bytes": path.stat().st_size}
    manifest = {
        "stage": stage,
        "key": key,
        "version": version,
        "config": config,
        "parents": dict(parents),
        "files": files,
        "volatile": [name for name in volatile if (partial / name).exists()],
        "content": hash_json({name: entry["sha256"] for name, entry in files.items()}),
        "seconds": round(seconds, 3),
        "versions": dict(versions),
    }
    write_json(partial / MANIFEST, manifest)
    _put_in_place(partial, folder)
    return Artifact(folder, manifest)


def adopt(folder: Path, key: str) -> Artifact | None:
    """The artifact of an earlier run with this key that was killed when only the renaming was left."""
    partial = folder.with_name(folder.name + ".partial")
    artifact = read_artifact(partial)
    if artifact is None or artifact.manifest["key"] != key:
        return None
    _put_in_place(partial, folder)
    return Artifact(folder, artifact.manifest)


def _put_in_place(partial: Path, folder: Path) -> None:
    (partial / PARTIAL_KEY).unlink(missing_ok=True)
    # Two renames: at no moment does a half-removed folder carry the final name.
    old = folder.with_name(folder.name + ".old")
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.replace(old)
    partial.replace(folder)
    shutil.rmtree(old, ignore_errors=True)


def _files(folder: Path) -> Iterator[Path]:
    yield from (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.endswith(".tmp"))


#: What the system says of a full, read-only, broken or forbidden disk, or of a file in a folder's place.
_DISK_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM,
    errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG,
)  # fmt: skip


@contextlib.contextmanager
def disk_errors(where: Path, setting: str = "`output:`") -> Iterator[None]:
    """Turn the system's disk errors into a message a user can act on.

    Args:
        where: the folder that is written to.
        setting: what chooses another one.
    """
    try:
        yield
    except Exception as error:
        # Libraries written in Rust have their own exceptions, with the system's number in the text.
        told = re.search(r"os error (\d+)", str(error))
        number = error.errno if isinstance(error, OSError) and error.errno else told and int(told[1])
        if number not in _DISK_ERRORS or isinstance(error, MulmedError):
            raise
        raise MulmedError(
            f"Writing failed: {os.strerror(number)}.",
            where=str(getattr(error, "filename", None) or where),
            remedy=f"Free some space or choose another folder with {setting}; the same command goes on "
            "from where it stopped.",
        ) from error


@contextlib.contextmanager
def only_one(lock: Path, work: str, *, wait: bool = False) -> Iterator[None]:
    """Let one process at a time do ``work``; the lock ends with its process, however that ends.

    Raises:
        MulmedError: another process is at it, and ``wait`` is not set.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MulmedError(
                "Another process is at work here.",
                where=work,
                remedy="Wait until it has ended, or choose another folder with `output:`.",
            ) from error
        yield
