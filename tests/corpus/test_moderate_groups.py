"""Group terms, and the table that shows whether moderation removes more about some groups."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from mulmed.corpus.moderate.groups import group_terms, removal, removals


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("Black women with lupus", ("ethnicity", "sex")),
        (
            "A black stool, a white tongue and Indian food",
            ("ethnicity",),
        ),  # Indian food names a group, a colour none
        ("Black stool", ()),
        ("The elderly Muslim patient is deaf", ("age", "disability", "religion")),
        ("Gay men", ("sex", "sexual orientation")),
        ("Mental health of the human population", ()),  # no "men" in "mental", no "man" in "human"
        ("农村人和同性恋者", ("ethnicity", "sexual orientation")),
        ("老年女性，肥胖", ("age", "body", "sex")),
        ("头痛三天", ()),
        ("", ()),
    ],
)
def test_group_terms(text: str, groups: tuple[str, ...]) -> None:
    assert group_terms(text) == groups


def test_the_table_counts_each_record_once_a_group() -> None:
    table = removals([(("age", "sex"), True), (("sex",), False), ((), False), ((), True), ((), False)])
    assert [(r.group, r.records, r.removed) for r in table] == [
        ("age", 1, 1),
        ("sex", 2, 1),
        ("any", 2, 1),
        ("none", 3, 1),
    ]


@pytest.mark.parametrize(("records", "removed"), [(10, 0), (10, 1), (1000, 7), (3, 3), (250, 125)])
def test_wilson_intervals_are_those_of_scipy(records: int, removed: int) -> None:
    line = removal("g", records, removed)
    low, high = binomtest(removed, records).proportion_ci(method="wilson")
    assert line.share == removed / records
    assert line.low == pytest.approx(low, abs=1e-6)
    assert line.high == pytest.approx(high, abs=1e-6)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="3 of 2"):
        removal("g", 2, 3)
    assert removal("g", 0, 0).high == 1.0
