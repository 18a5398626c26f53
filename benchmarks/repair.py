"""How much wrongly decoded Chinese is restored exactly: ours, ftfy's, and a guess of the encoding.

    python benchmarks/repair.py --data FOLDER [--sentences 150]

Sentences come from the real Chinese corpora in FOLDER; the ways of damaging them are those of the tests.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import ftfy
from charset_normalizer import from_bytes

from mulmed.corpus import sources
from mulmed.corpus.plausibility import unrecoverable
from mulmed.corpus.repair import repair_text
from mulmed.corpus.sentences import sentences
from mulmed.corpus.sources.layout import Found
from mulmed.recipe import Source

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.corpus.test_mojibake import CORRUPTIONS

SOURCES = (
    ("meddialog-zh", "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz", "utf-8"),
    ("huatuo26m", "medical_qa_zh/huatuo26M_test.json.gz", "utf-8"),
    ("toyhom", "medical_qa_zh/toyhom-internal-medicine.gb18030.csv.gz", "gb18030"),
    ("cmtmedqa", "dialogue_zh/CMtMedQA_test.json.gz", "utf-8"),
)


def real_sentences(data: Path, layout: str, path: str, encoding: str) -> Iterator[str]:
    source = Source.model_validate({"layout": layout, "path": path, "language": "zh", "encoding": encoding})
    for item in sources.read(source, data / path):
        if isinstance(item, Found):
            for turn in item.parsed.turns:
                yield from (s.strip() for s in sentences(turn.text, "zh"))


def guessed(damaged: str) -> str | None:
    """What reading the text's bytes once more by a detector of encodings gives."""
    for codec in ("latin-1", "gb18030"):
        try:
            best = from_bytes(damaged.encode(codec)).best()
        except UnicodeEncodeError:
            continue
        return str(best) if best else None
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--sentences", type=int, default=150, help="of each source")
    args = parser.parse_args()
    rng = random.Random(0)
    pool: list[str] = []
    for layout, path, encoding in SOURCES:
        found = {s for s in real_sentences(args.data, layout, path, encoding) if 5 <= len(s) <= 200}
        clean = [
            s for s in sorted(found) if re.search("[\u4e00-\u9fff]{2}", s) and not repair_text(s).changes
        ]
        pool += rng.sample(clean, args.sentences)
    print(f"{len(pool)} sentences")
    print(
        "| Damage | Sentences | Ours | ftfy | Guess | Bytes lost | Found or undone |\n|---|---:|---:|---:|---:|---:|---:|"
    )
    for name, corrupt in CORRUPTIONS.items():
        whole = ours = by_ftfy = by_guess = lost = told = 0
        for text in pool:
            try:
                damaged = corrupt(text)
            except UnicodeEncodeError:  # a character that the encoding lacks
                continue
            if damaged == text:
                continue
            mended = repair_text(damaged).text
            if "\ufffd" in damaged or damaged.count("?") > text.count("?"):
                lost += 1
                told += mended == text or bool(unrecoverable(mended))
                continue
            whole += 1
            ours += mended == text
            by_ftfy += text == ftfy.fix_text(
                damaged, uncurl_quotes=False, fix_character_width=False, normalization=None
            )
            by_guess += guessed(damaged) == text
        shares = [f"{100 * n / whole:.1f}%" if whole else "" for n in (ours, by_ftfy, by_guess)]
        print(
            f"| {name} | {whole} | {' | '.join(shares)} | {lost} | {f'{100 * told / lost:.1f}%' if lost else ''} |"
        )


if __name__ == "__main__":
    main()
