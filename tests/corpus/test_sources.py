"""Readers against small files in every published layout, and against the real ones where they are."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.files import lines, resolve
from mulmed.corpus.record import Role
from mulmed.corpus.sources import READERS, read
from mulmed.corpus.sources.layout import Found, Rejected, Unusable, alternate
from mulmed.corpus.sources.laysumm import detokenise, is_tokenised
from mulmed.errors import MulmedError
from mulmed.recipe import Layout

REAL = Path(os.environ.get("MULMED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="no folder of real corpora; name one in the environment variable MULMED_DATA"
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def zst(content: bytes) -> bytes:
    """Two frames, as the parallel tools write them."""
    half = len(content) // 2
    return zstandard.compress(content[:half]) + zstandard.compress(content[half:])


def found(layout: Layout, path: Path, **options: Any) -> list[Found]:
    items = list(read(layout, path, **options))
    assert all(isinstance(item, Found) for item in items), items
    return [item for item in items if isinstance(item, Found)]


def texts(item: Found) -> list[str]:
    return [turn.text for turn in item.parsed.turns]


def notes(item: Found) -> dict[str, int]:
    return {note.rule: note.count for note in item.parsed.notes}


# --- opening -----------------------------------------------------------------------------------------


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
    assert list(lines(path)) == ["咳嗽\u2028三天", "", "fever\rchills"]


def test_a_wrong_byte_is_named_by_its_offset_and_a_likely_encoding(tmp_path: Path) -> None:
    good = "\ufeff疾病\n".encode()
    bad = "患者最近三天一直咳嗽发热，医生建议多休息，按时服药，定期复查血常规。".encode("gb18030")
    path = write(tmp_path / "old.txt", good + b"ok " + bad)
    with pytest.raises(MulmedError) as caught:
        list(lines(path))
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
            list(lines(write(tmp_path / name, packed)))
    with pytest.raises(MulmedError, match="cannot be read"):
        list(lines(tmp_path / "absent.gz"))


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


# --- JSON --------------------------------------------------------------------------------------------

ALPACA = [
    {"instruction": "Name a fruit.", "input": "", "output": "Apple."},
    {"instruction": "翻译成英文。", "input": "发烧", "output": "fever"},
    {"instruction": "Name a bone.", "output": "The femur."},
    {"instruction": "Name a vein.", "input": "No input", "output": "The jugular."},
]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(ALPACA, ensure_ascii=False, indent=2),
        json.dumps(ALPACA),
        "\n\n" + json.dumps(ALPACA),
        "\n".join(json.dumps(row) for row in ALPACA) + "\n\n",
    ],
)
def test_alpaca_reads_arrays_and_json_lines_under_one_name(tmp_path: Path, content: str) -> None:
    items = found("alpaca", write(tmp_path / "a.json", content))
    assert [texts(item) for item in items] == [[row["instruction"], row["output"]] for row in ALPACA]
    assert [item.parsed.context for item in items] == ["", "发烧", "", ""]
    assert [item.row for item in items] == [0, 1, 2, 3]
    assert [notes(item) for item in items] == [{}, {}, {}, {"placeholder for no input": 1}]
    assert {item.parsed.task for item in items} == {"instruction"}


def test_a_rejected_record_tells_row_line_and_reason_and_the_next_is_read(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"instruction": "a", "output": " \n"},
        {"instruction": "a", "output": "<nooutput>"},
        {"instruction": None, "output": "b"},
        {"instruction": "a", "output": 5},
        {"instruction": "a", "input": ["x"], "output": "b"},
        ["a", "b"],
        {"instruction": "a", "output": "b"},
    ]
    reasons = [
        "output is empty",
        "output is empty",
        "instruction is missing",
        "output is not text",
        "input is not text",
        "record is not an object",
    ]
    array = "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
    items = list(read("alpaca", write(tmp_path / "array.json", array)))
    assert items[:-1] == [Rejected(i, i + 2, reason) for i, reason in enumerate(reasons)]
    assert isinstance(items[-1], Found)
    assert (items[-1].row, items[-1].line) == (6, 8)

    as_lines = "\n".join(['{"instruction": "a", ', *(json.dumps(row) for row in rows[3:])])
    items = list(read("alpaca", write(tmp_path / "lines.jsonl", as_lines)))
    assert items[:2] == [Rejected(0, 1, "line is not valid JSON"), Rejected(1, 2, "output is not text")]
    assert isinstance(items[-1], Found)


@pytest.mark.parametrize(
    ("content", "line", "column", "problem"),
    [
        ('[\n {"instruction": "a", "output": "b"},\n]', 2, 37, "comma after the last"),
        ('[{"instruction": "a", "output": "b"}\n {"instruction": "c"}]', 2, 2, "expected a comma"),
        ('[\n  {"instruction": "a", "output": b}]', 2, 34, "expecting value"),
        ('[{"instruction": "a", "output": "b"}', 1, 37, "expected a comma or the end"),
        ('[] {"a": 1}', 1, 4, "follows the end"),
    ],
)
def test_a_broken_array_names_line_and_column(
    tmp_path: Path, content: str, line: int, column: int, problem: str
) -> None:
    with pytest.raises(MulmedError) as caught:
        list(read("alpaca", write(tmp_path / "a.json", content)))
    assert caught.value.where.endswith(f"a.json, line {line}, column {column}")
    assert problem in caught.value.what


@given(
    st.lists(
        st.fixed_dictionaries(
            {"instruction": st.text(min_size=1), "input": st.text(), "output": st.text(min_size=1)}
        )
    ),
    st.sampled_from([None, 1]),
    st.booleans(),
)
def test_array_reading_agrees_with_the_standard_parser(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, str]], indent: int | None, ascii_only: bool
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    content = json.dumps(rows, indent=indent, ensure_ascii=ascii_only)
    items = list(read("alpaca", write(path, content)))
    assert [item.row for item in items] == list(range(len(rows)))
    for item, row in zip(items, rows, strict=True):
        if isinstance(item, Found):
            assert texts(item) == [row["instruction"], row["output"]]
        else:
            assert not row["instruction"].strip() or item.reason == "output is empty"


def test_a_lone_surrogate_is_replaced_and_counted_a_pair_is_a_character(tmp_path: Path) -> None:
    content = r'[{"instruction": "a\ud83d b", "output": "ok \ud83d\ude00", "input": "\udc00\udc01"}]'
    (item,) = found("alpaca", write(tmp_path / "a.json", content))
    assert texts(item) == ["a\ufffd b", "ok 😀"]
    assert item.parsed.context == "\ufffd\ufffd"
    assert notes(item) == {"lone surrogate replaced": 3}


# --- question answering ------------------------------------------------------------------------------


def test_healthcaremagic_drops_the_instruction_and_keeps_texts_as_they_are(tmp_path: Path) -> None:
    row = {"instruction": "You are a doctor.", "input": " My knee hurts.", "output": "Rest it. "}
    (item,) = found("healthcaremagic", write(tmp_path / "a.json", json.dumps([row])))
    assert texts(item) == [" My knee hurts.", "Rest it. "]
    assert (item.parsed.task, item.parsed.context) == ("qa", "")


def test_icliniq_keeps_the_answers_of_other_systems_apart(tmp_path: Path) -> None:
    rows = [
        {"input": "q", "answer_icliniq": "doctor", "answer_chatgpt": "gpt", "answer_chatdoctor": "cd"},
        {"input": "q", "answer_icliniq": "doctor", "answer_chatgpt": " ", "answer_chatdoctor": None},
        {"instruction": "i", "input": "q", "output": "doctor"},
    ]
    items = found("icliniq", write(tmp_path / "a.json", json.dumps(rows)))
    assert [texts(item) for item in items] == [["q", "doctor"]] * 3
    assert [item.parsed.baselines for item in items] == [{"chatgpt": "gpt", "chatdoctor": "cd"}, {}, {}]
    # another system's answer never stands in for the doctor's
    missing = write(tmp_path / "b.json", json.dumps([{"input": "q", "answer_chatgpt": "gpt"}]))
    assert list(read("icliniq", missing)) == [Rejected(0, 1, "answer_icliniq is missing")]


# --- lay summaries -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokenised", "written"),
    [
        ("Rest helps ( mostly ) , we found .", "Rest helps (mostly), we found."),
        ("A rise of 0 . 05 among 10 , 000 people .", "A rise of 0.05 among 10,000 people."),
        ("In 1 , 120 , 998 births ; in 2010 , 201 more .", "In 1,120,998 births; in 2010, 201 more."),
        ("Worms ( C . elegans ) , e . g . , wild ones .", "Worms (C. elegans), e.g., wild ones."),
        ("Lin et al . asked : why ? It was late .", "Lin et al. asked: why? It was late."),
        ("At http://www . a . org/b . html . It is free .", "At http://www.a.org/b.html. It is free."),
        ("Write to a . name@example . org . It is read .", "Write to a.name@example.org. It is read."),
        ("The tool ( www . Example . org ) works .", "The tool (www.Example.org) works."),
        ("A “niche , ” or rather “nest . ” Then it ends .", "A “niche,” or rather “nest.” Then it ends."),
        ("Rates were 3 . 9 [ ( 95% CI: 1 . 7–4 . 2 ) ] .", "Rates were 3.9 [(95% CI: 1.7–4.2)]."),
        ("CD4 + cells – not CD8 – grew , p = 0 . 02 .", "CD4 + cells – not CD8 – grew, p = 0.02."),
    ],
)
def test_detokenise(tokenised: str, written: str) -> None:
    assert is_tokenised(tokenised)
    assert detokenise(tokenised) == written
    assert detokenise(written) == written, "text that is not tokenised must stay as it is"


def test_laysumm_leaves_ordinary_text_alone_and_notes_what_it_joined(tmp_path: Path) -> None:
    plain = "It works. See ( a ) , though."
    rows = [
        {"title": "t", "abstract": "One , two .", "lay_summary": plain},
        {"article": "Abstract . It ends .\nIntroduction .", "summary": "Lay , short .", "title": "t"},
        {"abstract": ["One .", "Two , three ."], "lay_summary": ["Lay ."]},
    ]
    items = found("laysumm", write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows))))
    assert [texts(item) for item in items] == [
        ["One, two.", plain],
        ["Abstract. It ends.", "Lay, short."],
        ["One. Two, three.", "Lay."],
    ]
    assert {item.parsed.task for item in items} == {"summary"}
    assert [(note.rule, note.characters) for note in items[0].parsed.notes] == [("tokenised text joined", 2)]


# --- dialogues ---------------------------------------------------------------------------------------

HAODF = """
id=1
https://example.org/1

Description
疾病： 咳嗽
病情描述： 夜里咳得厉害，
有白痰。
希望获得的帮助： 要不要拍片？
患病多久： 一月内
已就诊医院及科室： 某某医院 内科
用药情况： 21：糖浆
过敏史： 无（2020-03-01填写）
既往病史： 哮喘（2020-03-01填写）

Dialogue
医生：
感谢您的信任，病情资料我已详细阅读。
病人：
在吗
医生：
感谢您的信任，病情资料我已详细阅读。根据您现有的资料，建议：有发热吗？
医生：
夜里会喘吗？
病人：
没有发热。
会喘。
医生：
建议查肺功能。
初步诊断：哮喘
病人：
谢谢

Diagnosis and suggestions
病情摘要及初步印象： 哮喘

id=2
https://example.org/2

Description
疾病： 头痛
希望获得的帮助： 怎么办

id=3
https://example.org/3

Doctor faculty
某某医院  内科

Description
预约医生： 某某


Description
疾病：
未填写

Dialogue
医生：
您好
病人：
孩子发烧三十九度
医生：
先物理降温

id=4
https://example.org/4

Description
疾病： 是流感吗

Dialogue
病人：
浑身发冷
病情描述： 发热一天
过敏史： 无（2020-03-01填写）

Dialogue
病人：
【手术】：阑尾切除（2020-03-02填写）

Dialogue
医生：
测体温了吗
病人：
三十八度
疾病诊断： 流感
开药需求：

Dialogue
医生：
多喝水

Description
疾病： 是流感吗
病情描述： 退烧了，还要吃药吗

Dialogue
医生：
不用了

Description
疾病： 是流感吗
病情描述： 退烧了，还要吃药吗

Dialogue
医生：
不用了
"""


def test_meddialog_zh_makes_one_conversation_of_a_block(tmp_path: Path) -> None:
    path = write(tmp_path / "haodf.txt", HAODF)
    items = list(read("meddialog-zh", path))
    assert [item.row for item in items] == [0, 1, 2, 3]
    first, second, third, fourth = items
    assert isinstance(first, Found)
    assert first.line == 2
    assert texts(first) == [
        "咳嗽\n夜里咳得厉害，\n有白痰。\n要不要拍片？\n用药情况：21：糖浆\n既往病史：哮喘\n在吗",
        # the platform's own message is no answer; before an answer it is left to the cleaning
        "感谢您的信任，病情资料我已详细阅读。根据您现有的资料，建议：有发热吗？\n夜里会喘吗？",
        "没有发热。\n会喘。",
        "建议查肺功能。\n初步诊断：哮喘",  # the doctor's own words, although they look like a form
    ]
    assert [turn.role for turn in first.parsed.turns] == ["user", "assistant", "user", "assistant"]
    assert first.parsed.task == "dialogue"
    assert {note.rule: note.characters for note in first.parsed.notes} == {
        "trailing question left out": 2,
        "platform message left out": len("感谢您的信任，病情资料我已详细阅读。"),
        "diagnosis section left out": len("病情摘要及初步印象： 哮喘"),
    }

    assert second == Rejected(1, HAODF[: HAODF.index("id=2")].count("\n") + 1, "no dialogue")

    # nothing was asked before the first answer, so it answers nothing
    assert isinstance(third, Found)
    assert texts(third) == ["孩子发烧三十九度", "先物理降温"]
    assert third.parsed.task == "qa"
    assert notes(third) == {"leading answer left out": 1}

    # pieces of the form that the file calls a dialogue go back into the form; nothing is lost or doubled
    assert isinstance(fourth, Found)
    assert texts(fourth) == [
        "是流感吗\n浑身发冷\n发热一天\n既往病史：【手术】：阑尾切除",
        "测体温了吗",
        "三十八度",
        "多喝水",
        "是流感吗\n退烧了，还要吃药吗",
        "不用了",
    ]
    assert [(note.rule, note.count, note.characters) for note in fourth.parsed.notes] == [
        ("repeated consultation left out", 1, len("是流感吗\n退烧了，还要吃药吗不用了"))
    ]


def test_first_turns_make_a_question_and_an_answer(tmp_path: Path) -> None:
    path = write(tmp_path / "haodf.txt", HAODF)
    whole = {item.row: item for item in read("meddialog-zh", path) if isinstance(item, Found)}
    for item in read("meddialog-zh", path, "first"):
        if isinstance(item, Found):
            assert item.parsed.task == "qa"
            assert item.parsed.turns == whole[item.row].parsed.turns[:2]


def test_meddialog_en(tmp_path: Path) -> None:
    content = """id=7
https://example.org/7

Description
Can I run with a cold?

Dialogue
Patient:
Hello doctor,
Doctor: my wife says rest.
Doctor:
Any fever?
Patient:
No.
Doctor:
Then walk.
"""
    (item,) = found("meddialog-en", write(tmp_path / "a.txt", content.replace("Doctor: my", "My doctor: my")))
    assert texts(item) == [
        "Can I run with a cold?\nHello doctor,\nMy doctor: my wife says rest.",
        "Any fever?",
        "No.",
        "Then walk.",
    ]
    assert notes(item) == {}


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.sampled_from(["a", "b", " ", "cc"]))))
def test_alternate_keeps_order_and_accounts_for_every_character(said: list[tuple[Role, str]]) -> None:
    spoken = [(role, text) for role, text in said if text.strip()]
    answerable = any(role == "user" for role, _ in spoken) and any(
        role == "assistant" for role, _ in spoken[[role for role, _ in spoken].index("user") :]
    )
    if not answerable:
        with pytest.raises(Unusable):
            alternate(said)
        return
    turns, left_out = alternate(said)
    assert [turn.role for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
    kept = [line for turn in turns for line in turn.text.split("\n")]
    everything = [text for _, text in spoken]
    start = [role for role, _ in spoken].index("user")
    assert kept == everything[start : start + len(kept)]
    assert sum(n.characters for n in left_out) == sum(
        len("\n".join(part)) for part in (everything[:start], everything[start + len(kept) :])
    )


def test_messages(tmp_path: Path) -> None:
    def row(*messages: tuple[str, Any], **more: Any) -> str:
        return json.dumps({"messages": [{"role": r, "content": c} for r, c in messages], **more})

    content = [
        row(("system", "Be kind."), ("user", "q"), ("assistant", "a"), language="zh", task="summary"),
        row(("user", "q"), ("user", "r"), ("assistant", "a"), ("user", "s"), ("assistant", "b")),
        row(("user", "q"), ("assistant", "a"), ("user", "thanks")),
        row(("user", "q"), ("tool", "x"), ("assistant", "a")),
        row(("user", [{"type": "image"}]), ("assistant", "a")),
        row(("user", "q"), ("assistant", "a"), ("user", "r"), ("assistant", "b"), task="qa"),
        row(("user", "q"), ("assistant", "a"), task="translation"),
        row(("user", "q"), ("assistant", "a"), language="Chinese"),
        row(("assistant", "a")),
        "{}",
    ]
    items = list(read("messages", write(tmp_path / "a.jsonl", "\n".join(content))))
    usable = [item for item in items if isinstance(item, Found)]
    assert [(item.parsed.task, item.parsed.language, texts(item)) for item in usable] == [
        ("summary", "zh", ["q", "a"]),
        ("dialogue", None, ["q\nr", "a", "s", "b"]),
        ("qa", None, ["q", "a"]),
    ]
    assert [notes(item) for item in usable] == [
        {"system message left out": 1},
        {},
        {"trailing question left out": 1},
    ]
    assert [item.reason for item in items if isinstance(item, Rejected)] == [
        "a message's role is none of user, assistant, system",
        "a message has no text content",
        "only a dialogue may have more than one round",
        "task is none of instruction, summary, qa, dialogue",
        "language is not a two-letter code",
        "no question",
        "messages is missing or not a list",
    ]


# --- the real files ----------------------------------------------------------------------------------


@needs_real_data
@pytest.mark.parametrize(
    ("layout", "name", "usable", "rejected"),
    [
        ("alpaca", "alpaca_en/alpaca_data.json.gz", 51_939, {"output is empty": 63}),
        ("alpaca", "alpaca_zh/carbonz0-part-00.json.gz", 10_015, {"output is empty": 6}),
        ("healthcaremagic", "healthcaremagic/HealthCareMagic-100k.json.gz", 140, {}),
        ("icliniq", "icliniq/iCliniq.json.gz", 1000, {}),
        ("laysumm", "laysumm/PLOS_val.jsonl.gz", 917, {}),
        ("laysumm", "laysumm/eLife_val.jsonl.gz", 160, {}),
        ("meddialog-en", "dialogue_en/COVID-Dialogue-Dataset-English.txt.gz", 604, {}),
        (
            "meddialog-zh",
            "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz",
            920,
            {"no dialogue": 39, "no answer": 41},
        ),
    ],
)
def test_real_files_are_read_whole(layout: Layout, name: str, usable: int, rejected: dict[str, int]) -> None:
    items = list(READERS[layout](REAL / name))
    assert sum(isinstance(item, Found) for item in items) == usable
    assert Counter(item.reason for item in items if isinstance(item, Rejected)) == rejected
    assert [item.row for item in items] == list(range(len(items)))


@needs_real_data
def test_the_published_baselines_come_with_icliniq() -> None:
    (item,) = found("icliniq", REAL / "icliniq/iCliniq.row0.all-fields.json.gz")
    assert set(item.parsed.baselines) == {"chatgpt", "chatdoctor"}


@needs_real_data
def test_the_published_file_with_a_trailing_comma_names_the_place() -> None:
    with pytest.raises(MulmedError, match="comma after the last record") as caught:
        list(READERS["alpaca"](REAL / "alpaca_zh/hikariming-9407-12345.json.gz"))
    assert "line " in caught.value.where


@needs_real_data
def test_a_real_lay_summary_is_as_the_journal_printed_it() -> None:
    """PLOS NTD 2011, doi 10.1371/journal.pntd.0001041: the article's own XML is among the real data."""
    import html
    import re
    import tarfile

    with tarfile.open(REAL / "laysumm/plos_jats_xml.tar.gz") as archive:
        member = archive.extractfile("allofplos/starter_corpus/journal.pntd.0001041.xml")
        assert member is not None
        xml = member.read().decode()
    abstracts = re.findall(r"<abstract.*?</abstract>", xml, re.DOTALL)
    printed = re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]+>", " ", " ".join(abstracts))))
    (item,) = (
        item
        for item in found("laysumm", REAL / "laysumm/PLOS_val.jsonl.gz")
        if item.parsed.turns[0].text.startswith("Leprosy Type 1 reactions are")
    )
    assert item.parsed.turns[1].text in printed
    # the published corpus lost a space inside the trial's name, at the very end
    abstract = " ".join(item.parsed.turns[0].text.split())
    assert all(sentence in printed for sentence in abstract.split(". ")[:-1])


@needs_real_data
def test_nothing_of_the_form_is_left_in_real_dialogues() -> None:
    for item in READERS["meddialog-zh"](REAL / "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz"):
        if isinstance(item, Found):
            question = item.parsed.turns[0].text
            assert "填写）" not in question
            assert "已就诊医院及科室：" not in question
            for turn in item.parsed.turns:
                assert turn.text.strip()
                assert not turn.text.startswith(("医生：", "病人：", "Dialogue"))
                assert "\nDialogue\n" not in turn.text
