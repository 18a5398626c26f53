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

import itertools
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from mulmed.corpus.edits import Edit, apply
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.salience import Role, clinical_mentions, importance, quantities
from mulmed.corpus.sentences import sentences
from mulmed.corpus.stage import Finding, Outcome, findings_of
from mulmed.errors import MulmedError

#: Number of tokens of each of some texts. One with a method ``at_most`` (upper bounds, found faster) is asked
#: for those first: :class:`mulmed.prompts.counting.TokenCounter`.
CountTokens = Callable[[Sequence[str]], list[int]]
#: (task, language) -> tokens the template adds to the first round and to each later one, end of text
#: included (:meth:`mulmed.prompts.render.Renderer.overhead`).
Overhead = Mapping[tuple[str, str], tuple[int, int]]
#: A stretch of a text.
Span = tuple[int, int]
_T = TypeVar("_T")
#: A job that asks for the tokens of texts as it goes.
_Counting = Generator[Sequence[str], list[int], _T]

#: The answer may not leave the question less than this share of the room, where the question needs it.
_QUESTION_SHARE = 0.25
#: What the patient told first may take this share of the room, where it needs it, from later rounds.
_DESCRIPTION_SHARE = 0.4
#: A round is shortened rather than dropped while this share of the room is left for it.
_ROUND_SHARE = 0.25
#: Tokens of the line break between that and the question it is put before.
_JOINED = 1
_LEAST_ROOM = 16
_CLAUSE_END = re.compile(r"(?<=[，；;、])|(?<=,)(?=\s)")


def shorten(text: str, budget: int, language: str, role: Role, count_tokens: CountTokens) -> list[Edit]:
    """Deletions that leave at most ``budget`` tokens: the most important sentences, in their order.

    Sentences too long for that give clauses; only when no clause fits is one cut in itself.
    """
    (edits,) = _together([_shorten(text, budget, language, role)], count_tokens)
    return edits


def cut(text: str, budget: int, language: str, count_tokens: CountTokens) -> int:
    """Length of the longest beginning of a text within ``budget`` tokens; English is cut between words.

    Never inside a number with its unit.
    """
    (length,) = _together([_cut(text, budget, language)], count_tokens)
    return length


def _together(jobs: Iterable[_Counting[_T]], count_tokens: CountTokens) -> list[_T]:
    """What some jobs return, that of all of them are counted at once which texts they ask for next.

    Counting many texts costs little more than counting one.
    """
    running = list(enumerate(jobs))
    results: dict[int, _T] = {}
    answers: list[list[int] | None] = [None] * len(running)
    while running:
        asked: list[tuple[int, _Counting[_T]]] = []
        texts: list[str] = []
        lengths: list[int] = []
        for (i, job), answer in zip(running, answers, strict=True):
            try:
                request = job.send(answer)  # type: ignore[arg-type]
            except StopIteration as end:
                results[i] = end.value
            else:
                asked.append((i, job))
                texts += request
                lengths.append(len(request))
        counts = iter(count_tokens(texts) if texts else [])
        running, answers = asked, [list(itertools.islice(counts, n)) for n in lengths]
    return [results[i] for i in range(len(results))]


def _shorten(
    text: str, budget: int, language: str, role: Role, size: int | None = None
) -> _Counting[list[Edit]]:
    """:func:`shorten`; ``size``: tokens of the text, where they are known."""
    if budget <= 0:
        return _without(text, [])
    if size is None:
        (size,) = yield [text]
    if size <= budget:
        return []
    spans, sizes = yield from _units(text, budget, language)
    parts = [text[a:b] for a, b in spans]
    scores = importance(parts, language, role)
    chosen: list[int] = []  # most important first
    room = budget
    for i in sorted(range(len(parts)), key=lambda i: (-scores[i][0], -scores[i][1], i)):
        if sizes[i] <= room:
            chosen.append(i)
            room -= sizes[i]
    # Sentences joined may be more tokens than the sum of them apart.
    while chosen:
        edits = _without(text, [spans[i] for i in sorted(chosen)])
        (left,) = yield [apply(text, edits)]
        if left <= budget:
            return edits
        chosen.pop()
    most = max(range(len(parts)), key=lambda i: (scores[i], -i))
    start, end = spans[most]
    kept = yield from _cut(text[start:end], budget, language)
    return _without(text, [(start, start + kept)] if kept else [])


def _cut(text: str, budget: int, language: str) -> _Counting[int]:
    inside = {i for a, b in quantities(text) for i in range(a + 1, b)}
    ends = range(1, len(text) + 1) if language == "zh" else [m.end() for m in re.finditer(r"\S+", text)]
    allowed = [end for end in ends if end not in inside]
    low, high = 0, len(allowed)  # allowed[:low] fit
    while low < high:
        middle = (low + high + 1) // 2
        (size,) = yield [text[: allowed[middle - 1]]]
        if size <= budget:
            low = middle
        else:
            high = middle - 1
    if low or language == "zh":
        return allowed[low - 1] if low else 0
    # One long word: a link, or a text without spaces.
    return (yield from _cut(text, budget, "zh"))


def _units(text: str, budget: int, language: str) -> _Counting[tuple[list[Span], list[int]]]:
    """Sentences with their sizes, those that would take half the room for themselves divided into clauses."""
    inside = {i for a, b in quantities(text) for i in range(a + 1, b)}
    spans = _spans(sentences(text, language), 0, inside)
    sizes = yield _apart(text, spans, language)
    if max(sizes) * 2 <= budget:
        return spans, sizes
    units: list[Span] = []
    for (a, b), size in zip(spans, sizes, strict=True):
        units += (
            _spans(filter(None, _CLAUSE_END.split(text[a:b])), a, inside) if size * 2 > budget else [(a, b)]
        )
    return units, (yield _apart(text, units, language))


def _spans(parts: Iterable[str], start: int, inside: set[int]) -> list[Span]:
    """Where parts of a text stand; those divided inside a number with its unit stay one."""
    spans: list[Span] = []
    for part in parts:
        if spans and start in inside:
            spans[-1] = spans[-1][0], start + len(part)
        else:
            spans.append((start, start + len(part)))
        start += len(part)
    return spans


def _apart(text: str, spans: Sequence[Span], language: str) -> list[str]:
    """Sentences as they are counted within a text: in English, with the space before."""
    parts = [text[a:b] for a, b in spans]
    return parts if language == "zh" else [f" {part.strip()}" for part in parts]


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


def truncate_records(
    records: Sequence[Record], cutoff: int, overhead: Overhead, count_tokens: CountTokens
) -> list[Outcome]:
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
    bounds = _counts(records, getattr(count_tokens, "at_most", count_tokens))
    outcomes = [Outcome(record) for record in records]
    long = [i for i, record in enumerate(records) if not _fits(record, bounds[i], rooms[i])]
    counts = dict(zip(long, _counts([records[i] for i in long], count_tokens), strict=True))
    long = [i for i in long if not _fits(records[i], counts[i], rooms[i])]
    jobs = [_fitted(records[i], counts[i], rooms[i]) for i in long]
    for i, outcome in zip(long, _together(jobs, count_tokens), strict=True):
        outcomes[i] = outcome
    return outcomes


def clinical_counts(
    records: Sequence[Record],
    outcomes: Sequence[Outcome],
    cutoff: int,
    overhead: Overhead,
    count_tokens: CountTokens,
) -> dict[str, int]:
    """How many mentions of each kind the records that were shortened had, kept, and would have kept if they
    had been cut at the right: ``KIND before``, ``KIND kept``, ``KIND cut at the right``; with ``records``.

    Counts of several chunks may be added. Where a cut at the right would fall within a text is estimated
    from how many tokens the text has, and corrected once by counting what stands before it: it is right to
    within a few words.
    """
    counts: Counter[str] = Counter()
    shortened = [(r, o.record) for r, o in zip(records, outcomes, strict=True) if o.record and o.findings]
    before = [_read(record) for record, _ in shortened]
    cuts = [
        _cut_at_the_right(texts, _Room(cutoff, *overhead[record.task, record.language]))
        for (record, _), texts in zip(shortened, before, strict=True)
    ]
    for (record, kept), texts, (whole, rest) in zip(
        shortened, before, _together(cuts, count_tokens), strict=True
    ):
        counts["records"] += 1
        in_each = [clinical_mentions(text, record.language) for text in texts]
        cut_short = [clinical_mentions(rest, record.language)] if rest else []
        after = [clinical_mentions(text, record.language) for text in _read(kept)]
        for when, mentions in (
            ("before", in_each),
            ("kept", after),
            ("cut at the right", in_each[:whole] + cut_short),
        ):
            for one in mentions:
                for kind, number in one.items():
                    counts[f"{kind} {when}"] += number
    return dict(counts)


def _read(record: Record) -> list[str]:
    """The texts of a record that must fit: all, but of a test record the reference."""
    turns = record.turns[:-1] if record.split == "test" else record.turns
    return [record.context, *(turn.text for turn in turns)]


def _cut_at_the_right(texts: Sequence[str], room: _Room) -> _Counting[tuple[int, str]]:
    """What the published code keeps: how many texts whole, and the beginning of the next."""
    left = room.for_texts(1)
    sizes = yield texts
    for i, (text, size) in enumerate(zip(texts, sizes, strict=True)):
        if i > 1 and i % 2:
            left -= room.later
        if size > left:
            if left <= 0:
                return i, ""
            end = len(text) * left // size
            (taken,) = yield [text[:end]]
            if taken > left:
                end = end * left // taken
            else:
                end += (len(text) - end) * (left - taken) // (size - taken)
            # Not within a word.
            while 0 < end < len(text) and text[end - 1 : end + 1].isalnum() and text[end].isascii():
                end -= 1
            return i, text[:end]
        left -= size
    return len(texts), ""


def _counts(records: Sequence[Record], count: CountTokens) -> list[list[int]]:
    """Of each record: tokens of its context, of each turn."""
    texts = [[record.context, *(t.text for t in record.turns)] for record in records]
    sizes = iter(count([text for group in texts for text in group]))
    return [[next(sizes) for _ in group] for group in texts]


def _fits(record: Record, tokens: Sequence[int], room: _Room) -> bool:
    return sum(tokens[: -1 if record.split == "test" else None]) <= room.for_texts(len(record.turns) // 2)


def _fitted(record: Record, tokens: Sequence[int], room: _Room) -> _Counting[Outcome]:
    """A record that is too long, shortened. ``tokens``: of its context, of each turn."""
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
            kept, sizes, findings = yield from _round_shortened(whole, sizes, 2 * first, left, share)
            empty = not all(turn.text for turn in kept.turns)
            if not is_last and (empty or kept.answer_cut > record.answer_cut):
                continue  # an answer that others follow ends where the doctor ended it
            if empty and reserved:
                sizes, left = [tokens[0], asked, answered], left + reserved
                share = int(left * _QUESTION_SHARE)
                kept, sizes, findings = yield from _round_shortened(whole, sizes, 2 * first, left, share)
        if first:
            left = budget - later - sum(sizes)
            kept, told = yield from _with_description(
                kept, record.turns[: 2 * first], (tokens[1], sizes[1]), left
            )
            findings = told + findings
        return Outcome(kept, tuple(findings))
    raise AssertionError("a record without a round")


def _round_shortened(
    record: Record, sizes: Sequence[int], number: int, budget: int, share: int
) -> _Counting[tuple[Record, list[int], list[Finding]]]:
    """A record with its first round shortened: first the question, then the answer.

    Args:
        sizes: tokens of context, question and answer (0 if it need not fit).
        number: which turn of the record as given its question was.
        budget: tokens that context, question and answer may have.
        share: how many of them the answer may not take from context and question.

    Returns:
        The record (``answer_cut``: the end of the shortened answer has gone), its ``sizes``, what was done.
    """
    question, answer = record.turns[:2]
    context, language = record.context, record.language
    findings: list[Finding] = []

    def change(text: str, size: int, budget: int, field: str, role: Role) -> _Counting[tuple[str, int, bool]]:
        """The text within a budget, its size, and whether its end has gone."""
        if size <= budget:
            return text, size, False
        rule = "answer shortened" if role == "answer" else "question shortened"
        shorter = yield from _shorten(text, budget, language, role, size)
        edits = [e._replace(rule=rule) for e in shorter]
        findings.extend(findings_of(field, text, edits))
        after = apply(text, edits)
        *_, end = edits
        (size,) = yield [after]
        return after, size, end.end == len(text) and bool(text[end.start :].strip())

    context_size, asked, answered = sizes
    left = max(budget - answered, min(context_size + asked, share))
    role: Role = "abstract" if record.task == "summary" else "question"
    if context and context_size + asked > left:
        context, context_size, _ = yield from change(
            context, context_size, left - min(asked, left // 2), "context", role
        )
    text, asked, _ = yield from change(question.text, asked, left - context_size, f"turns[{number}]", role)
    reply, answered, cut_off = yield from change(
        answer.text, answered, budget - context_size - asked, f"turns[{number + 1}]", "answer"
    )
    shorter = replace(
        record,
        context=context,
        turns=(Turn("user", text), Turn("assistant", reply), *record.turns[2:]),
        answer_cut=record.answer_cut or cut_off,
    )
    return shorter, [context_size, asked, answered], findings


def _with_description(
    record: Record, dropped: Sequence[Turn], sizes: tuple[int, int], left: int
) -> _Counting[tuple[Record, list[Finding]]]:
    """A dialogue whose first question begins with as much of what was told first as there is room for.

    Args:
        dropped: the turns that went before this record's.
        sizes: tokens of what was told first, and of the first question left.
        left: tokens that may still be added.
    """
    description, question = dropped[0].text, record.turns[0].text
    budget, left = sizes[1] + left, left - _JOINED
    findings: list[Finding] = []
    while left > 0:
        edits = yield from _shorten(description, left, record.language, "question", sizes[0])
        told = apply(description, edits)
        if not told.strip():
            break
        text = f"{told}\n{question}"
        (size,) = yield [text]
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
