"""Files of rows: JSON arrays, JSON Lines, CSV, TSV and Parquet, whichever the file's name and content say."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet

from mulmed.corpus.files import CHUNK, LONGEST, file_format, text_lines
from mulmed.corpus.sources.json_values import json_value, json_values
from mulmed.corpus.sources.layout import Rejected, Unusable
from mulmed.errors import MulmedError


def raw_rows(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    """(line from 1, row) of each row: the bytes of a JSON value, a mapping, or a ``Rejected`` if it is broken.

    Names that end in ``.csv``, ``.tsv`` and ``.parquet`` (the first two also compressed) are taken at
    their word, any other is JSON.

    Raises:
        MulmedError: the file cannot be read, or its syntax is broken beyond a single row.
    """
    match file_format(path):
        case "csv":
            return _separated(path, encoding, ",")
        case "tsv":
            return _separated(path, encoding, "\t")
        case "parquet":
            return _parquet(path, encoding)
        case _:
            return json_values(path, encoding)


def row_of(value: Any) -> Mapping[str, Any]:
    """The mapping that a row of :func:`raw_rows` is.

    Raises:
        Unusable: it is none.
    """
    row = json_value(value) if isinstance(value, bytes) else value
    if not isinstance(row, dict):
        raise Unusable("record is not an object")
    return row


def _separated(path: Path, encoding: str, separator: str) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST)
    rows = csv.reader(text_lines(path, encoding), delimiter=separator, strict=True)
    header: list[str] | None = None
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise _bad_header(path, line, str(error)) from error
            # The reader goes on at the next line.
            yield line, Rejected(0, line, "quotation marks are broken")
            continue
        if not row:
            continue
        if header is None:
            header = row
            if twice := {name for name in header if name and header.count(name) > 1}:
                raise _bad_header(path, line, f"{min(twice)!r} names two columns")
        elif len(row) != len(header):
            yield line, Rejected(0, line, "row has more or fewer columns than the header")
        else:
            yield line, dict(zip(header, row, strict=True))


def _bad_header(path: Path, line: int, problem: str) -> MulmedError:
    return MulmedError(
        f"The file's first row does not name its columns: {problem}.",
        where=f"{path}, line {line}",
        remedy="Give the file a first row with a different name for every column.",
    )


def _parquet(path: Path, encoding: str) -> Iterator[tuple[int, Any]]:
    if encoding != "utf-8":
        raise MulmedError(
            "Parquet is always UTF-8.", where=str(path), remedy="Leave `encoding` out of the source."
        )
    try:
        # So a column is read page by page, not a whole row group at once.
        with pyarrow.parquet.ParquetFile(path, buffer_size=CHUNK, pre_buffer=False) as file:
            batches = file.iter_batches(batch_size=256)
            yield from enumerate((row for batch in batches for row in batch.to_pylist()), start=1)
    except (OSError, pyarrow.ArrowException) as error:
        raise MulmedError(
            f"The file cannot be read as Parquet: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="Get the file again, or rename it if it is not Parquet.",
        ) from error
