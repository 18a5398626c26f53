"""Records of JSON files one by one: an array or JSON Lines, never more than a window of it in memory.

Files are cut up here into the bytes of each value, so that many processes can parse them. Every value is
parsed by orjson, or, where orjson is stricter (lone surrogates, NaN), by the standard library, whose
findings also make the messages about broken syntax.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mulmed.corpus.files import CHUNK, LONGEST, open_utf8, place, raw_lines
from mulmed.corpus.sources.layout import Unusable
from mulmed.errors import MulmedError

_NEXT_OBJECT = re.compile(rb"[ \t\r\n]*,[ \t\r\n]*(?=\{)")
_SPACE = re.compile(rb"[ \t\r\n]*")
#: Brackets, and strings whole, so that the brackets inside them do not count; or the quote of a string
#: that does not end.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]"]', re.DOTALL)
_SCALAR = re.compile(rb"[^ \t\r\n,\[\]{}]*")
#: Closing braces that are tried before an object's strings are told from the rest of it.
_BRACES = 64
_decode = json.JSONDecoder().raw_decode


def json_values(path: Path, encoding: str = "utf-8") -> Iterator[tuple[int, bytes]]:
    """(line from 1, bytes of the value) of each element of an array or of each line of JSON Lines.

    Which of the two it is, the file's first character tells, not its name. An array's elements are known
    to be JSON, a line is only thought to be.

    Raises:
        MulmedError: the array's syntax is broken, as nothing after the break can be trusted; a record
            has more than ``LONGEST`` bytes; or the file cannot be read.
    """
    if _first_byte(path, encoding) == b"[":
        yield from _array(path, encoding)
    else:
        with open_utf8(path, encoding) as stream:
            for number, raw in raw_lines(path, stream):
                if not raw.isspace():
                    yield number, raw


def _first_byte(path: Path, encoding: str) -> bytes:
    with open_utf8(path, encoding) as stream:
        while chunk := stream.read(CHUNK):
            if content := chunk.lstrip():
                return content[:1]
    return b""


def json_value(raw: bytes) -> Any:
    """One of the values that :func:`json_values` cut out.

    Raises:
        Unusable: it is a line that is not JSON.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise Unusable("line is not valid JSON") from None


class _Broken(Exception):
    """What is wrong with an array's syntax, and at which offset of the file."""

    def __init__(self, problem: str, offset: int) -> None:
        self.problem = problem
        self.offset = offset


def _array(path: Path, encoding: str) -> Iterator[tuple[int, bytes]]:
    with open_utf8(path, encoding) as stream:
        window = _Window(stream)
        try:
            yield from _elements(window)
        except _Broken as broken:
            line, column, offset = place(path, encoding, broken.offset)
            raise MulmedError(
                f"The file is not valid JSON: {broken.problem} (offset {offset:,}).",
                where=f"{path}, line {line}, column {column}",
                remedy="Mend that place, or turn the file into JSON Lines, where a broken record costs itself alone.",
            ) from broken


def _elements(window: _Window) -> Iterator[tuple[int, bytes]]:
    window.skip()
    window.position += 1  # the bracket
    byte = window.skip()
    while byte != b"]":
        line = window.line()
        yield line, window.value()
        if window.next_object():
            continue
        byte = window.skip()
        if byte == b",":
            comma = window.offset
            window.position += 1
            if window.skip() == b"]":
                raise _Broken("a comma after the last record", comma)
        elif byte != b"]":
            raise _Broken("expected a comma or the end of the array", window.offset)
    window.position += 1
    if window.skip():
        raise _Broken("something follows the end of the array", window.offset)


class _Window:
    """The part of a file that is in memory, and a position in it."""

    def __init__(self, stream: io.BufferedIOBase, chunk: int = CHUNK) -> None:
        self._stream = stream
        self._chunk = chunk  # bytes read at a time, at least
        self._data = b""
        self._base = 0  # offset in the file of the window's first byte
        self._line = 1  # at `_counted`, which is a position in the window
        self._counted = 0
        self.position = 0

    @property
    def offset(self) -> int:
        return self._base + self.position

    def line(self) -> int:
        """The line, from 1, of the position."""
        self._line += self._data.count(b"\n", self._counted, self.position)
        self._counted = self.position
        return self._line

    def next_object(self) -> bool:
        """Move past a comma to an object, if both are in the window."""
        if (comma := _NEXT_OBJECT.match(self._data, self.position)) is None:
            return False
        self.position = comma.end()
        return True

    def skip(self) -> bytes:
        """Move past white space; the byte there, nothing at the end of the file."""
        while True:
            match = _SPACE.match(self._data, self.position)
            self.position = match.end() if match else self.position
            if self.position < len(self._data) or not self._more():
                return self._data[self.position : self.position + 1]

    def value(self) -> bytes:
        """The bytes of the value that begins at the position, which moves past it."""
        while True:
            start = self.position
            for find_end in (self._likely_end, self._end):
                if (end := find_end()) is not None:
                    value = self._data[start:end]
                    try:
                        orjson.loads(value)
                    except orjson.JSONDecodeError:
                        continue
                    self.position = end
                    return value
            if end is not None:
                return self._patient_value(end)
            if len(self._data) - start > LONGEST or not self._more():
                return self._patient_value(len(self._data))

    def _likely_end(self) -> int | None:
        """Where an object's braces are even for the first time, those in its strings counted too.

        It is where the object ends if it can be parsed, as no object is the beginning of another.
        """
        data, end, depth = self._data, self.position, 0
        if data.startswith(b"{", end):
            for _ in range(_BRACES):
                if (brace := data.find(b"}", end)) < 0:
                    break
                depth += data.count(b"{", end, brace) - 1
                end = brace + 1
                if not depth:
                    return end
        return None

    def _end(self) -> int | None:
        """Where the value at the position ends; nothing if that is not in the window."""
        data, depth = self._data, 0
        if data[self.position : self.position + 1] not in (b"{", b"[", b'"'):
            scalar = _SCALAR.match(data, self.position)
            return scalar.end() if scalar and scalar.end() < len(data) else None
        for token in _TOKEN.finditer(data, self.position):
            match token.group()[0]:
                case 0x7B | 0x5B:
                    depth += 1
                case 0x7D | 0x5D:
                    depth -= 1
                case _ if token.end() - token.start() == 1:
                    return None
            if depth == 0:
                return token.end()
        return None

    def _patient_value(self, end: int) -> bytes:
        """The bytes of what the standard library takes for the value, which orjson refused."""
        content = self._data[self.position : end].decode("utf-8", "ignore")  # the window may cut a character
        try:
            length = _decode(content)[1]
        except json.JSONDecodeError as error:
            problem, length = error.msg.lower(), error.pos
            if length >= len(content) - 1 and len(content.encode()) > LONGEST - 8:
                problem, length = f"a record of more than {LONGEST >> 20} MiB", 0
            raise _Broken(problem, self.offset + len(content[:length].encode())) from error
        except RecursionError as error:
            raise _Broken("nested too deeply", self.offset) from error
        value = content[:length].encode()
        self.position += len(value)
        return value

    def _more(self) -> bool:
        """Read on, at least as much again as is kept; false at the end of the file."""
        self.line()
        kept = self._data[self.position :]
        read = self._stream.read(max(self._chunk, len(kept)))
        self._base += self.position
        self.position = self._counted = 0
        self._data = kept + read
        return bool(read)
