"""JATS and MedQuAD: what is read of them, and what a hostile document can do."""

from __future__ import annotations

import gzip
import io
import tarfile
import time
from pathlib import Path

import pytest
import zstandard

from mulmed.corpus.sources.layout import Found, Rejected
from mulmed.errors import MulmedError
from tests.corpus.reading import found, notes, read, reasons, texts, write

DOCTYPE = '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS v1.1//EN" "JATS-archivearticle1.dtd">'


def article(abstracts: str, before: str = DOCTYPE, after: str = "<body><p>Text.</p></body></article>") -> str:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<article xmlns:mml="http://www.w3.org/1998/Math/MathML" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink"><front><article-meta>{abstracts}</article-meta></front>{after}'
    )


PLOS = article(
    """<abstract><sec><title>Background</title><p>Sleep was short in <italic>n</italic>\u200a=\u200a20
        adults,<sup><xref ref-type="bibr">3</xref></sup> below 10<sup>−3</sup> of H<sub>2</sub>O &amp;
        Ca<sup>2+</sup> on the 19<sup>th</sup>.</p></sec>
      <sec><title>Results</title><p>It rose <inline-formula><alternatives><tex-math>\\documentclass{x}</tex-math>
        <mml:math><mml:mi>x</mml:mi></mml:math></alternatives></inline-formula>-fold.</p></sec></abstract>
    <abstract abstract-type="toc"><p>A teaser.</p></abstract>
    <abstract abstract-type="summary"><title>Author Summary</title><p>Sleep
        matters.</p><list><list-item><p>We slept.</p></list-item><list-item><p>We woke.</p></list-item></list>
    </abstract>"""
)
ELIFE = article(
    """<abstract><object-id pub-id-type="doi">10.1/1</object-id><p>Cells divide.</p>
        <p><bold>DOI:</bold> <ext-link xlink:href="x">http://dx.doi.org/10.1/1</ext-link></p></abstract>
    <abstract abstract-type="KIND"><object-id>10.1/2</object-id><title>eLife digest</title>
        <p>All cells come from cells.</p><p>That is so.</p></abstract>"""
)


def pack(path: Path, documents: dict[str, str | bytes]) -> Path:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, document in documents.items():
            content = document if isinstance(document, bytes) else document.encode()
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    compress = {".gz": gzip.compress, ".tgz": gzip.compress, ".zst": zstandard.compress}.get(
        path.suffix, bytes
    )
    return write(path, compress(buffer.getvalue()))


def test_plos_abstract_and_author_summary(tmp_path: Path) -> None:
    (item,) = found("jats", write(tmp_path / "a.xml", PLOS))
    assert texts(item) == [
        "Sleep was short in n = 20 adults, below 10⁻³ of H2O & Ca²⁺ on the 19th.\nIt rose x-fold.",
        "Sleep matters.\nWe slept.\nWe woke.",
    ]
    assert item.parsed.task == "summary"


@pytest.mark.parametrize("kind", ["executive-summary", "plain-language-summary"])
def test_elife_abstract_and_digest(tmp_path: Path, kind: str) -> None:
    (item,) = found("jats", write(tmp_path / "a.xml.gz", gzip.compress(ELIFE.replace("KIND", kind).encode())))
    assert texts(item) == ["Cells divide.", "All cells come from cells.\nThat is so."]


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"])
def test_an_archive_is_read_document_by_document(tmp_path: Path, name: str) -> None:
    documents: dict[str, str | bytes] = {
        "corpus/readme.txt": "no article",
        "corpus/1.xml": PLOS,
        "corpus/2.xml": article("<abstract><p>Alone.</p></abstract>"),
        "corpus/3.xml": article('<abstract abstract-type="summary"><p>Alone.</p></abstract>'),
        "corpus/4.xml": "<article><front></article>",
        "corpus/5.xml": "<correction/>",
        "corpus/6.xml": ELIFE.replace("KIND", "executive-summary").encode().replace(b"UTF-8", b"ISO-8859-1"),
    }
    items = list(read("jats", pack(tmp_path / name, documents)))
    assert [(item.row, item.member[7:8]) for item in items] == [(row, str(row + 1)) for row in range(6)]
    assert [item.reason for item in items if isinstance(item, Rejected)] == [
        "no summary for lay readers",
        "no abstract",
        "document is not valid XML",
        "document is no article",
    ]
    assert [texts(item)[1][:5] for item in items if isinstance(item, Found)] == ["Sleep", "All c"]


def test_an_archive_cut_short_is_an_error(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.tar", {f"{number}.xml": PLOS for number in range(9)})
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(MulmedError, match="archive cannot be read"):
        list(read("jats", path))
    with pytest.raises(MulmedError, match="archive cannot be read"):
        list(read("jats", write(tmp_path / "b.tar", "no archive" * 99)))


def test_names_of_characters_are_known_and_others_refused(tmp_path: Path) -> None:
    content = "<abstract><p>5&thinsp;&ndash;&nbsp;7 &micro;g &lt; 8</p></abstract>"
    content += '<abstract abstract-type="summary"><p>Pok&eacute;mon</p></abstract>'
    (item,) = found("jats", write(tmp_path / "a.xml", article(content)))
    assert texts(item) == ["5 – 7 µg < 8", "Pokémon"]
    for before in ("", DOCTYPE):
        wrong = article(content.replace("&ndash;", "&nosuchthing;"), before)
        assert len(reasons("jats", write(tmp_path / "b.xml", wrong))) == 1


LAUGHS = "<!DOCTYPE article [" + '<!ENTITY a0 "ha">' + "".join(
    f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, 10)
) + "]>"  # fmt: skip


@pytest.mark.parametrize("layout", ["jats", "medquad"])
@pytest.mark.parametrize(
    ("doctype", "entity"),
    [
        (LAUGHS, "&a9;"),
        ('<!DOCTYPE article [<!ENTITY a SYSTEM "FILE">]>', "&a;"),
        ('<!DOCTYPE article [<!ENTITY % a SYSTEM "FILE"> %a;]>', ""),
    ],
)
def test_a_document_with_entities_of_its_own_is_refused(
    tmp_path: Path, layout: str, doctype: str, entity: str
) -> None:
    secret = write(tmp_path / "secret", "secret")
    content = PLOS.replace("Sleep", entity + "Sleep").replace(
        DOCTYPE, doctype.replace("FILE", secret.as_uri())
    )
    started = time.process_time()
    items = list(read("jats" if layout == "jats" else "medquad", write(tmp_path / "a.xml", content)))
    assert items == [Rejected(0, 1, "document declares entities")]
    assert time.process_time() - started < 1


def test_a_document_type_elsewhere_is_not_fetched(tmp_path: Path) -> None:
    dtd = write(tmp_path / "evil.dtd", '<!ENTITY alpha "stolen">')
    content = PLOS.replace("JATS-archivearticle1.dtd", dtd.as_uri()).replace("matters", "&alpha; matters")
    (item,) = found("jats", write(tmp_path / "a.xml", content))
    assert texts(item)[1].startswith("Sleep α matters")


MEDQUAD = """<?xml version="1.0" encoding="UTF-8"?>
<Document id="1" source="S" url="https://example.org/1">
<Focus>Cough</Focus>
<QAPairs>
 <QAPair pid="1">
  <Question qid="1-1" qtype="information">What is (are) Cough ?</Question>
  <Answer>Key Points
                - A cough clears   the airway.

                - It is &quot;useful&quot;.
  </Answer>
 </QAPair>
 <QAPair pid="2"><Question qid="1-2">How to treat Cough ?</Question><Answer></Answer></QAPair>
 <QAPair pid="3"><Question qid="1-3"> </Question><Answer>Rest.</Answer></QAPair>
</QAPairs>
</Document>"""


def test_medquad_rejects_the_answers_that_were_taken_out(tmp_path: Path) -> None:
    older = "<doc><qaPairs><pair><question>why ?</question><answer>So.</answer></pair></qaPairs></doc>"
    documents: dict[str, str | bytes] = {"a/1.xml": MEDQUAD, "a/2.xml": older, "a/3.xml": "<Document/>"}
    first, second, third, fourth, fifth = read("medquad", pack(tmp_path / "a.tar.gz", documents))
    assert texts(first) == [
        "What is (are) Cough ?",
        'Key Points\n- A cough clears the airway.\n- It is "useful".',
    ]
    assert isinstance(first, Found)
    assert (first.parsed.task, first.line) == ("qa", 5)
    assert list(notes(first)) == ["white space of the layout left out"]
    assert second == Rejected(1, 13, "answer is empty", "a/1.xml")
    assert third == Rejected(2, 14, "question is empty", "a/1.xml")
    assert texts(fourth) == ["why ?", "So."]
    assert fifth == Rejected(4, 1, "document has no question", "a/3.xml")
