"""Damage undone, every change in its place, clean text untouched."""

from __future__ import annotations

import itertools
import re
from typing import Any

import ftfy
import pytest
from ftfy.badness import MOJIBAKE_CATEGORIES
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mulmed.corpus import repair
from mulmed.corpus.edits import Draft, Edit, apply
from mulmed.corpus.plausibility import unrecoverable
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.repair import RepairedText, repair_record, repair_text

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
        "地尔硫䓬、苯二氮䓬类；王××，男，63岁。",
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
        "A cavity of 1200 Å³, an area of 35 Å² at 2.1 Å± 0.3.",
        "TNF-β† and IFN-γ‡ fell; “SANTÉ” and “CAFÉ”; a tube of Ø° and Ø² mm.",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, texts in CLEAN.items() for t in texts])
def test_clean_text_does_not_change(language: str, text: str) -> None:
    assert repair_text(text, language) == RepairedText(text, ())
    assert repair_text(text) == RepairedText(text, ())


_WORDS = [
    "The",
    "patient",
    "takes",
    "metformin",
    "500",
    "mg",
    "twice",
    "daily",
    "and",
    "feels",
    "well;",
    "no",
    "allergy",
    "to",
    "penicillin",
    "was",
    "known",
    ",",
    ".",
    "?",
    "!",
    ":",
    "(",
    ")",
    "“",
    "”",
    "‘",
    "’",
    "–",
    "—",
    "…",
    "°",
    "°C",
    "µg",
    "±",
    "×",
    "≥",
    "≤",
    "½",
    "²",
    "³",
    "€",
    "£",
    "§",
    "®",
    "™",
    "α",
    "β",
    "γ",
    "Δ",
    "é",
    "è",
    "ü",
    "ñ",
    "å",
    "É",
    "Å",
    "Ø",
    "ß",
    "ç",
    "café",
    "naïve",
    "Ménière",
    "Sjögren",
    "头痛",
    "发烧",
    "血压",
    "糖尿病",
    "阿莫西林",
    "布洛芬",
    "请问",
    "医生",
    "每天3次",
    "，",
    "。",
    "？",
    "！",
    "、",
    "（",
    "）",
    "：",
    "；",
    "～",
    "38.5℃",
    "120/80mmHg",
    "頭痛",
    "醫師",
    "檢查",
    "①",
    "Ⅱ",
]


@settings(max_examples=500)
@given(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=20))
def test_common_words_between_spaces_do_not_change(words: list[str]) -> None:
    text = " ".join(words)
    assert repair_text(text) == RepairedText(text, ())


def test_english_mojibake_is_mended_where_it_stands() -> None:
    given_text = "Itâ€™s 38.5 Â°C in the cafÃ©"
    assert repair_text(given_text) == RepairedText(
        "It’s 38.5 °C in the café",
        (
            Edit(2, 5, "’", "encoding"),
            Edit(12, 13, "", "encoding"),
            Edit(26, 28, "é", "encoding"),
        ),
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>Hello <b>there</b></p><br/>10<sup>9</sup>/L", "Hello there\n10^9/L"),
        ("CO<sub>2</sub> &lt; 37 &amp;&nbsp;warm", "CO2 < 37 & warm"),
        ("&amp;lt;5 mg", "<5 mg"),
        ('see <a href="http://x.org/a?b=1">here</a> <img src="a.png" alt="x">now', "see here now"),
        ("<script>var a = 1 < 2;</script>Take rest<!-- note -->", "Take rest"),
        ("if a<b and c>d then <b>stop</b>", "if a<b and c>d then stop"),
        ("<b><i>no</i> aspirin</b>", "no aspirin"),
        ("&#8220;rest&#8221; &ldquo;now&rdquo;", "“rest” “now”"),
        ("&acirc;&euro;&trade;", "’"),
    ],
)
def test_markup(text: str, expected: str) -> None:
    repaired = repair_text(text, "en")
    assert repaired.text == expected
    assert apply(text, repaired.changes) == expected


def test_changes_of_several_passes_are_told_in_offsets_of_the_text_given() -> None:
    assert repair_text("a &lt;b&gt;no&lt;/b&gt;\u200b  ｍｇ").changes == (
        Edit(2, 11, "", "entity+tag"),
        Edit(13, 26, " ", "entity+tag+invisible+whitespace"),
        Edit(26, 28, "mg", "width"),
    )


def test_instructions_keep_markup_and_indentation() -> None:
    code = "def f(x):\n    return '<p>' + x + '&amp;'\n\n\nf(1)"
    assert repair_text(code, "en", prose=False) == RepairedText(code, ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ｖｉｔａｍｉｎ Ｂ１２　３８．５℃，血压１２０／８０。", "vitamin B12 38.5℃，血压120/80。"),
        ("（１）每日２～３次；有效率９５％。", "（1）每日2～3次；有效率95%。"),
        ("头\u200b痛\ufeff三\u202e天\x07", "头痛三天"),
        ("a\u00adb \u2028 c\r\nd\t\te  f \n\n\n g", "ab\nc\nd e f\ng"),
        (
            "家人\U0001f468\u200d\U0001f469\u200d\U0001f467好",
            "家人\U0001f468\u200d\U0001f469\u200d\U0001f467好",
        ),
    ],
)
def test_widths_invisible_characters_and_white_space(text: str, expected: str) -> None:
    repaired = repair_text(text, "zh")
    assert repaired.text == expected
    assert apply(text, repaired.changes) == expected


def test_backslash_for_an_apostrophe_in_english_only() -> None:
    assert repair_text(r"I don\t know, it\s \theta", "en").text == r"I don't know, it's \theta"
    assert repair_text(r"I don\t know").text == "I don't know"
    assert repair_text(r"头痛 don\t").changes == ()


def test_boilerplate_goes_unless_a_turn_is_nothing_else() -> None:
    assert repair_text("青霉素过敏（2020-03-19填写）", "zh").text == "青霉素过敏"
    assert (
        repair_text("感谢您的信任，病情资料我已详细阅读。根据您现有的资料，建议：多喝水", "zh").text
        == "多喝水"
    )
    alone = "感谢您的信任，病情资料我已详细阅读。"
    assert repair_text(alone, "zh").text == alone


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("請問醫生，頭痛發燒三天了怎麼辦？", "请问医生，头痛发烧三天了怎么办？"),
        ("頭髮乾燥，乾隆，皇后以後", "头发干燥，乾隆，皇后以后"),  # by phrase: 乾 is 干 but not in a name
        ("已经是简体字，不变。", "已经是简体字，不变。"),
        ("Take 5 mg", "Take 5 mg"),
    ],
)
def test_traditional_characters_become_simplified_on_demand(text: str, expected: str) -> None:
    repaired = repair_text(text, simplify=True)
    assert repaired.text == expected
    assert apply(text, repaired.changes) == expected
    assert all(edit.rule == "simplified" for edit in repaired.changes)
    assert repair_text(text).text == text


def test_only_the_characters_that_differ_are_simplified() -> None:
    assert repair_text("血壓正常", simplify=True).changes == (Edit(1, 2, "压", "simplified"),)


# What each pass looks for, so that random texts are full of it.
_PIECES = st.sampled_from(
    [
        "&lt;",
        "&amp;",
        "&#x4f60;",
        "&nbsp;",
        "<b>",
        "</b>",
        "<p>",
        "<br>",
        "<!--",
        "-->",
        "<sup>9</sup>",
        "\u200b",
        "\u202e",
        "\x07",
        "\x1b[0m",
        "\r\n",
        "\x85",
        "\u3000",
        "Ａ",
        "９",
        "．",
        "％",
        "\\t",
        "\\s",
        "don",
        "it",
        "â€™",
        "Â°",
        "Ã©",
        "å¤´",
        "ç—›",
        "Í·Í´",
        "澶寸棝",
        "锛",
        "锟斤拷",
        "�",
        "ﬁ",
        "頭",
        "痛",
        "医生",
        "mg",
        "5",
        "a",
        "é",
        "Å",
        "²",
        "β",
        "†",
    ]
) | st.sampled_from([" ", "  ", "\n", "\n\n", "", "，"])
_TEXTS = st.lists(_PIECES, max_size=14).map("".join) | st.text(max_size=60)


@settings(max_examples=800)
@given(_TEXTS, st.sampled_from(["en", "zh", None]), st.booleans(), st.booleans())
def test_repair_is_idempotent_and_its_changes_make_the_text(
    text: str, language: str | None, prose: bool, simplify: bool
) -> None:
    once = repair_text(text, language, prose=prose, simplify=simplify)
    assert apply(text, once.changes) == once.text
    assert all(text[e.start : e.end] != e.replacement for e in once.changes)
    assert repair_text(once.text, language, prose=prose, simplify=simplify).changes == ()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u202a-\u202e\ufeff]", once.text)


_OF_FTFY = st.text(
    st.sampled_from(
        re.findall("[^\x00]", "".join(MOJIBAKE_CATEGORIES.values()))
        + list(" aZ.5\n頭痛ГВрΒβŒ\ufb01\u0149\ud83d")
    ),
    max_size=8,
)


@settings(max_examples=2000)
@given(_OF_FTFY)
@example("[ÂÃ]")
@example("a Ã ")
def test_what_the_look_ahead_skips_ftfy_would_not_change(text: str) -> None:
    if not repair._FOR_FTFY.search(text):
        assert ftfy.fix_text(text, repair._FTFY) == text


def record(question: str, answer: str, **more: object) -> Record:
    turns = (Turn("user", question), Turn("assistant", answer))
    fields: dict[str, object] = {"task": "qa", "language": "zh"} | more
    return Record(id="s:0", turns=turns, source="s", file="f", row=0, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "answer", "rule"),
    [
        ("饭后胃胀锟斤拷锟斤拷", "少吃。", "unrecoverable"),
        ("胸口烫烫烫烫烫烫", "是吗？", "unrecoverable"),
        ("头痛\ufffd三天", "休息。", "unrecoverable"),
        ("澶寸棝涓夊ぉ锛屼綋娓\ufffd38.5鈩冩\ufffd庝箞鍔烇紵", "休息。", "unrecoverable"),
        ("&nbsp;", "休息。", "empty"),
        ("头痛", "\u200b", "empty"),
    ],
)
def test_lost_and_empty_texts_set_their_record_aside(question: str, answer: str, rule: str) -> None:
    outcome = repair_record(record(question, answer))
    assert outcome.record is None
    assert [finding.rule for finding in outcome.findings] == [rule]
    assert not any(finding.removed for finding in outcome.findings)


LONG = "头痛三天了。昨天去医院做了CT，没有发现问题。医生开了\ufffd\ufffd。今天还是痛，伴有恶心，没有发烧。需要做核磁共振吗？谢谢医生！"


def test_a_long_question_loses_the_sentence_with_the_mark() -> None:
    outcome = repair_record(record(LONG, "建议复查。"))
    assert outcome.record is not None
    assert outcome.record.turns[0].text == LONG.replace("医生开了\ufffd\ufffd。", "")
    (finding,) = outcome.findings
    start = LONG.index("医生开了")
    assert (finding.rule, finding.field) == ("unrecoverable", "turns[0]")
    assert finding.edit == Edit(start, start + 7, "", "unrecoverable")


def test_offsets_of_a_dropped_sentence_are_those_of_the_text_given() -> None:
    given_text = "&ldquo;" + LONG.replace("。今天", "。  今天") + "&rdquo;"
    outcome = repair_record(record(given_text, "建议复查。"))
    assert outcome.record is not None
    edits = [finding.edit for finding in outcome.findings if finding.edit]
    assert [edit for edit in edits if "unrecoverable" in edit.rule]
    distinct = sorted(set(edits))
    assert apply(given_text, distinct) == outcome.record.turns[0].text
    assert "\ufffd" not in outcome.record.turns[0].text


def test_an_answer_never_goes_on_without_one_of_its_sentences() -> None:
    outcome = repair_record(record("头痛怎么办？", LONG))
    assert outcome.record is None
    assert [finding.rule for finding in outcome.findings] == ["unrecoverable"]


def test_context_and_baselines_are_mended_too_but_a_baseline_keeps_its_marks() -> None:
    outcome = repair_record(
        record("a", "b", language="en", context="x&amp;y", baselines={"chatgpt": "1 &gt; 0 \ufffd"})
    )
    assert outcome.record is not None
    assert (outcome.record.context, outcome.record.baselines) == ("x&y", {"chatgpt": "1 > 0 \ufffd"})
    assert [(f.rule, f.field) for f in outcome.findings] == [
        ("entity", "context"),
        ("entity", "baselines[chatgpt]"),
    ]


def test_a_clean_record_comes_back_as_it_is() -> None:
    clean = record("头痛怎么办？", "多休息。")
    outcome = repair_record(clean)
    assert outcome.record is clean
    assert outcome.findings == ()


def test_simplify_reaches_every_text_of_a_record() -> None:
    outcome = repair_record(record("頭痛", "請多休息"), simplify=True)
    assert outcome.record is not None
    assert [turn.text for turn in outcome.record.turns] == ["头痛", "请多休息"]


_PIECES = [
    "头痛", "没", "么", "每", "冒", "鍙", "鈥", "锟", "烫", "é", "â€", "“", "”", "…", "Å", "²", "１", "％", "／", "a", "Ask", "\\", "t", "&", "&amp;", "<", "<b>",
    ">", " ", "  ", "\n", "\t", "\u3000", "\u200b", "\ufffd", "\x85", "\xa0", "?", "。", "，", "·", "°", "填写", "😀", "\ue000", "娌℃湁鍙戠儳", "ﬁ", "CafÃ©",
    "<br>", "don\\t", "（2020-01-01填写）", "感谢您的信任，病情资料我已详细阅读。", "医生已经通过语音回答了您的问题，请及时收听。", "医生给您发来一个提醒",
    "医生使用隐私电话功能与患者通话", " (attachment removed to protect patient identity)", "May I answer your health queries right now?", "Please type your query here",
]  # fmt: skip


def changed_though_well(text: str, language: str | None, prose: bool) -> bool:
    if not repair._is_well(text):
        return False
    draft = Draft(text)
    repair._one_round(draft, language, prose, False)
    return draft.text != text or bool(unrecoverable(text))


@pytest.mark.parametrize("language", ["en", "zh", None])
def test_what_passes_for_well_is_changed_by_no_rule(language: str | None) -> None:
    """Any two pieces side by side, alone and within a text: few of more are well."""
    pairs = ["".join(pair) for pair in itertools.product(_PIECES, repeat=2)]
    texts = [*pairs, *(f"a{pair}a" for pair in pairs)]
    assert sum(map(repair._is_well, texts)) > 500
    assert [text for text in texts if changed_though_well(text, language, True)] == []


@given(
    st.lists(st.sampled_from(_PIECES), max_size=8).map("".join),
    st.sampled_from(["en", "zh", None]),
    st.booleans(),
)
def test_nor_is_longer_text_that_passes_for_well(text: str, language: str | None, prose: bool) -> None:
    assert not changed_though_well(text, language, prose)


@pytest.mark.parametrize(
    ("more", "field"), [({"context": "a  b"}, "context"), ({"baselines": {"x": "a  b"}}, "baselines[x]")]
)
def test_one_text_of_a_record_is_mended_where_all_others_are_well(more: dict[str, Any], field: str) -> None:
    outcome = repair_record(record("头痛", "多休息。", **more))
    assert [(f.rule, f.field) for f in outcome.findings] == [("whitespace", field)]


def test_a_record_with_an_empty_turn_is_set_aside_where_all_others_are_well() -> None:
    outcome = repair_record(record("头痛", ""))
    assert (outcome.record, [f.rule for f in outcome.findings]) == (None, ["empty"])


@pytest.mark.parametrize(
    "text", ["头痛三天，没什么。", "Take 5 mg… daily – as “told”.", "两行\n字：怎么办？", ""]
)
def test_healthy_text_passes_for_well(text: str) -> None:
    assert repair._is_well(text)
