"""Damaged text mended: wrong decodings, markup, invisible characters, widths, white space, boilerplate.

Clean text comes back unchanged, and every change is told with its place. Characters that are lost for good
leave a mark, which :func:`~mulmed.corpus.plausibility.unrecoverable` finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import ftfy
from ftfy.badness import MOJIBAKE_CATEGORIES
from opencc import OpenCC

from mulmed.corpus import markup, mojibake
from mulmed.corpus.edits import Draft, Edit, differences
from mulmed.corpus.plausibility import LOST_BEGINS, unrecoverable
from mulmed.corpus.record import Record
from mulmed.corpus.sentences import sentences
from mulmed.corpus.stage import Finding, Outcome, map_texts

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

# Every sign of damage to ftfy (its `badness`) is one of a few characters, or two of its categories side by
# side that are not both punctuation. Without one, and without ligatures or surrogates, it has nothing to do.
# (Built to begin with one class, which the search skips through.)
_MARKS = "".join(MOJIBAKE_CATEGORIES[k] for k in ("common", "start_punctuation", "end_punctuation"))
_OTHERS = "".join(v for k, v in MOJIBAKE_CATEGORIES.items() if k != "common" and "punctuation" not in k)
_ALONE = "\x80-\x9fŒœÃÂ\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\ufb00-\ufb06\ud800-\udfff"
_FOR_FTFY = re.compile(
    rf"[{_ALONE}{_OTHERS}{_MARKS}]"
    rf"(?:(?<=[{_ALONE}])|(?<=[{_OTHERS}])[{_OTHERS}{_MARKS}]|(?<=[{_MARKS}])[{_OTHERS}])"
)

# Greek and Cyrillic letters are not taken for bytes of a code page, nor are the signs after Ångström and √.
_OF_OTHERS = re.compile("[\u0370-\u052f]")
_CUBIC = re.compile("Å[²³±]|√[±≤≥]")
# Scripts of neither language: of what two signs may be together, nearly all is here.
_RARE = re.compile(
    "[\u0180-\u036f\u0400-\u1dff\u1f00-\u200a\u2800-\u2fff\u3130-\u31bf\u3200-\u4dbf\ua000-\uabff\ue000-\uf8ff]"
)

_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f\u00ad\u034f\u061c\u180e\u200b\u200c\u200e\u200f"
    "\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]"
    "|\u200d(?![\u2600-\u27bf\U0001f000-\U0001faff])"  # the joiner inside an emoji stays
)
# A byte that neither a Chinese encoding nor Windows-1252 explains: what it stood for is lost.
_UNEXPLAINED = re.compile("[\x80-\x84\x86-\x9f]")
_LINE_BREAK = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_ODD_SPACE = "\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000"
_WHITE_SPACE = re.compile(rf"[ \n{_ODD_SPACE}]{{2,}}|[{_ODD_SPACE}]|\A[ \n]|[ \n]\Z")

_WIDE_SIGNS = "０-９Ａ-Ｚａ-ｚ．／－＿＠％＋"
_WIDE = re.compile(f"[{_WIDE_SIGNS}]")
_WIDE_LETTER = re.compile("[０-９Ａ-Ｚａ-ｚ]+")
_WIDE_SIGN = re.compile("(?<=[0-9A-Za-z])[．／－＿＠％＋](?=[0-9A-Za-z])|(?<=[0-9])％")
_NARROW = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}

# Contractions whose apostrophe became a backslash (iCliniq's published file).
_BACKSLASH = re.compile(r"(?<=[A-Za-z])\\(?=(?:s|t|m|d|re|ve|ll)\b)")

_ROUNDS = 8

_IDEOGRAPH = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")

# Each with a literal that every match contains.
_BOILERPLATE = tuple(
    (literal, re.compile(pattern))
    for literal, pattern in (
        ("填写", r"\s{0,3}[（(]\d{4}-\d{1,2}-\d{1,2}\s*填写[）)]"),
        (
            "感谢您的信任，病情资料",
            r"感谢您的信任，病情资料我已详细阅读。\s*(?:根据您现有的资料，建议：[，,]?\s*)?",
        ),
        ("医生已经通过语音", r"医生已经通过语音回答了您的问题，请及时收听。"),
        ("医生给您发来", r"医生给您发来一个提醒[：:]?"),
        ("医生使用隐私电话", r"医生使用隐私电话功能与患者通话[：:]?"),
        (
            " removed to protect ",
            r"\s{0,3}\(attachments? removed to protect (?:the )?patient(?:'s)? identity\)",
        ),
        ("I answer your health", r"(?:Hi, )?[Mm]ay I answer your health queries right now ?\?"),
        ("Please type your query", r"Please type your query here\.*"),
    )
)

# Where a text has none of these, the rules for markup, apostrophes and boilerplate find nothing.
_WATCHED = ("&", "<", "\\", *(literal for literal, _ in _BOILERPLATE))
# What of a text beyond ASCII is of other width, or lost for good.
_WIDE_OR_LOST = re.compile(f"[{LOST_BEGINS}{_WIDE_SIGNS}]")


@dataclass(frozen=True, slots=True)
class RepairedText:
    """A text mended, and every change that was made.

    Attributes:
        text: the text as it is now.
        changes: offsets into the text as given, in order, not overlapping:
            ``edits.apply(given, changes) == text``.
    """

    text: str
    changes: tuple[Edit, ...] = ()


def repair_record(record: Record, *, simplify: bool = False) -> Outcome:
    """A record with its texts mended, or set aside where words are lost for good or a turn is empty.

    Rules: those of :func:`repair_text`, and ``unrecoverable`` and ``empty``. From a long question, context
    or abstract the sentence with the mark goes (an edit of rule ``unrecoverable``) and the rest stays. An
    answer never goes on without one of its sentences: the one missing may be the warning, or the condition
    under which the next holds; its record is set aside. What other systems answered is theirs, marks and all.
    """
    said = [turn.text for turn in record.turns]
    if not simplify and all(said) and all(map(_is_well, (*said, record.context, *record.baselines.values()))):
        return Outcome(record)
    # Instructions may be about code and markup, where tags and indentation are the content.
    prose = record.task != "instruction"
    whole = {turn.text for turn in record.turns if turn.role == "assistant"} | set(record.baselines.values())

    def mend(text: str, language: str) -> tuple[str, tuple[Edit, ...]]:
        mended = repair_text(text, language, prose=prose, simplify=simplify)
        if text in whole or not unrecoverable(mended.text):
            return mended.text, mended.changes
        draft = Draft(text)
        draft.change(mended.changes)
        if draft.change(_lost_sentences(mended.text, language)) and prose:
            _with_normal_space(draft)
        return draft.text, draft.edits

    outcome = map_texts(record, mend)
    mended = outcome.record
    assert mended is not None
    lost = sum(len(unrecoverable(text)) for text in (*(turn.text for turn in mended.turns), mended.context))
    if lost:
        return Outcome(None, (Finding("unrecoverable", lost),))
    empty = sum(not turn.text for turn in mended.turns)
    if empty:
        return Outcome(None, (Finding("empty", empty),))
    return outcome


def _lost_sentences(text: str, language: str) -> list[Edit]:
    """Edits that take out the sentences with a mark; none where more than a quarter of the text would go."""
    marks = unrecoverable(text)
    edits: list[Edit] = []
    start = 0
    for sentence in sentences(text, language):
        end = start + len(sentence)
        if any(low < end and start < high for low, high in marks):
            edits.append(Edit(start, end, "", "unrecoverable"))
        start = end
    return edits if sum(e.end - e.start for e in edits) * 4 <= len(text) else []


def repair_text(
    text: str, language: str | None = None, *, prose: bool = True, simplify: bool = False
) -> RepairedText:
    """A text mended, with every change in its place. Mending twice changes nothing more.

    Rules: ``mojibake`` (:mod:`mulmed.corpus.mojibake`), ``encoding`` (ftfy), ``entity``, ``tag``,
    ``invisible``, ``width``, ``apostrophe``, ``boilerplate``, ``whitespace``, ``simplified``.

    Args:
        language: ISO 639-1 code; None: Chinese where there is a Chinese character, else English.
        prose: also take out markup and normalise white space; False for text that may be code.
        simplify: also turn traditional Chinese characters into simplified ones (OpenCC, t2s).
    """
    if not simplify and _is_well(text):
        return RepairedText(text)
    draft = Draft(text)
    before = None
    # What one pass lays bare is another's work: &amp;lt; is an entity twice.
    for _ in range(_ROUNDS):
        if draft.text is before:
            break
        before = draft.text
        _one_round(draft, language, prose, simplify)
    return RepairedText(draft.text, draft.edits)


def _is_well(text: str) -> bool:
    """Whether a text has nothing that any rule would look at: most have not. Others may turn out to be well too."""
    return (
        not any(map(text.__contains__, _WATCHED))
        and not _has_space_to_spare(text)
        and text.replace("\n", " ").isprintable()
        and (
            text.isascii()
            or not (_WIDE_OR_LOST.search(text) or mojibake.SUSPICIOUS.search(text) or _FOR_FTFY.search(text))
        )
    )


def _one_round(draft: Draft, language: str | None, prose: bool, simplify: bool) -> None:
    if prose:
        markup.without_entities(draft)
    if not draft.text.isascii():
        draft.change(mojibake.restore(draft.text))
        if _FOR_FTFY.search(draft.text):
            draft.change(_by_ftfy(draft.text))
        if _WIDE.search(draft.text):
            draft.sub(_WIDE_LETTER, _narrow, "width")
            draft.sub(_WIDE_SIGN, _narrow, "width")
    if prose:
        markup.without_tags(draft)
    # Not printable is whatever is control, format, private, unassigned, or a space other than ASCII's.
    odd = not draft.text.replace("\n", " ").isprintable()
    if odd:
        draft.sub(_LINE_BREAK, "\n", "whitespace")
        draft.sub(_INVISIBLE, "", "invisible")
        draft.sub(_UNEXPLAINED, "\ufffd", "encoding")
    if "\\" in draft.text and (language == "en" or (language is None and not _IDEOGRAPH.search(draft.text))):
        draft.sub(_BACKSLASH, "'", "apostrophe")
    if prose:
        _without_boilerplate(draft)
        if odd or _has_space_to_spare(draft.text):
            _with_normal_space(draft)
    if simplify and _IDEOGRAPH.search(draft.text):
        draft.change(differences(draft.text, _to_simplified().convert(draft.text), "simplified"))


def _narrow(match: re.Match[str]) -> str:
    return match[0].translate(_NARROW)


def _by_ftfy(text: str) -> Iterator[Edit]:
    start = 0
    for line in text.split("\n"):
        if _FOR_FTFY.search(line):
            for edit in differences(line, ftfy.fix_text(line, _FTFY), "encoding", start):
                if _believable(text[edit.start : edit.end], edit.replacement):
                    yield edit
        start += len(line) + 1


def _believable(before: str, after: str) -> bool:
    """Whether the change is none of those that ftfy makes to healthy clinical text.

    It tries every European code page, to which ``Å³``, ``IL-1β†`` and ``“FINÉ”`` are one letter of a rare
    script each.
    """
    return not _OF_OTHERS.search(before) and not _CUBIC.search(before) and not _RARE.search(after)


def _without_boilerplate(draft: Draft) -> None:
    for literal, pattern in _BOILERPLATE:
        # A turn that says nothing else keeps it.
        if literal in draft.text and pattern.sub("", draft.text).strip():
            draft.sub(pattern, "", "boilerplate")


def _has_space_to_spare(text: str) -> bool:
    return (
        "  " in text
        or ("\n" in text and ("\n\n" in text or " \n" in text or "\n " in text))
        or text[:1].isspace()
        or text[-1:].isspace()
    )


def _with_normal_space(draft: Draft) -> None:
    """One space or one line break where there were several, none at the ends."""
    last = len(draft.text)

    def normal(match: re.Match[str]) -> str:
        if match.start() == 0 or match.end() == last:
            return ""
        return "\n" if "\n" in match[0] else " "

    draft.sub(_WHITE_SPACE, normal, "whitespace")


@cache
def _to_simplified() -> OpenCC:
    return OpenCC("t2s")
