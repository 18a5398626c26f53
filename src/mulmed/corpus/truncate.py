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
from itertools import islice

from mulmed.corpus.edits import Edit, apply
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.salience import Role
from mulmed.corpus.shorten import CountTokens as CountTokens
from mulmed.corpus.shorten import (
    Part,
    Telling,
    Text,
    measure,
    shortening,
    tellings,
    without,
)
from mulmed.corpus.stage import Finding, Outcome, findings_of
from mulmed.corpus.survival import Survival
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
    position, survival = 0, Survival()
    for i, tokens in zip(maybe, counts, strict=True):
        record, room = records[i], rooms[i]
        if not _fits(record, tokens, room):
            given = [
                Text(text, record.language, position + k, measured) for k, text in enumerate(_texts(record))
            ]
            outcomes[i], kept = _fitted(record, given, room)
            if (left := outcomes[i].record) is not None and outcomes[i].findings:
                must_fit = _read(left)
                read = given[:-1] if left.split == "test" else given
                survival.add(read, kept[: len(must_fit)], must_fit, room.for_texts(1), room.later)
        position += len(tokens)
    return Truncated(outcomes, survival.counts())


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


def _fitted(record: Record, texts: Sequence[Text], room: _Room) -> tuple[Outcome, list[list[Part]]]:
    """A record that is too long, shortened, and what each of its texts is then made of.

    Args:
        texts: its context, each turn.
    """
    rounds = len(record.turns) // 2
    must_fit = [text.size for text in texts]
    if record.split == "test":
        must_fit[-1] = 0
    later = sum(must_fit[1:])  # tokens of the rounds after the first one kept
    told: list[_Told] = []  # in the rounds that go, but the first
    for first in range(rounds):
        if first > 1:
            number = 2 * first - 2
            told += [_Told(number, telling) for telling in tellings(texts[number + 1])]
        asked, answered = must_fit[2 * first + 1 : 2 * first + 3]
        later -= asked + answered
        budget = room.for_texts(rounds - first)
        carried, for_carried = _most_pressing(told, int(budget * _TELLINGS_SHARE))
        share = min(int(budget * _DESCRIPTION_SHARE), int(budget * _BEFORE_SHARE) - for_carried)
        reserved = for_carried + min(texts[1].size + _JOINED, share) if first else 0
        left = budget - later - reserved
        is_last = first == rounds - 1
        least = must_fit[0] + min(asked + answered, int(budget * _ROUND_SHARE))
        if left < least and not is_last:
            continue
        whole = replace(record, turns=record.turns[2 * first :]) if first else record
        here = [texts[0], *texts[2 * first + 1 : 2 * first + 3]]
        sizes = [must_fit[0], asked, answered]
        kept = _Kept(whole, [one.left_by([]) for one in here], sizes)
        findings: list[Finding] = []
        if sum(sizes) > left:
            share = share if rounds > 1 and not first else int(left * _QUESTION_SHARE)
            kept, findings = _round_shortened(whole, here, sizes, 2 * first, left, share)
            empty = not all(turn.text for turn in kept.record.turns)
            if not is_last and (empty or kept.record.answer_cut > record.answer_cut):
                continue
            if empty and reserved:
                left += reserved
                share = int(left * _QUESTION_SHARE)
                kept, findings = _round_shortened(whole, here, sizes, 2 * first, left, share)
        if first:
            left = budget - later - sum(kept.sizes)
            kept, left, rest = _with_told(kept, texts[1:], carried, left)
            kept, rest[0] = _with_description(kept, texts[1], left)
            findings = [*_gone(record.turns[: 2 * first], rest), *findings]
        after = (one.left_by([]) for one in texts[2 * first + 3 :])
        return Outcome(kept.record, tuple(findings)), [*kept.parts, *after]
    raise AssertionError("a record without a round")


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is kept of a record.

    Attributes:
        parts: what its context, first question and first answer are made of.
        sizes: tokens of these (0 if the answer need not fit).
    """

    record: Record
    parts: list[list[Part]]
    sizes: list[int]

    def asking(self, text: str, asked: list[Part], size: int) -> _Kept:
        """The same with another first question."""
        (context, _, answer), sizes = self.parts, self.sizes
        record = replace(self.record, turns=(Turn("user", text), *self.record.turns[1:]))
        return _Kept(record, [context, asked, answer], [sizes[0], size, sizes[2]])


def _round_shortened(
    record: Record, texts: Sequence[Text], sizes: Sequence[int], number: int, budget: int, share: int
) -> tuple[_Kept, list[Finding]]:
    """A record with its first round shortened: first the question, then the answer.

    Args:
        texts: context, question and answer.
        sizes: tokens of them (0 if it need not fit).
        number: which turn of the record as given its question was.
        budget: tokens that context, question and answer may have.
        share: how many of them the answer may not take from context and question.

    Returns:
        The record (``answer_cut``: the end of the shortened answer has gone), what was done.
    """
    findings: list[Finding] = []

    def change(part: int, budget: int, field: str, role: Role) -> tuple[Sequence[Edit], int, bool]:
        """Deletions that leave a text within a budget, its size, and whether its end has gone."""
        if sizes[part] <= budget:
            return [], sizes[part], False
        rule = "answer shortened" if role == "answer" else "question shortened"
        # An answer that others follow ends where the doctor ended it.
        followed = role == "answer" and len(record.turns) > 2
        shorter, left = shortening(texts[part], budget, role, to_its_end=followed)
        text = texts[part].text
        edits = [Edit(start, end, "", rule) for start, end, *_ in shorter]
        findings.extend(findings_of(field, text, edits))
        *_, end = edits
        return edits, left, end.end == len(text) and bool(text[end.start :].strip())

    context_size, asked, answered = sizes
    left = max(budget - answered, min(context_size + asked, share))
    role: Role = "abstract" if record.task == "summary" else "question"
    edits: list[Sequence[Edit]] = [(), (), ()]
    if record.context and context_size + asked > left:
        edits[0], context_size, _ = change(0, left - min(asked, left // 2), "context", role)
    edits[1], asked, _ = change(1, left - context_size, f"turns[{number}]", role)
    edits[2], answered, cut_off = change(2, budget - context_size - asked, f"turns[{number + 1}]", "answer")
    context, text, reply = (apply(one.text, some) for one, some in zip(texts, edits, strict=True))
    shorter = replace(
        record,
        context=context,
        turns=(Turn("user", text), Turn("assistant", reply), *record.turns[2:]),
        answer_cut=record.answer_cut or cut_off,
    )
    parts = [one.left_by(some) for one, some in zip(texts, edits, strict=True)]
    return _Kept(shorter, parts, [context_size, asked, answered]), findings


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
    kept: _Kept, turns: Sequence[Text], carried: Sequence[_Told], left: int
) -> tuple[_Kept, int, dict[int, list[Edit] | None]]:
    """A dialogue whose first question begins with sentences of the turns that went before, in their order.

    Args:
        turns: all of the record's as given.
        carried: the sentences, the most pressing first; the last of them stay out where room is short.
        left: tokens that may still be added.

    Returns:
        What is kept, the tokens that may then be added, of each turn carried on what of it went.
    """
    chosen = list(carried)
    while chosen:
        spans: dict[int, list[tuple[int, int]]] = {}
        for turn, telling in sorted((one.turn, one.telling) for one in chosen):
            spans.setdefault(turn, []).append(telling.span)
        rest: dict[int, list[Edit] | None] = {i: without(turns[i].text, some) for i, some in spans.items()}
        lines = [apply(turns[i].text, edits or ()) for i, edits in rest.items()]
        parts = [part for i, edits in rest.items() for part in (*turns[i].left_by(edits or ()), "\n")]
        asked = [*parts, *kept.parts[1]]
        grown = turns[0].measured.joined(asked)
        more = grown - kept.sizes[1]
        if more <= left:
            text = "\n".join([*lines, kept.record.turns[0].text])
            return kept.asking(text, asked, grown), left - more, rest
        chosen.pop()
    return kept, left, {}


def _with_description(kept: _Kept, first: Text, left: int) -> tuple[_Kept, list[Edit] | None]:
    """A dialogue whose first question begins with as much of what was told first as there is room for.

    Args:
        first: the turn that told it.
        left: tokens that may still be added.

    Returns:
        What is kept, and what went of the turn (``None``: all of it).
    """
    budget, left = kept.sizes[1] + left, left - _JOINED
    while left > 0:
        edits, _ = shortening(first, left, "question")
        told = apply(first.text, edits)
        if not told.strip():
            break
        asked = [*first.left_by(edits), "\n", *kept.parts[1]]
        size = first.measured.joined(asked)
        excess = size - budget
        if excess <= 0:
            return kept.asking(f"{told}\n{kept.record.turns[0].text}", asked, size), edits
        left -= excess
    return kept, None


def _gone(dropped: Sequence[Turn], rest: Mapping[int, list[Edit] | None]) -> Iterator[Finding]:
    """What is told of the turns that went; ``rest``: the edits of those of which something stays."""
    for i, turn in enumerate(dropped):
        edits = rest.get(i)
        kept, rule = ("mentions kept", "oldest turns") if i else ("description kept", "question shortened")
        if edits is None:
            edits, rule = [Edit(0, len(turn.text), "", "")], "oldest turns"
        else:
            yield Finding(kept, field=f"turns[{i}]", detail=f"before turns[{len(dropped)}]")
        yield from findings_of(f"turns[{i}]", turn.text, (Edit(a, b, "", rule) for a, b, *_ in edits))
