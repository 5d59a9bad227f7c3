"""Learning paths: versions, and prerequisites without cycles."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import PathInvalid, PrerequisiteCycle
from catalog.path import Path, PublishPath, decide, evolve, find_cycle
from lyceum.catalog.v1.events_pb2 import PathItem, PathPublished


def publish(waits_for: dict[str, list[str]]) -> PublishPath:
    items = [
        PathItem(course_id=course, prerequisite_course_ids=before) for course, before in waits_for.items()
    ]
    return PublishPath("p", "P", "p", "", items, {"a", "b", "c", "d"})


def test_versions_count_up_and_an_unchanged_path_makes_none() -> None:
    state = Path()
    versions: list[int] = []
    for command in (publish({"a": []}), publish({"a": []}), publish({"a": [], "b": ["a"]})):
        for event in decide(state, command):
            assert isinstance(event, PathPublished)
            versions.append(event.path_version)
            state = evolve(state, event)
    assert versions == [1, 2]


@pytest.mark.parametrize(
    "command",
    [
        publish({}),
        publish({"unpublished": []}),
        publish({"a": ["b"]}),
        PublishPath("p", "P", "p", "", [PathItem(course_id="a")] * 2, {"a"}),
        PublishPath(
            "p", "P", "p", "", [PathItem(course_id=str(n)) for n in range(101)], {str(n) for n in range(101)}
        ),
    ],
    ids=["empty", "unpublished", "stranger", "twice", "too many"],
)
def test_a_path_that_cannot_be_walked_is_refused(command: PublishPath) -> None:
    with pytest.raises(PathInvalid):
        decide(Path(), command)


@pytest.mark.parametrize(
    "waits_for", [{"a": ["a"]}, {"a": ["b"], "b": ["a"]}, {"a": ["c"], "b": ["a"], "c": ["b"]}]
)
def test_courses_that_wait_for_each_other_are_refused_by_name(waits_for: dict[str, list[str]]) -> None:
    with pytest.raises(PrerequisiteCycle) as refusal:
        decide(Path(), publish(waits_for))
    cycle: Any = refusal.value.extra["course_ids"]
    assert cycle[0] == cycle[-1]
    assert set(cycle) == set(waits_for)


graphs = st.dictionaries(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=4), max_size=7)


@given(graphs)
def test_a_cycle_is_found_exactly_when_there_is_no_order(graph: dict[int, list[int]]) -> None:
    named = {str(node): [str(n) for n in before if n in graph] for node, before in graph.items()}
    cycle = find_cycle(named)
    left = dict(named)
    while free := [node for node, before in left.items() if not any(n in left for n in before)]:
        for node in free:
            del left[node]
    assert bool(cycle) == bool(left)
    for waiting, awaited in pairwise(cycle):
        assert awaited in named[waiting]
