"""Over-long records shortened to what the model reads, keeping what matters (the paper's 2.1).

The published code cuts at 256 tokens from the right, so that a long question leaves no answer to learn.
Here a dialogue loses its oldest rounds first, since each answer builds on what came just before it; but what
the patient told first (age, history, allergies, drugs) is told only once, and goes on, shortened, before the
first question that is kept. Of a round that is left alone the answer is kept and the question shortened by
whole sentences; the answer is shortened only when it would leave the question less than a quarter of the
room. Sentences go by what they are about (:mod:`mulmed.corpus.salience`), and nothing is ever cut inside a
number with its unit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import accumulate, islice, pairwise
from typing import Protocol, TypeVar

from mulmed.corpus.edits import Edit, apply
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.salience import Role, importance, mentions, quantities, signs
from mulmed.corpus.sentences import sentence_ends
from mulmed.corpus.stage import Finding, Outcome, findings_of
from mulmed.errors import MulmedError

#: Number of tokens of each of some texts. Two methods are used where it has them
#: (:class:`mulmed.prompts.counting.TokenCounter`): ``at_most``, upper bounds that are found faster, and
#: ``measure``, by which sentences need not be counted again.
CountTokens = Callable[[Sequence[str]], list[int]]
#: (task, language) -> tokens the template adds to the first round and to each later one, end of text
#: included (:meth:`mulmed.prompts.render.Renderer.overhead`).
Overhead = Mapping[tuple[str, str], tuple[int, int]]
#: A stretch of a text.
Span = tuple[int, int]
#: Tokens of the neighbouring stretches of one text that end at some offsets.
_Between = Callable[[Sequence[int]], list[int]]
_T = TypeVar("_T")
#: A job that asks for the tokens of a text now and then.
_Counting = Generator[str, int, _T]

#: The answer may not leave the question less than this share of the room, where the question needs it.
_QUESTION_SHARE = 0.25
#: What the patient told first may take this share of the room, where it needs it, from later rounds.
_DESCRIPTION_SHARE = 0.4
#: A round is shortened rather than dropped while this share of the room is left for it.
_ROUND_SHARE = 0.08
#: Tokens of the line break between that and the question it is put before.
_JOINED = 1
_LEAST_ROOM = 16
_WORD = re.compile(r"\S+")
_CLAUSE_END = re.compile(r"(?<=[，；;、])|(?<=,)(?=\s)")


class _Measured(Protocol):
    """Sizes of texts, and of stretches of them: :class:`mulmed.prompts.counting.Measured`."""

    sizes: list[int]

    def between(self, number: int, ends: Sequence[int]) -> list[int]: ...


class _Counted:
    """The same by nothing but counting."""

    def __init__(self, texts: Sequence[str], count_tokens: CountTokens) -> None:
        self.sizes = count_tokens(texts)
        self._texts, self._count = texts, count_tokens

    def between(self, number: int, ends: Sequence[int]) -> list[int]:
        return self._count([self._texts[number][a:b] for a, b in pairwise([0, *ends])])


def _measure(texts: Sequence[str], count_tokens: CountTokens) -> _Measured:
    measure = getattr(count_tokens, "measure", None)
    measured: _Measured = measure(texts) if measure else _Counted(texts, count_tokens)
    return measured


def shorten(text: str, budget: int, language: str, role: Role, count_tokens: CountTokens) -> list[Edit]:
    """Deletions that leave at most ``budget`` tokens: the most important sentences, in their order.

    Sentences too long for that give clauses; only when no clause fits is one cut in itself.
    """
    measured = _measure([text], count_tokens)
    job = _shorten(text, measured.sizes[0], partial(measured.between, 0), budget, language, role)
    ((edits, _),) = _together([job], count_tokens)
    return edits


def cut(text: str, budget: int, language: str, count_tokens: CountTokens) -> int:
    """Length of the longest beginning of a text within ``budget`` tokens; English is cut between words.

    Never inside a number with its unit.
    """
    between = partial(_measure([text], count_tokens).between, 0)
    ((length, _),) = _together([_cut(text, (0, len(text)), between, budget, language)], count_tokens)
    return length


def _together(jobs: Iterable[_Counting[_T]], count_tokens: CountTokens) -> list[_T]:
    """What some jobs return, that of all of them are counted at once which texts they ask for next.

    Counting many texts costs little more than counting one.
    """
    running = list(enumerate(jobs))
    results: dict[int, _T] = {}
    answers: Sequence[int | None] = [None] * len(running)
    while running:
        asked: list[tuple[int, _Counting[_T]]] = []
        texts: list[str] = []
        for (i, job), answer in zip(running, answers, strict=True):
            try:
                texts.append(job.send(answer))  # type: ignore[arg-type]
            except StopIteration as end:
                results[i] = end.value
            else:
                asked.append((i, job))
        running, answers = asked, count_tokens(texts) if texts else []
    return [results[i] for i in range(len(results))]


def _shorten(
    text: str,
    size: int,
    between: _Between,
    budget: int,
    language: str,
    role: Role,
    *,
    to_its_end: bool = False,
) -> _Counting[tuple[list[Edit], int]]:
    """What :func:`shorten` returns, and how many tokens are left of the text's ``size``.

    Args:
        to_its_end: the last sentence stays before all others, if there is room for it.
    """
    if size <= budget:
        return [], size
    if budget <= 0:
        return _without(text, []), 0
    spans, sizes = _units(text, between, budget, language)
    scores = importance([text[a:b] for a, b in spans], language, role)
    chosen: list[int] = []  # most important first
    room = budget
    order = sorted(range(len(spans)), key=lambda i: (-scores[i][0], -scores[i][1], i))
    if to_its_end:
        order.sort(key=lambda i: i != len(spans) - 1)
    for i in order:
        if sizes[i] <= room:
            chosen.append(i)
            room -= sizes[i]
    # Sentences joined may be more tokens than the sum of them apart.
    while chosen:
        edits = _without(text, [spans[i] for i in sorted(chosen)])
        left = yield apply(text, edits)
        if left <= budget:
            return edits, left
        chosen.pop()
    most = max(range(len(spans)), key=lambda i: (scores[i], -i))
    start = spans[most][0]
    kept, left = yield from _cut(text, spans[most], between, budget, language)
    return _without(text, [(start, start + kept)] if kept else []), left


def _cut(text: str, span: Span, between: _Between, budget: int, language: str) -> _Counting[tuple[int, int]]:
    """Length of the longest beginning of a stretch of a text within a budget, and its size."""
    start, stop = span
    by_words = language != "zh"
    words = (match.end() for match in _WORD.finditer(text, start, stop))
    ends = _outside(words if by_words else range(start + 1, stop + 1), text)
    _, *sizes = between([start, *ends])
    totals = list(accumulate(sizes))
    room = budget
    while (fit := bisect_right(totals, room)) > 0:
        # Apart from what follows it, it may be more.
        size = yield text[start : ends[fit - 1]]
        if size <= budget:
            return ends[fit - 1] - start, size
        room = min(totals[fit - 1] - 1, room - (size - budget))
    # One long word: a link, or a text without spaces.
    return (yield from _cut(text, span, between, budget, "zh")) if by_words else (0, 0)


def _units(text: str, between: _Between, budget: int, language: str) -> tuple[list[Span], list[int]]:
    """Sentences with their sizes, those that would take half the room for themselves divided into clauses."""
    ends = sentence_ends(text, language)
    # No other end of a sentence stands inside a number with its unit.
    if "\n" in text:
        ends = _outside(ends, text)
    sizes = between(ends)
    if max(sizes) * 2 > budget:
        clauses = [
            start + clause.end()
            for (start, end), size in zip(pairwise([0, *ends]), sizes, strict=True)
            if size * 2 > budget
            for clause in _CLAUSE_END.finditer(text[start:end])
        ]
        ends = sorted({*_outside(clauses, text), *ends})
        sizes = between(ends)
    return list(pairwise([0, *ends])), sizes


def _outside(ends: Iterable[int], text: str) -> list[int]:
    """Those of some offsets at which no number is parted from its unit."""
    inside = {i for a, b in quantities(text) for i in range(a + 1, b)}
    return [end for end in ends if end not in inside]


def _without(text: str, kept: Sequence[Span]) -> list[Edit]:
    """Deletions of all but some stretches, and of the white space that would stand at an end for it."""
    edits, position = [], 0
    while kept and not text[slice(*kept[0])].strip():
        kept = kept[1:]
    while kept and not text[slice(*kept[-1])].strip():
        kept = kept[:-1]
    for i, (a, b) in enumerate(kept):
        if i == 0 < a:
            a += len(text[a:b]) - len(text[a:b].lstrip())
        if i == len(kept) - 1 and b < len(text):
            b = a + len(text[a:b].rstrip())
        if a > position:
            edits.append(Edit(position, a, "", ""))
        position = b
    return [*edits, Edit(position, len(text), "", "")] if position < len(text) else edits


@dataclass(frozen=True, slots=True)
class _Room:
    """What a record may fill: ``cutoff`` tokens less the template's first and later rounds."""

    cutoff: int
    first: int
    later: int

    def for_texts(self, rounds: int) -> int:
        return self.cutoff - self.first - self.later * (rounds - 1)


@dataclass(frozen=True, slots=True)
class Truncated:
    """What shortening did.

    Attributes:
        outcomes: one a record, in their order.
        mentions: how many mentions of each kind the records that were shortened had, kept, and would have kept
            if they had been cut at the right: ``KIND before``, ``KIND kept``, ``KIND cut at the right``; with
            ``records``. Those of several chunks may be added.
    """

    outcomes: list[Outcome]
    mentions: dict[str, int]


def truncate_records(
    records: Sequence[Record], cutoff: int, overhead: Overhead, count_tokens: CountTokens
) -> Truncated:
    """Records that fit into ``cutoff`` tokens, template and end-of-text tokens included.

    Training and validation: the oldest rounds of a dialogue go until the rest fits or one is left (rule
    ``oldest turns``). What its first turn told stays in front of the first question kept, after it a line
    break (``description kept``), shortened as far as needed (``question shortened`` in ``turns[0]``). Of a
    round left alone the question is shortened (``question shortened``) and, where the answer is too long
    for both, its answer (``answer shortened``; ``answer_cut`` is set where its end has gone). Test: what is
    asked must fit, by the same rules; the reference stays whole.

    Raises:
        MulmedError: the template leaves hardly any room for text.
    """
    for (task, language), (first, _) in overhead.items():
        if cutoff - first < _LEAST_ROOM:
            raise MulmedError(
                f"The prompt template alone takes {first} of {cutoff} tokens.",
                where=f"cutoff (task {task}, language {language})",
                remedy=f"Set cutoff to {first + 128} or more.",
            )
    rooms = [_Room(cutoff, *overhead[r.task, r.language]) for r in records]
    texts = [text for record in records for text in _texts(record)]
    bounds = _grouped(records, getattr(count_tokens, "at_most", count_tokens)(texts))
    maybe = [i for i, record in enumerate(records) if not _fits(record, bounds[i], rooms[i])]
    texts = [text for i in maybe for text in _texts(records[i])]
    measured = _measure(texts, count_tokens)
    counts = _grouped([records[i] for i in maybe], measured.sizes)
    outcomes = [Outcome(record) for record in records]
    jobs, long, position = [], [], 0
    for i, tokens in zip(maybe, counts, strict=True):
        if not _fits(records[i], tokens, rooms[i]):
            stretches = [partial(measured.between, position + k) for k in range(len(tokens))]
            jobs.append(_fitted(records[i], tokens, stretches, rooms[i]))
            long.append((i, tokens, stretches))
        position += len(tokens)
    shortened = 0
    seen: dict[str, list[int]] = {"before": [], "kept": [], "cut at the right": []}
    for (i, tokens, stretches), outcome in zip(long, _together(jobs, count_tokens), strict=True):
        outcomes[i] = outcome
        if outcome.record is not None and outcome.findings:
            language, given, left = records[i].language, _read(records[i]), _read(outcome.record)
            whole, end = _cut_at_the_right(records[i], tokens, stretches, rooms[i])
            cut_short = [*given[:whole], *(text[:end] for text in given[whole : whole + 1])]
            found = {text: signs(text, language) for text in {*given, *left, *cut_short}}
            for when, texts in (("before", given), ("kept", left), ("cut at the right", cut_short)):
                for text in texts:
                    seen[when] += found[text]
            shortened += 1
    survived = {f"{kind} {when}": n for when in seen for kind, n in mentions(seen[when]).items()}
    return Truncated(outcomes, survived | {"records": shortened})


def _cut_at_the_right(
    record: Record, tokens: Sequence[int], stretches: Sequence[_Between], room: _Room
) -> tuple[int, int]:
    """What the published code keeps: how many texts whole, and how many characters of the next, which is right
    to within a few words."""
    left = room.for_texts(1)
    texts = _read(record)
    for i, (text, size) in enumerate(zip(texts, tokens, strict=False)):
        if i > 1 and i % 2:
            left -= room.later
        if size > left:
            if left <= 0:
                return i, 0
            end = len(text) * left // size
            (taken,) = stretches[i]([end])
            if taken > left:
                end = end * left // taken
            else:
                end += (len(text) - end) * (left - taken) // (size - taken)
            # Not within a word.
            while 0 < end < len(text) and text[end - 1 : end + 1].isalnum() and text[end].isascii():
                end -= 1
            return i, end
        left -= size
    return len(texts), 0


def _read(record: Record) -> list[str]:
    """The texts of a record that must fit: all, but of a test record the reference."""
    texts = _texts(record)
    return texts[:-1] if record.split == "test" else texts


def _texts(record: Record) -> list[str]:
    return [record.context, *(turn.text for turn in record.turns)]


def _grouped(records: Sequence[Record], sizes: Iterable[int]) -> list[list[int]]:
    """Of each record: tokens of its context, of each turn."""
    remaining = iter(sizes)
    return [list(islice(remaining, 1 + len(record.turns))) for record in records]


def _fits(record: Record, tokens: Sequence[int], room: _Room) -> bool:
    return sum(tokens[: -1 if record.split == "test" else None]) <= room.for_texts(len(record.turns) // 2)


def _fitted(
    record: Record, tokens: Sequence[int], stretches: Sequence[_Between], room: _Room
) -> _Counting[Outcome]:
    """A record that is too long, shortened. ``tokens`` and ``stretches``: of its context, of each turn."""
    rounds = len(record.turns) // 2
    must_fit = [*tokens[:-1], 0] if record.split == "test" else tokens
    later = sum(must_fit[1:])  # tokens of the rounds after the first one kept
    for first in range(rounds):
        asked, answered = must_fit[2 * first + 1 : 2 * first + 3]
        later -= asked + answered
        budget = room.for_texts(rounds - first)
        share = int(budget * _DESCRIPTION_SHARE)
        reserved = min(tokens[1] + _JOINED, share) if first else 0
        left = budget - later - reserved
        is_last = first == rounds - 1
        least = tokens[0] + min(asked + answered, int(budget * _ROUND_SHARE))
        if left < least and not is_last:
            continue
        whole = replace(record, turns=record.turns[2 * first :]) if first else record
        kept, sizes, findings = whole, [tokens[0], asked, answered], list[Finding]()
        if sum(sizes) > left:
            share = share if rounds > 1 and not first else int(left * _QUESTION_SHARE)
            here = [stretches[0], *stretches[2 * first + 1 : 2 * first + 3]]
            kept, sizes, findings = yield from _round_shortened(whole, sizes, here, 2 * first, left, share)
            empty = not all(turn.text for turn in kept.turns)
            if not is_last and (empty or kept.answer_cut > record.answer_cut):
                continue
            if empty and reserved:
                sizes, left = [tokens[0], asked, answered], left + reserved
                share = int(left * _QUESTION_SHARE)
                kept, sizes, findings = yield from _round_shortened(
                    whole, sizes, here, 2 * first, left, share
                )
        if first:
            left = budget - later - sum(sizes)
            kept, told = yield from _with_description(
                kept, record.turns[: 2 * first], stretches[1], (tokens[1], sizes[1]), left
            )
            findings = told + findings
        return Outcome(kept, tuple(findings))
    raise AssertionError("a record without a round")


def _round_shortened(
    record: Record,
    sizes: Sequence[int],
    stretches: Sequence[_Between],
    number: int,
    budget: int,
    share: int,
) -> _Counting[tuple[Record, list[int], list[Finding]]]:
    """A record with its first round shortened: first the question, then the answer.

    Args:
        sizes, stretches: tokens of context, question and answer (0 if it need not fit).
        number: which turn of the record as given its question was.
        budget: tokens that context, question and answer may have.
        share: how many of them the answer may not take from context and question.

    Returns:
        The record (``answer_cut``: the end of the shortened answer has gone), its ``sizes``, what was done.
    """
    question, answer = record.turns[:2]
    context, language = record.context, record.language
    findings: list[Finding] = []

    def change(text: str, part: int, budget: int, field: str, role: Role) -> _Counting[tuple[str, int, bool]]:
        """The text within a budget, its size, and whether its end has gone."""
        if sizes[part] <= budget:
            return text, sizes[part], False
        rule = "answer shortened" if role == "answer" else "question shortened"
        # An answer that others follow ends where the doctor ended it.
        followed = role == "answer" and len(record.turns) > 2
        shorter, left = yield from _shorten(
            text, sizes[part], stretches[part], budget, language, role, to_its_end=followed
        )
        edits = [e._replace(rule=rule) for e in shorter]
        findings.extend(findings_of(field, text, edits))
        *_, end = edits
        return apply(text, edits), left, end.end == len(text) and bool(text[end.start :].strip())

    context_size, asked, answered = sizes
    left = max(budget - answered, min(context_size + asked, share))
    role: Role = "abstract" if record.task == "summary" else "question"
    if context and context_size + asked > left:
        context, context_size, _ = yield from change(
            context, 0, left - min(asked, left // 2), "context", role
        )
    text, asked, _ = yield from change(question.text, 1, left - context_size, f"turns[{number}]", role)
    reply, answered, cut_off = yield from change(
        answer.text, 2, budget - context_size - asked, f"turns[{number + 1}]", "answer"
    )
    shorter = replace(
        record,
        context=context,
        turns=(Turn("user", text), Turn("assistant", reply), *record.turns[2:]),
        answer_cut=record.answer_cut or cut_off,
    )
    return shorter, [context_size, asked, answered], findings


def _with_description(
    record: Record, dropped: Sequence[Turn], between: _Between, sizes: tuple[int, int], left: int
) -> _Counting[tuple[Record, list[Finding]]]:
    """A dialogue whose first question begins with as much of what was told first as there is room for.

    Args:
        dropped: the turns that went before this record's.
        between: of the first of them.
        sizes: tokens of what was told first, and of the first question left.
        left: tokens that may still be added.
    """
    description, question = dropped[0].text, record.turns[0].text
    budget, left = sizes[1] + left, left - _JOINED
    findings: list[Finding] = []
    while left > 0:
        edits, _ = yield from _shorten(description, sizes[0], between, left, record.language, "question")
        told = apply(description, edits)
        if not told.strip():
            break
        text = f"{told}\n{question}"
        size = yield text
        excess = size - budget
        if excess <= 0:
            record = replace(record, turns=(Turn("user", text), *record.turns[1:]))
            rule = "question shortened"
            findings = [Finding("description kept", field="turns[0]", detail=f"before turns[{len(dropped)}]")]
            findings += findings_of("turns[0]", description, (e._replace(rule=rule) for e in edits))
            break
        left -= excess
    for i, turn in enumerate(dropped):
        if i or not findings:
            edit = Edit(0, len(turn.text), "", "oldest turns")
            findings.append(Finding("oldest turns", 1, "", f"turns[{i}]", edit, turn.text))
    return record, findings
