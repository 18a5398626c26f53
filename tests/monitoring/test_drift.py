"""The population stability index: worked values, what chance makes of it, and the verdicts."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from mulmed.monitoring.drift import (
    LEVEL,
    by_week,
    chance_level,
    find_drift,
    population_stability,
    profile_of,
    profile_of_counts,
)
from mulmed.monitoring.shape import shape_of
from mulmed.monitoring.store import Count, Monitor, Served, read_counts

shares = st.lists(st.floats(0.01, 1), min_size=4, max_size=4)


def test_a_worked_index() -> None:
    # Half and half against three quarters and a quarter: 0.25 ln(0.75/0.5) - 0.25 ln(0.25/0.5) = 0.25 ln 3.
    assert population_stability([10, 10], [30, 10]) == pytest.approx(0.25 * log(3))
    # By hand: (0.30-0.20)ln(1.5) + 0 + (0.40-0.50)ln(0.8) = 0.040547 + 0.022314.
    assert population_stability([0.2, 0.3, 0.5], [0.3, 0.3, 0.4]) == pytest.approx(0.062861, abs=1e-6)


@given(shares, shares)
def test_the_index_is_both_divergences_together(p: list[float], q: list[float]) -> None:
    assert population_stability(p, q) == pytest.approx(entropy(p, q) + entropy(q, p), abs=1e-12)
    assert population_stability(p, q) == pytest.approx(population_stability(q, p), abs=1e-12)


def test_the_chance_level_is_a_scaled_quantile() -> None:
    # 99% of chi-square with 9 degrees of freedom is 21.666 (any table).
    assert chance_level(500, 200, 10) == pytest.approx((1 / 500 + 1 / 200) * 21.666, rel=1e-4)


def test_chance_exceeds_its_level_as_rarely_as_it_says() -> None:
    random = np.random.default_rng(7)
    truth = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.15, 0.1])
    above = 0
    for _ in range(3000):
        n, m = random.multinomial(400, truth) + 0.5, random.multinomial(300, truth) + 0.5
        above += population_stability(list(n), list(m)) > chance_level(400, 300, len(truth))
    assert 0.005 < above / 3000 < 0.017  # 1 - LEVEL, with its own chance
    assert LEVEL == 0.99


EN = ["My heart races at night, what can I do?", "I have an itch on my skin since Monday morning"]
ZH = ["我最近总是咳嗽怎么办", "糖尿病可以吃水果吗"]


def test_the_same_messages_are_stable_and_others_are_told() -> None:
    judged = profile_of((EN + ZH) * 100)
    assert {d.verdict for d in find_drift(judged, profile_of((EN + ZH) * 50))} == {"stable"}
    found = {(d.measure, d.language): d for d in find_drift(judged, profile_of((EN * 9 + ZH) * 50))}
    # Languages 1:1 became 9:1, nothing else changed; 200 and 900 messages more half a class.
    p, q = 200.5 / 401, 900.5 / 1001
    assert found["language", ""].index == pytest.approx(
        (q - p) * log(q / p) + (p - q) * log((1 - q) / (1 - p))
    )
    assert found["language", ""].verdict == "drift"
    assert {d.verdict for key, d in found.items() if key[0] != "language"} == {"stable"}


def test_longer_messages_and_other_topics_are_told_apart() -> None:
    judged = profile_of((EN + ZH) * 100)
    longer = [text + " It began after I came back from a long journey to the sea." * 4 for text in EN] + ZH
    verdicts = {(d.measure, d.language): d.verdict for d in find_drift(judged, profile_of(longer * 60))}
    assert verdicts == {
        ("language", ""): "stable",
        ("length", "en"): "drift",
        ("topic", "en"): "stable",
        ("length", "zh"): "stable",
        ("topic", "zh"): "stable",
    }
    verdicts = {
        (d.measure, d.language): d.verdict for d in find_drift(judged, profile_of((EN + ZH[:1]) * 120))
    }
    assert verdicts["topic", "zh"] == "drift"
    assert verdicts["language", ""] == "watch"  # 1:1 became 2:1


@pytest.mark.parametrize(("messages", "verdict"), [(100, "stable"), (1000, "watch")])
def test_a_change_that_chance_makes_in_few_messages_is_told_of_many_only(messages: int, verdict: str) -> None:
    judged = profile_of([EN[0]] * (messages // 2) + [EN[1]] * (messages // 2))
    now = profile_of([EN[0]] * (66 * messages // 100) + [EN[1]] * (34 * messages // 100))
    (topic,) = (d for d in find_drift(judged, now) if d.measure == "topic")
    assert topic.index == pytest.approx(0.16 * log(66 / 34), rel=0.03)  # 0.106, above what counts as a change
    assert topic.chance == pytest.approx(2 / messages * 6.635, rel=1e-3)  # 0.133 and 0.013
    assert topic.verdict == verdict


def test_too_few_messages_are_not_judged() -> None:
    judged = profile_of((EN + ZH) * 100)
    now = profile_of((EN + ZH) * 24 + EN + EN[:1])  # 99
    assert {(d.verdict, d.index, d.chance) for d in find_drift(judged, now)} == {("too few", None, None)}
    now = profile_of((EN + ZH) * 25)
    assert {d.measure: d.verdict for d in find_drift(judged, now) if not d.language} == {"language": "stable"}


def test_a_language_nobody_wrote_before_is_drift() -> None:
    judged = profile_of((EN + ZH) * 100)
    now = profile_of((EN + ZH) * 50 + ["У меня болит голова"] * 60)
    (mix,) = (d for d in find_drift(judged, now) if d.measure == "language")
    assert mix.verdict == "drift"
    assert mix.observed["other"] == 60


def test_counts_of_a_service_make_the_profile_of_its_messages(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("monitor") / "m.db"
    monitor = Monitor(path)
    for text in (EN + ZH) * 3:
        monitor.count(Served("qa", shape_of(text), "ok"))
    monitor.close()
    assert profile_of_counts(read_counts(path)) == profile_of((EN + ZH) * 3)


def test_weeks_begin_on_monday_at_midnight_utc() -> None:
    monday = 1_789_344_000  # 2026-09-14 00:00 UTC, a Monday
    counts = [
        Count(monday + at, "request", ("qa", "patient", "en", "ok"), 1)
        for at in (-900, 0, 604_799 - 899, 604_800)
    ]
    assert [(day.isoformat(), len(found)) for day, found in by_week(counts).items()] == [
        ("2026-09-07", 1),
        ("2026-09-14", 2),
        ("2026-09-21", 1),
    ]
