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

from mulmed.corpus.files import LONGEST, open_utf8, raw_lines
from mulmed.corpus.record import Role
from mulmed.corpus.sources.layout import Note, Parsed, Unusable, alternate, conversation
from mulmed.errors import MulmedError

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
_FIELDS = frozenset(PLAIN + LABELLED + LEFT_OUT)
_ATTACHED = ("资料照片", "附件")
_ATTACHMENT = re.compile(r"(?:资料照片|附件)\s*[（(]\d+[)）]")
# Once a doctor has spoken, a line such as 初步诊断：... may be the doctor's own; these never are.
_FIELDS_AMID_DIALOGUE = frozenset(("疾病诊断", "药品", "开药需求", "预约医生"))
_PRESCRIPTION = "开药需求"
_PRESCRIPTION_STAMP = re.compile(rf"{_PRESCRIPTION}[：:]\s*$")
_STAMP = "填写"
_FILLED_IN = re.compile(r"[（(]\d{4}-\d{1,2}-\d{1,2}填写[)）]")
# What the platform says in the doctor's name. Alone it is no answer, yet a tenth of the first ones are it.
_PLATFORM = re.compile(
    r"(?:感谢您的信任，病情资料我已详细阅读。(?:根据您现有的资料，建议：[，,]?)?"
    r"|医生已经通过语音回答了您的问题，请及时收听。|医生给您发来一个提醒[：:]|\s)+"
)
_PLATFORM_BEGINS = ("感谢您的信任", "医生已经通过", "医生给您发来")
_NOTHING_STATED = frozenset(
    word + stop
    for word in ("", "无", "没有", "暂无", "未填写", "不清楚", "不详", "否")
    for stop in ("", *"。.！!")
)
_ID = re.compile(r"id=\s*\d+\s*")
_SECTIONS = ("Description", "Dialogue", "Doctor faculty", "Diagnosis and suggestions")
_SPEAKERS: dict[str, dict[str, Role]] = {
    "zh": {"病人": "user", "患者": "user", "医生": "assistant"},
    "en": {"Patient": "user", "Doctor": "assistant"},
}


@dataclass
class _Consultation:
    form: dict[str, list[str]] = field(default_factory=dict)
    utterances: list[tuple[Role, list[str]]] = field(default_factory=list)


def parse_zh(block: bytes) -> Parsed:
    """A Chinese record: ``dialogue`` for two rounds or more, ``qa`` for one."""
    return _parse(block, "zh")


def parse_en(block: bytes) -> Parsed:
    """An English record: ``dialogue`` for two rounds or more, ``qa`` for one."""
    return _parse(block, "en")


def raw(path: Path, encoding: str) -> Iterator[tuple[int, bytes]]:
    """(line of ``id=`` from 1, the lines after it) of each block.

    Raises:
        MulmedError: the file cannot be read or decoded, or a block has more than ``LONGEST`` bytes.
    """
    start, size = 0, 0
    block: list[bytes] = []
    with open_utf8(path, encoding) as stream:
        for number, line in raw_lines(path, stream):
            if line.startswith(b"id=") and _ID.fullmatch(line.decode("utf-8", "surrogatepass")):
                if start:
                    yield start, b"".join(block)
                start, size, block = number, 0, []
            elif start:
                block.append(line)
                size += len(line)
                if size > LONGEST:
                    raise MulmedError(
                        f"A record has more than {LONGEST >> 20} MiB.",
                        where=f"{path}, line {start}",
                        remedy="Check that every record begins with a line `id=` and its number.",
                    )
    if start:
        yield start, b"".join(block)


def _parse(block: bytes, language: str) -> Parsed:
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
        if from_platform := [text for _, text in dialogue if _is_from_platform(text)]:
            platform.extend(from_platform)
            dialogue = [utterance for utterance in dialogue if not _is_from_platform(utterance[1])]
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


def _consultations(block: bytes, language: str) -> tuple[list[_Consultation], int]:
    """The block's consultations, and the characters of its section of diagnosis and suggestions."""
    speakers = _SPEAKERS[language]
    here = _Consultation()
    consultations = [here]
    section, label, diagnosis, answered = "", "", 0, False
    for raw_line in block.decode("utf-8", "surrogatepass").removesuffix("\n").split("\n"):
        line = raw_line.strip()
        before, said = _labelled(line) if "：" in line or ":" in line else ("", "")
        if line in _SECTIONS:
            if line == "Description" and here.utterances:
                here, answered = _Consultation(), False
                consultations.append(here)
            section, label = line, label if line == "Dialogue" else ""
        elif section == "Dialogue":
            is_field = before in _FIELDS_AMID_DIALOGUE if answered else _is_field(before)
            if is_field:
                # The published files cut a form's long fields up and call the pieces a dialogue.
                if not answered:
                    _move_to_form(here, label)
                section, label = "Description", before
                here.form.setdefault(label, []).append(said)
            elif (role := speakers.get(before)) is not None:
                here.utterances.append((role, [said]))
                answered = answered or role == "assistant"
            elif here.utterances:
                if _PRESCRIPTION in line:
                    line = _PRESCRIPTION_STAMP.sub("", line)
                here.utterances[-1][1].append(line)
        elif section == "Description":
            if _is_field(before):
                label, line = before, said
            here.form.setdefault(label, []).append(line)
        elif section == "Diagnosis and suggestions":
            diagnosis += len(line)
    return consultations, diagnosis


def _labelled(line: str) -> tuple[str, str]:
    """What stands before the first colon, wide or not, and after it."""
    wide, narrow = line.find("："), line.find(":")
    colon = max(wide, narrow) if wide < 0 or narrow < 0 else min(wide, narrow)
    return line[:colon], line[colon + 1 :].lstrip()


def _is_field(label: str) -> bool:
    return label in _FIELDS or (label.startswith(_ATTACHED) and _ATTACHMENT.fullmatch(label) is not None)


def _is_from_platform(text: str) -> bool:
    """Whether a text without space around it is nothing but what the platform says."""
    return text.startswith(_PLATFORM_BEGINS) and _PLATFORM.fullmatch(text) is not None


def _move_to_form(consultation: _Consultation, label: str) -> None:
    pieces = [piece for _, spoken in consultation.utterances for piece in spoken]
    consultation.form.setdefault(label, []).extend(pieces)
    consultation.utterances.clear()


def _move_stamped(consultation: _Consultation) -> None:
    """Entries of the patient's history that stand in the dialogue, known by the date of filling in."""
    if not any(role == "user" and _is_stamped(pieces) for role, pieces in consultation.utterances):
        return
    spoken, stamped = [], []
    for role, pieces in consultation.utterances:
        if role == "user" and _is_stamped(pieces):
            stamped.extend(pieces)
        else:
            spoken.append((role, pieces))
    consultation.utterances = spoken
    consultation.form.setdefault("既往病史", []).extend(stamped)


def _is_stamped(pieces: list[str]) -> bool:
    text = "".join(pieces)
    return _STAMP in text and _FILLED_IN.search(text) is not None


def _description(form: dict[str, list[str]]) -> str:
    """What the patient wrote before the dialogue, as one text."""
    parts = []
    for label in _KEPT:
        if label not in form:
            continue
        pieces = [(_FILLED_IN.sub("", piece) if _STAMP in piece else piece).strip() for piece in form[label]]
        content = "\n".join([piece for piece in pieces if piece not in _NOTHING_STATED])
        if content:
            parts.append(f"{label}：{content}" if label in LABELLED else content)
    return "\n".join(parts)


_KEPT = ("", *PLAIN, *LABELLED)
