"""Identifiers out of a conversation and back into the reply."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.safety import Restorer, Vault, mask, restore

CONVERSATION = [
    "My name is Ewa Lindqvist, you can reach me at 555-014-2236 or ewa.lindqvist@example.org. I have a rash.",
    "Thank you, Ewa Lindqvist. Since when?",
    "Since Monday. My number is (555) 014-2236, my husband's is 555-014-9999.",
]
CHINESE = [
    "医生您好，我叫欧阳若兰，手机13800138000，身份证110101199003077758，头痛三天了。",
    "欧阳若兰您好，请问发烧吗？",
    "不发烧。电话138 0013 8000，谢谢。",
]


def test_one_value_has_one_placeholder_over_the_conversation() -> None:
    masked = mask(CONVERSATION)
    assert (
        masked.texts[0] == "My name is [NAME_1], you can reach me at [PHONE_1] or [EMAIL_1]. I have a rash."
    )
    assert masked.texts[1] == "Thank you, [NAME_1]. Since when?"
    assert "[PHONE_1]" in masked.texts[2]
    assert "[PHONE_2]" in masked.texts[2]
    assert masked.vault.values["[PHONE_2]"] == "555-014-9999"
    assert masked.vault.counts() == {"name": 1, "phone": 2, "email": 1}


def test_chinese_conversations() -> None:
    masked = mask(CHINESE)
    assert masked.texts[0] == "医生您好，我叫[NAME_1]，手机[PHONE_1]，身份证[ID_1]，头痛三天了。"
    assert masked.texts[1] == "[NAME_1]您好，请问发烧吗？"
    assert masked.texts[2] == "不发烧。电话[PHONE_1]，谢谢。"
    assert restore("[NAME_1]，您好：请拨打[PHONE_1]。", masked.vault) == "欧阳若兰，您好：请拨打13800138000。"


@pytest.mark.parametrize("conversation", [CONVERSATION, CHINESE])
def test_a_conversation_that_grows_keeps_its_numbers(conversation: list[str]) -> None:
    whole = mask(conversation)
    for end in range(1, len(conversation) + 1):
        part = mask(conversation[:end])
        assert part.texts == whole.texts[:end]
        assert part.vault.values.items() <= whole.vault.values.items()


def test_a_name_found_late_is_masked_early_as_well() -> None:
    masked = mask(["Wrzesniewska here again.", "My name is Wrzesniewska."])
    assert "Wrzesniewska" not in " ".join(masked.texts)
    assert (
        "Ann" in mask(["Annual check, please.", "My name is Ann Wrzesniewska."]).texts[0]
    )  # whole words only


def test_a_longer_name_is_masked_whole_though_a_part_of_it_is_known() -> None:
    masked = mask(["My name is John Smith.", "My name is John Smith-Kowalczyk."])
    assert "Kowalczyk" not in masked.texts[1]
    assert restore(masked.texts[1], masked.vault) == "My name is John Smith-Kowalczyk."


def test_many_values_take_no_long_time() -> None:
    text = " ".join(f"call 555-{i // 100:03}-{i % 10000:04}" for i in range(1000))
    started = time.process_time()
    masked = mask([text, text])
    assert time.process_time() - started < 10
    assert masked.vault.counts()["phone"] > 100
    assert masked.texts[0] == masked.texts[1]


def test_a_placeholder_that_the_user_typed_is_his_own_words() -> None:
    said = "My name is Ewa Lindqvist. What does [NAME_1] mean, and [PHONE_7]?"
    masked = mask([said])
    assert masked.texts == ("My name is [NAME_1]. What does [TEXT_1] mean, and [TEXT_2]?",)
    assert restore(masked.texts[0], masked.vault) == said
    assert restore("You wrote [TEXT_1], [NAME_1].", masked.vault) == "You wrote [NAME_1], Ewa Lindqvist."
    # typed before any name is known, and the other way round
    turns = ["Print [NAME_1] and [TEXT_1].", "My name is Ewa Lindqvist."]
    masked = mask(turns)
    assert [restore(text, masked.vault) for text in masked.texts] == turns


def test_what_is_no_placeholder_of_this_conversation_stays() -> None:
    vault = mask(CONVERSATION).vault
    for text in (
        "[NAME_9]",
        "[NAME_]",
        "[NAME]",
        "NAME_1",
        "[name_1]",
        "[ID_1]",
        "[1]",
        "a [ b",
        "［NAME_1］",
    ):
        assert restore(text, vault) == text


def test_the_values_are_shown_by_nobody_who_prints_the_result() -> None:
    masked = mask(CONVERSATION)
    assert "Lindqvist" not in repr(masked) + str(masked.vault)


VAULT = Vault(
    {
        "[NAME_1]": "Ewa [Lindqvist]",
        "[NAME_12]": "张伟",
        "[PHONE_1]": "555 [NAME_1]",
        "[DATE_OF_BIRTH_1]": "[",
    }
)
PIECES = [
    *VAULT.values,
    "[",
    "]",
    "[NAME",
    "_1",
    "2]",
    "[NAME_1",
    "[[NAME_1]]",
    "text ",
    "您好",
    "[DATE_OF_",
    "[TEXT_1]",
    "\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_however_a_reply_is_cut_the_same_text_comes_out(reply: str) -> None:
    whole = restore(reply, VAULT)
    for cut in range(len(reply) + 1):  # every split in two
        restorer = Restorer(VAULT)
        assert restorer.feed(reply[:cut]) + restorer.feed(reply[cut:]) + restorer.finish() == whole
    restorer = Restorer(VAULT)  # and character by character
    assert "".join(map(restorer.feed, reply)) + restorer.finish() == whole


@given(st.lists(st.sampled_from(PIECES), max_size=12), st.data())
def test_however_often_a_reply_is_cut(pieces: list[str], data: st.DataObject) -> None:
    reply = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(reply)), max_size=8)))
    restorer, shown = Restorer(VAULT), ""
    for start, end in zip([0, *cuts], [*cuts, len(reply)], strict=True):
        shown += restorer.feed(reply[start:end])
    assert shown + restorer.finish() == restore(reply, VAULT)


def test_only_the_beginning_of_a_placeholder_is_held_back() -> None:
    restorer = Restorer(VAULT)
    assert restorer.feed("Dear [NA") == "Dear "
    assert restorer.feed("ME_1") == ""
    assert restorer.feed("] and [X") == "Ewa [Lindqvist] and [X"


@given(st.lists(st.text(max_size=80), max_size=3))
def test_what_was_masked_comes_back(texts: list[str]) -> None:
    masked = mask(texts)
    for before, after in zip(texts, masked.texts, strict=True):
        if not masked.vault.values:
            assert after == before
        elif len({v.casefold() for v in masked.vault.values.values()}) == len(masked.vault.values):
            assert restore(after, masked.vault).casefold() == before.casefold()
