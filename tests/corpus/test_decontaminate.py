"""A test record inside a training record is found, at the measure it says; stock phrases are not."""

from __future__ import annotations

import pickle
from typing import Any

import polars as pl
import pytest

from mulmed.corpus.batch import to_batch
from mulmed.corpus.decontaminate import STOCK_TRAINING, contaminated, hits
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.testset import STOCK_TEST, index
from mulmed.recipe import Decontaminate

QUESTION = "my head has hurt for three days and light makes it worse"  # 12 words: 5 n-grams of 8
CHINESE = "我头痛三天了，见光加重，还想吐，怎么办呢？"  # 17 characters: 6 n-grams of 12
ADVICE = "以后每天早晨空腹测一次血糖并把数值记下来复诊时带给医生看"  # 28 characters


def record(row: int, *texts: str, **more: Any) -> Record:
    fields: dict[str, Any] = {"task": "qa", "language": "en"} | more
    turns = tuple(Turn("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    return Record(id=f"s:{row:03}", turns=turns, source="s", file="f", row=row, **fields)


def details(*records: Record, chunk: int = 2, **settings: Any) -> dict[str, str]:
    """Details of the records dropped, with the others handed over in chunks."""
    tests = index(to_batch(r for r in reversed(records) if r.split == "test"), Decontaminate(**settings))
    tests = pickle.loads(pickle.dumps(tests))
    found = [hits(tests, to_batch(records[i : i + chunk])) for i in range(0, len(records), chunk)]
    return {k: v.outcome.findings[0].detail for k, v in contaminated(pl.concat(found)).items()}


def words(*numbers: int) -> str:
    return " ".join(f"w{n}" for n in numbers)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_question_hidden_in_another_text_is_found(split: str) -> None:
    hidden = f"Hello doctor. {QUESTION.upper()}!! Thanks."
    assert details(
        record(0, "Other", "Well", split="test"),
        record(1, QUESTION, "Reference", split="test"),
        record(2, hidden, "Rest.", split=split),
        record(3, "Question?", hidden, split=split),
        record(4, "Nothing of the kind is in here at all, my friend", "Rest.", split=split),
    ) == {"s:002": "s:001 overlap 1.00", "s:003": "s:001 overlap 1.00"}


def test_the_threshold_is_the_share_of_the_test_questions_ngrams() -> None:
    part = " ".join(QUESTION.split()[:10])  # 3 of 5 n-grams
    records = [record(0, QUESTION, "R", split="test"), record(1, part + " indeed", "Rest.")]
    assert details(*records, overlap=0.6) == {"s:001": "s:000 overlap 0.60"}
    assert details(*records, overlap=0.61) == {}
    # Said twice it is no more of the question.
    assert details(records[0], record(1, f"{part} {part}", part), overlap=0.61) == {}


def test_the_test_record_with_the_largest_share_is_named_and_the_first_of_equals() -> None:
    near = " ".join(QUESTION.split()[:11])  # four of its five n-grams are the question's
    assert details(
        record(0, near + " though", "R", split="test"), record(1, QUESTION, "A", split="test"),
        record(2, QUESTION, "B", split="test"), record(3, QUESTION, "C"),
    ) == {"s:003": "s:001 overlap 1.00"}  # fmt: skip


def test_chinese_by_characters_across_punctuation() -> None:
    test = record(0, CHINESE, "答", split="test", language="zh")
    leak = record(1, "医生您好！我头痛三天了 见光加重 还想吐 怎么办呢", "休息", language="zh")
    other = record(2, "我头痛三天了怎么办呢，还要不要去医院检查一下呢", "休息", language="zh")
    assert details(test, leak, other) == {"s:001": "s:000 overlap 1.00"}


def test_short_questions_are_compared_whole() -> None:
    test = record(0, "Why am I tired?", "R", split="test")
    assert details(
        test, record(1, "why am i TIRED", "Sleep."), record(2, "Why am I tired and pale?", "Sleep."),
        record(3, "Hello", "Why am I tired?"),
    ) == {"s:001": "s:000 overlap 1.00"}  # fmt: skip


def test_the_context_belongs_to_the_question() -> None:
    test = record(0, "Shorten this", "R", context=words(*range(10)), split="test", task="instruction")
    leak = record(1, "Shorten this", "S", context=words(*range(10)), task="instruction")
    assert details(test, leak) == {"s:001": "s:000 overlap 1.00"}


def test_thanks_at_the_end_of_a_test_dialogue_match_nothing() -> None:
    test = record(0, QUESTION, "Rest.", "Thanks!", "Welcome.", split="test", task="dialogue")
    assert details(test, record(1, "Is coffee bad for me?", "No.", "Thanks!", "Bye.", task="dialogue")) == {}


def test_test_records_stay_even_when_alike() -> None:
    assert details(record(0, QUESTION, "A", split="test"), record(1, QUESTION, "B", split="test")) == {}


def test_thirteen_words_in_a_row_are_a_leak_twelve_are_not() -> None:
    test = record(0, words(*range(60)), "Yes. " + words(*range(100, 160)), split="test")
    assert details(
        test,
        record(1, "a b c", words(1, *range(120, 133), 2)),
        record(2, "a b c", words(1, *range(120, 132), 2)),
        record(3, f"a b {words(*range(40, 55))} c", "d", split="validation"),
    ) == {"s:001": "s:000 13 in a row", "s:003": "s:000 15 in a row"}


def test_twenty_chinese_characters_in_a_row_are_a_leak_nineteen_are_not() -> None:
    test = record(0, "血糖高怎么办", "不要紧张。" + ADVICE, split="test", language="zh")
    assert details(
        test,
        record(1, "问", f"好的，{ADVICE[:20]}哦", language="zh"),
        record(2, "问", f"好的，{ADVICE[:19]}哦", language="zh"),
    ) == {"s:001": "s:000 20 in a row"}


def test_placeholders_in_chinese_are_no_passage() -> None:
    test = record(0, "我去过[HOSPITAL][DEPARTMENT][NAME]看病", "好的", split="test", language="zh")
    assert details(test, record(1, "他在[HOSPITAL][DEPARTMENT][NAME]工作过", "是吗", language="zh")) == {}


def test_stock_phrases_of_the_test_set_are_no_leak() -> None:
    phrase = words(*range(20))
    for tests, expected in ((STOCK_TEST - 1, {"s:099": "s:000 20 in a row"}), (STOCK_TEST, {})):
        records = [record(i, f"q{i}", f"{phrase} a{i}", split="test") for i in range(tests)]
        assert details(*records, record(99, "q", phrase)) == expected


def test_a_stretch_made_of_stock_phrases_is_no_leak() -> None:
    opening, ending = words(*range(9)), words(*range(20, 29))
    tests = [record(i, f"q{i}", f"{opening} a{i} {ending}", split="test") for i in range(STOCK_TEST)]
    assert details(*tests, record(99, "q", f"{opening} a0 {ending}")) == {}


def test_stock_phrases_of_the_training_set_are_no_leak() -> None:
    phrase = words(*range(20))
    test = record(0, "question", phrase, split="test")
    for found in (STOCK_TRAINING - 1, STOCK_TRAINING):
        others = [record(i, f"q{i}", f"{i} {phrase} {i} {phrase}") for i in range(1, found + 1)]
        gone = {r.id: "s:000 20 in a row" for r in others} if found < STOCK_TRAINING else {}
        assert details(test, *others) == gone


def test_a_passage_beyond_the_stock_phrase_is_a_leak() -> None:
    phrase = words(*range(20))
    test = record(0, "question", phrase + " " + words(*range(100, 110)), split="test")
    others = [record(i, f"q{i}", phrase) for i in range(1, STOCK_TRAINING + 1)]
    # Ten words that are its own: of the 13-grams with some of the phrase, the ten that end in them.
    leak = record(50, "q", phrase + " " + words(*range(100, 110)))
    assert details(test, *others, leak) == {"s:050": "s:000 22 in a row"}


def test_an_english_answer_is_compared_by_words_whatever_its_record_says() -> None:
    test = record(0, "写一段话", words(*range(30)), split="test", language="zh")
    assert details(
        test,
        record(1, "问题", words(*range(5, 18)), language="zh"),
        record(2, "问题", words(*range(5, 17)), language="zh"),
    ) == {"s:001": "s:000 13 in a row"}
