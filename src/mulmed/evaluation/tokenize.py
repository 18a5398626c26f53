"""Texts to tokens: characters for Chinese, words elsewhere, stems for English ROUGE, jieba words.

One rule serves every language: a character of a script written without spaces is a token of its own,
any other unbroken run of letters and digits is one lower-cased token, and everything else (punctuation,
symbols, emoji) only separates. So "CT检查38.5℃" is ``ct 检 查 38 5 c``, and a new language needs no code.
Simplified and traditional characters are left as they are and do not match each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache, lru_cache

#: Han with its iteration mark and zero; kana; Thai; Lao; Burmese; Khmer. Punctuation is left out.
_SPACELESS = (
    "々〇〡-〩㐀-䶿一-鿿豈-﫿\U00020000-\U000323af"
    "ぁ-ゖゝ-ゟァ-ヺー-ヿ"
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e50-\u0e59\u0e80-\u0eff"
    "\u1000-\u1049\u1050-\u109f\u1780-\u17d3\u17d7\u17dc-\u17ff"
)

# NFKC alone would glue these to their neighbours and change a number: 10⁹ -> 109, 1½ -> 11⁄2, 2① -> 21,
# 37º -> 37o. Set apart they become tokens of their own. Trade marks are not letters of the name.
_SET_APART: dict[int, str] = {
    code: f" {chr(code)} "
    for code in (
        *map(ord, "ªº²³¹¼½¾↉"),
        *range(0x2070, 0x2080),  # superscripts
        *range(0x2150, 0x2160),  # fractions
        *(*range(0x2460, 0x2500), *range(0x3251, 0x3260)),  # circled and bracketed numbers and letters
    )
} | dict.fromkeys(map(ord, "™℠"), " ")


@cache
def _token_pattern() -> re.Pattern[str]:
    """The rule above as a pattern; built on first use because the class of marks takes 20 ms to collect."""
    # Python's \w lacks combining marks, without which words of Hindi or Tamil fall apart at each vowel.
    # Variation selectors (U+FE00..) choose a glyph and say nothing.
    marks = "".join(
        chr(code)
        for code in (*range(0x300, 0xFE00), *range(0xFE20, 0x11F00))
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
    )
    letter = rf"[^\W_{_SPACELESS}]"
    return re.compile(rf"[{_SPACELESS}]|{letter}(?:{letter}|[{marks}])*")


def normalize(text: str) -> str:
    """Lower-cased NFKC (full-width Latin and digits become ASCII, ligatures letters, ㎎ becomes mg).

    Superscripts, fractions and circled numbers are first set apart with spaces, because NFKC would melt
    them into the number beside them; trade-mark signs are dropped.
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text.translate(_SET_APART)).lower()


def tokens(text: str) -> list[str]:
    """Tokens of a text in any language by the module's rule.

    On ASCII text this is what ``rouge_score`` splits without its stemmer.
    """
    return _token_pattern().findall(normalize(text))


_ASCII_RUN = re.compile(r"[a-z0-9]+")


def stemmed_words(text: str) -> list[str]:
    """English words exactly as ``rouge_score`` with ``use_stemmer=True`` makes them.

    Lower-cased runs of ASCII letters and digits; runs of more than three characters reduced by nltk's
    Porter stemmer. No Unicode normalisation, so that scores equal published ones: "café" is ``caf``,
    and Chinese gives nothing at all.
    """
    return [_stem(run) if len(run) > 3 else run for run in _ASCII_RUN.findall(text.lower())]


@cache
def _stemmer() -> Callable[[str], str]:
    from nltk.stem.porter import PorterStemmer  # half a second, and only English ROUGE needs it

    stem: Callable[[str], str] = PorterStemmer().stem
    return stem


@lru_cache(maxsize=1 << 17)
def _stem(word: str) -> str:
    return _stemmer()(word)


#: What jieba takes for one word in a run of Latin letters, digits and signs; its dictionary has two words with signs.
_LATIN_WORD = re.compile(r"c\+\+|c#|[a-zA-Z0-9]+(?:\.\d+)?%?")
_JOINED = frozenset("-.+#&_")


def jieba_words(text: str) -> list[str]:
    """Chinese words by jieba (default dictionary, HMM on), normalised, without punctuation and spaces.

    Cut by its port to Rust, which keeps "2-5" and "www.a.org" whole where jieba parts them; they are parted here.
    """
    import rjieba

    pattern = _token_pattern()
    words: list[str] = []
    for word in rjieba.cut(normalize(text)):
        if _JOINED.isdisjoint(word):
            if pattern.search(word):
                words.append(word)
        else:
            words += _LATIN_WORD.findall(word)
    return words
