import pytest

from mulmed.evaluation.readability import known, readability, syllables


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("a", 1), ("the", 1), ("heart", 1), ("caused", 1), ("named", 1), ("makes", 1), ("clear", 1), ("through", 1), ("sleep", 1),
        ("treated", 2), ("patient", 2), ("table", 2), ("tables", 2), ("doses", 2), ("nation", 2), ("social", 2), ("useful", 2),
        ("being", 2), ("react", 2), ("before", 2), ("genome", 2), ("safely", 2), ("studied", 2), ("diet", 2), ("vaccine", 2),
        ("nuclear", 3), ("medical", 3), ("condition", 3), ("various", 3), ("area", 3), ("previous", 3), ("radius", 3),
        ("bacteria", 4), ("epidemic", 4), ("associated", 5), ("metabolism", 5), ("individual", 5),
        ("DNA", 3), ("HIV", 3), ("WHO", 5),
    ],
)  # fmt: skip
def test_syllables(word: str, count: int) -> None:
    assert syllables(word) == count


def test_worked_example() -> None:
    # 2 sentences, 10 words, 42 letters, 12 syllables: pro-tein and heal-thy have two.
    found = readability("The cell makes a protein. It keeps the heart healthy.")
    assert found["fkgl"] == pytest.approx(0.39 * 5 + 11.8 * 12 / 10 - 15.59)
    assert found["cli"] == pytest.approx(0.0588 * 420 - 0.296 * 20 - 15.8)
    # "makes" and "keeps" are inflections of words on the list.
    assert [w for w in ("the", "cell", "makes", "protein", "keeps", "heart", "healthy") if not known(w)] == [
        "protein"
    ]
    assert found["dcrs"] == pytest.approx(0.1579 * 10 + 0.0496 * 5 + 3.6365)


def test_numbers_and_abbreviations_end_no_sentence() -> None:
    one = readability("The fever was 38.5 degrees, e.g. high for the child.")
    assert one["cli"] == pytest.approx((5.88 * 35 - 29.6 * 1) / 10 - 15.8)
    assert readability("What now? Rest! Then see.")["cli"] == pytest.approx((5.88 * 18 - 29.6 * 3) / 5 - 15.8)


def test_a_text_without_words_has_no_grade() -> None:
    assert readability("") == readability("37.5 %") == {}


@pytest.mark.parametrize(
    "text",
    [
        "The heart pumps blood through the body every minute of the day.",
        "Researchers examined mitochondrial replication. They discovered several unexpected interactions.",
    ],
)
def test_counts_are_textstats(text: str) -> None:
    import textstat

    words, sentences = textstat.lexicon_count(text), textstat.sentence_count(text)
    # textstat itself has 0.058 where Coleman and Liau have 0.0588.
    expected = 5.88 * textstat.letter_count(text) / words - 29.6 * sentences / words - 15.8
    assert readability(text)["cli"] == pytest.approx(expected)


def test_harder_texts_have_higher_grades() -> None:
    plain = readability("Our body fights germs. White cells find them and eat them. This keeps us well.")
    learned = readability(
        "Phagocytic leukocytes contribute substantially to antimicrobial immunity through internalisation of opsonised "
        "pathogens, thereby maintaining physiological homeostasis in immunocompetent individuals."
    )
    assert all(learned[grade] > plain[grade] + 5 for grade in ("fkgl", "cli"))
    assert learned["dcrs"] > plain["dcrs"] + 3
