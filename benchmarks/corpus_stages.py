"""Where the corpus stage's time goes: core microseconds a record of each of its parts, in one process.

    python benchmarks/corpus_stages.py --data FOLDER --work FOLDER [--scale 0.01] [--rounds 3]

On the made corpus of ``corpus.py`` at that scale, by a clock put around each function that the passes call; nobody leaves
for being a duplicate. The first round, in which lists are read and words met for the first time, is told apart; of the
others each part's least.
"""

from __future__ import annotations

import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from corpus_data import FILES

from corpus import arguments, counting, prepared, settings_for
from mulmed.corpus import clean
from mulmed.corpus.files import resolve
from mulmed.corpus.reading import Reader
from mulmed.corpus.testset import index
from mulmed.corpus.truncate import CountTokens
from mulmed.recipe import Corpus

#: What :mod:`mulmed.corpus.clean` calls for each part.
PARTS = {
    "parse": "parse", "repair_record": "repair", "deidentify_records": "de-identify", "moderate_records": "moderate",
    "_lengths": "lengths", "sketch": "sketch", "to_batch": "tables", "from_batch": "tables", "audit_frame": "audit",
    "hits": "compare with the test set", "truncate_records": "truncate", "digest": "digest",
}  # fmt: skip
_spent: Counter[str] = Counter()


def clocked(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its core seconds added to a part's."""

    def timed(*args: Any, **more: Any) -> Any:
        began = time.process_time()
        done = function(*args, **more)
        if part == "tables" and not isinstance(done, pl.DataFrame):
            done = list(done)
        _spent[part] += time.process_time() - began
        return done

    return timed


def one_round(
    settings: Corpus, folder: Path, overhead: Mapping[tuple[str, str], tuple[int, int]], counter: CountTokens
) -> dict[str, float]:
    """Core microseconds a record of each part, over all chunks."""
    _spent.clear()
    began = time.process_time()
    paths = {name: resolve(folder, s.paths, where=name) for name, s in settings.sources.items()}
    chunks = clocked("cut up", lambda: list(Reader(settings, paths, 42, lambda *_: None).chunks()))()
    done = [clean.first(clean.First(settings, 42), chunk).batch for chunk in chunks]
    batches = [batch for batch in done if isinstance(batch, pl.DataFrame)]
    assert settings.decontaminate is not None
    tests = clocked("index of the test set", index)(
        pl.concat(batches).filter(pl.col("split") == "test"), settings.decontaminate
    )
    compare = clean.Compare(tests, pl.Series([], dtype=pl.String))
    second = clean.Second(settings, {}, {}, 256, overhead, counter)
    for batch in batches:
        clean.overlaps(compare, batch)
        clean.second(second, batch)
    together = time.process_time() - began
    parts = dict(_spent) | {"other": together - _spent.total(), "together": together}
    return {part: 1e6 * seconds / sum(map(len, batches)) for part, seconds in parts.items()}


def main() -> None:
    parser = arguments(__doc__, scale=0.01)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    folder, _, base = prepared(args)
    overhead, counter = counting(base)
    settings = settings_for(folder, list(FILES), "fast", {"processes": 1})
    for name, part in PARTS.items():
        setattr(clean, name, clocked(part, getattr(clean, name)))
    gc.disable()  # as the workers do
    rounds = [one_round(settings, folder, overhead, counter) for _ in range(args.rounds + 1)]
    least = {part: round(min(one[part] for one in rounds[1:])) for part in rounds[0]}
    print(
        json.dumps(
            {"core_microseconds_a_record": least, "first_round": round(rounds[0]["together"])}, indent=1
        )
    )


if __name__ == "__main__":
    main()
