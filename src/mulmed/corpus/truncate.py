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
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

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

#: The answer may not leave the question less than this share of the room, where the question needs it.
_QUESTION_SHARE = 0.25
#: What the patient told first may take this share of the room, where it needs it, from later rounds.
_DESCRIPTION_SHARE = 0.4
#: A round is shortened rather than dropped while this share of the room is left for it.
_ROUND_SHARE = 0.25
#: Tokens of the line break between that and the question it is put before.
_JOINED = 1
_LEAST_ROOM = 16
_SIGN_OR_WORD = re.compile(r"[\u3000-\uffff]|[^\s\u3000-\uffff]+")
_CLAUSE_END = re.compile(r"(?<=[，；;、])|(?<=,)(?=\s)")


def shorten(text: str, budget: int, language: str, role: Role, count_tokens: CountTokens) -> list[Edit]:
    """Deletions that leave at most ``budget`` tokens: the most important sentences, in their order.

    Sentences too long for that give clauses; only when no clause fits is one cut in itself.
    """
    if count_tokens([text])[0] <= budget:
        return []
    return _shortened(text, budget, language, role, count_tokens)


def _shortened(text: str, budget: int, language: str, role: Role, count_tokens: CountTokens) -> list[Edit]:
    """:func:`shorten` of a text that is known to be too long."""
    if budget <= 0:
        return _without(text, [])
    spans, sizes = _units(text, budget, language, count_tokens)
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
        if count_tokens([apply(text, edits)])[0] <= budget:
            return edits
        chosen.pop()
    most = max(range(len(parts)), key=lambda i: (scores[i], -i))
    start, end = spans[most]
    kept = cut(text[start:end], budget, language, count_tokens)
    return _without(text, [(start, start + kept)] if kept else [])


def cut(text: str, budget: int, language: str, count_tokens: CountTokens) -> int:
    """Length of the longest beginning of a text within ``budget`` tokens; English is cut between words.

    Never inside a number with its unit.
    """
    inside = {i for a, b in quantities(text) for i in range(a + 1, b)}
    ends = range(1, len(text) + 1) if language == "zh" else [m.end() for m in re.finditer(r"\S+", text)]
    kept = _longest(text, [end for end in ends if end not in inside], budget, count_tokens)
    if kept:
        return kept
    # One long word: a link, or a text without spaces.
    return cut(text, budget, "zh", count_tokens) if language != "zh" else 0


def _longest(text: str, ends: Sequence[int], budget: int, count_tokens: CountTokens) -> int:
    """The last of some lengths that leaves a text within a number of tokens; 0 if none does."""
    low, high = 0, len(ends)  # ends[:low] fit
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens([text[: ends[middle - 1]]])[0] <= budget:
            low = middle
        else:
            high = middle - 1
    return ends[low - 1] if low else 0


def _units(text: str, budget: int, language: str, count_tokens: CountTokens) -> tuple[list[Span], list[int]]:
    """Sentences with their sizes, those that would take half the room for themselves divided into clauses."""
    inside = {i for a, b in quantities(text) for i in range(a + 1, b)}
    spans = _spans(sentences(text, language), 0, inside)
    sizes = _sizes(text, spans, language, count_tokens)
    if max(sizes) * 2 <= budget:
        return spans, sizes
    units: list[Span] = []
    for (a, b), size in zip(spans, sizes, strict=True):
        units += (
            _spans(filter(None, _CLAUSE_END.split(text[a:b])), a, inside) if size * 2 > budget else [(a, b)]
        )
    return units, _sizes(text, units, language, count_tokens)


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


def _sizes(text: str, spans: Sequence[Span], language: str, count_tokens: CountTokens) -> list[int]:
    """Tokens of sentences as they stand within a text: in English, with the space before."""
    parts = [text[a:b] for a, b in spans]
    return count_tokens(parts if language == "zh" else [f" {part.strip()}" for part in parts])


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
    count: CountTokens

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
    rooms = [_Room(cutoff, *overhead[r.task, r.language], count_tokens) for r in records]
    bounds = _counts(records, getattr(count_tokens, "at_most", count_tokens))
    outcomes = [Outcome(record) for record in records]
    long = [i for i, record in enumerate(records) if not _fits(record, bounds[i], rooms[i])]
    for i, tokens in zip(long, _counts([records[i] for i in long], count_tokens), strict=True):
        if not _fits(records[i], tokens, rooms[i]):
            outcomes[i] = _fitted(records[i], tokens, rooms[i])
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

    Counts of several chunks may be added.
    """
    counts: Counter[str] = Counter()
    for record, outcome in zip(records, outcomes, strict=True):
        if outcome.record is None or not outcome.findings:
            continue
        counts["records"] += 1
        room = _Room(cutoff, *overhead[record.task, record.language], count_tokens)
        for when, texts in (
            ("before", _read(record)),
            ("kept", _read(outcome.record)),
            ("cut at the right", _cut_at_the_right(record, room)),
        ):
            for text in texts:
                for kind, number in clinical_mentions(text, record.language).items():
                    counts[f"{kind} {when}"] += number
    return dict(counts)


def _read(record: Record) -> list[str]:
    """The texts of a record that must fit: all, but of a test record the reference."""
    turns = record.turns[:-1] if record.split == "test" else record.turns
    return [record.context, *(turn.text for turn in turns)]


def _cut_at_the_right(record: Record, room: _Room) -> list[str]:
    """What the published code keeps: the beginning, as far as there is room."""
    texts = _read(record)
    left = room.for_texts(1)
    kept = []
    for i, (text, size) in enumerate(zip(texts, room.count(texts), strict=True)):
        if i > 1 and i % 2:
            left -= room.later
        if size > left:
            ends = [m.end() for m in _SIGN_OR_WORD.finditer(text)]
            kept.append(text[: _longest(text, ends, left, room.count)])
            break
        kept.append(text)
        left -= size
    return kept


def _counts(records: Sequence[Record], count: CountTokens) -> list[list[int]]:
    """Of each record: tokens of its context, of each turn."""
    texts = [[record.context, *(t.text for t in record.turns)] for record in records]
    sizes = iter(count([text for group in texts for text in group]))
    return [[next(sizes) for _ in group] for group in texts]


def _fits(record: Record, tokens: Sequence[int], room: _Room) -> bool:
    return sum(tokens[: -1 if record.split == "test" else None]) <= room.for_texts(len(record.turns) // 2)


def _fitted(record: Record, tokens: Sequence[int], room: _Room) -> Outcome:
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
        kept, findings = replace(record, turns=record.turns[2 * first :]) if first else record, list[Finding]()
        sizes = [tokens[0], asked, answered]
        if sum(sizes) > left:
            share = share if rounds > 1 and not first else int(left * _QUESTION_SHARE)
            kept, sizes, findings = _round_shortened(kept, sizes, 2 * first, left, share, room.count)
            if kept.answer_cut > record.answer_cut and not is_last:
                continue  # an answer that others follow ends where the doctor ended it
        if first:
            left = budget - later - sum(sizes)
            kept, told = _with_description(kept, record.turns[: 2 * first], sizes[1], left, room.count)
            findings = told + findings
        return Outcome(kept, tuple(findings))
    raise AssertionError("a record without a round")


def _round_shortened(
    record: Record, sizes: Sequence[int], number: int, budget: int, share: int, count: CountTokens
) -> tuple[Record, list[int], list[Finding]]:
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

    def change(text: str, size: int, budget: int, field: str, role: Role) -> tuple[str, int, bool]:
        """The text within a budget, its size, and whether its end has gone."""
        if size <= budget:
            return text, size, False
        rule = "answer shortened" if role == "answer" else "question shortened"
        edits = [e._replace(rule=rule) for e in _shortened(text, budget, language, role, count)]
        findings.extend(findings_of(field, text, edits))
        after = apply(text, edits)
        *_, end = edits
        return after, count([after])[0], end.end == len(text) and bool(text[end.start :].strip())

    context_size, asked, answered = sizes
    left = max(budget - answered, min(context_size + asked, share))
    role: Role = "abstract" if record.task == "summary" else "question"
    if context and context_size + asked > left:
        context, context_size, _ = change(context, context_size, left - min(asked, left // 2), "context", role)
    text, asked, _ = change(question.text, asked, left - context_size, f"turns[{number}]", role)
    reply, answered, cut_off = change(
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
    record: Record, dropped: Sequence[Turn], asked: int, left: int, count: CountTokens
) -> tuple[Record, list[Finding]]:
    """A dialogue whose first question begins with as much of what was told first as there is room for.

    Args:
        dropped: the turns that went before this record's.
        asked: tokens of the first question.
        left: tokens that may still be added.
    """
    description, question = dropped[0].text, record.turns[0].text
    budget, left = asked + left, left - _JOINED
    findings: list[Finding] = []
    while left > 0:
        edits = shorten(description, left, record.language, "question", count)
        told = apply(description, edits)
        if not told.strip():
            break
        text = f"{told}\n{question}"
        excess = count([text])[0] - budget
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
