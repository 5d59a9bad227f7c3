"""Interleavings that nobody would think of, searched by seed: the same invariants hold after each of them."""

from typing import get_args

import pytest

from tests.faults.simulation.services import School
from tests.faults.simulation.stores import Bug

STEPS = 600
BUGS = [bug for bug in get_args(Bug) if bug]


@pytest.mark.parametrize("seeds", [100, pytest.param(1000, marks=pytest.mark.faults)])
def test_every_seed_ends_as_if_nothing_had_gone_wrong(seeds: int) -> None:
    for seed in range(seeds):
        school = School(seed)
        try:
            school.live(STEPS)
        except AssertionError as e:
            raise AssertionError(f"seed {seed}: {e}") from e


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found_within_200_seeds(bug: Bug) -> None:
    found = 0
    for seed in range(200):
        try:
            School(seed, bug).live(STEPS)
        except AssertionError:
            found = seed + 1
            break
    assert found, f"nothing noticed that this build {bug}"


def test_a_seed_replays_exactly() -> None:
    first, again, other = School(7), School(7), School(8)
    for school in (first, again, other):
        school.live(STEPS)
    assert first.trace == again.trace
    assert first.databases["enrollment"].rows == again.databases["enrollment"].rows
    assert first.trace != other.trace
