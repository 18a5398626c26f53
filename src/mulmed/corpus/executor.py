"""Where chunks of the corpus are worked on: in this process, in a pool of them, or on a Ray cluster.

Whatever the place, results come back in the order of the chunks, and a worker that dies takes nothing
with it: its chunks are done again.
"""

from __future__ import annotations

import itertools
import logging
import multiprocessing
import os
import pickle
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mulmed.errors import MulmedError
from mulmed.recipe import Executor

Chunk = TypeVar("Chunk")
Done = TypeVar("Done")
#: A chunk whose worker dies so many times kills its workers itself.
_ATTEMPTS = 3
#: Chunks handed out beyond the number of workers, so that none waits for the reader.
_AHEAD = 2


class Mapping(Protocol):
    """Applies a function that can be pickled to every chunk; results in the chunks' order."""

    def __call__(self, function: Callable[[Chunk], Done], chunks: Iterable[Chunk]) -> Iterator[Done]: ...


@contextmanager
def executor(settings: Executor) -> Iterator[Mapping]:
    """The mapping that a recipe asks for, with its workers, which end with the block.

    Raises:
        MulmedError: Ray is asked for and not installed or not reachable, or (while mapping) the same
            chunk broke its worker three times.
    """
    if settings.ray is not None:
        with _ray(settings.ray) as mapping:
            yield mapping
        return
    processes = settings.processes or len(os.sched_getaffinity(0))
    if processes == 1:
        yield lambda function, chunks: map(function, chunks)
        return
    with tempfile.TemporaryDirectory(prefix="mulmed-") as folder:
        pool = _Pool(processes, Path(folder))
        try:
            yield pool.map
        finally:
            pool.close()


class _Pool:
    """Processes that are started with the second chunk and again when one of them dies."""

    def __init__(self, processes: int, folder: Path) -> None:
        self._processes = processes
        self._folder = folder
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Chunk], Done], chunks: Iterable[Chunk]) -> Iterator[Done]:
        iterator = iter(chunks)
        first = [chunk for _, chunk in zip(range(2), iterator, strict=False)]
        if len(first) < 2:  # not worth a process
            yield from map(function, first)
            return
        # The function may hold a tokenizer of many megabytes: each worker reads it once.
        path = self._folder / f"{len(list(self._folder.iterdir()))}.pickle"
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
        return self._pool.submit(_call, function, chunk)

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
    return _function(function)(chunk)


@lru_cache(maxsize=1)
def _function(path: Path) -> Callable[[Any], Any]:
    loaded: Callable[[Any], Any] = pickle.loads(path.read_bytes())
    return loaded


def _one_thread() -> None:
    """The pool is the parallelism; threads of libraries inside it would only contend."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["POLARS_MAX_THREADS"] = "1"


@contextmanager
def _ray(address: str) -> Iterator[Mapping]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MulmedError(
            "Ray is not installed.",
            where="corpus.executor.ray",
            remedy="pip install 'mulmed[cluster]', here and on every node.",
        ) from error
    started = not ray.is_initialized()
    if started:
        _reachable(address)
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise _no_cluster(address) from error
    try:
        yield _ray_map
    finally:
        if started:
            ray.shutdown()


def _reachable(address: str) -> None:
    """Ray itself waits minutes for a cluster that is not there."""
    host, colon, port = address.rpartition(":")
    if not colon:  # `auto`
        return
    try:
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address) from error


def _no_cluster(address: str) -> MulmedError:
    return MulmedError(
        f"No Ray cluster answers at {address!r}.",
        where="corpus.executor.ray",
        remedy="Start one (ray start --head), or name its address as host:port.",
    )


def _ray_map(function: Callable[[Chunk], Done], chunks: Iterable[Chunk]) -> Iterator[Done]:
    import ray
    import ray.data

    # A chunk and its result travel as bytes: a row of Ray Data holds columns, not tables.
    rows = [{"chunk": pickle.dumps(chunk)} for chunk in chunks]
    if not rows:
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    data = ray.data.from_items(rows, override_num_blocks=len(rows))
    done = data.map(_RayTask(ray.put(pickle.dumps(function))))
    for row in done.iter_rows():
        yield pickle.loads(row["done"])


class _RayTask:
    """The function, from bytes to bytes; a worker fetches it once."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        done = _ray_function(self._function)(pickle.loads(row["chunk"]))
        return {"done": pickle.dumps(done)}


@lru_cache(maxsize=1)
def _ray_function(reference: Any) -> Callable[[Any], Any]:
    import ray

    loaded: Callable[[Any], Any] = pickle.loads(ray.get(reference))
    return loaded
