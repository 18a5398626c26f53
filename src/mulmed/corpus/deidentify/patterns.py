"""Identifiers with a form of their own: addresses on the net, telephone, identity and record numbers.

``\\b`` is no boundary between a Chinese character and a digit, so edges are spelt out as look-arounds.
A number without a telling form is masked only beside a word that says what it is, which leaves doses,
laboratory values and emergency numbers alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from typing import NamedTuple

import phonenumbers

from mulmed.corpus.deidentify.checks import iban_holds, id_checksum_holds, luhn_holds, verhoeff_holds
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, matches, run_starts

_IS = r"(?:[\s:：#=]|is\b|are\b|was\b|号码?|是|为|\()*"
_TOKEN = r"(?=[A-Za-z_/-]*\d)[A-Za-z0-9][A-Za-z0-9_/-]"  # letters and digits, one digit at least
_LANDLINE = r"(?:\(0\d{2,3}\)|（0\d{2,3}）|0\d{2,3}[-— ])\s?[2-9]\d{2,3}[- ]?\d{4}(?:\s?[-转]\s?\d{1,5})?"
_LANDLINE_GLUED = r"0(?:10|2\d|[3-9]\d{2})[2-9]\d{6,7}"
_NUMBER_IS = r"(?:\s*(?:number|no\b\.?|num\b|id\b|code|#))?"
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"

_FILED = (
    "medical",
    "patient",
    "hospital",
    "chart",
    "case",
    "file",
    "record",
    "accession",
    "admission",
    "registration",
    "encounter",
)
_FILED_ZH = (
    "住院",
    "门诊",
    "病历",
    "病案",
    "就诊",
    "就医",
    "检查",
    "影像",
    "标本",
    "条码",
    "病理",
    "诊疗",
    "登记",
    "挂号",
    "床",
    "处方",
    "流水",
)
_GAPS = ("", " ", "-", "—")
#: Literals of words (see :mod:`.triggers`) that say what the number behind them is. Forms begin where one of them does.
WORDS_FORMS: dict[str, tuple[str, ...]] = {
    "record": (" mrn", " m r n", " uhid", " ip no", " op no", " ip number", " op number", " ipno", " opno"),
    "id": (
        " driver", " voter",
        *(f" {word} " for word in (
            "ssn", "social security", "nhs", "passport", "aadhar", "aadhaar", "uidai", "pan", "insurance", "policy", "member", "membership", "medicare",
            "medicaid", "beneficiary", "subscriber", "health plan", "national id", "national identity", "identity", "id", "health card", "health id",
            "ration card",
        )),
    ),
    "licence": tuple(f" {word} " for word in ("license", "licence", "certificate", "registration", "reg", "npi", "dea")),
    "device": tuple(f" {word} " for word in ("serial", "s n", "imei", "device", "pacemaker", "implant", "udi", "mac address")),
    "vehicle": (" plate ", " vin ", " vehicle ", " car number", " car no"),
    "account": (
        " account ", " accounts ", " card ", " cards ", " cc ", " ccs ", " iban ", " ibans ", " skype", " instagram", " twitter", " facebook",
        " telegram", " snapchat", " username", " user id", " login",
    ),
    "phone": tuple(
        f" {word} "
        for word in (
            "call", "phone", "telephone", "tel", "mobile", "mob", "cell", "cellphone", "contact", "whatsapp", "whats app", "fax", "ring", "dial", "text",
            "number", "desk", "office", "reach", "pager", "answering at", "messages to", "registered",
        )
    ),
    "phone behind": tuple(f" {word} " for word in ("office", "fax", "mobile", "cell", "home", "work", "phone", "tel")),
    "zip": (" zip", " postal", " pin code", " pincode", " post code", " postcode"),
}  # fmt: skip
#: Literals of shapes (0 is any digit). Those of "at", "dot", "url", "long", "plus" and "grouped" stand somewhere in the form.
SHAPES_FORMS: dict[str, tuple[str, ...]] = {
    "at": ("@", "＠"),
    "dot": ("(dot)", "[dot]", " dot "),
    "url": ("//", "/ /", "www", ".com", ".org", ".net", ".edu", ".gov", ".cn", ".co.", ".ac.", ".nhs.", ".mil", ".biz", ".eu", ".hk", ".tw", ".io", ".info"),
    "long": (
        *("0".join(("", *gaps, "")) for gaps in product(_GAPS, repeat=5)),
        *(f"000{gap}****" for gap in _GAPS),
        "000.0000", "000)000", "000) 000", "000)-000", "000) -000", "+0", "+ 0",
    ),
    "grouped": tuple(f"000{a}{b}000" for a in " ().-" for b in ("", *" ().-")),
    "dotted": ("0.0.0", "0.00.0", "0.000.0"),
    "colons": ("::",),
    "lettered": tuple(f"0000{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
    "iban": tuple(f"{a}{b}00" for a in "abcdefghijklmnopqrstuvwxyz" for b in "abcdefghijklmnopqrstuvwxyz"),
    "province": tuple(f"{province}{letter}" for province in _PROVINCES for letter in "abcdefghjklmnpqrstuvwxyz"),
    "record": (
        *(
            f"{word}{behind}"
            for word in _FILED
            for behind in (" number", " no", " num", " id", " #", " record", "  ", "#")
        ),
        *(f"{word}{behind}" for word in _FILED_ZH for behind in ("号", "编号", "卡", "单号", "序号", "id", " ", "位")),
    ),
    "id": ("身份证", "护照", "医保", "社保", "军官证", "驾驶证", "驾照", "通行证", "居住证", "证件", "参保", "保单", "社会保障"),
    "licence": ("执业", "资格证", "许可证", "证书"),
    "device": ("s/n", "序列", "设备", "机器", "植入物", "起搏器"),
    "vehicle": ("车牌", "车架"),
    "account": (
        "微信", "威信", "薇信", "微博", "抖音", "快手", "支付宝", "v信", "vx", "wechat", "weixin", "qq", "wx", "银行卡", "卡号", "账号", "帐号", "工号", "加v", "加我v", "+v", "+ v",
        "加我 v", "加 v", "扣扣", "企鹅", "小红书", "陌陌", "钉钉",
    ),
    "phone": (
        "电话", "手机", "联系", "热线", "致电", "拨打", "座机", "传真", "打给", "短信", "号码", *(f"tel{mark}" for mark in "0 :：，,+(（是为号码"),
    ),
    "zip": ("pin:", "邮编", "邮政编码"),
}  # fmt: skip
#: Families of literals that stand somewhere in the form, not at its beginning.
_ANYWHERE = frozenset(("at", "dot", "url", "long", "colons"))


class _Form(NamedTuple):
    """``needs``: the family of literals at which the form begins, or without which it is not there."""

    label: str
    needs: str
    pattern: re.Pattern[str]
    group: int = 0
    holds: Callable[[str], bool] | None = None


def _digits(value: str) -> str:
    return "".join(c for c in value if c.isdigit())


def _address_of_machine(value: str) -> bool:
    """Four numbers under 256 that are no number of a chapter or a version."""
    parts = [int(part) for part in value.split(".")]
    return max(parts) < 256 and max(parts) > 19


def _card(value: str) -> bool:
    digits = _digits(value)
    return luhn_holds(digits) and len(set(digits)) > 1


#: In the order of certainty: where two forms overlap the earlier one wins.
_FORMS: tuple[_Form, ...] = tuple(
    _Form(label, needs, re.compile(pattern, flags | re.ASCII), group, holds)
    for label, needs, pattern, group, flags, holds in (
        ("EMAIL", "at", r"[A-Za-z0-9][\w.+%-]*\s?[@＠]\s?[A-Za-z0-9](?:[\w-]*\.)+[A-Za-z]{2,}(?![A-Za-z0-9])", 0, 0, None),
        ("EMAIL", "dot", r"[A-Za-z0-9][\w.+-]*\s*(?:\(at\)|\[at\]|\sat\s)\s*\w+\s*(?:\(dot\)|\[dot\]|\sdot\s)\s*(?:com|org|net|co|in|cn|edu)\b", 0, re.I, None),
        ("EMAIL", "at", r"(?<!\w)Y{4}@Y{4}(?!\w)", 0, 0, None),  # HealthCareMagic's own scrubbing
        # Tokenised text: "http://www . example . org".
        ("URL", "url", r"https?://[\w-]+(?:\s\.\s(?![A-Z][a-z]*\s[a-z])[\w~-]+(?:/[\w~/-]*)?)+", 0, 0, None),
        ("URL", "url", r"(?:https?|ftp)\s?:\s?/\s?/\s?[^\s\u0080-\uffff<>\"')\]]+(?:(?<=[./])\s?[a-z0-9-]+\.[a-z]{2,3}(?![a-z])\S*)?", 0, re.I, None),
        ("URL", "url", r"(?<![\w.@])www\s?\.\s?[\w-]+(?:\.[\w-]+)+(?:/[^\s\u0080-\uffff<>\"')\]]*)?", 0, re.I, None),
        ("URL", "url", r"(?<![\w.@/-])(?:[A-Za-z0-9-]+\.)+(?:com|org|net|edu|gov|mil|biz|eu|cn|hk|tw|(?:co|ac|gov|org|com|edu|net|nhs)\.[a-z]{2}|io|info)(?:/[^\s\u0080-\uffff<>\"')\]]*)?(?![\w-])", 0, 0, None),
        ("IP", "dotted", r"(?<![\d.A-Za-z])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)", 0, 0, _address_of_machine),
        ("IP", "colons", r"(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}(?![\w:])|(?<![\w:.])(?:[0-9A-Fa-f]{1,4}:){2,6}:(?:[0-9A-Fa-f]{1,4}:){0,5}[0-9A-Fa-f]{1,4}(?![\w:])", 0, 0, None),
        ("DEVICE", "colons", r"(?<![\w:-])(?:[0-9A-Fa-f]{2}[:-]){5}[0-9A-Fa-f]{2}(?![\w:-])", 0, 0, None),
        ("ID", "long", r"(?<![0-9A-Za-z])[1-9]\d{5}[ -]?(?:18|19|20)\d{2}[ -]?(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])[ -]?\d{3}[0-9XxＸ](?![0-9A-Za-z])", 0, 0, None),
        ("ID", "long", r"(?<![0-9A-Za-z.])[1-9]\d{7}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}(?![0-9A-Za-z])", 0, 0, None),
        ("RECORD_NUMBER", "record", rf"(?:住院|门诊|病历|病案|就诊卡?|就医卡?|检查|影像|标本|条码|病理|诊疗卡?|登记|挂号|床位?|处方|流水)\s*(?:编号|卡号|号码?|单号|序号|ID)(?:码|编?号)?{_IS}({_TOKEN}{{2,}})", 1, 0, None),
        ("RECORD_NUMBER", "record", rf"\b(?:M\.?R\.?N\.?|UHID|[IO]P\s?(?:no\b\.?|number|#)|(?:medical|patient|hospital|chart|case|file|record|accession|admission|registration|encounter)\s+(?:record\s+)?(?:number|no\b\.?|num\b|id\b|#)|medical record|(?:patient|chart|record)\s*#){_IS}({_TOKEN}{{3,}})", 1, re.I, None),
        ("ID", "id", r"(?:身份证|护照|医保卡?|社保卡?|军官证|驾驶证|驾照|通行证|居住证|证件|参保|保单|医保电脑|社会保障)(?:编?号码?|卡号|账号|个人编号)?(?:[A-Za-z\s:：#=]|号码?|是|为|\()*?((?=[A-Za-z-]*\d)[0-9A-Za-z*][0-9A-Za-z*-]{5,22})", 1, 0, None),
        ("ID", "id", r"(?<![A-Za-z0-9])\d{3}-\d{2}-\d{4}(?![\d-])", 0, 0, None),
        ("ID", "long", r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])", 0, 0, None),  # United States social security number
        ("ID", "id", rf"\b(?:SSN|social security(?: number| no\.?)?|NHS(?: number| no\.?)?|passport|aadhaa?r(?: card)?|UIDAI|PAN(?: card)?|(?:health |medical )?insurance|policy|member(?:ship)?|driver'?s?'? licen[cs]e|voter(?:'s)?|medicare|medicaid|beneficiary|subscriber|health plan|national id(?:entity)?|identity(?: card)?|id card|health card|health|ration card|id)(?![A-Za-z]){_NUMBER_IS}{_IS}((?=[A-Z]{{0,5}}\d)[A-Z0-9]{{2,}}(?:[ -]?[A-Z]?\d{{2,6}}[A-Z]?){{1,4}})(?![A-Za-z0-9])", 1, re.I, None),
        ("LICENSE", "licence", rf"\b(?:(?:medical |nursing |driving |professional )?licen[cs]e|certificate|registration|reg\.?|NPI|DEA)(?![A-Za-z]){_NUMBER_IS}{_IS}({_TOKEN}{{4,}})", 1, re.I, None),
        ("LICENSE", "licence", rf"(?:执业证书?|执业医师证|资格证书?|许可证|证书)(?:编?号码?)?{_IS}({_TOKEN}{{5,}})", 1, 0, None),
        ("DEVICE", "device", rf"\b(?:serial|S/N|IMEI|device|pacemaker|implant|UDI|MAC address)(?: serial)?(?![A-Za-z]){_NUMBER_IS}{_IS}({_TOKEN}{{4,}})", 1, re.I, None),
        ("DEVICE", "device", rf"(?:序列|设备|机器|植入物|起搏器)(?:编?号码?|ID|序列号)?{_IS}({_TOKEN}{{4,}})", 1, 0, None),
        ("PLATE", "province", rf"[{_PROVINCES}][A-HJ-NP-Z]\s?[·•.\s]?\s?(?=[A-Z]{{0,4}}\d)[A-HJ-NP-Z0-9]{{4,6}}[挂学警港澳]?(?![A-Za-z0-9])", 0, 0, None),
        ("PLATE", "vehicle", rf"\b(?:(?:licen[cs]e|number|registration)[ -]?plate|plate|VIN|vehicle(?: identification| registration)?|car)(?![A-Za-z]){_NUMBER_IS}{_IS}((?=[A-Z -]{{0,7}}\d)[A-Z0-9]{{2,}}(?:[ -][A-Z0-9]{{1,5}}){{0,3}})(?![A-Za-z0-9])", 1, re.I, None),
        ("PLATE", "vehicle", rf"(?:车牌|车架)号?码?{_IS}([{_PROVINCES}]?[A-Z0-9·]{{5,17}})", 1, 0, None),
        ("ACCOUNT", "account", r"(?:微信|威信|薇信|微博|抖音|快手|支付宝|小红书|陌陌|钉钉|扣扣|企鹅|V信|VX|wx|wechat|weixin|QQ)(?:公众号|账号|帐号|号码?|群|ID|id)?(?:[\s:：,，是为加]|is\b|id\b|号)*((?=[A-Za-z_.-]*\d)[A-Za-z0-9][A-Za-z0-9_.-]{4,}|[A-Za-z][A-Za-z_-]{5,})(?<![.])", 1, re.I, None),
        ("ACCOUNT", "account", r"(?:加我?|\+)\s?[Vv]\s?[:：]?\s?((?=[A-Za-z_-]*\d)[A-Za-z0-9][A-Za-z0-9_-]{4,})", 1, 0, None),
        ("ACCOUNT", "account", r"(?:银行卡号?|[账帐卡工]号)码?(?:[\s:：是为])*(\d(?:[ -]?\d){7,18})(?!\d)", 1, 0, None),
        ("ACCOUNT", "iban", r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])", 0, re.I, lambda v: len(_digits(v)) > 7 and iban_holds(v.replace(" ", ""))),
        ("ACCOUNT", "account", r"\b(?:account|card|cc|iban)s?(?![A-Za-z])[^\d\n!?]{0,25}?(?<![A-Za-z0-9.])([A-Z]{0,4}\d(?:[ -]?\d){7,21})(?!\d)", 1, re.I, None),
        ("ACCOUNT", "account", r"\b(?:skype|instagram|twitter|facebook|telegram|snapchat|username|user id|login)\s*(?:id|handle|account|name|username)?\s*(?:is)?\s*[:@]\s*@?([A-Za-z0-9][\w.]{3,})", 1, re.I, None),
        ("ID", "long", r"(?<![\d+-])[2-9]\d{3}([ -]?)\d{4}\1\d{4}(?![\d-])", 0, 0, lambda v: verhoeff_holds(_digits(v)) or v[4] == " "),
        ("ID", "lettered", r"(?<![A-Za-z0-9])[A-Z]{3}[ABCFGHJKLPT][A-Z]\d{4}[A-Z](?![A-Za-z0-9])", 0, 0, None),  # Indian PAN
        ("ID", "long", r"(?<![A-Za-z0-9])(?:[EGDSPH]\d{8}|E[A-HJ-NP-Z]\d{7}|1[45]\d{7})(?![A-Za-z0-9])", 0, 0, lambda v: v[0].isalpha()),  # Chinese passport
        ("PHONE", "long", r"(?<![\d.A-Za-z])(?:(?:\+|00)?86[- ]?)?1[3-9]\d[-— ]?(?:\d{4}|\*{4})[-— ]?\d{4}(?!\d)", 0, 0, None),
        ("ACCOUNT", "long", r"(?<![\d.A-Za-z+-])\d(?:[ -]?\d){11,18}(?!\d|[.-]\d)", 0, 0, _card),
        ("PHONE", "long", rf"(?<![\d.A-Za-z-])(?:{_LANDLINE}|{_LANDLINE_GLUED})(?!\d)", 0, 0, None),
        ("PHONE", "long", r"(?<![\d.-])[48]00[- ]?\d{3,4}[- ]?\d{3,4}(?!\d)", 0, 0, lambda v: len(_digits(v)) == 10),
        ("PHONE", "long", r"(?<![\w.])\+\s?\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?:\s?(?:x|ext\.?)\s?\d{1,6})?(?!\d)", 0, 0, None),
        ("PHONE", "long", r"(?<![\d.-])(?:\+?(?:00)?1[-. ]\s?)?(?:\(\d{3}\)\s?-?\d{3}[-. ]?\d{4}|\d{3}-\d{3}-\d{4}|\d{3}\.\d{3}\.\d{4}|\d{3} \d{3} \d{4})(?:\s?(?:x|ext\.?)\s?\d{1,6})?(?![\d-])", 0, re.I, None),
        ("PHONE", "long", r"(?<![\d.-])0\d{2,4}[ -](?:\d{3,4}[ -]?\d{3,6}|\d{2,4}(?:[ -]\d{2,4}){1,3})(?!\d|-\d)", 0, 0, None),
        ("PHONE", "phone", r"(?:电话|手机|联系方式|联系|热线|致电|拨打|座机|传真|打给我?|短信|号码|[Tt][Ee][Ll])(?:[\s:：,，是为号码])*([+(（]?\d[\d ()（）-]{5,14}\d)(?!\d)", 1, 0, None),
        ("PHONE", "phone", r"\b(?:call|phone|telephone|tel|mobile|mob|cell(?:phone| phone| number)?|contact|whats ?app|fax|ring|dial|text|number|desk|office|reach|pager|answering at|messages to|registered)\b(?:[^\d\n.!?+]{0,30}?|\s?:?\s{0,3})(\+?\(?\d(?:[ ().-]{0,2}\d){6,14}(?:x\d{1,6})?)(?![\d%/])", 1, re.I, None),
        ("PHONE", "phone behind", r"(?<![\d.,/])\+?\(?\d(?:[ ().-]{0,2}\d){6,14}(?=[\s,(-]{1,2}(?:office|fax|mobile|cell|home|work|phone|tel)\b)", 0, re.I, None),
        # A number of ten or eleven digits by itself, not one that ends in zeros, measures nothing in a patient.
        ("PHONE", "long", r"(?<![\d.,A-Za-z/-])\d{10,11}(?!\d|[A-Za-z%]|[.,/-]\d)", 0, 0, lambda v: not v.endswith("000")),
        ("ZIP", "zip", r"(?:\b(?:zip|postal|pin|post)\s?(?:code)?(?![A-Za-z])(?:[\s:]|is\b)*([A-Z0-9][A-Z0-9-]{1,6}(?:[ ][A-Z0-9]{2,4})?)|(?:邮编|邮政编码)(?:[\s:：是为])*(\d{6}))(?![A-Za-z0-9])", 1, re.I, lambda v: any(c.isdigit() for c in v)),
    )
)  # fmt: skip

_DATE_ONLY = re.compile(
    r"(?:(?:19|20)\d{2}[ /.-]\d{1,2}[ /.-]\d{1,2}|\d{1,2}[ /.-]\d{1,2}[ /.-](?:19|20)\d{2})"
)
_DIGIT_RUN = re.compile(r"\d(?:[ ().-]{0,2}\d){8,}")
_DIGIT_OR_STAR = re.compile(r"[\d*]")
_DIGIT = re.compile("[0-9]")
#: For each family of literals the forms that need it, by their place in the order of certainty.
_BY_FAMILY = {
    family: tuple(order for order, form in enumerate(_FORMS) if form.needs == family)
    for family in {form.needs for form in _FORMS}
}
#: How much around a number the library for telephone numbers is shown.
_MARGIN = 60
_REGIONS = ("US", "GB", "IN", "AU")


def find_forms(text: str, hits: Hits) -> Iterator[Span]:
    """Every identifier that its form or the word before it gives away, the most certain first."""
    found = [] if _BY_FAMILY.keys().isdisjoint(hits) else list(_find_forms(text, hits))
    yield from found
    if "long" not in hits and "grouped" not in hits:
        return
    places = sorted((*hits.get("long", ()), *hits.get("grouped", ())))
    # The library takes a tenth of a millisecond a number: it is asked about what nothing else has explained.
    for run in _around(_DIGIT_RUN, text, places):
        if any(s.start < run.end() and s.end > run.start() for s in found):
            continue
        low, high = max(0, run.start() - _MARGIN), run.end() + _MARGIN
        for region in _REGIONS:
            numbers = phonenumbers.PhoneNumberMatcher(
                text[low:high], region, leniency=phonenumbers.Leniency.STRICT_GROUPING
            )
            for number in numbers:
                if not _DATE_ONLY.match(number.raw_string):
                    yield Span(low + number.start, low + number.end, "PHONE")


def _find_forms(text: str, hits: Hits) -> Iterator[Span]:
    numbered = _DIGIT.search(text) is not None
    for order in sorted(order for family in hits for order in _BY_FAMILY.get(family, ())):
        label, needs, pattern, group, holds = _FORMS[order]
        if needs == "account" and not numbered:
            continue
        found: Iterable[re.Match[str]]
        if needs == "colons":
            found = pattern.finditer(text)
        elif needs in _ANYWHERE:
            found = _around(pattern, text, hits[needs])
        elif needs == "dotted":
            found = matches(pattern, text, run_starts(text, hits[needs]))
        elif needs == "phone behind":
            found = _before(pattern, text, hits[needs])
        elif needs == "lettered":
            found = matches(pattern, text, (place - 5 for place in hits[needs] if place >= 5))
        else:
            found = matches(pattern, text, hits[needs])
        for match in found:
            start, end = match.span(group if match[group] is not None else match.lastindex or 0)
            if label == "URL":
                end = start + len(text[start:end].rstrip(".,;:!?"))
            value = text[start:end]
            if label == "PHONE" and (_DATE_ONLY.fullmatch(value) or len(_DIGIT_OR_STAR.findall(value)) < 7):
                continue
            if holds is None or holds(value):
                yield Span(start, end, label, _checksum(value) if label == "ID" else "")


def _around(pattern: re.Pattern[str], text: str, places: Iterable[int]) -> Iterator[re.Match[str]]:
    """``pattern.finditer(text)``, looked for around the places of which a match holds one only.

    A match begins at most 100 characters before such a place, and 60 behind it tell whether there is one.
    """
    done = 0
    for place in places:
        while place >= done and (near := pattern.search(text, max(done, place - 100), place + 60)):
            match = pattern.match(text, near.start())  # not cut at the end
            done = match.end() if match else near.end()
            if match:
                yield match
        done = max(done, place + 1)


def _before(pattern: re.Pattern[str], text: str, places: Iterable[int]) -> Iterator[re.Match[str]]:
    """Matches that begin with one of the digits shortly before each of the places."""
    done = 0
    for place in places:
        ahead = text[max(0, place - 3) : place]
        if _DIGIT.search(ahead) and (match := pattern.search(text, max(done, place - 40), place + 10)):
            yield match
            done = match.end()


def _checksum(value: str) -> str:
    """For the audit: whether a Chinese identity number is a true one. It is masked either way."""
    digits = re.sub("[ -]", "", value).upper().replace("Ｘ", "X")
    if not re.fullmatch(r"\d{17}[\dX]", digits, re.ASCII):
        return ""
    return "checksum holds" if id_checksum_holds(digits) else "checksum does not hold"
