"""PURE. Learning paths: courses with prerequisites among them, followed by a person at a pinned version."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal
from uuid import UUID, uuid5

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from enrollment.enrollment import Ground, to_message
from lyceum.enrollment.v1 import events_pb2 as pb

_NAMESPACE = UUID("5c7f2c52-7a5b-5d0e-9f5e-3f1a0d4d6b11")


@dataclass(frozen=True)
class Item:
    course_id: str
    after: tuple[str, ...] = ()  # courses of the path to complete first


@dataclass(frozen=True)
class Path:
    path_id: str
    path_version: int
    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True)
class PathEnrollment:
    """A person on a path. `rule_ids`: the rules that assign it."""

    path_enrollment_id: str
    person_id: str
    path_id: str
    path_version: int
    state: Literal["active", "completed", "withdrawn"] = "active"
    rule_ids: frozenset[str] = frozenset()
    completed_at: datetime | None = None


def path_enrollment_id(tenant: UUID, person_id: str, path_id: str) -> str:
    """One per person and path, so that assigning twice cannot make two."""
    return str(uuid5(_NAMESPACE, f"{tenant}/{person_id}/{path_id}"))


def stream_of(person_id: str, path_id: str) -> str:
    return f"path-enrollment/{person_id}/{path_id}"


def assign(state: PathEnrollment | None, fresh: PathEnrollment, ground: Ground) -> list[Message]:
    """The person follows the path: for the first time, or again after it was withdrawn."""
    if state is not None and state.state != "withdrawn":
        return []
    return [
        pb.PathAssigned(
            path_enrollment_id=fresh.path_enrollment_id,
            person_id=fresh.person_id,
            path_id=fresh.path_id,
            path_version=fresh.path_version,
            ground=to_message(ground),
        )
    ]


def withdraw(state: PathEnrollment, reason: str) -> list[Message]:
    if state.state != "active":
        return []
    return [
        pb.PathWithdrawn(
            path_enrollment_id=state.path_enrollment_id,
            person_id=state.person_id,
            path_id=state.path_id,
            reason=reason,
        )
    ]


def complete(
    state: PathEnrollment, path: Path, *, completed: Collection[str], excused: Collection[str], at: datetime
) -> list[Message]:
    """All courses are done. `excused`: deprecated courses the person never got."""
    required = {item.course_id for item in path.items} - set(excused)
    if state.state != "active" or not required or not required <= set(completed):
        return []
    stamp = Timestamp()
    stamp.FromDatetime(at.astimezone(UTC))
    return [
        pb.PathCompleted(
            path_enrollment_id=state.path_enrollment_id,
            person_id=state.person_id,
            path_id=state.path_id,
            completed_at=stamp,
        )
    ]


def evolve(state: PathEnrollment | None, event: Message) -> PathEnrollment:
    match event:
        case pb.PathAssigned():
            return PathEnrollment(
                event.path_enrollment_id, event.person_id, event.path_id, event.path_version
            )
        case pb.PathWithdrawn() if state:
            return replace(state, state="withdrawn")
        case pb.PathCompleted() if state:
            at = event.completed_at.ToDatetime(UTC)
            return replace(state, state="completed", completed_at=at)
        case _:
            raise ValueError(f"{event.DESCRIPTOR.name} is no event of a path enrolment here")


def locked_by(
    course_id: str, grounds: Iterable[Ground], paths: Mapping[str, Path], completed: Collection[str]
) -> tuple[str, ...]:
    """Courses to complete first. Nothing when any ground lets the course be taken now: a prerequisite is the path's
    wish, and a rule or a person that asks for the course itself does not share it."""
    unmet: Sequence[str] = ()
    for ground in grounds:
        path = paths.get(ground.ground_id) if ground.kind == "path" else None
        item = next((i for i in path.items if i.course_id == course_id), None) if path else None
        missing = [c for c in item.after if c not in completed] if item else []
        if not missing:
            return ()
        unmet = [*unmet, *missing]
    return tuple(dict.fromkeys(unmet))
