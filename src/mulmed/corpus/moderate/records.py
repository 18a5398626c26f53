"""Moderation of one record: kept, tagged, relieved of its advertising, or dropped."""

from __future__ import annotations

import re
from dataclasses import replace

from mulmed.corpus.edits import apply
from mulmed.corpus.moderate.judge import judge_parts, speaks_of_crisis
from mulmed.corpus.moderate.lexicon import Found, matcher
from mulmed.corpus.moderate.selling import says_little, selling_edits, solicits
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.stage import Finding, Outcome, findings_of

CRISIS_TAG = "crisis"
_ABOUT_SELLING = re.compile(
    r"advert|promot|market|sale|sell|slogan|campaign|brand|business|product|discount|customer|shop|store"
    r"|广告|促销|营销|推广|销售|宣传|文案|品牌|产品|顾客|客户|商店|折扣|优惠",
    re.I,
)


def moderate_record(record: Record) -> Outcome:
    """The record, tagged or without advertising where need be, or dropped.

    Rules that drop: ``insult``, ``hate:...``, ``sexual``, ``weapons``, ``gambling`` in any turn or the
    context; ``advertisement`` and ``referral`` where a text is one advertisement or too little of an answer
    remains. Rules that change: ``advertisement`` and ``referral``, a sentence each, in a doctor's answer.
    Rule that tags: ``crisis:suicide``.

    What people in despair say never drops their record: only a fault of the *answer* does that. An abstract
    that merely names suicide is not tagged. Texts of other systems (baselines) are compared with, not
    trained on, and stay as they are.
    """
    texts = [turn.text for turn in record.turns]
    if record.context:
        texts.append(record.context)
    found = matcher().matches_each(texts)
    if not found:
        return Outcome(record)
    turns = len(record.turns)
    return _decide(
        record,
        [(f"turns[{i}]" if i < turns else "context", texts[i], plain, held) for i, plain, held in found],
    )


def _decide(record: Record, suspects: list[tuple[str, str, str, Found]]) -> Outcome:
    answers = {f"turns[{i}]" for i, turn in enumerate(record.turns) if turn.role == "assistant"}
    reasons = {field: judge_parts(plain, held) for field, _, plain, held in suspects}
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
