"""Transcripts of visits: MTS-Dialog (Ben Abacha et al. 2023) and ACI-Bench (Yim et al. 2023).

Both are published for writing clinical notes from conversations; the conversations alone are read.
Everything the clinicians say is the assistant's, everything the patient and the family say the user's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mulmed.corpus.record import Role
from mulmed.corpus.sources.layout import Parsed, Unusable, alternate, conversation, text

# Doctor:, Patient:, Guest_family:, Guest_clinician:, Doctor_2:, Guest_family_1:, and as misspelt.
_MTS_SPEAKER = re.compile(
    r"^\s*(?:(?P<clinician>Do(?:ctor|cotr)|Guest_clini[a-z]*)|(?P<patient>Patient|Gu?est_family))_?\d?[:.]\s*",
    re.MULTILINE,
)
_ACI_SPEAKER = re.compile(
    r"^\s*\[(?:(?P<clinician>doctor)|(?P<patient>patient|patient_guest))\]\s*", re.MULTILINE
)


def parse_mts(row: Mapping[str, Any]) -> Parsed:
    """MTS-Dialog: ``Doctor:``, ``Patient:`` and the like begin a line of ``dialogue``."""
    return _parse(row, _MTS_SPEAKER)


def parse_aci(row: Mapping[str, Any]) -> Parsed:
    """ACI-Bench: ``[doctor]`` and ``[patient]`` begin a line of ``dialogue``."""
    return _parse(row, _ACI_SPEAKER)


def _parse(row: Mapping[str, Any], speaker: re.Pattern[str]) -> Parsed:
    transcript = text(row, "dialogue")
    marks = list(speaker.finditer(transcript))
    if not marks or transcript[: marks[0].start()].strip():
        raise Unusable("text before the first speaker")
    ends = [*(mark.start() for mark in marks[1:]), len(transcript)]
    utterances: list[tuple[Role, str]] = [
        ("assistant" if mark["clinician"] else "user", transcript[mark.end() : end].strip())
        for mark, end in zip(marks, ends, strict=True)
    ]
    turns, notes = alternate(utterances)
    return Parsed(conversation(turns), turns, notes=notes)
