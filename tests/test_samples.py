"""The sample corpora, built as the quickstart builds them: every planted defect must be dealt with.

The defects are listed in ``tests/planted_*.json``. Nothing else may be lost: what is dropped or masked
beyond the lists is a false alarm of the cleaning.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from mulmed.corpus.batch import from_batch
from mulmed.corpus.build import build_corpus
from mulmed.corpus.record import Record
from mulmed.corpus.stage import texts_of
from mulmed.recipe import Corpus

SAMPLES = Path(__file__).parents[1] / "recipes" / "samples"
PLANTED: list[dict[str, Any]] = [
    entry
    for path in sorted(Path(__file__).parent.glob("planted_*.json"))
    for entry in json.loads(path.read_text("utf-8"))
]
HOLDOUT = {"test": 0.2, "validation": 0.05}
SOURCES: dict[str, dict[str, Any]] = {
    "alpaca-en": {"layout": "alpaca", "path": "alpaca_en.json", "language": "en"},
    "alpaca-zh": {"layout": "alpaca", "path": "alpaca_zh.json", "language": "zh"},
    "healthcaremagic": {"layout": "healthcaremagic", "path": "HealthCareMagic.json", "language": "en"},
    "icliniq": {"layout": "icliniq", "path": "iCliniq.json", "language": "en", "split": "test"},
    "haodf": {"layout": "meddialog-zh", "path": "haodf.txt", "language": "zh", "split": HOLDOUT},
    "plos": {"layout": "laysumm", "path": "PLOS_train.jsonl", "language": "en", "max_rejected": 0.1},
    "elife": {"layout": "laysumm", "path": "eLife_train.jsonl", "language": "en", "max_rejected": 0.1},
    "plos-val": {"layout": "laysumm", "path": "PLOS_val.jsonl", "language": "en", "split": "test"},
    "elife-val": {"layout": "laysumm", "path": "eLife_val.jsonl", "language": "en", "split": "test"},
}
SOURCE_OF = {source["path"]: name for name, source in SOURCES.items()}
# The stages that may have changed a record, by what was planted.
CHANGED_BY = {
    "masked": {"deidentify"},
    "repaired": {"repair"},
    "kept": {"read"},
    "scrub_residue": {"deidentify"},  # what is left of a name that the publishers replaced
    "boilerplate": {"read", "repair"},  # a turn of nothing else is left out on reading
}


class Template(dict[tuple[str, str], tuple[int, int]]):
    """The same template length for every task and language."""

    def __missing__(self, key: tuple[str, str]) -> tuple[int, int]:
        return (40, 10)


def count_tokens(texts: Sequence[str]) -> list[int]:
    """Chinese characters and words: near enough where no text is to be cut."""
    return [len(re.findall(r"[\u3400-\u9fff]|[^\s\u3400-\u9fff]+", text)) for text in texts]


@dataclass(frozen=True)
class Built:
    """The corpus stage's files, read back."""

    out: Path

    @cached_property
    def kept(self) -> dict[tuple[str, int], Record]:
        records = from_batch(pl.read_parquet(self.out / "records.parquet"))
        return {(record.file, record.row): record for record in records}

    @cached_property
    def audit(self) -> dict[tuple[str, int], list[dict[str, Any]]]:
        rows: dict[tuple[str, int], list[dict[str, Any]]] = {}
        files = {name: source["path"] for name, source in SOURCES.items()}
        for row in pl.read_parquet(self.out / "audit.parquet").iter_rows(named=True):
            place = (files[row["source"]], int(row["id"].split(":")[1]))
            rows.setdefault(place, []).append(row)
        return rows

    @cached_property
    def rejected(self) -> dict[tuple[str, int], str]:
        lines = (self.out / "rejected.jsonl").read_text("utf-8").splitlines()
        return {(row["file"], row["row"]): row["reason"] for row in map(json.loads, lines)}

    def text(self, file: str) -> str:
        return "\n".join(t for record in self.kept.values() if record.file == file for t in texts_of(record))

    def stages(self, place: tuple[str, int], action: str) -> set[str]:
        return {row["stage"] for row in self.audit.get(place, []) if row["action"] == action}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    out = tmp_path_factory.mktemp("samples")
    settings = Corpus.model_validate({"sources": SOURCES})
    build_corpus(settings, SAMPLES, out, seed=42, cutoff=4096, overhead=Template(), count_tokens=count_tokens)
    return Built(out)


def dropped_and_kept(built: Built, entry: dict[str, Any]) -> tuple[int, int | None]:
    """The row that had to go. Which of two equal records that is, their contents' hashes decide."""
    if "duplicate_of" not in entry:
        return entry["row"], None
    rows = entry["row"], entry["duplicate_of"]
    (kept,) = [row for row in rows if (entry["file"], row) in built.kept]
    return sum(rows) - kept, kept


def changed_by(entry: dict[str, Any]) -> set[str]:
    return CHANGED_BY.get(entry["kind"], CHANGED_BY.get(entry["expected"], set()))


def name(entry: dict[str, Any]) -> str:
    return f"{entry['file']}:{entry['row']}:{entry['kind']}"


@pytest.mark.parametrize("entry", PLANTED, ids=map(name, PLANTED))
def test_a_planted_defect_is_dealt_with_and_audited(built: Built, entry: dict[str, Any]) -> None:
    place = (entry["file"], entry["row"])
    for remnant in entry["must_vanish"]:
        assert remnant not in built.text(entry["file"])
    if entry["expected"] == "rejected":
        assert place in built.rejected
        assert place not in built.kept
        return
    assert place not in built.rejected
    if entry["expected"] == "dropped":
        row, twin = dropped_and_kept(built, entry)
        place = (entry["file"], row)
        assert place not in built.kept
        (stage,) = built.stages(place, "dropped")
        details = " ".join(row["detail"] for row in built.audit[place] if row["action"] == "dropped")
        if twin is not None:
            assert stage == "deduplicate"
            assert f"{SOURCE_OF[entry['file']]}:{twin}:" in details
        elif "leak_of" in entry:
            leak = entry["leak_of"]
            test = leak if isinstance(leak, dict) else {"file": "iCliniq.json", "row": leak}
            assert stage in ("deduplicate", "decontaminate")  # a leaked copy is a duplicate first
            assert f"{SOURCE_OF[test['file']]}:{test['row']}:" in details
        else:
            assert stage in ("repair", "moderate")
        return
    said = "\n".join(texts_of(built.kept[place]))
    for phrase in entry["must_appear"]:
        assert phrase in said
    if entry["kind"] != "two_dialogues":  # nothing is changed there: both are one conversation
        assert built.stages(place, "changed") & changed_by(entry), built.audit.get(place)


def test_nothing_is_dropped_but_what_was_planted(built: Built) -> None:
    dropped = {place for place, rows in built.audit.items() if any(r["action"] == "dropped" for r in rows)}
    planted = [e for e in PLANTED if e["expected"] == "dropped"]
    assert dropped == {(e["file"], dropped_and_kept(built, e)[0]) for e in planted}
    assert set(built.rejected) == {(e["file"], e["row"]) for e in PLANTED if e["expected"] == "rejected"}


def test_nothing_is_masked_but_what_was_planted(built: Built) -> None:
    masked = {place for place in built.kept if "deidentify" in built.stages(place, "changed")}
    assert masked == {(e["file"], e["row"]) for e in PLANTED if "deidentify" in changed_by(e)}


def test_the_samples_serve_every_task_language_and_split(built: Built) -> None:
    have = {(record.task, record.language, record.split) for record in built.kept.values()}
    for task, language in (("instruction", "en"), ("instruction", "zh")):
        assert (task, language, "train") in have
    for task, language in (("summary", "en"), ("qa", "en"), ("qa", "zh"), ("dialogue", "zh")):
        assert {(task, language, "train"), (task, language, "test")} <= have
    assert any(record.baselines for record in built.kept.values())
