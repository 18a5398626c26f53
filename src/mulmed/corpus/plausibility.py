"""How much a text reads like ordinary Chinese, and the marks of characters that are lost for good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

# The most frequent characters of Chinese questions to doctors and of the answers to them.
_FREQUENT = frozenset(
    "的一是不了我有在人这个们来他她你您到大为上要会和就可以时没说也还得过后多去能对吗看呢么什怎样很好请问"
    "谢医生院病患者治疗药吃服用疼痛头胃心肺肝肾血压糖尿检查手术感染发热烧咳嗽症状正常建议注意休息饮食水早晚每天"
    "次月年日岁周小孩子女男父母宝孕妇科门诊化验结果报告显示考虑可能炎肿瘤癌片钱针因果如比较严重需如果情况应该"
    "现前最近开始直觉感身体面部左右腰腿手脚眼耳鼻喉口腔皮肤骨关节神经办"
    "嚴個為麼們會體關況醫壓發後嗎頭婦寶對歲應開報時顯術來樣檢沒燒熱狀現療經結膚腎腫腳節藥慮覺議診該說請謝較"
    "過還這針錢門問飲驗辦"
)  # fmt: skip
_PUNCTUATION = frozenset("，。？！、：；（）“”‘’《》…—～【】·℃")
_SIGNS = frozenset("×±÷°′″≤≥≈≠→↑↓αβγδμⅠⅡⅢⅣⅤ①②③④⑤⑥⑦⑧⑨⑩◆●■★※『』「」")

#: C1 controls, Cyrillic, box drawing, kana and bopomofo, private use, half-width kana, U+FFFD.
_FOREIGN = (
    (0x80, 0x9F), (0x400, 0x4FF), (0x2500, 0x257F), (0x3041, 0x312F), (0xE000, 0xF8FF), (0xFF61, 0xFF9F),
    (0xFFFD, 0xFFFD),
)  # fmt: skip

#: What is left of UTF-8 read as GBK where bytes were lost: the first two bytes of ， 。 的 and quotation
#: marks, which as characters occur in no modern text.
REMAINS = "锛銆鐨鈥"
_REMAINS = re.compile(f"[{REMAINS}]")
_LOST = re.compile(rf"\ufffd|锟斤拷|烫{{3,}}|屯{{3,}}|ï¿½|[{REMAINS}]\?")
# Six accented letters and signs in a row, as Chinese read in a one-byte encoding has them.
_UNREAD = re.compile("[\xa1-\xff]{6,}")
_DISTINCT = 4
#: What all of them begin with, for a regular expression's class.
LOST_BEGINS = f"\ufffd锟烫屯{REMAINS}\xa1-\xff"
_MARK = re.compile(f"[{LOST_BEGINS}]")


@cache
def weight(character: str) -> float:
    """How much a character speaks for ordinary Chinese: 1 frequent, 0 rare, -1 never seen in it."""
    if character in _FREQUENT or character in _PUNCTUATION:
        return 1.0
    if character in _SIGNS:
        return 0.6
    code = ord(character)
    if 0x4E00 <= code <= 0x9FFF:
        # The first levels of GB 2312 and Big5 are the common characters of both scripts, by definition.
        gb = character.encode("gb2312", "ignore")
        if gb:
            return 0.8 if gb[0] < 0xD8 else 0.3  # the second level has 嗜, 唑 and 孢, but few others
        big5 = character.encode("big5", "ignore")
        return 0.6 if big5 and big5[0] < 0xC7 else 0.0
    if code == 0x3000 or 0xFF01 <= code <= 0xFF5E:
        return 0.8
    return -1.0 if any(low <= code <= high for low, high in _FOREIGN) else 0.0


def mean_weight(characters: Iterable[str]) -> float:
    """Mean weight of the characters outside ASCII, -1 to 1; 0 where there is none."""
    weights = [weight(c) for c in characters if c > "\x7f"]
    return sum(weights) / len(weights) if weights else 0.0


def unrecoverable(text: str) -> list[tuple[int, int]]:
    """Where a text has marks of characters that are lost for good, in order.

    U+FFFD, 锟斤拷 (U+FFFD in UTF-8 read as GBK), 烫烫烫 and 屯屯屯 (memory never written, read as GBK), what is
    left of UTF-8 read as GBK, and Chinese read in a one-byte encoding that could not be turned back.
    """
    if text.isascii() or not _MARK.search(text):
        return []
    spans = [m.span() for m in _LOST.finditer(text)]
    remains = [m.span() for m in _REMAINS.finditer(text)]
    if len(remains) > 1:
        spans += (span for span in remains if text[span[1] : span[1] + 1] != "?")
    spans += [m.span() for m in _UNREAD.finditer(text) if len(set(m[0])) >= _DISTINCT]
    return sorted(spans)
