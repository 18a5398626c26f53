"""MedQuAD (Ben Abacha and Demner-Fushman 2019): consumer health questions, one XML document a topic."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mulmed.corpus.sources.documents import parse_xml, raw_documents
from mulmed.corpus.sources.layout import Note, Parsed, Raw, Unusable, pair

#: Elements of a question with its answer: as in nearly all documents, and as in a few older ones.
_PAIRS = {"QAPair": ("Question", "Answer"), "pair": ("question", "answer")}


def raw(path: Path) -> Iterator[Raw]:
    """Records of task ``qa``, from one document or an archive of them.

    Two thirds of the published answers are empty, for copyright's sake: those records are rejected.

    Raises:
        MulmedError: the file or the archive cannot be read.
    """
    return raw_documents(path, _parse)


def _parse(document: bytes) -> Iterator[tuple[int, Parsed | Unusable]]:
    pairs = [element for element in parse_xml(document).iter() if element.tag in _PAIRS]
    if not pairs:
        raise Unusable("document has no question")
    for pair_element in pairs:
        line = int(pair_element.attrib[""])
        texts = [pair_element.findtext(name) or "" for name in _PAIRS[pair_element.tag]]
        if not texts[0].strip():
            yield line, Unusable("question is empty")
        elif not texts[1].strip():
            yield line, Unusable("answer is empty")
        else:
            question, answer = map(_without_layout, texts)
            lost = sum(map(len, texts)) - len(question) - len(answer)
            notes = (Note("white space of the layout left out", characters=lost),) if lost else ()
            yield line, Parsed("qa", pair(question, answer), notes=notes)


def _without_layout(text: str) -> str:
    """The text without its indentation, runs of spaces and empty lines."""
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return "\n".join(filter(None, lines))
