"""The notice before the answer, its numbers, and what stands with every answer."""

from __future__ import annotations

import pytest

from mulmed.errors import MulmedError
from mulmed.safety import Numbers, disclaimer, emergency_notice, label, numbers_of, red_flags
from mulmed.safety.notice import regions


def notice(text: str, language: str, region: str | None) -> str:
    return emergency_notice(red_flags(text), language, numbers_of(region) if region else None)


def test_nothing_is_said_without_a_flag() -> None:
    assert notice("What is a heart attack?", "en", "US") == ""


@pytest.mark.parametrize(
    ("text", "language", "region", "numbers"),
    [
        ("crushing chest pain", "en", "US", ["911"]),
        ("crushing chest pain", "en", "GB", ["999"]),
        ("crushing chest pain", "en", "EU", ["112"]),
        ("胸口剧痛，满头大汗", "zh", "CN", ["120"]),
        ("I want to kill myself", "en", "US", ["911", "988"]),
        ("我不想活了", "zh", "CN", ["120", "12356"]),
        ("我不想活了", "zh", "TW", ["119", "1925"]),
        ("my husband hit me again last night", "en", "US", ["911", "1-800-799-7233"]),
        ("我老公又打我了", "zh", "CN", ["110", "12338"]),
        ("my toddler drank bleach", "en", "US", ["911", "1-800-222-1222"]),
        ("my toddler drank bleach", "en", "AU", ["000", "13 11 26"]),
    ],
)
def test_the_numbers_of_the_region_stand_in_the_notice(
    text: str, language: str, region: str, numbers: list[str]
) -> None:
    said = notice(text, language, region)
    assert [number for number in numbers if number not in said] == []
    assert "{" not in said


def test_each_danger_has_its_own_words() -> None:
    body = notice("crushing chest pain", "en", "US")
    both = notice("crushing chest pain, and I want to die", "en", "US")
    assert both.startswith(body)
    assert "alone" in both
    assert "alone" not in body
    assert "vomit" in notice("my son swallowed a button battery", "en", "US")
    assert "不要催吐" in notice("孩子喝了洁厕灵", "zh", "CN")
    assert "988" not in body


def test_what_is_only_possible_is_said_with_less_force() -> None:
    possible = red_flags("my chest hurts")
    assert [flag.certainty for flag in possible] == ["possible"]
    assert "If it is severe" in emergency_notice(possible, "en", numbers_of("US"))
    assert "If it is severe" not in notice("crushing chest pain", "en", "US")


def test_without_numbers_none_is_made_up() -> None:
    said = notice("I want to kill myself", "en", None)
    assert "your local emergency number" in said
    assert not any(char.isdigit() for char in said)
    own = emergency_notice(red_flags("I want to die"), "en", Numbers("5555", suicide="0800 1"))
    assert "5555" in own
    assert "0800 1" in own


def test_a_space_parts_chinese_from_a_number_only() -> None:
    assert "请立即拨打当地急救电话，" in notice("胸口压榨样疼痛", "zh", None)
    assert "请立即拨打 120，" in notice("胸口压榨样疼痛", "zh", "CN")
    assert "请拨打当地急救电话。" in disclaimer("zh")


def test_every_region_can_call_an_ambulance() -> None:
    assert set(regions()) >= {"US", "GB", "EU", "CN", "HK", "TW"}
    for region, numbers in regions().items():
        assert numbers.emergency.isdigit(), region
    with pytest.raises(MulmedError, match="'XX'"):
        numbers_of("XX")


def test_every_answer_is_labelled_in_the_users_language() -> None:
    assert "AI" in label("en")
    assert "人工智能" in label("zh")
    assert "911" in disclaimer("en", numbers_of("US"))
    assert "120" in disclaimer("zh", numbers_of("cn"))
    assert "当地急救电话" in disclaimer("zh")
    with pytest.raises(MulmedError, match="'fr'"):
        label("fr")
