"""Over-long records shortened to what the model reads, keeping what matters (the paper's 2.1).

The published code cuts at 256 tokens from the right, so that a long question leaves no answer to learn.
Here the answer is kept and the question shortened, sentence by sentence; the answer is cut only when
it would leave the question less than a quarter of the room.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from mulmed.corpus.batch import StageResult, from_batch
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.sentences import sentences
from mulmed.corpus.stage import Finding, Outcome, result
from mulmed.errors import MulmedError

#: Number of tokens of each of some texts.
CountTokens = Callable[[Sequence[str]], list[int]]
#: (task, language) -> tokens the template adds to the first round and to each later one, end of text
#: included (:meth:`mulmed.prompts.render.Renderer.overhead`).
Overhead = Mapping[tuple[str, str], tuple[int, int]]

#: The answer may not leave the question less than this share of the room, where the question needs it.
_QUESTION_SHARE = 0.25
_LEAST_ROOM = 16

# What a doctor needs of a patient's story, and a reader of an abstract, with its weight. Chinese and
# English side by side; a sentence scores once for each kind it contains.
_FEATURES: tuple[tuple[float, re.Pattern[str]], ...] = tuple(
    (weight, re.compile(pattern, re.IGNORECASE))
    for weight, pattern in (
        (3.0, r"[?？]|\b(?:what should|can i|should i|is it|please (?:advise|suggest|help))\b|怎么办|是否|能不能|要不要|请问"),
        (2.0, r"\d+(?:\.\d+)?\s*(?:mg|mcg|µg|μg|g|ml|l|iu|units?|mmol|mmhg|kg|cm|mm|°|℃|度|毫克|克|毫升|片|粒|次|%|/\s*\d)"),
        (2.0, r"\b\d{1,3}[- ]?(?:years?|yrs?|months?|weeks?|days?|hours?)\b|\d+\s*(?:岁|周岁|年|个?月|周|天|小时)|[一二三四五六七八九十半两几]+(?:年|个?月|周|天)"),
        (2.0, r"\b(?:diagnos\w*|tumou?r|cancer|biops\w*|surgery|operat\w*|mri|ct|x-?ray|ultrasound|ecg|blood test|allerg\w*|pregnan\w*|positive|negative)\b|诊断|确诊|手术|化验|检查结果|报告|过敏|怀孕|病史|阳性|阴性|B超|CT|核磁"),
        (1.5, r"\b(?:pain\w*|fever|cough\w*|bleed\w*|swell\w*|rash|vomit\w*|nausea\w*|diarrh\w*|dizz\w*|breath\w*|headache\w*|itch\w*|numb\w*|weak\w*|fatigue|lump|discharge|burning)\b|痛|疼|发烧|发热|咳|出血|肿|皮疹|呕|恶心|腹泻|头晕|气短|胸闷|痒|麻|乏力|肿块|失眠"),
        (1.0, r"\b(?:taking|tablets?|medicat\w*|medicines?|dose|antibiotics?|insulin|prescri\w*|treat\w*)\b|服用|吃药|用药|药物|治疗|打针|输液|胰岛素|抗生素"),
        (1.0, r"\b(?:we (?:show|find|found|demonstrate|conclude)|results? (?:show|suggest)|our (?:results|findings|data))\b"),
    )
)  # fmt: skip
_CLAUSE_END = re.compile(r"(?<=[，；;、])|(?<=,)(?=\s)")
#: The first sentence says what it is about, the last one usually asks.
_FIRST, _LAST = 4.0, 3.0


def importance(parts: Sequence[str]) -> list[float]:
    """How much each sentence of a text matters: its place, and the kinds of clinical content in it."""
    scores = [sum(weight for weight, feature in _FEATURES if feature.search(part)) for part in parts]
    if scores:
        scores[0] += _FIRST
        scores[-1] += _LAST
    return scores


def shorten(text: str, budget: int, language: str, count_tokens: CountTokens) -> str:
    """A text of at most ``budget`` tokens made of its most important sentences, in their order.

    Sentences too long for that give clauses; only when no clause fits is one cut in itself.
    """
    if budget <= 0:
        return ""
    if count_tokens([text])[0] <= budget:
        return text
    parts = _units(sentences(text, language), budget, count_tokens)
    sizes = count_tokens(parts)
    scores = importance(parts)
    chosen: list[int] = []  # most important first
    room = budget
    for i in sorted(range(len(parts)), key=lambda i: (-scores[i], i)):
        if sizes[i] <= room:
            chosen.append(i)
            room -= sizes[i]
    # Sentences joined may be more tokens than the sum of them apart.
    while chosen:
        joined = "".join(parts[i] for i in sorted(chosen)).strip()
        if count_tokens([joined])[0] <= budget:
            return joined
        chosen.pop()
    most = max(range(len(parts)), key=lambda i: (scores[i], -i))
    return cut(parts[most], budget, language, count_tokens)


def _units(parts: Sequence[str], budget: int, count_tokens: CountTokens) -> list[str]:
    """Sentences, those that would take half the room for themselves divided into their clauses."""
    units: list[str] = []
    for part, size in zip(parts, count_tokens(parts), strict=True):
        units += filter(None, _CLAUSE_END.split(part)) if size * 2 > budget else [part]
    return units


def cut(text: str, budget: int, language: str, count_tokens: CountTokens) -> str:
    """The longest beginning of a text within ``budget`` tokens; English is cut between words."""
    ends = (
        list(range(1, len(text) + 1))
        if language == "zh"
        else [m.end() for m in re.finditer(r"\S+", text)] or [len(text)]
    )
    low, high = 0, len(ends)  # ends[:low] fit
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens([text[: ends[middle - 1]]])[0] <= budget:
            low = middle
        else:
            high = middle - 1
    if low:
        return text[: ends[low - 1]].strip()
    # One long word: a link, or a text without spaces.
    return cut(text, budget, "zh", count_tokens) if language != "zh" else ""


def leading_sentences(text: str, budget: int, language: str, count_tokens: CountTokens) -> str:
    """The whole sentences at the beginning of a text that fit, or a piece of the first one."""
    parts = sentences(text, language)
    low, high = 0, len(parts)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(["".join(parts[:middle]).strip()])[0] <= budget:
            low = middle
        else:
            high = middle - 1
    return "".join(parts[:low]).strip() if low else cut(text, budget, language, count_tokens)


@dataclass(frozen=True, slots=True)
class _Room:
    """What a record may fill: ``cutoff`` tokens less the template's first and later rounds."""

    cutoff: int
    first: int
    later: int
    count: CountTokens

    def for_texts(self, rounds: int) -> int:
        return self.cutoff - self.first - self.later * (rounds - 1)


def truncate(batch: pl.DataFrame, cutoff: int, overhead: Overhead, count_tokens: CountTokens) -> StageResult:
    """Records that fit into ``cutoff`` tokens, template and end-of-text tokens included.

    Training and validation: whole rounds are dropped from the end of a dialogue (rule ``rounds``, counting
    them), a single round has its question shortened (``question shortened``) and, where the answer is too
    long for both, its answer (``answer cut``, which sets ``answer_cut``). Test: what is asked must fit; the
    oldest rounds are dropped, then the question is shortened; the reference stays whole.

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
    records = list(from_batch(batch))
    texts = [[record.context, *(t.text for t in record.turns)] for record in records]
    sizes = iter(count_tokens([text for group in texts for text in group]))
    lengths = [[next(sizes) for _ in group] for group in texts]

    def outcome(record: Record, tokens: list[int]) -> Outcome:
        first, later = overhead[record.task, record.language]
        room = _Room(cutoff, first, later, count_tokens)
        if record.split == "test":
            return _fit_prompt(record, tokens, room)
        return _fit_example(record, tokens, room)

    pairs = zip(records, lengths, strict=True)
    return result("truncate", ((record, outcome(record, tokens)) for record, tokens in pairs))


def _fit_example(record: Record, tokens: list[int], room: _Room) -> Outcome:
    context, *turns = tokens
    rounds = len(turns) // 2
    fitting = rounds
    while fitting and context + sum(turns[: 2 * fitting]) > room.for_texts(fitting):
        fitting -= 1
    if fitting == rounds:
        return Outcome(record)
    findings = [Finding("rounds", rounds - max(fitting, 1))] if rounds > 1 else []
    record = replace(record, turns=record.turns[: 2 * max(fitting, 1)])
    if fitting:
        return Outcome(record, tuple(findings))

    answer = record.turns[1]
    budget = room.for_texts(1)
    asked = context + turns[0]
    least = min(asked, int(budget * _QUESTION_SHARE))
    if turns[1] <= budget - least:
        record = _shorten_question(record, budget - turns[1], room)
        findings.append(Finding("question shortened", 1))
        return Outcome(record, tuple(findings))
    if asked > least:
        record = _shorten_question(record, least, room)
        asked = sum(room.count([record.context, record.turns[0].text]))
        findings.append(Finding("question shortened", 1))
    text = leading_sentences(answer.text, budget - asked, record.language, room.count)
    findings.append(Finding("answer cut", 1))
    turns_now = (record.turns[0], Turn("assistant", text))
    return Outcome(replace(record, turns=turns_now, answer_cut=True), tuple(findings))


def _fit_prompt(record: Record, tokens: list[int], room: _Room) -> Outcome:
    context, *turns = tokens
    rounds = len(turns) // 2
    kept = rounds  # rounds counted from the end; the last one's answer is the reference and counts nothing
    while kept > 1 and context + sum(turns[-2 * kept : -1]) > room.for_texts(kept):
        kept -= 1
    findings = [Finding("rounds", rounds - kept)] if kept < rounds else []
    record = replace(record, turns=record.turns[-2 * kept :])
    if context + sum(turns[-2 * kept : -1]) > room.for_texts(kept):
        record = _shorten_question(record, room.for_texts(1), room)
        findings.append(Finding("question shortened", 1))
    return Outcome(record, tuple(findings))


def _shorten_question(record: Record, budget: int, room: _Room) -> Record:
    """The record with its first question, and its context before that, shortened to ``budget`` together."""
    question = record.turns[0]
    context = record.context
    if context:
        instruction = room.count([question.text])[0]
        context = shorten(context, budget - min(instruction, budget // 2), record.language, room.count)
        budget -= room.count([context])[0]
    text = shorten(question.text, budget, record.language, room.count)
    return replace(record, context=context, turns=(replace(question, text=text), *record.turns[1:]))
