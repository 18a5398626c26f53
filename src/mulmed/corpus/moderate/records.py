"""Moderation of one record: kept, tagged, relieved of its advertising, or dropped."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from operator import itemgetter

from mulmed.corpus.edits import apply
from mulmed.corpus.moderate.groups import named
from mulmed.corpus.moderate.judge import CUES, judge_parts, speaks_of_crisis
from mulmed.corpus.moderate.lexicon import CONDEMNS, Found, matcher
from mulmed.corpus.moderate.selling import says_little, selling_edits, solicits
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.stage import Finding, Outcome, findings_of

CRISIS_TAG = "crisis"
_ABOUT_SELLING = re.compile(
    r"advert|promot|market|sale|sell|slogan|campaign|brand|business|product|discount|customer|shop|store"
    r"|e-?mail|tweet|headline|newsletter|subscri|register|sign up"
    r"|广告|促销|营销|推广|销售|宣传|文案|品牌|产品|顾客|客户|商店|折扣|优惠",
    re.I,
)
# Instructions that ask something about a text given with them, or ask for it in other words.
_ABOUT_TEXT = re.compile(
    r"\b(?:classif|categor|detect|identif|determin|recogni[sz]|analy[sz]|evaluat|assess|judge|label|decide|tell (?:me )?(?:if|whether)"
    r"|explain|summari[sz]|translat|rewrit|rephras|paraphras|edit|correct|censor|replac|remov|extract|defin|compar|complete)"
    r"|分类|归类|检测|识别|判断|确定|辨别|分析|评估|解释|总结|概括|翻译|改写|重写|改述|编辑|修改|纠正|删除|替换|提取|定义|比较|填",
    re.I,
)


def moderate_record(record: Record) -> Outcome:
    """The record, tagged or without advertising where need be, or dropped.

    Rules that drop: ``insult``, ``hate:...``, ``sexual``, ``weapons``, ``gambling`` in any turn or the
    context; ``advertisement`` and ``referral`` where a text is one advertisement or too little of an answer
    remains. Rules that change: ``advertisement`` and ``referral``, a sentence each, in a doctor's answer.
    Rule that tags: ``crisis:suicide``.

    An instruction may be about anything: in its own text and its context only phrases of the lists condemn, not
    what the classifier makes of a word, and in the context not even these where the instruction asks something about
    it ("is this an insult?"). The advertisement that an instruction asks for is no spam.

    What people in despair say never drops their record: only a fault of the *answer* does that. An abstract
    that merely names suicide is not tagged. Texts of other systems (baselines) are compared with, not
    trained on, and stay as they are.
    """
    return moderate_records([record])[0][0]


def moderate_records(records: Sequence[Record]) -> list[tuple[Outcome, tuple[str, ...]]]:
    """:func:`moderate_record` of each of some records, and the groups of people that its turns and context name.

    The lists are looked for in all texts at once.
    """
    texts: list[str] = []
    ends: list[int] = []
    for record in records:
        texts += [turn.text for turn in record.turns]
        if record.context:
            texts.append(record.context)
        ends.append(len(texts))
    held: dict[int, list[tuple[int, str, Found]]] = {}
    for position, plain, found in matcher().matches_each(texts):
        held.setdefault(bisect_right(ends, position), []).append((position, plain, found))
    decided = []
    for number, record in enumerate(records):
        first = ends[number - 1] if number else 0
        suspects = [
            (f"turns[{i - first}]" if i - first < len(record.turns) else "context", texts[i], plain, found)
            for i, plain, found in sorted(held.get(number, ()), key=itemgetter(0))
        ]
        groups = named([found for *_, found in suspects])
        decided.append((_decide(record, suspects) if suspects else Outcome(record), groups))
    return decided


def _decide(record: Record, suspects: list[tuple[str, str, str, Found]]) -> Outcome:
    answers = {f"turns[{i}]" for i, turn in enumerate(record.turns) if turn.role == "assistant"}
    reasons = {
        field: judge_parts(plain, held, _heeded(record, field in answers))
        for field, _, plain, held in suspects
    }
    if record.task == "instruction" and _ABOUT_TEXT.search(record.turns[0].text):
        reasons["context"] = ()
    crisis = [
        field
        for field, _, plain, held in suspects
        if speaks_of_crisis(plain, held, abused="insult" in reasons[field], mentions=record.task != "summary")
    ]
    cry = any(field not in answers for field in crisis)
    detail = CRISIS_TAG if crisis else ""
    for field, found in reasons.items():
        if found and (field in answers or not crisis):
            return Outcome(None, tuple(Finding(rule, 1, detail, field) for rule in found))

    findings: list[Finding] = []
    turns = list(record.turns)
    if not (record.task == "instruction" and _ABOUT_SELLING.search(record.turns[0].text + record.context)):
        for field, text, _, held in suspects:
            asks = field not in answers
            if (asks or record.task == "instruction") and not cry and solicits(text, held, record.language):
                return Outcome(None, (Finding("advertisement", 1, detail, field),))
    if record.task in ("qa", "dialogue"):
        # Patients ask whether an advertisement is true, or for a doctor's WeChat: only answers are changed.
        for field, text, _, held in suspects:
            if field not in answers or not (edits := selling_edits(text, held, record.language)):
                continue
            left = apply(text, edits)
            if says_little(left):
                return Outcome(None, tuple(Finding(e.rule, 1, detail, field) for e in edits))
            position = int(field[6:-1])
            turns[position] = Turn("assistant", left)
            findings.extend(findings_of(field, text, edits))
    tags = record.tags
    if crisis and CRISIS_TAG not in tags:
        tags = (*tags, CRISIS_TAG)
        findings.extend(Finding("crisis:suicide", 1, "", field) for field in crisis)
    if not findings:
        return Outcome(record)
    return Outcome(replace(record, turns=tuple(turns), tags=tags), tuple(findings))


def _heeded(record: Record, answer: bool) -> tuple[str, ...]:
    """Kinds of offence of which the classifier is asked about a text."""
    if record.task != "instruction":
        return CUES
    return CONDEMNS if answer else ()
