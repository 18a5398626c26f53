"""Answer files -> questions that every model answered, with the answers that give their model away flagged."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mulmed.errors import MulmedError

#: Names of model families, wherever they stand. Words of medicine and history that are also names of models (a herbal, a
#: physician of old, a hundred rivers) count only where the answer speaks of itself.
_FAMILIES = re.compile(
    r"chat\s?gpt|\bgpt-?\s?[345]|openai|\bllama\b|\bvicuna\b|\bclaude\b|anthropic|\bgemini\b|\bgemma\b|\bbard\b"
    r"|deepseek|mistral|\bqwen|chatglm|baichuan|internlm|chatdoctor|ben\s?tsao|huatuo|bianque|disc-?medllm|mulmed|crossla"
    r"|通义千问|文心一言|讯飞星火|智谱清言|百川智能|百川大模型|扁鹊健康大模型|本草大模型|华佗GPT"
    r"|(?:我是|我叫|作为)[^，。！？\n]{0,6}(?:百川|扁鹊|本草|华佗|文心|星火|豆包|混元|盘古|孟子)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Question:
    """A question as annotators see it; ``history`` holds (role, text) of the turns before it."""

    id: str
    language: str
    task: str
    text: str
    history: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Candidates:
    """What a study can be drawn from.

    Attributes:
        models: in the order of their first answer.
        questions: those that every model answered, sorted by id.
        answers: text by (question id, model).
        named: (question id, model) of the answers that name a model.
        incomplete: questions left out because a model gave no answer.
        contents: by model, what decides its weights (``model_content`` of its answers); None where the answers do not tell.
    """

    models: tuple[str, ...]
    questions: tuple[Question, ...]
    answers: Mapping[tuple[str, str], str]
    named: frozenset[tuple[str, str]]
    incomplete: int
    contents: Mapping[str, str | None]


def gather(rows: Iterable[Mapping[str, Any]]) -> Candidates:
    """Candidates from rows of ``answers.jsonl`` (``id``, ``model``, ``language``, ``task``, ``question``, ``answer``, ``status``).

    Raises:
        MulmedError: a row lacks a field, a model answers a question twice, its answers come from different weights, two
            models were asked different questions under one id, or no question was answered by all of at least two models.
    """
    models: dict[str, str | None] = {}
    questions: dict[str, Question] = {}
    answers: dict[tuple[str, str], str] = {}
    seen = set()
    for row in rows:
        where = f"model {row.get('model', '?')}, question {row.get('id', '?')}"
        for key in ("id", "model", "language", "task", "question"):
            if not isinstance(row.get(key), str) or not row[key]:
                raise MulmedError(
                    f"An answer's field {key!r} is missing or not text.",
                    where=where,
                    remedy="Give answers.jsonl of `mulmed generate`, or questions with their wording and predictions.",
                )
        history = tuple((str(t["role"]), str(t["text"])) for t in row.get("history") or ())
        question = Question(row["id"], row["language"], row["task"], row["question"], history)
        if questions.setdefault(question.id, question) != question:
            raise MulmedError(
                "Two models were asked different questions under one id.",
                where=where,
                remedy="Generate all models' answers from the same corpus.",
            )
        content = row.get("model_content")
        if models.setdefault(row["model"], content) != content:
            raise MulmedError(
                "One name stands for two models: some of its answers come from other weights.",
                where=where,
                remedy="Give the answers of one training, or name them apart.",
            )
        if (question.id, row["model"]) in seen:
            raise MulmedError(
                "A model answers one question twice.", where=where, remedy="Give each answers file once."
            )
        seen.add((question.id, row["model"]))
        answer = row.get("answer") if row.get("status", "ok") == "ok" else None
        if isinstance(answer, str) and answer.strip():
            answers[question.id, row["model"]] = answer.strip()
    whole = tuple(
        questions[id] for id in sorted(questions) if all((id, model) in answers for model in models)
    )
    if len(models) < 2 or not whole:
        raise MulmedError(
            "No question was answered by all of at least two models.",
            where=f"models: {', '.join(models) or 'none'}",
            remedy="Give the answers of every model to compare, to the same questions.",
        )
    own = naming_pattern(tuple(models))
    return Candidates(
        tuple(models),
        whole,
        {key: text for key, text in answers.items() if key[0] in {q.id for q in whole}},
        frozenset(key for key, text in answers.items() if _FAMILIES.search(text) or own.search(text)),
        len(questions) - len(whole),
        models,
    )


def naming_pattern(models: Sequence[str]) -> re.Pattern[str]:
    """Finds the compared models' own names (of three characters or more), whatever stands between their parts.

    ``base`` names no model, and neither does a name that is an ordinary word of the field.
    """
    ordinary = {"base", "model", "doctor", "chat", "medical"}
    names = [re.split(r"[\W_]+", m) for m in models if len(m) >= 3 and m.lower() not in ordinary]
    parts = [r"[\W_]?".join(map(re.escape, filter(None, name))) for name in names]
    return re.compile("|".join(rf"(?<![a-z0-9]){p}(?![a-z0-9])" for p in parts) or r"(?!)", re.IGNORECASE)
