"""A database to keep a study in: SQLite by path, PostgreSQL by URL; opened, migrated, written by one at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from mulmed.errors import MulmedError
from mulmed.review import schema


@dataclass(frozen=True, slots=True)
class Store:
    """An open database.

    Attributes:
        engine: SQLAlchemy's.
        where: the database in words, without a password.
    """

    engine: Engine
    where: str
    _writing: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[tuple[Connection, Any]]:
        """A transaction that no other write overlaps, and the study's row; on disk when the block has ended.

        Raises:
            MulmedError: the database holds no study.
        """
        # Threads of one process queue here, fairly and without polling; other processes wait for the database.
        with self._writing, self.engine.connect() as connection:
            connection = connection.execution_options(mulmed_write=True)
            with connection.begin():
                row = connection.execute(select(schema.study).with_for_update()).one_or_none()
                if row is None:
                    raise self.without_study()
                yield connection, row

    def without_study(self) -> MulmedError:
        """The error for a database in which no study was made."""
        return MulmedError(
            "The database holds no study.", where=self.where, remedy="Make one with `mulmed review create`."
        )


def open_store(target: str, *, create: bool = False) -> Store:
    """The database at a path (SQLite) or ``postgresql://`` URL, brought to the present schema.

    Args:
        create: make a missing SQLite file, or the tables in an empty database.

    Raises:
        MulmedError: there is no such database or study in it, it cannot be reached, or a newer MulMed made it.
    """
    is_url = "://" in target
    if not is_url and not create and not Path(target).is_file():
        raise MulmedError(
            "There is no such study.", where=target, remedy="Make one with `mulmed review create`."
        )
    try:
        url = make_url(target if is_url else f"sqlite:///{target}")
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        if url.drivername not in ("sqlite", "postgresql+psycopg"):
            raise MulmedError(
                f"A study cannot be kept in {url.drivername!r}.",
                where=url.render_as_string(),
                remedy="Give a path (SQLite) or postgresql://USER@HOST/DATABASE.",
            )
        sqlite = url.drivername == "sqlite"
        options: dict[str, Any] = {} if sqlite else {"isolation_level": "REPEATABLE READ"}
        engine = create_engine(url, pool_size=16, max_overflow=64, pool_pre_ping=not sqlite, **options)
    except ArgumentError as error:
        raise MulmedError(
            "This is no path and no database URL.",
            where=target,
            remedy="Write postgresql://USER@HOST/DATABASE.",
        ) from error
    except ModuleNotFoundError as error:
        raise MulmedError(
            "PostgreSQL needs a driver that is not installed.",
            where=str(error.name),
            remedy="pip install 'mulmed[postgres]'",
        ) from error
    if sqlite:
        _tune_sqlite(engine)
    else:
        _tune_postgresql(engine)
    store = Store(engine, target if not is_url else url.render_as_string())
    try:
        _migrate(store, create)
    except DBAPIError as error:
        raise MulmedError(
            f"The database cannot be used: {str(error.orig).splitlines()[0]}",
            where=store.where,
            remedy="Check the path, or that the server runs, the address and the rights.",
        ) from error
    return store


def _tune_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "busy_timeout = 20000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # A reader that becomes a writer can fail in SQLite; a writer says so at once.
        write = connection.get_execution_options().get("mulmed_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def _tune_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # Writers wait for the study's row and must then see what the writer before them did.
        if connection.get_execution_options().get("mulmed_write"):
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")


def _migrate(store: Store, create: bool) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with store.engine.connect() as connection:
        connection = connection.execution_options(mulmed_write=True)
        if not create and not inspect(connection).has_table("study"):
            raise store.without_study()
        connection.rollback()
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise MulmedError(
                "The study was made by a newer MulMed.", where=store.where, remedy="Install that version."
            ) from error
        connection.commit()


def now(later: timedelta = timedelta()) -> str:
    """UTC to the millisecond, such as ``2026-03-01T09:30:00.123Z``; ``later`` is added."""
    return (datetime.now(UTC) + later).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def canonical(value: Any) -> str:
    """Canonical JSON (sorted keys)."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
