"""A corpus of the paper's size and mix, made out of the real records in a folder.

Every record keeps the length of a real one and is put together from sentences of its source in which a
share of the words is exchanged, so that neither whole texts nor long runs of words repeat. Numbers are
drawn anew, digit by digit.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from mulmed.corpus import sources
from mulmed.corpus.sentences import sentences
from mulmed.corpus.sources.layout import Found
from mulmed.recipe import Source

#: Table 1 of the paper.
SIZES = {"plos": 27_525, "elife": 4_828, "healthcaremagic": 112_165, "haodf": 151_000, "icliniq": 7_321}
#: Rounds of a dialogue of haodf in Table 1, on average; the real file at hand has longer ones.
ROUNDS = 2.5
FILES = {
    "plos": ("laysumm", "laysumm/PLOS_val.jsonl.gz", "en"),
    "elife": ("laysumm", "laysumm/eLife_val.jsonl.gz", "en"),
    "healthcaremagic": ("healthcaremagic", "healthcaremagic/HealthCareMagic-100k.json.gz", "en"),
    "haodf": ("meddialog-zh", "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz", "zh"),
    "icliniq": ("icliniq", "icliniq/iCliniq.json.gz", "en"),
}
_EXCHANGED = {"en": 0.15, "zh": 0.12}
_PIECE = {
    "en": re.compile(r"[A-Za-z]+|\d|[^A-Za-z\d]+"),
    "zh": re.compile(r"[\u4e00-\u9fff]|\d|[^\u4e00-\u9fff\d]+"),
}


class Varied:
    """Makes texts that look like those of one field of one source."""

    def __init__(self, texts: list[str], language: str, rng: random.Random) -> None:
        self._language, self._rng = language, rng
        self._parts = [sentences(text, language) for text in texts]
        self._pool = [part for parts in self._parts for part in parts]
        pieces = (p for text in texts for p in _PIECE[language].findall(text))
        self._words = [p for p in pieces if p.isalpha() and (language == "zh" or p.islower())]

    def text(self) -> str:
        """As many sentences as a random real text has, the first and the last from such places."""
        rng = self._rng
        model = rng.choice(self._parts)
        chosen = [rng.choice(self._pool) for _ in model]
        chosen[0], chosen[-1] = rng.choice(self._parts)[0], rng.choice(self._parts)[-1]
        share = _EXCHANGED[self._language]
        made = []
        for piece in _PIECE[self._language].findall("".join(chosen)):
            if piece.isdigit() and piece.isascii():
                made.append(str(rng.randrange(10)))
            elif piece.isalpha() and (self._language == "zh" or piece.islower()) and rng.random() < share:
                made.append(rng.choice(self._words))
            else:
                made.append(piece)
        return "".join(made)


def write(data: Path, out: Path, scale: float = 1.0) -> dict[str, int]:
    """Write the corpus in its published layouts into ``out``; the number of records of each source.

    Args:
        data: folder with the real files under :data:`FILES`.
        scale: share of the paper's sizes.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = {}
    for name, (layout, path, language) in FILES.items():
        count = round(SIZES[name] * scale)
        file = (
            out
            / f"{name}{'.txt' if name == 'haodf' else '.json' if name in ('healthcaremagic', 'icliniq') else '.jsonl'}"
        )
        made[name] = count
        if file.exists():
            continue
        source = Source.model_validate({"layout": layout, "path": path, "language": language})
        found = [item.parsed for item in sources.read(source, data / path) if isinstance(item, Found)]
        rng = random.Random(f"{name} {scale}")
        rounds = [[t.text for t in p.turns] for p in found]
        asked = Varied([r[0] for r in rounds], language, rng)
        answered = Varied([t for r in rounds for t in r[1::2]], language, rng)
        again = Varied([t for r in rounds for t in r[2::2]] or ["a"], language, rng)
        partial = file.with_suffix(".partial")
        with partial.open("w", encoding="utf-8") as stream:
            stream.writelines(_WRITERS[name](count, asked, answered, again, rng))
        partial.rename(file)
    return made


def _laysumm(count: int, asked: Varied, answered: Varied, *_: object) -> Iterator[str]:
    for _number in range(count):
        row = {"abstract": asked.text(), "lay_summary": answered.text()}
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _array(question: str, answer: str) -> Callable[..., Iterator[str]]:
    def rows(count: int, asked: Varied, answered: Varied, *_: object) -> Iterator[str]:
        for number in range(count):
            row = {"instruction": "", question: asked.text(), answer: answered.text()}
            yield ("[\n" if number == 0 else ",\n") + json.dumps(row, ensure_ascii=False)
        yield "\n]\n"

    return rows


def _haodf(count: int, asked: Varied, answered: Varied, again: Varied, rng: random.Random) -> Iterator[str]:
    for number in range(count):
        turns = [f"医生：{answered.text()}\n"]
        while rng.random() < 1 - 1 / ROUNDS:
            turns.append(f"病人：{again.text()}\n医生：{answered.text()}\n")
        yield f"id={number}\nDescription\n病情描述：{asked.text()}\n\nDialogue\n{''.join(turns)}\n"


_WRITERS: dict[str, Callable[..., Iterator[str]]] = {
    "plos": _laysumm,
    "elife": _laysumm,
    "healthcaremagic": _array("input", "output"),
    "haodf": _haodf,
    "icliniq": _array("input", "answer_icliniq"),
}
