"""What sentences show, put together, is what the text shows that they make; and no number is parted from its unit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus import shorten
from mulmed.corpus.edits import apply
from mulmed.corpus.record import Record
from mulmed.corpus.salience import mentions, signs
from mulmed.corpus.sentences import sentence_ends
from mulmed.corpus.shown import Shown, ends_reading
from mulmed.corpus.survival import Survival, cut_at_the_right
from mulmed.corpus.truncate import truncate_records
from mulmed.recipe.language import Language, using
from tests.corpus.test_truncate import OVERHEAD, record, words

_ENGLISH = [
    "I take 5 mg of warfarin", "no fever", "it is allergic", " asthma", "an allergic", "contact dermatitis", "5", "% cream", " 2% saline",
    "allergic to nuts", "Stop", "never", "x", ". ", ".", "? ", "!\n", "\n", ", ", ",", "; ", " ",
]  # fmt: skip
_CHINESE = [
    "对青霉素过敏", "不过", "不", "敏", "过", "没有发烧", "每次", "5", "3", "两", "片", "mg", "头孢0.5克", "5%", "葡萄糖", "三", "周", "年", "吗", "怎么办",
    "。", "？", "?", "；", "，", ", ", "！\n", "\n", ".", ". ", "…", "”", " ", "İ", "CT",
]  # fmt: skip
_TEXTS = {
    language: st.lists(st.sampled_from(pieces), min_size=1, max_size=14).map("".join)
    for language, pieces in (("en", _ENGLISH), ("zh", _CHINESE))
}
_WRITTEN = st.sampled_from(["en", "zh"]).flatmap(lambda code: st.tuples(_TEXTS[code], st.just(code)))


@given(_WRITTEN, st.booleans(), st.data())
def test_stretches_show_what_the_text_that_they_make_shows(
    written: tuple[str, str], clauses: bool, data: st.DataObject
) -> None:
    text, language = written
    ends = sentence_ends(text, language)
    if clauses:
        ends = sorted({*ends, *(m.end() for m in shorten._CLAUSE_END.finditer(text))})
    shown = Shown(text, language)
    assert [Counter(found) for found in shown.each(ends)] == [
        Counter(signs(text[a:b], language)) for a, b in zip([0, *ends], ends, strict=False)
    ]
    end = data.draw(st.integers(0, len(text)))
    assert Counter(shown.between(0, end)) == Counter(signs(text[:end], language))
    spans = list(zip([0, *ends], ends, strict=False))
    kept = [span for span in spans if data.draw(st.booleans())]
    edits = shorten.without(text, kept)
    if shown.apart:
        whole = shorten.Text(text, language, 0, shorten.measure([text], words))
        together = [bits for _, a, b in whole.left_by(edits) for bits in shown.between(a, b)]
        assert Counter(together) == Counter(signs(apply(text, edits), language))


def test_a_letter_that_is_longer_in_lower_case_moves_no_sign() -> None:
    text, ends = "İİİ过敏。没有发烧", [6, 10]
    assert Shown(text, "zh").each(ends) == [signs(text[:6], "zh"), signs(text[6:], "zh")]


def test_one_name_of_several_words_is_not_read_in_parts() -> None:
    shown = Shown("It is allergic\nasthma. No rash.", "en")
    shown.each([15, 23, 31])
    assert not shown.apart
    assert mentions(shown.between(0, 31)) == mentions(signs("asthma. No rash.", "en"))
    plain = Shown("He is allergic.", "en")
    assert mentions(plain.between(0, 15))["allergy"] == 1


# What means more beside another than alone, and what may stand between them.
_MEETING = {
    "en": (
        ["Hydrocortisone", "2%", "Cream", "Allergic", "Asthma", "No", "Take", "5"],
        ["\n", ". ", ".", "?", "; ", "，", ", "],
    ),
    "zh": (
        ["葡萄糖", "5%", "５％", "头孢", "2", "片", "过敏", "不", "两", "周"],
        ["\n", "。", "？\n", ". ", "；", "，", ", "],
    ),
}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_two_sentences_show_what_their_text_shows(language: str) -> None:
    pieces, between = _MEETING[language]
    apart = set()
    for a, sign, b in product(pieces, between, pieces):
        text = f"{a}{sign}{b}"
        shown = Shown(text, language)
        shown.each(
            sorted({*sentence_ends(text, language), *(m.end() for m in shorten._CLAUSE_END.finditer(text))})
        )
        assert Counter(shown.between(0, len(text))) == Counter(signs(text, language)), text
        apart.add(shown.apart)
    assert apart == {True, False}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_left_of_texts_is_counted_as_one_text(language: str) -> None:
    """Two sentences that meet for what stood between them, and two texts with a line break of our own between them."""
    pieces, between = _MEETING[language]
    for a, sign, b in product(pieces, between[:3], pieces):
        first, rain = f"{a}{sign}", "Rain.\n" if language == "en" else "下雨。"
        texts = [f"{first}{rain}{b}", b]
        measured = shorten.measure(texts, words)
        given_ = [shorten.Text(text, language, i, measured) for i, text in enumerate(texts)]
        start, end = len(first) + len(rain), len(texts[0])
        given_[0].shown.each([len(first), start, end])
        for parts in (
            [(0, 0, len(first)), (0, start, end)],
            [(0, 0, len(a)), "\n", (1, 0, len(b))],
            [(0, 0, len(first)), "\n", (1, 0, len(b))],
        ):
            left = "".join(
                part if isinstance(part, str) else texts[part[0]][part[1] : part[2]] for part in parts
            )
            survival = Survival()
            survival.add(given_, [parts], [left], first=100, later=0)
            counted = survival.counts()
            expected = mentions(signs(left, language))
            assert {kind: counted[f"{kind} kept"] for kind in expected} == expected, left


@pytest.mark.parametrize("turns", [1, 2, 3, 4, 5, 6])
def test_what_a_cut_at_the_right_leaves_of_a_dialogue(turns: int) -> None:
    """As tokens of the whole dialogue, one after another, of which the first are kept."""
    sizes = [0, 7, 9, 4, 8, 6, 5][: turns + 1]
    texts = ["aaa " * size for size in sizes]
    measured = shorten.measure(texts, words)
    given_ = [shorten.Text(text, "en", i, measured) for i, text in enumerate(texts)]
    later = 3
    tokens: list[int | None] = []  # of which text each is, None: of the template
    for i, size in enumerate(sizes):
        tokens += [None] * later if i in (3, 5) else []
        tokens += [i] * size
    for first in range(len(tokens) + 2):
        kept = Counter(tokens[:first])
        whole, end = cut_at_the_right(given_, first, later)
        assert [*sizes[:whole], *words([text[:end] for text in texts[whole : whole + 1]])] == [
            kept[i] for i in range(len(sizes))
        ][: whole + 1]
        assert sum(kept[i] for i in range(whole + 1, len(sizes))) == 0


@pytest.mark.parametrize(
    ("text", "first", "left"),
    [
        # by the share of tokens half of it, where only the ten long words stand: twenty more go with it
        ("aaaaaaaaa " * 10 + "a " * 50, 30, "aaaaaaaaa " * 10 + "a " * 20),
        # 40 words in 80 of 200 characters, of which 24 may stay
        ("a " * 50 + "aaaaaaaaa " * 10, 24, "a " * 24),
        # not within a word
        ("one two threefourfivesix", 2, "one two"),
        ("头痛" * 10, 7, "头痛头痛头痛头"),
    ],
)
def test_a_cut_at_the_right_follows_the_lengths_of_words(text: str, first: int, left: str) -> None:
    language = "en" if text.isascii() else "zh"
    whole = shorten.Text(text, language, 0, shorten.measure([text], words))
    number, end = cut_at_the_right([whole], first, 0)
    assert (number, text[:end].strip()) == (0, left.strip())


@pytest.mark.parametrize(
    ("before", "ended"),
    [
        ("头痛。", True),
        ("头痛", False),
        ("服5\n", False),
        ("头痛\n", True),
        ("3 ", False),
        ("”", True),
        ("", False),
    ],
)
def test_where_chinese_goes_on(before: str, ended: bool) -> None:
    assert ends_reading(before) is ended


@given(
    st.lists(_TEXTS["en"], min_size=2, max_size=6).filter(lambda some: len(some) % 2 == 0)
    | st.lists(_TEXTS["zh"], min_size=2, max_size=6).filter(lambda some: len(some) % 2 == 0),
    st.sampled_from(["en", "zh"]),
    st.sampled_from(["train", "test"]),
    st.integers(min_value=36, max_value=60),
)
def test_what_survived_is_what_the_texts_show(
    texts: list[str], language: str, split: str, cutoff: int
) -> None:
    one = record(*(f"{text}a" for text in texts), language=language, split=split)
    done = truncate_records([one], cutoff, OVERHEAD, words)
    (outcome,) = done.outcomes
    after = outcome.record
    assert after is not None
    if not outcome.findings:
        assert done.mentions["records"] == 0
        return

    def read(some: Record) -> list[str]:
        return [t.text for t in (some.turns[:-1] if split == "test" else some.turns)]

    measured = shorten.measure(["", *read(one)], words)
    given_ = [shorten.Text(text, language, i, measured) for i, text in enumerate(["", *read(one)])]
    whole, end = cut_at_the_right(given_, cutoff - 20, 5)
    cut = [text.text[: None if i < whole else end] for i, text in enumerate(given_[: whole + 1])]
    expected = {"before": read(one), "kept": read(after), "cut at the right": cut}
    for when, some in expected.items():
        counted = mentions(bits for text in some for bits in signs(text, language))
        assert {kind: done.mentions[f"{kind} {when}"] for kind in counted} == counted


# A number, what may stand behind it inside a quantity, what may end a sentence or clause there, and what may go on.
_QUANTITIES = tuple(
    map(
        "".join,
        product(
            ["5", "12", "两", "每日", "no"],
            ["", " ", "-", "–", "~", "～", "/", "x", "×", "*", " to", " TO", "至", "到", "，", ":", "：", ".", "。", " mg"],
            ["", "\n", "\n\n", " " * 9 + "\n", "；", ", "],
            ["10 mg", "mg", "片", "次", "<5", "三年", "Take"],
        ),
    )
)  # fmt: skip
#: A language in which a sentence may end inside "5：30".
_WITH_COLONS = Language(
    code="ja", name="Japanese", own_name="日本語", letters="ぁ-ん", units="characters", sentence_ends="。：",
    instructions={"qa": "答えてください。"}, stop_words=("の",),
)  # fmt: skip


@pytest.mark.parametrize("language", ["en", "zh", "ja"])
def test_no_sentence_or_clause_ends_inside_a_number_with_its_unit(language: str) -> None:
    def characters(texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    parted = set()
    with using([_WITH_COLONS]):
        for text in _QUANTITIES:
            ends = sentence_ends(text, language)
            whole = shorten.Text(text, language, 0, shorten.measure([text], characters))
            assert whole.sentences()[0] == shorten.unparting(ends, text)
            clauses = [m.end() for m in shorten._CLAUSE_END.finditer(text)]
            outside = shorten.unparting(clauses, text)
            assert shorten._outside(clauses, text, language) == outside
            parted |= {len(whole.sentences()[0]) < len(ends), len(outside) < len(clauses)}
    assert parted == {True, False}
