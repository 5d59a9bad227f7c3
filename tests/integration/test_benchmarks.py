"""Every benchmark runs, at sizes whose figures tell nothing: only that it still measures what it says."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import names
from benchmarks.figures import Figure, as_json, as_markdown

ROOT = Path(__file__).parents[2]
PLATFORM = {"hire", "start", "whole"}  # they bring up a whole platform: half a minute each


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.faults) if n in PLATFORM else n for n in names()]
)
def test_a_benchmark_still_runs(name: str, tmp_path: Path) -> None:
    """In a process of its own: an embedded ClickHouse is one for a process, and tests have theirs."""
    command = [sys.executable, "-m", "benchmarks", name, "--short", "--json", str(tmp_path / "figures")]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode in (0, 1), ran.stderr  # so small, a target may be missed
    figures = json.loads((tmp_path / "figures").read_text())["figures"]
    assert any(f["target"] is not None for f in figures)
    for figure in figures:
        assert math.isfinite(figure["value"])
        assert figure["value"] >= 0
        assert figure["floor"] is None or figure["floor"] > 0
        assert bool(figure["against"]) == (figure["floor"] is not None)


def test_a_missed_target_shows_and_counts() -> None:
    least = Figure("a", 9, "s", 10, "at least", 1, "peer")
    most = Figure("b", 11, "s", 10)
    told = Figure("c", 11, "s")
    assert [f.met for f in (least, most, told)] == [False, False, True]
    assert as_markdown([least, most, told]).count("**missed**") == 2
    assert [f["met"] for f in as_json([least, told])["figures"]] == [False, True]
