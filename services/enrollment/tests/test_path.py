"""Prerequisites and completion of paths."""

from datetime import UTC, date, datetime

import pytest

from enrollment.enrollment import Ground
from enrollment.path import Item, Path, PathEnrollment, assign, complete, evolve, locked_by, withdraw

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
PATH = Path("p", 1, "Path", (Item("a"), Item("b", ("a",)), Item("c", ("a", "b"))))
OTHER = Path("q", 1, "Other", (Item("b"),))
ON_PATH = Ground("path", "p", date(2026, 11, 24), via="r")
ON_OTHER = Ground("path", "q", date(2026, 11, 24), via="r")
BY_RULE = Ground("rule", "r", date(2026, 11, 24))
PATHS = {"p": PATH, "q": OTHER}


@pytest.mark.parametrize(
    ("course", "grounds", "completed", "locked"),
    [
        ("a", [ON_PATH], [], ()),
        ("b", [ON_PATH], [], ("a",)),
        ("b", [ON_PATH], ["a"], ()),
        ("c", [ON_PATH], [], ("a", "b")),
        ("c", [ON_PATH], ["b"], ("a",)),
        ("b", [ON_PATH, BY_RULE], [], ()),  # asked for on its own as well
        ("b", [ON_PATH, ON_OTHER], [], ()),  # the other path wants nothing first
        ("b", [BY_RULE], [], ()),
        ("b", [], [], ()),
    ],
)
def test_a_course_is_locked_by_what_must_come_first(
    course: str, grounds: list[Ground], completed: list[str], locked: tuple[str, ...]
) -> None:
    assert locked_by(course, grounds, PATHS, completed) == locked


def test_a_path_is_assigned_once_and_again_after_it_was_withdrawn() -> None:
    fresh = PathEnrollment("x", "ada", "p", 1)
    (begun,) = assign(None, fresh, BY_RULE)
    state = evolve(None, begun)
    assert assign(state, fresh, BY_RULE) == []
    (ended,) = withdraw(state, "gone")
    state = evolve(state, ended)
    assert withdraw(state, "gone") == []
    assert len(assign(state, fresh, BY_RULE)) == 1


@pytest.mark.parametrize(
    ("completed", "excused", "is_complete"),
    [
        (["a", "b", "c"], [], True),
        (["a", "b"], [], False),
        (["a", "b"], ["c"], True),
        ([], ["a", "b", "c"], False),
    ],
)
def test_a_path_is_complete_with_its_last_course(
    completed: list[str], excused: list[str], is_complete: bool
) -> None:
    state = PathEnrollment("x", "ada", "p", 1)
    events = complete(state, PATH, completed=completed, excused=excused, at=NOW)
    assert bool(events) is is_complete
    if events:
        state = evolve(state, events[0])
        assert (state.state, state.completed_at) == ("completed", NOW)
        assert withdraw(state, "gone") == []
        assert complete(state, PATH, completed=completed, excused=excused, at=NOW) == []
