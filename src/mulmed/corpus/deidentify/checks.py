"""Check digits of identity numbers and cards."""

from __future__ import annotations

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
#: Multiplication in the dihedral group D5 and the permutation of Verhoeff (1969).
_D5 = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_PERMUTED = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def id_checksum_holds(number: str) -> bool:
    """Whether the last character of an 18-digit Chinese identity number is right (GB 11643-1999)."""
    return (
        "10X98765432"[sum(w * int(d) for w, d in zip(_ID_WEIGHTS, number, strict=False)) % 11] == number[17]
    )


def luhn_holds(digits: str) -> bool:
    """Whether the last digit of a card number is right (ISO/IEC 7812-1, Luhn)."""
    doubled = (int(d) * 2 if place % 2 else int(d) for place, d in enumerate(reversed(digits)))
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def verhoeff_holds(digits: str) -> bool:
    """Whether the last digit of an Aadhaar number is right (Verhoeff 1969)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = int(_D5[check][int(_PERMUTED[place % 8][int(digit)])])
    return check == 0


def iban_holds(number: str) -> bool:
    """Whether the two check digits of an IBAN without spaces are right (ISO 13616, modulo 97)."""
    return int("".join(str(int(c, 36)) for c in number[4:] + number[:4])) % 97 == 1
