"""Opening files: compression, encodings, globs, and copies on the hub."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from pydantic import ValidationError

from mulmed.corpus.files import resolve, text_lines
from mulmed.errors import MulmedError
from mulmed.recipe import Source
from tests.corpus.reading import write


def zst(content: bytes) -> bytes:
    """Two frames, as the parallel tools write them."""
    half = len(content) // 2
    return zstandard.compress(content[:half]) + zstandard.compress(content[half:])


@pytest.mark.parametrize(
    ("name", "pack"), [("a.txt", bytes), ("a.txt.gz", gzip.compress), ("a.txt.zst", zst)]
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_lines_are_the_same_however_the_file_is_packed(
    tmp_path: Path, name: str, pack: Callable[[bytes], bytes], mark: bytes
) -> None:
    # U+2028 and a lone carriage return stand inside texts and end no line.
    content = "咳嗽\u2028三天\r\n\nfever\rchills".encode()
    path = write(tmp_path / name, pack(mark + content))
    assert list(text_lines(path, "utf-8")) == ["咳嗽\u2028三天\r\n", "\n", "fever\rchills"]


def test_a_wrong_byte_is_named_by_its_offset_and_a_likely_encoding(tmp_path: Path) -> None:
    good = "\ufeff疾病\n".encode()
    bad = "患者最近三天一直咳嗽发热，医生建议多休息，按时服药，定期复查血常规。".encode("gb18030")
    path = write(tmp_path / "old.txt", good + b"ok " + bad)
    with pytest.raises(MulmedError) as caught:
        list(text_lines(path, "utf-8"))
    assert f"offset {len(good) + 3} " in caught.value.what
    assert "GB18030" in caught.value.what
    assert caught.value.where == str(path)


def test_a_cut_archive_is_an_error_the_user_can_mend(tmp_path: Path) -> None:
    content = b"".join(b"%d\n" % number for number in range(100_000))
    for name, packed in (
        ("a.gz", gzip.compress(content)[:-20]),
        ("a.zst", zstandard.compress(content)[:-20]),
        ("b.gz", b"plain text"),
        ("b.zst", b"plain text"),
    ):
        with pytest.raises(MulmedError, match="decompressed"):
            list(text_lines(write(tmp_path / name, packed), "utf-8"))
    with pytest.raises(MulmedError, match="cannot be read"):
        list(text_lines(tmp_path / "absent.gz", "utf-8"))


def test_globs_are_sorted_patterns_keep_their_order_and_nothing_is_read_twice(tmp_path: Path) -> None:
    for name in ("b.json", "a.json", "c.jsonl"):
        write(tmp_path / name, "")
    names = [path.name for path in resolve(tmp_path, ("c.jsonl", "*.json", "a.json"), "key")]
    assert names == ["c.jsonl", "a.json", "b.json"]


def test_a_missing_file_is_named_and_a_compressed_one_is_offered_not_taken(tmp_path: Path) -> None:
    write(tmp_path / "plos.jsonl.gz", gzip.compress(b""))
    with pytest.raises(MulmedError) as caught:
        resolve(tmp_path, ("plos.jsonl",), "corpus.sources.plos.path")
    assert "'plos.jsonl'" in caught.value.what
    assert "corpus.sources.plos.path" in caught.value.where
    assert "plos.jsonl.gz" in caught.value.remedy


CHINESE = "患者最近三天一直咳嗽发热，医生建议多休息，按时服药，定期复查血常规。"


@pytest.mark.parametrize("encoding", ["gb18030", "big5", "utf-16", "utf-16-le", "utf-8-sig"])
def test_a_declared_encoding_is_read_in_pieces_as_in_one(tmp_path: Path, encoding: str) -> None:
    line = "頭痛三天\u3000體溫38.5度x" if encoding == "big5" else "头痛三天\u3000体温38.5℃x"
    content = "\n".join([line] * 200_000)  # several times what is read at once, in characters of all widths
    path = write(tmp_path / "a.txt.gz", gzip.compress(content.encode(encoding), 1))
    assert {read.removesuffix("\n") for read in text_lines(path, encoding)} == {line}
    assert sum(1 for _ in text_lines(path, encoding)) == 200_000


def test_a_wrong_declared_encoding_is_an_error_that_says_which_it_is(tmp_path: Path) -> None:
    for encoding in ("gb18030", "latin-1", "utf-16"):  # all of which would decode this
        with pytest.raises(MulmedError, match=rf"^The file is UTF-8, not {encoding}\."):
            list(text_lines(write(tmp_path / "utf8.txt", CHINESE + "\n"), encoding))
    with pytest.raises(MulmedError, match=r"not UTF-8.*looks like GB18030") as caught:
        list(text_lines(write(tmp_path / "gb.txt", (CHINESE * 9).encode("gb18030")), "utf-8"))
    assert "`encoding: gb18030`" in caught.value.remedy
    truncated = write(tmp_path / "cut.txt", CHINESE.encode("gb18030")[:-1])
    with pytest.raises(MulmedError, match=f"not gb18030: the byte at offset {2 * len(CHINESE) - 2} "):
        list(text_lines(truncated, "gb18030"))


def test_a_wrong_byte_far_into_the_file_is_named_by_its_offset(tmp_path: Path) -> None:
    good = ("头痛" * 999 + "\n").encode("gb18030") * 700
    assert len(good) > 2 * 2**20
    path = write(tmp_path / "a.txt", good + b"a\xff\xffb")
    with pytest.raises(MulmedError, match=f"offset {len(good) + 1} "):
        list(text_lines(path, "gb18030"))
    path = write(tmp_path / "b.txt", good.decode("gb18030").encode() + b"a\xff\xffb")
    with pytest.raises(MulmedError, match=f"offset {len(good.decode('gb18030').encode()) + 1} "):
        list(text_lines(path, "utf-8"))


def test_an_encoding_nobody_knows_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValidationError, match=r"'gb1803' is no text encoding.*did you mean 'gb18030'"):
        Source(layout="toyhom", path="a.csv", language="zh", encoding="gb1803")
    with pytest.raises(ValidationError, match="'base64' is no text encoding"):
        Source(layout="toyhom", path="a.csv", language="zh", encoding="base64")
    with pytest.raises(ValidationError, match="say their encoding themselves"):
        Source(layout="jats", path="a.xml", language="en", encoding="latin-1")
    assert Source(layout="toyhom", path="a.csv", language="zh", encoding="GB18030").encoding == "gb18030"


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    "address",
    [
        "hub:someone/corpus/a.json",
        "hub:someone/corpus@main/a.json",
        f"hub:someone/corpus@{COMMIT[:7]}/a.json",
        f"hub:someone/corpus@{COMMIT.upper()}/a.json",
        f"hub:someone/corpus@{COMMIT}/",
        f"hub:corpus@{COMMIT}/a.json",
    ],
)
def test_a_hub_file_without_a_pinned_commit_is_refused(tmp_path: Path, address: str) -> None:
    with pytest.raises(ValidationError, match="names no file at a pinned commit"):
        Source(layout="alpaca", path=("a.json", address), language="en")
    with pytest.raises(MulmedError, match="names no file at a pinned commit"):
        resolve(tmp_path, (address,), "corpus.sources.a.path")


def test_a_hub_file_in_the_cache_is_read_and_an_absent_one_is_an_error(tmp_path: Path) -> None:
    """Without a network, in a process of its own: the library reads its settings when it is imported."""
    snapshot = tmp_path / "datasets--someone--corpus" / "snapshots" / COMMIT / "data"
    snapshot.mkdir(parents=True)
    write(snapshot / "a.jsonl", '{"instruction": "Name a bone.", "output": "The femur."}\n')
    script = """if True:
        import sys
        from pathlib import Path
        from mulmed.corpus.files import resolve
        from mulmed.corpus.sources import read
        from mulmed.errors import MulmedError
        from mulmed.recipe import Source
        source = Source(layout="alpaca", path=sys.argv[1], language="en")
        (path,) = resolve(Path("."), source.paths, "corpus.sources.a.path")
        print([turn.text for item in read(source, path) for turn in item.parsed.turns])
        try:
            resolve(Path("."), (sys.argv[1].replace("a.jsonl", "b.jsonl"),), "corpus.sources.a.path")
        except MulmedError as error:
            print(error)
    """
    command = [sys.executable, "-c", script, f"hub:someone/corpus@{COMMIT}/data/a.jsonl"]
    environment = os.environ | {"HF_HUB_CACHE": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    rows, *error = run.stdout.splitlines()
    assert rows == "['Name a bone.', 'The femur.']"
    assert error[0] == "The hub did not give data/b.jsonl of someone/corpus: LocalEntryNotFoundError."
    assert error[1].strip() == f"where: corpus.sources.a.path: hub:someone/corpus@{COMMIT}/data/b.jsonl"
