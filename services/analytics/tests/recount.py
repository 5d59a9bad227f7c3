"""The recount: plain Python over the events. It knows what the metrics' sentences say, and no table."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from analytics import metrics
from lyceum.assessment.v1 import events_pb2 as assessment
from lyceum.catalog.v1 import events_pb2 as catalog
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.envelope import Record, decode
from lyceum_kit.topics import feeds


@dataclass
class Enrollment:
    person: str
    course: str
    version: int
    mandatory: bool
    department: str
    enrolled_at: datetime
    due_at: datetime | None
    withdrawn_at: datetime | None = None
    completed_at: datetime | None = None
    on_time: bool = False

    @property
    def open(self) -> bool:
        return self.withdrawn_at is None

    def past_due(self, now: datetime) -> bool:
        return self.due_at is not None and self.due_at < now

    def overdue(self, now: datetime) -> bool:
        return self.open and self.completed_at is None and self.past_due(now)


@dataclass
class Graded:
    course: str
    department: str
    number: int
    passed: bool
    score: float
    graded_at: datetime


@dataclass
class Certificate:
    course: str
    department: str
    issued_at: datetime
    valid: bool = True


@dataclass
class School:
    """What one tenant's events amount to."""

    enrollments: dict[str, Enrollment] = field(default_factory=dict[str, Enrollment])
    graded: list[Graded] = field(default_factory=list[Graded])
    certificates: dict[str, Certificate] = field(default_factory=dict[str, Certificate])
    versions: dict[tuple[str, int], list[tuple[str, str]]] = field(
        default_factory=dict[tuple[str, int], list[tuple[str, str]]]
    )
    finished: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    departments: dict[str, list[tuple[datetime, str]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[datetime, str]]](list)
    )


def recount(records: Iterable[Record], tenant: UUID) -> School:
    """Streams one by one, people's last: where they work now is where all they ever did counts."""
    school = School()
    at_first: dict[str, str] = {}  # enrolment → department then
    people: dict[str, str] = {}
    who: list[tuple[Enrollment | Graded | Certificate, str, str]] = []
    mine = [r for r in records if r.meta and r.meta.tenant == tenant]
    for record in sorted(mine, key=lambda r: (r.meta.stream, r.meta.version) if r.meta else ("", 0)):
        assert record.meta
        m: Any = decode(feeds()[record.feed].messages[record.meta.type], record)
        match m:
            case identity.UserProvisioned() | identity.UserUpdated() | identity.UserReactivated():
                people[m.person_id] = m.job.department
                school.departments[m.person_id].append((utc(m.effective_at), m.job.department))
            case identity.UserDeactivated():
                school.departments[m.person_id].append((utc(m.effective_at), ""))
            case catalog.CoursePublished():
                school.versions[m.course_id, m.course_version] = [(c.module_id, c.title) for c in m.modules]
            case enrollment.LearnerEnrolled():
                due_at = utc(m.due_at) if m.HasField("due_at") else None
                new = Enrollment(
                    m.person_id, m.course_id, m.course_version, m.mandatory, "", utc(m.enrolled_at), due_at
                )
                school.enrollments[m.enrollment_id] = new
                at_first[m.enrollment_id] = m.department
                who.append((new, m.person_id, m.enrollment_id))
            case enrollment.EnrollmentWithdrawn():
                school.enrollments[m.enrollment_id].withdrawn_at = record.meta.time
            case enrollment.EnrollmentResumed():
                school.enrollments[m.enrollment_id].withdrawn_at = None
                school.enrollments[m.enrollment_id].mandatory |= m.ground.kind == enrollment.GROUND_KIND_RULE
            case enrollment.GroundAdded():
                school.enrollments[m.enrollment_id].mandatory |= m.ground.kind == enrollment.GROUND_KIND_RULE
            case enrollment.DueDateChanged():
                due_at = utc(m.due_at) if m.HasField("due_at") else None
                school.enrollments[m.enrollment_id].due_at = due_at
            case enrollment.CourseCompleted():
                school.enrollments[m.enrollment_id].completed_at = utc(m.completed_at)
                school.enrollments[m.enrollment_id].on_time = m.on_time
            case assessment.SessionLaunched():
                school.finished.setdefault((m.enrollment_id, m.module_id), False)
            case assessment.ModuleCompleted():
                school.finished[m.enrollment_id, m.module_id] = True
            case assessment.AssessmentPassed() | assessment.AssessmentFailed():
                passed = isinstance(m, assessment.AssessmentPassed)
                graded = Graded(m.course_id, "", m.number, passed, m.score, utc(m.graded_at))
                school.graded.append(graded)
                who.append((graded, m.person_id, m.enrollment_id))
            case assessment.CertificateIssued():
                issued = Certificate(m.course_id, "", utc(m.issued_at))
                school.certificates[m.certificate_id] = issued
                who.append((issued, m.person_id, m.enrollment_id))
            case assessment.CertificateRevoked():
                school.certificates[m.certificate_id].valid = False
            case _:
                pass
    for row, person, of in who:
        row.department = people.get(person, at_first.get(of, ""))
    return school


def utc(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


Pair = tuple[float, float | None]
Of = Callable[[Any], bool]


def share(rows: Sequence[Any], part: Of, whole: Of) -> Pair:
    return (
        sum(part(r) and whole(r) for r in rows),
        sum(whole(r) for r in rows),
    )


def value_of(name: str, rows: Sequence[Any], now: datetime) -> Pair:
    """What a metric's sentence says, over enrolments, graded attempts or certificates."""
    match name:
        case "enrolled":
            return len(rows), None
        case "learners":
            return len({e.person for e in rows if e.open}), None
        case "completed":
            return sum(e.completed_at is not None for e in rows), None
        case "withdrawn":
            return sum(not e.open for e in rows), None
        case "completion_rate":
            return share(rows, lambda e: e.completed_at is not None, lambda e: e.open)
        case "overdue":
            return sum(e.overdue(now) for e in rows), None
        case "compliance":
            return share(rows, lambda e: not e.overdue(now), lambda e: e.mandatory and e.open)
        case "compliance_due":
            due: Of = lambda e: e.mandatory and e.open and e.past_due(now)  # noqa: E731
            return share(rows, lambda e: e.completed_at is not None, due)
        case "on_time_rate":
            return share(
                rows, lambda e: e.on_time, lambda e: e.completed_at is not None and e.due_at is not None
            )
        case "pass_rate":
            return share(rows, lambda g: g.passed, lambda _: True)
        case "pass_rate_first_attempt":
            return share(rows, lambda g: g.passed, lambda g: g.number == 1)
        case "average_score":
            return sum(g.score for g in rows), len(rows)
        case "certificates":
            return sum(c.valid for c in rows), None
        case _:
            raise AssertionError(f"a metric nobody recounts: {name}")


MONTH_OF = {
    "completed": "completed_at",
    "withdrawn": "withdrawn_at",
    "overdue": "due_at",
    "compliance": "due_at",
    "compliance_due": "due_at",
    "on_time_rate": "completed_at",
    "average_score": "graded_at",
    "pass_rate": "graded_at",
    "pass_rate_first_attempt": "graded_at",
    "certificates": "issued_at",
}


def rows_of(school: School, name: str) -> Sequence[Any]:
    subjects = {
        "enrollments": list(school.enrollments.values()),
        "assessments": school.graded,
        "certificates": list(school.certificates.values()),
    }
    return subjects[metrics.METRICS[name].subject]


def expected(school: School, name: str, by: str, now: datetime) -> dict[str, Pair]:
    grouped: dict[str, list[Any]] = defaultdict(list)
    for row in rows_of(school, name):
        if by == "month":
            moment: datetime | None = getattr(row, MONTH_OF.get(name, "enrolled_at"))
            if moment:
                grouped[f"{moment:%Y-%m}"].append(row)
        else:
            grouped[getattr(row, by)].append(row)
    return {key: value_of(name, rows, now) for key, rows in sorted(grouped.items())}


def expected_drop_off(
    school: School, course: str, version: int
) -> tuple[int, list[tuple[str, str, int, int]]]:
    newest = max((v for c, v in school.versions if c == course), default=0)
    chosen = [of for of, e in school.enrollments.items() if e.course == course and version in (0, e.version)]
    of_version = {
        key: done
        for key, done in school.finished.items()
        if key[0].split("-")[1] == course and (version == 0 or key[0] in chosen)
    }
    modules = [
        (
            m,
            title,
            sum(key[1] == m for key in of_version),
            sum(key[1] == m and done for key, done in of_version.items()),
        )
        for m, title in school.versions.get((course, version or newest), [])
    ]
    return len(chosen), modules


def compliance_at(school: School, moment: datetime) -> dict[str, float]:
    """By the departments of that moment. Of several changes at one instant the last one told counts."""
    answers: dict[str, list[bool]] = defaultdict(list)
    for e in school.enrollments.values():
        changes = dict(school.departments[e.person])  # instant → what was told of it last
        before = [at for at in changes if at <= moment]
        there = e.enrolled_at <= moment and (e.withdrawn_at is None or e.withdrawn_at > moment)
        if before and there and e.mandatory:
            done = e.completed_at is not None and e.completed_at <= moment
            answers[changes[max(before)]].append(done or not e.past_due(moment))
    return {department: sum(those) / len(those) for department, those in answers.items()}
