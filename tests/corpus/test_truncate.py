"""Everything fits, the answer survives, and what matters is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.truncate import cut, importance, leading_sentences, shorten, truncate
from mulmed.errors import MulmedError


def words(texts: Sequence[str]) -> list[int]:
    """A tokenizer of words and Chinese characters."""
    return [len(re.findall(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)) for text in texts]


def jumpy(texts: Sequence[str]) -> list[int]:
    """A tokenizer that is not additive: every text costs more, the longer it is."""
    return [n + n // 7 for n in words(texts)]


TASKS = ("instruction", "summary", "qa", "dialogue")
OVERHEAD = {(task, language): (20, 5) for task in TASKS for language in ("en", "zh")}


def record(*texts: str, **more: Any) -> Record:
    roles = ["user", "assistant"] * (len(texts) // 2)
    turns = tuple(Turn(role, text) for role, text in zip(roles, texts, strict=True))  # type: ignore[arg-type]
    fields: dict[str, Any] = {"task": "qa" if len(texts) == 2 else "dialogue", "language": "en"} | more
    return Record(id="s:0", turns=turns, source="s", file="f", row=0, **fields)


def fitted(one: Record, cutoff: int = 60) -> tuple[Record, dict[str, int]]:
    result = truncate(to_batch([one]), cutoff, OVERHEAD, words)
    (after,) = from_batch(result.batch)
    return after, {a["rule"]: a["count"] for a in result.audit.to_dicts()}


def sentence(n: int, word: str = "filler") -> str:
    """A sentence of n words."""
    return " ".join(["So", *[word] * (n - 1)]) + ". "


def test_what_fits_stays() -> None:
    one = record(sentence(20), sentence(20))
    assert fitted(one) == (one, {})


def test_the_answer_stays_whole_and_the_question_keeps_what_matters() -> None:
    question = (
        "My son is 4 years old. " + sentence(10) + "He has a fever of 39.5 °C since 3 days. " + sentence(12)
        + "Should I go to the hospital?"
    )  # fmt: skip
    after, rules = fitted(record(question, sentence(15)))
    assert after.turns[0].text == (
        "My son is 4 years old. He has a fever of 39.5 °C since 3 days. Should I go to the hospital?"
    )
    assert after.turns[1].text == sentence(15)
    assert (rules, after.answer_cut) == ({"question shortened": 1}, False)


def test_a_long_answer_leaves_the_question_a_quarter_and_ends_with_a_sentence() -> None:
    # 60 - 20 = 40 tokens for texts: a quarter, 10, for the question, 30 for the answer.
    one = record(sentence(9) + sentence(9), sentence(16) + sentence(10) + sentence(10))
    after, rules = fitted(one)
    assert after.turns == (
        Turn("user", sentence(9).strip()),
        Turn("assistant", (sentence(16) + sentence(10)).strip()),
    )
    assert after.answer_cut
    assert rules == {"question shortened": 1, "answer cut": 1}


def test_a_short_question_gives_the_answer_the_rest() -> None:
    after, rules = fitted(record("Why is that?", sentence(20) + sentence(16) + sentence(9)))
    assert after.turns[0].text == "Why is that?"
    assert after.turns[1].text == (sentence(20) + sentence(16)).strip()
    assert (rules, after.answer_cut) == ({"answer cut": 1}, True)


def test_an_answer_of_one_endless_sentence_is_cut_within_it() -> None:
    after, _ = fitted(record("Why is that?", sentence(90)))
    assert words([after.turns[1].text]) == [37]
    assert after.answer_cut


def test_whole_leading_rounds_are_kept() -> None:
    rounds = [sentence(6), sentence(7)] * 4
    # 20 + 2 x 5 template + 3 x 13 words = 69 tokens: three rounds fit into 70, not four.
    after, rules = fitted(record(*rounds), cutoff=70)
    assert [t.text for t in after.turns] == rounds[:6]
    assert (rules, after.answer_cut) == ({"rounds": 1}, False)


def test_a_first_round_too_long_for_itself_is_shortened() -> None:
    one = record(sentence(30) + "What is it?", sentence(20), "And now?", sentence(5))
    after, rules = fitted(one)
    assert len(after.turns) == 2
    assert rules == {"rounds": 1, "question shortened": 1}
    assert after.turns[0].text.endswith("What is it?")


def test_test_records_keep_reference_and_latest_rounds() -> None:
    reference = sentence(300)
    rounds = [sentence(10), sentence(10), sentence(9), sentence(9), "So what now?", reference]
    after, rules = fitted(record(*rounds, split="test"))
    assert [t.text for t in after.turns] == rounds[2:]  # 20 + 5 + 9 + 9 + 3 = 46 of 60
    assert rules == {"rounds": 1}
    after, rules = fitted(record(sentence(30) + "Should I worry?" + sentence(30), reference, split="test"))
    assert after.turns[1].text == reference
    assert (rules, after.answer_cut) == ({"question shortened": 1}, False)


def test_the_context_counts_and_is_shortened_before_the_instruction() -> None:
    one = record("Summarize the text.", sentence(10), context=sentence(15) + sentence(30), task="instruction")
    after, _ = fitted(one)
    assert after.turns[0].text == "Summarize the text."
    assert after.context == sentence(15).strip()


def test_chinese_is_cut_at_sentences_and_clauses() -> None:
    text = "我今年五十岁。平时喜欢散步，天气也好，花都开了。最近头痛三天，血压150/95。该吃什么药？"
    assert shorten(text, 24, "zh", words) == "我今年五十岁。最近头痛三天，血压150/95。该吃什么药？"
    assert shorten("头痛" * 40, 10, "zh", words) == "头痛" * 5


def test_a_template_without_room_is_an_error() -> None:
    with pytest.raises(MulmedError, match="takes 20 of 30 tokens"):
        truncate(to_batch([]), 30, OVERHEAD, words)


def test_cut_and_leading_sentences() -> None:
    assert cut("one two three four", 2, "en", words) == "one two"
    assert cut("头痛三天了", 3, "zh", words) == "头痛三"
    assert cut("a" * 10, 3, "en", lambda ts: [len(t) for t in ts]) == "aaa"
    assert leading_sentences("Go now. Rest a lot. Bye.", 5, "en", words) == "Go now. Rest a lot."


def test_importance_ranks_place_and_clinical_content() -> None:
    scores = importance(
        ["Hello all.", "We like tea.", "Fever 39.5 °C for 3 days.", "We like it.", "Bye now."]
    )
    assert sorted(range(5), key=lambda i: -scores[i]) == [2, 0, 4, 1, 3]


_SENTENCES = st.lists(
    st.sampled_from(
        [
            sentence(4),
            sentence(9),
            sentence(23),
            "Is it bad? ",
            "Fever for 3 days. ",
            "头痛三天，怎么办？",
            "血压150。",
            "x" * 30,
        ]
    ),
    min_size=1,
    max_size=12,
).map("".join)


@settings(deadline=None)
@given(
    st.lists(_SENTENCES, min_size=2, max_size=8).filter(lambda ts: len(ts) % 2 == 0),
    st.sampled_from(["train", "test"]),
    st.integers(min_value=36, max_value=90),
    st.sampled_from(["en", "zh"]),
    st.sampled_from(["", sentence(12)]),
)
def test_everything_fits_and_nothing_is_empty_or_invented(
    texts: list[str], split: str, cutoff: int, language: str, context: str
) -> None:
    one = record(*texts, split=split, language=language, context=context)
    (after,) = from_batch(truncate(to_batch([one]), cutoff, OVERHEAD, jumpy).batch)
    rounds = len(after.turns) // 2
    read = [after.context, *(t.text for t in (after.turns[:-1] if split == "test" else after.turns))]
    assert sum(jumpy(read)) + 20 + 5 * (rounds - 1) <= cutoff
    assert all(turn.text for turn in after.turns)
    if split == "test":
        assert after.turns[-1].text == texts[-1]
    kept = one.turns[-len(after.turns) :] if split == "test" else one.turns[: len(after.turns)]
    for new, old in zip(after.turns, kept, strict=True):
        letters = iter(old.text)
        assert all(letter in letters for letter in new.text)  # a subsequence of the original
    if not after.answer_cut:
        assert after.turns[-1].text == kept[-1].text
