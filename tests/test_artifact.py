"""Artifacts: a folder with its final name is whole, whatever happened while it was made."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.artifact import (
    MANIFEST,
    Artifact,
    FileHashes,
    adopt,
    damaged_files,
    disk_errors,
    finish,
    hash_json,
    only_one,
    open_partial,
    read_artifact,
    write_atomic,
    write_json,
)
from mulmed.errors import MulmedError


def make(folder: Path, files: dict[str, bytes], key: str = "k", volatile: tuple[str, ...] = ()) -> Artifact:
    partial = open_partial(folder, key)
    for name, data in files.items():
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_bytes(data)
    return finish(
        partial,
        folder,
        stage="s",
        key=key,
        version=3,
        config={"a": 1},
        parents={"p": "c0"},
        volatile=volatile,
        seconds=1.23456,
        versions={"python": "3"},
    )


def test_a_manifest_says_what_is_there_and_from_what(tmp_path: Path) -> None:
    artifact = make(
        tmp_path / "a", {"x.txt": b"one", "in/y.txt": b"", "run.json": b"{}"}, volatile=("run.json",)
    )
    manifest = orjson.loads((tmp_path / "a" / MANIFEST).read_bytes())
    digest = hashlib.sha256(b"one").hexdigest()
    empty = hashlib.sha256(b"").hexdigest()
    assert manifest == {
        "stage": "s",
        "key": "k",
        "version": 3,
        "config": {"a": 1},
        "parents": {"p": "c0"},
        "files": {"in/y.txt": {"sha256": empty, "bytes": 0}, "x.txt": {"sha256": digest, "bytes": 3}},
        "volatile": ["run.json"],
        "content": hash_json({"x.txt": digest, "in/y.txt": empty}),
        "seconds": 1.235,
        "versions": {"python": "3"},
    }
    read = read_artifact(tmp_path / "a")
    assert read is not None
    assert read.content == artifact.content == manifest["content"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["in", MANIFEST, "run.json", "x.txt"]


def test_content_depends_on_names_and_bytes_but_not_on_what_is_volatile(tmp_path: Path) -> None:
    one = make(tmp_path / "1", {"x": b"1", "run.json": b"a"}, volatile=("run.json",))
    two = make(tmp_path / "2", {"x": b"1", "run.json": b"b"}, key="other", volatile=("run.json",))
    assert one.content == two.content
    assert make(tmp_path / "3", {"y": b"1"}).content != one.content
    assert make(tmp_path / "4", {"x": b"2"}).content != one.content
    more = make(tmp_path / "5", {"x": b"1", "y": b"2"})
    assert more.content_of(("x",)) == one.content_of(("x",))
    assert more.content_of(()) == more.content != one.content


@pytest.mark.parametrize(
    "damage", ["remove", "cut", "grow", "no manifest", "cut manifest", "odd manifest", "run"]
)
def test_a_damaged_artifact_is_none(tmp_path: Path, damage: str) -> None:
    folder = make(
        tmp_path / "a", {"x": b"one", "in/y": b"two", "run.json": b"1"}, volatile=("run.json",)
    ).path
    assert read_artifact(folder) is not None
    manifest = (folder / MANIFEST).read_bytes()
    match damage:
        case "remove":
            (folder / "in" / "y").unlink()
        case "cut":
            (folder / "x").write_bytes(b"on")
        case "grow":
            (folder / "x").write_bytes(b"ones")
        case "no manifest":
            (folder / MANIFEST).unlink()
        case "cut manifest":
            (folder / MANIFEST).write_bytes(manifest[:-20])
        case "odd manifest":
            (folder / MANIFEST).write_bytes(b"[]")
        case "run":  # not hashed, but the report and the user want it
            (folder / "run.json").unlink()
    assert read_artifact(folder) is None


def test_changed_bytes_of_the_same_length_are_found_when_everything_is_read(tmp_path: Path) -> None:
    artifact = make(tmp_path / "a", {"x": b"one", "y": b"two"})
    assert damaged_files(artifact) == []
    (artifact.path / "y").write_bytes(b"owt")
    assert damaged_files(artifact) == ["y"]


def test_work_with_the_same_key_is_kept_and_other_work_is_removed(tmp_path: Path) -> None:
    (open_partial(tmp_path / "a", "k1") / "half").write_text("x")
    assert (open_partial(tmp_path / "a", "k1") / "half").exists()
    assert not (open_partial(tmp_path / "a", "k2") / "half").exists()
    partial = open_partial(tmp_path / "a", "k2")
    (partial / "half").write_text("x")
    (partial / ".key").unlink()  # whose work this is nobody knows
    assert not (open_partial(tmp_path / "a", "k2") / "half").exists()


def test_a_new_version_replaces_the_old_one_whole(tmp_path: Path) -> None:
    make(tmp_path / "a", {"x": b"one", "only-old": b""})
    make(tmp_path / "a", {"x": b"two"}, key="k2")
    artifact = read_artifact(tmp_path / "a")
    assert artifact is not None
    assert artifact.manifest["key"] == "k2"
    assert (tmp_path / "a" / "x").read_bytes() == b"two"
    assert not (tmp_path / "a" / "only-old").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_run_killed_between_the_two_renames_is_taken_up(tmp_path: Path) -> None:
    make(tmp_path / "a", {"x": b"one"})
    make(tmp_path / "new", {"x": b"two"}, key="k2")
    (tmp_path / "a").rename(tmp_path / "a.old")
    (tmp_path / "new").rename(tmp_path / "a.partial")
    assert read_artifact(tmp_path / "a") is None
    assert adopt(tmp_path / "a", "k3") is None  # whole, but not what is wanted now
    adopted = adopt(tmp_path / "a", "k2")
    assert adopted is not None
    assert adopted.path == tmp_path / "a"
    assert (tmp_path / "a" / "x").read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert adopt(tmp_path / "a", "k2") is None  # nothing left to take up


def test_what_is_half_written_is_not_taken_up(tmp_path: Path) -> None:
    partial = open_partial(tmp_path / "a", "k")
    assert adopt(tmp_path / "a", "k") is None
    write_json(partial / MANIFEST, {"key": "k", "files": {"x": {"bytes": 3}}, "volatile": []})
    (partial / "x").write_bytes(b"on")
    assert adopt(tmp_path / "a", "k") is None
    assert not (tmp_path / "a").exists()


# --- hashes of input files ---------------------------------------------------------------------------


def test_hashes_are_remembered_until_a_file_changes(tmp_path: Path) -> None:
    file, store = tmp_path / "x", tmp_path / "out" / ".hashes.json"
    file.write_bytes(b"one")
    hashes = FileHashes(store)
    assert hashes(file) == hashlib.sha256(b"one").hexdigest()
    hashes.save()
    stat = file.stat()
    file.write_bytes(b"two")  # the same length...
    assert FileHashes(store)(file) == hashlib.sha256(b"two").hexdigest()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # ...and, forged, the same time: not read again
    assert FileHashes(store)(file) == hashlib.sha256(b"one").hexdigest()


@pytest.mark.parametrize("text", ["", "[]", '{"x"', '{"FILE": 3}', '{"FILE": [3]}'])
def test_a_damaged_store_of_hashes_is_forgotten(tmp_path: Path, text: str) -> None:
    file, store = tmp_path / "x", tmp_path / "hashes.json"
    file.write_bytes(b"one")
    store.write_text(text.replace("FILE", str(file)))
    assert FileHashes(store)(file) == hashlib.sha256(b"one").hexdigest()


def test_hashes_that_cannot_be_kept_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"one")
    hashes = FileHashes(tmp_path / "x" / "below a file" / ".hashes.json")
    hashes(tmp_path / "x")
    hashes.save()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(value=st.dictionaries(st.text(), json_values))
def test_the_order_of_keys_does_not_change_a_hash(value: dict[str, object]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert hash_json(value) == hash_json(backwards)
    assert hash_json(value) != hash_json(value | {"one more": 1})


# --- disks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/out/x"), "No space left on device"),
        (OSError(errno.EROFS, "Read-only file system", "/out/x"), "Read-only file system"),
        (PermissionError(errno.EACCES, "Permission denied", "/out/x"), "Permission denied"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "/out/x"), "Not a directory"),
        (FileExistsError(errno.EEXIST, "File exists", "/out/x"), "File exists"),
        # as Rust libraries (safetensors, tokenizers, polars) tell it
        (RuntimeError("I/O error: No space left on device (os error 28)"), "No space left on device"),
    ],
)
def test_errors_of_the_disk_become_one_message(error: Exception, words: str) -> None:
    with pytest.raises(MulmedError) as caught, disk_errors(Path("/out")):
        raise error
    assert words in caught.value.what
    assert caught.value.where.startswith("/out")
    assert "output" in caught.value.remedy


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "no"), ValueError("os"), MulmedError("x")])
def test_other_errors_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, disk_errors(Path("/out")):
        raise error
    assert caught.value is error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "none", folder], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    write_atomic(small_disk / "x", b"old")
    with pytest.raises(OSError, match="No space left"):
        write_atomic(small_disk / "x", b"new" * 40_000)
    assert (small_disk / "x").read_bytes() == b"old"


def test_a_full_disk_leaves_the_old_artifact(small_disk: Path) -> None:
    make(small_disk / "a", {"x": b"old"})
    with pytest.raises(OSError, match="No space left"):
        make(small_disk / "a", {"x": b"new" * 40_000}, key="k2")
    artifact = read_artifact(small_disk / "a")
    assert artifact is not None
    assert artifact.manifest["key"] == "k"
    shutil.rmtree(small_disk / "a.partial")


def test_one_run_at_a_time(tmp_path: Path) -> None:
    with only_one(tmp_path / "new" / ".lock", "out"), pytest.raises(MulmedError, match=r"[Aa]nother"):  # noqa: SIM117
        with only_one(tmp_path / "new" / ".lock", "out"):
            pass
    with only_one(tmp_path / "new" / ".lock", "out"):
        pass  # the first has gone
