"""Damaged text mended: wrong decodings, markup, invisible characters, widths, white space, boilerplate.

Clean text comes back unchanged. A text with characters that are lost for good cannot be mended, and its
record is dropped.
"""

from __future__ import annotations

import html
import re

import ftfy
import polars as pl

from mulmed.corpus import mojibake
from mulmed.corpus.batch import StageResult
from mulmed.corpus.record import Record
from mulmed.corpus.stage import Finding, Outcome, each_record, map_texts, texts_of

# Only what undoes damage: quotation marks, Chinese punctuation and compatibility characters (℃, ㎎)
# are the author's own, and entities and line breaks have rules of their own below.
_FTFY = ftfy.TextFixerConfig(
    unescape_html=False,
    fix_latin_ligatures=True,
    fix_character_width=False,
    uncurl_quotes=False,
    fix_line_breaks=False,
    remove_control_chars=False,
    normalization=None,
    explain=False,
)

# Without one of these (Latin, Greek, Cyrillic, box drawing, ligatures, surrogates) it has nothing to do.
_FOR_FTFY = re.compile("[\x80-\u058f\u2500-\u259f\ufb00-\ufb06\ud800-\udfff]")

_ENTITY = re.compile(r"&(?:#\d{2,7}|#[xX][0-9a-fA-F]{2,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_ATTRIBUTES = r"(?:\s+[A-Za-z:-]+(?:\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>]+)))*\s*/?"
_BLOCK = "p|div|li|tr|h[1-6]|table|ul|ol|blockquote|pre|section|article|body|html|head|header|footer|title"
_INLINE = "span|em|strong|font|center|small|big|img|hr|td|th|tbody|thead|code|iframe|input|button|link|meta"
_HIDDEN = re.compile(r"<!--.*?-->|<(script|style)\b[^<>]*>.*?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK_TAG = re.compile(rf"</?(?:br|{_BLOCK}){_ATTRIBUTES}>", re.IGNORECASE)
_INLINE_TAG = re.compile(rf"</?(?:{_INLINE}){_ATTRIBUTES}>", re.IGNORECASE)
# One letter between angle brackets may be a comparison; with its closing tag it is markup.
_SHORT_TAG = re.compile(rf"<(a|b|i|s|u|q)({_ATTRIBUTES})>([^<>]*)</\1\s*>", re.IGNORECASE)
# 10<sup>9</sup> must not become 109.
_POWER = re.compile(r"(?<=[\w)])<sup>\s*([+\-−]?\d+)\s*</sup>", re.IGNORECASE)
_SCRIPT_TAG = re.compile(r"</?su[bp]\s*>", re.IGNORECASE)

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
    "|\u200d(?![\u2600-\u27bf\U0001f000-\U0001faff])"  # the joiner inside an emoji stays
)
_LINE_BREAK = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACE = re.compile("[\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_SPACES = re.compile(r" *\n[ \n]*| {2,}")

_WIDE_LETTER = re.compile("[０-９Ａ-Ｚａ-ｚ]")
_WIDE_SIGN = re.compile("(?<=[0-9A-Za-z])[．／－＿＠％＋](?=[0-9A-Za-z])|(?<=[0-9])％")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}

# Contractions whose apostrophe became a backslash (iCliniq's published file).
_BACKSLASH = re.compile(r"(?<=[A-Za-z])\\(?=(?:s|t|m|d|re|ve|ll)\b)")

_BOILERPLATE = tuple(
    re.compile(pattern)
    for pattern in (
        r"\s*[（(]\d{4}-\d{1,2}-\d{1,2}\s*填写[）)]",
        r"感谢您的信任，病情资料我已详细阅读。\s*(?:根据您现有的资料，建议：[，,]?\s*)?",
        r"医生已经通过语音回答了您的问题，请及时收听。",
        r"医生给您发来一个提醒[：:]?",
        r"医生使用隐私电话功能与患者通话[：:]?",
        r"\s*\(attachments? removed to protect (?:the )?patient(?:'s)? identity\)",
        r"(?:Hi, )?[Mm]ay I answer your health queries right now ?\?",
        r"Please type your query here\.*",
    )
)


def repair(batch: pl.DataFrame) -> StageResult:
    """Records with their texts mended; those with text that is lost or empty are dropped.

    Rules: ``mojibake`` (:mod:`mulmed.corpus.mojibake`), ``encoding`` (ftfy), ``entity``, ``tag``,
    ``invisible``, ``width``, ``apostrophe``, ``boilerplate``, ``whitespace``; and, dropping the record,
    ``unrecoverable`` and ``empty``.
    """
    return each_record(batch, "repair", _repair_record)


def _repair_record(record: Record) -> Outcome:
    # Instructions may be about code and markup, where tags and indentation are the content.
    prose = record.task != "instruction"
    outcome = map_texts(record, lambda text, language: repair_text(text, language, prose=prose))
    mended = outcome.record
    assert mended is not None
    lost = sum(map(mojibake.unrecoverable, texts_of(mended)))
    if lost:
        return Outcome(None, (Finding("unrecoverable", lost),))
    empty = sum(not turn.text for turn in mended.turns)
    if empty:
        return Outcome(None, (Finding("empty", empty),))
    return outcome


def repair_text(text: str, language: str, *, prose: bool = True) -> tuple[str, list[Finding]]:
    """A text mended, and how often each rule fired.

    Args:
        prose: also take out markup and normalise white space; False for text that may be code.
    """
    found: list[Finding] = []

    def note(rule: str, count: int) -> None:
        if count:
            found.append(Finding(rule, count))

    text, count = mojibake.restore(text)
    note("mojibake", count)
    if _FOR_FTFY.search(text):
        fixed = ftfy.fix_text(text, _FTFY)
        note("encoding", int(fixed != text))
        text = fixed
    if prose:
        text, count = _without_entities(text)
        note("entity", count)
        text, count = _without_tags(text)
        note("tag", count)
    text = _LINE_BREAK.sub("\n", text)
    text, count = _INVISIBLE.subn("", text)
    note("invisible", count)
    text, letters = _WIDE_LETTER.subn(_narrow, text)
    text, signs = _WIDE_SIGN.subn(_narrow, text)
    note("width", letters + signs)
    if language == "en":
        text, count = _BACKSLASH.subn("'", text)
        note("apostrophe", count)
    if prose:
        text, count = _without_boilerplate(text)
        note("boilerplate", count)
        normal = _SPACES.sub(lambda m: "\n" if "\n" in m[0] else " ", _SPACE.sub(" ", text)).strip()
        note("whitespace", int(normal != text))
        text = normal
    return text, found


def _narrow(match: re.Match[str]) -> str:
    return match[0].translate(_NARROW)


def _without_entities(text: str) -> tuple[str, int]:
    total = 0
    for _ in range(2):  # &amp;lt; was escaped twice
        unescaped = _ENTITY.sub(lambda m: html.unescape(m[0]), text)
        if unescaped == text:
            break
        total += len(_ENTITY.findall(text))
        text = unescaped
    return text, total


def _without_tags(text: str) -> tuple[str, int]:
    """Text without HTML tags and with their line breaks; ``p < 0.05 and n > 3`` is no tag."""
    if "<" not in text:
        return text, 0
    text, hidden = _HIDDEN.subn("", text)
    text, powers = _POWER.subn(r"^\1", text)
    text, scripts = _SCRIPT_TAG.subn("", text)
    text, inline = _INLINE_TAG.subn("", text)
    text, breaks = _BREAK_TAG.subn("\n", text)
    total = hidden + powers + scripts + inline + breaks
    while True:
        text, short = _SHORT_TAG.subn(r"\3", text)
        if not short:
            return text, total
        total += short


def _without_boilerplate(text: str) -> tuple[str, int]:
    total = 0
    for pattern in _BOILERPLATE:
        shorter, count = pattern.subn("", text)
        if count and shorter.strip():  # a turn that says nothing else keeps it
            text, total = shorter, total + count
    return text, total
