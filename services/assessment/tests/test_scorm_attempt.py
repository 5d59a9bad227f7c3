"""Given what happened to an attempt, when a command arrives, then which events follow."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assessment import scorm_attempt, scorm_cmi
from assessment.errors import BadCmi, CmiTooLarge, Superseded
from assessment.scorm_attempt import Commit, Launch, ScormAttempt
from assessment.scorm_cmi import Reported
from lyceum.assessment.v1.events_pb2 import ModuleCompleted

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
NEW = ScormAttempt("a", "e", "p", "c", "m")


def reported(status: str = "incomplete", score: float | None = None, seconds: float = 0.0) -> Reported:
    return Reported(status, score, score, seconds, suspended=False)


def commit(session: int, sequence: int, what: Reported, **more: Any) -> Commit:
    return Commit(session, sequence, more.pop("finish", False), what, b"sealed", **more)


def run(state: ScormAttempt, *commands: Launch | Commit) -> tuple[ScormAttempt, list[Any]]:
    events: list[Any] = []
    for command in commands:
        for event in scorm_attempt.decide(state, command, now=NOW):
            state = scorm_attempt.evolve(state, event)
            events.append(event)
    return state, events


@pytest.mark.parametrize(
    ("status", "score", "mastery", "finish", "counts_as"),
    [
        ("passed", None, None, False, "passed"),
        ("completed", None, None, False, "completed"),
        ("not attempted", None, None, True, "completed"),
        ("not attempted", None, None, False, "not attempted"),
        ("incomplete", 95, 80, True, "incomplete"),  # a half-way score passes nobody
        ("completed", 80, 80, True, "passed"),
        ("completed", 79, 80, True, "failed"),
        ("passed", 10, 80, False, "failed"),  # the package's word does not beat the manifest's
        ("failed", 90, 80, True, "passed"),
        ("not attempted", 90, 80, True, "passed"),
        ("passed", None, 80, True, "passed"),
        ("failed", None, None, True, "failed"),
        ("browsed", 100, 80, True, "browsed"),
    ],
)
def test_the_server_decides_what_a_status_counts_as(
    status: str, score: float | None, mastery: float | None, finish: bool, counts_as: str
) -> None:
    assert scorm_attempt.outcome(reported(status, score), finish=finish, mastery_score=mastery) == counts_as


def test_a_module_is_completed_once_and_stays_so_whatever_a_later_visit_says() -> None:
    state, events = run(
        NEW,
        Launch(),
        commit(1, 1, reported("passed", 90)),
        commit(1, 2, reported("passed", 95)),
        Launch(complete_on_view=True),
        commit(2, 1, reported("failed", 5)),
        commit(2, 2, reported("completed")),
    )
    assert sum(isinstance(e, ModuleCompleted) for e in events) == 1
    assert state.completed


def test_time_adds_up_over_sessions_and_not_within_one() -> None:
    state, _ = run(
        NEW,
        Launch(),
        commit(1, 1, reported(seconds=10)),
        commit(1, 2, reported(seconds=60)),
        Launch(),
        commit(2, 1, reported(seconds=5)),
    )
    assert state.total_seconds == 65


def test_only_the_newest_session_is_heard() -> None:
    state, _ = run(NEW, Launch(), Launch())
    for session in (0, 1, 3):
        with pytest.raises(Superseded):
            scorm_attempt.decide(state, commit(session, 9, reported()), now=NOW)


@given(st.lists(st.integers(1, 6), max_size=12))
def test_numbers_only_ever_rise_and_repetitions_add_nothing(sequences: list[int]) -> None:
    state, events = run(NEW, Launch(), *(commit(1, n, reported()) for n in sequences))
    stored = [e.sequence for e in events[1:]]
    assert stored == sorted(set(stored))
    assert state.sequence == max([0, *sequences])


@given(st.floats(0, 3_599_999))
def test_a_timespan_reads_back_as_the_seconds_it_was_made_of(seconds: float) -> None:
    assert abs(scorm_cmi.seconds(scorm_cmi.timespan(seconds)) - seconds) <= 0.0051


@pytest.mark.parametrize("time", ["1:2", "00:61:00", "PT5M", "-00:01:00", "00:00:61", "٠٠:٠٠:٠٠x"])
def test_a_time_of_another_form_is_refused(time: str) -> None:
    with pytest.raises(BadCmi):
        scorm_cmi.seconds(time)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_nothing_that_a_package_sends_breaks_the_reader(value: Any) -> None:
    for cmi in (
        {"core": value},
        {"core": {"score": value}},
        {"suspend_data": value},
        {"core": {"session_time": value}},
    ):
        with contextlib.suppress(BadCmi, CmiTooLarge):
            assert scorm_cmi.report(cmi).lesson_status in scorm_cmi.STATUSES


@given(st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6), st.none() | st.floats(-1e6, 1e6))
def test_a_percentage_is_between_0_and_100(raw: float, low: float | None, high: float | None) -> None:
    found = scorm_cmi.percent(raw, low, high)
    assert found is not None
    assert 0 <= found <= 100


@pytest.mark.parametrize(
    ("saved", "status", "entry"),
    [
        (None, "not attempted", "ab-initio"),
        ({"core": {"exit": "suspend"}}, "incomplete", "resume"),
        ({"core": {"exit": ""}}, "incomplete", "resume"),
        ({"core": {"exit": "suspend"}}, "passed", "resume"),
        ({"core": {"exit": ""}}, "passed", ""),
    ],
)
def test_entry_tells_how_the_last_session_ended(saved: Any, status: str, entry: str) -> None:
    cmi = scorm_cmi.to_resume(
        saved,
        learner_id="ada",
        learner_name="Ada",
        total_seconds=61.5,
        lesson_status=status,
        mastery_score=80,
        launch_data="",
    )
    assert (cmi["core"]["entry"], cmi["core"]["total_time"]) == (entry, "0000:01:01.50")
    assert cmi["student_data"]["mastery_score"] == "80"
    assert not {"exit", "session_time"} & cmi["core"].keys()
    assert saved is None or "exit" in saved["core"]  # what was saved is left as it was
