"""Identifiers with a form of their own: addresses on the net, telephone, identity and record numbers.

``\\b`` is no boundary between a Chinese character and a digit, so edges are spelt out as look-arounds.
A number without a telling form is masked only beside a word that says what it is, which leaves doses,
laboratory values, dates and emergency numbers alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import phonenumbers

from mulmed.corpus.deidentify.spans import Span

_IS = r"(?:[\s:：#=]|is\b|are\b|was\b|号码?|是|为|\()*"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)[a-z]*\.?"
_DATE_EN = (
    rf"(?:\d{{1,2}}[/.-]\d{{1,2}}[/.-](?:\d{{4}}|\d{{2}})(?!\d)|(?:19|20)\d{{2}}[/.-]\d{{1,2}}[/.-]\d{{1,2}}(?!\d)"
    rf"|\d{{1,2}}(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH},?\s+(?:19|20)\d{{2}}"
    rf"|{_MONTH}\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+(?:19|20)\d{{2}})"
)
_DATE_ZH = r"(?:19|20)\d{2}\s*[年./-]\s*\d{1,2}\s*[月./-]\s*\d{1,2}\s*[日号]?"
_TOKEN = r"(?=[A-Za-z_-]*\d)[A-Za-z0-9][A-Za-z0-9_-]"  # letters and digits, one digit at least
_LANDLINE_FORM = r"(?:\(0\d{2,3}\)|（0\d{2,3}）|0\d{2,3}[- ])\s?[2-9]\d{6,7}(?:[-转]\d{1,5})?"

#: (label, pattern, group masked). Earlier rows win where two overlap.
_FORMS: tuple[tuple[str, re.Pattern[str], int], ...] = tuple(
    (label, re.compile(pattern, flags | re.ASCII), group)
    for label, pattern, group, flags in (
        ("EMAIL", r"[A-Za-z0-9][\w.+%-]*\s?@\s?[A-Za-z0-9](?:[\w-]*\.)+[A-Za-z]{2,}(?![A-Za-z0-9])", 0, 0),
        ("EMAIL", r"[A-Za-z][\w.+-]*\s*(?:\(at\)|\[at\]|\sat\s)\s*\w+\s*(?:\(dot\)|\[dot\]|\sdot\s)\s*(?:com|org|net|co|in|cn)\b", 0, re.I),
        ("EMAIL", r"(?<!\w)Y{4}@Y{4}(?!\w)", 0, 0),  # HealthCareMagic's own scrubbing
        # Tokenised text: "http://www . example . org".
        ("URL", r"https?://[\w-]+(?:\s\.\s(?![A-Z][a-z]*\s[a-z])[\w~-]+(?:/[\w~/-]*)?)+", 0, 0),
        ("URL", r"(?:https?|ftp)\s?:\s?//\s?[^\s\u0080-\uffff<>\"')\]]+(?:(?<=[./])\s?[a-z0-9-]+\.[a-z]{2,3}(?![a-z])\S*)?", 0, re.I),
        ("URL", r"(?<![\w.@])www\s?\.\s?[\w-]+(?:\.[\w-]+)+(?:/[^\s\u0080-\uffff<>\"')\]]*)?", 0, re.I),
        ("URL", r"(?<![\w.@/-])(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|cn|co\.uk)(?:/[^\s\u0080-\uffff<>\"')\]]*)?(?![\w-])", 0, 0),
        ("DATE_OF_BIRTH", rf"\b(?:D\.?O\.?B\b\.?|date of birth|birth ?date|birthday|born)(?:[\s:,(-]|is\b|was\b|on\b|the\b)*({_DATE_EN})", 1, re.I),
        ("DATE_OF_BIRTH", rf"(?:出生(?:日期|年月日|年月|时间|于)?|生日|生于)(?:[\s:：,，是为在])*({_DATE_ZH}|(?:19|20)\d{{2}}年\d{{1,2}}月)", 1, 0),
        ("DATE_OF_BIRTH", rf"({_DATE_ZH})\s*(?:出生|生人|生的)", 1, 0),
        ("RECORD_NUMBER", rf"(?:住院|门诊|病历|病案|就诊卡?|就医卡|检查|影像|标本|条码|病理|诊疗卡|登记|挂号|床位?)\s*(?:编号|卡号|号码?|ID){_IS}({_TOKEN}{{3,}})", 1, 0),
        ("RECORD_NUMBER", rf"\b(?:M\.?R\.?N\.?|UHID|(?:medical|patient|hospital|chart|case|file|record|accession|admission|registration)\s+(?:record\s+)?(?:number|no\b\.?|num\b|id\b|#)|medical record|(?:patient|chart|record)\s*#){_IS}({_TOKEN}{{3,}})", 1, re.I),
        ("ID", r"(?<![0-9A-Za-z])[1-9]\d{5}[ -]?(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[0-9Xx](?![0-9A-Za-z])", 0, 0),
        ("ID", r"(?<![0-9A-Za-z.])[1-9]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}(?![0-9A-Za-z])", 0, 0),
        ("ID", rf"(?:身份证|护照|医保卡|社保卡|医保|社保|军官证|驾驶证){_IS}((?=[A-Za-z]*\d)[0-9A-Za-z*]{{6,20}})", 1, 0),
        ("ID", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", 0, 0),  # United States social security number
        ("ID", rf"\b(?:SSN|social security(?: number| no\.?)?|NHS (?:number|no\.?)|passport(?: number| no\.?)?|aadhaa?r(?: number| card| no\.?)*|insurance (?:number|id|no\.?)|policy (?:number|no\.?)|member(?:ship)? (?:id|number)|driver'?s licen[cs]e(?: number)?){_IS}((?=[A-Z]{{0,4}}\d)[A-Z0-9]{{2,}}(?:[ -]?\d{{2,4}}){{1,3}})", 1, re.I),
        ("ACCOUNT", rf"(?:微信|威信|薇信|微博|抖音|快手|支付宝|V信|VX|wechat|weixin|QQ)(?:公众号|账号|帐号|号码?|群|ID|id)?(?:[\s:：,，是为加]|is\b)*({_TOKEN}{{4,}})", 1, re.I),
        ("ACCOUNT", r"(?:加我?|\+)\s?[Vv]\s?[:：]?\s?((?=[A-Za-z_-]*\d)[A-Za-z0-9][A-Za-z0-9_-]{4,})", 1, 0),
        ("ACCOUNT", r"(?:银行卡|账|帐|卡)号(?:[\s:：是为])*(\d(?:[ -]?\d){11,18})", 1, 0),
        ("ACCOUNT", rf"\b(?:account|credit card|debit card|card|iban)\s*(?:number|no\b\.?|#)?{_IS}([A-Z]{{0,4}}\d(?:[ -]?\d){{7,21}})(?!\d)", 1, re.I),
        ("ACCOUNT", r"\b(?:skype|instagram|twitter|facebook|telegram|snapchat)\s*(?:id|handle|account|name|username)?\s*(?:is)?\s*[:@]\s*@?([A-Za-z0-9][\w.]{3,})", 1, re.I),
        ("PHONE", r"(?<![\d.A-Za-z])(?:\+?86[- ]?)?1[3-9]\d[- ]?(?:\d{4}|\*{4})[- ]?\d{4}(?![\d])", 0, 0),
        ("PHONE", rf"(?<![\d.A-Za-z-]){_LANDLINE_FORM}(?!\d)", 0, 0),
        ("PHONE", r"(?<![\d.-])[48]00[- ]\d{3,4}[- ]\d{3,4}(?!\d)", 0, 0),
        ("PHONE", r"(?<![\w.])\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\d)", 0, 0),
        ("PHONE", r"(?<![\d.-])(?:\+?1[-. ]\s?)?(?:\(\d{3}\)\s?\d{3}[-. ]\d{4}|\d{3}-\d{3}-\d{4}|\d{3}\.\d{3}\.\d{4})(?![\d-])", 0, 0),
        ("PHONE", r"(?<![\d.-])0\d{2,4}[ -]\d{3,4}[ -]?\d{3,6}(?![\d-])", 0, 0),
        ("PHONE", r"(?:电话|手机|联系方式|热线|致电|拨打|座机|[Tt][Ee][Ll])(?:[\s:：,，是为号码])*(\d[\d -]{5,14}\d)(?!\d)", 1, 0),
        ("PHONE", r"\b(?:call|phone|telephone|tel|mobile|mob|cell(?:phone| phone| number)|contact|whats ?app|fax|ring|dial|text|number)\b[^\d\n.!?+]{0,30}?(\+?\(?\d(?:[ ()-]{0,2}\d){6,14})(?![\d%/])", 1, re.I),
    )
)  # fmt: skip

#: Characters without one of which no form above can match.
_ANY_FORM = re.compile(r"\d{2}|@|//|www|\.(?:com|org|net|edu|gov|cn|co)\b|\sat\s", re.IGNORECASE)
_DATE_ONLY = re.compile(
    r"(?:(?:19|20)\d{2}[ /.-]\d{1,2}[ /.-]\d{1,2}|\d{1,2}[ /.-]\d{1,2}[ /.-](?:19|20)\d{2})"
)
_DIGIT_RUN = re.compile(r"\d(?:[ ().-]{0,2}\d){8,}")
_DIGIT = re.compile(r"[\d*]")
_REGIONS = ("US", "GB", "IN", "AU")

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def id_checksum_holds(number: str) -> bool:
    """Whether the last digit of an 18-digit Chinese identity number is right (GB 11643-1999)."""
    return (
        "10X98765432"[sum(w * int(d) for w, d in zip(_ID_WEIGHTS, number, strict=False)) % 11] == number[17]
    )


def find_forms(text: str) -> Iterator[Span]:
    """Every identifier that its form or the word before it gives away, the most certain first."""
    if not _ANY_FORM.search(text):
        return
    for label, pattern, group in _FORMS:
        for match in pattern.finditer(text):
            start, end = match.span(group)
            if label == "URL":
                end = start + len(match[group].rstrip(".,;:!?"))
            value = text[start:end]
            if label == "PHONE" and (_DATE_ONLY.fullmatch(value) or len(_DIGIT.findall(value)) < 7):
                continue
            yield Span(start, end, label, _checksum(value) if label == "ID" else "")
    if _DIGIT_RUN.search(text):
        for region in _REGIONS:
            found = phonenumbers.PhoneNumberMatcher(
                text, region, leniency=phonenumbers.Leniency.STRICT_GROUPING
            )
            for number in found:
                if not _DATE_ONLY.match(number.raw_string):
                    yield Span(number.start, number.end, "PHONE")


def _checksum(value: str) -> str:
    """For the audit: whether a Chinese identity number is a true one. It is masked either way."""
    digits = re.sub("[ -]", "", value).upper()
    if not re.fullmatch(r"\d{17}[\dX]", digits):
        return ""
    return "checksum holds" if id_checksum_holds(digits) else "checksum does not hold"
