"""The data card tells what the corpus's own numbers say, in a head that a YAML parser reads."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import pytest
import yaml

from mulmed.corpus.card import data_card
from mulmed.recipe import Corpus

STATISTICS: dict[str, Any] = {
    "splits": [
        {"source": "chat", "task": "dialogue", "language": "zh", "split": "train", "records": 1_500},
        {"source": "chat", "task": "dialogue", "language": "zh", "split": "test", "records": 300},
        {"source": "a|b", "task": "summary", "language": "en", "split": "train", "records": 200},
    ],
    "table1": [
        {"source": "chat", "task": "dialogue", "language": "zh", "size": 1_800, "abstract": None,
         "summary": None, "question": 148.84, "answer": 36.1, "turns": 2.5},
    ],
    "tags": {},
    "records_sha256": "ab" * 32,
}  # fmt: skip
FUNNEL = {
    "stages": [
        {
            "stage": "read",
            "in": 2_345,
            "changed": 0,
            "dropped": 345,
            "out": 2_000,
            "rules": {"rejected: no dialogue": 300, "rejected: no question": 45},
        }
    ]
}


def corpus(**more: Any) -> Corpus:
    sources = {
        "chat": {"layout": "meddialog-zh", "path": ["x.txt", "y/*.txt"], "language": "zh", "split": {"test": 0.166}},
        "a|b": {"layout": "laysumm", "path": "plos.jsonl", "language": "en"},
    }  # fmt: skip
    return Corpus.model_validate({"sources": sources} | more)


def row(card: str, *beginning: str) -> list[str]:
    (line,) = [line for line in card.splitlines() if line.startswith(f"| {' | '.join(beginning)} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_head_is_what_the_hub_reads() -> None:
    _, head, _ = data_card(corpus(), STATISTICS, FUNNEL).split("---\n", 2)
    assert yaml.safe_load(head) == {
        "language": ["en", "zh"],
        "license": "unknown",
        "task_categories": ["summarization", "text-generation"],
        "size_categories": ["1K<n<10K"],
        "tags": ["medical"],
    }


@pytest.mark.parametrize(
    ("licences", "told"),
    [
        (("CC-BY-4.0", None), "unknown"),
        (("CC-BY-4.0", "CC-BY-4.0"), "cc-by-4.0"),
        (("CC-BY-4.0", "MIT"), "other"),
    ],
)
def test_a_licence_is_claimed_for_the_whole_only_where_all_sources_have_it(
    licences: tuple[str | None, str | None], told: str
) -> None:
    settings = corpus().model_dump()
    for source, licence in zip(settings["sources"].values(), licences, strict=True):
        source["licence"] = licence
    card = data_card(Corpus.model_validate(settings), STATISTICS, FUNNEL)
    assert yaml.safe_load(card.split("---\n", 2)[1])["license"] == told
    assert row(card, "chat", "meddialog-zh")[4] == licences[0]
    assert row(card, "a&#124;b", "laysumm")[4] == (licences[1] or "not stated")


def test_its_tables_are_the_corpuss_numbers() -> None:
    card = data_card(corpus(), STATISTICS, FUNNEL)
    assert "2,000 records" in card
    assert row(card, "chat", "meddialog-zh")[2:] == [
        "zh", "`x.txt`, `y/*.txt`", "not stated", "train, test 16.6%", "1,800",
    ]  # fmt: skip
    assert row(card, "chat", "dialogue", "zh", "test")[4:] == ["300", "15.0%"]
    assert row(card, "chat", "dialogue", "zh", "1,800")[4:] == ["", "", "148.8", "36.1", "2.5"]
    assert row(card, "read")[1:5] == ["2,345", "0", "345", "2,000"]
    assert row(card, "read")[5] == "rejected: no dialogue 300, rejected: no question 45"
    # a bar in a name does not end its cell
    assert row(card, "a&#124;b", "laysumm")[6] == "200"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"deidentify": False}, "De-identification was switched off"),
        (
            {"deidentify": {"profile": "full"}},
            "rules and a model of names and gave way to typed placeholders",
        ),
        ({"deidentify": {"surrogates": "consistent"}}, "made-up values"),
    ],
)
def test_it_says_how_people_were_masked_and_that_they_were_not(settings: dict[str, Any], said: str) -> None:
    assert said in data_card(corpus(**settings), STATISTICS, FUNNEL)


def test_tags_are_told_where_there_are_any() -> None:
    assert "crisis" not in data_card(corpus(), STATISTICS, FUNNEL)
    assert "`crisis` 12" in data_card(corpus(), STATISTICS | {"tags": {"crisis": 12}}, FUNNEL)


def test_the_leak_report_of_the_corpus_profile_stands_in_it() -> None:
    card = data_card(corpus(deidentify={"profile": "fast"}), STATISTICS, FUNNEL)
    fast = row(card, "faker zh_CN", "NAME")
    full = row(data_card(corpus(deidentify={"profile": "full"}), STATISTICS, FUNNEL), "faker zh_CN", "NAME")
    # Names that nothing announces are found by the model of `full` alone.
    assert float(fast[3].rstrip("%")) < 75 < 90 < float(full[3].rstrip("%"))
    # What has a form of its own is one row a set: as many as labelled spans of these kinds.
    measured = json.loads(files("mulmed.corpus.deidentify").joinpath("leak.json").read_text("utf-8"))
    kinds = {"NAME", "ADDRESS", "HOSPITAL", "DEPARTMENT", "AGE", "SITE"}
    labelled = sum(
        r["labelled"]
        for r in measured["rows"]
        if r["set"] == "pii_en" and r["profile"] == "fast" and r["kind"] not in kinds
    )
    assert row(card, "pii_en", "numbers, dates, addresses on the net")[2] == f"{labelled:,}"
    assert "faker" not in data_card(corpus(deidentify=None), STATISTICS, FUNNEL)
