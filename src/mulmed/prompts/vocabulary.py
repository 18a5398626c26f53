"""More tokens for Chinese: a base model's byte pair encoding, continued on the corpus's own texts.

Vocabularies of Llama's kind spend two or three byte tokens on a Chinese character, so that a budget of tokens
holds less of a Chinese consultation than of an English one, and training and answering cost as much more.
New tokens that are only appended to a vocabulary are in part never reached by its merges. Here the merges are
continued instead (Purason et al. 2025, arXiv:2512.03989): the texts as the tokenizer cuts them now are the
letters of a new training of byte pair encoding, and its merges stand behind the old ones. What the old merges
make of any text stays as it was, up to the point where the new ones go on; only stretches of Chinese characters
are ever joined, so that no token of any other text changes.
"""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from mulmed.errors import MulmedError

#: A pair is joined, and a character gets a token, if the texts hold it as often as this.
LEAST = 5
#: Characters learned from at most; of more, every second, third... text is taken.
_ENOUGH = 4_000_000
_CHUNK = 1_000
_HAN = re.compile("[\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]+")
_BYTE = re.compile("<0x[0-9A-F]{2}>")
#: GPT-2's sign for a space in byte-level vocabularies.
_BYTE_SPACE = "Ġ"
#: Code points that stand for tokens while merges are learned: all from here on but the surrogates.
_LETTERS, _SURROGATES = 0x100, range(0xD800, 0xE000)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens that a tokenizer gets in addition.

    Attributes:
        first: id of the first; the others follow it.
        tokens: as the tokenizer's file writes them.
        merges: pairs of tokens, old or new, that are joined, after all of the tokenizer's own.
        pieces: for each token the ids of the old tokens that it stands for.
    """

    first: int
    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]
    pieces: tuple[tuple[int, ...], ...]

    @property
    def ids(self) -> range:
        """The new tokens' ids."""
        return range(self.first, self.first + len(self.tokens))

    def document(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "first": self.first,
            "tokens": list(self.tokens),
            "merges": [list(pair) for pair in self.merges],
            "pieces": [list(ids) for ids in self.pieces],
        }

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Vocabulary:
        """What :meth:`document` wrote."""
        return cls(
            document["first"],
            tuple(document["tokens"]),
            tuple((a, b) for a, b in document["merges"]),
            tuple(map(tuple, document["pieces"])),
        )


def learn_vocabulary(
    tokenizer: Any,
    texts: Sequence[str],
    size: int,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Vocabulary:
    """At most ``size`` new tokens of Chinese characters, learned from texts.

    Where a vocabulary falls back to bytes (SentencePiece), characters that it lacks come first, the most
    frequent ones before others; then pairs of neighbouring tokens are joined, the most frequent first.

    Args:
        tokenizer: a fast Hugging Face tokenizer with a byte pair encoding.
        texts: training records' texts, of which others than the Chinese stretches are not looked at.
        size: how many tokens.
        progress: called with what is done, how much of it, and of how much.

    Raises:
        MulmedError: the tokenizer is of another kind, or the texts hold nothing frequent enough to learn.
    """
    backend = tokenizer.backend_tokenizer
    if not isinstance(backend.model, BPE):
        raise MulmedError(
            f"The base model's tokenizer is no byte pair encoding but {type(backend.model).__name__}, "
            "which has no merges to be continued.",
            where="vocabulary",
            remedy="Leave `vocabulary` out, or use another base.",
        )
    vocabulary = backend.get_vocab(with_added_tokens=True)
    first = max(vocabulary.values()) + 1
    letters = _Letters(first)
    stretches = list(_stretches(backend, _sample(texts), letters, progress))
    missing = Counter(letter for stretch in stretches for letter in stretch if letter in letters.missing)
    ranked = sorted(missing, key=lambda letter: (-missing[letter], letters.token[letter]))
    characters = [letter for letter in ranked if missing[letter] >= LEAST][:size]
    tokens = [letters.token[letter] for letter in characters]
    pieces = [letters.pieces[letter] for letter in characters]
    known = {tuple(pair) for pair in json.loads(backend.to_str())["model"]["merges"]}
    new = dict.fromkeys(tokens)
    merges: list[tuple[str, str]] = []
    progress("learning new tokens", 0, 0)
    for left, right in _merges(stretches, letters.missing - set(characters), size - len(tokens)):
        pair = letters.written(left), letters.written(right)
        if pair in known:
            continue
        known.add(pair)
        merges.append(pair)
        joined = "".join(pair)
        if joined not in vocabulary and joined not in new:
            new[joined] = None
            tokens.append(joined)
            pieces.append(letters.ids(left + right))
    if not tokens:
        raise MulmedError(
            f"No two neighbouring tokens of Chinese characters occur {LEAST} times in the training records.",
            where="vocabulary",
            remedy="Add Chinese training records, or leave `vocabulary` out.",
        )
    return Vocabulary(first, tuple(tokens), tuple(merges), tuple(pieces))


def extend_tokenizer(tokenizer: Any, vocabulary: Vocabulary) -> Any:
    """A copy of the tokenizer that knows the new tokens.

    It is a usual fast tokenizer: tokens and merges stand in ``tokenizer.json`` like its own.
    """
    extended = copy.deepcopy(tokenizer)
    backend = extended.backend_tokenizer
    layout = json.loads(backend.to_str())
    model = layout["model"]
    # Whoever reads the file numbers an added token by the size of the vocabulary, unless it stands there.
    model["vocab"] |= {token["content"]: token["id"] for token in layout["added_tokens"]}
    model["vocab"] |= dict(zip(vocabulary.tokens, vocabulary.ids, strict=True))
    model["merges"] += [list(pair) for pair in vocabulary.merges]
    backend.model = Tokenizer.from_str(json.dumps(layout, ensure_ascii=False)).model
    return extended


class _Letters:
    """Tokens as single characters, for a trainer that knows only such.

    Attributes:
        token: of each letter the token, or the character that has none.
        pieces: of each letter the token's id, or those of the character's bytes.
        missing: letters that stand for characters without a token.
    """

    def __init__(self, first_new: int) -> None:
        self.token: dict[str, str] = {}
        self.pieces: dict[str, tuple[int, ...]] = {}
        self.missing: set[str] = set()
        self._first_new = first_new

    def of_token(self, token: str, id_: int) -> str:
        """The letter of a token: which one depends on its id alone, as ties are decided by letters."""
        return self._letter(id_, token, (id_,))

    def of_character(self, character: str, ids: tuple[int, ...]) -> str:
        """The letter of a character that has no token, but one a byte."""
        letter = self._letter(self._first_new + ord(character), character, ids)
        self.missing.add(letter)
        return letter

    def _letter(self, number: int, written: str, ids: tuple[int, ...]) -> str:
        code = _LETTERS + number
        letter = chr(code if code < _SURROGATES.start else code + len(_SURROGATES))
        self.token[letter], self.pieces[letter] = written, ids
        return letter

    def written(self, letters: str) -> str:
        return "".join([self.token[letter] for letter in letters])

    def ids(self, letters: str) -> tuple[int, ...]:
        return tuple(i for letter in letters for i in self.pieces[letter])


def _sample(texts: Sequence[str]) -> Sequence[str]:
    """Not more than enough of them, from everywhere."""
    return texts[:: 1 + sum(map(len, texts)) // _ENOUGH]


def _stretches(
    backend: Tokenizer,
    texts: Sequence[str],
    letters: _Letters,
    progress: Callable[[str, int, int], None],
) -> Iterator[str]:
    """The texts' stretches of tokens of Chinese characters, as letters.

    A stretch ends where the tokenizer parts a text before it merges.
    """
    for start in range(0, len(texts), _CHUNK):
        progress("texts cut into tokens", start, len(texts))
        chunk = [part for text in texts[start : start + _CHUNK] for part in text.splitlines()]
        for text, encoding in zip(chunk, backend.encode_batch(chunk, add_special_tokens=False), strict=True):
            yield from _stretches_of(text, encoding, letters)
    progress("texts cut into tokens", len(texts), len(texts))


def _stretches_of(text: str, encoding: Any, letters: _Letters) -> Iterator[str]:
    stretch: list[str] = []
    word = None
    bytes_of: tuple[int, int] | None = None  # the character whose bytes have been taken together
    rows = list(zip(encoding.tokens, encoding.ids, encoding.offsets, encoding.word_ids, strict=True))
    for i, (token, id_, (start, end), of_word) in enumerate(rows):
        if _BYTE.fullmatch(token) and bytes_of == (start, end):
            continue
        piece = text[start:end]
        inside = _HAN.fullmatch(piece) is not None and _BYTE_SPACE not in token
        missing = inside and _BYTE.fullmatch(token) is not None
        if missing:
            bytes_of = (start, end)
            ids = tuple(row[1] for row in rows[i : i + len(piece.encode())])
            letter = letters.of_character(piece, ids)
        elif inside and not token.startswith("▁"):
            letter = letters.of_token(token, id_)
        else:
            letter = ""
        if stretch and (not letter or of_word != word):
            yield "".join(stretch)
            stretch.clear()
        if letter:
            stretch.append(letter)
        word = of_word
    if stretch:
        yield "".join(stretch)


def _merges(stretches: Sequence[str], left_out: set[str], size: int) -> list[tuple[str, str]]:
    """Pairs of letters, or of what was joined of them, in the order in which they are joined."""
    if left_out:
        apart = re.compile("[" + "".join(map(re.escape, sorted(left_out))) + "]")
        stretches = [part for stretch in stretches for part in apart.split(stretch)]
    alphabet = {letter for stretch in stretches for letter in stretch}
    learner = Tokenizer(BPE())
    learner.train_from_iterator(
        stretches,
        BpeTrainer(vocab_size=len(alphabet) + size, min_frequency=LEAST, show_progress=False),
    )
    return [(left, right) for left, right in json.loads(learner.to_str())["model"]["merges"]]
