"""Wrong decodings undone exactly where every byte survived, found where not; healthy text untouched."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import ftfy
import ftfy.bad_codecs
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mulmed.corpus.edits import apply
from mulmed.corpus.mojibake import restore
from mulmed.corpus.plausibility import unrecoverable
from mulmed.corpus.repair import repair_text

SIMPLIFIED = (
    "我父亲最近头痛，血压150/95mmHg，请问需要吃什么药？",
    "体温38.5℃，白细胞12.3×10^9/L，C反应蛋白（CRP）45mg/L。",
    "每次0.5g，一日3次，饭后服用；疗程7～10天。",
    "他患有嗜铬细胞瘤，伴心悸、多汗……是否需要手术？",
    "阿司匹林100mg每晚一次，阿托伐他汀20mg，氯吡格雷75mg。",
    "甲状腺结节TI-RADS 3类，TSH 5.6mIU/L，需要吃优甲乐吗？",
    "乙肝大三阳，HBV-DNA 1.2×10^5 IU/ml，ALT 86U/L。",
    "月经推迟10天，早孕试纸弱阳性，B超未见孕囊。",
    "鼻塞流涕，嗓子疼，自己吃了头孢和布洛芬，没有好转。",
    "膝关节骨性关节炎，X线片示间隙变窄，能打玻璃酸钠吗？",
    "建议您先做胃镜检查，明确有无幽门螺杆菌感染，再决定用药。",
    "肝癌患者术后复查AFP为12ng/ml，属于正常范围。",
    "换牙期间要早晚刷牙",
    "孩子咳嗽一周了",
    "头痛怎么办",
)
TRADITIONAL = (
    "請問醫生，頭痛發燒三天了怎麼辦？謝謝您！",
    "糖尿病患者每日胰島素用量應由醫師調整，切勿自行增減。",
    "我媽媽今年65歲，血壓160/100mmHg，需要長期服藥嗎？",
    "小孩發燒39.2℃，可以吃布洛芬嗎？",
    "手術後傷口紅腫，有點滲液，請儘快回診檢查。",
    "建議多喝水、多休息，症狀若持續超過三天請就醫。",
    "頭痛發燒三天了怎麼辦",
)
SENTENCES = (*SIMPLIFIED, *TRADITIONAL)


def _cp936(data: bytes) -> str:
    """Windows' code page 936, which shows the lone byte 80 as a euro sign."""
    shown, i = [], 0
    while i < len(data):
        if data[i] == 0x80:
            shown.append("€")
            i += 1
        else:
            width = 1 if data[i] < 0x80 else 2
            shown.append(data[i : i + width].decode("gbk", "replace"))
            i += width
    return "".join(shown)


def _read(wrote: str, read: str, errors: str = "replace") -> Callable[[str], str]:
    return lambda text: text.encode(wrote).decode(read, errors)


def _twice(first: Callable[[str], str], second: Callable[[str], str]) -> Callable[[str], str]:
    return lambda text: second(first(text))


CORRUPTIONS: dict[str, Callable[[str], str]] = {
    "UTF-8 as Latin-1": _read("utf-8", "latin-1"),
    "UTF-8 as Windows-1252": _read("utf-8", "sloppy-windows-1252"),
    "UTF-8 as Windows-1252, bytes lost": _read("utf-8", "cp1252"),
    "UTF-8 as GBK": _read("utf-8", "gbk"),
    "UTF-8 as GB 18030": _read("utf-8", "gb18030"),
    "UTF-8 as code page 936": lambda text: _cp936(text.encode()),
    "UTF-8 as GBK, lost bytes shown as ?": lambda text: _read("utf-8", "gbk")(text).replace("\ufffd", "?"),
    "UTF-8 as Big5": _read("utf-8", "big5"),
    "GB 18030 as Latin-1": _read("gb18030", "latin-1"),
    "GB 18030 as Windows-1252": _read("gb18030", "sloppy-windows-1252"),
    "GB 18030 as UTF-8": _read("gb18030", "utf-8"),
    "GBK as Big5": _read("gbk", "big5"),
    "Big5 as Latin-1": _read("big5", "latin-1"),
    "Big5 as Windows-1252": _read("big5", "sloppy-windows-1252"),
    "Big5 as GBK": _read("big5", "gbk"),
    "Big5 as GB 18030": _read("big5", "gb18030"),
    "UTF-8 as Latin-1 twice": _twice(_read("utf-8", "latin-1"), _read("utf-8", "latin-1")),
    "UTF-8 as Windows-1252 twice": _twice(
        _read("utf-8", "sloppy-windows-1252"), _read("utf-8", "sloppy-windows-1252")
    ),
    "GB 18030 as Latin-1, UTF-8 as Latin-1": _twice(_read("gb18030", "latin-1"), _read("utf-8", "latin-1")),
    "UTF-8 as Latin-1, UTF-8 as GBK": _twice(_read("utf-8", "latin-1"), _read("utf-8", "gbk")),
}


def _cases() -> list[tuple[str, str, str]]:
    found = []
    for name, corrupt in CORRUPTIONS.items():
        for text in SENTENCES:
            try:
                damaged = corrupt(text)
            except UnicodeEncodeError:
                continue  # a simplified character that Big5 lacks
            if damaged != text:
                found.append((name, text, damaged))
    return found


def _lost(text: str, damaged: str) -> bool:
    return "\ufffd" in damaged or damaged.count("?") > text.count("?")


WHOLE = [(n, t, d) for n, t, d in _cases() if not _lost(t, d)]
LOSSY = [(n, t, d) for n, t, d in _cases() if _lost(t, d)]


@pytest.mark.parametrize(("name", "text", "damaged"), WHOLE)
def test_damage_that_kept_every_byte_is_undone(name: str, text: str, damaged: str) -> None:
    for before, after in (
        ("", ""),
        ("早上起床后头晕。\n", "\n谢谢医生"),  # one line
        ("谢谢医生，", "。好的，我知道了"),  # one stretch inside a healthy line
        *((("头痛", "痛"),) if name.startswith("UTF-8 as G") else ()),  # 痛 is a sequence of UTF-8 as well
        ("Dear doctor, ", " thanks"),
    ):
        given_text = before + damaged + after
        repaired = repair_text(given_text)
        assert repaired.text == before + text + after
        assert apply(given_text, repaired.changes) == repaired.text
        assert all(
            len(before) <= edit.start and edit.end <= len(before) + len(damaged) for edit in repaired.changes
        )


@pytest.mark.parametrize(("name", "text", "damaged"), LOSSY)
def test_damage_that_lost_bytes_is_undone_or_found(name: str, text: str, damaged: str) -> None:
    for before, after in (("", ""), ("早上起床后头晕。\n", "\n谢谢医生"), ("谢谢医生，", "。好的，我知道了")):
        repaired = repair_text(before + damaged + after).text
        assert repaired == before + text + after or unrecoverable(repaired)


def test_all_that_can_be_damaged_is_tried() -> None:
    assert {name for name, *_ in WHOLE} | {name for name, *_ in LOSSY} == set(CORRUPTIONS)
    assert len(WHOLE) > 180
    assert len(LOSSY) > 150


#: How many of the sentences whose bytes all survived ftfy brings back by itself; of these we bring back all.
BY_FTFY_ALONE = {
    "UTF-8 as Latin-1": 1.0,
    "UTF-8 as Windows-1252": 1.0,
    "UTF-8 as Latin-1 twice": 1.0,
    "UTF-8 as Windows-1252 twice": 1.0,
}


def test_ftfy_by_itself_knows_only_utf8_in_one_byte_encodings() -> None:
    for name in CORRUPTIONS:
        cases = [(text, damaged) for n, text, damaged in WHOLE if n == name]
        if len(cases) < 3:
            continue
        plain = ftfy.TextFixerConfig(uncurl_quotes=False, fix_character_width=False, normalization=None)
        share = sum(ftfy.fix_text(damaged, plain) == text for text, damaged in cases) / len(cases)
        assert share == BY_FTFY_ALONE.get(name, 0.0), name


def test_what_a_lost_byte_leaves_is_marked_in_its_place() -> None:
    # The last byte of ， and the first of the digits' neighbours are gone; what stands between is not.
    damaged = "头痛三天，体温38.5℃，怎么办？".encode().decode("gbk", "replace")
    repaired = repair_text(damaged).text
    assert repaired.startswith("头痛三天，体")
    assert "38.5℃" in repaired
    assert "么办" in repaired
    assert repaired.count("\ufffd") == len(unrecoverable(repaired)) > 0


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        ("饭后胃胀锟斤拷锟斤拷", ["锟斤拷", "锟斤拷"]),
        ("胸口烫烫烫烫烫烫", ["烫烫烫烫烫烫"]),
        ("屯屯屯", ["屯屯屯"]),
        ("头\ufffd三天", ["\ufffd"]),
        ("ÉÏÑÛ¾\xad\x81ÊÇÊ²Ã´", ["ÉÏÑÛ¾\xad", "ÊÇÊ²Ã´"]),
        ("水有点烫烫的，锟斤厂", []),
        ("铁锛一把", []),
        ("××××××××", []),
        ("José Muñoz, Árnþórsson, Łódź", []),
    ],
)
def test_marks_of_what_is_lost(text: str, marks: list[str]) -> None:
    assert [text[a:b] for a, b in unrecoverable(text)] == marks


def test_marks_are_told_in_order_with_their_places() -> None:
    assert unrecoverable("锛a\ufffd锛") == [(0, 1), (2, 3), (3, 4)]


@pytest.mark.parametrize(
    "text",
    [
        # In GBK or Big5 these bytes are Chinese too; nothing but their sense speaks against it.
        "王××××医院，杨××，63岁",
        "ÁÉÍÓÚ",
        "±±±",
        "µ½±±",
        "El niño comió piñas; él está aquí",
        "café”— said she",
        "naïve élève, Ménière’s, Guillain–Barré, Sjögren",
        "空の色が好きです。こんにちは、お元気ですか？",
        "╔═══╦═══╗\n║ X ║   ║\n╚═══╩═══╝",
        "肟、唑、嗪、酰、苷：地尔硫䓬，苯二氮䓬类",
        "猕猴桃、山楂茶、枸杞，罹患，飙高",
        "嚴重、裏面、喫藥、羣體、爲何",
        "路路通、鹿茸、绿豆、录用、陆路",
        "鼹鼠、龘、犇、骉、麤，这些字很少见。",
    ],
)
def test_healthy_text_that_looks_like_damage_stays(text: str) -> None:
    assert restore(text) == ()


_WORDS = [
    "头痛",
    "发烧",
    "咳嗽",
    "腹泻",
    "血压",
    "糖尿病",
    "高血压",
    "冠心病",
    "阿莫西林",
    "头孢克肟",
    "布洛芬",
    "氨氯地平",
    "胰岛素",
    "CT",
    "核磁共振",
    "B超",
    "mg",
    "0.5",
    "38.5℃",
    "120/80mmHg",
    "的",
    "了",
    "吗",
    "是",
    "不",
    "请问",
    "医生",
    "您好",
    "建议",
    "检查",
    "复查",
    "手术",
    "用药",
    "每天",
    "3次",
    "，",
    "。",
    "？",
    "！",
    "、",
    "（",
    "）",
    "“",
    "”",
    "：",
    "；",
    "～",
    "—",
    "……",
    "α",
    "β",
    "±",
    "×",
    "≥",
    "％",
    "①",
    "Ⅱ",
    "μg",
    "γ-GT",
    "頭痛",
    "發燒",
    "咳嗽",
    "藥物",
    "醫師",
    "檢查",
    "請問",
    "嗎",
    "症狀",
    "腫瘤",
    "疱疹",
    "痤疮",
    "癫痫",
    "唑",
    "嗪",
    "孢",
    "肟",
    "酯",
    "苷",
    "龈",
    "睑",
    "Ménière",
    "Sjögren",
    "café",
    "naïve",
    "–",
    "—",
    "’",
    "”",
    "°",
    "µ",
    "é",
    "ü",
    "ñ",
    "§",
    "®",
    "™",
    "€",
    "£",
    "½",
    "²",
]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(_WORDS), max_size=25), st.sampled_from(["", " ", "，"]))
def test_common_words_in_any_order_stay(words: list[str], between: str) -> None:
    # é—® is what UTF-8 as Windows-1252 makes of 问: single signs that touch are no clean text.
    assume(between or not any(len(a) == len(b) == 1 for a, b in pairwise(words)))
    assert restore(between.join(words)) == ()


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(SIMPLIFIED[:12]), min_size=1, max_size=3),
    st.sampled_from(
        [
            "UTF-8 as Latin-1",
            "UTF-8 as Windows-1252",
            "GB 18030 as Latin-1",
            "GB 18030 as Windows-1252",
            "UTF-8 as Latin-1 twice",
            "GB 18030 as Latin-1, UTF-8 as Latin-1",
        ]
    ),
    st.lists(st.sampled_from(SIMPLIFIED[:12]), max_size=2),
)
def test_any_part_of_a_text_may_be_damaged(healthy: list[str], name: str, hurt: list[str]) -> None:
    before, text = "".join(healthy), "".join(hurt)
    damaged = before + CORRUPTIONS[name](text) + before
    assert apply(damaged, restore(damaged)) == before + text + before


@settings(max_examples=300)
@given(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=40)
)
def test_restoring_again_changes_nothing(text: str) -> None:
    once = apply(text, restore(text))
    assert restore(once) == ()
