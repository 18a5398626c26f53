"""What moderation drops, finds and costs, beside what public word lists alone would drop.

``python benchmarks/moderation/measure.py [DATA]`` prints four tables: recall on our own sentences, with the
phrase lists alone and with the classifier; share of the records of real corpora that public lists hit and that
moderation drops; removals by group term; processor time a text takes. Without the folder DATA (default: ``$MULMED_DATA``),
whose layout the README of the data describes, only the first.
"""

from __future__ import annotations

import gzip
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from train import read

from mulmed.corpus import sources
from mulmed.corpus.moderate import judge, judge_text, moderate_records
from mulmed.corpus.moderate.classifier import CLASSES
from mulmed.corpus.moderate.groups import removals
from mulmed.corpus.moderate.lexicon import LANGUAGES
from mulmed.corpus.record import Record
from mulmed.corpus.sources.layout import Rejected
from mulmed.recipe import Layout, Source

CORPORA: dict[str, tuple[Layout, str, str]] = {
    "iCliniq": ("icliniq", "icliniq/iCliniq.json.gz", "en"),
    "HealthCareMagic": ("healthcaremagic", "healthcaremagic/HealthCareMagic-100k.json.gz", "en"),
    "HealthCareMagic, raw": ("ai-medical-chatbot", "healthcaremagic/ai-medical-chatbot.csv.gz", "en"),
    "questionDoctor": ("medical-qa", "medical_qa_en/questionDoctorQAs.json.gz", "en"),
    "eHealthForum": ("medical-qa", "medical_qa_en/ehealthforumQAs.json.gz", "en"),
    "ChatDoctor 5k": ("alpaca", "medical_qa_en/chatdoctor5k.json.gz", "en"),
    "COVID dialogues": ("meddialog-en", "dialogue_en/COVID-Dialogue-Dataset-English.txt.gz", "en"),
    "MTS-Dialog": ("mts-dialog", "dialogue_en/MTS-Dialog-TrainingSet.csv.gz", "en"),
    "ACI-Bench": ("aci-bench", "dialogue_en/aci-bench-train.csv.gz", "en"),
    "haodf": ("meddialog-zh", "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz", "zh"),
    "CMtMedQA": ("cmtmedqa", "dialogue_zh/CMtMedQA_test.json.gz", "zh"),
    "toyhom": ("toyhom", "medical_qa_zh/toyhom-internal-medicine.gb18030.csv.gz", "zh"),
    "Huatuo-26M": ("huatuo26m", "medical_qa_zh/huatuo26M_test.json.gz", "zh"),
    "BenTsao": ("bentsao", "medical_qa_zh/bentsao-llama_data.json.gz", "zh"),
    "PLOS": ("laysumm", "laysumm/PLOS_val.jsonl.gz", "en"),
    "eLife": ("laysumm", "laysumm/eLife_val.jsonl.gz", "en"),
}
LISTS = {
    "en": ("ldnoobw-en",),
    "zh": ("ldnoobw-zh", "zh-ads", "zh-porn-types", "zh-porn", "zh-terror", "zh-weapons"),
}


def main() -> None:
    recall()
    data = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("MULMED_DATA", "")
    if data:
        corpora(Path(data))


def recall() -> None:
    """How many of our own sentences each class loses, and with how much of the machinery."""
    print("sentences: dropped by phrases alone, by phrases and classifier")
    whole = judge.condemned
    for name in ("development", "held out"):
        for language in LANGUAGES:
            lines = read(f"{name.replace(' ', '')}_{language}")
            for label in CLASSES:
                texts = [text for found, text in lines if found == label]
                judge.condemned = nothing  # the phrase lists by themselves
                alone = sum(judge_text(text).action == "drop" for text in texts)
                judge.condemned = whole
                both = sum(judge_text(text).action == "drop" for text in texts)
                print(f"  {name:12} {language} {label:14} {len(texts):3} {alone:4} {both:4}")


def nothing(*_: object) -> list[str]:
    return []


def corpora(data: Path) -> None:
    print(
        "records of real corpora: hit by public lists, dropped by moderation; processor time in microseconds"
    )
    decided = []
    for name, (layout, path, language) in CORPORA.items():
        records = list(read_corpus(name, layout, data / path, language))
        began = time.process_time()
        moderated = moderate_records(records)
        outcomes = [outcome for outcome, _ in moderated]
        times = [time.process_time() - began]
        for _ in range(2):
            began = time.process_time()
            moderate_records(records)
            times.append(time.process_time() - began)
        texts = ["\n".join(turn.text for turn in record.turns).lower() for record in records]
        size = sum(len(text.encode()) for text in texts)
        hits = ", ".join(f"{held} {share(texts, data, held, language):.1%}" for held in LISTS[language])
        dropped = Counter(o.findings[0].rule for o in outcomes if o.record is None)
        tagged = sum(o.record is not None and "crisis" in o.record.tags for o in outcomes)
        lost = sum(dropped.values())
        print(
            f"  {name:20} {len(records):6} records; {hits}; moderation {lost / len(records):.2%} {dict(dropped)},"
            f" crisis {tagged}; {median(times) / len(records) * 1e6:.0f} us a record,"
            f" {median(times) / size * 1e9:.0f} us a KB"
        )
        decided += [(groups, outcome.record is None) for outcome, groups in moderated]
    print("group terms: records, removed, share, 95 % interval")
    for line in removals(decided):
        print(
            f"  {line.group:20} {line.records:6} {line.removed:4} {line.share:.3%} [{line.low:.3%}, {line.high:.3%}]"
        )


def read_corpus(name: str, layout: Layout, path: Path, language: str) -> Iterator[Record]:
    encoding = "gb18030" if "gb18030" in path.name else "utf-8"
    source = Source(layout=layout, path=path.name, language=language, encoding=encoding)
    for item in sources.read(source, path):
        if not isinstance(item, Rejected):
            parsed = item.parsed
            yield Record(
                id=f"{name}:{item.row}",
                task=parsed.task,
                language=parsed.language or language,
                turns=parsed.turns,
                source=name,
                file=path.name,
                row=item.row,
                context=parsed.context,
            )


def share(texts: list[str], data: Path, name: str, language: str) -> float:
    """Share of texts that hold a word of a list, as such lists are commonly used."""
    with gzip.open(data / "word_lists" / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        words = [word for line in file if (word := line.strip().strip(",").lower())]
    if language == "en":
        return sum(
            any(f" {w} " in padded for w in words) for padded in (f" {_spaced(t)} " for t in texts)
        ) / len(texts)
    return sum(any(w in text for w in words) for text in texts) / len(texts)


def _spaced(text: str) -> str:
    return "".join(c if c.isalnum() else " " for c in text)


if __name__ == "__main__":
    main()
