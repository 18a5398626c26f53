"""How well red flags are found, on labelled messages of our own, and how often they are raised on real consultations.

    python benchmarks/safety.py [--reader] [--data DIR] [--json FILE]

``safety_messages/`` holds the messages, each with the kind of danger or ``-``; the first lines of a file tell when it was
written and who had seen it (docs/safety.md). The first eight sets are trained on by now; only what the ninth
and the tenth say counts. Recall: emergencies with any flag. False alarms: other messages with any flag. Kind: emergencies with a flag of
their own kind. By rules: the same without the classifier. Intervals are Wilson's, 95 %.
``safety_answers/`` holds answers, each with what the policy must catch in it: found are those of which all was caught.
``--data``: a folder of published corpora as the recipes read them; patients' questions there carry no labels, so that only
the rate of flags is told. Also timed: messages of 500 characters, and 100,000 characters of text made to be slow.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mulmed.base.embedded import EMBEDDED, convert_embedded, identity
from mulmed.corpus import sources
from mulmed.corpus.sources.layout import Found
from mulmed.recipe import Source
from mulmed.safety import Policy, PolicyFilter, red_flags, redflags
from mulmed.safety.policy import KINDS
from mulmed.safety.reader import Reader
from mulmed.safety.redflags import SecondReader

MESSAGES = Path(__file__).parent / "safety_messages"
ANSWERS = Path(__file__).parent / "safety_answers"
LANGUAGES = ("en", "zh")


def messages(half: str, language: str) -> list[tuple[str, str]]:
    """Kind (``-``: nobody is in danger now) and text of each message."""
    lines = (MESSAGES / f"{half}_{language}.tsv").read_text(encoding="utf-8").splitlines()
    return [(kind, text) for kind, _, text in (x.partition("\t") for x in lines if not x.startswith("#"))]


def wilson(found: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a proportion."""
    z, p = 1.96, found / of
    middle = (p + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(p * (1 - p) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return middle - half, middle + half


def measured(half: str, language: str, reader: SecondReader | None) -> dict[str, int]:
    """Counts of one half in one language."""
    counts = Counter[str]()
    for kind, text in messages(half, language):
        kinds = {flag.category for flag in red_flags(text, reader=reader)}
        counts["emergencies" if kind != "-" else "others"] += 1
        counts["found"] += kind != "-" and bool(kinds)
        counts["kind"] += kind in kinds
        counts["alarms"] += kind == "-" and bool(kinds)
        ruled = redflags.flags_by_rules(text)
        counts["ruled"] += kind != "-" and bool(ruled)
        counts["ruled alarms"] += kind == "-" and bool(ruled)
    return dict(counts)


def show(name: str, counts: dict[str, int]) -> None:
    low, high = wilson(counts["found"], counts["emergencies"])
    floor, ceiling = wilson(counts["alarms"], counts["others"])
    print(
        f"{name:16} recall {counts['found']:3}/{counts['emergencies']:3} = {counts['found'] / counts['emergencies']:.3f}"
        f" ({low:.3f} to {high:.3f})   kind {counts['kind']:3}   false alarms {counts['alarms']:2}/{counts['others']:3} ="
        f" {counts['alarms'] / counts['others']:.3f} ({floor:.3f} to {ceiling:.3f})"
        f"   by rules {counts['ruled']:3}, {counts['ruled alarms']:2}"
    )


def halves() -> list[str]:
    """The names of the sets, in the order in which they were measured first."""
    known = [
        "development",
        "heldout",
        "second",
        "third",
        "fourth",
        "sixth",
        "seventh",
        "eighth",
        "ninth",
        "tenth",
    ]
    return [name for name in known if (MESSAGES / f"{name}_en.tsv").is_file()]


# --- policy ------------------------------------------------------------------------------------------


def answers(name: str, language: str) -> dict[str, int]:
    """Counts of one set of answers: of each kind how many there are and were found; answers caught that need not be."""
    counts = Counter[str]()
    for line in (ANSWERS / f"{name}_{language}.tsv").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        kinds, _, text = line.partition("\t")
        wanted = set(kinds.split(",")) - {"-"}
        reply = PolicyFilter(Policy(), language)
        reply.feed(text)
        reply.finish()
        caught = {action.partition(":")[0] for action in reply.actions}
        counts["bad" if wanted else "good"] += 1
        counts["found"] += bool(wanted) and wanted <= caught
        counts["alarms"] += not wanted and bool(caught)
        for kind in wanted:
            counts[kind] += 1
            counts[f"{kind} found"] += kind in caught
    return dict(counts)


def show_answers(name: str, counts: dict[str, int]) -> None:
    kinds = ", ".join(f"{kind} {counts.get(f'{kind} found', 0)}/{counts[kind]}" for kind in KINDS)
    print(
        f"{name:16} caught {counts['found']}/{counts['bad']} = {counts['found'] / counts['bad']:.3f}   needlessly"
        f" {counts['alarms']}/{counts['good']} = {counts['alarms'] / counts['good']:.3f}   {kinds}"
    )


# --- speed -------------------------------------------------------------------------------------------


def milliseconds(text: str, rounds: int = 30) -> float:
    """The least time of a call over some rounds."""
    best = math.inf
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(5):
            red_flags(text)
        best = min(best, (time.process_time() - started) / 5)
    return best * 1000


SLOW = (
    "a", " ", "1", "1 ", "no pain ", "no chest pain or ", "took all the ", "胸口痛", "没有胸痛、", "k i l l ", "strugling to breth ", "for 3 weeks ", "38.5 ",
    "三个月", "\u200b", "\u0301", "dying to ", "自 杀 ", " - ", ".", "血糖", "if someone has a stroke, ", "(", "'",
)  # fmt: skip


def speed() -> dict[str, float]:
    result = {}
    for language in LANGUAGES:
        joiner = " " if language == "en" else "，"
        text = joiner.join(text for kind, text in messages("development", language) if kind == "-")
        text *= 3
        result[language] = max(milliseconds(text[i : i + 500]) for i in range(0, 3000, 500))
    worst = 0.0
    for unit in SLOW:
        text = (unit * (100_000 // len(unit) + 1))[:100_000]
        started = time.process_time()
        red_flags(text)
        worst = max(worst, time.process_time() - started)
    return result | {"slowest of 100,000 characters": worst}


# --- real consultations ------------------------------------------------------------------------------


SOURCES = (
    ("icliniq", "icliniq/iCliniq.json.gz", "en"),
    ("ai-medical-chatbot", "healthcaremagic/ai-medical-chatbot.csv.gz", "en"),
    ("medical-qa", "medical_qa_en/questionDoctorQAs.json.gz", "en"),
    ("huatuo26m", "medical_qa_zh/huatuo26M_test.json.gz", "zh"),
    ("toyhom", "medical_qa_zh/toyhom-internal-medicine.gb18030.csv.gz", "zh"),
)


def questions(folder: Path) -> Iterator[tuple[str, str]]:
    """Language and text of patients' first questions."""
    for layout, path, language in SOURCES:
        encoding = "gb18030" if "gb18030" in path else "utf-8"
        source = Source(layout=layout, path=path, language=language, encoding=encoding)
        for item in sources.read(source, folder / path):
            if isinstance(item, Found):
                yield language, next(turn.text for turn in item.parsed.turns if turn.role == "user")


def second_reader() -> Reader:
    base = EMBEDDED["gemma3-270m"]
    return Reader(convert_embedded(base, print).path, identity(base))


def real(folder: Path, sample: int | None, reader: SecondReader | None) -> dict[str, Any]:
    """How many questions carry a flag, by language, kind and certainty."""
    result: dict[str, Any] = {}
    counts = {language: Counter[str]() for language in LANGUAGES}
    kinds = {language: Counter[str]() for language in LANGUAGES}
    asked = [(language, text) for language, text in questions(folder)]
    if sample:
        of = {language: [pair for pair in asked if pair[0] == language] for language in LANGUAGES}
        asked = [pair for pairs in of.values() for pair in pairs[:: max(1, len(pairs) // sample)][:sample]]
    for language, text in asked:
        flags = red_flags(text, reader=reader)
        counts[language]["questions"] += 1
        counts[language]["flagged"] += bool(flags)
        counts[language]["clear"] += any(flag.certainty == "clear" for flag in flags)
        counts[language]["ruled"] += bool(redflags.flags_by_rules(text))
        kinds[language].update(flag.category for flag in flags)
    for language in LANGUAGES:
        result[language] = {**counts[language], "kinds": dict(kinds[language].most_common())}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--reader", action="store_true", help="with the second reader (Gemma 3 270M)")
    parser.add_argument("--sets", nargs="*", help="of messages; default: all")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--sample", type=int, help="real questions a language, drawn evenly; default: all")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {sys.platform}")
    started = time.process_time()
    red_flags("warm")
    result: dict[str, Any] = {"load": time.process_time() - started}
    reader = second_reader() if given.reader else None
    for half in given.sets or halves():
        both = Counter[str]()
        for language in LANGUAGES:
            counts = measured(half, language, reader)
            show(f"{half} {language}", counts)
            result[f"{half}_{language}"] = counts
            both.update(counts)
        show(f"{half} both", dict(both))
    for name in ("first", "second"):
        for language in LANGUAGES:
            result[f"answers_{name}_{language}"] = told = answers(name, language)
            show_answers(f"answers {name} {language}", told)
    result["speed"] = times = speed()
    print(
        f"words and rules read in {result['load']:.2f} s; 500 characters: English {times['en']:.2f} ms, Chinese"
        f" {times['zh']:.2f} ms; slowest 100,000 characters {times['slowest of 100,000 characters']:.2f} s (CPU time)"
    )
    if given.data:
        result["real"] = real(given.data, given.sample, reader)
        for language, counts in result["real"].items():
            share = counts["flagged"] / counts["questions"]
            print(
                f"{language}: {counts['flagged']} of {counts['questions']} questions flagged ({share:.1%}), {counts['clear']} of them clearly; by rules {counts['ruled']} ({counts['ruled'] / counts['questions']:.1%})"
            )
            print("   ", ", ".join(f"{kind} {count}" for kind, count in counts["kinds"].items()))
    if given.json:
        given.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
