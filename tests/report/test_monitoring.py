"""`mulmed report --monitoring`: from counts to a page that tells drift."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from mulmed.cli import app
from mulmed.errors import MulmedError
from mulmed.monitoring.drift import profile_of
from mulmed.monitoring.shape import shape_of
from mulmed.monitoring.store import Count, Feedback, Monitor, Served, read_counts
from mulmed.report.monitoring import build_monitoring
from mulmed.report.monitoring_figures import quantile, step_of
from tests.runs import ENVIRONMENT, command

MONDAY = 1_789_344_000  # 2026-09-14, a Monday
DAY = 86400
EN = [
    "My heart races at night, what can I do?",
    "I have an itch on my skin since Monday",
    "Is a fever of 38 bad?",
]
ZH = ["我最近总是咳嗽怎么办", "糖尿病可以吃水果吗", "孩子长了皮疹要紧吗"]


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three weeks: two like the test set, then ever more Chinese questions about pregnancy."""
    path = tmp_path_factory.mktemp("monitoring") / "use.db"
    monitor, chance = Monitor(path), random.Random(5)
    for day in range(21):
        for _ in range(40):
            text = chance.choice(
                EN + ZH if day < 14 else ["怀孕三个月可以坐飞机吗，需要注意什么"] * 4 + EN[:1]
            )
            at = MONDAY + day * DAY + chance.randrange(DAY)
            flags = {"heart": "possible"} if "heart" in text else {}
            total = chance.choice([0.4, 0.9, 2.0])
            monitor.count(
                Served(
                    "dialogue",
                    shape_of(text),
                    "ok",
                    "patient",
                    flags,
                    {"dosage:note": 1},
                    {"name": 1},
                    0.15,
                    total,
                ),
                at,
            )
            if chance.random() < 0.3:
                monitor.feedback(Feedback("dialogue", shape_of(text), good=False, reason="unclear"), at)
    monitor.count(Served("qa", shape_of("?"), "refused"), MONDAY)
    monitor.close()
    return path


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "clinic.jsonl"
    with path.open("wb") as file:
        for i, text in enumerate((EN + ZH) * 50):
            row = {
                "id": f"q{i}",
                "language": "en" if text in EN else "zh",
                "task": "qa",
                "reference": "…",
                "question": text,
            }
            file.write(orjson.dumps(row) + b"\n")
    return path


def test_the_command_tells_which_week_drifted_and_how(counted: Path, questions: Path, tmp_path: Path) -> None:
    told = command("report", questions, "--monitoring", counted, "--out", tmp_path / "out")
    done = subprocess.run(told, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Week from 2026-09-28" in done.stdout
    assert re.search(r"topic, Chinese: drift \(index \d+\.\d+", done.stdout)
    html = (tmp_path / "out" / "index.html").read_text()
    assert "people wrote something else than the model was judged on" in html
    assert "most has changed “pregnancy”, from 0% to 100%" in html
    assert "<script" not in html
    assert not re.search(r"(?:src|href)=\"(?!#)", html)
    told = orjson.loads((tmp_path / "out" / "monitoring.json").read_bytes())
    verdicts = {
        week["monday"]: {(d["measure"], d["language"]): d["verdict"] for d in week["drift"]}
        for week in told["weeks"]
    }
    assert set(verdicts["2026-09-14"].values()) == {"stable"}
    assert verdicts["2026-09-28"]["language", ""] == "drift"
    assert told["totals"]["request"] == {"dialogue/patient/en/ok": 21 * 40 - sum_zh(told), "dialogue/patient/zh/ok": sum_zh(told), "qa/client/other/refused": 1}  # fmt: skip
    assert told["totals"]["masked"] == {"name": 21 * 40}
    assert told["totals"]["first"] == {"dialogue/2": 21 * 40}
    for name in ("requests", "latency", "drift", "profiles"):
        assert (tmp_path / "out" / "figures" / f"{name}.svg").stat().st_size > 5000


def sum_zh(told: dict[str, dict[str, dict[str, int]]]) -> int:
    return sum(n for key, n in told["totals"]["length"].items() if key.startswith("zh/"))


def test_few_messages_are_shown_and_not_judged(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m.db")
    for hour in range(5):
        monitor.count(Served("summary", shape_of(EN[0]), "ok", total=1.0), MONDAY + 3600 * hour)
    document = build_monitoring(
        tmp_path / "out", "x", read_counts(tmp_path / "m.db"), profile_of((EN + ZH) * 50)
    )
    assert {d["verdict"] for week in document["weeks"] for d in week["drift"]} == {"too few"}
    html = (tmp_path / "out" / "index.html").read_text()
    assert "too few messages came to compare them" in html
    assert "Requests by task and hour" in html


def test_what_cannot_be_reported_is_told(questions: Path, tmp_path: Path) -> None:
    Monitor(tmp_path / "empty.db").close()
    for arguments, words in (
        ((questions, "--monitoring", tmp_path / "empty.db"), "Nothing has been counted yet"),
        ((questions, "--monitoring", tmp_path / "absent.db"), "There is no monitoring file"),
        ((questions, "--monitoring", questions), "no monitoring file that can be used"),
        (("recipes/quickstart.yaml", "--out", tmp_path), "Leave --out away"),
    ):
        done = CliRunner().invoke(app, ["report", *map(str, arguments)])
        assert isinstance(done.exception, MulmedError)
        assert words in str(done.exception)
    with pytest.raises(MulmedError, match="Nothing has been counted"):
        build_monitoring(tmp_path / "out", "x", [], profile_of(EN))
    assert not (tmp_path / "out").exists()


def test_a_quantile_is_the_upper_end_of_its_class() -> None:
    # Classes 3 and 5 end at 0.32 and 1.0 seconds; 15 has no end.
    assert quantile({3: 1, 5: 1}, 0.5) == 0.32
    assert quantile({3: 1, 5: 2}, 0.5) == 1.0
    assert quantile({3: 95, 15: 5}, 0.95) == 0.32
    assert quantile({3: 94, 15: 6}, 0.95) == 360.0


def test_days_are_drawn_once_hours_would_be_too_many() -> None:
    def counts(*times: int) -> list[Count]:
        return [Count(t, "request", ("qa", "client", "en", "ok"), 1) for t in times]

    assert step_of(counts(0, 3 * DAY - 900)) == 3600
    assert step_of(counts(0, 3 * DAY)) == DAY
