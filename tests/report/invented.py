"""A small invented run: the files every stage leaves for the report. All texts are our own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson

from mulmed.recipe import Recipe
from mulmed.report.build import ReportInputs

MODELS = ("base", "crossla", "mulmed")
METRICS = {
    "f1": ("F1", "Harmonic mean of token precision and recall (SQuAD), averaged over questions.", "higher"),
    "precision": ("Precision", "Share of the answer's tokens found in the reference.", "higher"),
    "recall": ("Recall", "Share of the reference's tokens found in the answer.", "higher"),
    "rouge1": ("ROUGE-1", "F of shared unigrams (Lin 2004).", "higher"),
    "rouge2": ("ROUGE-2", "F of shared bigrams (Lin 2004).", "higher"),
    "rougeL": ("ROUGE-L", "F of the longest common subsequence (Lin 2004).", "higher"),
    "rouge1_word": ("ROUGE-1 (words)", "ROUGE-1 over jieba words.", "higher"),
    "distinct1": ("distinct-1", "Distinct unigrams over tokens (Li et al. 2016).", "higher"),
    "distinct2": ("distinct-2", "Distinct bigrams over tokens (Li et al. 2016).", "higher"),
    "length": ("Length", "Mean answer length in words or characters.", "neither"),
}
VALUES = {
    "f1": 0.2103, "precision": 0.2411, "recall": 0.2034, "rouge1": 0.2287, "rouge2": 0.0431,
    "rougeL": 0.1514, "rouge1_word": 0.1622, "distinct1": 0.3318, "distinct2": 0.7426, "length": 61.4,
}  # fmt: skip
#: mulmed minus base in F1: a gain in English, a loss in Chinese, both intervals without zero.
GAIN = {"en": (0.0512, 0.0321, 0.0703), "zh": (-0.0304, -0.0482, -0.0121)}
TASKS = {"en": ("summary", "qa"), "zh": ("qa", "dialogue")}
TEXTS = {
    ("en", "summary"): (
        "Iron deficiency lowers the oxygen that red cells carry. We followed 212 adults for one year.",
        "People who lack iron carry less oxygen in their blood and tire sooner.",
        "The study followed adults. They were tired because they lacked iron.",
    ),
    ("en", "qa"): (
        "I have had a dry cough for two weeks after a cold. Should I worry?",
        "A cough often lasts three weeks after a cold. See a doctor if you cough blood or have a fever.",
        "You should drink warm water and rest. If the cough goes on, please see your doctor.",
    ),
    ("zh", "qa"): (
        "感冒好了以后一直干咳，已经两个星期，需要担心吗？",
        "感冒后的咳嗽常常会持续三周左右。如果咳血或者发烧，请尽快去医院。",
        "建议多喝温水，注意休息，如果咳嗽没有好转，请及时就医。",
    ),
    ("zh", "dialogue"): (
        "医生，我晚上膝盖疼得睡不着，可以先吃止痛药吗？",
        "可以短期服用，但请先告诉我您有没有胃病史。",
        "您好，请问您的疼痛持续多久了？建议先拍片检查。",
    ),
}


def recipe(**changes: Any) -> Recipe:
    """A recipe in two steps over one English and one Chinese source."""
    return Recipe.model_validate(
        {
            "name": "sample",
            "base": "smollm2-135m",
            "corpus": {
                "sources": {
                    "instructions": {"layout": "alpaca", "path": "a.json", "language": "en"},
                    "laysumm": {"layout": "laysumm", "path": "l.jsonl", "language": "en"},
                    "好大夫": {
                        "layout": "meddialog-zh",
                        "path": "h.txt",
                        "language": "zh",
                        "split": {"test": 0.2},
                    },
                }
            },
            "steps": {
                "crossla": {"parent": "base", "sources": ["instructions"]},
                "mulmed": {"parent": "crossla", "sources": ["laysumm", "好大夫"], "epochs": 3},
            },
        }
        | changes
    )


def care_document() -> dict[str, Any]:
    """care.json: rates that tell speakers, categories and languages apart; mulmed greets more than the doctors."""
    speakers = ("reference", *MODELS)
    rates = [
        {"speaker": speaker, "language": language, "category": category, "n": 6, "rate": rate, "low": rate / 2, "high": rate * 2}
        for j, language in enumerate(TASKS)
        for i, speaker in enumerate(speakers)
        for k, category in enumerate(("greeting", "blame"))
        for rate in (10.0 * (i + 1) + k + j / 2,)
    ]  # fmt: skip
    differences = [
        {"model": model, "against": "reference", "language": language, "category": category, "difference": 1.0,
         "low": 0.5 if (model, category) == ("mulmed", "greeting") else -0.5,
         "high": -0.1 if (model, category) == ("crossla", "blame") else 1.5}
        for model in MODELS
        for language in TASKS
        for category in ("greeting", "blame")
    ]  # fmt: skip
    words = [
        {
            "speaker": speaker,
            "language": language,
            "word": word,
            "count": 40 - 3 * k + i,
            "category": category,
        }
        for language, listed in (("en", ("hello", "rest", "doctor")), ("zh", ("您好", "休息", "医生")))
        for i, speaker in enumerate(speakers)
        for k, (word, category) in enumerate(zip(listed, ("greeting", None, "clinical"), strict=True))
    ]
    return {
        "rates": rates,
        "differences": differences,
        "categories": {"greeting": "words that open", "blame": "anti-pattern: the patient at fault"},
        "words": words,
        "volumes": [{"speaker": s, "language": language, "words": 400} for s in speakers for language in TASKS],
        "distinctive": [
            {"speaker": "mulmed", "against": "reference", "language": "zh", "word": word, "z": 3.0, "count": 9, "count_other": 1}
            for word in ("希望", "放心")
        ],
    }  # fmt: skip


def scores_document(gain: dict[str, tuple[float, float, float]] | None = None) -> dict[str, Any]:
    """scores.json of three models; mulmed's F1 lies ``gain`` above its base's."""
    gain = gain or GAIN
    rows, differences = [], []
    for language, tasks in TASKS.items():
        for task in ("all", *tasks):
            for metric, base_value in VALUES.items():
                if metric == "rouge1_word" and language == "en":
                    continue
                scale = 1.0 if metric == "f1" else base_value / VALUES["f1"]
                for i, model in enumerate(MODELS):
                    value = base_value + scale * gain[language][0] * i / 2
                    rows.append(
                        {"model": model, "language": language, "task": task, "metric": metric,
                         "value": value, "low": value * 0.92, "high": value * 1.07, "n": 40}
                    )  # fmt: skip
                for i, model in enumerate(MODELS[1:], 1):
                    d, low, high = (scale * part * i / 2 for part in gain[language])
                    if metric == "distinct2":
                        d, low, high = 0.004, -0.011, 0.021
                    differences.append(
                        {"model": model, "baseline": "base", "language": language, "task": task,
                         "metric": metric, "difference": d, "low": low,
                         "high": high, "p": 0.4 if low <= 0 <= high else 0.0011,
                         "p_holm": 0.8 if low <= 0 <= high else 0.0042}
                    )  # fmt: skip
    return {
        "rows": rows,
        "metrics": {
            key: {"name": name, "definition": definition, "better": better}
            for key, (name, definition, better) in METRICS.items()
        },
        "confidence": 0.95,
        "resamples": 1000,
        "failed": {"base": 0, "crossla": 1, "mulmed": 0},
        "absent": {"base": 0, "crossla": 0, "mulmed": 0},
        "leaked_special_tokens": dict.fromkeys(MODELS, 0),
        "differences": differences,
        "slices": [
            {"model": model, "language": "zh", "by": "source", "slice": source, "metric": "f1",
             "value": 0.1 * (i + 1) + 0.01 * j, "low": 0.05, "high": 0.6, "n": 7 + j}
            for i, model in enumerate(MODELS)
            for j, source in enumerate(("好大夫", "cmtmedqa"))
        ],
        "references": [{"language": "en", "task": "qa", "metric": "length", "value": 103.84, "n": 40}],
    }  # fmt: skip


FUNNEL = {
    "stages": [
        {"stage": "read", "in": 9260, "out": 1240, "changed": 0, "dropped": 8020,
         "rules": {"rejected: no answer": 20, "over the limit": 8000}},
        {"stage": "repair", "in": 1240, "out": 1240, "changed": 311, "dropped": 0,
         "rules": {"markup": 290, "mojibake": 41}},
        {"stage": "deidentify", "in": 1240, "out": 1240, "changed": 402, "dropped": 0,
         "rules": {"PHONE": 77, "NAME": 351}},
        {"stage": "moderate", "in": 1240, "out": 1203, "changed": 0, "dropped": 37,
         "rules": {"advertisement": 33, "slur": 4}},
        {"stage": "deduplicate", "in": 1203, "out": 1150, "changed": 0, "dropped": 53,
         "rules": {"exact": 31, "near": 22}},
        {"stage": "decontaminate", "in": 1150, "out": 1138, "changed": 0, "dropped": 12,
         "rules": {"overlap": 12}},
    ],
    "sources": {
        source: dict.fromkeys(("read", "repair", "deidentify", "moderate", "deduplicate", "decontaminate"), n)
        for source, n in (("instructions", 500), ("laysumm", 338), ("好大夫", 300))
    },
}  # fmt: skip
STATISTICS = {
    "mentions": {
        "records": 120, "drug before": 40, "drug kept": 36, "drug cut at the right": 22, "dose before": 0
    },
    "removals_by_group": [
        {"group": "age", "records": 250, "removed": 1, "share": 0.004, "low": 0.0007, "high": 0.0223}
    ],
    "tags": {},
    "table1": [
        {"source": "instructions", "task": "instruction", "language": "en", "size": 500, "abstract": None,
         "summary": None, "question": 12.2, "answer": 44.9, "turns": None},
        {"source": "laysumm", "task": "summary", "language": "en", "size": 338, "abstract": 210.4,
         "summary": 171.8, "question": None, "answer": None, "turns": None},
        {"source": "好大夫", "task": "dialogue", "language": "zh", "size": 300, "abstract": None,
         "summary": None, "question": 148.8, "answer": 36.1, "turns": 2.5},
    ],
    "splits": [
        {"source": source, "task": task, "language": language, "split": split, "records": n}
        for source, task, language, sizes in (
            ("instructions", "instruction", "en", (480, 20, 0)),
            ("laysumm", "summary", "en", (278, 20, 40)),
            ("好大夫", "dialogue", "zh", (240, 20, 40)),
        )
        for split, n in zip(("train", "validation", "test"), sizes, strict=True)
    ],
    "lengths": [
        {"source": "laysumm", "field": "abstract", "unit": "words",
         "edges": [0, 100, 200, 300, 400], "counts": [31, 140, 121, 46]},
        {"source": "laysumm", "field": "summary", "unit": "words",
         "edges": [0, 100, 200, 300, 400], "counts": [51, 190, 81, 16]},
        {"source": "好大夫", "field": "question", "unit": "characters",
         "edges": [0, 100, 200, 300, 400], "counts": [61, 170, 51, 18]},
        {"source": "好大夫", "field": "answer", "unit": "characters",
         "edges": [0, 50, 100, 150, 900], "counts": [231, 50, 11, 8]},
    ],
}  # fmt: skip
PROOF = {
    "prompts": 16, "positions": 1024, "max_abs_logit_difference": 2.1e-05, "mean_kl": 0.0,
    "argmax_agreement": 1.0, "max_abs_logit": 31.5,
    "tolerance": {"logit": 0.0001, "kl": 1e-06, "argmax": 0.999},
    "holds": True,
}  # fmt: skip


def log_lines(start: float, end: float, steps: int) -> list[dict[str, Any]]:
    """A training log whose loss falls from ``start`` to about ``end``; 100 tokens a step, 40 targets."""
    lines: list[dict[str, Any]] = []
    for step in range(steps + 1):
        loss = end + (start - end) * math.exp(-4 * step / steps)
        if step:
            lines.append(
                {"step": step, "epoch": step / steps, "loss": loss + 0.05 * math.sin(7 * step),
                 "learning_rate": 3e-4, "grad_norm": 1.0, "target_tokens": 40, "tokens": 100}
            )  # fmt: skip
        if step % (steps // 6) == 0:
            by_language = {"en": loss - 0.1, "zh": loss + 0.2}
            lines.append({"step": step, "validation_loss": loss + 0.02, "validation_loss_by": by_language})
    return lines


def outcome(log: list[dict[str, Any]], kept: int) -> dict[str, Any]:
    """How the training of a log ended: it was to take ten steps more."""
    rows = {row["step"]: row for row in log if "validation_loss" in row}
    before, after = (
        rows[step] | {"validation_loss_by_group": {"qa": rows[step]["validation_loss_by"]}}
        for step in (0, kept)
    )
    steps = log[-1]["step"]
    shares = [
        {"task": task, "language": language, "examples": 100, "seen": seen, "distinct": 80,
         "share": seen / 400, "target_share": asked, "target_tokens": 10 * seen, "token_share": seen / 400}
        for task, language, seen, asked in (("qa", "en", 300, 0.7), ("dialogue", "zh", 100, None))
    ]  # fmt: skip
    return {"planned_steps": steps + 10, "steps": steps, "kept": kept, "before": before, "after": after,
            "shares": shares}  # fmt: skip


def answers(model: str) -> list[dict[str, Any]]:
    """Three questions a language and task; crossla fails on the first of all, base is cut on the second."""
    rows = []
    for (language, task), (question, reference, answer) in TEXTS.items():
        for i in range(3):
            failed = model == "crossla" and (language, task, i) == ("en", "summary", 0)
            rows.append(
                {"id": f"{task}-{language}:{i}:0a1b2c3d", "model": model, "task": task, "language": language,
                 "source": "laysumm" if task == "summary" else "好大夫", "question": question,
                 "history": [{"role": "user", "text": "膝盖疼。"}, {"role": "assistant", "text": "多久了？"}]
                 if task == "dialogue" else [],
                 "reference": reference, "answer": "" if failed else f"{answer} ({model})",
                 "prompt_sha256": "0" * 64, "prompt_tokens": 40, "answer_tokens": 20,
                 "finish": "length" if model == "base" and i == 1 else "stop",
                 "status": "failed" if failed else "ok", "error": "out of memory" if failed else None}
            )  # fmt: skip
    return rows


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(value))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


def write_run(folder: Path, **recipe_changes: Any) -> ReportInputs:
    """The invented run's folders below ``folder``."""
    write_json(folder / "corpus/funnel.json", FUNNEL)
    write_json(folder / "corpus/statistics.json", STATISTICS)
    for step, start in (("crossla", 2.9), ("mulmed", 2.6)):
        log = log_lines(start, start - 0.7, 60)
        write_lines(folder / f"train-{step}/log.jsonl", log)
        write_json(folder / f"train-{step}/outcome.json", outcome(log, kept=40))
        run = {"device": "x86_64 CPU, 2 threads", "seconds": 411.7, "tokens_per_second": 812.3}
        write_json(folder / f"train-{step}/run.json", run)
        write_json(folder / f"merge-{step}/proof.json", PROOF)
    for model in MODELS:
        write_lines(folder / f"answers-{model}/answers.jsonl", answers(model))
    write_json(folder / "evaluation/scores.json", scores_document())
    write_json(folder / "evaluation/care.json", care_document())
    agreement = {
        "engine": "llama.cpp, q8_0", "reference": "transformers", "new_tokens": 32, "answers": 8, "identical": 7,
        "same_beginning": 8, "tokens": 250, "leading_tokens": 243, "leading_share": 0.972,
    }  # fmt: skip
    write_json(folder / "evaluation/engines.json", {"mulmed": agreement})
    stages = ("corpus", "train-crossla", "merge-crossla", "train-mulmed", "merge-mulmed", "evaluation")
    return ReportInputs(
        recipe=recipe(**recipe_changes),
        base={
            "name": "SmolLM2-135M-Instruct",
            "licence": "SmolLM2 by Hugging Face, Apache License 2.0.",
            "parameters": 134_515_008,
        },
        corpus=folder / "corpus",
        training={s: folder / f"train-{s}" for s in MODELS[1:]},
        merges={s: folder / f"merge-{s}" for s in MODELS[1:]},
        generations={m: folder / f"answers-{m}" for m in MODELS},
        evaluation=folder / "evaluation",
        lineage=[
            {"stage": s, "key": f"{i:x}" * 64, "manifest_sha256": f"{i + 8:x}" * 64, "seconds": 12.5 * i}
            for i, s in enumerate(stages)
        ],
        versions={"mulmed": "0.1.0", "torch": "2.9.0"},
    )
