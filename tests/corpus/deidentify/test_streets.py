"""Addresses outside China, and postcodes. All of them are invented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus.deidentify import deidentify_text
from mulmed.corpus.deidentify.rules import look
from mulmed.corpus.deidentify.streets import NEAR, near

ADDRESSES = [
    ("Write to 12 Rue des Tilleuls, please", "Write to [ADDRESS], please"),
    ("He lives on Via Quenbina 129 now", "He lives on [ADDRESS] now"),
    ("Lindenstraße 5, Wohlgasse 17b and Oldacker Strasse 31", "[ADDRESS], [ADDRESS] and [ADDRESS]"),
    ("at Larkgatan 7, at Fernvej 12, at Havuntie 72", "at [ADDRESS], at [ADDRESS], at [ADDRESS]"),
    (
        "To 20789 Quenbika 46\n Suite 501\n Oldacker\n\n Estonia 62488\nThe scan was clear",
        "To [ADDRESS]\nThe scan was clear",
    ),
    ("See us in Suite 204. Call before", "See us in [ADDRESS]. Call before"),
    ("Post: PSC 0413, Box 8144\nAPO AA 42323", "Post: [ADDRESS]"),
    ("from H.No. 131\nQuenby Circle. Rest", "from [ADDRESS]. Rest"),
    ("meet me at 8514 Fernveien 46 today", "meet me at [ADDRESS] today"),
    ("at 880 Oldacre Bridge and 5470 Quenby Roads", "at [ADDRESS] and [ADDRESS]"),
    ("We moved to Oldacre, IL 62704.", "We moved to Oldacre, IL [ZIP]."),
    ("a doctor in Quenbyby 6091 and in Fernhollow 840 24", "a doctor in Quenbyby [ZIP] and in Fernhollow [ZIP]"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), ADDRESSES)
def test_addresses_and_postcodes(text: str, expected: str) -> None:
    assert deidentify_text(text, "en", "fast").text == expected


@pytest.mark.parametrize(
    "text",
    [
        "Via PEG 30 ml, then via Oral route 20 mg. Camino 5 mg was given.",
        "The Lancet 2019; in March 2020, in Europe 1421 patients and in Spain 250000 cases.",
        "At 120 Systolic he felt faint. Take 2 Left Lower Wall leads. 3 Main Points follow.",
        "A 5 Pass filter; a suite of 20 tests; apt to bleed 3 days; at the corner of the mouth and eye.",
        "Auntie 5 said; the necktie 3; Brigade 7 came; a unit 4 transfusion; flat 2 mm lesions.",
        "Walk 20 min on the street. 12 Weeks Way of treatment; 400 mg Court plaster.",
    ],
)
def test_clinical_numbers_are_no_addresses(text: str) -> None:
    kinds = {span.kind for span in deidentify_text(text, "en", "fast").spans}
    assert kinds.isdisjoint({"address", "zip"})


PIECES = [
    *(text for text, _ in ADDRESSES),
    *["12", "77", "Rue", "de", "la", "Via", "Tasso", "129", "Straße", "STRASSE", "5", "Út", "ÚT", "98.", "út", "Λ.", "λεωφόρος", "Apt.", "Suite", "3", "Box", "PO", "FPO", "AA", "42323", "corner", "of", "and", "H.No.", "House", "no.", "9", "is", "at", "to", "address:", "in", "Bjert", "6091", "IL", "62704", "840", "24", "\n", ",", ">", "C/", "Praça", "allée", "ul."],
]  # fmt: skip


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.sampled_from(PIECES), max_size=14),
    st.sampled_from([" ", "\n", " , "]),
    st.sampled_from([0, 900]),
)
def test_looking_near_the_literals_finds_what_looking_everywhere_finds(
    words: list[str], between: str, far: int
) -> None:
    # In a long text only the neighbourhood of the literals is looked at.
    text = between.join(["ache, " * far, *words, "ache, " * far])
    (hits,) = look([text], "en", True)
    for family, (pattern, _) in NEAR.items():
        everywhere = [m.span() for m in pattern.finditer(text)]
        assert [m.span() for m in near(family, text, hits)] == everywhere, family
