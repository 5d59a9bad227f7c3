"""Every number on a dashboard, against a recount of the same events in plain Python."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analytics import metrics, store
from analytics.consumers import Consumption
from analytics.engine import Engine
from analytics.projections import COLUMNS, table
from analytics.settings import Settings
from lyceum.assessment.v1 import events_pb2 as assessment
from lyceum.catalog.v1 import events_pb2 as catalog
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.envelope import Record, decode
from lyceum_kit.errors import NotFound
from lyceum_kit.topics import feeds

US, THEM, NOBODY = UUID(int=1), UUID(int=2), UUID(int=3)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


# Histories: what people do at random, as far as services would let them. Ids are the same in both tenants, so
# that whatever forgets the tenant counts too much.


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


# The recount: plain Python over the events. It knows what the metrics' sentences say, and no table.


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


# The tests

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUESTIONS = dict(re.findall(r"```sql\n-- ([^\n]+)\n(.*?)```", README, re.DOTALL))
AT_A_MOMENT = "What was the compliance of each department at a moment, by where people worked then?"
NO_HURRY = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)


async def tell(history: Sequence[Told], ledgers: Any, consumption: Consumption, dice: Random) -> list[Record]:
    """Into the ledgers, an hour after each other; then to analytics, doubled, in any order."""
    for n, told in enumerate(history):
        at = NOW + timedelta(hours=n - len(history))
        ledgers.append(told.tenant, told.stream, told.message, key=told.key, at=at)
    waiting = ledgers.all() * 2
    dice.shuffle(waiting)
    half = len(waiting) // 2
    for batch in (waiting[:half], waiting[half:]):
        await consumption.intake.process(batch)
    return ledgers.all()


@hypothesis_settings(max_examples=6, deadline=None, suppress_health_check=NO_HURRY)
@given(history=HISTORIES, dice=st.randoms(use_true_random=False), days=st.integers(-30, 30))
async def test_every_metric_equals_a_recount(
    one_engine: Engine, settings: Settings, history: list[Told], dice: Random, days: int, new_ledgers: Any
) -> None:
    for feed in COLUMNS:
        await one_engine.command(f"TRUNCATE TABLE {table(feed)}")
    ledgers = new_ledgers()
    records = await tell(history, ledgers, Consumption(settings, one_engine, ledgers), dice)
    now = NOW + timedelta(days=days)
    school = recount(records, US)
    for name, metric in metrics.METRICS.items():
        by = dice.choice(metrics.DIMENSIONS)
        found = await store.metric_by(one_engine, US, metric, by, now, {})
        said = {f.answer.key: (f.answer.numerator, f.answer.denominator) for f in found}
        assert said == expected(school, name, by, now), (name, by)
    for tenant in (US, THEM):
        theirs = recount(records, tenant)
        for name, answer in (await store.totals(one_engine, tenant, now, {})).items():
            total = value_of(name, rows_of(theirs, name), now)
            assert (answer.numerator, answer.denominator) == total, name
    await same_drop_off(one_engine, "c1", dice.choice([0, 1, 2]), school)
    rows = await one_engine.query(QUESTIONS[AT_A_MOMENT], {"tenant": US, "at": now})
    assert {row["department"]: row["compliance"] for row in rows} == compliance_at(school, now)
    for day in await store.trend(one_engine, US, NOW.date(), 30, {}):
        done = [e.completed_at for e in school.enrollments.values() if e.completed_at]
        assert day.enrolled == sum(e.enrolled_at.date() == day.day for e in school.enrollments.values())
        assert day.completed == sum(at.date() == day.day for at in done)


async def test_what_was_chosen_and_then_demanded_is_mandatory(
    engine: Engine, settings: Settings, ledgers: Any
) -> None:
    wish, rule = enrollment.GROUND_KIND_SELF, enrollment.GROUND_KIND_RULE
    for name, later in (("chosen", wish), ("demanded", rule)):
        begun = enrollment.LearnerEnrolled(enrollment_id=name, person_id="p", course_id="c")
        begun.ground.kind = wish
        ledgers.append(US, f"enrollment/{name}", begun, key="p")
        added = enrollment.GroundAdded(enrollment_id=name, person_id="p")
        added.ground.kind = later
        ledgers.append(US, f"enrollment/{name}", added, key="p")
    await Consumption(settings, engine, ledgers).intake.process(ledgers.all())
    rows = await engine.query("SELECT enrollment_id, mandatory FROM v1_enrollments")
    assert {row["enrollment_id"]: row["mandatory"] for row in rows} == {"chosen": 0, "demanded": 1}


async def same_drop_off(engine: Engine, course: str, version: int, school: School) -> None:
    enrolled, modules = expected_drop_off(school, course, version)
    try:
        found = await store.drop_off(engine, US, course, version)
    except NotFound:
        assert (enrolled, modules) == (0, [])
        return
    assert (found.enrolled, [(m.module_id, m.title, m.started, m.completed) for m in found.modules]) == (
        enrolled,
        modules,
    )
