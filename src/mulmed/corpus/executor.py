"""Where chunks of the corpus are worked on: in this process, in a pool of them, or on a Ray cluster.

Whatever the place, results come back in the order of the chunks, and a worker that dies takes nothing
with it: its chunks are done again.
"""

from __future__ import annotations

import gc
import itertools
import logging
import multiprocessing
import os
import pickle
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mulmed.cluster import connected
from mulmed.errors import MulmedError
from mulmed.recipe import Executor

Chunk = TypeVar("Chunk")
Done = TypeVar("Done")
#: A chunk whose worker dies so many times kills its workers itself.
_ATTEMPTS = 3
#: Chunks handed out beyond the number of workers, so that none waits for the reader.
_AHEAD = 2
#: So few chunks are done sooner here than workers are started.
_FEW = 2
#: Chunks that a Ray cluster is given at a time, for each of its processors: not the whole corpus at once.
_RAY_AHEAD = 16


class Mapping(Protocol):
    """Applies a function that can be pickled to every chunk; results in the chunks' order."""

    def __call__(self, function: Callable[[Chunk], Done], chunks: Iterable[Chunk]) -> Iterator[Done]: ...


@dataclass(frozen=True, slots=True)
class Workers:
    """Those who do the work.

    Attributes:
        map: gives them their chunks.
        folder: for files that one of them writes and all of them, and this process, can read; ``None`` where
            nobody but this process works, or not all of them are on this machine.
    """

    map: Mapping
    folder: Path | None = None


@contextmanager
def executor(settings: Executor, out: Path) -> Iterator[Workers]:
    """The workers that a recipe asks for; they and their folder end with the block.

    Their folder lies in ``out``, where the texts they hand over belong anyway: what a killed run leaves is then in no place
    that everybody reads, and the next run there removes it.

    Raises:
        MulmedError: Ray is asked for and not installed or not reachable, or (while mapping) the same
            chunk broke its worker three times.
    """
    if settings.ray is not None:
        with connected(settings.ray, "corpus.executor.ray"):
            yield Workers(_ray_map)
        return
    processes = settings.processes or len(os.sched_getaffinity(0))
    if processes == 1:
        yield Workers(lambda function, chunks: map(partial(_undisturbed, function), chunks))
        return
    folder = out / "workers"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pool = _Pool(processes, folder)
    try:
        yield Workers(pool.map, folder)
    finally:
        pool.close()
        shutil.rmtree(folder, ignore_errors=True)


class _Pool:
    """Processes that are started for more than a few chunks, and again when one of them dies."""

    def __init__(self, processes: int, folder: Path) -> None:
        self._processes = processes
        self._folder = folder
        self._pool: ProcessPoolExecutor | None = None
        self._functions = itertools.count()

    def map(self, function: Callable[[Chunk], Done], chunks: Iterable[Chunk]) -> Iterator[Done]:
        iterator = iter(chunks)
        first = list(itertools.islice(iterator, _FEW + 1))
        if len(first) <= _FEW:
            yield from map(partial(_undisturbed, function), first)
            return
        # The function may hold a tokenizer of many megabytes: each worker reads it once.
        path = self._folder / f"{next(self._functions)}.pickle"
        path.write_bytes(pickle.dumps(function))
        # (chunk, attempts, future), oldest first
        waiting: deque[tuple[Chunk, int, Future[Done]]] = deque()
        for chunk in itertools.chain(first, iterator):
            waiting.append((chunk, 1, self._submit(path, chunk)))
            if len(waiting) >= self._processes + _AHEAD:
                yield self._next(path, waiting)
        while waiting:
            yield self._next(path, waiting)

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def _submit(self, function: Path, chunk: Chunk) -> Future[Done]:
        if self._pool is None:
            # Not forked: the tokenizer and polars have threads of their own in this process.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._processes, mp_context=context, initializer=_one_thread)
        try:
            return self._pool.submit(_call, function, chunk)
        except BrokenProcessPool as error:  # found out before any result was asked for
            lost: Future[Done] = Future()
            lost.set_exception(error)
            return lost

    def _next(self, function: Path, waiting: deque[tuple[Chunk, int, Future[Done]]]) -> Done:
        while True:
            _, attempts, future = waiting[0]
            try:
                done = future.result()
            except BrokenProcessPool as error:
                if attempts >= _ATTEMPTS:
                    raise MulmedError(
                        f"The worker on the same part of the corpus died {_ATTEMPTS} times.",
                        where="corpus.executor",
                        remedy="It most likely ran out of memory: set corpus.executor.processes to a smaller number.",
                    ) from error
                self._start_again(function, waiting)
                continue
            waiting.popleft()
            return done

    def _start_again(self, function: Path, waiting: deque[tuple[Chunk, int, Future[Done]]]) -> None:
        """A new pool, with every chunk that is not done."""
        assert self._pool is not None
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._pool = None
        again = list(waiting)
        waiting.clear()
        for i, (chunk, attempts, future) in enumerate(again):
            if future.done() and not future.cancelled() and future.exception() is None:
                waiting.append((chunk, attempts, future))
            else:
                # Whose fault it was nobody knows; the oldest is the one that is waited for.
                tries = attempts + 1 if i == 0 else attempts
                waiting.append((chunk, tries, self._submit(function, chunk)))


def _call(function: Path, chunk: Any) -> Any:
    return _undisturbed(_function(function), chunk)


@lru_cache(maxsize=1)
def _function(path: Path) -> Callable[[Any], Any]:
    loaded: Callable[[Any], Any] = pickle.loads(path.read_bytes())
    gc.freeze()  # what is here now stays, and no collection needs to look at it
    return loaded


def _one_thread() -> None:
    """The pool is the parallelism; threads of libraries inside it would only contend."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["POLARS_MAX_THREADS"] = "1"


def _undisturbed(function: Callable[[Chunk], Done], chunk: Chunk) -> Done:
    """The function's result. Nothing is collected meanwhile.

    A chunk makes some ten thousand objects that stay to its end and refer to each other in no circle; a
    collection would walk through all of them again and again, for a tenth of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return function(chunk)
    finally:
        if enabled:
            gc.enable()


def _ray_map(function: Callable[[Chunk], Done], chunks: Iterable[Chunk]) -> Iterator[Done]:
    import ray
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    task = _RayTask(ray.put(pickle.dumps(function)))
    iterator = iter(chunks)
    window = _RAY_AHEAD * int(ray.cluster_resources().get("CPU", 1))
    # A chunk and its result travel as bytes: a row of Ray Data holds columns, not tables.
    while rows := [{"chunk": pickle.dumps(chunk)} for chunk in itertools.islice(iterator, window)]:
        data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(task)
        for row in data.iter_rows():
            yield pickle.loads(row["done"])


class _RayTask:
    """The function, from bytes to bytes; a worker fetches it once."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        done = _undisturbed(_ray_function(self._function), pickle.loads(row["chunk"]))
        return {"done": pickle.dumps(done)}


@lru_cache(maxsize=1)
def _ray_function(reference: Any) -> Callable[[Any], Any]:
    import ray

    loaded: Callable[[Any], Any] = pickle.loads(ray.get(reference))
    return loaded
