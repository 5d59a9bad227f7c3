"""Every benchmark runs, at sizes whose figures tell nothing: only that it still measures what it says."""

import math

import pytest

from benchmarks.__main__ import names, run
from benchmarks.figures import Figure, as_json, as_markdown

PLATFORM = {"hire", "start", "whole"}  # they bring up a whole platform: half a minute each


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.faults) if n in PLATFORM else n for n in names()]
)
async def test_a_benchmark_still_runs(name: str) -> None:
    figures = await run(name, short=True)
    assert any(f.target is not None for f in figures)
    for figure in figures:
        assert math.isfinite(figure.value)
        assert figure.value >= 0
        assert figure.floor is None or figure.floor > 0
        assert bool(figure.against) == (figure.floor is not None)


def test_a_missed_target_shows_and_counts() -> None:
    least = Figure("a", 9, "s", 10, "at least", 1, "peer")
    most = Figure("b", 11, "s", 10)
    told = Figure("c", 11, "s")
    assert [f.met for f in (least, most, told)] == [False, False, True]
    assert as_markdown([least, most, told]).count("**missed**") == 2
    assert [f["met"] for f in as_json([least, told])["figures"]] == [False, True]
