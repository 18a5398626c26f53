"""Insulting, degrading and selling text kept out of the training data; clinical words never.

Words alone decide nothing here: the public block lists stop a fifth to a half of ordinary medical text.
The lexicons (``lexicons/*.txt``, ours) hold phrases that address, degrade or sell. Insults and hate drop the
record. Advertisements and referrals to a site's paid service are usually one sentence at the end of a good
answer: that sentence is taken out, and the record dropped only when hardly anything remains.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from importlib.resources import files

import polars as pl

from mulmed.corpus.batch import StageResult
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.sentences import sentences
from mulmed.corpus.stage import Finding, Outcome, each_record

_DROPS = ("insult", "hate")
_SELLS = ("advertisement", "referral")
#: A text this short says nothing once its advertisement is gone: words in English, characters in Chinese.
_LEAST = {"en": 6, "zh": 10}
# Advertising that is quoted, doubted or warned against.
_WARNING = {
    "en": re.compile(
        r"\b(?:do not|don't|never|beware|avoid|scam|fraud|no such|there is no|not believe|is there)\b", re.I
    ),
    "zh": re.compile(
        r"不要|别信|不能?相信|不可信|谨防|警惕|虚假|骗|没有|不存在|切勿|切忌|勿|是真的吗|有没有|可信吗|听说|所谓|并非|不是|不确|不提?倡|不推荐|不建议"
    ),
}
# What the lexicons name by its placeholder, for corpora that are not de-identified.
_UNMASKED = {
    r"\[URL\]": r"https?://\S+|www\.\S+",
    r"\[EMAIL\]": r"[\w.+-]+@[\w.-]+",
    r"\[PHONE\]": r"\+?\d[\d -]{6,}",
    r"\[ACCOUNT\]": r"[A-Za-z0-9_-]{5,}",
    r"\[HOSPITAL\]": r"(?:[A-Z]\w+ )+(?:Clinic|Hospital)",
}
#: So many selling phrases in a text are an advertisement, whatever else it says.
_SOLICITS = 3
_ABOUT_SELLING = re.compile(
    r"advert|promot|market|sale|sell|slogan|campaign|brand|business|product|discount|customer|shop|store"
    r"|广告|促销|营销|推广|销售|宣传|文案|品牌|产品|顾客|客户|商店|折扣|优惠",
    re.I,
)
_ENGLISH_WORD = re.compile(r"[A-Za-z0-9]+")
_CHINESE_CHARACTER = re.compile(r"[\u4e00-\u9fff]")


@cache
def _lexicon(kind: str, language: str) -> re.Pattern[str] | None:
    """One pattern out of a word list, or ``None`` where there is no list for the language."""
    source = files("mulmed.corpus").joinpath("lexicons", f"{kind}_{language}.txt")
    if not source.is_file():
        return None
    lines = source.read_text(encoding="utf-8").splitlines()
    phrases = [line for line in lines if line and not line.startswith("#")]
    joined = "|".join(f"(?:{phrase})" for phrase in phrases)
    for placeholder, raw in _UNMASKED.items():
        joined = joined.replace(placeholder, f"(?:{placeholder}|{raw})")
    # Only a letter makes an edge matter: "50% off" begins with none, "[URL]" ends with none.
    edged = rf"(?<![A-Za-z])(?:{joined})(?![A-Za-z])" if language == "en" else joined
    return re.compile(edged, re.IGNORECASE)


def moderate(batch: pl.DataFrame) -> StageResult:
    """Records without insults, hate and advertisement.

    Rules that drop: ``insult``, ``hate`` (in any turn), ``advertisement`` and ``referral`` when too little
    remains without them. Rules that change: ``advertisement``, ``referral``, their count the sentences taken
    out of a doctor's answer (questions and answers, dialogues). Texts of other systems (baselines) are compared with, not trained on, and stay as they are.
    """
    return each_record(batch, "moderate", _moderate_record)


def _moderate_record(record: Record) -> Outcome:
    texts = [*(t.text for t in record.turns), record.context]
    for rule in _DROPS:
        pattern = _lexicon(rule, record.language)
        hits = sum(len(pattern.findall(text)) for text in texts) if pattern else 0
        if hits:
            return Outcome(None, (Finding(rule, hits),))
    if phrases := _solicits(record):
        return Outcome(None, (Finding("advertisement", phrases),))
    if record.task not in ("qa", "dialogue"):
        return Outcome(record)
    counts = dict.fromkeys(_SELLS, 0)
    turns = []
    for turn in record.turns:
        if turn.role == "user":  # patients ask whether an advertisement is true, or for a doctor's WeChat
            turns.append(turn)
            continue
        text, found = without_selling(turn.text, record.language)
        for rule, count, _ in found:
            counts[rule] += count
        turns.append(Turn(turn.role, text))
        if found and _size(text, record.language) < _LEAST.get(record.language, 6):
            return Outcome(None, tuple(found))
    findings = tuple(Finding(rule, count) for rule, count in counts.items() if count)
    return Outcome(replace(record, turns=tuple(turns)) if findings else record, findings)


def _solicits(record: Record) -> int:
    """Number of selling phrases in a text that is one advertisement; 0 where there is none.

    An instruction may ask for an advertisement, and its answer is one then.
    """
    pattern = _lexicon("advertisement", record.language)
    asked = record.turns[0].text + record.context
    if pattern is None or (record.task == "instruction" and _ABOUT_SELLING.search(asked)):
        return 0
    texts = [t.text for t in record.turns if t.role == "user" or record.task == "instruction"]
    phrases = [
        sum(
            len(pattern.findall(s))
            for s in sentences(text, record.language)
            if not _warns(s, record.language)
        )
        for text in texts
        if pattern.search(text)
    ]
    return max((n for n in phrases if n >= _SOLICITS), default=0)


def _warns(sentence: str, language: str) -> bool:
    warning = _WARNING.get(language)
    return warning is not None and warning.search(sentence) is not None


def without_selling(text: str, language: str) -> tuple[str, list[Finding]]:
    """Text without the sentences that advertise or refer to a paid service."""
    patterns = [(rule, p) for rule in _SELLS if (p := _lexicon(rule, language)) is not None]
    if not any(pattern.search(text) for _, pattern in patterns):
        return text, []
    kept: list[str] = []
    counts = dict.fromkeys(_SELLS, 0)
    for sentence in sentences(text, language):
        rule = next((rule for rule, pattern in patterns if pattern.search(sentence)), None)
        if rule is None or (rule == "advertisement" and _warns(sentence, language)):
            kept.append(sentence)
        else:
            counts[rule] += 1
    return "".join(kept).strip(), [Finding(rule, n) for rule, n in counts.items() if n]


def _size(text: str, language: str) -> int:
    return len((_CHINESE_CHARACTER if language == "zh" else _ENGLISH_WORD).findall(text))
