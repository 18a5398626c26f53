"""English names by what only people do, by what only people have, and by the company of other names.

A capitalised word of no list is a drug or a disease far oftener than a person, and a family name alone an eponym.
Places that tell them apart: before or behind a verb of speech or mind ("Quenby shouted", "says Oldacre."),
before what is a person's ("Quenby's wife"), called at the head of a sentence ("Quenby, can you come?"), and in a
series with other names ("the founders Quenby, Miller and Oldacre").
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from mulmed.corpus.deidentify.names_en_listed import DRUG_LIKE, EDGE, NOT_PERSON_BEHIND, WORD, kind_of
from mulmed.corpus.deidentify.spans import Span

#: Verbs whose subject is a person; as literals of words (see :mod:`.triggers`).
_VERBS = (
    "said", "says", "told", "tells", "asked", "asks", "shouted", "replied", "wrote", "began writing", "complains", "complained", "lives",
    "thinks", "wants", "had given", "given", "agreed", "agrees", "knows", "knew", "decided", "mentioned", "explained", "remembers",
)  # fmt: skip
SPEAKING = tuple(f" {verb} " for verb in _VERBS)
_VERB = re.compile(rf"(?:{'|'.join(_VERBS)})(?![^\W\d_])")
_BEGINS = r"(?:^|[.!?:;\"”\n]\s?|\b(?:[Aa]nd|[Bb]ut|[Ss]o|[Tt]hen|that|if|when|because|while)\s|,\s)"
_SUBJECT = re.compile(rf"{_BEGINS}({WORD}(?:\s{WORD})?)\s$", re.MULTILINE)
_SAID_BY = re.compile(
    rf"(?:(?:said|says|told|asked)\s(?P<who>{WORD})(?=\s?(?:$|[.,;!?\n\"”])|\s(?:to|that)\b)|(?:told|asked|given)\s(?P<whom>{WORD})\s(?:his|her|their)\b)"
)
_AT_HEAD = re.compile(rf"{_BEGINS}$", re.MULTILINE)
_REACH = 30
_ONE = re.compile(rf"{EDGE}(?<![@./_]){WORD}(?![\w-])")
_OF = ("'s", "’s")
#: Behind a family name at the head of a clause: eponyms have the thing named for them there.
_ACTS = re.compile(
    r" (?:is|was|has|had|will|can|could|would|began|does|did|should|may|gave|got|just|never|also)\b"
)
#: What only people are or do; a word of no list before it that does not end as symptoms and drugs do is one.
_IS_PERSON = re.compile(
    r" (?:(?:is|was) (?:there|present|with (?:me|him|her|us)|born|worried|upset|crying|scared|angry|asleep)|came (?:along|with|over)|went (?:home|along|with))\b"
)
_SYMPTOM_LIKE = re.compile(
    r"(?:ness|ea|itis|oma|osis|ing|tion|sion|ity|ache|pain|emia|uria|ms|gy|ies|es|xia|nia)$"
)
_HAS = re.compile(
    r"['’]s (?:kid|wife|husband|son|daughter|mother|father|mom|mum|dad|brother|sister|family|house|home|address|phone|birthday|doctor|song|parents|friend)\b"
)
_CALLED = re.compile(r", (?:can|could|please|how|do|did) (?!not\b)")
_WORD = re.compile(WORD)
#: Two at least, the last behind "and".
_SERIES = re.compile(rf"{EDGE}{WORD}(?:,[ ]{WORD})*+,?[ ]and[ ]{WORD}(?![\w-])")
_DO = re.compile(r" (?:were|are|have|had|both|did|do|came|went|live|lived|agreed)\b")
_NAMES = frozenset(("given", "family", "foreign"))


def find_speaking(text: str, verbs: Iterable[int]) -> Iterator[Span]:
    """Names beside the verbs that begin at ``verbs``."""
    for verb in verbs:
        if not _VERB.match(text, verb):
            continue
        before = max(0, verb - _REACH)
        for match, offset in ((_SUBJECT.search(text[before:verb]), before), (_SAID_BY.match(text, verb), 0)):
            if match and all(kind_of(word) != "word" for word in match[match.lastindex or 0].split()):
                start, end = match.span(match.lastindex or 0)
                yield Span(offset + start, offset + end, "NAME")


def find_lone(text: str, capitals: Iterable[int]) -> Iterator[Span]:
    """Names of one word at ``capitals`` by what stands behind them."""
    for start in capitals:
        if (match := _ONE.match(text, start)) is None:
            continue
        word = match[0][:-2] if match[0].endswith(_OF) else match[0]
        end = start + len(word)
        if (kind := kind_of(word)) == "word":
            continue
        person = _IS_PERSON.match(text, end) and not DRUG_LIKE.search(word) and not _SYMPTOM_LIKE.search(word)
        if (
            (person and kind in ("unknown", "ambiguous"))
            or _HAS.match(text, end)
            or (
                ((kind in ("family", "foreign") and _ACTS.match(text, end)) or _CALLED.match(text, end))
                and _AT_HEAD.search(text[max(0, start - 9) : start])
            )
        ):
            yield Span(start, end, "NAME")


def find_series(text: str, capitals: Iterable[int]) -> Iterator[Span]:
    """Names in a row: each can be one, and at least one, or half where some are of no list, is nothing else."""
    done = 0
    for start in capitals:
        if start < done or (match := _SERIES.match(text, start)) is None:
            continue
        done = match.end()
        words = list(_WORD.finditer(match[0]))
        kinds = [kind_of(word[0]) for word in words]
        named = sum(kind in _NAMES for kind in kinds)
        if "word" in kinds or not named or NOT_PERSON_BEHIND.match(text, done):
            continue
        if len(kinds) == 2:
            # With one doubtful among them they are as often places or brands, but for what they do.
            sure = not ({"unknown", "ambiguous"} & set(kinds)) or _DO.match(text, done) is not None
        elif "unknown" in kinds:
            drug = any(k == "unknown" and DRUG_LIKE.search(w[0]) for k, w in zip(kinds, words, strict=True))
            sure = 2 * named >= len(kinds) and (named > 1 or not drug)
        else:
            sure = True
        if sure:
            for word in words:
                yield Span(start + word.start(), start + word.end(), "NAME")
