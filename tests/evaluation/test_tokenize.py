import logging
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import tokenizers

from mulmed.evaluation.tokenize import jieba_words, stemmed_words, tokens

ROUGE_STEMMED = tokenizers.DefaultTokenizer(use_stemmer=True)
ROUGE_PLAIN = tokenizers.DefaultTokenizer(use_stemmer=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("建议做CT检查，体温38.5℃。", "建 议 做 ct 检 查 体 温 38 5 c"),
        ("ＡＢＣ１２３", "abc123"),  # full-width
        ("白细胞10×10⁹/L", "白 细 胞 10 10 9 l"),  # not 109
        ("1½片，H₂O", "1 1 2 片 h2o"),
        ("症状2①多喝水", "症 状 2 1 多 喝 水"),
        ("Tylenol™ 5㎎", "tylenol 5mg"),
        ("COVID-19 isn't a cold_", "covid 19 isn t a cold"),
        ("Café au lait, ﬁne ❤️", "café au lait fine"),
        ("हिन्दी में", "हिन्दी में"),  # vowel signs stay in their word
        ("𠮷野家 々〇", "𠮷 野 家 々 〇"),
        ("。。。 … 🙂", ""),
    ],
)
def test_tokens(text: str, expected: str) -> None:
    assert tokens(text) == expected.split()


def test_decomposed_and_composed_letters_are_the_same_token() -> None:
    assert tokens("cafe\u0301") == tokens("caf\u00e9") == ["café"]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_tokens_are_those_of_rouge_score_without_stemmer(text: str) -> None:
    assert tokens(text) == ROUGE_PLAIN.tokenize(text)


@given(st.text())
def test_stemmed_words_are_those_of_rouge_score_with_stemmer(text: str) -> None:
    assert stemmed_words(text) == ROUGE_STEMMED.tokenize(text)


def test_stems_follow_porter_and_spare_short_words() -> None:
    text = "The patients' conditions were improving; his gas and dies"
    assert stemmed_words(text) == ["the", "patient", "condit", "were", "improv", "his", "gas", "and", "die"]


@given(st.text())
def test_tokens_hold_no_space_no_punctuation_and_are_stable(text: str) -> None:
    found = tokens(text)
    assert tokens(" ".join(found)) == found
    assert all(token and not token.isspace() for token in found)


@given(st.text(alphabet="头痛发烧三天吃药，。！ CTct12"))
def test_jieba_words_cut_the_same_letters_elsewhere(text: str) -> None:
    assert "".join(jieba_words(text)) == "".join(tokens(text))


def test_jieba_words_are_words_without_punctuation() -> None:
    assert jieba_words("我肚子疼三天了，做了CT。") == ["我", "肚子疼", "三天", "了", "做", "了", "ct"]


def test_jieba_leaves_the_shared_temporary_folder_and_the_log_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from mulmed.evaluation import tokenize

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tokenize._segmenter.cache_clear()
    with caplog.at_level(logging.DEBUG):
        assert jieba_words("头痛发烧") == ["头痛", "发烧"]
    assert list(tmp_path.iterdir()) == []
    assert caplog.records == []
