"""What people do at random, as far as services would let them.

Ids are the same in both tenants, so that whatever forgets the tenant counts too much.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import strategies as st

from lyceum.assessment.v1 import events_pb2 as assessment
from lyceum.catalog.v1 import events_pb2 as catalog
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum.identity.v1 import events_pb2 as identity

US, THEM = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def when(hours: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(NOW + timedelta(hours=hours))
    return stamp


class Told(NamedTuple):
    tenant: UUID
    stream: str
    key: str
    message: Message


TENANTS = st.sampled_from([US, US, US, THEM])
PEOPLE = st.sampled_from(["p1", "p2", "p3", "p4"])
DEPARTMENTS = st.sampled_from(["Sales", "Engineering", ""])
COURSES = st.sampled_from(["c1", "c2"])
MODULES = st.sampled_from(["m1", "m2", "m3"])
HOURS = st.integers(-24 * 70, 24 * 10)
MOMENTS = HOURS.map(when)
DUE = st.none() | HOURS.map(when)
GROUNDS = st.sampled_from([enrollment.GROUND_KIND_SELF, enrollment.GROUND_KIND_RULE])
NUMBERS = st.integers(1, 3)
SCORES = st.integers(0, 100).map(float)
# An enrolment belongs to one person and course for ever.
ENROLLMENTS = st.tuples(PEOPLE, COURSES, NUMBERS)


@st.composite
def people(draw: st.DrawFn) -> Told:
    person, job = draw(PEOPLE), identity.Job(department=draw(DEPARTMENTS))
    at = when(24 * draw(st.integers(-5, 3)))  # often the same moment
    kinds: list[Message] = [
        identity.UserProvisioned(person_id=person, job=job, effective_at=at),
        identity.UserUpdated(person_id=person, job=job, effective_at=at),
        identity.UserDeactivated(person_id=person, effective_at=at),
        identity.UserReactivated(person_id=person, job=job, effective_at=at),
        identity.UserErased(person_id=person, erased_at=at),  # which no number knows of
        identity.RolesChanged(person_id=person),
    ]
    return Told(draw(TENANTS), f"person/{person}", "", draw(st.sampled_from(kinds)))


@st.composite
def courses(draw: st.DrawFn) -> Told:
    course, modules = draw(COURSES), draw(st.lists(MODULES, unique=True, min_size=1))
    published = catalog.CoursePublished(
        course_id=course,
        course_version=draw(st.integers(1, 2)),
        title=f"Course {course}",
        modules=[catalog.Module(module_id=m, title=m.upper()) for m in modules],
    )
    return Told(draw(TENANTS), f"course/{course}/{published.course_version}", "", published)


@st.composite
def enrollments(draw: st.DrawFn) -> Told:
    person, course, n = draw(ENROLLMENTS)
    of = f"{person}-{course}-{n}"
    version, due_at = draw(st.integers(1, 2)), draw(DUE)
    enrolled = enrollment.LearnerEnrolled(
        enrollment_id=of,
        person_id=person,
        course_id=course,
        course_version=version,
        cycle=n,
        department=draw(DEPARTMENTS),
        mandatory=draw(st.booleans()),
        enrolled_at=draw(MOMENTS),
        due_at=due_at,
    )
    completed = enrollment.CourseCompleted(
        enrollment_id=of,
        person_id=person,
        course_id=course,
        completed_at=draw(MOMENTS),
        on_time=draw(st.booleans()),
    )
    kinds: list[Message] = [
        enrolled,
        enrolled,
        enrollment.EnrollmentWithdrawn(enrollment_id=of, person_id=person, course_id=course),
        enrollment.EnrollmentResumed(
            enrollment_id=of, person_id=person, course_id=course, ground=enrollment.Ground(kind=draw(GROUNDS))
        ),
        enrollment.GroundAdded(
            enrollment_id=of, person_id=person, ground=enrollment.Ground(kind=draw(GROUNDS))
        ),
        # What was demanded was demanded: a ground that goes takes nothing back.
        enrollment.GroundRemoved(
            enrollment_id=of, person_id=person, ground=enrollment.Ground(kind=draw(GROUNDS))
        ),
        enrollment.DueDateChanged(enrollment_id=of, person_id=person, due_at=due_at),
        enrollment.ModuleProgressed(enrollment_id=of, person_id=person, module_id=draw(MODULES)),
        completed,
    ]
    return Told(draw(TENANTS), f"enrollment/{of}", person, draw(st.sampled_from(kinds)))


@st.composite
def learning(draw: st.DrawFn) -> Told:
    person, course, n = draw(ENROLLMENTS)
    module, number, at = draw(MODULES), draw(NUMBERS), draw(MOMENTS)
    attempt = f"{person}-{course}-{n}-{module}-{number}"
    of: dict[str, Any] = {
        "attempt_id": attempt,
        "enrollment_id": f"{person}-{course}-{n}",
        "person_id": person,
        "course_id": course,
        "module_id": module,
    }
    kinds: list[Any] = [
        assessment.SessionLaunched,
        assessment.AnswerSaved,
        assessment.ModuleCompleted,
        assessment.AssessmentPassed,
        assessment.AssessmentFailed,
    ]
    kind = draw(st.sampled_from(kinds))
    if kind is assessment.AnswerSaved:
        message = kind(attempt_id=attempt, person_id=person)
    elif kind is assessment.SessionLaunched:
        message = kind(**of, launched_at=at)
    elif kind is assessment.ModuleCompleted:
        message = kind(**of, completed_at=at)
    else:
        message = kind(**of, score=draw(SCORES), number=number, graded_at=at)
    return Told(draw(TENANTS), f"attempt/{attempt}", person, message)


@st.composite
def certificates(draw: st.DrawFn) -> Told:
    person, course, n = draw(ENROLLMENTS)
    of, at = f"{person}-{course}-{n}", draw(MOMENTS)
    kinds: list[Message] = [
        assessment.CertificateIssued(
            certificate_id=of, person_id=person, enrollment_id=of, course_id=course, issued_at=at
        ),
        assessment.CertificateRevoked(certificate_id=of, person_id=person, revoked_at=at),
    ]
    return Told(draw(TENANTS), f"certificate/{of}", person, draw(st.sampled_from(kinds)))


EVENTS = st.one_of(people(), courses(), enrollments(), enrollments(), learning(), certificates())
# state of a stream, and event → state; anything else would not have happened.
ALLOWED = {
    ("", "UserProvisioned"): "here",
    ("here", "UserUpdated"): "here",
    ("here", "RolesChanged"): "here",
    ("here", "UserDeactivated"): "gone",
    ("gone", "UserReactivated"): "here",
    ("gone", "UserErased"): "erased",
    ("", "CoursePublished"): "published",
    ("", "LearnerEnrolled"): "active",
    ("active", "DueDateChanged"): "active",
    ("active", "GroundAdded"): "active",
    ("active", "GroundRemoved"): "active",
    ("active", "ModuleProgressed"): "active",
    ("active", "EnrollmentWithdrawn"): "withdrawn",
    ("withdrawn", "EnrollmentResumed"): "active",
    ("active", "CourseCompleted"): "completed",
    ("", "SessionLaunched"): "begun",
    ("begun", "SessionLaunched"): "begun",
    ("begun", "AnswerSaved"): "begun",
    ("begun", "ModuleCompleted"): "done",
    ("begun", "AssessmentFailed"): "graded",
    ("begun", "AssessmentPassed"): "graded",
    ("", "CertificateIssued"): "valid",
    ("valid", "CertificateRevoked"): "revoked",
}


def possible(history: Iterable[Told]) -> list[Told]:
    states: dict[tuple[UUID, str], str] = defaultdict(str)
    kept: list[Told] = []
    for told in history:
        stream = (told.tenant, told.stream)
        if after := ALLOWED.get((states[stream], told.message.DESCRIPTOR.name)):
            states[stream] = after
            kept.append(told)
    return kept


HISTORIES = st.lists(EVENTS, min_size=60, max_size=200).map(possible)
