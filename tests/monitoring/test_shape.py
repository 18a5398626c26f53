"""A message as language, class of length and topic."""

from __future__ import annotations

import pytest

from mulmed.monitoring.shape import LENGTHS, shape_of, topics


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("My knee hurts when I climb stairs", "en"),
        ("我膝盖疼", "zh"),
        ("ct 检查", "zh"),  # two Han characters, one Latin word
        ("MRI 显示 a small lesion near the left ventricle", "en"),
        ("У меня болит голова", "other"),
        ("頭が痛いのですがどうすればいいですか", "other"),
        ("머리가 아파요", "other"),
        ("?! 38.5", "other"),
        ("", "other"),
        ("Me duele la rodilla", "en"),  # by script only, as documented
    ],
)
def test_language_goes_by_script(text: str, language: str) -> None:
    assert shape_of(text).language == language


def test_lengths_fall_into_classes_by_their_lower_ends() -> None:
    for number in (0, 9, 10, 19, 20, 5119, 5120, 99_999):
        low = shape_of("a" * number).length
        assert low == max(edge for edge in LENGTHS if edge <= number)


@pytest.mark.parametrize(
    ("text", "topic"),
    [
        ("I have chest pain and palpitations", "heart"),
        ("糖尿病人血糖高怎么办", "sugar"),
        ("She learned to bear it", "none"),  # "ear" within words
        ("My EAR hurts", "senses"),
        ("a headache after the headaches", "nerves"),
        ("宝宝发烧咳嗽", "breathing"),  # one word each: the first of the list
        ("宝宝孩子发烧", "children"),
        ("abct", "none"),  # "ct" within a word
        ("做ct了吗", "tests"),
        ("你好", "none"),
    ],
)
def test_topic_is_that_of_most_words(text: str, topic: str) -> None:
    assert shape_of(text).topic == topic


def test_no_word_stands_under_two_topics() -> None:
    from mulmed.monitoring.shape import _words

    words = [word for group in _words().values() for word in group]
    assert len(words) == len(set(words))
    assert all(word == word.casefold() and word.strip("* ") for word in words)
    assert topics()[-1] == "none"
