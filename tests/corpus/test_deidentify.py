"""What identifies a person goes, what a doctor needs stays. All identifiers here are invented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.deidentify import PLACEHOLDERS, deidentify, deidentify_text
from mulmed.corpus.deidentify.patterns import id_checksum_holds
from mulmed.corpus.deidentify.residue import scrub
from mulmed.corpus.record import Record, Turn

CHINESE = [
    ("我手机13800138000或138-0013-8000、138 0013 8000打给我", "我手机[PHONE]或[PHONE]、[PHONE]打给我"),
    ("电话是010-88880000转8", "电话是[PHONE]"),
    ("拨打0571-88880000咨询", "拨打[PHONE]咨询"),
    ("身份证110101198503127858，男", "身份证[ID]，男"),
    ("证号11010119850312785x没错", "证号[ID]没错"),
    ("老证110101850312785", "老证[ID]"),
    ("微信号xiaohe_26，QQ：345000217", "微信号[ACCOUNT]，QQ：[ACCOUNT]"),
    ("住院号ZY0048213，门诊号：20230518", "住院号[RECORD_NUMBER]，门诊号：[RECORD_NUMBER]"),
    ("出生日期：1958-03-07，1967年4月12日出生", "出生日期：[DATE_OF_BIRTH]，[DATE_OF_BIRTH]出生"),
    ("发到qingfeng.lu@example.com吧", "发到[EMAIL]吧"),
    ("见https://www.example.org/a/1。谢谢", "见[URL]。谢谢"),
    ("谢谢马医生，欧阳主任您好", "谢谢[NAME]医生，[NAME]主任您好"),
    ("我叫李建国，患者姓名：王小梅", "我叫[NAME]，患者姓名：[NAME]"),
    ("陈祖荫，男，44岁，胃痛", "[NAME]，男，44岁，胃痛"),
    ("打我爱人周志强的电话", "打我爱人[NAME]的电话"),
    ("王女士和刘先生", "[NAME]女士和[NAME]先生"),
    ("在云岭市第二人民医院住院", "在[HOSPITAL]住院"),
    ("去北京协和医院看过，又到武汉大学人民医院", "去[HOSPITAL]看过，又到[HOSPITAL]"),
    ("我住在杭州市西湖区柳河路58号3栋2单元402室", "我住在[ADDRESS]"),
]


@pytest.mark.parametrize(("text", "expected"), CHINESE)
def test_chinese_identifiers(text: str, expected: str) -> None:
    assert deidentify_text(text, "zh")[0] == expected


ENGLISH = [
    ("Mail lena.f@example.org or call (614) 555-0163.", "Mail [EMAIL] or call [PHONE]."),
    ("Ring +44 20 7946 0958 or 614.555.0163", "Ring [PHONE] or [PHONE]"),
    ("My mobile number is 9812345670", "My mobile number is [PHONE]"),
    ("see www.example.com/leaflet, please", "see [URL], please"),
    ("SSN 987-65-4325 and MRN: 00482917", "SSN [ID] and MRN: [RECORD_NUMBER]"),
    ("DOB 03/14/1971; she was born on 3 May 2019", "DOB [DATE_OF_BIRTH]; she was born on [DATE_OF_BIRTH]"),
    ("I live at 14 Larkspur Lane, Fernhollow. My knee hurts", "I live at [ADDRESS]. My knee hurts"),
    ("account number 4000 1234 5678 9010", "account number [ACCOUNT]"),
    ("I saw Dr. Rosalind Quenby and Mrs Oldacre", "I saw Dr. [NAME] and Mrs [NAME]"),
    ("I agree with dr. ahmed fawzy, rest", "I agree with dr. [NAME], rest"),
    ("My name is sonu, I am 20", "My name is [NAME], I am 20"),
    ("Drink water. Regards, Dr Anil Kumar MD", "Drink water. Regards, Dr [NAME] MD"),
    ("Take care.\nThanks, Harriet", "Take care.\nThanks, [NAME]"),
    ("Patient name: Tobias Wrenfield\nAge: 40", "Patient name: [NAME]\nAge: 40"),
    ("He is at Saint Orla Hospital now", "He is at [HOSPITAL] now"),
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH)
def test_english_identifiers(text: str, expected: str) -> None:
    assert deidentify_text(text, "en")[0] == expected


CLINICAL = {
    "zh": [
        "血压120/80mmHg，心率72次/分，体温38.5℃，2023年3月开始，已3-5天。",
        "阿莫西林0.5g，每日3次；血小板1500000，尿酸420μmol/L。",
        "紧急情况请拨打120或110，医保电话12393。",
        "谢谢医生，主任医生看过了，对于医生的建议我按照医生说的做。",
        "建议去当地医院、正规医院或县医院，最好去三甲医院检查，哪家医院好？",
        "诊断编码I10，E11.9；CT示右肺结节6mm×5mm，2020-03-15复查。",
        "帕金森病、阿尔茨海默病、克罗恩病、川崎病都要随访。",
        "EGFR 19外显子缺失，HER2阳性，KRAS G12D突变，CD4计数350。",
        "我女儿高烧三十九度，我儿子黄疸高，家人都很担心。",
        "和医生沟通，向医生反映，请与专业医生联系，班主任也知道。",
        "不同地区和医院的费用不同，南京多家医院都可以做。",
        "每天走1万步，走了10000步，1998年做的手术，住院7天花了20000元。",
    ],
    "en": [
        "BP 120/80 mmHg, 0.5 mg twice daily, 38.5 C, HR 72-80, for 3-5 days since March 2023.",
        "Parkinson's, Crohn's, Alzheimer's and Hodgkin lymphoma; Bell's palsy; Down syndrome.",
        "My Dr. prescribed amoxicillin 500 mg; Dr said wait; the doctor I saw agreed. Hello Doctor, I am 25.",
        "ICD-10 E11.9, TP53 R175H, HLA-B27, IL-6 at 12.5 pg/mL, platelets 250000, WBC 11000.",
        "Call 911 or 112 if it gets worse; dial 999 in the UK.",
        "Right eye sph +1.50 cyl -0.50 axis 180; T score -2.5.",
        "I went to the local hospital, the eye clinic and an Urgent Care. The General Hospital was full.",
        "On 2020-03-15 and 12/03/2020 the scan was normal. Take 2 tablets at 8.30 and 20.30.",
        "Thanks. Hope this helps. Regards. Best wishes, take care.",
        "The brand name is Prilosec. My name for it is the grey day.",
        "Cells 10 000 000 per ml; ratio 200 300 400; 1,500,000 IU; NCT trial phase 3.",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, ts in CLINICAL.items() for t in ts])
def test_clinical_text_stays(language: str, text: str) -> None:
    assert deidentify_text(text, language) == (text, [])


def test_identity_number_checksum_is_the_standards_worked_example() -> None:
    # GB 11643-1999, appendix: 11010519491231002X
    assert id_checksum_holds("11010519491231002X")
    assert not id_checksum_holds("110105194912310021")
    _, found = deidentify_text("身份证11010519491231002X，另一个110105194912310021", "zh")
    assert sorted(found) == [("ID", 1, "checksum does not hold"), ("ID", 1, "checksum holds")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, Welcome to Chat Doctor forum. I understand.", "Hello, Welcome. I understand."),
        ("Hi, Welcome to ChatDoctor.  Rest.", "Hi, Welcome.  Rest."),
        ("THANKS FOR CONSULTING WITH ChatDoctorI UNDERSTAND", "THANKS FOR CONSULTING. I UNDERSTAND"),
        ("Thanks for using Chat Doctor. Rest.", "Thanks. Rest."),
        ("Rest well. Best wishes, Chat Doctor.", "Rest well. Best wishes, [NAME]"),
        (
            "Let her play with other chil ChatDoctor.  Take care.",
            "Let her play with other chil...  Take care.",
        ),
        ("my link: http://bit.ly/ Chat Doctor.", "my link: [URL]."),
        ("A chat with a doctor online helps.", "A chat with a doctor online helps."),
    ],
)
def test_scrub_residue(text: str, expected: str) -> None:
    assert scrub(text)[0] == expected


@given(st.text(alphabet="Chat DoctorWelcometo.,I\n ", max_size=60), st.sampled_from(["en", "zh"]))
def test_no_chat_doctor_survives_and_masking_is_idempotent(text: str, language: str) -> None:
    once = deidentify_text(text + " Chat Doctor forum. ChatDoctor", language)[0]
    assert "chatdoctor" not in once.replace(" ", "").lower()
    assert deidentify_text(once, language)[0] == once


@given(
    st.lists(st.sampled_from([t for t, _ in CHINESE + ENGLISH]), max_size=4), st.sampled_from(["en", "zh"])
)
def test_masked_text_is_not_masked_again(texts: list[str], language: str) -> None:
    once = deidentify_text("\n".join(texts), language)[0]
    assert deidentify_text(once, language) == (once, [])


def test_audit_counts_spans_by_placeholder_in_every_text_of_a_record() -> None:
    record = Record(
        id="s:0", task="qa", language="zh", source="s", file="f", row=0,
        turns=(Turn("user", "我叫李建国，电话13800138000"), Turn("assistant", "李大夫：请打13900139000")),
        context="微信号abc_12345", baselines={"chatgpt": "谢谢王医生"},
    )  # fmt: skip
    outcome = deidentify(to_batch([record]))
    (after,) = from_batch(outcome.batch)
    assert after.turns == (
        Turn("user", "我叫[NAME]，电话[PHONE]"),
        Turn("assistant", "[NAME]大夫：请打[PHONE]"),
    )
    assert (after.context, after.baselines["chatgpt"]) == ("微信号[ACCOUNT]", "谢谢[NAME]医生")
    assert {a["rule"]: a["count"] for a in outcome.audit.to_dicts()} == {"NAME": 3, "PHONE": 2, "ACCOUNT": 1}
    assert {a["rule"] for a in outcome.audit.to_dicts()} <= set(PLACEHOLDERS)
