"""How fast answers are scored, against the rouge_score package.

    python benchmarks/metrics.py [--answers 17321] [--rounds 5] [--json FILE]

The answers are made of the sample records' words, as long as iCliniq's and haodf's are (English about 104 words, Chinese
about 36 characters; 60 and 40 in a hundred, a tenth of the English ones lay summaries); each shares about half of its words
with its reference. Timed are, in turns, round after round:

- every measure of every answer: F1, ROUGE by each of its units, lengths, readability;
- the same with means, intervals and differences of three models (1,000 resamples);
- ROUGE-1, 2 and L alone, ours and ``rouge_score``'s (with its stemmer in English, with our tokens in Chinese), on every
  twentieth answer, since the latter takes long.

Texts are cut anew in every round, but stems of words are remembered, as they are in use; ``rouge_score`` remembers none.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from mulmed import recipe
from mulmed.evaluation import rouge, score
from mulmed.evaluation.comparison import compare
from mulmed.evaluation.tokenize import tokens

SAMPLES = Path(__file__).parents[1] / "recipes" / "samples"


def words() -> dict[str, list[str]]:
    """Words of the sample records with their own frequencies: English ones, and runs of Chinese."""
    text = "\n".join(
        path.read_text(encoding="utf-8", errors="ignore")
        for path in sorted(SAMPLES.rglob("*"))
        if path.suffix in (".json", ".jsonl", ".txt")
    )
    return {
        "en": re.findall(r"[A-Za-z][a-z']+[,.]?", text),
        "zh": re.findall(r"[\u4e00-\u9fff]{2,6}[，。]?", text),
    }


def answers(count: int, models: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows of ``answers.jsonl``: ``count`` answers in all, of ``models`` models."""
    rng = random.Random(seed)
    known = words()
    rows = []
    for number in range(count // models):
        language = "en" if number % 5 < 3 else "zh"
        size = max(8, round(rng.lognormvariate(4.5 if language == "en" else 1.9, 0.5)))
        start = rng.randrange(max(1, len(known[language]) - size))
        reference = known[language][start : start + size]
        glue = " " if language == "en" else ""
        for model in range(models):
            own = [w if rng.random() < 0.5 else rng.choice(known[language]) for w in reference]
            rows.append(
                {
                    "id": f"q:{number}", "model": f"model{model}", "language": language, "status": "ok", "source": "made up",
                    "task": "summary" if language == "en" and number % 10 == 0 else "qa",
                    "reference": glue.join(reference), "answer": glue.join(own),
                }
            )  # fmt: skip
    return rows


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--answers", type=int, default=17_321)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    from rouge_score import rouge_scorer, tokenizers

    class Tokens(tokenizers.Tokenizer):
        def tokenize(self, text: str) -> list[str]:
            return tokens(text)

    theirs = {
        "en": rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True),
        "zh": rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=Tokens()),
    }
    rows = answers(arguments.answers, 3)
    comparison = compare(rows)
    settings = recipe.Evaluation()
    few = rows[::20]
    work: dict[str, Callable[[], object]] = {
        "every measure of every answer": lambda: score._score_all(comparison),
        "with intervals and differences": lambda: score.score_answers(rows, settings, 1),
        "ROUGE, ours": lambda: [rouge.rouge(r["answer"], r["reference"], r["language"]) for r in few],
        "ROUGE, rouge_score": lambda: [theirs[r["language"]].score(r["reference"], r["answer"]) for r in few],
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for number in range(-1, arguments.rounds):  # round -1 warms up
        for name, run in work.items():
            seconds = timed(run)
            print(f"round {number}: {name}: {seconds:.2f} s", file=sys.stderr)
            if number >= 0:
                times[name].append(seconds)
    ratios = [t / o for t, o in zip(times["ROUGE, rouge_score"], times["ROUGE, ours"], strict=True)]
    result = {
        "answers": len(rows),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "versions": {p: version(p) for p in ("rouge_score", "rapidfuzz", "jieba", "nltk")},
        "seconds": {name: round(median(values), 3) for name, values in times.items()},
        "rouge_answers": len(few),
        "rouge_ratio": round(median(ratios), 1),
    }
    for name, seconds in result["seconds"].items():
        print(f"{name:34s} {seconds:8.2f} s")
    print(f"ROUGE: ours is {result['rouge_ratio']} times as fast as rouge_score, on {len(few)} answers")
    if arguments.json:
        arguments.json.write_bytes(
            orjson.dumps(result, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        )
    else:
        print(json.dumps(result["versions"]))


if __name__ == "__main__":
    main()
