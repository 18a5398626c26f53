"""Articles of PLOS and eLife in JATS XML: the abstract, and the summary for those outside the field."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element

from mulmed.corpus.sources.documents import parse_xml, raw_documents
from mulmed.corpus.sources.layout import Parsed, Raw, Unusable, pair

#: Types of abstract that lay readers are meant to read: PLOS's Author Summary; eLife's digest, by its
#: older and its newer name. Editors' summaries, synopses and the tables of contents' teasers are others.
LAY = ("summary", "executive-summary", "plain-language-summary")
#: Elements whose text is no part of the running text.
_LEFT_OUT = {
    "graphic", "inline-graphic", "label", "object-id", "related-object", "tex-math", "title", "fn",
}  # fmt: skip
_PARAGRAPHS = {"p", "sec", "list", "list-item", "disp-formula", "disp-quote", "def-item", "boxed-text"}
_SPACE = re.compile(r"\s+")  # typographic spaces too
_DOI = re.compile(r"DOI:\s*\S*", re.IGNORECASE)
_EXPONENT = re.compile(r"[+−-]?\d+|\d+[+−-]")
_SUPERSCRIPT = str.maketrans("0123456789+-−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻")


def raw(path: Path) -> Iterator[Raw]:
    """Records of task ``summary``, from one article or an archive of them.

    Headings of sections are left out, as in the corpora of Goldsack et al. (2022), so that the same
    article from both is found to be one; so are paragraphs that only repeat the DOI. Numbers set high keep
    their meaning (10⁻³, not 10-3).

    Raises:
        MulmedError: the file or the archive cannot be read.
    """
    return raw_documents(path, _parse)


def _parse(document: bytes) -> Iterator[tuple[int, Parsed | Unusable]]:
    root = parse_xml(document, until="front")
    front = root.find("front")
    if root.tag != "article" or front is None:
        raise Unusable("document is no article")
    abstract = summary = ""
    for element in front.iter("abstract"):
        kind = element.get("abstract-type")
        if kind is None:
            abstract = abstract or _text(element)
        elif kind in LAY:
            summary = summary or _text(element)
    if not abstract:
        raise Unusable("no abstract")
    if not summary:
        raise Unusable("no summary for lay readers")
    yield 1, Parsed("summary", pair(abstract, summary))


def _text(element: Element) -> str:
    """The running text of an abstract, a line a paragraph."""
    pieces: list[str] = []
    _gather(element, pieces)
    paragraphs = (_SPACE.sub(" ", paragraph).strip() for paragraph in "".join(pieces).split("\x1e"))
    return "\n".join(paragraph for paragraph in paragraphs if paragraph and not _DOI.match(paragraph))


def _gather(element: Element, pieces: list[str]) -> None:
    tag = element.tag.rpartition(":")[2]
    if tag == "sup":
        pieces.append(_raised(element))
    elif tag not in _LEFT_OUT:
        mark = ["\x1e"] if tag in _PARAGRAPHS else []
        pieces += [*mark, element.text or ""]
        for child in element:
            _gather(child, pieces)
            pieces.append(child.tail or "")
        pieces += mark


def _raised(element: Element) -> str:
    if any(child.get("ref-type") == "bibr" for child in element.iter("xref")):
        return ""
    raised = "".join(element.itertext())
    return raised.translate(_SUPERSCRIPT) if _EXPONENT.fullmatch(raised.strip()) else raised
