from __future__ import annotations

from pathlib import Path

import pytest

from mulmed.report.build import ReportInputs
from tests.report.invented import write_run


@pytest.fixture
def run(tmp_path: Path) -> ReportInputs:
    """The invented run, fresh for every test."""
    return write_run(tmp_path / "run")
