"""The twenty questions of docs/guides/twenty-questions.md, asked of the demo and counted again from the ledgers."""

# pyright: reportUnknownMemberType=false
# (clickhouse_connect is annotated in part only)

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import mean, median
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from lyceum.catalog.v1 import events_pb2 as catalog
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_local.demo.numbers import Outcome
from lyceum_local.postgres import with_database
from lyceum_local.testing import Platform, operators_sql

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "twenty-questions.md"
ASKED = re.findall(r"^### (\d+)\. ([^\n]+)\n.*?```sql\n(.+?)```", PAGE.read_text(), re.M | re.S)
kinds: Any = catalog.ModuleKind  # its stubs want another type than its fields have
AT_WORK = ("active", "on_leave")

Row = Mapping[str, Any]
Rows = list[list[Any]]


@dataclass(frozen=True)
class Ledgers:
    """What the services' own tables hold of one organisation. A course's row is its newest published version."""

    people: Sequence[Row]
    stays: Sequence[Row]  # in a department: what identity's events say, one after the other
    courses: Sequence[Row]
    enrollments: Sequence[Row]
    attempts: Sequence[Row]
    certificates: Sequence[Row]

    @property
    def titles(self) -> dict[str, str]:
        return {c["course_id"]: c["title"] for c in self.courses}

    def department(self, person_id: str) -> str:
        return next((p["department"] for p in self.people if p["person_id"] == person_id), "")

    def done(self) -> list[Row]:
        return [e for e in self.enrollments if e["state"] == "completed"]

    def overdue(self) -> list[Row]:
        now = datetime.now(UTC)
        return [e for e in self.enrollments if e["state"] == "active" and e["due_at"] and e["due_at"] < now]

    def by_course(self, rows: Iterable[Row]) -> dict[str, list[Row]]:
        """By title; of a course that is not there, nothing."""
        return _grouped((self.titles[r["course_id"]], r) for r in rows if r["course_id"] in self.titles)

    def by_department(self, rows: Iterable[Row]) -> dict[str, list[Row]]:
        return _grouped((self.department(r["person_id"]), r) for r in rows)


def _grouped(pairs: Iterable[tuple[str, Row]]) -> dict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for key, row in pairs:
        found[key].append(row)
    return dict(sorted(found.items()))


PEOPLE = "SELECT person_id, status, department, manager_id, hire_date FROM people WHERE tenant = $1"
HISTORY = (
    "SELECT type, data FROM events WHERE tenant = $1 AND stream LIKE 'person/%' ORDER BY stream, version"
)
COURSES = """
    SELECT DISTINCT ON (c.course_id) c.course_id, v.published FROM courses c JOIN course_versions v USING (tenant, course_id)
    WHERE c.tenant = $1 AND NOT c.deprecated ORDER BY c.course_id, v.version DESC"""
ENROLLMENTS = """
    SELECT e.enrollment_id, e.person_id, e.course_id, e.state, e.due_at, e.enrolled_at, e.completed_at,
           (SELECT bool_and(m.assurance = 'server-graded') FROM module_progress m
             WHERE m.tenant = e.tenant AND m.enrollment_id = e.enrollment_id) AS graded
    FROM enrollments e WHERE e.tenant = $1"""
GROUNDS = """
    SELECT type, data FROM events WHERE tenant = $1 AND type LIKE ANY
      (ARRAY['%.LearnerEnrolled', '%.GroundAdded', '%.EnrollmentResumed'])"""
ATTEMPTS = """
    SELECT kind, enrollment_id, person_id, course_id, module_id, number, state, score FROM attempts
    WHERE tenant = $1 AND state <> 'launched'"""
CERTIFICATES = "SELECT course_id, revoked_at FROM certificates WHERE tenant = $1"


async def read(platform: Platform, tenant: str) -> Ledgers:
    async def of(service: str, query: str) -> list[Row]:
        connection = await asyncpg.connect(with_database(platform.config.postgres_url, service))
        try:
            return [_plain(dict(row)) for row in await connection.fetch(query, tenant)]
        finally:
            await connection.close()

    demanded = _demanded(await of("enrollment", GROUNDS))
    return Ledgers(
        people=await of("identity", PEOPLE),
        stays=_stays(await of("identity", HISTORY)),
        courses=[_course(row) for row in await of("catalog", COURSES)],
        enrollments=[
            {**row, "mandatory": row["enrollment_id"] in demanded}
            for row in await of("enrollment", ENROLLMENTS)
        ],
        attempts=await of("assessment", ATTEMPTS),
        certificates=await of("assessment", CERTIFICATES),
    )


def _plain(row: Row) -> Row:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}


def _stays(events: Iterable[Row]) -> list[Row]:
    """Where each person was from when on, as their stream tells it."""
    found: list[Row] = []
    for event in events:
        match event["type"].rpartition(".")[2]:
            case "UserProvisioned" | "UserUpdated" | "UserReactivated" as name:
                said = getattr(identity, name).FromString(event["data"])
                department = said.job.department
            case "UserDeactivated":
                said, department = identity.UserDeactivated.FromString(event["data"]), ""
            case _:
                continue
        at = said.effective_at.ToDatetime(UTC)
        found.append({"person_id": said.person_id, "department": department, "at": at})
    return found


def _demanded(events: Iterable[Row]) -> set[str]:
    """The enrolments that ever had a ground which is not the learner's own wish."""
    said = [getattr(enrollment, e["type"].rpartition(".")[2]).FromString(e["data"]) for e in events]
    return {m.enrollment_id for m in said if m.ground.kind != enrollment.GROUND_KIND_SELF}


def _course(row: Row) -> Row:
    said = catalog.CoursePublished.FromString(row["published"])
    names = ("title", "language", "duration_minutes", "certifying")
    modules = [
        (m.module_id, m.title, kinds.Name(m.kind).removeprefix("MODULE_KIND_").lower()) for m in said.modules
    ]
    return {"course_id": row["course_id"], "modules": modules} | {name: getattr(said, name) for name in names}


# ---- the answers, in plain Python. Each gets the ledgers and the course that question 19 asks about


def departments(it: Ledgers, _: str) -> Rows:
    return _counted(p["department"] for p in it.people if p["status"] in AT_WORK)


def hires(it: Ledgers, _: str) -> Rows:
    return _counted(p["hire_date"][:7] for p in it.people if p["status"] in AT_WORK and p["hire_date"])


def managers(it: Ledgers, _: str) -> Rows:
    rows = _counted(p["manager_id"] for p in it.people if p["status"] in AT_WORK and p["manager_id"])
    return sorted(rows, key=lambda row: (-row[1], row[0]))


def offered(it: Ledgers, _: str) -> Rows:
    return sorted(
        [c["title"], c["language"], c["duration_minutes"], len(c["modules"]), c["certifying"]]
        for c in it.courses
    )


def modules(it: Ledgers, _: str) -> Rows:
    return sorted(
        [c["title"], n, title, kind]
        for c in it.courses
        for n, (_id, title, kind) in enumerate(c["modules"], 1)
    )


def states(it: Ledgers, _: str) -> Rows:
    counts = {course: Counter(e["state"] for e in of) for course, of in it.by_course(it.enrollments).items()}
    return [[course, n["active"], n["completed"], n["withdrawn"]] for course, n in counts.items()]


def completion_rate(it: Ledgers, _: str) -> Rows:
    kept = it.by_course(e for e in it.enrollments if e["state"] != "withdrawn")
    return [[course, mean(e["state"] == "completed" for e in of)] for course, of in kept.items()]


def months(it: Ledgers, _: str) -> Rows:
    by_month = _grouped((f"{e['completed_at'].astimezone(UTC):%Y-%m}", e) for e in it.done())
    return [[month, len({e["person_id"] for e in of}), len(of)] for month, of in by_month.items()]


def seconds(it: Ledgers, _: str) -> Rows:
    return [
        [course, median(int((e["completed_at"] - e["enrolled_at"]).total_seconds()) for e in of)]
        for course, of in it.by_course(it.done()).items()
    ]


def assurance(it: Ledgers, _: str) -> Rows:
    return _counted("server-graded" if e["graded"] else "self-reported" for e in it.done())


def departments_then(it: Ledgers, _: str) -> Rows:
    def there(e: Row) -> str | None:
        stays = [s for s in it.stays if s["person_id"] == e["person_id"] and s["at"] <= e["completed_at"]]
        return stays[-1]["department"] if stays else None

    return _counted(where for e in it.done() if (where := there(e)) is not None)


def not_begun(it: Ledgers, _: str) -> Rows:
    begun = {a["enrollment_id"] for a in it.attempts}
    return _counted(
        e["person_id"]
        for e in it.enrollments
        if e["state"] == "active" and e["mandatory"] and e["enrollment_id"] not in begun
    )


def compliance(it: Ledgers, _: str) -> Rows:
    late = {e["enrollment_id"] for e in it.overdue()}
    duties = it.by_department(e for e in it.enrollments if e["mandatory"] and e["state"] != "withdrawn")
    return [[where, mean(e["enrollment_id"] not in late for e in of)] for where, of in duties.items()]


def late(it: Ledgers, _: str) -> Rows:
    by_person = _grouped((e["person_id"], e) for e in it.overdue())
    rows = [[person, len(of), min(e["due_at"] for e in of)] for person, of in by_person.items()]
    return sorted(rows, key=lambda row: (row[2], row[0]))


def falling_due(it: Ledgers, _: str) -> Rows:
    now = datetime.now(UTC)
    soon = [
        e
        for e in it.enrollments
        if e["state"] == "active" and e["due_at"] and now <= e["due_at"] < now + timedelta(days=30)
    ]
    return [[course, len(of), min(e["due_at"] for e in of)] for course, of in it.by_course(soon).items()]


def on_time(it: Ledgers, _: str) -> Rows:
    dated = it.by_department(e for e in it.done() if e["due_at"])
    return [[where, mean(e["completed_at"] <= e["due_at"] for e in of)] for where, of in dated.items()]


def first_attempts(it: Ledgers, _: str) -> Rows:
    first = [a for a in it.attempts if _graded(a) and a["number"] == 1]
    return [
        [course, len(of), mean(a["state"] == "passed" for a in of), mean(a["score"] for a in of)]
        for course, of in it.by_course(first).items()
    ]


def attempts_needed(it: Ledgers, _: str) -> Rows:
    return _counted(a["number"] for a in it.attempts if _graded(a) and a["state"] == "passed")


def drop_off(it: Ledgers, course_id: str) -> Rows:
    rows: Rows = []
    for course in (c for c in it.courses if c["course_id"] == course_id):
        for n, (module_id, title, _kind) in enumerate(course["modules"], 1):
            tried = [a for a in it.attempts if (a["course_id"], a["module_id"]) == (course_id, module_id)]
            finished = {a["enrollment_id"] for a in tried if a["state"] in ("completed", "passed")}
            rows.append([n, title, len({a["enrollment_id"] for a in tried}), len(finished)])
    return rows


def certificates(it: Ledgers, _: str) -> Rows:
    return [
        [course, sum(not c["revoked_at"] for c in of), sum(bool(c["revoked_at"]) for c in of)]
        for course, of in it.by_course(it.certificates).items()
    ]


def _graded(attempt: Row) -> bool:
    return attempt["kind"] == "quiz" and attempt["state"] in ("passed", "failed")


def _counted(keys: Iterable[Any]) -> Rows:
    return [[key, n] for key, n in sorted(Counter(keys).items())]


ANSWERS: tuple[Callable[[Ledgers, str], Rows], ...] = (
    departments,
    hires,
    managers,
    offered,
    modules,
    states,
    completion_rate,
    months,
    seconds,
    assurance,
    departments_then,
    not_begun,
    compliance,
    late,
    falling_due,
    on_time,
    first_attempts,
    attempts_needed,
    drop_off,
    certificates,
)


# ---- the questions


@dataclass(frozen=True)
class Demo:
    ledgers: Ledgers
    course: str
    told: Mapping[int, Rows]  # what ClickHouse answers, by the question's number


@pytest.fixture(scope="module")
async def demo(platform: Platform, played: Outcome) -> Demo:
    async with platform.as_person(played.ids["people"]["robin"]) as robin:
        tenant = (await robin.get("/api/identity/me")).raise_for_status().json()["tenant_id"]
    course = played.ids["courses"]["security-protocols-101"]
    values = {"tenant": tenant, "course": course}
    with operators_sql(platform.config) as client:
        told = {int(n): same(client.query(sql, parameters=values).result_rows) for n, _, sql in ASKED}
    return Demo(await read(platform, tenant), course, told)


def same(rows: Iterable[Iterable[Any]]) -> Rows:
    """Rows as two engines would write them alike: the last digits of a mean depend on the order of adding."""

    def value(it: Any) -> Any:
        return round(it, 6) if isinstance(it, int | float) else it if isinstance(it, datetime) else str(it)

    return [[value(cell) for cell in row] for row in rows]


def test_there_are_twenty() -> None:
    assert [int(n) for n, _, _ in ASKED] == list(range(1, 21))
    assert len(ANSWERS) == 20


@pytest.mark.parametrize("number", range(1, 21))
def test_clickhouse_says_what_the_ledgers_say(number: int, demo: Demo) -> None:
    assert demo.told[number]
    assert demo.told[number] == same(ANSWERS[number - 1](demo.ledgers, demo.course))


@pytest.mark.parametrize("number", range(1, 21))
def test_a_row_that_the_ledgers_lose_is_noticed(number: int, demo: Demo) -> None:
    """The control: some row of some table counts in every question."""

    def without_one() -> Iterable[Ledgers]:
        for table in (field.name for field in dataclasses.fields(Ledgers)):
            rows: Sequence[Row] = getattr(demo.ledgers, table)
            for n in range(len(rows)):
                yield dataclasses.replace(demo.ledgers, **{table: [*rows[:n], *rows[n + 1 :]]})

    answer = ANSWERS[number - 1]
    assert any(same(answer(it, demo.course)) != demo.told[number] for it in without_one())
