"""Dates that tie a person to a day, and ages over 89.

HIPAA's Safe Harbor (45 CFR 164.514(b)(2)) wants every element of a date about an individual gone but the year,
and ages over 89 put together. What is done here:

- A calendar day, with or without its year ("2020-03-15", "3月15日", "May 3rd"), becomes ``[DATE]``.
- A birth date becomes ``[DATE_OF_BIRTH]``, down to month and year.
- A month with its year beside a word of admission, discharge, operation or death becomes ``[DATE]`` too.
- Other months with their year, years, seasons, times of day and durations stay: "since March 2023" is what the
  doctor asks for, and tells a month out of twelve of a year. This is the one place where less is taken
  than Safe Harbor's letter.
- Ages of 90 and more become ``[AGE]``; younger ones stay.

Records that are no patient's (instructions, summaries of articles) keep dates without such a word: the day of a
battle or of a publication identifies no patient.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, matches, run_starts

MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_YEAR = r"(?:1[7-9]|20)\d{2}"
_D, _M = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_NUMERIC = (
    rf"{_YEAR}\s?[/.-]\s?{_M}\s?[/.-]\s?{_D}(?![\d/])"
    rf"|(?:{_D}/{_M}|{_M}/{_D})/(?:{_YEAR}|\d{{2}})(?![\d/])"
    rf"|(?:{_D}[.-]{_M}|{_M}[.-]{_D})[.-]{_YEAR}(?!\d)"
)
_DAY_MONTH = rf"{_D}(?:st|nd|rd|th)?[\s-]?(?:of\s)?(?i:{MONTH})(?:[\s,'’-]{{1,3}}{_YEAR})?"
_MONTH_DAY = rf"(?i:{MONTH})\s{_D}(?:st|nd|rd|th)?\b(?:[\s,]{{1,3}}{_YEAR})?(?!\d)"
_CHINESE = rf"(?:(?:{_YEAR}|\d{{2}})\s?年\s?)?{_M}\s?月(?:份)?\s?{_D}\s?[日号]|{_YEAR}年{_M}月{_D}(?!\d)|{_YEAR}年{_M}[./-]{_D}[日号]?(?!\d)"
_NUMERALS = (
    r"[一二]?[〇零○一二三四五六七八九十]{1,4}年[一二三四五六七八九十]{1,3}月[一二三四五六七八九十]{1,3}[日号]"
    r"|[一二三四五六七八九十]{1,2}月[一二三四五六七八九十]{1,3}[日号]"
)
_MONTH_YEAR = rf"(?:{_YEAR}\s?年\s?{_M}\s?月(?:份)?|(?i:{MONTH})[\s,]{{1,2}}{_YEAR}|{_YEAR}[./-]{_M}(?![\d./-])|{_M}/{_YEAR}(?!\d))"
_DAY = rf"(?:{_NUMERIC}|{_DAY_MONTH}|{_MONTH_DAY}|{_CHINESE}|{_NUMERALS})"
_COMPACT = r"(?<!\d)(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?![\d])"

_FROM_DIGIT = re.compile(rf"(?<![\d./-])(?:{_NUMERIC}|{_DAY_MONTH}|{_CHINESE}|{_COMPACT})")
_FROM_MONTH = re.compile(rf"(?<![A-Za-z])(?:{_MONTH_DAY})")
_FROM_NUMERAL = re.compile(_NUMERALS)
_BIRTH = re.compile(
    r"(?:\b(?:D\.?O\.?B\b\.?|date of birth|birth ?date|birthday|born)(?:[\s:,(-]|is\b|was\b|on\b|the\b|in\b)*"
    r"|(?:出生(?:日期|年月日|年月|时间|于)?|生日|生于)(?:[\s:：,，是为在])*)"
    rf"({_DAY}|{_COMPACT}|{_MONTH_YEAR})",
    re.IGNORECASE,
)
_ADMITTED = re.compile(
    r"(?:\b(?:admi(?:tted|ssion)|discharged?|operated|operation|surgery|died|death|deceased|expired|passed away|visit(?:ed)?|appointment|seen|date)\b(?:[\s:,(-]|date\b|is\b|was\b|on\b|the\b|in\b|of\b|for\b)*"
    r"|(?:入院|出院|住院|手术|死亡|去世|就诊|挂号|检查|报告|预约|复诊|随访)(?:日期|时间|于)?(?:[\s:：是为在])*)"
    rf"({_DAY}|{_COMPACT}|{_MONTH_YEAR})",
    re.IGNORECASE,
)
_BEFORE_EVENT = re.compile(
    rf"({_DAY}|{_COMPACT}|{_MONTH_YEAR})\s*(?:[在于因]?(?P<event>入院|出院|住院|去世|死亡)|出生|生人|生的|的?生日)"
)
_OLD = re.compile(
    r"(?<![\d.])(?:9\d|1[01]\d)(?=[\s-]*(?:years?|yrs?)[\s-]*(?:old|of age)\b|[\s-]*(?:y/?o|yo)\b|\s*周?岁|\s*高龄)",
    re.IGNORECASE,
)
_AGED = re.compile(r"(?:\bage[ds]?(?:[\s:]|is\b|of\b)*|(?:年龄|现年|享年)(?:[\s:：]|是|为)*)$", re.IGNORECASE)
_OLD_NUMERALS = re.compile(r"(?:九十[一二三四五六七八九]?|一百[零一]?[一二三四五六七八九十]*)(?=周?岁)")
_MONTHS = (
    "jan", "january", "feb", "february", "mar", "march", "apr", "april", "may", "jun", "june", "jul", "july", "aug", "august",
    "sep", "sept", "september", "oct", "october", "nov", "november", "dec", "december",
)  # fmt: skip
#: Literals of words (see :mod:`.triggers`) before a day.
WORDS_DATES: dict[str, tuple[str, ...]] = {
    "birth": ("born", "birth", "date of birth", "dob", "d o b"),
    "admission": tuple(
        f" {word} "
        for word in (
            "admitted", "admission", "discharge", "discharged", "operated", "operation", "surgery", "died", "death", "deceased", "expired",
            "passed away", "visit", "visited", "appointment", "seen", "date",
        )
    ),
}  # fmt: skip
#: Literals of shapes without which there is no day (0 is any digit), no month with its year.
SHAPES_DATES: dict[str, tuple[str, ...]] = {
    "birth": ("出生", "生日", "生于"),
    "admission": ("入院", "出院", "住院", "手术", "死亡", "去世", "就诊", "挂号", "检查", "报告", "预约", "复诊", "随访"),
    "day": (
        *(f"0000{before}{mark}{behind}0" for mark in "/.-" for before in ("", " ") for behind in ("", " ")),
        *(f"0{a}0{b}0" for a in "/.-" for b in "/.-"),
        *(f"0{a}00{b}0" for a in "/.-" for b in "/.-"),
        "0/0000", "00000000", "0月", "0 月", "0年", "0 年",
        *(
            f"0{ordinal}{between}{of}{month}"
            for ordinal in ("", "st", "nd", "rd", "th")
            for between in ("", " ", "-")
            for of in ("", "of ")
            for month in sorted({m[:3] for m in _MONTHS})
        ),
    ),
    "month": tuple(f"{month}{stop} 0" for month in _MONTHS for stop in ("", ".")),
    "month year": tuple(
        f"{month}{stop}{gap}0" for month in _MONTHS for stop in ("", ".") for gap in (" ", ",", "  ", " ,", ", ", ",,")
    ),
    "numeral": tuple(f"{numeral}月" for numeral in "一二三四五六七八九十"),
    "old numeral": ("九十", "一百"),
}  # fmt: skip
_OLD_RUN = re.compile(r"(?<![0-9])(?:9[0-9]|1[01][0-9])(?![0-9])")


def find_dates(text: str, hits: Hits, clinical: bool = True) -> Iterator[Span]:
    """Days, birth dates and ages over 89. ``clinical``: the text is about a patient."""
    starts = run_starts(text, hits.get("day", ()))
    if starts or "month" in hits or "month year" in hits or "numeral" in hits:
        yield from _days(text, hits, starts, clinical)
    for run in _OLD_RUN.finditer(text) if "old" in hits else ():
        start, end = run.span()
        if _OLD.match(text, start) or (
            text[end : end + 1] not in (".", "%", "/") and _AGED.search(text, max(0, start - 12), start)
        ):
            yield Span(start, end, "AGE")
    if "old numeral" in hits:
        for match in _OLD_NUMERALS.finditer(text):
            yield Span(*match.span(), "AGE")


def _days(text: str, hits: Hits, starts: Sequence[int], clinical: bool) -> Iterator[Span]:
    for match in matches(_BIRTH, text, hits.get("birth", ())):
        yield Span(*match.span(1), "DATE_OF_BIRTH")
    for match in matches(_BEFORE_EVENT, text, starts):
        yield Span(*match.span(1), "DATE" if match["event"] else "DATE_OF_BIRTH")
    for match in matches(_ADMITTED, text, hits.get("admission", ())):
        yield Span(*match.span(1), "DATE")
    if clinical:
        for match in matches(_FROM_DIGIT, text, starts):
            yield Span(*match.span(), "DATE")
        for match in matches(_FROM_MONTH, text, hits.get("month", ())):
            yield Span(*match.span(), "DATE")
        for match in _FROM_NUMERAL.finditer(text) if "numeral" in hits else ():
            yield Span(*match.span(), "DATE")
