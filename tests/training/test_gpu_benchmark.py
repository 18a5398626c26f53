"""The GPU benchmark runs as a whole on a CPU, at a tiny shape, and its numbers fit together."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.runs import ROOT

SCRIPT = ROOT / "benchmarks" / "training_gpu.py"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_examples_have_the_corpus_lengths(script: dict[str, Any]) -> None:
    for step, mean, share in (("crossla", 140, 0.553), ("mulmed", 218, 0.381)):
        examples = script["draw_examples"](step, 4000, 1000, seed=1)
        lengths = np.array([len(e.ids) for e in examples])
        assert abs(lengths.mean() - mean) < 3
        assert set(np.quantile(lengths, [0, 1])) <= {*script["LENGTHS"][step], *range(83, 92), *range(45, 50)}
        assert sum(e.targets for e in examples) / lengths.sum() == pytest.approx(share, abs=0.005)
        assert max(max(e.ids) for e in examples) == 999


@pytest.mark.skipif(torch.cuda.is_available(), reason="it would run on the GPU")
@pytest.mark.usefixtures("single_thread")
def test_a_whole_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.json"
    options = "--shape tiny --seconds 0.01 --batch 4 --tokens 512 --json"
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *options.split(), str(out)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    document = json.loads(out.read_text())
    # Attention, gated MLP, two norms a layer; the last norm; the head.
    weights = 2 * (4 * 64 * 64 + 3 * 64 * 172 + 2 * 64) + 64 + 64 * 1000
    assert document["precision"] == "float32"
    names = [row["contender"] for row in document["results"]]
    assert [n.partition(",")[0] for n in names] == ["ours"] * 2 + ["transformers + peft"] * 4
    for row in document["results"]:
        operations = row["tokens_per_second"] * 4 * weights
        assert row["operations_per_second"] == pytest.approx(operations)
        assert row["share_of_matrix_rate"] == pytest.approx(operations / document["matrix_rate"])
        assert row["mfu"] is None
        assert row["projected_hours"] is None  # of another model than the paper's
        mean = row["tokens_per_second"] / row["examples_per_second"]
        assert 45 <= mean <= 256
    assert "base in float32: most CPUs" in capsys.readouterr().out
