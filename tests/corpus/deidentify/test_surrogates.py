"""Made-up values: one for one, of the same form, nobody's, and left alone the second time. All people are invented."""

from __future__ import annotations

import datetime
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus.deidentify import deidentify_record
from mulmed.corpus.deidentify.checks import id_checksum_holds, luhn_holds
from mulmed.corpus.deidentify.names_zh import SURNAMES
from mulmed.corpus.deidentify.surrogates import Surrogates, is_surrogate
from mulmed.corpus.record import Record, Turn
from mulmed.recipe import Deidentify

CONSISTENT = Deidentify(surrogates="consistent")


def record(*texts: str, language: str = "zh", id: str = "s:0") -> Record:
    turns = tuple(Turn("user" if i % 2 == 0 else "assistant", t) for i, t in enumerate(texts))
    return Record(id=id, task="dialogue", language=language, turns=turns, source="s", file="f", row=0)


def cleaned(given: Record, key: bytes = b"key") -> tuple[str, ...]:
    after = deidentify_record(given, CONSISTENT, key).record
    assert after is not None
    return tuple(t.text for t in after.turns)


def test_a_doctor_named_in_full_and_by_surname_stays_one_family_and_two_stay_two() -> None:
    full, short, other = cleaned(record("张建平医生您好", "我问了张医生", "李建平医生也在"))
    first, second = full.removesuffix("医生您好"), short.removeprefix("我问了").removesuffix("医生")
    third = other.removesuffix("医生也在")
    assert first[0] == second
    assert first[1:] == third[1:]
    assert third[0] != second
    assert len(first) == 3
    assert not {first[0], third[0]} & SURNAMES


def test_english_names_keep_their_words_apart_and_their_case() -> None:
    one, two, three = cleaned(
        record("Dr. Anil Kumar wrote", "Thank you Dr. Kumar", "Dr. SUNIL KUMAR wrote", language="en")
    )
    given_name, family = re.fullmatch(r"Dr\. (\w+) (\w+) wrote", one).groups()  # type: ignore[union-attr]
    assert two == f"Thank you Dr. {family}"
    brother, same = re.fullmatch(r"Dr\. (\w+) (\w+) wrote", three).groups()  # type: ignore[union-attr]
    assert same == family.upper()
    assert brother.lower() != given_name.lower()
    assert not re.search("Kumar|Anil", one + two)


def test_key_and_record_decide() -> None:
    text = "我叫王小梅，电话13800138000"
    assert cleaned(record(text)) == cleaned(record(text))
    assert cleaned(record(text)) != cleaned(record(text), b"other key")
    assert cleaned(record(text)) != cleaned(record(text, id="s:1"))


VALUES = {
    "PHONE": [
        "13800138000",
        "+86 138-0013-8000",
        "(614) 555-7163",
        "010-88880000",
        "+44 20 7946 0958",
        "614.555.9163",
    ],
    "ID": ["11010519491231002X", "110101850312785", "987-65-4325", "E12345678", "4821 7730 1958"],
    "ACCOUNT": ["4012888888881881", "GB82WEST12345698765432", "345000217", "wx_abc99"],
    "RECORD_NUMBER": ["ZY0048213", "00482917"],
    "PLATE": ["京A12345", "ABC-1234"],
    "DEVICE": ["AX-99317"],
    "LICENSE": ["MD-123456"],
}


@pytest.mark.parametrize(("kind", "value"), [(k, v) for k, vs in VALUES.items() for v in vs])
@given(key=st.binary(min_size=1, max_size=64), salt=st.text(max_size=5))
@settings(max_examples=20)
def test_numbers_keep_their_form_and_are_left_alone_the_second_time(
    kind: str, value: str, key: bytes, salt: str
) -> None:
    made_up = Surrogates(key, salt, [value])(kind, value)
    assert made_up != value
    assert [c for c in made_up if not c.isalnum()] == [c for c in value if not c.isalnum()]
    assert len(made_up) == len(value)
    assert is_surrogate(kind, made_up)
    assert not is_surrogate(kind, value)
    assert Surrogates(b"another", "salt", [made_up])(kind, made_up) == made_up
    bare = "".join(c for c in made_up if c.isalnum())
    if kind == "ID" and len(bare) == 18:
        assert bare.startswith("99")
        assert not id_checksum_holds(bare)
    if value == "4012888888881881":
        assert not bare.isdigit() or not luhn_holds(bare)


@given(
    st.lists(st.integers(0, 10**8), min_size=2, max_size=60, unique=True), st.binary(min_size=1, max_size=16)
)
@settings(max_examples=30)
def test_no_two_people_are_merged(numbers: list[int], key: bytes) -> None:
    # More family names than there are made-up characters: they are put together. One may be a made-up one by chance
    # (it stays as it is): being in the record's texts, it is given to nobody else.
    families = [chr(0x4E00 + n % 20000) for n in numbers]
    words = [f"Name{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676 % 26)}" for n in numbers]
    phones = [f"138{n:08d}"[:11] for n in numbers]
    surrogates = Surrogates(key, "s:0", [*families, *words, *phones])
    for kind, values in (("PHONE", phones), ("NAME", families), ("NAME", words)):
        assert len({surrogates(kind, value) for value in values}) == len(set(values))


def test_days_move_together() -> None:
    surrogates = Surrogates(b"key", "s:0", [])
    first, second = surrogates("DATE", "2020-02-27"), surrogates("DATE", "2020年3月1日")
    year, month, day = (int(x) for x in first.split("-"))
    later = [int(x) for x in re.findall(r"\d+", second)]
    assert (datetime.date(*later) - datetime.date(year, month, day)).days == 3  # 2020 is a leap year
    assert 2100 < year < 2300
    assert surrogates("DATE", first) == first
    assert surrogates("DATE", "3月15日") == "[DATE]"


@given(
    st.lists(
        st.sampled_from(
            ["我叫李建国，电话13800138000", "欧阳主任您好", "身份证11010519491231002X", "微信号xiaohe_26，QQ：345000217",
             "在云岭市第二人民医院住院", "我住在杭州市西湖区柳河路58号3栋", "邮箱a@b.org，见https://www.example.org/a/1", "2020-03-15入院，93岁"]
        ), min_size=1, max_size=5,
    )
)  # fmt: skip
def test_a_second_pass_changes_nothing(texts: list[str]) -> None:
    once = cleaned(record(*texts))
    assert cleaned(record(*once), b"key") == once
    for secret in (
        "李建国",
        "欧阳",
        "13800138000",
        "11010519491231002X",
        "xiaohe_26",
        "345000217",
        "云岭",
        "柳河",
        "a@b.org",
        "example.org",
    ):
        assert not any(secret in text for text in once)
