"""The store, on SQLite and on a real PostgreSQL server: what is saved, what is refused, what the log proves."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update

from mulmed.errors import MulmedError
from mulmed.review import schema
from mulmed.review.access import begin_session, end_session, invite, who
from mulmed.review.audit import verify
from mulmed.review.database import Store, open_store
from mulmed.review.rubric import load_rubric
from mulmed.review.saving import Conflict, Refused, check_rating, places, read_item, save_rating
from mulmed.review.study import move, read_study, unsealed
from tests.review.studies import answers, make_study, rate_all, rating


def test_the_migrations_make_the_schema_that_the_code_uses(new_target: Callable[[], str]) -> None:
    store = open_store(new_target(), create=True)
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_sqlite_writes_ahead_and_waits_for_the_disk(tmp_path: Any) -> None:
    store = open_store(str(tmp_path / "a.db"), create=True)
    with store.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_the_study_is_what_was_asked_for(study: Store) -> None:
    found = read_study(study)
    assert found.state == "open"
    assert found.rubric == load_rubric().model_copy(update={"training": ()})
    assert found.settings["questions"] == 4
    mine = places(study, 1)
    assert [p.position for p in mine] == list(range(1, 14))  # 4 questions, 3 models, one repeat
    item = read_item(study, 1, mine[0].id)
    assert item is not None
    sources = {(r["question"], r["answer"]) for r in answers()}
    assert (item["question"], item["answer"]) in sources
    assert (item["version"], item["status"], item["rating"]) == (0, "open", None)


def test_a_saved_rating_is_there_for_whoever_opens_the_database_next(study: Store) -> None:
    place = places(study, 2)[0]
    mark = {"axis": "user_guidance", "start": 0, "end": 3}
    given = rating(2, 1, 0, comment="好的 👍", marks=[mark])
    saved = save_rating(study, 2, place.id, given, 0, "r1")
    url = study.engine.url.render_as_string(hide_password=False)
    again = open_store(study.where if url.startswith("sqlite") else url)
    item = read_item(again, 2, place.id)
    assert item is not None
    assert (item["rating"], item["version"], item["status"], item["saved_at"]) == (
        given,
        1,
        "done",
        saved.saved_at,
    )


def test_a_repeated_request_is_saved_once_even_after_a_later_one(study: Store) -> None:
    place = places(study, 1)[0]
    first = save_rating(study, 1, place.id, rating(2, done=False), 0, "r1")
    assert save_rating(study, 1, place.id, rating(2, done=False), 0, "r1") == first
    second = save_rating(study, 1, place.id, rating(2, 2, done=False), 1, "r2")
    assert save_rating(study, 1, place.id, rating(2, done=False), 0, "r1") == first
    item = read_item(study, 1, place.id)
    assert item is not None
    assert item["version"] == second.version == 2
    with pytest.raises(Refused, match="one id for two"):
        save_rating(study, 1, place.id, rating(1, done=False), 2, "r1")


def test_two_tabs_give_a_conflict_and_lose_nothing(study: Store) -> None:
    place = places(study, 1)[0]
    save_rating(study, 1, place.id, rating(2, done=False), 0, "tab one")
    with pytest.raises(Conflict) as told:
        save_rating(study, 1, place.id, rating(0, done=False), 0, "tab two")
    assert told.value.version == 1
    item = read_item(study, 1, place.id)
    assert item is not None
    assert item["rating"]["scores"] == {"information_security": 2}


def test_of_writers_at_once_one_wins_and_the_chain_holds(study: Store) -> None:
    """Eight threads, half of them on one place, through two stores as two server processes would have."""
    url = study.engine.url.render_as_string(hide_password=False)
    other = open_store(study.where if url.startswith("sqlite") else url)
    contested, *free = places(study, 1)
    start = threading.Barrier(8)

    def save(n: int) -> str:
        start.wait()
        place = contested if n % 2 else free[n]
        try:
            save_rating((study, other)[n % 4 // 2], 1, place.id, rating(n % 3, done=False), 0, f"t{n}")
        except Conflict:
            return "conflict"
        return "saved"

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(save, range(8)))
    assert found.count("saved") == 5
    assert found.count("conflict") == 3
    assert verify(study) == []


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (rating(2, 2, done=True), "user_guidance"),
        (rating(3, done=False), "no such score"),
        (rating(True, done=False), "no such score"),
        ({**rating(), "scores": {"user_guidance": 1}, "done": False}, "not asked yet"),
        (rating(2, 2, 2, skip="bored"), "unknown reason"),
        (rating(2, 2, 2, comment="x" * 4001), "comment"),
        (rating(2, 2, 2, marks=[{"axis": "user_guidance", "start": 3, "end": 3}]), "marks"),
        (rating(2, 2, 2, marks=[{"axis": "user_guidance", "start": 0, "end": 10**6}]), "marks"),
        (rating(2, 2, 2, model="gpt"), "keys"),
    ],
)
def test_a_wrong_rating_is_refused(tmp_path: Any, given: dict[str, Any], reason: str) -> None:
    store = make_study(str(tmp_path / "a.db"))
    place = places(store, 1)[0]
    with pytest.raises(Refused, match=reason):
        save_rating(store, 1, place.id, given, 0, "r")
    assert places(store, 1)[0].version == 0


@pytest.fixture(scope="module")
def open_study(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return make_study(str(tmp_path_factory.mktemp("open") / "a.db"))


AXIS = "information_security"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=6,
)


GOOD = rating(2, 1, done=False, comment="c", marks=[{"axis": "user_guidance", "start": 0, "end": 3}])
MARK = st.fixed_dictionaries({k: JSON | st.just(v) for k, v in GOOD["marks"][0].items()})


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(GOOD)).flatmap(
        lambda key: st.builds(
            lambda value: {**GOOD, key: value},
            {"marks": JSON | st.lists(MARK), "scores": JSON | st.fixed_dictionaries({AXIS: JSON})}.get(
                key, JSON
            ),
        )
    )
)
def test_whatever_a_request_holds_is_saved_as_it_is_or_refused(
    open_study: Store, given: dict[str, Any]
) -> None:
    place = places(open_study, 1)[0]
    try:
        saved = save_rating(open_study, 1, place.id, given, place.version, secrets.token_hex())
    except Refused:
        assert places(open_study, 1)[0] == place
        return
    item = read_item(open_study, 1, place.id)
    assert item is not None
    assert (item["rating"], item["version"], item["status"]) == (given, saved.version, "draft")


def test_an_unsafe_answer_ends_the_rating_only_where_the_study_says_so() -> None:
    rubric = load_rubric()
    assert check_rating(rating(0), rubric, "stop", 9) == "done"
    with pytest.raises(Refused, match="missing"):
        check_rating(rating(0), rubric, "score_all", 9)
    with pytest.raises(Refused, match="not asked"):
        check_rating(rating(0, 1, 1), rubric, "stop", 9)
    assert check_rating(rating(1, 1, 1), rubric, "stop", 9) == "done"


def test_nobody_sees_or_rates_anothers_places(study: Store) -> None:
    theirs = places(study, 2)[0]
    assert read_item(study, 1, theirs.id) is None
    with pytest.raises(Refused, match="unknown"):
        save_rating(study, 1, theirs.id, rating(2, 2, 2), 0, "r")


def test_the_key_stays_sealed_until_the_study_is_locked_and_unblinded(study: Store) -> None:
    place = places(study, 1)[0]
    with pytest.raises(MulmedError, match="only one that is locked"):
        move(study, "unblinded")
    for state in ("open", "locked"):
        if state == "locked":
            move(study, "locked")
        with pytest.raises(MulmedError, match=f"The study is {state}"):
            unsealed(study)
    with pytest.raises(Refused, match="closed"):
        save_rating(study, 1, place.id, rating(2, 2, 2), 0, "r")
    move(study, "unblinded")
    key = unsealed(study)
    with study.read() as connection:
        for item in connection.execute(select(schema.items)):
            source = next(r for r in answers() if r["answer"] == item.answer)
            assert key[item.id] == source["model"]
        events = [e.event for e in connection.execute(select(schema.audit).order_by(schema.audit.c.seq))]
    assert events == ["created", "state", "state", "state", "key read"]


def test_an_invitation_works_once(study: Store) -> None:
    lapsed, token = invite(study, 2), invite(study, 2)
    assert begin_session(study, lapsed) is None
    session = begin_session(study, token)
    assert session is not None
    assert begin_session(study, token) is None
    assert who(study, session) == (2,)
    assert who(study, token) is None
    end_session(study, session)
    assert who(study, session) is None
    admin = begin_session(study, invite(study, None))
    assert admin is not None
    assert who(study, admin) == (None,)
    with study.read() as connection:
        kept = connection.execute(text("SELECT token_sha256 FROM invitations")).scalars().all()
    assert token not in kept


# --- what verify finds ------------------------------------------------------------------------------------


def changed_score(connection: Any) -> None:
    row = connection.execute(select(schema.revisions).limit(1)).one()
    new = orjson.loads(row.rating)
    new["scores"]["information_security"] = 0
    connection.execute(
        update(schema.revisions)
        .where(schema.revisions.c.assignment_id == row.assignment_id)
        .values(rating=orjson.dumps(new, option=orjson.OPT_SORT_KEYS).decode())
    )


def removed_rating(connection: Any) -> None:
    row = connection.execute(select(schema.revisions).limit(1)).one()
    mine = schema.revisions.c.assignment_id == row.assignment_id
    connection.execute(delete(schema.revisions).where(mine))


def removed_entry(connection: Any) -> None:
    connection.execute(delete(schema.audit).where(schema.audit.c.seq == 3))


def changed_entry(connection: Any) -> None:
    connection.execute(update(schema.audit).where(schema.audit.c.seq == 2).values(actor="nobody"))


def swapped_key(connection: Any) -> None:
    connection.execute(update(schema.sealed).where(schema.sealed.c.item_id == 1).values(model="another"))


def reset_state(connection: Any) -> None:
    row = connection.execute(select(schema.revisions).limit(1)).one()
    connection.execute(
        update(schema.assignments).where(schema.assignments.c.id == row.assignment_id).values(status="open")
    )


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (changed_score, "not what the log says"),
        (removed_rating, "missing"),
        (removed_entry, "audit entry 4: the chain"),
        (changed_entry, "audit entry 2: the chain"),
        (swapped_key, "not those it was created with"),
        (reset_state, "not that of its latest revision"),
    ],
)
def test_verify_finds_what_was_changed_behind_its_back(
    tmp_path: Any, tamper: Callable[[Any], None], told: str
) -> None:
    store = make_study(str(tmp_path / "a.db"))
    rate_all(store, lambda name, item: (2, 1, 0))
    assert verify(store) == []
    with store.write() as (connection, _):
        tamper(connection)
    assert any(told in line for line in verify(store)), verify(store)


# --- mistakes ---------------------------------------------------------------------------------------------


def test_no_study_is_told(tmp_path: Any, new_target: Callable[[], str]) -> None:
    with pytest.raises(MulmedError, match="no such study"):
        open_store(str(tmp_path / "nowhere.db"))
    assert not (tmp_path / "nowhere.db").exists()
    empty = new_target()
    if "://" in empty:
        with pytest.raises(MulmedError, match="holds no study"):
            open_store(empty)
    with pytest.raises(MulmedError, match="cannot be kept in 'mysql'"):
        open_store("mysql://localhost/x")
    with pytest.raises(MulmedError, match="cannot be used"):
        open_store("postgresql://nobody@/x?host=/nonexistent")
    (tmp_path / "notes.txt").write_text("no database at all\n" * 100)
    with pytest.raises(MulmedError, match="cannot be used: file is not a database"):
        open_store(str(tmp_path / "notes.txt"), create=True)
    assert (tmp_path / "notes.txt").read_text().startswith("no database at all")


def test_a_database_holds_one_study(study: Store) -> None:
    url = study.engine.url.render_as_string(hide_password=False)
    with pytest.raises(MulmedError, match="already holds a study"):
        make_study(study.where if url.startswith("sqlite") else url)
    assert len(places(study, 1)) == 13
