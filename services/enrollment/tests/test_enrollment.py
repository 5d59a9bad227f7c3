"""The state machine by example, and what holds for any sequence of commands."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.dates import Due
from enrollment.enrollment import (
    ChangeGrounds,
    Command,
    Enrol,
    Enrollment,
    Ground,
    MarkOverdue,
    RecordModule,
    Withdraw,
    decide,
    earliest,
    evolve,
    fold,
    from_message,
    to_message,
)
from lyceum.enrollment.v1 import events_pb2 as pb

NOW = datetime(2026, 11, 24, 8, tzinfo=UTC)
TODAY = date(2026, 11, 24)
SOON = Due(datetime(2026, 12, 1, tzinfo=UTC), date(2026, 11, 30))
LATER = Due(datetime(2027, 1, 1, tzinfo=UTC), date(2026, 12, 31))
RULE = Ground("rule", "r1", TODAY, rule_version=1, reason="department is Engineering", due=LATER)
OTHER = Ground("rule", "r2", TODAY, rule_version=1, due=SOON)
OWN = Ground("self", "p1", TODAY)
MODULES = ("m1", "m2")


def given_(*grounds: Ground) -> Enrollment:
    enrol = Enrol("e1", "p1", "c1", 1, grounds or (RULE,), "Engineering", NOW)
    state = fold(decide(None, enrol))
    assert state
    return state


def then(state: Enrollment, command: Command) -> tuple[list[str], Enrollment]:
    events = decide(state, command)
    after = fold(events, state)
    assert after
    return [e.DESCRIPTOR.name for e in events], after


def change(*add: Ground, lose: tuple[Ground, ...] = ()) -> ChangeGrounds:
    return ChangeGrounds(add, [g.key for g in lose], MODULES, NOW)


def done(module: str, assurance: str = "server-graded", at: datetime = NOW) -> RecordModule:
    return RecordModule(module, assurance, 80.0, MODULES, at)


def test_enrolled_by_two_rules_is_due_at_the_earliest() -> None:
    enrolled, added = decide(None, Enrol("e1", "p1", "c1", 1, (RULE, OTHER), "Engineering", NOW))
    assert isinstance(enrolled, pb.LearnerEnrolled)
    assert (enrolled.due_date, enrolled.mandatory, enrolled.department) == ("2026-11-30", True, "Engineering")
    assert isinstance(added, pb.GroundAdded)


def test_enrolling_oneself_is_not_mandatory_until_a_rule_asks_too() -> None:
    state = given_(OWN)
    assert (state.mandatory, state.due) == (False, None)
    said, state = then(state, change(RULE))
    assert said == ["GroundAdded", "DueDateChanged"]
    assert (state.mandatory, state.due) == (True, LATER)


def test_the_same_ground_again_is_no_news() -> None:
    assert then(given_(), change(RULE))[0] == []
    assert then(given_(), Enrol("e2", "p1", "c1", 1, (RULE,), "", NOW))[0] == []


def test_losing_one_of_two_grounds_keeps_the_enrolment() -> None:
    said, state = then(given_(RULE, OTHER), change(lose=(OTHER,)))
    assert said == ["GroundRemoved", "DueDateChanged"]
    assert (state.state, state.due) == ("active", LATER)


def test_losing_the_last_ground_withdraws() -> None:
    said, state = then(given_(), change(lose=(RULE,)))
    assert (said, state.state, state.grounds) == (["EnrollmentWithdrawn"], "withdrawn", ())


def test_losing_the_last_ground_keeps_when_the_rule_says_so() -> None:
    said, state = then(given_(replace(RULE, on_ground_lost="keep")), change(lose=(RULE,)))
    assert (said, state.state, state.due) == (["GroundRemoved"], "active", LATER)


def test_swapping_one_rule_for_another_never_withdraws() -> None:
    said, state = then(given_(), change(OTHER, lose=(RULE,)))
    assert said == ["GroundAdded", "GroundRemoved", "DueDateChanged"]
    assert state.state == "active"


def test_withdrawn_resumes_with_its_progress() -> None:
    _, state = then(given_(), done("m1"))
    _, state = then(state, Withdraw("The person left"))
    said, state = then(state, change(OTHER))
    assert said == ["EnrollmentResumed", "DueDateChanged"]
    assert (state.state, set(state.done), state.enrollment_id) == ("active", {"m1"}, "e1")


def test_the_last_module_completes_the_course_and_nothing_undoes_it() -> None:
    said, state = then(given_(), done("m1"))
    assert said == ["ModuleProgressed"]
    said, state = then(state, done("m2"))
    assert said == ["ModuleProgressed", "CourseCompleted"]
    for command in (change(lose=(RULE,)), Withdraw("left"), MarkOverdue(LATER.at), done("m2")):
        _, state = then(state, command)
        assert (state.state, state.completed_at) == ("completed", NOW)


@pytest.mark.parametrize(
    ("first", "second", "weakest"),
    [
        ("server-graded", "server-graded", "server-graded"),
        ("server-graded", "self-reported", "self-reported"),
        ("self-reported", "server-graded", "self-reported"),
        ("server-graded", "something new", "self-reported"),
    ],
)
def test_a_course_is_assured_as_its_weakest_module(first: str, second: str, weakest: str) -> None:
    _, state = then(given_(), done("m1", first))
    completed = decide(state, done("m2", second))[-1]
    assert isinstance(completed, pb.CourseCompleted)
    assert completed.assurance == weakest


@pytest.mark.parametrize(("at", "on_time"), [(LATER.at - timedelta(seconds=1), True), (LATER.at, False)])
def test_on_time_is_before_the_end_of_the_due_day(at: datetime, on_time: bool) -> None:
    _, state = then(given_(), done("m1"))
    completed = decide(state, done("m2", at=at))[-1]
    assert isinstance(completed, pb.CourseCompleted)
    assert completed.on_time is on_time


def test_a_module_of_another_version_does_not_count() -> None:
    assert then(given_(), done("m9"))[0] == []


def test_overdue_once_and_never_before() -> None:
    assert then(given_(), MarkOverdue(LATER.at - timedelta(seconds=1)))[0] == []
    said, state = then(given_(), MarkOverdue(LATER.at))
    assert (said, state.overdue) == (["EnrollmentOverdue"], True)
    assert then(state, MarkOverdue(LATER.at))[0] == []


def test_no_due_date_is_never_overdue() -> None:
    assert then(given_(OWN), MarkOverdue(datetime.max.replace(tzinfo=UTC)))[0] == []


def test_nothing_happens_to_an_enrolment_that_is_not() -> None:
    with pytest.raises(ValueError, match="needs an enrolment"):
        decide(None, Withdraw("left"))
    with pytest.raises(ValueError, match="before the enrolment"):
        evolve(None, pb.EnrollmentWithdrawn(enrollment_id="e1"))


grounds = st.builds(
    Ground,
    st.sampled_from(["rule", "path", "manual", "self"]),
    st.sampled_from(["a", "b"]),
    st.just(TODAY),
    via=st.sampled_from(["", "v"]),
    rule_version=st.integers(0, 2),
    due=st.sampled_from([None, SOON, LATER]),
    on_ground_lost=st.sampled_from(["keep", "withdraw_if_incomplete"]),
)
commands: Any = st.lists(
    st.builds(
        ChangeGrounds,
        st.lists(grounds, max_size=2, unique_by=lambda g: g.key),
        st.lists(grounds.map(lambda g: g.key), max_size=3),
        st.just(MODULES),
        st.just(NOW),
    )
    | st.builds(Withdraw, st.just("left"))
    | st.builds(MarkOverdue, st.sampled_from([NOW, SOON.at, LATER.at]))
    | st.sampled_from([done("m1"), done("m2")]),
    max_size=12,
)


@given(grounds)
def test_a_ground_survives_its_message(ground: Ground) -> None:
    assert from_message(to_message(ground)) == ground


@given(grounds, commands)
def test_whatever_happens_the_record_only_grows(first: Ground, some: list[Command]) -> None:
    state = given_(first)
    for command in some:
        before = state
        events = decide(state, command)
        after = fold(events, state)
        assert after
        assert decide(after, command) == [] or isinstance(command, ChangeGrounds)
        assert set(before.done) <= set(after.done)
        assert before.state != "completed" or (after.state, after.completed_at) == (
            "completed",
            before.completed_at,
        )
        assert after.state != "withdrawn" or not after.grounds
        assert len({g.key for g in after.grounds}) == len(after.grounds)
        if after.state == "active" and after.grounds:
            assert after.due == earliest(after.grounds)
        if after.state == "active":
            assert not set(MODULES) <= set(after.done)
        if after.overdue:
            assert after.due
            assert after.state == "active"
        state = after


@given(grounds, commands)
def test_a_command_twice_says_nothing_the_second_time(first: Ground, some: list[Command]) -> None:
    state = given_(first)
    for command in some:
        if isinstance(command, ChangeGrounds) and {g.key for g in command.add} & set(command.lose):
            continue  # asks for and against the same ground
        after = fold(decide(state, command), state)
        assert after
        assert decide(after, command) == []
        state = after
