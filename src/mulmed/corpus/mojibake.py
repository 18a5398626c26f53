"""Chinese text that was decoded with the wrong encoding, turned back where that is certain.

A wrong decoding is undone by encoding with the wrong codec and decoding with the right one. Every such
pair is tried, also twice in a row, and a candidate replaces the text only when no byte was lost and the
candidate reads clearly more like Chinese than the text does. It runs before ftfy, which knows UTF-8 read
as a one-byte encoding but takes GBK read as Latin-1 for Latin letters and makes it worse.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

# The most frequent characters of Chinese questions to doctors and of the answers to them.
_FREQUENT = frozenset(
    "的一是不了我有在人这个们来他她你您到大为上要会和就可以时没说也还得过后多去能对吗看呢么什怎样很好请问"
    "谢医生院病患者治疗药吃服用疼痛头胃心肺肝肾血压糖尿检查手术感染发热烧咳嗽症状正常建议注意休息饮食水早晚每天"
    "次月年日岁周小孩子女男父母宝孕妇科门诊化验结果报告显示考虑可能炎肿瘤癌片钱针因果如比较严重需如果情况应该"
    "现前最近开始直觉感身体面部左右腰腿手脚眼耳鼻喉口腔皮肤骨关节神经"
)  # fmt: skip
_PUNCTUATION = frozenset("，。？！、：；（）“”‘’《》…—～【】·℃")

# Windows' code page 1252 read back to bytes; what it leaves undefined is Latin-1's, as in browsers.
_ONE_BYTE = {chr(b): b for b in range(256)} | {
    bytes([b]).decode("cp1252"): b for b in range(0x80, 0xA0) if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}
_HIGH = re.escape("".join(c for c in _ONE_BYTE if ord(c) > 127))
_HIGH_RUN = re.compile(rf"(?:[{_HIGH}][{_HIGH}@-~]?){{2,}}")
_WIDE_RUN = re.compile(r"[^\x00-\xff]{2,}")
_IDEOGRAPHS = re.compile("[\u4e00-\u9fff]+")
#: Bytes of UTF-8's three-byte characters from U+3000 up, two or more of them (ASCII may stand between).
_UTF8_RUN = re.compile(rb"[\xe3-\xef][\x80-\xbf]{2}(?:[\x20-\x7e]{0,16}[\xe3-\xef][\x80-\xbf]{2})+")

#: What is left of UTF-8 read as GBK where bytes were lost: the first two bytes of ， 。 的 and quotation
#: marks, which as characters occur in no modern text.
_REMAINS = re.compile("[锛銆鐨鈥]")
_LOST = re.compile("\ufffd|锟斤拷|烫{3,}|屯{3,}|ï¿½")

#: C1 controls, Cyrillic, box drawing, kana and bopomofo, private use, half-width kana, U+FFFD.
_FOREIGN = (
    (0x80, 0x9F), (0x400, 0x4FF), (0x2500, 0x257F), (0x3041, 0x312F), (0xE000, 0xF8FF), (0xFF61, 0xFF9F),
    (0xFFFD, 0xFFFD),
)  # fmt: skip
_MARGIN = 0.25
_ENOUGH = 0.6


@cache
def _weight(character: str) -> float:
    """How much a character speaks for ordinary Chinese: 1 frequent, 0 rare, -1 never seen in it."""
    if character in _FREQUENT or character in _PUNCTUATION:
        return 1.0
    code = ord(character)
    if 0x4E00 <= code <= 0x9FFF:
        # The first levels of GB 2312 and Big5 are the common characters of both scripts, by definition.
        gb = character.encode("gb2312", "ignore")
        if gb and gb[0] < 0xD8:
            return 0.8
        big5 = character.encode("big5", "ignore")
        return 0.6 if big5 and big5[0] < 0xC7 else 0.0
    if code == 0x3000 or 0xFF01 <= code <= 0xFF5E:
        return 0.8
    return -1.0 if any(low <= code <= high for low, high in _FOREIGN) else 0.0


def plausibility(text: str) -> float:
    """Mean weight of the characters outside ASCII, -1 to 1; 0 where there is none."""
    weights = [_weight(c) for c in text if c > "\x7f"]
    return sum(weights) / len(weights) if weights else 0.0


def unrecoverable(text: str) -> int:
    """Number of marks of characters that are lost for good (U+FFFD, 锟斤拷, 烫烫烫, cut GBK mojibake)."""
    remains = len(_REMAINS.findall(text))
    return len(_LOST.findall(text)) + (remains if remains >= 2 else 0)


def restore(text: str) -> tuple[str, int]:
    """Text with its mojibake undone, and the number of damaged stretches.

    The whole text is tried first, then its lines, then the longest stretches that can be damage.
    Text that is not damaged comes back unchanged.
    """
    if text.isascii():
        return text, 0
    whole = _best(text)
    if whole != text:
        return whole, 1
    restored = 0
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if line.isascii():
            continue
        mended = _best(line)
        count = int(mended != line)
        if not count:
            mended, count = _restore_parts(line)
        lines[i] = mended
        restored += count
    return "\n".join(lines), restored


def _restore_parts(line: str) -> tuple[str, int]:
    spans = [*_utf8_read_as_gbk(line)]
    spans += [m.span() for pattern in (_HIGH_RUN, _WIDE_RUN) for m in pattern.finditer(line)]
    pieces, position, count = [], 0, 0
    for start, end in sorted(spans, key=lambda s: (s[0], s[0] - s[1])):
        if start < position:
            continue
        mended = _best(line[start:end])
        if mended != line[start:end]:
            pieces += [line[position:start], mended]
            position, count = end, count + 1
    return "".join([*pieces, line[position:]]), count


def _utf8_read_as_gbk(line: str) -> Iterator[tuple[int, int]]:
    """Stretches whose GBK bytes are UTF-8, though healthy Chinese stands right beside them."""
    data = _gbk_bytes(line)
    if data is None or not _UTF8_RUN.search(data):
        return
    at = {0: 0}  # where in the bytes each character begins
    length = 0
    for i, character in enumerate(line, start=1):
        length += len(_gbk_bytes(character) or b"")
        at[length] = i
    for match in _UTF8_RUN.finditer(data):
        start, end = match.span()
        while end > start and (end not in at or ((end - start) % 3 and data[end - 1] > 0x7F)):
            end -= 1
        if start in at and end - start >= 6:
            yield at[start], at[end]


def _best(text: str) -> str:
    """The candidate that reads most like Chinese, or the text itself when none is clearly better."""
    before = plausibility(text)
    if before > 1 - _MARGIN:
        return text
    best, best_score = text, max(_ENOUGH, before + _MARGIN)
    once = list(_candidates(text))
    # Text damaged twice was read as something else and stored as UTF-8 at least once in between.
    twice = [again for candidate, _ in once if _one_byte(candidate) for again in _candidates(candidate)]
    for candidate, fewest in once + twice:
        score = plausibility(candidate)
        if score > best_score and _is_chinese(candidate, fewest):
            best, best_score = candidate, score
    return best


def _is_chinese(text: str, fewest: int) -> bool:
    """So many Chinese characters in a row, and hardly anything that ordinary Chinese does not contain."""
    wide = [c for c in text if c > "\x7f"]
    odd = sum(_weight(c) <= 0 for c in wide)
    longest = max((len(run) for run in _IDEOGRAPHS.findall(text)), default=0)
    return longest >= fewest and odd * 10 <= len(wide)


def _candidates(text: str) -> Iterator[tuple[str, int]]:
    """Every loss-free re-reading, and how many Chinese characters in a row it takes to believe it.

    UTF-8 hardly ever arises by chance. The double-byte codecs read nearly anything as something, also
    Greek letters, dashes and quotation marks, so one is tried for the other only on East Asian text.
    """
    wide = [c for c in text if c > "\x7f"]
    east_asian = sum("\u2e80" <= c <= "\ufaff" for c in wide) * 3 >= len(wide) * 2
    for encode, codecs in (
        (_one_byte, (("utf-8", 2), ("gb18030", 2), ("big5", 4))),
        (_gbk_bytes, (("utf-8", 2), ("big5", 4))),
        (_big5_bytes, (("utf-8", 2), ("gb18030", 4))),
    ):
        data = encode(text)
        if data is None:
            continue
        for codec, fewest in codecs:
            if encode is not _one_byte and codec != "utf-8" and not east_asian:
                continue
            try:
                candidate = data.decode(codec)
            except UnicodeDecodeError:
                continue
            if candidate != text:
                yield candidate, fewest


def _one_byte(text: str) -> bytes | None:
    try:
        return bytes([_ONE_BYTE[c] for c in text])
    except KeyError:
        return None


def _gbk_bytes(text: str) -> bytes | None:
    # The euro sign is 0x80 in Windows' code page 936, something else in GB 18030.
    pieces = [_encoded(piece, "gb18030") for piece in text.split("€")]
    return None if None in pieces else b"\x80".join(p for p in pieces if p is not None)


def _big5_bytes(text: str) -> bytes | None:
    return _encoded(text, "big5")


def _encoded(text: str, codec: str) -> bytes | None:
    try:
        return text.encode(codec)
    except UnicodeEncodeError:
        return None
