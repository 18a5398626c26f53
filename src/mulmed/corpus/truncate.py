"""Over-long records shortened to what the model reads, keeping what matters (the paper's 2.1).

The published code cuts at 256 tokens from the right, so that a long question leaves no answer to learn.
Here a dialogue loses its oldest turns first, since each answer builds on what came just before it. Of the
round that is left, the answer is kept and the question shortened by whole sentences; the answer is shortened
only when it would leave the question less than a quarter of the room. Sentences go by what they are about
(:mod:`mulmed.corpus.salience`), and nothing is ever cut inside a number with its unit.
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
_LEAST_ROOM = 16
_SIGN_OR_WORD = re.compile(r"[\u3000-\uffff]|[^\s\u3000-\uffff]+")
_CLAUSE_END = re.compile(r"(?<=[，；;、])|(?<=,)(?=\s)")


def shorten(text: str, budget: int, language: str, role: Role, count_tokens: CountTokens) -> list[Edit]:
    """Deletions that leave at most ``budget`` tokens: the most important sentences, in their order.

    Sentences too long for that give clauses; only when no clause fits is one cut in itself.
    """
    if budget <= 0:
        return _without(text, [])
    if count_tokens([text])[0] <= budget:
        return []
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
    ``oldest turns``), whose question is shortened (``question shortened``) and, where the answer is too long
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
    left = room.for_texts(len(record.turns) // 2)
    kept = []
    for text, size in zip(texts, room.count(texts), strict=True):
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


def _fits(record: Record, tokens: Sequence[int], room: _Room, first: int = 0) -> bool:
    """Whether a record fits that begins with its round number ``first``."""
    rounds = len(record.turns) // 2 - first
    turns = tokens[1 + 2 * first : -1 if record.split == "test" else None]
    return tokens[0] + sum(turns) <= room.for_texts(rounds)


def _fitted(record: Record, tokens: Sequence[int], room: _Room) -> Outcome:
    rounds = len(record.turns) // 2
    first = next((k for k in range(rounds) if _fits(record, tokens, room, k)), rounds - 1)
    findings: list[Finding] = []
    for i, turn in enumerate(record.turns[: 2 * first]):
        findings += findings_of(f"turns[{i}]", turn.text, [Edit(0, len(turn.text), "", "oldest turns")])
    if _fits(record, tokens, room, first):
        return Outcome(replace(record, turns=record.turns[2 * first :]), tuple(findings))

    question, answer = record.turns[-2:]
    budget = room.for_texts(1)
    asked = tokens[0] + tokens[-2]
    answered = 0 if record.split == "test" else tokens[-1]
    least = min(asked, int(budget * _QUESTION_SHARE))
    context = record.context

    def change(text: str, field: str, rule: str, edits: Sequence[Edit]) -> str:
        findings.extend(findings_of(field, text, (edit._replace(rule=rule) for edit in edits)))
        return apply(text, edits)

    if asked > budget - answered:
        left = max(budget - answered, least)
        role: Role = "abstract" if record.task == "summary" else "question"
        if context:
            room_for_it = left - min(tokens[-2], left // 2)
            edits = shorten(context, room_for_it, record.language, role, room.count)
            context = change(context, "context", "question shortened", edits)
            left -= room.count([context])[0]
        edits = shorten(question.text, left, record.language, role, room.count)
        text = change(question.text, f"turns[{2 * first}]", "question shortened", edits)
        question = replace(question, text=text)
        asked = sum(room.count([context, text]))
    answer_cut = record.answer_cut
    if answered > budget - asked:
        edits = shorten(answer.text, budget - asked, record.language, "answer", room.count)
        answer_cut |= (
            bool(edits)
            and bool(answer.text[slice(*edits[-1][:2])].strip())
            and edits[-1].end == len(answer.text)
        )
        answer = Turn("assistant", change(answer.text, f"turns[{2 * first + 1}]", "answer shortened", edits))
    kept = replace(record, context=context, turns=(question, answer), answer_cut=answer_cut)
    return Outcome(kept, tuple(findings))
