"""Chinese text that was decoded with the wrong encoding, turned back where that is certain.

A wrong decoding is undone by encoding with the wrong codec and decoding with the right one. Four kinds are
looked for, each by what it leaves behind:

- UTF-8 read as Latin-1 or Windows-1252: every character is by itself a valid sequence of UTF-8;
- GB 18030 or Big5 read as Latin-1 or Windows-1252: pairs of accented letters and signs;
- UTF-8 read as GBK (Windows' code page 936) or Big5: the bytes are UTF-8, which chance hardly produces;
- GBK and Big5 read as each other: a substitution of character for character.

Twice damaged text is turned back layer by layer. A stretch is changed only when what comes out reads clearly
more like Chinese than what stood there; a character of which a byte is missing becomes U+FFFD, so that
:func:`~mulmed.corpus.plausibility.unrecoverable` finds it. All this runs before ftfy, which knows UTF-8 read
as a one-byte encoding but takes GBK read as Latin-1 for Latin letters and makes it worse.

What no method can tell apart stays as it is: a damaged character or two by themselves (``µ½±±`` is 到北 in
GB 18030, ``§A¦n`` 你好 in Big5, and either may be meant), GBK read as Big5 where no rare character came of it
or healthy characters touch it, and 掳 (seize) for a degree sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache

from mulmed.corpus.edits import Draft, Edit, apply
from mulmed.corpus.plausibility import REMAINS, mean_weight, weight

_RULE = "mojibake"
_LAYERS = 6
#: How much more like Chinese a stretch must read than before, and how much at least.
_MARGIN = 0.25
_ENOUGH = 0.6
#: How often, on the average, a byte may be looked at in search of a stretch's beginning.
_EFFORT = 12
_COMMON = 0.6  # weight from which a single character counts as evidence

# Windows' code page 1252 read back to bytes; what it leaves undefined is Latin-1's, as in browsers.
_ONE_BYTE = {chr(b): b for b in range(256)} | {
    bytes([b]).decode("cp1252"): b for b in range(0x80, 0xA0) if b not in (0x81, 0x8D, 0x8F, 0x90, 0x9D)
}


def _class(low: int, high: int) -> str:
    """The characters that stand for the bytes ``low`` to ``high``, for a regular expression's class."""
    return re.escape("".join(c for c, byte in _ONE_BYTE.items() if low <= byte <= high))


def _in_gbk(lead: range, trail: range) -> str:
    """The characters whose two bytes in GBK are in these ranges, for a regular expression's class."""
    return "".join(bytes([a, b]).decode("gbk", "ignore") for a in lead for b in trail if b != 0x7F)


_HIGH = _class(0x80, 0xFF)
_TAIL = _class(0x80, 0xBF)
# What became of a byte that the wrong codec did not know; a space is what became of 0xA0.
_UTF8 = re.compile(
    rf"[\xc2-\xdf][{_TAIL}]"
    rf"|[\xe0-\xef](?:[{_TAIL}][{_TAIL}\ufffd? ]|[\ufffd? ][{_TAIL}])"
    rf"|[\xf0-\xf4][{_TAIL}]{{3}}"
)
_HIGH_RUN = re.compile(
    rf"[{_HIGH}\ufffd](?:[{_HIGH}\ufffd]|[? ](?=[{_HIGH}\ufffd])|[? ](?<=[\xe0-\xef][{_TAIL}][? ]))*"
)
_TYPOGRAPHIC = frozenset("‘’“”–—…•™€\ufffd ?")
_PAIRS = re.compile(rf"(?:[{_class(0x81, 0xFE)}][{_class(0x40, 0x7E)}{_HIGH}])+")
_LETTER = re.compile("[\xc0-\xd6\xd8-\xf6\xf8-\xff]")

# Every damaged stretch has one of these: a character that neither GB 2312 nor Big5's common level knows; two
# characters of a one-byte encoding's upper half; the first two of three that were two in UTF-8; or four in a
# row that were accented letters in UTF-8. (Built to begin with one class, which the search skips through.)
_ODD = (
    "".join(c for c in map(chr, range(0x4E00, 0xA000)) if not weight(c))
    + f"{REMAINS}\u0400-\u04ff\u2500-\u257f\u3041-\u312f\ufe50-\ufe6b\ue000-\uf8ff\uff61-\uff9f\u02cb"
)
_FIRST = _in_gbk(range(0xE2, 0xF0), range(0x80, 0xC0))
_SECOND = _in_gbk(range(0x81, 0xC0), range(0x40, 0xFF)) + "\ufffd?"
_LATIN = _in_gbk(range(0xC2, 0xC4), range(0x80, 0xC0))
#: Finds something in every damaged stretch, and in some that are not.
SUSPICIOUS = re.compile(
    rf"[\x80-\xff{_ODD}{_FIRST}{_LATIN}]"
    rf"(?:(?<=[{_ODD}])|(?<=[\x80-\xff])[{_HIGH}\ufffd]|(?<=[{_FIRST}])[{_SECOND}]|(?<=[{_LATIN}])[{_LATIN}]{{3}})"
)


def restore(text: str) -> tuple[Edit, ...]:
    """The edits (rule ``mojibake``) that undo the mojibake of a text; none where it is not damaged."""
    if text.isascii() or not SUSPICIOUS.search(text):
        return ()
    draft = Draft(text)
    for _ in range(_LAYERS):
        # In this order, and from the first again after each change: what is UTF-8 must not pass for GBK.
        if not any(draft.change(kind(draft.text)) for kind in _KINDS):
            break
    return draft.edits


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines that may be damaged, and where each begins."""
    start = 0
    for line in text.split("\n"):
        if SUSPICIOUS.search(line):
            yield start, line
        start += len(line) + 1


def _joined(edits: Iterable[Edit]) -> list[Edit]:
    """Edits of which none touches the next."""
    joined: list[Edit] = []
    for edit in edits:
        if joined and joined[-1].end == edit.start:
            last = joined.pop()
            edit = Edit(last.start, edit.end, last.replacement + edit.replacement, _RULE)
        joined.append(edit)
    return joined


def _utf8_read_as_one_byte(text: str) -> list[Edit]:
    """Runs that are UTF-8 from end to end, where some of it is Chinese beyond doubt."""
    edits, certain, highs, latin = [], 0, 0, 0
    for run in _HIGH_RUN.finditer(text):
        highs += len(run[0])
        made, sure = _as_utf8(run[0], run.start())
        if made:
            edits += made
            certain += sure
            latin += sum(e.end - e.start for e in made)
    if certain < 2 and not (
        # Another layer of damage under this one, which can be undone to the end.
        latin >= 8
        and latin >= 0.8 * highs
        and any(kind(apply(text, edits)) for kind in (_utf8_read_as_one_byte, _double_byte_read_as_one_byte))
    ):
        return []
    return _joined(edits)


def _as_utf8(run: str, offset: int) -> tuple[list[Edit], int]:
    """Edits of a run's sequences, and how surely they are Chinese; none if anything else is in the run.

    Quotation marks, dashes and the like at its ends may be the author's own.
    """
    edits, certain, position = [], 0, 0
    for match in _UTF8.finditer(run):
        if not _TYPOGRAPHIC.issuperset(run[position : match.start()]):
            return [], 0
        position = match.end()
        # 0xFF is in no sequence of UTF-8.
        data = bytes(0xA0 if c == " " else 0xFF if c in "\ufffd?" else _ONE_BYTE[c] for c in match[0])
        try:
            character = data.decode("utf-8")
        except UnicodeDecodeError:
            character = "\ufffd"
        if len(match[0]) == 3 and weight(character) >= _COMMON:
            # "café”—" is a sequence as well: é and two signs that stand at the end of words.
            certain += 1 if _TYPOGRAPHIC.issuperset(match[0][1:]) else 2
        edits.append(Edit(offset + match.start(), offset + match.end(), character, _RULE))
    return (edits, certain) if _TYPOGRAPHIC.issuperset(run[position:]) else ([], 0)


def _double_byte_read_as_one_byte(text: str) -> list[Edit]:
    """GB 18030 or Big5, whichever makes more sense of the pairs of a line."""
    edits: list[Edit] = []
    for offset, line in _lines(text):
        best: list[Edit] = []
        score = 0.0
        for codec in ("gb18030", "big5"):
            pairs, total = _pairs_read_as(codec, line, offset)
            if total > score:
                best, score = pairs, total
        edits += best
    return edits


def _pairs_read_as(codec: str, line: str, offset: int) -> tuple[list[Edit], float]:
    """Runs of pairs that may be Chinese in a codec, and the sum of their weights; none if none is certain."""
    edits: list[Edit] = []
    certain, total, letters = False, 0.0, 0
    distinct: set[str] = set()
    for match in _PAIRS.finditer(line):
        try:
            chinese = bytes(_ONE_BYTE[c] for c in match[0]).decode(codec)
        except UnicodeDecodeError:
            continue
        weights = [weight(c) for c in chinese]
        mean = sum(weights) / len(weights)
        if mean < _ENOUGH and min(weights) <= 0:
            continue
        edits.append(Edit(offset + match.start(), offset + match.end(), chinese, _RULE))
        total += sum(weights)
        distinct |= set(chinese)
        letters += len(_LETTER.findall(match[0]))
        # The fewer characters, the more frequent they must be: "××××" is 鬃鬃 and "µ½±±" 到北.
        needed = {1: 9.0, 2: 0.9, 3: 0.8}.get(len(set(chinese)), 0.65)
        certain = certain or (mean >= needed and (letters > 1 or len(set(chinese)) > 3))
    if not certain and len(distinct) > 3 and letters > 3:
        certain = sum(map(weight, distinct)) >= 0.75 * len(distinct)
    return (edits, total) if certain else ([], 0.0)


def _utf8_read_as_double_byte(text: str) -> list[Edit]:
    """Stretches whose bytes in GBK or Big5 are UTF-8, though healthy Chinese may stand right beside them."""
    edits: list[Edit] = []
    for offset, line in _lines(text):
        for encode in (_gbk_bytes, _big5_bytes):
            found = list(_utf8_stretches(line, offset, encode))
            if found:
                edits += found
                break
    return edits


# A sequence, whole or with bytes missing at its end, and plain text.
_UTF8_BYTES = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
    rb"|[\xc2-\xdf][\xff?]|[\xe0-\xef](?:[\x80-\xbf][\xff?]|[\xff?][\x80-\xbf]?)|[\x80-\xbf]?\xff[\x80-\xbf]{0,2}|[\x20-\x7e]"
)


def _utf8_stretches(line: str, offset: int, encode: Callable[[str], bytes]) -> Iterator[Edit]:
    encoded = [encode(c) for c in line]
    data = b"".join(encoded)
    at = {}  # where in the bytes each character begins
    length = 0
    for i, piece in enumerate(encoded):
        at[length] = i
        length += len(piece)
    at[length] = len(line)
    position, effort = 0, 0
    while position < length and effort < _EFFORT * length:
        if not (0xC2 <= data[position] <= 0xF4 and position in at):
            position += 1
            continue
        here, pieces = position, []
        # A healthy character may pass for a sequence of two bytes (痛), hardly for one of three: a stretch does
        # not begin or end with one of two, unless with a sign such as β or made of nothing else.
        latin = firm = (position, 0)
        edge = position == 0 or data[position - 1] < 0x80
        while match := _UTF8_BYTES.match(data, here):
            here = match.end()
            lost = b"\xff" in match[0] or (match[0][0] > 0x7F and b"?" in match[0])
            pieces.append("\ufffd" if lost else match[0].decode("utf-8", "replace"))
            if here in at and (match[0][0] > 0x7F or here - 1 not in at):
                latin = (here, len(pieces))
                beside = here < length and data[here] > 0x7F
                if not 0xC2 <= match[0][0] < 0xE0 or (not beside and weight(pieces[-1]) > 0):
                    firm = latin
        effort += here - position
        opened = data[position] >= 0xE0 or (edge and bool(pieces) and weight(pieces[0]) > 0)
        for (end, kept), allowed in ((latin, False), (firm, opened)):
            replacement = "".join(pieces[:kept])
            start, stop = at[position], at[end]
            if kept and (allowed or max(replacement) < "\u0100") and _certain(line[start:stop], replacement):
                yield Edit(offset + start, offset + stop, replacement, _RULE)
                position = end
                break
        else:
            position += 1


def _certain(before: str, after: str) -> bool:
    """Whether UTF-8 read as GBK or Big5 is the only explanation of a stretch."""
    if before[0] in REMAINS and len(before) > 1 and after[0] != "\ufffd":
        return True
    characters = [c for c in after if c > "\x7f"]
    if len(characters) >= 4 and max(characters) < "\u0100":
        # Accented letters: another layer of damage, which can be undone to the end, or nothing at all.
        return bool(_utf8_read_as_one_byte(after) or _double_byte_read_as_one_byte(after))
    known = [weight(c) for c in characters if c != "\ufffd"]
    if sum(w >= _COMMON for w in known) < 2:
        return False
    score = sum(known) / len(known)
    return score >= _ENOUGH and score > mean_weight(before) + _MARGIN


def _gbk_bytes(character: str) -> bytes:
    # The euro sign is 0x80 in Windows' code page 936, something else in GB 18030.
    if character == "€":
        return b"\x80"
    return b"\xff" if character == "\ufffd" else character.encode("gb18030", "replace")


def _big5_bytes(character: str) -> bytes:
    return b"\xff" if character == "\ufffd" else character.encode("big5", "replace")


def _double_byte_read_as_double_byte(text: str) -> list[Edit]:
    """GBK and Big5 taken for each other, by lines: what gains most by the exchange."""
    edits: list[Edit] = []
    for offset, line in _lines(text):
        found: list[list[Edit]] = [_exchanged(line, offset, *pair) for pair in _PAIRED]
        best = max(found, key=len)
        edits += best
    return edits


_PAIRED = (("gb18030", "big5"), ("big5", "gb18030"))
# No wrong reading of the two encodings makes one of these: where one stands, healthy text is beside it.
_RUN = re.compile(r"[^，。？！、：；（）“”]+")
_NO_IDEOGRAPH = re.compile("[^\x00-\x7f\u4e00-\u9fff\ue000-\uf8ff]")


def _exchanged(line: str, offset: int, read: str, wrote: str) -> list[Edit]:
    """Runs that read more like Chinese after the exchange; none if there are not enough of them.

    A run changes as a whole or not at all: inside it, no character tells where the damage would end.
    """
    edits: list[Edit] = []
    characters = frequent = 0
    for match in _RUN.finditer(line):
        new = [_exchange(c, read, wrote) for c in match[0]]
        if None in new:
            continue
        chinese = "".join(c for c in new if c)
        score = mean_weight(chinese)
        if score >= _ENOUGH and score > mean_weight(match[0]) + _MARGIN:
            start = offset + match.start()
            changed = (
                Edit(start + i, start + i + 1, c or "", _RULE) for i, c in enumerate(new) if c != match[0][i]
            )
            edits += _joined(changed)
            # Japanese and boxes drawn with lines are no Chinese to begin with, and so no evidence.
            wide = sum(c > "\x7f" for c in chinese)
            if 2 * len(_NO_IDEOGRAPH.findall(match[0])) <= wide:
                characters += wide
                frequent += sum(weight(c) == 1 for c in chinese if c > "\x7f")
    return edits if characters >= 4 and frequent * 5 >= characters else []


@cache
def _exchange(character: str, read: str, wrote: str) -> str | None:
    if character == "\ufffd" or character < "\x80":
        return character
    try:
        data = character.encode(read)
        return data.decode(wrote) if len(data) == 2 else None
    except UnicodeError:
        return None


_KINDS: tuple[Callable[[str], list[Edit]], ...] = (
    _utf8_read_as_one_byte,
    _utf8_read_as_double_byte,
    _double_byte_read_as_one_byte,
    _double_byte_read_as_double_byte,
)
