import pytest

from mulmed.evaluation.lexicon import CATEGORIES, languages, lexicon


@pytest.mark.parametrize(
    ("language", "text", "counts"),
    [
        ("en", "Hello, I understand your concern. Please don’t worry.", "greeting acknowledgement acknowledgement politeness reassurance"),
        ("en", "This chill is hopeless; careful, assign there.", "caution"),  # hi, hope, sign only as whole words
        ("en", "I hope you feel better. Avoid salt and see a doctor.", "hope hope caution next_step"),
        ("en", "There is no hope, and I do not really understand.", ""),
        ("en", "No, please rest. Not now; I understand.", "politeness acknowledgement"),  # the clause ends the negation
        ("en", "Not guaranteed. It is guaranteed.", "false_reassurance"),
        ("en", "You should have come; it is all in your head.", "blame dismissal"),
        ("en", "Do not hesitate, please.", "politeness"),
        ("en", "A risk factor is no risk.", ""),
        ("zh", "您好，请放心，祝您早日康复。", "greeting politeness reassurance hope"),  # 您好 once, not 您 again
        ("zh", "我能理解您的心情，但不放心，也没有希望。", "acknowledgement acknowledgement"),
        ("zh", "向医院申请。过敏原检查，注意力下降。", "clinical clinical"),  # 申请 asks nobody politely
        ("zh", "不舒服请及时就医，没有过敏。", "politeness next_step"),
        ("zh", "肯定没事，不用去医院，你想多了，活该。", "false_reassurance false_reassurance dismissal blame"),
        ("zh", "这个病不能根治。", ""),
        ("en", "", ""),
    ],
)  # fmt: skip
def test_phrases_count_once_each_for_what_they_mean(language: str, text: str, counts: str) -> None:
    expected = sorted(name.replace("_", " ") for name in counts.split())
    assert sorted(lexicon(language).count(text).elements()) == expected


@pytest.mark.parametrize("language", languages())
def test_lists_name_each_phrase_once_in_the_form_texts_are_read_in(language: str) -> None:
    from importlib.resources import files

    import yaml

    text = (files("mulmed.evaluation") / "lexicons" / f"{language}.yaml").read_text(encoding="utf-8")
    document = yaml.safe_load(text)
    assert set(document["categories"]) == set(CATEGORIES)
    listed = [*document["categories"].values(), document["passed over"]]
    phrases = [phrase.strip() for some in listed for phrase in some.split(",")]
    assert len(set(phrases)) == len(phrases)
    assert all(phrase == phrase.lower() and phrase and "’" not in phrase for phrase in phrases)
    known = lexicon(language)
    assert not known.function_words & set(phrases)
    for phrase, category in known.phrases.items():
        assert dict(known.count(phrase)) == ({category: 1} if category else {}), phrase


def test_both_languages_of_the_project_have_one() -> None:
    assert languages() == ["en", "zh"]
