"""Readers of published layouts against small files of our own making."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.record import Role
from mulmed.corpus.sources import laysumm, meddialog
from mulmed.corpus.sources.layout import Found, Rejected, Unusable, alternate
from mulmed.corpus.sources.laysumm import detokenise, is_tokenised
from mulmed.errors import MulmedError
from tests.corpus.reading import found, notes, read, texts, write

# --- question answering -----------------------------------------------------------------------------------


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


# --- lay summaries ----------------------------------------------------------------------------------------


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


def joined_by_patterns_alone(content: str) -> str:
    """The rules without the quick looks that save running them."""
    for _, pattern, replacement in laysumm._RULES:
        content = pattern.sub(replacement, content)
    content = re.sub(r" +(?=[.,?!;:)\]](?:[\s)\]”’\"'.,;:?!]|$))", "", content)
    content = re.sub(r"(?<=[(\[]) +", "", content)
    return re.sub(r"(?<=[.,?!]) (?=[”’])", "", content).strip()


PIECES = [
    *list(" .,?)([]”’aTe1;:\n"),
    "  ",
    " . ",
    " , ",
    " ) ",
    "( ",
    "23",
    "456",
    "http://x",
    "www . ",
    "@",
    "...",
]


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_detokenise_does_what_all_its_patterns_do(content: str) -> None:
    assert detokenise(content) == joined_by_patterns_alone(content)


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


# --- dialogues --------------------------------------------------------------------------------------------

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
    items = list(read("meddialog-zh", path, "zh"))
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
    whole = {item.row: item for item in read("meddialog-zh", path, "zh") if isinstance(item, Found)}
    for item in read("meddialog-zh", path, "zh", turns="first"):
        if isinstance(item, Found):
            assert item.parsed.task == "qa"
            assert item.parsed.turns == whole[item.row].parsed.turns[:2]


def test_a_meddialog_file_whose_records_have_no_beginning_does_not_fill_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meddialog, "LONGEST", 1000)
    block = "Description\n病情描述：头痛\n\nDialogue\n医生：休息。\n\n"
    path = write(tmp_path / "a.txt", f"id=1\n{block}id=2\n" + block * 30)
    with pytest.raises(MulmedError, match="more than") as caught:
        list(read("meddialog-zh", path, "zh"))
    assert str(caught.value.where).endswith("a.txt, line 8")


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
