from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import tokenizers

from mulmed.evaluation.tokenize import jieba_words, normalize, stemmed_words, tokens

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


@pytest.fixture(scope="module")
def jieba_itself() -> Any:
    import jieba

    segmenter = jieba.Tokenizer()
    segmenter.FREQ, segmenter.total = segmenter.gen_pfdict(segmenter.get_dict_file())
    segmenter.initialized = True
    return segmenter


_PIECES = [
    "您好，", "建议复查血常规", "每天2-3次", "每次0.5g", "（约3.5%）", "www.example.org", "omega-3脂肪酸", "服用布洛芬缓释胶囊", "B超和X-ray",
    "C反应蛋白", "12月", "a_b", "R&D", "c++", "体温38.5℃", "张建国主任", "新冠肺炎疑似", "-", ".", "#1", " ", "头晕目眩好几天", "三阳转阴", "吗？",
]  # fmt: skip


@given(st.lists(st.sampled_from(_PIECES), max_size=12))
def test_words_are_jiebas_own(jieba_itself: Any, pieces: list[str]) -> None:
    text = "".join(pieces)
    words = [word for word in jieba_itself.lcut(normalize(text)) if tokens(word)]
    assert jieba_words(text) == words
