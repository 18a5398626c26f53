"""Over-long records shortened to what the model reads, keeping what matters (the paper's 2.1).

The published code cuts at 256 tokens from the right, so that a long question leaves no answer to learn.
Here a dialogue loses its oldest rounds first, since each answer builds on what came just before it; but what
the patient told first (age, history, allergies, drugs) is told only once, and goes on, shortened, before the
first question that is kept. Of a round that is left alone the answer is kept and the question shortened by
whole sentences; the answer is shortened only when it would leave the question less than a quarter of the
room (:mod:`mulmed.corpus.shorten`). What the patient told in later rounds that go (an allergy, a drug or its
dose, what there is not) stands after that, by whole sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from mulmed.corpus.edits import Edit, apply
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.salience import Role, mentions, signs
from mulmed.corpus.shorten import (
    Between,
    Counting,
    Telling,
    measure,
    shortening,
    tellings,
    together,
    without,
)
from mulmed.corpus.shorten import CountTokens as CountTokens
from mulmed.corpus.stage import Finding, Outcome, findings_of
from mulmed.errors import MulmedError

#: (task, language) -> tokens the template adds to the first round and to each later one, end of text
#: included (:meth:`mulmed.prompts.render.Renderer.overhead`).
Overhead = Mapping[tuple[str, str], tuple[int, int]]

#: The answer may not leave the question less than this share of the room, where the question needs it.
_QUESTION_SHARE = 0.25
#: What the patient told first may take this share of the room, where it needs it, from later rounds.
_DESCRIPTION_SHARE = 0.4
#: Allergies, drugs, doses and negations of later rounds that go may take this share of the room, ...
_TELLINGS_SHARE = 0.25
#: ... and both together this one, so that the last question and its answer keep the rest.
_BEFORE_SHARE = 0.5
#: A round is shortened rather than dropped while this share of the room is left for it.
_ROUND_SHARE = 0.08
#: Tokens of the line break between those and the question they are put before.
_JOINED = 1
_LEAST_ROOM = 16


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
    break (``description kept``), shortened as far as needed (``question shortened`` in ``turns[0]``); between
    them stand, a line a turn, sentences with an allergy, a drug, a dose or a negation of what the patient
    said in other turns that go (``mentions kept``; the rest of such a turn: ``oldest turns``). Of a
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
    measured = measure(texts, count_tokens)
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
    for (i, tokens, stretches), outcome in zip(long, together(jobs, count_tokens), strict=True):
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
    record: Record, tokens: Sequence[int], stretches: Sequence[Between], room: _Room
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
    record: Record, tokens: Sequence[int], stretches: Sequence[Between], room: _Room
) -> Counting[Outcome]:
    """A record that is too long, shortened. ``tokens`` and ``stretches``: of its context, of each turn."""
    rounds = len(record.turns) // 2
    must_fit = [*tokens[:-1], 0] if record.split == "test" else tokens
    later = sum(must_fit[1:])  # tokens of the rounds after the first one kept
    told: list[_Told] = []  # in the rounds that go, but the first
    for first in range(rounds):
        if first > 1:
            number = 2 * first - 2
            text, between = record.turns[number].text, stretches[number + 1]
            told += [_Told(number, telling) for telling in tellings(text, between, record.language)]
        asked, answered = must_fit[2 * first + 1 : 2 * first + 3]
        later -= asked + answered
        budget = room.for_texts(rounds - first)
        carried, for_carried = _most_pressing(told, int(budget * _TELLINGS_SHARE))
        share = min(int(budget * _DESCRIPTION_SHARE), int(budget * _BEFORE_SHARE) - for_carried)
        reserved = for_carried + min(tokens[1] + _JOINED, share) if first else 0
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
            dropped = record.turns[: 2 * first]
            left = budget - later - sum(sizes)
            kept, size, rest = yield from _with_told(kept, dropped, carried, sizes[1], left)
            left -= size - sizes[1]
            kept, rest[0] = yield from _with_description(
                kept, dropped[0], stretches[1], (tokens[1], size), left
            )
            findings = [*_gone(dropped, rest), *findings]
        return Outcome(kept, tuple(findings))
    raise AssertionError("a record without a round")


def _round_shortened(
    record: Record,
    sizes: Sequence[int],
    stretches: Sequence[Between],
    number: int,
    budget: int,
    share: int,
) -> Counting[tuple[Record, list[int], list[Finding]]]:
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

    def change(text: str, part: int, budget: int, field: str, role: Role) -> Counting[tuple[str, int, bool]]:
        """The text within a budget, its size, and whether its end has gone."""
        if sizes[part] <= budget:
            return text, sizes[part], False
        rule = "answer shortened" if role == "answer" else "question shortened"
        # An answer that others follow ends where the doctor ended it.
        followed = role == "answer" and len(record.turns) > 2
        shorter, left = yield from shortening(
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


@dataclass(frozen=True, slots=True)
class _Told:
    """A sentence of a turn that goes, which is carried on if there is room."""

    turn: int
    telling: Telling


def _most_pressing(told: Sequence[_Told], room: int) -> tuple[list[_Told], int]:
    """As many of some sentences as there is room for, allergies first, then drugs and doses; their tokens."""
    chosen, taken = [], 0
    for one in sorted(told, key=lambda one: one.telling.rank):
        size = one.telling.size + _JOINED
        if taken + size <= room:
            chosen.append(one)
            taken += size
    return chosen, taken


def _with_told(
    record: Record, dropped: Sequence[Turn], carried: Sequence[_Told], size: int, left: int
) -> Counting[tuple[Record, int, dict[int, list[Edit] | None]]]:
    """A dialogue whose first question begins with sentences of the turns that went before, in their order.

    Args:
        carried: the sentences, the most pressing first; the last of them stay out where room is short.
        size: tokens of the first question left.
        left: tokens that may still be added.

    Returns:
        The record, the tokens of its first question, of each turn carried on what of it went.
    """
    chosen = list(carried)
    while chosen:
        spans: dict[int, list[tuple[int, int]]] = {}
        for turn, telling in sorted((one.turn, one.telling) for one in chosen):
            spans.setdefault(turn, []).append(telling.span)
        rest: dict[int, list[Edit] | None] = {i: without(dropped[i].text, kept) for i, kept in spans.items()}
        lines = [apply(dropped[i].text, edits or ()) for i, edits in rest.items()]
        text = "\n".join([*lines, record.turns[0].text])
        grown = yield text
        if grown <= size + left:
            return replace(record, turns=(Turn("user", text), *record.turns[1:])), grown, rest
        chosen.pop()
    return record, size, {}


def _with_description(
    record: Record, first: Turn, between: Between, sizes: tuple[int, int], left: int
) -> Counting[tuple[Record, list[Edit] | None]]:
    """A dialogue whose first question begins with as much of what was told first as there is room for.

    Args:
        first: the turn that told it; ``between``: of that.
        sizes: tokens of what was told first, and of the first question left.
        left: tokens that may still be added.

    Returns:
        The record, and what went of the turn (``None``: all of it).
    """
    description, question = first.text, record.turns[0].text
    budget, left = sizes[1] + left, left - _JOINED
    while left > 0:
        edits, _ = yield from shortening(description, sizes[0], between, left, record.language, "question")
        told = apply(description, edits)
        if not told.strip():
            break
        text = f"{told}\n{question}"
        size = yield text
        excess = size - budget
        if excess <= 0:
            return replace(record, turns=(Turn("user", text), *record.turns[1:])), edits
        left -= excess
    return record, None


def _gone(dropped: Sequence[Turn], rest: Mapping[int, list[Edit] | None]) -> Iterator[Finding]:
    """What is told of the turns that went; ``rest``: the edits of those of which something stays."""
    for i, turn in enumerate(dropped):
        edits = rest.get(i)
        kept, rule = ("mentions kept", "oldest turns") if i else ("description kept", "question shortened")
        if edits is None:
            edits, rule = [Edit(0, len(turn.text), "", "")], "oldest turns"
        else:
            yield Finding(kept, field=f"turns[{i}]", detail=f"before turns[{len(dropped)}]")
        yield from findings_of(f"turns[{i}]", turn.text, (e._replace(rule=rule) for e in edits))
