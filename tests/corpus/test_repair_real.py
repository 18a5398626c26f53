"""Repair on published corpora: what is changed there is damage, and what is damaged there is brought back."""

from __future__ import annotations

import gzip
import os
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from mulmed.corpus.edits import apply
from mulmed.corpus.mojibake import restore
from mulmed.corpus.plausibility import unrecoverable
from mulmed.corpus.repair import repair_text

REAL = Path(os.environ.get("MULMED_DATA", Path(__file__).parents[3] / "shared" / "data"))
pytestmark = pytest.mark.skipif(
    not REAL.is_dir(), reason="no folder of real corpora; name one in the environment variable MULMED_DATA"
)

CHINESE = (
    "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz",
    "dialogue_zh/CMtMedQA_test.json.gz",
    "medical_qa_zh/huatuo26M_test.json.gz",
    "medical_qa_zh/toyhom-internal-medicine.gb18030.csv.gz",
)
ENGLISH = (
    "healthcaremagic/ai-medical-chatbot.csv.gz",
    "icliniq/iCliniq.json.gz",
    "laysumm/PLOS_val.jsonl.gz",
    "laysumm/eLife_val.jsonl.gz",
)


def lines(name: str) -> list[str]:
    encoding = "gb18030" if "gb18030" in name else "utf-8-sig"
    return gzip.decompress((REAL / name).read_bytes()).decode(encoding).splitlines()


@pytest.mark.parametrize("name", CHINESE)
def test_healthy_chinese_is_never_taken_for_mojibake(name: str) -> None:
    texts = lines(name)
    assert len(texts) > 1000
    assert [text for text in texts if restore(text)] == []
    assert [text for text in texts if unrecoverable(text)] == []


@pytest.mark.parametrize("name", ENGLISH)
def test_in_english_only_signs_of_utf8_are_mojibake(name: str) -> None:
    replacements = Counter(
        edit.replacement
        for text in lines(name)
        for edit in repair_text(text).changes
        if edit.rule in ("mojibake", "encoding")
    )
    assert set(replacements) <= set("’‘“”–—…•")


@pytest.mark.parametrize("name", CHINESE)
@pytest.mark.parametrize(("wrote", "read"), [("utf-8", "latin-1"), ("gb18030", "latin-1")])
def test_damaged_sentences_come_back(name: str, wrote: str, read: str) -> None:
    pieces = {
        piece
        for text in lines(name)
        for piece in re.split(r"(?<=[。？！])", text)
        if len(re.findall("[\u4e00-\u9fff]", piece)) >= 6 and len(piece) <= 200
    }
    sample = random.Random(7).sample(sorted(pieces), 300)
    damaged = [piece.encode(wrote).decode(read) for piece in sample]
    back = sum(apply(text, restore(text)) == piece for text, piece in zip(damaged, sample, strict=True))
    assert back >= 0.99 * len(sample)
