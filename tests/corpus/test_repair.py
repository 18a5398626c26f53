"""Damage undone exactly, clean text untouched."""

from __future__ import annotations

import re

import ftfy.bad_codecs  # noqa: F401  registers sloppy-windows-1252
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.mojibake import restore, unrecoverable
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.repair import repair, repair_text

CLEAN = {
    "zh": [
        "我父亲最近头痛，血压150/95mmHg，请问需要吃什么药？",
        "体温38.5℃，白细胞12.3×10^9/L，C反应蛋白（CRP）45mg/L。",
        "每次0.5g，一日3次，饭后服用；疗程7～10天。",
        "他患有嗜铬细胞瘤，伴心悸、多汗……是否需要手术？",
        "請問醫生，頭痛發燒三天了怎麼辦？謝謝您！",
        "鼹鼠、龘、犇、骉、麤，这些字很少见。",
        "γ-谷氨酰转移酶（GGT）升高，α-干扰素治疗，β受体阻滞剂。",
        "维生素B₁₂缺乏；Na⁺ 140mmol/L；T₃、T₄正常。",
        "“小三阳”与‘大三阳’有何区别？《指南》怎么说——请告知。",
        "Ⅱ型糖尿病①控制饮食②运动★每天30分钟㎎㎏",
        "p<0.05且n>3，差异有统计学意义（a<b>c）。",
        "浣熊、涓流、绛珠草都是正常的词。",
        "嗓子疼（咽部充血），痰中带血丝♀患者。",
        "家住厦门，孩子3个月零5天，体重6.2kg",
    ],
    "en": [
        "Is 0.5 mg/kg twice daily safe? My BP is 120/80 mmHg and HR 72 bpm.",
        "p < 0.05 and n > 3; a<b, c>d and x<y>z hold.",
        "Fever of 38.5 °C (101.3 °F), CRP 45 mg/L, TSH 2.5 µIU/mL ± 0.3.",
        "He has Ménière's disease, Guillain-Barré syndrome and Sjögren's – naïve café crème brûlée.",
        "Perthes-Calvé, Lambaréné, Domínguez, Müller, Kekulé, jalapeño, São Paulo, Ångström.",
        "IL-1β, TNF-α, NF-κB, HIF-2α and ERα were measured; ≥275 kcal/100 g; Δ32; ΔF508; λ = 3 × 10⁻³.",
        "“Curly” quotes, ‘single’ ones, an em dash—and an ellipsis… stay.",
        "R&D at AT&T; salt & water; Q&A; vitamins B1 & B6",
        "Use <drug name> twice; if glucose <70 or >180, call. I <3 this.",
        "The price is €20 or £15; 1½ tablets; ™ ® ©.",
        "J'ai mangé à midi; él está aquí; über; façade; élève; déjà vu",
        "Line one\nLine two\nLine three",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, texts in CLEAN.items() for t in texts])
def test_clean_text_does_not_change(language: str, text: str) -> None:
    assert repair_text(text, language) == (text, [])


CHINESE = [
    "头痛怎么办",
    "体温38.5℃，已经三天了，需要去医院吗？",
    "医生您好，我母亲今年六十岁，糖尿病十年，最近脚肿。",
]


@pytest.mark.parametrize("text", CHINESE)
@pytest.mark.parametrize(
    ("wrote", "read"),
    [
        ("utf-8", "latin-1"),
        ("utf-8", "sloppy-windows-1252"),
        ("gb18030", "latin-1"),
        ("gb18030", "sloppy-windows-1252"),
    ],
)
def test_wrong_one_byte_decoding_is_undone(text: str, wrote: str, read: str) -> None:
    damaged = text.encode(wrote).decode(read)
    assert restore(damaged) == (text, 1)
    assert restore("谢谢医生，" + damaged + "。好的。")[0] == "谢谢医生，" + text + "。好的。"


@pytest.mark.parametrize("text", ["换牙期间要早晚刷牙", "你好", "多喝水，注意休息。"])
def test_utf8_read_as_gbk_is_undone_beside_healthy_text(text: str) -> None:
    data = text.encode("utf-8")
    damaged = data.decode("gb18030", errors="replace")
    if "\ufffd" in damaged:  # an odd number of bytes loses the last one for good
        assert unrecoverable(restore(damaged)[0])
        return
    assert damaged != text
    assert restore(damaged)[0] == text
    assert restore(f"我最近牙疼{damaged}谢谢")[0] == f"我最近牙疼{text}谢谢"


def test_utf8_read_as_windows_code_page_936_with_its_euro_sign() -> None:
    # 一 is E4 B8 80 in UTF-8, and code page 936 shows the lone byte 80 as a euro sign.
    text = "一天天好起来了"
    damaged = _cp936(text.encode("utf-8"))
    assert "€" in damaged
    assert restore(damaged)[0] == text


def _cp936(data: bytes) -> str:
    shown, i = [], 0
    while i < len(data):
        if data[i] == 0x80:
            shown.append("€")
            i += 1
        elif data[i] < 0x80:
            shown.append(chr(data[i]))
            i += 1
        else:
            shown.append(data[i : i + 2].decode("gb18030"))
            i += 2
    return "".join(shown)


@pytest.mark.parametrize("read", ["latin-1", "gb18030"])
def test_big5_damage_is_undone(read: str) -> None:
    text = "請問醫生頭痛發燒三天了怎麼辦謝謝"
    assert restore(text.encode("big5").decode(read))[0] == text


def test_utf8_read_as_latin_1_twice() -> None:
    text = "孩子咳嗽一周了"
    damaged = text.encode().decode("latin-1").encode().decode("latin-1")
    assert restore(damaged)[0] == text


_ACCENTED = "Ménière Guillain-Barré Sjögren naïve élève déjà-vu Lambaréné São Müller Ångström 37°C ±0.5 µg £5 ¿qué? ¡Hola! Kekulé"


@given(
    st.lists(st.sampled_from(_ACCENTED.split()), min_size=1, max_size=8),
    st.sampled_from([" ", ", ", "–", "/"]),
)
def test_european_words_never_become_chinese(words: list[str], between: str) -> None:
    text = between.join(words)
    assert restore(text) == (text, 0)


def test_english_mojibake_is_left_to_ftfy_and_mended() -> None:
    fixed, found = repair_text("Itâ€™s 38.5 Â°C in the cafÃ©", "en")
    assert fixed == "It’s 38.5 °C in the café"
    assert [f.rule for f in found] == ["encoding"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Hello <b>there</b></p><br/>10<sup>9</sup>/L", "Hello there\n10^9/L"),
        ("CO<sub>2</sub> &lt; 37 &amp;&nbsp;warm", "CO2 < 37 & warm"),
        ("&amp;lt;5 mg", "<5 mg"),
        ('see <a href="http://x.org/a?b=1">here</a> <img src="a.png" alt="x">now', "see here now"),
        ("<script>var a = 1 < 2;</script>Take rest<!-- note -->", "Take rest"),
        ("if a<b and c>d then <b>stop</b>", "if a<b and c>d then stop"),
    ],
)
def test_markup(text: str, expected: str) -> None:
    assert repair_text(text, "en")[0] == expected


def test_instructions_keep_markup_and_indentation() -> None:
    code = "def f(x):\n    return '<p>' + x\n\n\nf(1)"
    assert repair_text(code, "en", prose=False) == (code, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ｖｉｔａｍｉｎ Ｂ１２　３８．５℃，血压１２０／８０。", "vitamin B12 38.5℃，血压120/80。"),
        ("头\u200b痛\ufeff三\u202e天\x07", "头痛三天"),
        ("a\u00adb \u2028 c\r\nd\t\te  f \n\n\n g", "ab\nc\nd e f\ng"),
        (
            "家人\U0001f468\u200d\U0001f469\u200d\U0001f467好",
            "家人\U0001f468\u200d\U0001f469\u200d\U0001f467好",
        ),
    ],
)
def test_widths_invisible_characters_and_white_space(text: str, expected: str) -> None:
    assert repair_text(text, "zh")[0] == expected


def test_boilerplate_goes_unless_a_turn_is_nothing_else() -> None:
    assert repair_text("青霉素过敏（2020-03-19填写）", "zh")[0] == "青霉素过敏"
    assert (
        repair_text("感谢您的信任，病情资料我已详细阅读。根据您现有的资料，建议：多喝水", "zh")[0] == "多喝水"
    )
    alone = "感谢您的信任，病情资料我已详细阅读。"
    assert repair_text(alone, "zh")[0] == alone


_NOT_LETTERS_OF_EUROPE = st.characters(exclude_characters="".join(map(chr, range(0x80, 0x590))))


# Two accented letters in a row may be a mangled one to ftfy, so these are left out.
@given(st.text(alphabet=_NOT_LETTERS_OF_EUROPE, max_size=80), st.sampled_from(["en", "zh"]))
def test_repair_is_idempotent_and_leaves_no_control_characters(text: str, language: str) -> None:
    once = repair_text(text, language)[0]
    assert repair_text(once, language)[0] == once
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u200b\u202a-\u202e\ufeff]", once)


def record(row: int, question: str, answer: str, **more: object) -> Record:
    turns = (Turn("user", question), Turn("assistant", answer))
    fields: dict[str, object] = {"task": "qa", "language": "zh"} | more
    return Record(id=f"s:{row}", turns=turns, source="s", file="f", row=row, **fields)  # type: ignore[arg-type]


def test_lost_text_drops_its_record_and_the_audit_never_quotes_it() -> None:
    records = [
        record(0, "咳嗽怎么办？", "多喝水。"),
        record(1, "饭后胃胀锟斤拷锟斤拷", "少吃。"),
        record(2, "胸口烫烫烫烫烫烫", "是吗？"),
        record(3, "头痛\ufffd三天", "休息。"),
        record(4, "澶寸棝涓夊ぉ锛屼綋娓\ufffd38.5鈩冩\ufffd庝箞鍔烇紵", "休息。"),
        record(5, "&nbsp;", "休息。"),
        record(6, "头痛怎么办".encode("gb18030").decode("latin-1"), "多休息　吧"),
    ]
    outcome = repair(to_batch(records))
    assert [r.id for r in from_batch(outcome.batch)] == ["s:0", "s:6"]
    assert list(from_batch(outcome.batch))[1].turns == (
        Turn("user", "头痛怎么办"),
        Turn("assistant", "多休息 吧"),
    )
    audit = outcome.audit.to_dicts()
    assert [(a["id"], a["action"], a["rule"]) for a in audit] == [
        ("s:1", "dropped", "unrecoverable"),
        ("s:2", "dropped", "unrecoverable"),
        ("s:3", "dropped", "unrecoverable"),
        ("s:4", "dropped", "unrecoverable"),
        ("s:5", "dropped", "empty"),
        ("s:6", "changed", "mojibake"),
        ("s:6", "changed", "whitespace"),
    ]
    assert outcome.counters["records changed"] == 1
    assert outcome.counters["records dropped"] == 5
    assert audit[-1]["chars_before"] == 15
    assert audit[-1]["chars_after"] == 10


def test_context_and_baselines_are_mended_too() -> None:
    mended = repair(
        to_batch([record(0, "a", "b", language="en", context="x&amp;y", baselines={"chatgpt": "1 &gt; 0"})])
    )
    (after,) = from_batch(mended.batch)
    assert (after.context, after.baselines) == ("x&y", {"chatgpt": "1 > 0"})
    assert mended.counters["entity"] == 2
