"""Made-up values in place of identifiers: the same for the same person in a record, nobody's outside it.

Names are mapped word by word (Chinese: family name and given name), each word to a made-up one, no two words to
the same: so "张三医生" and "张医生" stay one family, two doctors Zhang stay two, and nobody is merged. The made-up
words are no names in use, and numbers come from ranges that nobody holds (Chinese mobile numbers 12..., North American
555-01.., identity numbers of a province 99 that fail their check digit, 192.0.2.0/24 of RFC 5737, ``.invalid`` of
RFC 2606, years after 2100). So a made-up value can be told from a true one, and a second pass leaves it alone.

All is drawn from BLAKE2b under the recipe's key and the record's id. Days move by the same number of days in the
whole record, so that intervals stay.
"""

from __future__ import annotations

import datetime
import hashlib
import re
from collections.abc import Iterable

from mulmed.corpus.deidentify.checks import id_checksum_holds
from mulmed.corpus.deidentify.names_zh import DOUBLE

# Family names of one character that nobody bears, and characters for given names. Our own lists.
_FAMILY_ZH = "岚汐澜霁霖沁芷蘅漪萤樱枫桉榆槿砚笙箫篱缈翎羿萱蕊藜蝉瑶璃琥珀"
_GIVEN_ZH = "屿岑泊洄淙涧湄潆澍瀛炘煦熠玥玦珩琚琤瑄璟甯畹皓睿砺祎禾稷竺筠篁"
# Syllables of English-sounding words that are no names. Our own lists.
_ONSETS = (
    "Bral", "Cald", "Dorv", "Elw", "Farr", "Glav", "Hesk", "Ilv", "Jorv", "Kelb", "Lorv", "Melv", "Norv", "Orv", "Pelv", "Quen",
    "Relb", "Selv", "Torv", "Ulv", "Velb", "Welv", "Yarv", "Zelb",
)  # fmt: skip
_ENDINGS = (
    "aquin",
    "eddon",
    "imbry",
    "ovane",
    "umbrel",
    "ascoth",
    "endrick",
    "islow",
    "orwyn",
    "usken",
    "anthel",
    "erroby",
)
_WORDS = tuple(onset + ending for onset in _ONSETS for ending in _ENDINGS)
_WORDS_LOWER = frozenset(w.lower() for w in _WORDS)

_HAN = re.compile("[\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[^\W\d_]+")
_DAY = re.compile(r"(\d{4})(\s*[年./-]\s*)(\d{1,2})(\s*[月./-]\s*)(\d{1,2})")
_HOSPITAL_ZH = re.compile(
    r"(?:医院|卫生院|卫生室|卫生所|卫生服务中心|诊所|门诊部|保健院|医学中心|附院|附[一二三四]院?).*$"
)
_HOSPITAL_EN = re.compile(
    r"(?:Hospitals?|Medical Cent(?:er|re)|Health Cent(?:er|re)|Clinics?|Infirmary|Nursing Home|Polyclinic|Medical College)$"
)


class Surrogates:
    """The made-up values of one record: call it with a kind and a true value.

    Args:
        key: the recipe's key, at most 64 bytes.
        salt: the record's id.
        texts: the texts of the record; no word that stands in them is given to anybody.
    """

    def __init__(self, key: bytes, salt: str, texts: Iterable[str]) -> None:
        self._key = hashlib.blake2b(salt.encode(), key=key, digest_size=32).digest()
        self._text = "\n".join(texts).lower()
        self._given: dict[tuple[str, str], str] = {}
        self._used: set[tuple[str, str]] = set()
        self._days = 365 * 130 + self._number("days", "") % (365 * 20)

    def __call__(self, kind: str, value: str) -> str:
        """The made-up value; ``value`` itself where it is one already."""
        if is_surrogate(kind, value):
            return value
        match kind:
            case "NAME":
                return self._chinese_name(value) if _HAN.match(value) else self._english_name(value)
            case "HOSPITAL":
                return self._hospital(value)
            case "ADDRESS":
                if _HAN.search(value):
                    return f"{self._word('street', value, _FAMILY_ZH)}{self._word('street2', value, _GIVEN_ZH)}路{self._number('no', value) % 900 + 100}号"
                return f"{self._number('no', value) % 900 + 100} {self._word('street', value.lower(), _WORDS)} Road"
            case "EMAIL":
                return f"{self._word('mail', value.lower(), _WORDS).lower()}@mail.invalid"
            case "URL":
                return f"https://{self._word('site', value.lower(), _WORDS).lower()}.invalid/"
            case "IP":
                return f"192.0.2.{self._distinct('ip', value, 254) + 1}"
            case "DATE" | "DATE_OF_BIRTH":
                return self._moved(value) or f"[{kind}]"
            case "AGE" | "ZIP" | "SITE" | "DEPARTMENT":
                return f"[{kind}]"  # nothing made up tells what these tell
            case "PHONE":
                return self._phone(value)
            case _:
                return self._typed(kind, value)

    def _number(self, domain: str, value: str) -> int:
        digest = hashlib.blake2b(
            f"{domain}\0{value}".encode("utf-8", "surrogatepass"), key=self._key, digest_size=16
        )
        return int.from_bytes(digest.digest(), "big")

    def _distinct(self, domain: str, value: str, size: int) -> int:
        """A number under ``size`` for each value of a domain, no two the same while there are enough."""
        key = (domain, value)
        if key not in self._given:
            place = self._number(domain, value) % size
            for step in range(size):
                if (domain, str((place + step) % size)) not in self._used:
                    place = (place + step) % size
                    break
            self._used.add((domain, str(place)))
            self._given[key] = str(place)
        return int(self._given[key])

    def _word(self, domain: str, value: str, words: Iterable[str]) -> str:
        """A made-up word for each value of a domain, none that the record holds, no two the same.

        When the words run out they are put together: the first with a second, and so on.
        """
        key = (domain, value)
        if key not in self._given:
            pool = tuple(words)
            start = self._number(domain, value) % len(pool)
            order = pool[start:] + pool[:start]
            length = 1
            while True:
                free = (
                    w
                    for w in _combined(order, length)
                    if (domain, w) not in self._used and w.lower() not in self._text
                )
                word = next(free, None)
                if word is not None:
                    break
                length += 1
            self._used.add((domain, word))
            self._given[key] = word
        return self._given[key]

    def _chinese_name(self, name: str) -> str:
        double = re.match(DOUBLE, name)
        family, given = (name[:2], name[2:]) if double else (name[:1], name[1:])
        made_up = self._word("family", family, _FAMILY_ZH)
        return made_up + (self._word("given", given, _pairs(len(given))) if given else "")

    def _english_name(self, name: str) -> str:
        def other(match: re.Match[str]) -> str:
            word = match[0]
            if len(word) == 1:
                letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[self._distinct("initial", word.upper(), 26)]
                return letter if word.isupper() else letter.lower()
            made_up = self._word("word", word.lower(), _WORDS)
            return made_up.upper() if word.isupper() else made_up if word[0].isupper() else made_up.lower()

        return _LATIN_WORD.sub(other, name)

    def _hospital(self, value: str) -> str:
        if _HAN.search(value):
            kind = _HOSPITAL_ZH.search(value)
            name = self._word("hospital", value, _pairs(2))
            return name + (kind[0] if kind else "医院")
        kind = _HOSPITAL_EN.search(value)
        return f"{self._word('hospital', value.lower(), _WORDS)} {kind[0] if kind else 'Hospital'}"

    def _moved(self, value: str) -> str | None:
        """A day of the Gregorian calendar with its year moved by the record's number of days; others: none."""
        match = _DAY.fullmatch(value.rstrip("日号 "))
        if match is None:
            return None
        try:
            day = datetime.date(int(match[1]), int(match[3]), int(match[5]))
        except ValueError:
            return None
        moved = day + datetime.timedelta(days=self._days)
        digits = (
            (f"{moved.month:02d}", f"{moved.day:02d}")
            if len(match[3]) == 2 == len(match[5])
            else (str(moved.month), str(moved.day))
        )
        return f"{moved.year}{match[2]}{digits[0]}{match[4]}{digits[1]}{value[match.end() :]}"

    def _phone(self, value: str) -> str:
        bare = "".join(c for c in value if c.isdigit())
        if value.startswith("+86") or re.fullmatch(r"(?:86)?1[3-9]\d{9}", bare):
            head, tail = bare[:-11], f"12{self._distinct('phone', bare, 10**9):09d}"
        elif len(bare) in (10, 11) and not bare.startswith("0"):
            area = 200 + self._distinct("phone", bare, 80000) // 100 % 800
            head, tail = bare[:-10], f"{area}55501{self._distinct('phone', bare, 80000) % 100:02d}"
        else:
            size = max(len(bare) - 3, 3)
            head, tail = "", "000" + f"{self._distinct('phone', bare, 10**size):0{size}d}"
        return _refilled(value, head + tail)

    def _typed(self, kind: str, value: str) -> str:
        """An identity number, account or record number of the same form that begins with XX (99 for identity cards)."""
        bare = "".join(c for c in value if c.isalnum())
        if kind == "ID" and re.fullmatch(r"\d{17}[\dXx]", bare):
            day = datetime.date(1900, 1, 1) + datetime.timedelta(days=self._number("birth", bare) % 36500)
            body = f"99{self._distinct('region', bare, 10**4):04d}{day:%Y%m%d}{self._number('order', bare) % 1000:03d}"
            wrong = next(c for c in "0123456789" if not id_checksum_holds(body + c))
            return _refilled(value, body + wrong)
        fill = f"{self._distinct(kind, bare, 10 ** max(len(bare) - 2, 2)):0{max(len(bare) - 2, 2)}d}"
        return _refilled(value, "XX" + fill)


def _combined(order: tuple[str, ...], length: int) -> Iterable[str]:
    if length == 1:
        return order
    return (a + b.lower() for a in order for b in _combined(order, length - 1))


def _pairs(length: int) -> tuple[str, ...]:
    if length == 1:
        return tuple(_GIVEN_ZH)
    return tuple(a + b for a in _GIVEN_ZH for b in _GIVEN_ZH)


def _refilled(value: str, characters: str) -> str:
    """``value`` with its letters and digits replaced in turn; punctuation and spaces stay where they are."""
    supply = iter(characters)
    filled = "".join(next(supply, "0") if c.isalnum() else c for c in value)
    return filled + "".join(supply)


def is_surrogate(kind: str, value: str) -> bool:
    """Whether a value is one of ours, whatever the key."""
    bare = "".join(c for c in value if c.isalnum())
    match kind:
        case "NAME":
            if _HAN.match(value):
                return value[0] in _FAMILY_ZH or all(c in _GIVEN_ZH for c in value)
            words = [w.lower() for w in _LATIN_WORD.findall(value) if len(w) > 1]
            return bool(words) and all(_made_up(w) for w in words)
        case "HOSPITAL" | "ADDRESS":
            return (
                any(_made_up(w.lower()) for w in re.findall("[A-Za-z]+", value))
                or value[0] in _GIVEN_ZH + _FAMILY_ZH
            )
        case "EMAIL" | "URL":
            return ".invalid" in value
        case "IP":
            return value.startswith("192.0.2.")
        case "DATE" | "DATE_OF_BIRTH":
            return re.match(r"2[1-9]\d\d", value) is not None
        case "PHONE":
            return (
                (bare[-11:].startswith("12") and len(bare) >= 11)
                or bare.startswith("000")
                or bare[-7:-2] == "55501"
            )
        case "ID" if re.fullmatch(r"99\d{15}[\dXx]", bare):
            return True
        case _:
            return bare.startswith("XX")


def _made_up(word: str) -> bool:
    return word in _WORDS_LOWER or any(word.startswith(o.lower() + e) for o in _ONSETS for e in _ENDINGS)
