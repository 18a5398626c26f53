"""Dialogues as lists of messages, as pairs, and as marked text."""

from __future__ import annotations

import json
from pathlib import Path

from mulmed.corpus.sources.layout import Found, Rejected
from tests.corpus.reading import found, notes, read, reasons, texts, write


def test_cmtmedqa_puts_the_history_before_the_last_round(tmp_path: Path) -> None:
    rows = [
        {
            "id": "1", "cate1": "内科", "instruction": "还要复查吗？", "input": "", "output": "三个月后复查。",
            "history": [["我头痛。", "多久了？"], ["三天。", "先休息。"]],
        },
        {"id": "2", "instruction": "我咳嗽。", "input": "夜里重。", "output": "多喝水。", "history": []},
        {"instruct": "感冒是鬼上身吗？", "output": "不是，感冒是病毒引起的。"},
        {"id": "3", "instruction": "我咳嗽。", "input": "", "output": "多喝水。", "history": [["我头痛。"]]},
        {"id": "4", "instruction": "我咳嗽。", "input": "", "output": "多喝水。", "history": "无"},
    ]  # fmt: skip
    path = write(tmp_path / "a.json", json.dumps(rows))
    items = [item for item in read("cmtmedqa", path, "zh") if isinstance(item, Found)]
    assert [(item.parsed.task, texts(item)) for item in items] == [
        ("dialogue", ["我头痛。", "多久了？", "三天。", "先休息。", "还要复查吗？", "三个月后复查。"]),
        ("qa", ["我咳嗽。\n夜里重。", "多喝水。"]),
        ("qa", ["感冒是鬼上身吗？", "不是，感冒是病毒引起的。"]),
    ]
    assert reasons("cmtmedqa", path, "zh") == ["history is not a list of pairs of texts"] * 2


def test_bentsao_reads_questions_and_dialogues(tmp_path: Path) -> None:
    rows = [
        {"instruction": "流感怎么治？", "input": "", "output": "休息，多喝水。"},
        {"instruction": "流感怎么治？", "input": "三岁。", "output": "休息，多喝水。"},
        {
            "instruction": " <user>: 肝癌能治吗？ <bot>: 早期可以。\n <user>： 晚期呢？",
            "output": "要看情况（P<0.05）。",
            "input": "",
        },
        {"instruction": " <user>: 肝癌能治吗？", "output": "早期可以。", "input": ""},
        {"instruction": "你好 <user>: 肝癌能治吗？", "output": "早期可以。"},
        {"instruction": "<user>: 肝癌能治吗？ <bot>: 早期可以。", "output": "是的。"},
        {"instruction": "<user>: ", "output": "是的。"},
    ]
    path = write(tmp_path / "a.json", "\n".join(map(json.dumps, rows)))
    items = [item for item in read("bentsao", path, "zh") if isinstance(item, Found)]
    assert [(item.parsed.task, texts(item)) for item in items] == [
        ("qa", ["流感怎么治？", "休息，多喝水。"]),
        ("qa", ["流感怎么治？\n三岁。", "休息，多喝水。"]),
        ("dialogue", ["肝癌能治吗？", "早期可以。", "晚期呢？", "要看情况（P<0.05）。"]),
        ("qa", ["肝癌能治吗？", "早期可以。"]),
    ]
    assert reasons("bentsao", path, "zh") == [
        "text before the first speaker",
        "the last round has no question",
        "no question",
    ]


def test_sharegpt_and_the_evaluation_of_disc_medllm(tmp_path: Path) -> None:
    def said(*pairs: tuple[object, object]) -> list[dict[str, object]]:
        return [{"from": speaker, "value": words} for speaker, words in pairs]

    rows = [
        {"id": "a", "conversations": said(("system", "Be kind."), ("human", "Hi"), ("gpt", "Hello"))},
        {"conversations": said(("gpt", "Hello"), ("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d"))},
        {"conversations": said(("human", "a"), ("tool", "b"))},
        {"conversations": said(("human", "a"), (None, "b"))},
        {"conversations": said(("human", "a"), ("gpt", None))},
        {"messages": []},
    ]
    path = write(tmp_path / "a.json", json.dumps(rows))
    first, second = [item for item in read("sharegpt", path) if isinstance(item, Found)]
    assert (texts(first), notes(first)) == (["Hi", "Hello"], {"system message left out": 1})
    assert (texts(second), notes(second)) == (["a", "b", "c", "d"], {"leading answer left out": 1})
    assert (first.parsed.task, second.parsed.task) == ("qa", "dialogue")
    roles = "a message's role is none of human, user, gpt, chatgpt, assistant, system"
    assert reasons("sharegpt", path) == [
        roles,
        roles,
        "a message has no text content",
        "conversations is missing or not a list",
    ]
    row = {
        "id": "0",
        "model": "m",
        "conversation": [{"role": "patient", "content": "我头痛"}, {"role": "doctor", "content": "多久了"}],
    }
    (item,) = found("disc-medllm", write(tmp_path / "b.json", json.dumps([row])), "zh")
    assert texts(item) == ["我头痛", "多久了"]


def test_transcripts_give_every_speaker_a_side(tmp_path: Path) -> None:
    rows = [
        "Doctor: What brings you in? \r\nPatient: My knee: it hurts.\r\nGuest_family: He fell.\r\nDoctor_2: When?"
        "\nGest_family: Monday.\nGuest_clinican: He limps.\nDocotr_2: Rest it.\nPatient: Ok.",
        "Patient: Hi.",
        "Hm.\nPatient: Hi.\nDoctor: Hello.",
    ]
    cells = "".join(f'{place},GENHX,"A note.","{row}"\n' for place, row in enumerate(rows))
    path = write(tmp_path / "mts.csv", "ID,section_header,section_text,dialogue\n" + cells)
    first, *others = read("mts-dialog", path)
    assert isinstance(first, Found)
    assert texts(first) == ["My knee: it hurts.\nHe fell.", "When?", "Monday.", "He limps.\nRest it."]
    assert notes(first) == {"leading answer left out": 1, "trailing question left out": 1}
    assert [item.reason for item in others if isinstance(item, Rejected)] == [
        "no answer",
        "text before the first speaker",
    ]
    aci = "[patient] hi , doctor .\nmy knee hurts .\n[doctor] hey . [laughs] rest it ."
    path = write(tmp_path / "aci.csv", f'dataset,encounter_id,dialogue,note\nv,1,"{aci}",A note.\n')
    (item,) = found("aci-bench", path)
    assert texts(item) == ["hi , doctor .\nmy knee hurts .", "hey . [laughs] rest it ."]


def test_a_record_in_another_script_is_rejected_an_answer_noted(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Name a fruit.", "input": "", "output": "An apple."},
        {"instruction": "把下面翻译成英文。", "input": "发烧", "output": "fever"},
        {"instruction": "Translate:", "input": "发烧", "output": "fever"},
        {"instruction": "1+1=?", "input": "", "output": "2"},
        {"instruction": "1+1等于几？", "input": "", "output": "2"},
        {"instruction": "用拉丁字母写。", "input": "", "output": "维C is vitamin C"},
    ]
    path = write(tmp_path / "a.json", json.dumps(rows))
    items = list(read("alpaca", path, "zh"))
    assert items[0] == Rejected(0, 1, "record is not in the source's language")
    other = {"answer is not in the source's language": 1}
    assert [notes(item) for item in items if isinstance(item, Found)] == [other, other, {}, {}, {}]
    rejected = [item.row for item in read("alpaca", path, "en") if isinstance(item, Rejected)]
    assert rejected == [4]
    # a row that says its own language is believed
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    path = write(tmp_path / "b.jsonl", json.dumps({"messages": messages, "language": "en"}))
    assert len(found("messages", path, "zh")) == 1
