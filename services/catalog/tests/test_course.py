"""A course: given events, when a command, then events."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.course import Course, CreateCourse, DeprecateCourse, PublishCourse, decide, evolve
from catalog.errors import CourseRetired, ModulesInvalid, NothingToPublish
from lyceum.catalog.v1.events_pb2 import (
    MODULE_KIND_QUIZ,
    MODULE_KIND_READING,
    MODULE_KIND_SCORM12,
    CourseCreated,
    CourseDeprecated,
    CoursePublished,
    Module,
)

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
READING = Module(module_id="m1", title="Read", kind=MODULE_KIND_READING, text="# Hi")


def publish(*modules: Module, at: datetime = NOW, title: str = "T", launchable: Any = ()) -> PublishCourse:
    return PublishCourse("c", title, "t", "", "en", 5, False, modules or (READING,), launchable, at)


def after(*commands: Any) -> tuple[Course, list[Any]]:
    state = Course()
    told: list[Any] = []
    for command in commands:
        events = decide(state, command)
        told += events
        for event in events:
            state = evolve(state, event)
    return state, told


def test_a_course_is_created_once() -> None:
    create = CreateCourse("c", "T", "t", "", "author")
    _, told = after(create, create)
    assert told == [CourseCreated(course_id="c", title="T", slug="t", created_by="author")]


def test_versions_count_up_and_an_unchanged_course_makes_none() -> None:
    state, told = after(
        publish(), publish(at=NOW + timedelta(days=1)), publish(title="Other"), publish(title="Other")
    )
    assert [(event.course_version, event.title) for event in told] == [(1, "T"), (2, "Other")]
    assert state.version == 2
    assert told[0].published_at.ToDatetime(UTC) == NOW


def test_a_deprecated_course_is_deprecated_once_and_published_no_more() -> None:
    state, told = after(publish(), DeprecateCourse("c", "old"), DeprecateCourse("c", "older"))
    assert [type(event) for event in told] == [CoursePublished, CourseDeprecated]
    with pytest.raises(CourseRetired):
        decide(state, publish(title="New"))


@pytest.mark.parametrize(
    "module",
    [
        Module(module_id="m", title="No text", kind=MODULE_KIND_READING, text=" "),
        Module(module_id="m", title="No quiz", kind=MODULE_KIND_QUIZ),
        Module(module_id="m", title="No package", kind=MODULE_KIND_SCORM12, launch_path="index.html"),
        Module(
            module_id="m", title="Other page", kind=MODULE_KIND_SCORM12, package_id="p", launch_path="x.html"
        ),
        Module(module_id="m", title="No kind"),
        Module(module_id="m", title="Too long", kind=MODULE_KIND_READING, text="x" * 400_001),
    ],
    ids=lambda module: module.title,
)
def test_a_module_that_could_not_be_taken_is_refused(module: Module) -> None:
    with pytest.raises(ModulesInvalid):
        decide(Course(), publish(module, launchable={("p", "index.html")}))


def test_a_course_needs_modules_and_each_its_own_id() -> None:
    with pytest.raises(NothingToPublish):
        decide(Course(), PublishCourse("c", "T", "t", "", "en", 5, False, (), (), NOW))
    with pytest.raises(ModulesInvalid):
        decide(Course(), publish(READING, READING))


@given(st.lists(st.sampled_from(["A", "B", "C"])))
def test_every_change_of_title_is_one_version(titles: list[str]) -> None:
    state, told = after(*(publish(title=title) for title in titles))
    changes = sum(1 for n, title in enumerate(titles) if n == 0 or titles[n - 1] != title)
    assert [event.course_version for event in told] == list(range(1, changes + 1))
    assert state.version == changes
