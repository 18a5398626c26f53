"""How much is found, on labelled sets: half of each was never looked at while the rules were made."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import pytest

from mulmed.corpus.deidentify.invented import hospitals, made_up
from mulmed.corpus.deidentify.labelled import (
    Example,
    Label,
    consultations,
    general_english,
    half,
    visits,
)
from mulmed.corpus.deidentify.leak import Score, leak_report, rows, table, wilson

DATA = Path(os.environ.get("MULMED_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
needs_data = pytest.mark.skipif(
    not DATA.is_dir(), reason="MULMED_DATA (the folder of published corpora) is absent"
)
STRUCTURED = (
    "PHONE",
    "ID",
    "EMAIL",
    "URL",
    "IP",
    "ACCOUNT",
    "RECORD_NUMBER",
    "PLATE",
    "DATE",
    "DATE_OF_BIRTH",
)


def reported(examples: Iterator[Example], profile: str = "full") -> dict[str, Score]:
    found: dict[str, Score] = {}
    for (_, kind), score in leak_report((e for e in examples if half(e) == "report"), profile).items():  # type: ignore[arg-type]
        found[kind] = found.get(kind, Score()) + score
    return found


def test_wilson_is_the_worked_example() -> None:
    # 81 of 263: 0.255 to 0.366 (Newcombe 1998, Statistics in Medicine 17:857, method 3).
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_counts_of_overlap_cover_and_exactness() -> None:
    text = "Dr. Anil Kumar, 13812345678, and Zzyx."
    labels = (Label(0, 14, "NAME"), Label(16, 27, "PHONE"), Label(33, 37, "NAME"))
    scores = leak_report([Example("x", text, labels, "en")], "fast")
    # "Dr." is labelled and stays: touched, not covered.
    assert scores["x", "NAME"] == Score(labelled=2, overlap=1, covered=0, exact=0, found=1, right=1)
    assert scores["x", "PHONE"] == Score(labelled=1, overlap=1, covered=1, exact=1, found=1, right=1)
    (name, phone) = rows(scores, "fast")
    assert (name["recall_overlap"], name["precision"], phone["recall_exact"]) == (0.5, 1.0, 1.0)
    better = {**name, "profile": "full", "overlap": 2, "recall_overlap": 1.0}
    shown = table([name, phone, better, {**phone, "profile": "full"}]).splitlines()[2:]
    assert [line.split(" | ")[1:5] for line in shown] == [
        ["NAME", "fast", "2", "0.500"],
        ["NAME", "full", "2", "1.000"],
        ["PHONE", "both", "1", "1.000"],
    ]


@pytest.mark.parametrize(("locale", "names"), [("zh_CN", 0.90), ("en_US", 0.90), ("en_IN", 0.90)])
def test_recall_on_people_of_faker(locale: str, names: float) -> None:
    scores = reported(made_up(locale, 900, seed=7))  # type: ignore[arg-type]
    for kind in STRUCTURED:
        if score := scores.get(kind):
            assert score.overlap >= 0.99 * score.labelled, kind
    assert scores["NAME"].overlap >= names * scores["NAME"].labelled
    assert all(score.right >= 0.95 * score.found for score in scores.values())


@pytest.mark.parametrize(("language", "recall"), [("zh", 0.95), ("en", 0.95)])
def test_recall_and_precision_on_hospitals(language: str, recall: float) -> None:
    scores = reported(hospitals(language, 800, seed=7), "fast")  # type: ignore[arg-type]
    for kind in ("HOSPITAL", "DEPARTMENT"):
        score = scores[kind]
        assert score.overlap >= recall * score.labelled, kind
        assert score.right >= 0.98 * score.found, kind


def test_the_report_that_goes_into_data_cards_is_of_these_rules() -> None:
    """Measured again on the sets that need no data: a changed rule changes the report that is passed on."""
    report = json.loads(files("mulmed.corpus.deidentify").joinpath("leak.json").read_text("utf-8"))
    measured = {(r["set"], r["kind"]): r for r in report["rows"] if r["profile"] == "fast"}
    if report["faker"] != version("faker"):
        pytest.skip("the report was made with another version of Faker, which draws other values")
    for locale in ("en_US", "zh_CN"):
        examples = [e for e in made_up(locale, 1200) if half(e) == "report"]  # type: ignore[arg-type]
        for row in rows(leak_report(examples, "fast"), "fast"):
            assert measured[row["set"], row["kind"]] == row


@needs_data
@pytest.mark.parametrize("locale", ["zh_CN", "en_US", "en_IN"])
def test_recall_in_real_consultations(locale: str) -> None:
    carriers = list(consultations(DATA, "zh" if locale == "zh_CN" else "en"))
    scores = reported(made_up(locale, 900, seed=7, carriers=carriers))  # type: ignore[arg-type]
    for kind in STRUCTURED:
        if score := scores.get(kind):
            assert score.overlap >= 0.99 * score.labelled, kind
    assert scores["NAME"].overlap >= 0.90 * scores["NAME"].labelled


@pytest.mark.parametrize("locale", ["zh_CN", "en_US", "en_IN"])
def test_the_sets_are_the_same_whatever_day_it_is(locale: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set that changed with the calendar would change which half a text falls in, and so the report."""

    class Tomorrow(datetime.date):
        @classmethod
        def today(cls) -> Tomorrow:
            return cls(2031, 2, 28)

    now = [*made_up(locale, 200), *hospitals("zh", 50), *hospitals("en", 50)]  # type: ignore[arg-type]
    monkeypatch.setattr("datetime.date", Tomorrow)
    assert [*made_up(locale, 200), *hospitals("zh", 50), *hospitals("en", 50)] == now  # type: ignore[arg-type]


def test_values_are_put_behind_sentences_and_between_characters() -> None:
    carriers = ["头疼三天。昨晚发烧了，没有咳嗽。"]
    examples = list(made_up("zh_CN", 60, carriers=carriers))
    touching = 0
    for example in examples:
        (label,) = example.labels
        value = example.text[label.start : label.end]
        assert value not in carriers[0]
        assert not example.complete
        around = example.text[label.start - 1] + example.text[label.end]
        bare = example.text[: label.start] + example.text[label.end :]
        if bare == carriers[0]:
            touching += 1
            assert all("\u4e00" <= character <= "\u9fff" for character in around)
    assert touching == 20


def test_what_is_found_beside_labels_counts_against_complete_examples_only() -> None:
    text = "Ring 614-555-0163 or mail a@b.org"
    labels = (Label(5, 17, "PHONE"),)
    whole = leak_report([Example("x", text, labels, "en")], "fast")
    part = leak_report([Example("x", text, labels, "en", complete=False)], "fast")
    assert whole["x", "EMAIL"] == Score(found=1)
    assert part == {("x", "PHONE"): Score(labelled=1, overlap=1, covered=1, exact=1)}


@needs_data
def test_recall_on_visits() -> None:
    names = reported(visits(DATA))["NAME"]
    assert names.overlap >= 0.90 * names.labelled


@needs_data
def test_recall_on_general_english() -> None:
    scores = reported(general_english(DATA))
    for kind in ("EMAIL", "URL", "ACCOUNT", "ID", "IP", "PHONE"):
        assert scores[kind].overlap >= 0.99 * scores[kind].labelled, kind
    assert scores["ADDRESS"].overlap >= 0.88 * scores["ADDRESS"].labelled
    assert scores["ADDRESS"].right >= 0.98 * scores["ADDRESS"].found
    assert scores["NAME"].overlap >= 0.90 * scores["NAME"].labelled
