"""Figures in a message that decide: temperatures, ages, time spans, oxygen, sugar, pressure, numbers of tablets.

Thresholds: fever from 38.0 °C or 100.4 °F, and an infant is younger than three months (NICE NG143); oxygen
saturation below 90 %; glucose below 3.0 mmol/L or 54 mg/dL (level 2 hypoglycaemia) or above 25 mmol/L or
400 mg/dL; systolic pressure below 85 mmHg; eight tablets or more taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Hit = tuple[int, int, str]

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = {
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "fifty": 50,
    "sixty": 60,
    "seventy": 70,
    "eighty": 80,
    "ninety": 90,
}
_NUMBERS: dict[str, float] = {w: i for i, w in enumerate(_ONES)} | _TENS | {
    "a": 1, "an": 1, "couple": 2, "couple of": 2, "a couple of": 2, "few": 3, "a few": 3, "several": 4, "half an": 0.5, "many": 9, "dozen": 12, "a dozen": 12,
}  # fmt: skip
_EN = (
    r"(\d{1,5}(?:\.\d+)?|half an|(?:a )?(?:couple of|few|dozen)|several|couple|many|an?|"
    + "|".join((*_ONES, *_TENS))
    + ")"
)
_ZH = r"(\d{1,5}(?:\.\d+)?|[半一二两三四五六七八九十几百]{1,4})"
_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "几": 3}
_DAYS = {
    "second": 1e-5, "sec": 1e-5, "minute": 7e-4, "min": 7e-4, "hour": 0.04, "hr": 0.04, "h": 0.04, "night": 1, "day": 1, "wk": 7, "week": 7,
    "month": 30, "mth": 30, "mo": 30, "year": 365, "yr": 365, "decade": 3650,
    "秒": 1e-5, "分钟": 7e-4, "刻钟": 0.01, "小时": 0.04, "钟头": 0.04, "天": 1, "日": 1, "晚": 1, "周": 7, "星期": 7, "礼拜": 7, "月": 30, "年": 365,
}  # fmt: skip
_UNIT_EN = r"(second|sec|minute|min|hour|hr|night|day|week|wk|month|mth|mo|year|yr|decade|h)s?"
_UNIT_ZH = r"多?个?(?:多|半)?(秒|分钟|刻钟|小时|钟头|天|日|晚|周|星期|礼拜|月|年)"


def number(word: str) -> float:
    """The value of a numeral in figures, in English words, or in Chinese up to 999."""
    if word[0].isdigit():
        return float(word)
    if word in _NUMBERS:
        return _NUMBERS[word]
    if word == "半":
        return 0.5
    total, digit = 0, 0
    for char in word:
        if char == "十":
            total, digit = total + (digit or 1) * 10, 0
        elif char == "百":
            total, digit = total + (digit or 1) * 100, 0
        else:
            digit = _DIGITS.get(char, 0)
    return total + digit


# Each begins with a figure or a rare word, and every repetition is bounded.
_AGO = re.compile(rf"(?: {_EN} {_UNIT_EN} (?:ago|back|earlier)(?= ))|(?:{_ZH} ?{_UNIT_ZH}(?:以|之)?前)")
_FOR = re.compile(
    rf"(?: (?:for|x|over|past|last|these|about|almost|nearly|since|around|within|in|after) (?:the )?(?:past |last |about |over |almost |nearly |at least |more than )?{_EN} {_UNIT_EN}(?= ))"
    rf"|(?:{_ZH} ?{_UNIT_ZH}(?!以?前|之前|大|龄|的?(?:婴|宝|孩|娃|儿)))"
)
_AGE = re.compile(
    rf"(?: {_EN} ?(day|week|wk|month|mth|mo|m|d|w)s? (?:old|of age|o|baby|infant|newborn|boy|girl|son|daughter|lo)(?= ))"
    rf"|(?: (?:is|aged?|only|just|at|even|turned|shes|hes|was born|born|not even|barely|about) {_EN} ?(day|week|wk|month|mth|mo)s?(?: ago| old)?(?= ))"
    rf"|(?:{_ZH} ?(?:多|来)?(天|日|周|星期|个多?月|月龄)(?:多|半)?(?:大|龄|的|左右)?(?:的)? ?(?=婴|宝|孩|娃|儿|女|大|龄|了?发[烧热]|了?,|体温|男|女|小|肛温|高烧|高热| ))"
)
_GESTATION = re.compile(
    r"(?: (?:im|i am|am|at|is|was|now|shes|currently|around|about|nearly|almost|only|wife|pregnant) (\d\d) ?(?:weeks?|wks?|w)(?= )(?! old))"
    r"|(?: (\d\d) ?(?:weeks?|wks?|w)(?: \d)? (?:pregnant|preg|along|gestation|gone)(?= ))|(?: ?(\d\d) ?(?:周|w (?=孕)|孕周)(?!岁|前))"
)
_YEAR = re.compile(r"(?: (since|in|of|from|year|around) )?(?<!\d)((?:19[5-9]|20[0-4])\d)(?: |年)")
_TEMPERATURE = re.compile(
    r"(?<![\d/.])(\d{2,3}(?:\.\d{1,2})?)(?= | ?度)(?: ?(c|f|degrees?|celsius|fahrenheit|度)(?= |半|[一二三四五六七八九\d多,]|$))?"
)
_TEMPERATURE_ZH = re.compile(r"(三十[八九]|四十[一二]?)度([一二三四五六七八九半])?")
_TEMPERATURE_CUE = re.compile(
    r"temp|fever|therm|degree|rectal|axill|burning|hot|烧|热|体温|肛温|腋温|耳温|烫|度"
)
_NOT_A_TEMPERATURE = re.compile(
    r" ?(?:weeks?|wks?|years?|yrs?|yo|y|mg|kg|ml|pounds?|lbs?|days?|hours?|months?|min|minutes?|percent|%|周|岁|天|年|斤|公斤|毫克|个|/)"
)
_OXYGEN = re.compile(
    r"(?: (?:spo 2|spo2|sp o2|sats?|oxygen|o2|saturation)|血氧)[^.]{0,24}?(?<![\d/])(\d{2})(?![\d/])"
)
_SUGAR = re.compile(
    r"(?:(?: (?:sugar|glucose|bg|bsl|sugars)(?= ))|血糖)[^.]{0,24}?(?<![\d/])(\d{1,3}(?:\.\d)?)(?![\d/])"
)
_PRESSURE = re.compile(r"(?<![\d.])(\d{2,3}) / (\d{2,3})(?![\d.])")
_TABLETS = re.compile(
    rf"(?: (?:took|taken|take|taking|swallowed|swallow|ate|had|downed|popped|ingested) (?:about |like |around |over |up to |more than |at least |almost |nearly |the |all |my )?{_EN} (?:\w+ ){{0,4}}?(?:pills?|tablets?|tabs|caps|capsules|paracetamol|tylenol|aspirin|ibuprofen|advil|xanax|ambien|panadol|acetaminophen|benadryl|sleeping)(?= ))"
    rf"|(?:(?:吃|吞|服|喝)(?:了|下|掉|食|进)?(?:去|了)?(?:大概|大约|差不多|快|有)?{_ZH}多?(?:来)?[片粒颗](?:了)?)"
)


def _first(match: re.Match[str]) -> list[str]:
    return [g for g in match.groups() if g is not None]


def measures(text: str, units: list[tuple[int, int]]) -> Iterator[Hit]:
    """Figures of :class:`~mulmed.safety.normalize.Words`' text that say something: start, end, what.

    ``units``: where units of time stand; what is told in them is looked for around them only.
    """
    for first, last in _windows(units, len(text)):
        yield from _times(text, first, last)
    if not _DIGIT.search(text):
        if "度" in text:
            yield from ((*match.span(), "fever") for match in _TEMPERATURE_ZH.finditer(text))
    else:
        for match in _YEAR.finditer(text):
            yield *match.span(), "lasting" if match[1] == "since" else "year"
        yield from _vital_signs(text)
    if any(word in text for word in _TABLET_WORDS):
        for match in _TABLETS.finditer(text):
            yield *match.span(), "many_tablets" if number(_first(match)[0]) >= 8 else "few_tablets"


_DIGIT = re.compile("[0-9]")
_TABLET_WORDS = (
    " pill", " tab", " cap", "片", "粒", "颗", " paracetamol", " tylenol", " aspirin", " ibuprofen", " advil", " xanax", " ambien",
    " panadol", " acetaminophen", " benadryl", " sleeping",
)  # fmt: skip
#: How far around a unit of time its sentence part may reach.
_BEFORE, _BEHIND = 48, 24


def _windows(units: list[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """Stretches around units, joined where they overlap."""
    first = last = -1
    for start, end in sorted(units):
        if start - _BEFORE > last:
            if last > 0:
                yield first, last
            first = max(start - _BEFORE, 0)
        last = min(max(last, end + _BEHIND), length)
    if last > 0:
        yield first, last


def _times(text: str, first: int, last: int) -> Iterator[Hit]:
    for match in _AGO.finditer(text, first, last):
        count, unit = _first(match)
        days = number(count) * _DAYS[unit]
        yield *match.span(), "recent" if days < 1.5 else "ago"
        if days > 300:
            yield *match.span(), "years_ago"
    for match in _FOR.finditer(text, first, last):
        count, unit = _first(match)
        days = number(count) * _DAYS[unit]
        yield *match.span(), "recent" if days < 1 else "lasting" if days >= 13 else "days"
    for match in _AGE.finditer(text, first, last):
        count, unit = _first(match)
        days = number(count) * _AGES.get(unit, _DAYS.get(unit, 0))
        if 0 < days < 90 and "几" not in count and text[match.start() - 1] not in "前这几":
            yield *match.span(), "infant"
    for match in _GESTATION.finditer(text, first, last):
        if 13 <= (weeks := number(_first(match)[0])) <= 42:
            yield *match.span(), "pregnant"
            if 20 <= weeks < 37:
                yield *match.span(), "preterm"


_AGES = {"d": 1, "w": 7, "m": 30, "个月": 30, "个多月": 30, "月龄": 30}


def _vital_signs(text: str) -> Iterator[Hit]:
    for match in _TEMPERATURE.finditer(text):
        value, unit = float(match[1]), match[2]
        if not (35.5 <= value <= 42.9 or 97 <= value <= 108) or _NOT_A_TEMPERATURE.match(text, match.end()):
            continue
        around = text[max(match.start() - 40, 0) : match.end() + 20]
        if unit or "." in match[1] or _TEMPERATURE_CUE.search(around):
            yield *match.span(), "fever" if 38 <= value < 43 or value >= 100.4 else "normal_temperature"
    for match in _TEMPERATURE_ZH.finditer(text):
        yield *match.span(), "fever"
    for match in _OXYGEN.finditer(text):
        if 40 <= float(match[1]) < 90:
            yield *match.span(), "low_oxygen"
    for match in _SUGAR.finditer(text):
        value = float(match[1])
        if value < 3 or 20 < value < 54 or value > 400:
            yield *match.span(), "extreme_sugar"
    for match in _PRESSURE.finditer(text):
        high, low = int(match[1]), int(match[2])
        if 40 <= high < 85 and 20 <= low < high:
            yield *match.span(), "low_pressure"
