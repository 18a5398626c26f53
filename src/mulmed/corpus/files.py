"""Opening published files: plain, gzip or Zstandard, in any encoding, read as a stream of UTF-8."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from charset_normalizer import from_bytes

from mulmed.errors import MulmedError

#: Bytes around the first undecodable one that are shown to the encoding detector.
SAMPLE = 64 * 1024
#: Bytes read at a time.
CHUNK = 1 << 20
#: Bytes a line, a record or a document may have; so much may be in memory at once.
LONGEST = 64 << 20
#: Bytes that begin no character.
_WITHIN_A_CHARACTER = bytes(range(0x80, 0xC0))
#: As many different characters of several bytes are no accident: the file is UTF-8 whatever is said of it.
#: (A few words are valid in UTF-8 and GB18030 alike, 头痛 for one.)
_CERTAIN = 6


def resolve(data: Path, patterns: tuple[str, ...], where: str) -> list[Path]:
    """The files that ``patterns`` name, each once: paths or globs relative to ``data``, or hub files.

    Patterns keep their order, the matches of one glob are sorted. Nothing is guessed: ``a.json`` does
    not find ``a.json.gz``. A pattern that begins with ``hub:`` is got from the Hugging Face hub, see
    :mod:`mulmed.corpus.sources.hub`.

    Args:
        where: the recipe key the patterns come from, for the error.

    Raises:
        MulmedError: a pattern names no file, or the hub cannot be reached.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        if pattern.startswith("hub:"):
            from mulmed.corpus.sources import hub

            found[hub.fetch(pattern, where)] = None
            continue
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


def file_format(path: Path) -> str:
    """The name's ending without the one that says how it is compressed: ``csv`` of ``a.csv.gz``."""
    name = path.with_suffix("") if path.suffix.lower() in (".gz", ".zst") else path
    return name.suffix.lower().removeprefix(".")


def text_lines(path: Path, encoding: str) -> Iterator[str]:
    """Lines of a text file with their ends; a byte order mark is dropped.

    Only a line feed ends a line, so that the other characters Unicode calls line ends may stand inside a
    text. ``.gz`` and ``.zst`` are decompressed on the way.

    Raises:
        MulmedError: the file is cut short or not compressed as its name says, is not in ``encoding``
            (the error names the offset of the first wrong byte in the decompressed file), or has a
            line of more than ``LONGEST`` bytes.
    """
    with io.TextIOWrapper(open_utf8(path, encoding), "utf-8", newline="\n") as stream:
        for number, line in enumerate(iter(partial(stream.readline, LONGEST), ""), start=1):
            if len(line) == LONGEST:
                raise _long_line(path, number)
            yield line


def raw_lines(path: Path, stream: io.BufferedReader) -> Iterator[tuple[int, bytes]]:
    """(number from 1, bytes with their end) of each line of ``stream``.

    Raises:
        MulmedError: a line has more than ``LONGEST`` bytes.
    """
    for number, raw in enumerate(iter(partial(stream.readline, LONGEST), b""), start=1):
        if len(raw) == LONGEST:
            raise _long_line(path, number)
        yield number, raw


def _long_line(path: Path, number: int) -> MulmedError:
    return MulmedError(
        f"A line has more than {LONGEST >> 20} MiB.",
        where=f"{path}, line {number}",
        remedy="Check that the file is text with line feeds, one record a line.",
    )


def open_utf8(path: Path, encoding: str = "utf-8") -> io.BufferedReader:
    """The decompressed file as valid UTF-8, from whatever encoding, without a byte order mark.

    Raises:
        MulmedError: here or while reading, as :func:`text_lines`; also where ``encoding`` is another one and
            the file is plainly UTF-8.
    """
    return io.BufferedReader(_Stream(path, encoding), CHUNK)


def place(path: Path, encoding: str, offset: int) -> tuple[int, int, int]:
    """(line, column in characters, both from 1; offset in the decompressed file) of an offset in what
    :func:`open_utf8` gives. Where the file is not UTF-8, the last is the offset of its UTF-8 form.
    """
    line, column, left = 1, 1, offset
    raw = _Stream(path, encoding)
    with io.BufferedReader(raw, CHUNK) as stream:
        while left and (piece := stream.readline(min(left, CHUNK))):
            left -= len(piece)
            column += len(piece.translate(None, _WITHIN_A_CHARACTER))
            if piece.endswith(b"\n"):
                line, column = line + 1, 1
    return line, column, offset + raw.mark


def open_bytes(path: Path) -> io.BufferedReader:
    """The decompressed file as it is.

    Raises:
        MulmedError: here or while reading: it is missing, cut short, or not compressed as its name says.
    """
    return io.BufferedReader(_Stream(path, None), CHUNK)


class _Stream(io.RawIOBase):
    """A file, decompressed and checked, whose errors say what the user can do."""

    def __init__(self, path: Path, encoding: str | None) -> None:
        self._path = path
        self._encoding = encoding
        self._utf8 = encoding is not None and codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")
        self._decoder = (
            codecs.getincrementaldecoder("utf-8" if self._utf8 else encoding)() if encoding else None
        )
        self._offset = 0  # bytes read so far
        self.mark = 0  # bytes of the byte order mark that was dropped
        self._pending = memoryview(b"")
        compression = {".gz": "gzip", ".tgz": "gzip", ".zst": "zstd"}.get(path.suffix.lower())
        try:
            # pyarrow notices an archive that was cut short; the zstandard package reads it without a word.
            self._file: Any = pyarrow.input_stream(str(path), compression=compression)
        except OSError as error:
            raise self._unreadable(error) from error

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            chunk = self._read()
            if not chunk:
                return 0
            self._pending = memoryview(chunk)
        taken = min(len(buffer), len(self._pending))
        buffer[:taken] = self._pending[:taken]
        self._pending = self._pending[taken:]
        return taken

    def _read(self) -> bytes:
        """The next piece of the file in UTF-8; nothing at its end."""
        while True:
            try:
                chunk: bytes = self._file.read(CHUNK)
            except OSError as error:
                raise self._unreadable(error) from error
            at_start = self._offset == 0
            self._offset += len(chunk)
            if self._decoder is None:
                return chunk
            if at_start and not self._utf8:
                self._refuse_utf8(chunk)
            try:
                text = self._decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                raise self._wrong_encoding(error) from error
            piece = chunk if self._utf8 else text.encode("utf-8", "surrogatepass")
            if at_start and piece.startswith(codecs.BOM_UTF8):
                self.mark = len(codecs.BOM_UTF8)
                piece = piece[self.mark :]
            if piece or not chunk:
                return piece

    def _refuse_utf8(self, start: bytes) -> None:
        # Single-byte encodings decode everything, and GB18030 much of UTF-8: into mojibake.
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(start)
        except UnicodeDecodeError:
            return
        if sum(character > "\x7f" for character in set(text)) >= _CERTAIN:
            raise MulmedError(
                f"The file is UTF-8, not {self._encoding}.",
                where=str(self._path),
                remedy="Leave `encoding` out of the source.",
            )

    def _wrong_encoding(self, error: UnicodeDecodeError) -> MulmedError:
        offset = self._offset - len(error.object) + error.start
        sample = error.object[error.start : error.start + SAMPLE]
        if len(sample) < SAMPLE:
            sample += self._file.read(SAMPLE - len(sample))
        guess = from_bytes(sample).best()
        looks = f" It looks like {guess.encoding.upper()}." if guess is not None else ""
        named = "UTF-8" if self._utf8 else self._encoding
        return MulmedError(
            f"The file is not {named}: the byte at offset {offset} cannot be decoded.{looks}",
            where=str(self._path),
            remedy=f"Set the source's encoding, for example `encoding: {guess.encoding if guess else 'gb18030'}`"
            ", or convert the file.",
        )

    def _unreadable(self, error: OSError) -> MulmedError:
        if error.errno is None:
            return MulmedError(
                f"The file cannot be decompressed: {error}.",
                where=str(self._path),
                remedy="Get the file again, or rename it if it is not compressed.",
            )
        return MulmedError(
            f"The file cannot be read: {error.strerror}.",
            where=str(self._path),
            remedy="Check that it exists and may be read.",
        )
