"""PURE. A course: created once, then published in numbered versions that never change.

What an author works on is a draft, which is no event: nobody but authors sees it. A version is the draft at the moment
of publishing, whole, so that whoever takes version 2 takes version 2 to the end.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

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

MAX_MODULES = 100
# All texts of a version are in one event, which may have 512 KiB.
MAX_TEXT_BYTES = 400_000


@dataclass(frozen=True)
class Course:
    """`published` is the newest version; version 0 has none."""

    exists: bool = False
    deprecated: bool = False
    published: CoursePublished | None = None

    @property
    def version(self) -> int:
        return self.published.course_version if self.published else 0


@dataclass(frozen=True)
class CreateCourse:
    course_id: str
    title: str
    slug: str
    summary: str
    created_by: str


@dataclass(frozen=True)
class PublishCourse:
    """`launchable`: (package id, launch path) of every package the modules may name."""

    course_id: str
    title: str
    slug: str
    summary: str
    language: str
    duration_minutes: int
    certifying: bool
    modules: Sequence[Module]
    launchable: Collection[tuple[str, str]]
    at: datetime


@dataclass(frozen=True)
class DeprecateCourse:
    course_id: str
    reason: str


Command = CreateCourse | PublishCourse | DeprecateCourse


def evolve(state: Course, event: Message) -> Course:
    match event:
        case CourseCreated():
            return replace(state, exists=True)
        case CoursePublished():
            return replace(state, published=event)
        case CourseDeprecated():
            return replace(state, deprecated=True)
        case _:
            return state


def decide(state: Course, command: Command) -> list[Message]:
    match command:
        case CreateCourse():
            if state.exists:
                return []
            return [
                CourseCreated(
                    course_id=command.course_id, title=command.title, slug=command.slug, summary=command.summary,
                    created_by=command.created_by,
                )
            ]  # fmt: skip
        case PublishCourse():
            return _publish(state, command)
        case DeprecateCourse():
            if state.deprecated:
                return []
            return [CourseDeprecated(course_id=command.course_id, reason=command.reason)]


def _publish(state: Course, command: PublishCourse) -> list[Message]:
    if state.deprecated:
        raise CourseRetired("A deprecated course gets no new version")
    check_modules(command.modules, command.launchable)
    event = CoursePublished(
        course_id=command.course_id, course_version=state.version + 1, title=command.title, slug=command.slug,
        summary=command.summary, modules=command.modules, certifying=command.certifying, language=command.language,
        duration_minutes=command.duration_minutes,
    )  # fmt: skip
    if state.published is not None and _same(state.published, event):
        return []  # a client that tries again gets no second version
    moment = Timestamp()
    moment.FromDatetime(command.at)
    event.published_at.CopyFrom(moment)
    return [event]


def _same(published: CoursePublished, event: CoursePublished) -> bool:
    before = CoursePublished()
    before.CopyFrom(published)
    before.ClearField("published_at")
    before.course_version = event.course_version
    return before == event


def check_modules(modules: Sequence[Module], launchable: Collection[tuple[str, str]]) -> None:
    """Refuse modules that could not be taken."""
    if not modules:
        raise NothingToPublish()
    if len(modules) > MAX_MODULES:
        raise ModulesInvalid(f"A course has at most {MAX_MODULES} modules, not {len(modules)}")
    if len({module.module_id for module in modules}) != len(modules):
        raise ModulesInvalid("Two modules have the same module_id")
    for module in modules:
        _check_module(module, launchable)
    size = sum(len(module.text.encode()) for module in modules)
    if size > MAX_TEXT_BYTES:
        raise ModulesInvalid(f"The readings have {size:,} bytes together; {MAX_TEXT_BYTES:,} are allowed")


def _check_module(module: Module, launchable: Collection[tuple[str, str]]) -> None:
    named = f"The module {module.title!r}"
    if module.kind == MODULE_KIND_SCORM12:
        if (module.package_id, module.launch_path) not in launchable:
            raise ModulesInvalid(f"{named} names a package or a launch path that does not exist")
    elif module.kind == MODULE_KIND_QUIZ:
        if not module.quiz_id:
            raise ModulesInvalid(f"{named} is a quiz, but has no quiz_id")
    elif module.kind == MODULE_KIND_READING:
        if not module.text.strip():
            raise ModulesInvalid(f"{named} is a reading, but has no text")
    else:
        raise ModulesInvalid(f"{named} is of no known kind")
