"""Studies in and out: backup and restore of everything, ratings as CSV or JSON Lines, scores made elsewhere."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import func, insert, select

from mulmed.artifact import write_atomic
from mulmed.errors import MulmedError
from mulmed.review import schema
from mulmed.review.audit import log, verify
from mulmed.review.database import Store, canonical, open_store
from mulmed.review.ratings import Row, read_rows
from mulmed.review.saving import Conflict, Refused, places, read_item, save_in
from mulmed.review.study import Study, unsealed

#: Rows moved at a time.
_CHUNK = 500
#: Columns of a sheet besides the axes' keys.
_OWN = ("assignment", "annotator", "comment", "skip")


def backup(store: Store, file: Path) -> None:
    """The whole study, as of one moment, in a new SQLite file; the study may be in use.

    Raises:
        MulmedError: the file exists.
    """
    if file.exists():
        raise MulmedError("The file exists.", where=str(file), remedy="Give every backup a name of its own.")
    partial = file.with_name(file.name + ".partial")
    for leftover in _sqlite_files(partial):
        leftover.unlink(missing_ok=True)
    try:
        target = open_store(str(partial), create=True)
        _copy(store, target)
        with target.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        target.engine.dispose()
        partial.replace(file)
    finally:
        for leftover in _sqlite_files(partial):
            leftover.unlink(missing_ok=True)


def restore(file: Path, target: str) -> Store:
    """A backup in an empty database, SQLite or PostgreSQL.

    Raises:
        MulmedError: the backup does not verify, or the database already holds a study.
    """
    source = open_store(str(file))
    if wrong := verify(source):
        raise MulmedError(
            f"The backup does not verify: {wrong[0]}.", where=str(file), remedy="Use another backup."
        )
    if "://" not in target and Path(target).exists():
        raise MulmedError("The file exists.", where=target, remedy="Restore to a new file.")
    store = open_store(target, create=True)
    _copy(source, store)
    return store


def _copy(source: Store, target: Store) -> None:
    with source.read() as old, target.engine.connect() as connection:
        new = connection.execution_options(mulmed_write=True)
        with new.begin():
            if new.execute(select(func.count()).select_from(schema.study)).scalar_one():
                raise MulmedError(
                    "The database already holds a study.",
                    where=target.where,
                    remedy="Restore to an empty one.",
                )
            for table in schema.metadata.sorted_tables:
                result = old.execute(select(table))
                while rows := result.fetchmany(_CHUNK):
                    new.execute(insert(table), [dict(row._mapping) for row in rows])


def _sqlite_files(file: Path) -> list[Path]:
    return [file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))]


# --- ratings out ------------------------------------------------------------------------------------------------


def exported(store: Store, study: Study, *, words: bool = True) -> list[dict[str, Any]]:
    """Every place with its rating; which model it was only once the study is unblinded.

    Args:
        words: with comments and the marked words, which may quote a patient; else only whether there is a comment and
            which axes have marks.
    """
    key = unsealed(store) if study.state == "unblinded" else None
    with store.read() as connection:
        answers = {
            r.id: r.answer for r in connection.execute(select(schema.items.c.id, schema.items.c.answer))
        }
    return [_flat(row, study, key) | _remarks(row, answers[row.item], words) for row in read_rows(store)]


def _remarks(row: Row, answer: str, words: bool) -> dict[str, Any]:
    comment, marks = (row.rating["comment"], row.rating["marks"]) if row.rating else ("", [])
    if not words:
        return {"commented": bool(comment.strip()), "marked": sorted({mark["axis"] for mark in marks})}
    return {
        "comment": comment,
        "marks": [mark | {"words": answer[mark["start"] : mark["end"]]} for mark in marks],
    }


def _flat(row: Row, study: Study, key: Mapping[int, str] | None) -> dict[str, Any]:
    rating = row.rating or {"skip": None, "scores": {}}
    flat: dict[str, Any] = {
        "assignment": row.assignment,
        "annotator": row.annotator,
        # A sealed study's question and item would tell which ratings are of one answer, and which are repeats.
        **({"question": row.question, "model": key[row.item], "kind": row.kind} if key else {}),
        "language": row.language,
        "task": row.task,
        "status": row.status,
    }
    for axis in study.rubric.axes:
        flat[axis.key] = rating["scores"].get(axis.key)
    return flat | {"skip": rating["skip"], "saved_at": row.saved_at}


def sheets(store: Store, study: Study, people: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """What annotators would see, to be rated elsewhere: question and answer, and empty columns for the scores."""
    for number, name in people.items():  # a judge model's too, to be filled in by any engine
        for place in places(store, number):
            item = read_item(store, number, place.id)
            if place.kind == "training" or item is None:
                continue
            yield {
                "assignment": place.id,
                "annotator": name,
                "language": item["language"],
                "question": "\n".join(
                    [*(f"{role}: {text}" for role, text in item["history"]), item["question"]]
                ),
                "answer": item["answer"],
                **{axis.key: None for axis in study.rubric.axes},
                "comment": "",
                "skip": None,
            }


def write_rows(rows: Sequence[Mapping[str, Any]], file: Path) -> None:
    """CSV (UTF-8 with a mark, so that spreadsheets read Chinese) or JSON Lines, by the file's ending."""
    if file.suffix == ".jsonl":
        write_atomic(file, b"".join(orjson.dumps(dict(row)) + b"\n" for row in rows))
    elif file.suffix == ".csv":
        buffer = io.StringIO(newline="")
        writer = csv.DictWriter(buffer, list(rows[0]) if rows else [])
        writer.writeheader()
        for row in rows:
            writer.writerow({k: _cell(v) for k, v in row.items()})
        write_atomic(file, buffer.getvalue().encode("utf-8-sig"))
    else:
        raise MulmedError(
            "Only .csv and .jsonl can be written.", where=str(file), remedy="Choose one of them."
        )


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return canonical(value)
    # A text that a spreadsheet would take for a formula.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value


# --- scores in --------------------------------------------------------------------------------------------------


def import_scores(store: Store, file: Path) -> tuple[int, int]:
    """Finished ratings from a filled-in sheet, all of them or none.

    A row has ``assignment``, ``annotator``, a score for each axis that is asked (or a reason in ``skip``) and maybe
    ``comment``; rows without any score or reason are passed over. The same file again changes nothing.

    Returns:
        How many ratings were saved, and how many rows were passed over.

    Raises:
        MulmedError: the file cannot be read, the study is not open, or a row is wrong or rated differently already.
    """
    from mulmed.review.study import read_study

    study = read_study(store)
    rows = _read_rows(file)
    taken = passed = 0
    with store.write() as (connection, row):
        numbers = {
            r.name: r.id for r in connection.execute(select(schema.annotators.c.id, schema.annotators.c.name))
        }
        log(connection, "command line", "import", {"file": file.name, "rows": len(rows)})
        for line, given in rows:
            where = f"{file}, row {line}"
            rating = _rating_of(given, study, where)
            if rating is None:
                passed += 1
                continue
            assignment, name = str(given.get("assignment")), given.get("annotator")
            try:
                if name not in numbers:
                    raise Refused(f"there is no annotator {name!r}")
                current = connection.execute(
                    select(schema.assignments.c.version, schema.revisions.c.rating)
                    .outerjoin(
                        schema.revisions,
                        (schema.revisions.c.assignment_id == schema.assignments.c.id)
                        & (schema.revisions.c.version == schema.assignments.c.version),
                    )
                    .where(
                        schema.assignments.c.id == assignment,
                        schema.assignments.c.annotator_id == numbers[name],
                    )
                ).one_or_none()
                if current is not None and current.version:
                    # Asked here and not by the request's id, which would take a rating changed since for saved again.
                    if current.rating != canonical(rating):
                        raise Conflict(current.version)
                    passed += 1
                    continue
                save_in(connection, row, numbers[name], assignment, rating, 0, f"import-{assignment}")
                taken += 1
            except (Conflict, Refused) as error:
                raise MulmedError(
                    f"A rating cannot be taken: {_told(error, name, row.state)}. Nothing was imported.",
                    where=where,
                    remedy="Mend or remove the row.",
                ) from error
    return taken, passed


def _told(error: Conflict | Refused, annotator: object, state: str) -> str:
    """Why a row is not taken, in words; what is wrong with its rating says so itself."""
    if isinstance(error, Conflict):
        return "it is rated already, and differently"
    return {
        "unknown": f"{annotator!r} has no such answer to rate",
        "closed": f"the study is {state}, and only an open one takes ratings",
    }.get(error.reason, error.reason)


def _read_rows(file: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        data = file.read_bytes()
        if file.suffix == ".jsonl":
            lines = [(n, orjson.loads(line)) for n, line in enumerate(data.splitlines(), 1) if line.strip()]
        else:
            reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
            lines = [(n, dict(row)) for n, row in enumerate(reader, 2)]
    except OSError as error:
        raise MulmedError(
            f"Scores cannot be read: {error.strerror}.", where=str(file), remedy="Check the path."
        ) from error
    except ValueError as error:
        raise MulmedError(
            f"Scores cannot be read: {error}.", where=str(file), remedy="Save it as UTF-8."
        ) from error
    if odd := [n for n, row in lines if not isinstance(row, dict)]:
        raise MulmedError("A line is no JSON object.", where=f"{file}, row {odd[0]}", remedy="Mend the line.")
    return lines


def _rating_of(given: Mapping[str, Any], study: Study, where: str) -> dict[str, Any] | None:
    keys = [axis.key for axis in study.rubric.axes]
    if "assignment" not in given or "annotator" not in given or not any(k in given for k in keys):
        raise MulmedError(
            "A row lacks columns.",
            where=where,
            remedy=f"Its columns are {', '.join((*_OWN[:2], *keys, *_OWN[2:]))}.",
        )
    scores: dict[str, int] = {}
    for key in keys:
        value = given.get(key)
        if value in (None, ""):
            continue
        try:
            scores[key] = int(str(value))
        except ValueError as error:
            raise MulmedError(
                f"{key} is {value!r}, which is no score.", where=where, remedy="Write 0, 1 or 2."
            ) from error
    skip = given.get("skip") or None
    if not scores and skip is None:
        return None
    return {"scores": scores, "comment": given.get("comment") or "", "marks": [], "skip": skip, "done": True}
