"""Published answers of six Chinese systems to CMD's questions, as files that ``mulmed evaluate`` reads.

    python benchmarks/model_answers_zh.py DATA OUT
    mulmed evaluate OUT/questions.jsonl --predictions gpt-4=OUT/gpt-4.jsonl ... (the command it prints)

DATA holds ``model_answers_zh`` (the files that DISC-MedLLM's authors published for their evaluation). The reference is the
doctor's answer that comes with the question; scored is each system's first answer, before the simulated patient asks on.
CMID and CMB-clin come without reference answers and are left out.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path
from typing import Any

import orjson

SYSTEMS = ("gpt-4", "gpt-3.5-turbo", "DISC-MedLLM", "huatuo-chat", "baichuan-chat", "bianque-v2")


def load(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = orjson.loads(gzip.decompress(path.read_bytes()))
    return rows


def lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def main() -> None:
    data, out = Path(sys.argv[1]) / "model_answers_zh", Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    questions = {
        row["id"]: {
            "id": row["id"], "language": "zh", "task": "qa", "source": "CMD",
            "question": row["question"], "reference": row["raw_anwser"],
        }
        for row in load(data / "cmd_samples.json.gz")
    }  # fmt: skip
    lines(out / "questions.jsonl", list(questions.values()))
    for system in SYSTEMS:
        # One question was asked twice: its first conversation counts.
        answers: dict[str, str] = {}
        for row in load(data / f"{system}_cmd.json.gz"):
            if row["id"] in questions:
                answers.setdefault(row["id"], row["conversation"][1]["content"])
        lines(
            out / f"{system}.jsonl",
            [{"id": id, "prediction": text} for id, text in answers.items()],
        )
    given = " ".join(f"--predictions {system}={out / system}.jsonl" for system in SYSTEMS)
    print(f"mulmed evaluate {out / 'questions.jsonl'} {given} --out {out / 'scores'}")


if __name__ == "__main__":
    main()
