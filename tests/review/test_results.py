"""From ratings to numbers and figures: by hand, and where there is nothing to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mulmed.errors import MulmedError
from mulmed.report import figures
from mulmed.report.review_figures import scores_figure, shares_figure
from mulmed.report.review_tables import account, judge_table, remarks_table
from mulmed.review.access import names
from mulmed.review.agreement import gwet_ac2, krippendorff_alpha, why_undefined
from mulmed.review.database import Store
from mulmed.review.results import results
from mulmed.review.saving import places, read_item, save_rating
from mulmed.review.study import move
from tests.review.studies import MODELS, answers, make_study, rate_all, rating

MODEL_OF = {row["answer"]: row["model"] for row in answers(12)}


def unblinded(store: Store) -> dict[str, Any]:
    move(store, "locked")
    move(store, "unblinded")
    return results(store, resamples=200)


def of(rows: list[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    (found,) = [row for row in rows if all(row[k] == v for k, v in wanted.items())]
    return found


def test_a_study_must_be_unblinded(tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="stays sealed"):
        results(make_study(str(tmp_path / "a.db")))


def test_numbers_are_those_of_the_ratings(tmp_path: Path) -> None:
    """The first model is best by a point on the last axis; one annotator is stricter; somebody always gives 2 first."""
    store = make_study(str(tmp_path / "a.db"), questions=12)

    def score(name: str, item: dict[str, Any]) -> tuple[int, int, int]:
        best = MODEL_OF[item["answer"]] == MODELS[0]
        hard = len(item["question"]) % 2
        return 2, max(0, 2 - hard - (name == "Chen")), (2 if best else 1)

    rated = rate_all(store, score)
    found = unblinded(store)
    assert found["models"] == sorted(MODELS)
    assert json.loads(json.dumps(found)) == found
    first = [r for r in rated if r.place.kind == "rating"]
    for model in MODELS:
        for at, axis in enumerate(a["key"] for a in found["axes"]):
            mine = [r.scores[at] for r in first if MODEL_OF[r.item["answer"]] == model]
            row = of(found["scores"], model=model, axis=axis, language="all")
            assert row["mean"] == pytest.approx(np.mean(mine))
            assert row["shares"] == pytest.approx([mine.count(v) / len(mine) for v in range(3)])
            assert (row["questions"], row["ratings"], row["asked"]) == (12, 36, 1)
            assert row["low"] <= row["mean"] <= row["high"]
    english = of(found["scores"], model=MODELS[0], axis="etiology_explainability", language="en")
    assert english["questions"] == 6

    # Agreement: the same as of an array put together by hand.
    items = sorted({r.item["answer"] for r in first})
    people = ("Ada", "Bo", "Chen")
    table = np.full((3, len(items)), np.nan)
    for r in first:
        table[people.index(r.annotator), items.index(r.item["answer"])] = r.scores[1]
    row = of(found["agreement"], axis="etiology_explainability", language="all")
    assert row["alpha"]["value"] == pytest.approx(krippendorff_alpha(table, "ordinal"))
    assert row["ac2"]["value"] == pytest.approx(gwet_ac2(table, "quadratic", (0, 1, 2)))
    assert row["alpha"]["low"] <= row["alpha"]["value"] <= row["alpha"]["high"]
    constant = of(found["agreement"], axis="information_security", language="all")
    assert constant["alpha"]["value"] is None
    assert constant["raw"]["value"] == 1
    assert why_undefined(constant["rated_twice"], constant["distinct"]) == "undefined: no variation"

    # Comparison: the first model wins on the last axis, nobody on the first.
    guidance = of(found["comparisons"], axis="user_guidance")
    assert guidance["p"] < 0.001
    pair = of(guidance["pairs"], first=sorted(MODELS)[0], second=sorted(MODELS)[1])
    assert pair["difference"] == 1
    assert pair["p_holm"] < 0.01
    assert of(found["comparisons"], axis="information_security")["p"] is None

    # Without the strict annotator everybody agrees, and means rise.
    rest = of(found["leave_one_out"], annotator="annotator 3", axis="etiology_explainability")
    assert rest["alpha"] == pytest.approx(1)
    assert all(rest["means"][m] > np.mean([r.scores[1] for r in first]) for m in MODELS)
    assert [r["twice"] for r in found["repeats"]] == [6, 6, 6]  # 5% of 36, rounded up, for three
    assert [r["same"] for r in found["repeats"]] == [6, 6, 6]
    assert not any(name in json.dumps(found) for name in people)


def test_a_judge_model_is_compared_with_the_people_and_never_counted_among_them(tmp_path: Path) -> None:
    """The judge agrees with everybody on the second axis and is the opposite of everybody on the third."""

    def score(name: str, item: dict[str, Any]) -> tuple[int, int, int]:
        thought = len(item["question"]) % 3
        return 2, thought, 2 - thought if name == "judge-9" else thought

    found, alone = (
        unblinded(_rated(make_study(str(tmp_path / f"{judge}.db"), questions=12, judge=judge), score))
        for judge in ("judge-9", None)
    )
    assert found["annotators"] == alone["annotators"] == 3
    assert [(r["mean"], r["ratings"]) for r in found["scores"]] == [
        (r["mean"], r["ratings"]) for r in alone["scores"]
    ]
    assert (
        found["agreement"][3]["kappa"]["value"] == alone["agreement"][3]["kappa"]["value"] == pytest.approx(1)
    )
    assert alone["judge"] == []
    assert alone["judged"] == {"asked": 0, "rated": 0}
    assert found["judged"] == {"asked": 36, "rated": 36}
    assert judge_table(alone) is None
    of_all = {j["axis"]: j["value"] for j in found["judge"] if j["language"] == "all"}
    assert of_all["information_security"] is None
    assert of_all["etiology_explainability"] == pytest.approx(1)
    assert of_all["user_guidance"] < -0.5
    table = judge_table(found)
    assert table is not None
    assert (
        "A judge model (judge-9) rated 36 of the same 36 answers, unseen by the annotators" in table.caption
    )
    shown = {**found, "study": {**found["study"], "show_judge": True}}
    assert "seen by the annotators only after their own" in (judge_table(shown) or table).caption
    assert any("may have shaped how they rated" in sentence for sentence in account(shown))
    assert not any("may have shaped" in sentence for sentence in account(found))
    assert [cell.text for cell in table.groups[0].rows[1]] == ["Etiology explainability", "1.00", "1.00"]


def _rated(store: Store, score: Any) -> Store:
    rate_all(store, score)
    return store


def test_scores_behind_a_gate_are_of_those_who_passed_it(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), on_unsafe="stop", questions=6)
    rate_all(store, lambda name, item: (0,) if MODEL_OF[item["answer"]] == MODELS[0] else (2, 1, 2))
    found = unblinded(store)
    assert found["study"]["on_unsafe"] == "stop"
    gated = of(found["scores"], model=MODELS[0], axis="user_guidance", language="all")
    assert (gated["mean"], gated["asked"], gated["ratings"]) == (None, 0, 0)
    assert of(found["scores"], model=MODELS[1], axis="user_guidance", language="all")["mean"] == 2
    with figures.style():
        for titles in (
            [label.get_text() for label in scores_figure(found).axes[0].get_xticklabels()],
            [axes.get_title("left") for axes in shares_figure(found).axes],
        ):
            assert titles[0] == "Information security"  # everybody was asked for it
            assert titles[1:] == [
                "Etiology explainability\n(answers that passed)",
                "User guidance\n(answers that passed)",
            ]


def test_remarks_are_counted_and_never_quoted(tmp_path: Path) -> None:
    """Of one model's answers everybody gives a 1 on the last axis, one of three marks why, and all comment."""
    store = make_study(str(tmp_path / "a.db"), questions=2, repeats=0)

    for number, name in names(store).items():
        for place in places(store, number):
            item = read_item(store, number, place.id)
            assert item is not None
            low = MODEL_OF[item["answer"]] == MODELS[1]
            mark = {"axis": "user_guidance", "start": 0, "end": 4}
            given = rating(
                2, 2, 1 if low else 2,
                comment="Frau Beispiel, 17.3." if low else " ",
                marks=[mark] if low and name == "Bo" else [],
            )  # fmt: skip
            save_rating(store, number, place.id, given, 0, f"{name}-{place.id}")
    found = unblinded(store)
    low = of(found["remarks"], model=MODELS[1], axis="user_guidance")
    assert low == {"model": MODELS[1], "axis": "user_guidance", "low": 6, "marked": 2, "comments": 6}
    best = of(found["remarks"], model=MODELS[1], axis="information_security")
    assert (best["low"], best["marked"]) == (0, 0)
    assert of(found["remarks"], model=MODELS[0], axis="user_guidance")["comments"] == 0
    assert "Beispiel" not in json.dumps(found)
    cells = [[cell.text for cell in row] for row in remarks_table(found).groups[2].rows]
    assert [MODELS[1], "6", "2", "6"] in cells


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"))
    first, second = places(store, 1)[:2]
    save_rating(store, 1, first.id, rating(2, 2, 2), 0, "a")
    save_rating(store, 1, second.id, rating(skip="not_my_field"), 0, "b")
    found = unblinded(store)
    assert found["missing"]["annotators"][0] == {
        "name": "annotator 1", "total": 13, "done": 1, "skipped": 1, "open": 11,
    }  # fmt: skip
    assert found["missing"]["reasons"] == {"not_my_field": 1}
    row = of(found["agreement"], axis="user_guidance", language="all")
    assert row["alpha"]["value"] is None
    assert why_undefined(row["rated_twice"], row["distinct"]) == "undefined: no answer rated twice"


def test_the_figures_show_the_means_and_the_shares(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"), questions=8)
    rate_all(store, lambda name, item: (2, len(item["question"]) % 3, 1 if name == "Bo" else 2))
    found = unblinded(store)
    with figures.style():
        figure = scores_figure(found)
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        shown = [
            of(found["scores"], model=m, axis=a["key"], language="all")["mean"]
            for m in found["models"]
            for a in found["axes"]
        ]
        assert heights == pytest.approx(shown)
        assert [axes.get_title("left") for axes in figure.axes] == [
            "All languages",
            "English",
            "Chinese 中文",
        ]
        shares = shares_figure(found)
        for axes in shares.axes:
            by_model: dict[float, float] = {}
            for bar in axes.patches:
                by_model[round(bar.get_y(), 3)] = by_model.get(round(bar.get_y(), 3), 0) + bar.get_width()
            assert list(by_model.values()) == pytest.approx([1.0] * 3)
