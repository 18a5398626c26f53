"""How long the corpus stage takes at the paper's size, where the time goes, and against whom.

    python benchmarks/corpus.py --data FOLDER --work FOLDER [--scale 1.0] [--profile fast] [--processes 2]
    python benchmarks/corpus.py --data FOLDER --work FOLDER --scale 0.1 --rival PYTHON_WITH_DATATROVE

``--data`` holds the real files (see :mod:`corpus_data`), ``--work`` takes the corpus made out of them (about
half a gigabyte at scale 1, made once) and the result.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from corpus_data import FILES, write

from mulmed.corpus import sources
from mulmed.corpus.build import build_corpus
from mulmed.corpus.sources.layout import Found
from mulmed.recipe import Corpus

if TYPE_CHECKING:
    from mulmed.prompts.counting import TokenCounter


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


def settings_for(folder: Path, names: list[str], profile: str, executor: dict[str, Any]) -> Corpus:
    """The recipe's corpus part for some of the made sources."""
    splits: dict[str, Any] = {"icliniq": "test", "haodf": {"validation": 0.002, "test": 0.066}}
    sources = {
        name: {
            "layout": FILES[name][0],
            "path": next(p.name for p in folder.glob(f"{name}.*")),
            "language": FILES[name][2],
            "split": splits.get(name, "train"),
        }
        for name in names
    }
    return Corpus.model_validate(
        {"sources": sources, "deidentify": {"profile": profile}, "executor": executor}
    )


@dataclass(frozen=True)
class Mark:
    """When a part of the stage began, and the processor seconds that this process and its workers had used."""

    label: str
    seconds: float
    main: float
    workers: float


def arguments(description: str | None, scale: float) -> argparse.ArgumentParser:
    """What every benchmark on the made corpus is told; ``scale`` unless told otherwise."""
    from mulmed.base.embedded import EMBEDDED

    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--scale", type=float, default=scale)
    parser.add_argument("--base", default="gemma3-270m", choices=sorted(EMBEDDED))
    return parser


def prepared(args: argparse.Namespace) -> tuple[Path, int, Path]:
    """Folder of the made corpus and how many records it has; folder of the base model."""
    from mulmed.base.embedded import EMBEDDED, convert_embedded

    folder = args.work / f"corpus-{args.scale:g}"
    records = sum(write(args.data, folder, args.scale).values())
    base = convert_embedded(EMBEDDED[args.base], lambda line: print(line, file=sys.stderr)).path
    return folder, records, base


def counting(base: Path) -> tuple[dict[tuple[str, str], tuple[int, int]], TokenCounter]:
    """Tokens that the template adds to each task in each language, and what counts those of texts."""
    # Not above: each worker imports this module when it begins, and needs no transformers.
    from transformers import AutoTokenizer

    from mulmed.prompts import Renderer
    from mulmed.prompts.counting import TokenCounter
    from mulmed.prompts.template import load_template

    tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    renderer = Renderer(tokenizer, load_template("alpaca"))
    overhead = {
        (t, lang): renderer.overhead(t, lang) for t in ("summary", "qa", "dialogue") for lang in ("en", "zh")
    }
    return overhead, TokenCounter(tokenizer)


def build(settings: Corpus, folder: Path, out: Path, base: Path) -> list[Mark]:
    """Run the stage; when each part of it began, and at the end."""
    overhead, counter = counting(base)
    marks: list[Mark] = []
    me, began, used = psutil.Process(), time.perf_counter(), time.process_time()
    workers = 0.0

    def mark(label: str) -> None:
        nonlocal workers
        times = [child.cpu_times() for child in me.children(recursive=True)]
        workers = max(workers, sum(t.user + t.system for t in times))  # at the end there are none
        marks.append(Mark(label, time.perf_counter() - began, time.process_time() - used, workers))

    def progress(label: str, done: int, total: int) -> None:
        if not marks or marks[-1].label != label:
            mark(label)
        print(f"\r{time.perf_counter() - began:7.1f} s  {label} {done}/{total}    ", end="", flush=True)
        if done == total > 0:
            mark("(after it)")

    build_corpus(
        settings, folder, out, seed=42, cutoff=256, overhead=overhead,
        count_tokens=counter, progress=progress,
    )  # fmt: skip
    mark("done")
    return marks


def parts(marks: list[Mark]) -> list[dict[str, Any]]:
    """Seconds of each part, and how many cores were busy with it."""
    return [
        {
            "part": here.label,
            "seconds": round(there.seconds - here.seconds, 1),
            "cores_main": round((there.main - here.main) / max(there.seconds - here.seconds, 1e-9), 2),
            "cores_workers": round(
                (there.workers - here.workers) / max(there.seconds - here.seconds, 1e-9), 2
            ),
        }
        for here, there in itertools.pairwise([Mark("(before it)", 0.0, 0.0, 0.0), *marks])
        if there.seconds - here.seconds > 0.05
    ]


def against(rival: str, folder: Path, work: Path, base: Path, processes: int) -> dict[str, Any]:
    """Seconds of datatrove and of ours on the same English records, one after the other."""
    names = ["plos", "elife", "healthcaremagic", "icliniq"]
    settings = settings_for(folder, names, "fast", {"processes": processes})
    lines = []
    for name in names:
        source = settings.sources[name]
        for item in sources.read(source, folder / source.paths[0]):
            if isinstance(item, Found):
                text = "\n".join(turn.text for turn in item.parsed.turns)
                lines.append(json.dumps({"id": f"{name}-{item.row}", "text": text}, ensure_ascii=False))
    given = work / "rival.jsonl"
    given.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(work / "rival", ignore_errors=True)
    script = Path(__file__).with_name("corpus_datatrove.py")
    command = [rival, script, given, work / "rival", base / "tokenizer.json", str(processes)]
    theirs = json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )
    ours = build(settings, folder, work / "ours", base)[-1].seconds
    return {
        "records": len(lines),
        "datatrove_seconds": theirs["seconds"],
        "mulmed_seconds": round(ours, 1),
        "ratio": round(theirs["seconds"] / ours, 2),
    }


def _cpu_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def main() -> None:
    parser = arguments(__doc__, scale=1.0)
    parser.add_argument("--profile", choices=["fast", "full"], default="fast")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--ray", help="address of a Ray cluster instead of processes")
    parser.add_argument("--rival", help="a Python that has datatrove: compare on the English records only")
    args = parser.parse_args()

    folder, records, base = prepared(args)
    machine = {
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores",
        "versions": {p: version(p) for p in ("mulmed", "polars", "pyarrow", "tokenizers")},
    }
    if args.rival:
        print(
            "\n"
            + json.dumps(against(args.rival, folder, args.work, base, args.processes) | machine, indent=1)
        )
        return
    executor = {"ray": args.ray} if args.ray else {"processes": args.processes}
    peak = Peak()
    peak.start()
    out = args.work / "out"
    marks = build(settings_for(folder, list(FILES), args.profile, executor), folder, out, base)
    cpu = _cpu_seconds()
    memory = peak.stop()
    funnel = json.loads((out / "funnel.json").read_text())
    statistics = json.loads((out / "statistics.json").read_text())
    result = {
        "records": records,
        "megabytes": round(sum(path.stat().st_size for path in folder.iterdir()) / 1e6),
        "profile": args.profile,
        "executor": executor,
        "seconds": round(marks[-1].seconds, 1),
        "cpu_seconds": round(cpu, 1),
        "core_milliseconds_a_record": round(1000 * cpu / records, 3),
        "peak_memory_gigabytes": round(memory / 2**30, 2),
        "parts": parts(marks),
        "funnel": {s["stage"]: [s["in"], s["out"], s["changed"]] for s in funnel["stages"]},
        "records_sha256": statistics["records_sha256"],
    }
    print("\n" + json.dumps(result | machine, indent=1))


if __name__ == "__main__":
    main()
