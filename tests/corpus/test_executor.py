"""The same result wherever the work is done: here, in processes, after a worker's death, on a Ray cluster."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from mulmed.corpus.executor import executor
from mulmed.errors import MulmedError
from mulmed.recipe import Executor


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


def collects(_: int) -> bool:
    return gc.isenabled()


class DiesOnce:
    """Kills its own process at the chunk 5, the first time."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __call__(self, number: int) -> int:
        if number == 5 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number * number


class AlwaysDies:
    def __call__(self, number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number


def test_one_process_is_this_one(tmp_path: Path) -> None:
    with executor(Executor(processes=1), tmp_path) as workers:
        assert list(workers.map(square, range(3))) == [(n * n, os.getpid()) for n in range(3)]


def gives_the_chunks_back_in_order(where: Executor, tmp_path: Path) -> None:
    with executor(where, tmp_path) as workers:
        done = list(workers.map(square, range(20)))
    assert [value for value, _ in done] == [n * n for n in range(20)]
    assert os.getpid() not in {pid for _, pid in done}


def test_two_processes_keep_the_order_of_the_chunks(tmp_path: Path) -> None:
    gives_the_chunks_back_in_order(Executor(processes=2), tmp_path)


def test_ray_keeps_the_order_of_the_chunks(ray_cluster: str, tmp_path: Path) -> None:
    gives_the_chunks_back_in_order(Executor(ray=ray_cluster), tmp_path)


def folder_seen(folder: Path | None, name: str) -> bool:
    assert folder is not None
    (folder / name).touch()
    return True


def test_processes_share_a_folder_with_this_one_that_goes_when_they_go(
    ray_cluster: str, tmp_path: Path
) -> None:
    with executor(Executor(processes=2), tmp_path) as workers:
        assert workers.folder is not None
        assert all(workers.map(partial(folder_seen, workers.folder), "abcd"))
        assert {path.name for path in workers.folder.iterdir()} >= set("abcd")
    assert not workers.folder.exists()
    for alone in (Executor(processes=1), Executor(ray=ray_cluster)):
        with executor(alone, tmp_path) as workers:
            assert workers.folder is None


KILLED = """
import os, signal, sys
from pathlib import Path
from mulmed.corpus.executor import executor
from mulmed.recipe import Executor

if __name__ == "__main__":
    with executor(Executor(processes=2), Path(sys.argv[1])) as workers:
        (workers.folder / "text").write_text("what a patient wrote")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_texts_only_beside_its_result_and_the_next_one_removes_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "run.py").write_text(KILLED)
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    out.mkdir()
    temporary.mkdir()
    command = [sys.executable, str(tmp_path / "run.py"), str(out)]
    killed = subprocess.run(command, env={**os.environ, "TMPDIR": str(temporary)})
    assert killed.returncode == -signal.SIGKILL
    assert list(temporary.iterdir()) == []
    assert [path.name for path in out.rglob("text")] == ["text"]
    with executor(Executor(processes=2), out):
        assert list(out.rglob("text")) == []
    assert list(out.iterdir()) == []


def test_chunks_are_taken_as_they_are_needed(tmp_path: Path) -> None:
    taken = 0

    def chunks() -> Iterator[int]:
        nonlocal taken
        while taken < 100:
            taken += 1
            yield taken

    with executor(Executor(processes=2), tmp_path) as workers:
        done = workers.map(square, chunks())
        assert next(done)[0] == 1
        assert taken < 10
        assert len(list(done)) == 99


def test_a_few_chunks_are_not_worth_a_process(tmp_path: Path) -> None:
    with executor(Executor(processes=2), tmp_path) as workers:
        assert list(workers.map(square, [3, 4])) == [(9, os.getpid()), (16, os.getpid())]
        assert os.getpid() not in {pid for _, pid in workers.map(square, [3, 4, 5])}
        assert list(workers.map(square, [])) == []


def test_a_killed_worker_takes_nothing_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "died"
    with executor(Executor(processes=2), tmp_path) as workers:
        assert list(workers.map(DiesOnce(mark), range(12))) == [n * n for n in range(12)]
    assert mark.exists()


def test_a_worker_killed_while_the_reader_is_busy_takes_nothing_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "died"

    def chunks() -> Iterator[int]:
        yield from (4, 5, 6)
        while not mark.exists():
            time.sleep(0.1)
        time.sleep(1)  # by now the pool knows, and takes nothing more
        yield from (7, 8)

    with executor(Executor(processes=2), tmp_path) as workers:
        assert list(workers.map(DiesOnce(mark), chunks())) == [n * n for n in range(4, 9)]


def test_a_chunk_that_kills_every_worker_is_told(tmp_path: Path) -> None:
    with (
        executor(Executor(processes=2), tmp_path) as workers,
        pytest.raises(MulmedError, match="died 3 times") as caught,
    ):
        list(workers.map(AlwaysDies(), range(8)))
    assert "corpus.executor.processes" in str(caught.value.remedy)


def test_an_error_of_the_work_itself_arrives_as_it_is(tmp_path: Path) -> None:
    with executor(Executor(processes=2), tmp_path) as workers, pytest.raises(TypeError):
        list(workers.map(square, [1, "two", 3]))  # type: ignore[list-item]


def test_ray_is_not_given_the_whole_corpus_at_once(ray_cluster: str, tmp_path: Path) -> None:
    taken = 0

    def chunks() -> Iterator[int]:
        nonlocal taken
        while taken < 200:
            taken += 1
            yield taken

    with executor(Executor(ray=ray_cluster), tmp_path) as workers:
        done = workers.map(square, chunks())
        assert next(done)[0] == 1
        assert taken < 100
        assert [value for value, _ in done] == [n * n for n in range(2, 201)]


def test_no_collection_disturbs_a_chunk_and_all_go_on_after_it(tmp_path: Path) -> None:
    with executor(Executor(processes=1), tmp_path) as workers:
        assert list(workers.map(collects, range(3))) == [False] * 3
        assert gc.isenabled()
        with pytest.raises(TypeError):
            list(workers.map(square, ["no number"]))  # type: ignore[list-item]
    assert gc.isenabled()


def test_ray_survives_a_killed_worker(ray_cluster: str, tmp_path: Path) -> None:
    mark = tmp_path / "died"
    with executor(Executor(ray=ray_cluster), tmp_path) as workers:
        assert list(workers.map(DiesOnce(mark), range(12))) == [n * n for n in range(12)]
    assert mark.exists()


def test_an_unreachable_cluster_is_told(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray (the extra `cluster`) is not installed")
    with pytest.raises(MulmedError, match="No Ray cluster"), executor(Executor(ray="127.0.0.1:1"), tmp_path):
        pass
