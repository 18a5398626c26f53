"""Opening published files: plain, gzip or Zstandard, always UTF-8, read as a stream."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

import pyarrow
from charset_normalizer import from_bytes

from mulmed.errors import MulmedError

#: Bytes after the first undecodable one that are shown to the encoding detector.
SAMPLE = 64 * 1024


def resolve(data: Path, patterns: tuple[str, ...], where: str) -> list[Path]:
    """The files that ``patterns`` (paths or globs relative to ``data``) name, each once.

    Patterns keep their order, the matches of one glob are sorted. Nothing is guessed: ``a.json`` does
    not find ``a.json.gz``.

    Args:
        where: the recipe key the patterns come from, for the error.

    Raises:
        MulmedError: a pattern names no file.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        exact = data / pattern
        if exact.is_file():
            matches = [exact]
        elif Path(pattern).is_absolute():
            matches = []
        else:
            matches = sorted(path for path in data.glob(pattern) if path.is_file())
        if not matches:
            near = sorted(path.name for path in exact.parent.glob(f"{exact.name}*") if path.is_file())
            raise MulmedError(
                f"No file matches {pattern!r}.",
                where=f"{where}, looked for in {data}",
                remedy=f"Name the file as it is: {', '.join(near)}."
                if near
                else "Correct the path (it is relative to the recipe's `data` folder) or get the file.",
            )
        found.update(dict.fromkeys(matches))
    return list(found)


def lines(path: Path) -> Iterator[str]:
    """Lines of a UTF-8 file without their end; a byte order mark is dropped.

    Only a line feed (with or without a carriage return before it) ends a line, so that the other
    characters Unicode calls line ends may stand inside a text. ``.gz`` and ``.zst`` are decompressed
    on the way.

    Raises:
        MulmedError: the file is cut short or not compressed as its name says, or not UTF-8; the error
            names the offset of the first wrong byte in the decompressed file.
    """
    offset = 0
    try:
        with _open(path) as stream:
            for raw in stream:
                if offset == 0 and raw.startswith(codecs.BOM_UTF8):
                    offset = len(codecs.BOM_UTF8)
                    raw = raw[offset:]
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    sample = raw[error.start :] + stream.read(SAMPLE)
                    raise _not_utf8(path, offset + error.start, sample) from error
                offset += len(raw)
                yield text.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        if error.errno is None:
            raise MulmedError(
                f"The file cannot be decompressed: {error}.",
                where=str(path),
                remedy="Get the file again, or rename it if it is not compressed.",
            ) from error
        raise MulmedError(
            f"The file cannot be read: {error.strerror}.",
            where=str(path),
            remedy="Check that it exists and may be read.",
        ) from error


def _open(path: Path) -> io.BufferedReader:
    # pyarrow notices an archive that was cut short; the zstandard package reads it without a word.
    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    return io.BufferedReader(pyarrow.input_stream(str(path), compression=compression))


def _not_utf8(path: Path, offset: int, sample: bytes) -> MulmedError:
    guess = from_bytes(sample).best()
    looks = f" It looks like {guess.encoding.upper()}." if guess is not None else ""
    return MulmedError(
        f"The file is not UTF-8: the byte at offset {offset} cannot be decoded.{looks}",
        where=str(path),
        remedy=f"Convert it: iconv -f {guess.encoding if guess else 'ENCODING'} -t utf-8 FILE > NEWFILE",
    )
