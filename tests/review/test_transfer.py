"""Studies in and out: backups of both databases into each other, sheets, exports, imports."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update

from mulmed.errors import MulmedError
from mulmed.review import schema
from mulmed.review.access import names
from mulmed.review.audit import head, verify
from mulmed.review.database import Store
from mulmed.review.saving import places, read_item, save_rating
from mulmed.review.study import move, read_study
from mulmed.review.transfer import backup, exported, import_scores, restore, sheets, write_rows
from tests.review.studies import MODELS, make_study, rate_all, rating


def contents(store: Store) -> dict[str, list[Any]]:
    with store.read() as connection:
        return {
            t.name: sorted(map(tuple, connection.execute(select(t)))) for t in schema.metadata.sorted_tables
        }


def test_a_backup_restores_to_the_same_in_any_database(
    study: Store, tmp_path: Path, new_target: Callable[[], str]
) -> None:
    rate_all(study, lambda name, item: (2, 1, 0))
    file = tmp_path / "backup"
    backup(study, file)
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("backup")) == ["backup"]
    again = restore(file, new_target())
    assert contents(again) == contents(study)
    assert verify(again) == []
    assert head(again) == head(study)
    with pytest.raises(MulmedError, match="exists"):
        backup(study, file)
    # Life goes on in the restored one.
    place = places(again, 1)[0]
    save_rating(again, 1, place.id, rating(0, 0, 0), 1, "after")
    assert verify(again) == []


def test_a_backup_that_was_tampered_with_is_not_restored(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"))
    rate_all(store, lambda name, item: (2, 1, 0))
    with store.write() as (connection, _):
        connection.execute(update(schema.sealed).values(model="mine"))
    backup(store, tmp_path / "backup")
    with pytest.raises(MulmedError, match="does not verify"):
        restore(tmp_path / "backup", str(tmp_path / "b.db"))
    assert not (tmp_path / "b.db").exists()


def test_an_export_names_models_only_once_the_study_is_unblinded(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"))
    rate_all(store, lambda name, item: (2, 1, 0))
    text = json.dumps(
        [exported(store, read_study(store)), list(sheets(store, read_study(store), names(store)))]
    )
    assert not any(word in text for word in (*MODELS, "source-", "repeat"))
    move(store, "locked")
    move(store, "unblinded")
    rows = exported(store, read_study(store))
    assert {row["model"] for row in rows} == set(MODELS)
    assert len(rows) == 3 * 13
    for name, rows_read in (
        ("a.csv", lambda p: list(csv.DictReader(p.open(encoding="utf-8-sig", newline="")))),
        ("a.jsonl", lambda p: [json.loads(line) for line in p.read_text().splitlines()]),
    ):
        write_rows(rows, tmp_path / name)
        found = rows_read(tmp_path / name)
        assert [(r["assignment"], r["model"], str(r["user_guidance"])) for r in found] == [
            (r["assignment"], r["model"], str(r["user_guidance"])) for r in rows
        ]


def test_an_export_has_the_marked_words_or_only_says_that_there_are_some(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"))
    place = places(store, 1)[0]
    item = read_item(store, 1, place.id)
    assert item is not None
    mark = {"axis": "user_guidance", "start": 2, "end": 7}
    save_rating(store, 1, place.id, rating(2, 2, 0, comment="Frau Beispiel", marks=[mark]), 0, "a")
    study = read_study(store)
    row = next(r for r in exported(store, study) if r["assignment"] == place.id)
    assert row["comment"] == "Frau Beispiel"
    assert row["marks"] == [mark | {"words": item["answer"][2:7]}]
    write_rows(exported(store, study), tmp_path / "a.csv")
    with (tmp_path / "a.csv").open(encoding="utf-8-sig", newline="") as file:
        (read,) = (r for r in csv.DictReader(file) if r["assignment"] == place.id)
    assert json.loads(read["marks"]) == row["marks"]
    rows = exported(store, study, words=False)
    row = next(r for r in rows if r["assignment"] == place.id)
    assert (row["commented"], row["marked"], row["user_guidance"]) == (True, ["user_guidance"], 0)
    assert sum(r["commented"] for r in rows) == 1
    text = json.dumps(rows, ensure_ascii=False)
    assert "Beispiel" not in text
    assert item["answer"][2:7] not in text


def test_a_comment_is_no_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    write_rows([{"comment": "=HYPERLINK(1)", "n": -1}], tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text(encoding="utf-8-sig").splitlines()[1] == "'=HYPERLINK(1),-1"


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_scores_made_elsewhere_are_taken_in_once(tmp_path: Path, ending: str) -> None:
    store = make_study(str(tmp_path / "a.db"))
    rows = list(sheets(store, read_study(store), names(store)))
    for n, row in enumerate(rows[:-2]):
        row |= {
            "information_security": 2,
            "etiology_explainability": n % 3,
            "user_guidance": 1,
            "comment": "好",
        }
    rows[-2]["skip"] = "conflict"
    file = tmp_path / f"sheet.{ending}"
    write_rows(rows, file)
    assert import_scores(store, file) == (38, 1)
    assert import_scores(store, file) == (0, 39)
    item = read_item(store, 1, rows[1]["assignment"])
    assert item is not None
    assert (item["status"], item["rating"]["scores"]["etiology_explainability"]) == ("done", 1)
    assert item["rating"]["comment"] == "好"
    assert verify(store) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"information_security": "5"}, "no such score"),
        ({"information_security": "two"}, "is no score"),
        ({"user_guidance": ""}, "missing"),
        ({"annotator": "Nobody"}, "no annotator 'Nobody'"),
        ({"annotator": "Bo"}, "'Bo' has no such answer to rate"),
        ({"skip": "bored"}, "unknown reason"),
    ],
)
def test_one_wrong_row_and_nothing_is_taken_in(tmp_path: Path, change: dict[str, str], told: str) -> None:
    store = make_study(str(tmp_path / "a.db"))
    rows = list(sheets(store, read_study(store), names(store)))[:5]
    for row in rows:
        row |= {"information_security": 2, "etiology_explainability": 1, "user_guidance": 1}
    rows[3] |= change
    write_rows(rows, tmp_path / "sheet.csv")
    with pytest.raises(MulmedError, match=told) as error:
        import_scores(store, tmp_path / "sheet.csv")
    assert error.value.where.endswith("row 5")
    assert all(p.version == 0 for p in places(store, 1))
    assert verify(store) == []


def test_a_rating_made_here_is_not_overwritten(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"))
    row = next(sheets(store, read_study(store), names(store)))
    save_rating(store, 1, row["assignment"], rating(0, 0, 0), 0, "here")
    row |= {"information_security": 2, "etiology_explainability": 1, "user_guidance": 1}
    write_rows([row], tmp_path / "sheet.csv")
    with pytest.raises(MulmedError, match="differently"):
        import_scores(store, tmp_path / "sheet.csv")


def test_a_rating_changed_since_its_import_is_not_counted_as_taken_in_again(tmp_path: Path) -> None:
    """Nor does a second sheet with other scores pass for the first one's."""
    store = make_study(str(tmp_path / "a.db"))
    row = next(sheets(store, read_study(store), names(store)))
    row |= {"information_security": 2, "etiology_explainability": 1, "user_guidance": 1}
    write_rows([row], tmp_path / "sheet.csv")
    assert import_scores(store, tmp_path / "sheet.csv") == (1, 0)
    write_rows([row | {"user_guidance": 0}], tmp_path / "other.csv")
    with pytest.raises(MulmedError, match="rated already, and differently"):
        import_scores(store, tmp_path / "other.csv")
    save_rating(store, 1, row["assignment"], rating(2, 1, 2), 1, "on the page")
    with pytest.raises(MulmedError, match="rated already, and differently"):
        import_scores(store, tmp_path / "sheet.csv")
    item = read_item(store, 1, row["assignment"])
    assert item is not None
    assert (item["version"], item["rating"]["scores"]["user_guidance"]) == (2, 2)


def test_nobody_takes_in_anothers_rating_as_their_own(tmp_path: Path) -> None:
    """Not even one that says the same: whoever is named in the row has no such answer."""
    store = make_study(str(tmp_path / "a.db"))
    row = next(sheets(store, read_study(store), names(store)))
    row |= {"information_security": 2, "etiology_explainability": 1, "user_guidance": 1}
    write_rows([row], tmp_path / "sheet.csv")
    assert import_scores(store, tmp_path / "sheet.csv") == (1, 0)
    write_rows([row | {"annotator": "Bo"}], tmp_path / "other.csv")
    with pytest.raises(MulmedError, match="'Bo' has no such answer to rate"):
        import_scores(store, tmp_path / "other.csv")


def test_a_study_that_is_not_open_takes_no_sheet_and_says_so(tmp_path: Path) -> None:
    store = make_study(str(tmp_path / "a.db"))
    row = next(sheets(store, read_study(store), names(store)))
    row |= {"information_security": 2, "etiology_explainability": 1, "user_guidance": 1}
    write_rows([row], tmp_path / "sheet.csv")
    move(store, "locked")
    with pytest.raises(MulmedError, match="the study is locked, and only an open one takes ratings"):
        import_scores(store, tmp_path / "sheet.csv")
