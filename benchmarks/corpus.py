"""How long the corpus stage takes at the paper's size, where the time goes, and against whom.

    python benchmarks/corpus.py --data FOLDER --work FOLDER [--scale 1.0] [--profile fast] [--processes 2]

``--data`` holds the real files (see :mod:`corpus_data`), ``--work`` takes the corpus made out of them (about
half a gigabyte at scale 1, made once) and the result.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import threading
import time
from importlib.metadata import version
from pathlib import Path

import psutil
from corpus_data import FILES, write
from transformers import AutoTokenizer

from mulmed.base.embedded import EMBEDDED, convert_embedded
from mulmed.corpus.build import build_corpus
from mulmed.corpus.record import TASKS
from mulmed.prompts import Renderer
from mulmed.prompts.counting import TokenCounter
from mulmed.prompts.template import load_template
from mulmed.recipe import Corpus


class Peak(threading.Thread):
    """Largest memory of this process and its children together, proportional set size, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0
        self._ended = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self._ended.wait(0.5):
            total = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except (psutil.Error, AttributeError):
                    continue
            self.bytes = max(self.bytes, total)

    def stop(self) -> int:
        self._ended.set()
        self.join()
        return self.bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--profile", choices=["fast", "full"], default="fast")
    parser.add_argument("--processes", type=int, default=None)
    parser.add_argument("--ray", default=None)
    parser.add_argument("--base", default="gemma3-270m")
    args = parser.parse_args()

    folder = args.work / f"corpus-{args.scale:g}"
    sizes = write(args.data, folder, args.scale)
    raw = sum(path.stat().st_size for path in folder.iterdir())
    executor = {"ray": args.ray} if args.ray else {"processes": args.processes}
    settings = Corpus.model_validate(
        {
            "sources": {
                name: {
                    "layout": layout,
                    "path": next(p.name for p in folder.glob(f"{name}.*")),
                    "language": language,
                    "split": {"icliniq": "test", "haodf": {"validation": 0.002, "test": 0.066}}.get(
                        name, "train"
                    ),
                }
                for name, (layout, _, language) in FILES.items()
            },
            "deidentify": {"profile": args.profile},
            "executor": executor,
        }
    )
    folder_of_base = convert_embedded(EMBEDDED[args.base], print).path
    tokenizer = AutoTokenizer.from_pretrained(folder_of_base, local_files_only=True)
    template = load_template("alpaca")
    renderer = Renderer(tokenizer, template)
    known = [(t, lang) for t in TASKS for lang in ("en", "zh")]

    peak = Peak()
    peak.start()
    marks: list[tuple[float, str]] = []
    began = time.perf_counter()

    def progress(label: str, done: int, total: int) -> None:
        if not marks or marks[-1][1] != label:
            marks.append((time.perf_counter() - began, label))
        print(f"\r{time.perf_counter() - began:7.1f} s  {label} {done}/{total}    ", end="", flush=True)

    build_corpus(
        settings, folder, args.work / "out", seed=42, cutoff=256,
        overhead={k: renderer.overhead(*k) for k in known},
        count_tokens=TokenCounter(tokenizer), progress=progress,
    )  # fmt: skip
    seconds = time.perf_counter() - began
    cpu = sum(
        (u := resource.getrusage(who)).ru_utime + u.ru_stime
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    memory = peak.stop()
    funnel = json.loads((args.work / "out" / "funnel.json").read_text())
    statistics = json.loads((args.work / "out" / "statistics.json").read_text())
    print("\n" + json.dumps(
        {
            "records": sum(sizes.values()), "megabytes": round(raw / 1e6), "profile": args.profile,
            "executor": executor, "seconds": round(seconds, 1), "cpu_seconds": round(cpu, 1),
            "milliseconds_a_record": round(1000 * cpu / sum(sizes.values()), 3),
            "peak_memory_gigabytes": round(memory / 2**30, 2),
            "phases": [[round(at, 1), label] for at, label in marks],
            "funnel": {s["stage"]: [s["in"], s["out"], s["changed"]] for s in funnel["stages"]},
            "records_sha256": statistics["records_sha256"],
            "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
            "versions": {p: version(p) for p in ("mulmed", "polars", "pyarrow", "tokenizers")},
        }, indent=1,
    ))  # fmt: skip


if __name__ == "__main__":
    main()
