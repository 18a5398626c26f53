"""MedDialog's text layout (Zeng et al. 2020), in which haodf.com and iCliniq dialogues are published.

A file is a run of blocks::

    id=1
    https://...

    Description
    疾病： ...            (the form the patient filled in; in English one free line)
    病情描述： ...

    Dialogue
    医生：
    ...
    病人：
    ...

One block is one record, even where it holds several consultations of one patient: they are one
conversation, and apart they could fall on both sides of a split. The form becomes the beginning of the
patient's first turn: disease, description and the help wanted as they stand, then medication, allergies
and history under their label where the patient stated any. Left out are the form's other fields
(hospitals visited, doctor booked, duration as one of five phrases, pregnancy, dates of filling in), the
block's address and faculty, and the section of diagnosis and suggestions, which nobody said to the
patient in the dialogue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mulmed.corpus.files import lines
from mulmed.corpus.record import Role
from mulmed.corpus.sources.layout import (
    Found,
    Note,
    Parsed,
    Rejected,
    Unusable,
    alternate,
    conversation,
)

#: Fields of the form that say in the patient's words what the matter is.
PLAIN = ("疾病", "疾病/症状", "疾病名称", "病情描述", "希望获得的帮助")
#: Fields that are kept under their label, as a bare drug name alone would not say what it is.
LABELLED = ("用药情况", "过敏史", "既往病史")
#: The other fields seen in the published files.
LEFT_OUT = (
    "患病多久", "怀孕情况", "已就诊医院及科室", "检查医院", "预约医生", "就诊患者", "就诊地点", "报到来源",
    "目前是否仍在住院", "住院时是否做了手术", "出院日期", "复诊时间", "复查时间", "是否有出院带药",
    "本次就诊时间", "是否开了检查", "是否拿到检查结果", "是否开药", "医生给的诊疗建议", "主诉", "现病史",
    "初步诊断", "疾病诊断", "药品", "开药需求", "患者资料", "用药描述", "患者诉求",
)  # fmt: skip
_FIELD = re.compile(
    rf"({'|'.join(map(re.escape, sorted(PLAIN + LABELLED + LEFT_OUT, key=len, reverse=True)))}"
    r"|(?:资料照片|附件)\s*[（(]\d+[)）])[：:]\s*(.*)"
)
# Once a doctor has spoken, a line such as 初步诊断：... may be the doctor's own; these never are.
_FIELD_AMID_DIALOGUE = re.compile(r"(疾病诊断|药品|开药需求|预约医生)[：:]\s*(.*)")
_PRESCRIPTION_STAMP = re.compile(r"开药需求[：:]\s*$")
_FILLED_IN = re.compile(r"[（(]\d{4}-\d{1,2}-\d{1,2}填写[)）]")
# What the platform says in the doctor's name. Alone it is no answer, yet a tenth of the first ones are it.
_PLATFORM = re.compile(
    r"(?:感谢您的信任，病情资料我已详细阅读。(?:根据您现有的资料，建议：[，,]?)?"
    r"|医生已经通过语音回答了您的问题，请及时收听。|医生给您发来一个提醒[：:]|\s)+"
)
_NOTHING_STATED = re.compile(r"(?:无|没有|暂无|未填写|不清楚|不详|否)?[。.！!]?")
_ID = re.compile(r"id=\s*\d+\s*")
_SECTIONS = ("Description", "Dialogue", "Doctor faculty", "Diagnosis and suggestions")
_SPEAKERS: dict[str, dict[str, Role]] = {
    "zh": {"病人": "user", "患者": "user", "医生": "assistant"},
    "en": {"Patient": "user", "Doctor": "assistant"},
}


_SPEAKER = {
    language: re.compile(rf"\s*({'|'.join(names)})[：:]\s*(.*)") for language, names in _SPEAKERS.items()
}


@dataclass
class _Consultation:
    form: dict[str, list[str]] = field(default_factory=dict)
    utterances: list[tuple[Role, list[str]]] = field(default_factory=list)


def read_zh(path: Path, encoding: str) -> Iterator[Found | Rejected]:
    """Chinese records: ``dialogue`` for two rounds or more, ``qa`` for one."""
    return _read(path, encoding, "zh")


def read_en(path: Path, encoding: str) -> Iterator[Found | Rejected]:
    """English records: ``dialogue`` for two rounds or more, ``qa`` for one."""
    return _read(path, encoding, "en")


def _read(path: Path, encoding: str, language: str) -> Iterator[Found | Rejected]:
    for row, (line, block) in enumerate(_blocks(path, encoding)):
        try:
            yield Found(row, line, _parse(block, language))
        except Unusable as unusable:
            yield Rejected(row, line, str(unusable))


def _blocks(path: Path, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """(line of ``id=``, the lines after it) of each block."""
    start, block = 0, list[str]()
    for number, line in enumerate(lines(path, encoding), start=1):
        if line.startswith("id=") and _ID.fullmatch(line):
            if start:
                yield start, block
            start, block = number, []
        elif start:
            block.append(line)
    if start:
        yield start, block


def _parse(block: list[str], language: str) -> Parsed:
    consultations, diagnosis = _consultations(block, language)
    utterances: list[tuple[Role, str]] = []
    said: list[tuple[str, list[tuple[Role, str]]]] = []
    platform: list[str] = []
    repeated: list[str] = []
    for consultation in consultations:
        _move_stamped(consultation)
        description = _description(consultation.form)
        dialogue: list[tuple[Role, str]] = [
            (role, "\n".join(spoken).strip()) for role, spoken in consultation.utterances
        ]
        platform.extend(text for _, text in dialogue if _PLATFORM.fullmatch(text))
        dialogue = [utterance for utterance in dialogue if not _PLATFORM.fullmatch(utterance[1])]
        if (description, dialogue) in said:  # some blocks hold the same consultation twice
            repeated.append(description + "".join(text for _, text in dialogue))
            continue
        if not any(description == earlier for earlier, _ in said):
            utterances.append(("user", description))
        utterances.extend(dialogue)
        said.append((description, dialogue))
    if not any(consultation.utterances for consultation in consultations):
        raise Unusable("no dialogue")
    turns, notes = alternate(utterances)
    for rule, left_out in (
        ("repeated consultation left out", repeated),
        ("platform message left out", platform),
    ):
        if left_out:
            notes += (Note(rule, len(left_out), sum(map(len, left_out))),)
    if diagnosis:
        notes += (Note("diagnosis section left out", characters=diagnosis),)
    return Parsed(conversation(turns), turns, notes=notes)


def _consultations(block: list[str], language: str) -> tuple[list[_Consultation], int]:
    """The block's consultations, and the characters of its section of diagnosis and suggestions."""
    speaker = _SPEAKER[language]
    here = _Consultation()
    consultations = [here]
    section, label, diagnosis = "", "", 0
    for raw in block:
        line = raw.strip()
        labelled = "：" in line or ":" in line
        if line in _SECTIONS:
            if line == "Description" and here.utterances:
                here = _Consultation()
                consultations.append(here)
            section, label = line, label if line == "Dialogue" else ""
        elif section == "Dialogue":
            answered = labelled and any(role == "assistant" for role, _ in here.utterances)
            if labelled and (form := (_FIELD_AMID_DIALOGUE if answered else _FIELD).fullmatch(line)):
                # The published files cut a form's long fields up and call the pieces a dialogue.
                if not answered:
                    _move_to_form(here, label)
                section, label = "Description", form.group(1)
                here.form.setdefault(label, []).append(form.group(2))
            elif labelled and (turn := speaker.fullmatch(line)):
                here.utterances.append((_SPEAKERS[language][turn.group(1)], [turn.group(2)]))
            elif here.utterances:
                here.utterances[-1][1].append(_PRESCRIPTION_STAMP.sub("", line))
        elif section == "Description":
            if labelled and (form := _FIELD.fullmatch(line)):
                label = form.group(1)
                here.form.setdefault(label, []).append(form.group(2))
            else:
                here.form.setdefault(label, []).append(line)
        elif section == "Diagnosis and suggestions":
            diagnosis += len(line)
    return consultations, diagnosis


def _move_to_form(consultation: _Consultation, label: str) -> None:
    pieces = [piece for _, spoken in consultation.utterances for piece in spoken]
    consultation.form.setdefault(label, []).extend(pieces)
    consultation.utterances.clear()


def _move_stamped(consultation: _Consultation) -> None:
    """Entries of the patient's history that stand in the dialogue, known by the date of filling in."""
    spoken, stamped = [], []
    for role, pieces in consultation.utterances:
        if role == "user" and _FILLED_IN.search("".join(pieces)):
            stamped.extend(pieces)
        else:
            spoken.append((role, pieces))
    consultation.utterances = spoken
    if stamped:
        consultation.form.setdefault("既往病史", []).extend(stamped)


def _description(form: dict[str, list[str]]) -> str:
    """What the patient wrote before the dialogue, as one text."""
    parts = []
    for label in ("", *PLAIN, *LABELLED):
        pieces = (_FILLED_IN.sub("", piece).strip() for piece in form.get(label, []))
        content = "\n".join(piece for piece in pieces if not _NOTHING_STATED.fullmatch(piece))
        if content:
            parts.append(f"{label}：{content}" if label in LABELLED else content)
    return "\n".join(parts)
