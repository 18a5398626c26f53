"""Departments and wards of a hospital that is named beside them.

A department by itself is advice ("see a dermatologist", 建议到心内科就诊) and stays. Beside a hospital's name it is where
somebody was treated or works, often with a number of the bed, and goes with the hospital.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from mulmed.corpus.deidentify.spans import Span

_BRANCH_ZH = (
    "心血管|心脏大血管|心脏|心胸|心|呼吸与?危重症(?:医学)?|呼吸|消化|神经|肾脏|肾病|肾|血液|内分泌|代谢|风湿免疫|风湿|免疫|感染性?疾病|感染|传染病?|肿瘤|放化疗|化疗|放疗|介入"
    "|普通|普|骨|创伤|脊柱|关节|手足|手|胸|泌尿|肝胆胰?|肝病|肝|胃肠|胰腺|肛肠|甲状腺|乳腺|甲乳|血管|烧伤|整形|美容|疼痛|疼痛医学|麻醉|妇产|妇|产|计划生育|生殖(?:医学)?|男|小儿|新生儿|儿"
    "|眼|耳鼻咽?喉(?:头颈)?|口腔|牙|皮肤性病|皮肤|性病|中西医结合|中医|针灸推拿|针灸|推拿|理疗|康复|急诊|急救|重症医学|重症|老年病?|全科医学|全|精神|心理|睡眠"
    "|放射|影像|超声|检验|病理|核医学|输血|药剂|营养|干部|特需|综合|发热|肠道|体检"
)
_DEPARTMENT_ZH = rf"(?:(?:{_BRANCH_ZH}){{1,3}}[内外]?科(?:门诊|ICU)?|[内外]科(?:门诊)?|急诊|ICU|NICU|CCU|(?:{_BRANCH_ZH}){{0,2}}监护[室病]房?|(?:{_BRANCH_ZH}){{1,2}}(?:门诊|病房|中心|室))"
_WARD_ZH = r"(?:第?[一二三四五六七八九十\d]{1,3}(?:病区|区|科|病房|楼|室|组|诊室))"
_BED_ZH = r"(?:\s?(?:加)?\d{1,3}(?:号)?床)"
_BEHIND_ZH = re.compile(
    rf"(?:\s*[-—－·,，/、|]?\s*|\s*[,，;；]?\s*(?:就诊)?科[室别]\s*[:：]?\s*|的)"
    rf"((?:{_DEPARTMENT_ZH}{_WARD_ZH}?|{_WARD_ZH}){_BED_ZH}?|(?<=院){_BED_ZH})"
)

_BRANCH_EN = (
    r"(?:(?!The |This |Our |My |Their )[A-Z][\w-]*|emergency|internal|general|intensive|critical|cardiac|cardiology|neurology|oncology|surgical|surgery|medicine|medical|orthop\w+"
    r"|pediatrics?|paediatrics?|gyn\w+|obstetrics|dermatology|psychiatr\w+|radiology|urology|nephrology|h\w*ematology|ophthalmology|gastroenterology"
    r"|endocrinology|rheumatology|pulmonology|maternity|outpatient|infectious|diseases?|care|plastic|ENT)"
)
_OFFICE_EN = r"(?:[Dd]epartment|[Dd]ept\.?|[Dd]ivision)"
_OF_EN = rf"{_OFFICE_EN} of (?:the )?{_BRANCH_EN}(?:(?:,? (?:and|&) |,? ){_BRANCH_EN}){{0,3}}"
_WARD_EN = r"(?:[Ww]ard|[Rr]oom|[Bb]ed|[Uu]nit) (?:No\.? ?)?(?:\d{1,4}[A-Za-z]?|[A-Z]\d{0,3})\b"
_PLACE_EN = r"(?:[Dd]epartment|[Dd]ept\.?|[Ww]ard|[Uu]nit|ICU)\b"
_ANY_EN = r"(?!(?:an?|the|th(?:at|is|ose|ese)|my|our|his|her|their|your|its|same|whose|which|each|every|no|any|one|other|another) )\b[a-z]+"
_UNIT_EN = rf"{_BRANCH_EN}(?: {_BRANCH_EN}){{0,3}} {_PLACE_EN}|{_ANY_EN} {_PLACE_EN}"
_BEHIND_EN = re.compile(rf"(?:'s)?(?:,| -|,? in| \()?\s(?:the )?({_OF_EN}|{_WARD_EN}|{_UNIT_EN})")
_BEFORE_EN = re.compile(rf"({_OF_EN}|{_WARD_EN}|{_UNIT_EN})(?:,| -| at| in| of|,? )\s?(?:the )?$")
_REACH_EN = 90


def departments_zh(text: str, hospital: Span) -> Iterator[Span]:
    """The department, ward and bed behind a Chinese hospital's name, if there is one."""
    if behind := _BEHIND_ZH.match(text, hospital.end):
        yield Span(*behind.span(1), "DEPARTMENT")


def departments_en(text: str, hospital: Span) -> Iterator[Span]:
    """The department or ward before and behind an English hospital's name, if there is one."""
    if behind := _BEHIND_EN.match(text, hospital.end):
        yield Span(*behind.span(1), "DEPARTMENT")
    start = max(0, hospital.start - _REACH_EN)
    for before in _BEFORE_EN.finditer(text, start, hospital.start):
        yield Span(*before.span(1), "DEPARTMENT")
