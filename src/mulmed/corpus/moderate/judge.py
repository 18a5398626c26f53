"""What is said in a text: nothing to object to, something to leave out, or someone in danger.

Words alone decide nothing: the public block lists stop a fifth to a half of ordinary medical text. A text is
dropped for a phrase that addresses, degrades or sells, unless it is reported speech ("he calls me ..."); or
where a word that offends in some contexts makes the classifier look at its surroundings and the classifier,
which has seen how patients use such words, is sure.

Suicide and self-harm are never a reason to drop anything. "No suicidal thoughts", "denies suicidal ideation"
and 否认自杀念头 are findings and not tagged; "I am not suicidal, I just do not want to wake up" is tagged for
its second half, and so is a doctor's question. "Suicide gene" and 自杀基因 are biochemistry.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from mulmed.corpus.moderate.classifier import condemned
from mulmed.corpus.moderate.lexicon import CONDEMNS, CRISIS, CUE, MENTION, Found, folded, matcher
from mulmed.corpus.moderate.selling import advertises, warns

Action = Literal["keep", "drop", "crisis"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a text, and the names of the rules that say so.

    Attributes:
        action: ``keep``; ``drop``; or ``crisis``: keep, and tag.
        reasons: ``insult``, ``hate``, ``sexual``, ``weapons``, ``gambling``, ``advertisement``, ``referral``;
            ``crisis:suicide``. Empty where the action is ``keep``.
    """

    action: Action
    reasons: tuple[str, ...] = ()


KEEP = Verdict("keep")
_SUICIDE = "crisis:suicide"

#: Kinds of offence of which the classifier is asked.
CUES = (*CONDEMNS, "advertisement")

# Words that someone reports are not the writer's own.
_REPORTED = re.compile(
    r"\b(?:call(?:s|ed|ing)?|says?|said|t(?:ells?|old|elling)|shout\w*|yell\w*|scream\w*|mock\w*|bull(?:y|ies|ied)\w*"
    r"|voices?|hears?|heard|wrote|text(?:ed|s)|messaged|insult(?:s|ed)|impl(?:y|ies|ied|ying)|suggest(?:s|ed|ing)? that"
    r"|claim(?:s|ed|ing)?|statement|stereotyp\w*|phrase|offensive|hateful) [^.!?]{0,40}$"
    r"|(?:骂|说|喊|吼|嘲笑|叫|侮辱|声音|听到|写道|留言|称|暗示|认为|言论|偏见)[^。！？]{0,15}$"
)
# Who asks whether an offer is true does not make it.
_ASKS = re.compile(r"\?|？|吗")
_DENIED = re.compile(
    r"\b(?:no|not|non|denie[sd]|deny|denying|without|negative for|nor|neither|never|absence of|free of)"
    r"(?: (?!only|just|sure)[\w/,-]+){0,7} ?$"
)
_FINDING_BEFORE = re.compile(
    r"(?:(?<!有)(?<!到底)没有?|无|否认|未见|未发现|未出现|未曾有|不存在|从未有)(?:[^，。；！？,.;!?想只就办法人希望勇气]{0,10})$"
)
_FINDING_AFTER = re.compile(
    r"(?:、|及|和|或)?[^，。；！？,.;!?]{0,6}(?:念头|意念|想法|倾向|行为|企图|观念|计划|史|风险|言行)"
)
_TECHNICAL_AFTER = re.compile(
    r"(?:[ -](?:gene|inhibit|inactivat|substrate|vector|plasmid|system|cassette|enzyme|module|switch|protein"
    r"|(?:left )?ventric|bomb|squad|mission|attack|erasure|tree|disease))"
    r"|(?:基因|式|性?底物|性?抑制|性?失活|载体|质粒|系统|酶|蛋白|炸弹|袭击|免疫(?!力)|性?皮下)"
)
_TECHNICAL_BEFORE = re.compile(
    r"(?:\b(?:cell|cells|cellular|bacteri\w+|enzyme|mechanism-based|programmed)(?: (?:to |can |may |will )?(?:commit\w* )?)"
    r"|(?:细胞|细菌|肿瘤)(?:的|程序性|会|发生)?)$"
)


def judge_text(text: str, language: str | None = None) -> Verdict:
    """Whether a text may be trained on.

    Args:
        text: a question, an answer, any text.
        language: its ISO 639-1 code, which only tells how sentences are cut; found out where not given.

    Returns:
        ``crisis`` where someone speaks of suicide or of hurting themselves, whatever else the text holds,
        unless it does nothing but tell its reader to die; ``drop`` for insults, hate, pornography, weapons,
        gambling, and for texts that are one advertisement; ``keep`` for everything else.
    """
    plain = folded(text)
    found = matcher().matches(plain)
    if not found:
        return KEEP
    reasons = judge_parts(plain, found)
    if speaks_of_crisis(plain, found, abused="insult" in reasons):
        return Verdict("crisis", (_SUICIDE,))
    if not reasons and (rule := advertises(text, found, language)):
        reasons = (rule,)
    return Verdict("drop", reasons) if reasons else KEEP


def judge_parts(plain: str, found: Found, heeded: Collection[str] = CUES) -> tuple[str, ...]:
    """The rules that condemn a text in lower case, given what the lists find in it.

    Args:
        heeded: kinds of offence for which the classifier is asked.
    """
    reasons = [
        kind
        for condemning in CONDEMNS
        for kind, matches in found.items()
        if kind.partition(":")[0] == condemning and not all(_reported(plain, m) for m in matches)
    ]
    cues = {cue: held for cue in heeded if (held := found.get(f"{CUE}:{cue}"))}
    if cues:
        places = {
            kind: [m.span() for m in matches if not _reported(plain, m)]
            for kind, matches in cues.items()
            if kind != "advertisement" or not (warns(plain) or _ASKS.search(plain))
        }
        told = {reason.partition(":")[0] for reason in reasons}
        reasons += [kind for kind in condemned(plain, places) if kind not in told]
    return tuple(reasons)


def _reported(plain: str, match: re.Match[str]) -> bool:
    return _REPORTED.search(plain[max(0, match.start() - 60) : match.start()]) is not None


def speaks_of_crisis(plain: str, found: Found, *, abused: bool = False, mentions: bool = True) -> bool:
    """Whether a text in lower case speaks of suicide or self-harm.

    Args:
        abused: the text insults its reader: "go and kill yourself" is no cry for help then.
        mentions: suicide named in any way counts, unless as a term of biochemistry or as absent.
    """
    if any(not (abused and "your" in match[0]) for match in found.get(CRISIS, ())):
        return True
    return mentions and any(_real(plain, match) for match in found.get(MENTION, ()))


def _real(plain: str, mention: re.Match[str]) -> bool:
    before, after = (
        plain[max(0, mention.start() - 60) : mention.start()],
        plain[mention.end() : mention.end() + 20],
    )
    if _TECHNICAL_AFTER.match(after) or _TECHNICAL_BEFORE.search(before):
        return False
    if mention[0].isascii():
        clause = re.split(r"[.;!?\n]|\bbut\b", before)[-1]
        return not _DENIED.search(clause)
    return not (_FINDING_BEFORE.search(before) and _FINDING_AFTER.match(after))
