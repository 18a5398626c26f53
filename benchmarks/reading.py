"""How much memory the readers take for a file of a gigabyte, and how fast they are.

    python benchmarks/reading.py --work FOLDER [--gigabytes 1.0]

Writes one file at a time, of consultations of our own making in the layouts below, reads it in a process of
its own, record by record, and deletes it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mulmed.corpus import sources
from mulmed.corpus.sources.layout import Found
from mulmed.recipe import Layout, Source

_QUESTION = "For three days I have had a dull pain in my left knee after running. Should I rest? "
_ANSWER = "Rest it, cool it, and see a doctor if it swells or if you cannot put weight on it. "
_QUESTION_ZH = "左膝跑步后隐痛三天，没有肿胀，要不要休息？"
_ANSWER_ZH = "先休息几天，冷敷，如果肿胀或者不能走路请来门诊检查。"


def _json() -> Iterator[str]:
    yield "[\n"
    for number in itertools.count():
        row = {"instruction": "", "input": f"{number}: {_QUESTION * 8}", "output": _ANSWER * 7}
        yield ("" if number == 0 else ",\n") + json.dumps(row)


def _text() -> Iterator[str]:
    for number in itertools.count():
        rounds = f"医生：{_ANSWER_ZH * 2}\n病人：{_QUESTION_ZH}\n" * 3
        yield f"id={number}\nDescription\n病情描述：{number}{_QUESTION_ZH * 2}\n\nDialogue\n{rounds}医生：{_ANSWER_ZH}\n\n"


def _csv() -> Iterator[str]:
    yield "Description,Patient,Doctor\n"
    for number in itertools.count():
        yield f'"Knee","{number}: ""{_QUESTION * 8}""","{_ANSWER * 7}"\n'


#: Layout, language and rows of each file; what ends it.
FILES: dict[str, tuple[Layout, str, Callable[[], Iterator[str]], str]] = {
    "a.json": ("healthcaremagic", "en", _json, "\n]\n"),
    "a.txt": ("meddialog-zh", "zh", _text, ""),
    "a.csv": ("ai-medical-chatbot", "en", _csv, ""),
}


def _write(path: Path, size: int) -> None:
    _, _, rows, end = FILES[path.name]
    written = 0
    with path.open("wb") as stream:
        for row in rows():
            written += stream.write(row.encode())
            if written >= size:
                break
        stream.write(end.encode())


def _read(path: Path) -> None:
    layout, language, _, _ = FILES[path.name]
    source = Source.model_validate({"layout": layout, "path": path.name, "language": language})
    began = time.perf_counter()
    found = sum(isinstance(item, Found) for item in sources.read(source, path))
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        json.dumps(
            {
                "layout": layout,
                "gigabytes": round(path.stat().st_size / 1e9, 2),
                "records": found,
                "seconds": round(seconds, 1),
                "microseconds_a_record": round(seconds / found * 1e6, 1),
                "peak_memory_gigabytes": round(peak, 2),
            }
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--only", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.only:
        _read(args.only)
        return
    args.work.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        path = args.work / name
        try:
            _write(path, round(args.gigabytes * 1e9))
            subprocess.run([sys.executable, __file__, "--work", args.work, "--only", path], check=True)
        finally:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
