"""Signs in one width and case, and what kind of sign each is: tables over the code points.

Signs are folded and told from letters and digits by a table, many texts at once; where folding depends on a sign's
neighbours, or gives something that is not as long, the table says so, and :func:`folded` does it for the text.
"""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
import numpy.typing as npt

Marks = npt.NDArray[np.uint32]

#: What a table of code points tells: the code a sign folds to, whether it is a Han character, and whether
#: its text must be folded as a whole.
CODE, HAN, SPECIAL = (np.uint32(x) for x in ((1 << 22) - 1, 1 << 22, 1 << 23))
_HAN_BLOCKS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
_TABLE = 1 << 16
#: Folds to a sign and a letter that together are as long as it is; every other text of a clinic has it.
CELSIUS = ord("℃")


def folded(text: str) -> str:
    """The text in one width and case: NFKC, case folded, NFKC again."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def marks(codes: npt.NDArray[np.uint32]) -> Marks:
    """What the table tells of each of these code points (:data:`CODE`, :data:`HAN`, :data:`SPECIAL`); 0: no letter or digit."""
    return _marks().take(np.minimum(codes, _TABLE))


def mark(folded_sign: str) -> int:
    """A letter's or digit's code with what else is told about it; 0 for any other sign."""
    if not folded_sign.isalnum():
        return 0
    code = ord(folded_sign)
    return code | int(HAN) if any(first <= code <= last for first, last in _HAN_BLOCKS) else code


@functools.cache
def _marks() -> Marks:
    """For each code point of the basic plane, and one for all beyond: :func:`mark` of the sign it folds to."""
    table = np.zeros(_TABLE + 1, np.uint32)
    for first, last in _HAN_BLOCKS[:2]:  # these fold to themselves
        table[first : last + 1] = np.arange(first, last + 1) | HAN
    for code in np.flatnonzero(table[:_TABLE] == 0).tolist():
        sign = chr(code)
        whole = folded(sign)
        joins = unicodedata.combining(sign) or not unicodedata.is_normalized("NFC", "a" + sign)
        if code > 127 and (
            joins or 0x1100 <= code <= 0x11FF
        ):  # Hangul's vowels and finals join what precedes
            table[code] = SPECIAL
        elif any(map(str.isalnum, whole)):
            alike = len(whole) == 1 and len(whole.encode()) == len(sign.encode())
            table[code] = mark(whole) if alike else SPECIAL
    table[CELSIUS] = 0
    table[_TABLE] = SPECIAL
    return table
