"""XML documents, one a file or many in a tar archive, parsed without trust.

No entity is expanded but the five of XML and the characters that HTML names: nothing outside the document
is opened, and a document that declares entities of its own is refused, as by those a few lines become
gigabytes ("billion laughs").
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterable, Iterator
from html.entities import html5
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from mulmed.corpus.files import LONGEST, file_format, open_bytes
from mulmed.corpus.sources.layout import Parsed, Raw, Rejected, Unusable
from mulmed.errors import MulmedError


def raw_documents(
    path: Path, parse: Callable[[bytes], Iterable[tuple[int, Parsed | Unusable]]]
) -> Iterator[Raw]:
    """What ``parse`` makes of each document of ``path``: (line, record or why there is none) of each record.

    Raises:
        MulmedError: the file or the archive cannot be read.
    """
    row = 0
    for member, document in _documents(path):
        try:
            if len(document) > LONGEST:
                raise Unusable("document is too large")
            parsed = list(parse(document))
        except Unusable as unusable:
            parsed = [(1, unusable)]
        for line, record in parsed:
            value = record if isinstance(record, Parsed) else Rejected(row, line, str(record), member)
            yield Raw(row, line, value, member)
            row += 1


def _documents(path: Path) -> Iterator[tuple[str, bytes]]:
    """(name, content up to a little more than the limit) of each document; other files are no records."""
    with open_bytes(path) as stream:
        if file_format(path) not in ("tar", "tgz"):
            yield "", stream.read(LONGEST + 1)
            return
        try:
            with tarfile.open(fileobj=stream, mode="r|") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined]  # it would remember every one
                    if member.isfile() and member.name.endswith(".xml"):
                        file = archive.extractfile(member)
                        assert file is not None
                        yield member.name, file.read(LONGEST + 1)
        except tarfile.TarError as error:
            raise MulmedError(
                f"The archive cannot be read: {error}.",
                where=str(path),
                remedy="Get the file again, or rename it if it is no tar archive.",
            ) from error


class _Enough(Exception):
    """The element that was asked for has ended."""


def parse_xml(document: bytes, until: str = "") -> ElementTree.Element:
    """The document's root element; with ``until``, only as much as stands before that element's end.

    Every element has its line under the key ``""`` of its attributes, which no attribute can have.

    Raises:
        Unusable: it is not XML, or declares entities.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    open_elements: list[str] = []

    def start(name: str, attributes: dict[str, str]) -> None:
        attributes[""] = str(parser.CurrentLineNumber)
        open_elements.append(name)
        builder.start(name, attributes)

    def end(name: str) -> None:
        builder.end(name)
        open_elements.pop()
        if name == until:
            raise _Enough

    def declared(*_: object) -> None:
        raise Unusable("document declares entities")

    def skipped(name: str, is_parameter: bool) -> None:
        # Named in a document type that is not read: JATS takes its names from the sets that HTML has.
        if not is_parameter:
            if f"{name};" not in html5:
                raise Unusable("document has an unknown entity")
            builder.data(html5[f"{name};"])

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    parser.EntityDeclHandler = declared
    parser.SkippedEntityHandler = skipped
    try:
        parser.Parse(document, True)
    except _Enough:
        for name in reversed(open_elements):
            builder.end(name)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise Unusable("document is not valid XML") from error
    return builder.close()
