"""Labelled texts to measure de-identification on: made with Faker, or read from published sets.

Faker's people have nothing to do with the rules' own lists of names: those come from the United States census and
from us (:mod:`.lexicon`). The sentences around them are ours, so they flatter the rules by cue; the published sets do not.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

#: Days up to here are drawn: up to today, a set would be another one tomorrow.
_LAST_DAY = datetime(2025, 1, 1)


@dataclass(frozen=True, slots=True)
class Label:
    """Characters ``start`` to ``end`` are of a kind (see :data:`mulmed.corpus.deidentify.KINDS`)."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Example:
    """A text with everything in it that identifies someone. ``source`` names the set it belongs to."""

    source: str
    text: str
    labels: tuple[Label, ...]
    language: str


def half(example: Example) -> Literal["tune", "report"]:
    """Which half a text belongs to, by its hash: rules are made looking at one, measured on the other."""
    return "tune" if hashlib.sha256(example.text.encode()).digest()[0] % 2 == 0 else "report"


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


def made_up(
    locale: Literal["zh_CN", "en_US", "en_IN"], count: int, seed: int = 0, carriers: tuple[str, ...] = ()
) -> Iterator[Example]:
    """``count`` sentences with identifiers of Faker's (a development dependency) in a locale.

    With ``carriers`` each stands in the middle of one of these texts, between two of its sentences.
    """
    from faker import Faker

    fake: Any = Faker(locale)
    fake.seed_instance(seed)
    chance = random.Random(seed)
    chinese = locale == "zh_CN"
    templates = _ZH if chinese else _IN if locale == "en_IN" else _EN
    for index in range(count):
        text, labels = "", []
        template = templates[index % len(templates)]
        if carriers:
            before, after = _split(chance.choice(carriers), chance)
            text = before
        last = 0
        body = len(text)
        for slot in _SLOT.finditer(template):
            text += template[last : slot.start()]
            value = _value(fake, chance, slot[1], chinese)
            kind = _KINDS.get(slot[1], slot[1])
            if kind == "DATE" and template[: slot.start()].endswith(("出生日期", "DOB: ")):
                kind = "DATE_OF_BIRTH"
            labels.append(Label(len(text), len(text) + len(value), kind))
            text += value
            last = slot.end()
        text += template[last:]
        if carriers:
            text += after
        assert body <= len(text)
        yield Example(
            f"faker {locale}" + (" in consultations" if carriers else ""),
            text,
            tuple(labels),
            "zh" if chinese else "en",
        )


def _split(text: str, chance: random.Random) -> tuple[str, str]:
    ends = [m.end() for m in re.finditer(r"[。！？]|[.!?]\s|\n", text)] or [len(text)]
    at = chance.choice(ends)
    return text[:at].rstrip(" ") + (" " if text.isascii() else ""), ("\n" if text.isascii() else "") + text[
        at:
    ]


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
        case "ID" | "SSN":
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


_PII_KINDS = {
    "PERSON": "NAME", "PHONE_NUMBER": "PHONE", "EMAIL_ADDRESS": "EMAIL", "DOMAIN_NAME": "URL", "CREDIT_CARD": "ACCOUNT", "IBAN_CODE": "ACCOUNT",
    "US_SSN": "ID", "US_DRIVER_LICENSE": "ID", "IP_ADDRESS": "IP", "STREET_ADDRESS": "ADDRESS", "ZIP_CODE": "ZIP",
}  # fmt: skip


def general_english(data: Path) -> Iterator[Example]:
    """Presidio-research's synthetic English sentences with spans (``pii_en/synth_dataset_v2.json.gz``)."""
    with gzip.open(data / "pii_en" / "synth_dataset_v2.json.gz", "rt", encoding="utf-8") as lines:
        for row in json.load(lines):
            labels = tuple(
                Label(s["start_position"], s["end_position"], _PII_KINDS[s["entity_type"]])
                for s in row["spans"]
                if s["entity_type"] in _PII_KINDS
            )
            yield Example("pii_en", row["full_text"], labels, "en")


def visits(data: Path) -> Iterator[Example]:
    """ACI-Bench's dialogues of visits; every mention of the patient's and the doctor's names is labelled.

    A name is what the metadata give, as whole words in any case; the speech is transcribed in lower case.
    """
    with gzip.open(data / "dialogue_en" / "aci-bench-train-metadata.csv.gz", "rt", encoding="utf-8") as rows:
        people = {r["encounter_id"]: r for r in csv.DictReader(rows)}
    with gzip.open(data / "dialogue_en" / "aci-bench-train.csv.gz", "rt", encoding="utf-8") as rows:
        for row in csv.DictReader(io.StringIO(rows.read())):
            person = people[row["encounter_id"]]
            names = [
                person[k] for k in ("patient_firstname", "patient_familyname", "doctor_name") if person[k]
            ]
            words = sorted({w for n in names for w in re.findall(r"[A-Za-z]{3,}", n)})
            if not words:
                continue
            pattern = re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
            text = row["dialogue"]
            yield Example(
                "aci-bench", text, tuple(Label(*m.span(), "NAME") for m in pattern.finditer(text)), "en"
            )
