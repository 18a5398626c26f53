"""Labelled sentences with people, numbers, addresses and hospitals that Faker and we make up.

Faker's people have nothing to do with the rules' own lists of names: those come from the United States census and
from us (:mod:`.lexicon`). Sentences of ours around them flatter the rules by cue, so the same values are put into
real texts as well, behind a word that tells nothing, or between two Chinese characters.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

from mulmed.corpus.deidentify.labelled import Example, Label

#: Days up to here are drawn: up to today, a set would be another one tomorrow.
_LAST_DAY = datetime(2025, 1, 1)

_ZH = (
    "医生您好，我叫{NAME}，电话{PHONE}谢谢。",
    "患者{NAME}，女，65岁，高血压十年，身份证{ID}，请看一下。",
    "住院号{RECORD}患者昨晚发热，家属电话{PHONE}请尽快联系。",
    "谢谢{SURNAME}医生，按您说的吃了一周，好多了。",
    "上次是{NAME}主任给我做的手术，现在伤口还有点疼。",
    "我爱人{NAME}最近总是头晕，血压150/95。",
    "姓名：{NAME}，门诊号：{RECORD}，身份证号：{ID}。",
    "请加我微信{WECHAT}或者打{PHONE}，把片子发给您。",
    "我的QQ是{QQ}，邮箱{EMAIL}，麻烦发一份报告。",
    "我是{NAME}，上个月在您那里看过胃病。",
    "昨天{NAME}医生说要复查，我想问多久合适？",
    "{NAME}，男，48岁，咳嗽两周。",
    "银行卡{CARD}已经缴费，护照{PASSPORT}也带了。",
    "车牌{PLATE}停在急诊门口，请通知{NAME}。",
    "我妈妈{NAME}今年72岁，糖尿病，手机号是{PHONE}。",
    "您好，{NAME}的检查结果出来了，甲状腺结节4a类。",
    "病人{NAME}的血糖控制得不好，需要调整胰岛素。",
    "我和{NAME}都发烧了，他38.5度，我37.8度。",
    "家住{ADDRESS}，来院不方便，能网上开药吗？",
    "{SURNAME}大夫：孩子吃了布洛芬还是烧，怎么办？",
    "患者姓名{NAME}联系电话{PHONE}出生日期{DATE}。",
    "入院日期{DATE}，主治医师：{NAME}，请核对。",
    "这药是{NAME}推荐我吃的，说对帕金森有用。",
    "后来{NAME}陪我去做了胃镜，医生说是浅表性胃炎。",
)
_EN = (
    "Hello doctor, my name is {NAME} and I have had a cough for two weeks.",
    "Hi {FIRST}, thanks for your question. Please take ibuprofen 400 mg.",
    "I saw Dr. {NAME} last week and he suspects Crohn's disease.",
    "Patient name: {NAME}\nDOB: {DATE}\nMRN: {RECORD}",
    "You can reach me on {PHONE} or at {EMAIL}, please.",
    "My husband {NAME} is 54 and has Parkinson's disease.",
    "{NAME} was started on Zoloft 50 mg and feels better.",
    "Regards, Dr {NAME}",
    "Take care and follow up in two weeks.\nThanks,\n{NAME}",
    "My SSN is {SSN} and my card number is {CARD}.",
    "We discussed the results with {NAME}, who agreed to the biopsy.",
    "{FIRST} has had a Foley catheter since surgery.",
    "I live at {ADDRESS} and cannot travel.",
    "Call {PHONE} if the fever comes back.",
    "The results of {NAME} came back normal.",
    "My daughter {FIRST} has a rash after amoxicillin.",
    "Dear {FIRST}, your thyroid levels are fine.",
    "I am {NAME} from the clinic downstairs, 45 years old.",
    "She was referred by {NAME} for a Babinski sign.",
    "So {FIRST}, how is the knee today?",
    "Our server logged {IP} at https://{DOMAIN}/visit.",
    "Mrs. {LAST} was admitted on {DATE} with chest pain.",
    "Please ask {NAME} about the dose of metformin.",
    "{FIRST} is a 62-year-old male with type 2 diabetes.",
)
_IN = (*_EN, "Aadhaar {AADHAAR}, PAN {PAN}, mobile {PHONE}.", "My number is {PHONE}, ask for {NAME}.")
_SLOT = re.compile(r"\{([A-Z]+)\}")
_KINDS = {
    "SURNAME": "NAME", "FIRST": "NAME", "LAST": "NAME", "RECORD": "RECORD_NUMBER", "WECHAT": "ACCOUNT", "QQ": "ACCOUNT", "CARD": "ACCOUNT",
    "PASSPORT": "ID", "SSN": "ID", "AADHAAR": "ID", "PAN": "ID", "DOMAIN": "URL",
}  # fmt: skip


#: Behind the end of a sentence in a real text. What is nothing without a word for it (住院号, MRN) keeps that word.
_BARE_ZH = (
    "另外{PHONE}。", "还有{ID}。", "后来{NAME}陪我去的。", "另外{EMAIL}。", "还有{NAME}也不太舒服。", "另外{CARD}。", "当时{NAME}在旁边。", "还有{PASSPORT}。",
    "另外{NAME}医生也看过。", "还有{PLATE}。", "听{NAME}讲会好的。", "另外{DATE}。", "还有{SURNAME}医生也这样讲。", "住院号{RECORD}。", "微信{WECHAT}。", "QQ{QQ}。",
    "另外{ADDRESS}。", "我和{NAME}商量过。", "这些{NAME}都知道。", "请转告{NAME}。",
)  # fmt: skip
#: Between two Chinese characters of a real text, no space on either side.
_TOUCHING = ("{PHONE}", "{ID}", "{EMAIL}", "{PLATE}", "{PASSPORT}", "{CARD}", "{DATE}")
_BARE_EN = (
    "Also {PHONE}.", "And {SSN}.", "We asked {NAME} as well.", "Also {EMAIL}.", "And {NAME} said the same.", "Also {CARD}.", "{NAME} came along.", "And {IP}.",
    "Also Dr. {NAME} saw this.", "And {DOMAIN}.", "Also {DATE}.", "Then {FIRST} was there.", "MRN {RECORD}.", "And {ADDRESS}.", "So {NAME} agreed.", "Mrs. {LAST} knows.",
)  # fmt: skip
_BARE_IN = (*_BARE_EN, "Also {AADHAAR}.", "And {PAN}.")
_HOSPITAL_ZH = (
    "上周在{HOSPITAL}做的CT，说是肺结节。", "孩子出生在{HOSPITAL}，足月顺产。", "我想挂{HOSPITAL}的{DEPARTMENT}。", "去年去{HOSPITAL}看过，开了二甲双胍。", "患者于{HOSPITAL}行阑尾切除术。",
    "{HOSPITAL}的医生建议复查甲功。", "转到{HOSPITAL}以后退烧了。", "医院：{HOSPITAL}，科室：{DEPARTMENT}。", "听说{HOSPITAL}不错，请问怎么预约？", "由{HOSPITAL}转入我科。", "我妈妈在{HOSPITAL}{DEPARTMENT}住院。", "{HOSPITAL} {DEPARTMENT} 的医生您好。",
    "建议去当地三甲医院检查，普通门诊部也可以。", "县医院说要去上级医院，社区卫生服务中心可以打针。", "妇幼保健院和儿童医院哪个好？", "建议到消化内科就诊，必要时看急诊科。", "去了好几家医院，这家中医院也看过。",
)  # fmt: skip
_HOSPITAL_EN = (
    "I was admitted to {HOSPITAL} last week with chest pain.", "She works as a nurse at {HOSPITAL}.", "{HOSPITAL} did the MRI.", "I saw a resident of the {DEPARTMENT} at {HOSPITAL}.", "He lies in {HOSPITAL}, {DEPARTMENT}.", "He was moved from {HOSPITAL} on Monday.",
    "My son was born at {HOSPITAL} in March.", "The biopsy was read at {HOSPITAL}, they said benign.", "Follow up at {HOSPITAL} in two weeks.", "I called {HOSPITAL} and waited.",
    "The local General Hospital has a Pain Clinic.", "Please go to the nearest Emergency Clinic or a Children's Hospital.", "A Medical Center near you may help; the clinic is open.",
    "He stayed in hospital, then a nursing home.", "Ask for an appointment in the dermatology department.",
)  # fmt: skip
_KIND_ZH = (
    "第一人民医院", "第三人民医院", "人民医院", "中心医院", "中医院", "妇幼保健院", "儿童医院", "口腔医院", "肿瘤医院", "传染病医院", "精神卫生中心", "中西医结合医院",
)  # fmt: skip
_KIND_EN = (
    "General Hospital", "Medical Center", "Medical Centre", "Clinic", "Memorial Hospital", "Regional Medical Center", "Community Hospital", "Children's Hospital", "Nursing Home",
    "Infirmary", "Eye Institute", "Cancer Center", "Health System", "Rehabilitation Center", "Surgery Center", "Health Centre", "Hospice", "Healthcare", "Family Practice",
)  # fmt: skip
_DEPARTMENT_ZH = (
    "消化科", "心内科", "肝胆外科", "骨科二病区", "妇产科", "儿科", "神经外科ICU", "呼吸与危重症医学科", "生殖医学科", "特需门诊", "内科三病区12床", "血管外科", "风湿科", "急诊",
    "胸外科5床", "肾内科", "甲乳外科", "老年科", "中医科", "皮肤科门诊",
)  # fmt: skip
_DEPARTMENT_EN = (
    "Department of Cardiology", "cardiology department", "Dept. of Internal Medicine", "intensive care unit", "maternity ward", "Department of Obstetrics and Gynaecology",
    "surgical ward", "Emergency Department", "Division of Infectious Diseases", "Ward 7B", "stroke unit", "Department of Ear, Nose and Throat", "oncology unit", "Room 214",
)  # fmt: skip
_LUCKY = ("康宁", "仁和", "同心", "德济", "博康", "惠民", "安泰", "瑞康")


def made_up(
    locale: Literal["zh_CN", "en_US", "en_IN"], count: int, seed: int = 0, carriers: Sequence[str] = ()
) -> Iterator[Example]:
    """``count`` sentences with identifiers of Faker's (a development dependency) in a locale.

    With ``carriers``, texts that others wrote, the values stand in these: behind the end of a sentence with no word that
    announces them, and every third time in Chinese right between two characters. These examples are not complete.
    """
    chinese = locale == "zh_CN"
    templates = _ZH if chinese else _IN if locale == "en_IN" else _EN
    draw = _Drawn(locale, seed)
    if not carriers:
        for index in range(count):
            text, labels = _filled(templates[index % len(templates)], draw)
            yield Example(f"faker {locale}", text, labels, "zh" if chinese else "en")
        return
    bare = _BARE_ZH if chinese else _BARE_IN if locale == "en_IN" else _BARE_EN
    for index in range(count):
        carrier = draw.chance.choice(carriers)
        inside = [m.end() for m in re.finditer("[\u4e00-\u9fff](?=[\u4e00-\u9fff])", carrier)]
        touching = chinese and index % 3 == 0 and inside
        template = _TOUCHING[index // 3 % len(_TOUCHING)] if touching else bare[index % len(bare)]
        said, labels = _filled(template, draw)
        ends = inside if touching else [m.end() for m in re.finditer(r"[。！？]|[.!?](?=\s|$)", carrier)]
        at = draw.chance.choice(ends or [len(carrier)])
        space = "" if chinese else " "
        labels = tuple(Label(at + len(space) + x.start, at + len(space) + x.end, x.kind) for x in labels)
        text = carrier[:at] + space + said + carrier[at:]
        yield Example(
            f"faker {locale} in consultations", text, labels, "zh" if chinese else "en", complete=False
        )


def hospitals(language: Literal["zh", "en"], count: int, seed: int = 0) -> Iterator[Example]:
    """``count`` sentences with hospitals, clinics and homes that do not exist, or with those that are none in particular."""
    draw = _Drawn("zh_CN" if language == "zh" else "en_US", seed)
    templates = _HOSPITAL_ZH if language == "zh" else _HOSPITAL_EN
    for index in range(count):
        text, labels = _filled(templates[index % len(templates)], draw)
        yield Example(f"hospitals {language}", text, labels, language)


class _Drawn:
    """What values are drawn from: Faker's generator, and one of our own."""

    def __init__(self, locale: str, seed: int) -> None:
        from faker import Faker

        self.fake: Any = Faker(locale)
        self.fake.seed_instance(seed)
        self.chance = random.Random(seed)
        self.chinese = locale == "zh_CN"


def _filled(template: str, draw: _Drawn) -> tuple[str, tuple[Label, ...]]:
    """The template with a value in each place, and where they stand."""
    text, labels, last = "", [], 0
    for slot in _SLOT.finditer(template):
        text += template[last : slot.start()]
        match slot[1]:
            case "HOSPITAL":
                value = _hospital(draw)
            case "DEPARTMENT":
                value = draw.chance.choice(_DEPARTMENT_ZH if draw.chinese else _DEPARTMENT_EN)
            case _:
                value = _value(draw.fake, draw.chance, slot[1], draw.chinese)
        kind = _KINDS.get(slot[1], slot[1])
        if kind == "DATE" and template[: slot.start()].endswith(("出生日期", "DOB: ")):
            kind = "DATE_OF_BIRTH"
        labels.append(Label(len(text), len(text) + len(value), kind))
        text += value
        last = slot.end()
    return text + template[last:], tuple(labels)


def _hospital(draw: _Drawn) -> str:
    fake, choice = draw.fake, draw.chance.choice
    if draw.chinese:
        city, district = str(fake.city_name()), str(fake.district())
        return choice(
            (
                f"{city}市{choice(_KIND_ZH)}", f"{district}区{choice(_KIND_ZH)}", f"{city}{choice(_KIND_ZH)}", f"{district}县{choice(_KIND_ZH)}",
                f"{fake.province()}{choice(_KIND_ZH)}", f"{city}医科大学附属第{choice('一二三')}医院", f"{city}大学{choice(('', '附属'))}{choice(_LUCKY)}医院",
                f"{district}镇{choice(('中心', ''))}卫生院", f"{city}{choice(_LUCKY)}{choice(('', '骨科', '眼科', '妇产'))}医院", f"{fake.name()}{choice(('中医', '口腔', ''))}诊所",
                f"{district}街道社区卫生服务中心", f"{city}{choice(_LUCKY)}门诊部",
            )
        )  # fmt: skip
    family, town, kind = str(fake.last_name()), str(fake.city()), choice(_KIND_EN)
    return choice(
        (
            f"{family} {kind}", f"{town} {kind}", f"{fake.state()} {kind}", f"St. {fake.first_name()}'s Hospital", f"St {fake.first_name()} {kind}", f"{family} and {fake.last_name()} Clinic",
            f"University of {fake.state()} Medical Center", f"{town} University Hospital", f"Royal {town} Hospital", f"Hospital of Saint {fake.first_name()}", f"Dr. {family}'s Clinic",
        )
    )  # fmt: skip


def _identity_number(fake: Any, chance: random.Random) -> str:
    """A Chinese citizen's number (GB 11643-1999) of somebody of 18 to 90 years on the last day that is drawn.

    Only the place is Faker's: its own days of birth are counted back from today.
    """
    born = _LAST_DAY - timedelta(days=chance.randrange(18 * 365, 90 * 365))
    body = f"{str(fake.ssn())[:6]}{born:%Y%m%d}{chance.randrange(1000):03d}"
    check = (1 - 2 * int(body, 13)) % 11  # ISO 7064, MOD 11-2
    return body + ("X" if check == 10 else str(check))


def _value(fake: Any, chance: random.Random, slot: str, chinese: bool) -> str:
    def digits(n: int) -> str:
        return "".join(chance.choice("0123456789") for _ in range(n))

    match slot:
        case "NAME":
            return str(fake.name() if chinese else f"{fake.first_name()} {fake.last_name()}")
        case "SURNAME" | "LAST":
            return str(fake.last_name())
        case "FIRST":
            return str(fake.first_name())
        case "PHONE":
            return str(fake.phone_number())
        case "ID":
            return _identity_number(fake, chance)
        case "SSN":
            return str(fake.ssn())
        case "AADHAAR":
            return f"{chance.choice('23456789')}{digits(3)} {digits(4)} {digits(4)}"
        case "PAN":
            return f"{''.join(chance.choice('ABCDEFGHIJKLMNOPQRSTUVWXYZ') for _ in range(3))}P{chance.choice('KSRMG')}{digits(4)}{chance.choice('ABCDEFGH')}"
        case "RECORD":
            return chance.choice(("", "ZY", "M", "0")) + digits(chance.choice((6, 7, 8)))
        case "WECHAT":
            return chance.choice(("wx_", "li", "zhang.", "a")) + digits(6)
        case "QQ":
            return chance.choice("123456789") + digits(chance.choice((7, 8, 9)))
        case "CARD":
            return str(fake.credit_card_number(card_type="visa"))
        case "PASSPORT":
            return "E" + digits(8)
        case "PLATE":
            return chance.choice("京沪粤川鲁") + chance.choice("ABCDEFG") + digits(5)
        case "EMAIL":
            return str(fake.email())
        case "DOMAIN":
            return str(fake.domain_name())
        case "IP":
            return str(fake.ipv4_public())
        case "ADDRESS":
            return str(fake.address().split()[0]) if chinese else str(fake.street_address())
        case "DATE":
            day = fake.date_object(end_datetime=_LAST_DAY)
            if chinese:
                return chance.choice((f"{day:%Y-%m-%d}", f"{day.year}年{day.month}月{day.day}日"))
            return chance.choice(
                (
                    f"{day:%Y-%m-%d}",
                    f"{day:%m/%d/%Y}",
                    f"{day.day} {day:%B} {day.year}",
                    f"{day:%B} {day.day}, {day.year}",
                )
            )
    raise AssertionError(slot)
