"""Enrollment over a real database, a clock that tests set, and short words for the facts other services tell."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from google.protobuf.message import Message

from enrollment.app import build
from enrollment.settings import Settings
from lyceum.assessment.v1.events_pb2 import ModuleCompleted
from lyceum.catalog.v1.events_pb2 import (
    CourseDeprecated,
    CoursePublished,
    Module,
    ModuleKind,
    PathItem,
    PathPublished,
)
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.delivery import Delivery, emitted
from lyceum_kit.service import Service
from lyceum_kit.testing import TestKeys, client
from lyceum_kit.timers import Timers

TENANT = UUID("01990000-0000-7000-8000-000000000001")
OTHER = UUID("01990000-0000-7000-8000-000000000002")
MORNING = datetime(2026, 11, 24, 8, tzinfo=UTC)
MONTH_LATER = timedelta(days=31)


def numbered(n: int) -> str:
    """A readable id."""
    return f"01990000-0000-7000-8000-{n:012x}"


ADA, GRACE, HANS, ROOT = numbered(0xAD), numbered(0xAC), numbered(0xAB), numbered(0xAA)
SECURITY, ONBOARDING, PITCHING = numbered(0xC1), numbered(0xC2), numbered(0xC3)
ENGINEERING_PATH = numbered(0xF1)


@dataclass
class Names:
    """Stands in for identity."""

    asked: list[str] = field(default_factory=list[str])

    async def of(self, tenant: UUID, ids: Sequence[str]) -> Mapping[str, str]:
        self.asked += ids
        return {i: f"Person {i[-4:]}" for i in ids}


@dataclass
class Clock:
    now: datetime = MORNING

    def __call__(self) -> datetime:
        return self.now


def course(course_id: str, version: int = 1, modules: int = 1, title: str = "") -> CoursePublished:
    return CoursePublished(
        course_id=course_id,
        course_version=version,
        title=title or f"Course {course_id[-2:]}",
        slug=f"course-{course_id[-2:]}",
        modules=[
            Module(module_id=f"m{n}", title=f"Module {n}", kind=ModuleKind.MODULE_KIND_READING)
            for n in range(1, modules + 1)
        ],
    )


def path_of(path_id: str, *items: tuple[str, Sequence[str]], version: int = 1) -> PathPublished:
    return PathPublished(
        path_id=path_id,
        path_version=version,
        title="Engineering Onboarding",
        slug="engineering-onboarding",
        items=[PathItem(course_id=c, prerequisite_course_ids=after) for c, after in items],
    )


def job(department: str = "Engineering", **more: str) -> identity.Job:
    given = {"location": "Berlin", "hire_date": "2026-11-24", "time_zone": "Europe/Berlin", **more}
    return identity.Job(department=department, **given)


@dataclass
class Enrollment:
    """A running enrollment and everybody around it."""

    service: Service
    keys: TestKeys
    clock: Clock
    names: Names
    tenant: UUID = TENANT

    def __post_init__(self) -> None:
        self.deliver = Delivery(self.service)
        assert self.service.ledger
        self.ledger = self.service.ledger
        self.timers = Timers(self.ledger, self.service.timers)

    def as_(
        self, *roles: str, subject: str = ROOT, tenant: UUID = TENANT, kind: Any = "person"
    ) -> httpx.AsyncClient:
        token = self.keys.token(tenant=tenant, subject=subject, roles=roles, kind=kind)
        return client(self.service, token=token)

    async def tell(self, *messages: Message) -> None:
        """Deliver facts, each of them twice: the second time as a fact of its own."""
        for message in messages:
            await self.deliver.again(message, tenant=self.tenant, stream=self._stream(message))

    @staticmethod
    def _stream(message: Any) -> str:
        match message:
            case CoursePublished() | CourseDeprecated():
                return f"course/{message.course_id}"
            case PathPublished():
                return f"path/{message.path_id}"
            case ModuleCompleted():
                return f"attempt/{message.attempt_id}"
            case identity.TenantCreated():
                return f"tenant/{message.tenant_id}"
            case _:
                return f"person/{message.person_id}"

    async def hire(self, person_id: str, department: str = "Engineering", **more: str) -> None:
        active = identity.EMPLOYMENT_STATUS_ACTIVE
        await self.tell(
            identity.UserProvisioned(person_id=person_id, status=active, job=job(department, **more))
        )

    async def move(self, person_id: str, department: str, **more: str) -> None:
        active = identity.EMPLOYMENT_STATUS_ACTIVE
        await self.tell(identity.UserUpdated(person_id=person_id, status=active, job=job(department, **more)))

    async def leave(self, person_id: str) -> None:
        await self.tell(identity.UserDeactivated(person_id=person_id, reason="resigned"))

    async def erase(self, person_id: str) -> None:
        await self.tell(identity.UserErased(person_id=person_id, reason="requested"))

    async def rehire(self, person_id: str, department: str = "Engineering", **more: str) -> None:
        active = identity.EMPLOYMENT_STATUS_ACTIVE
        await self.tell(
            identity.UserReactivated(person_id=person_id, status=active, job=job(department, **more))
        )

    async def finish(self, enrollment: Mapping[str, Any], module_id: str, **more: Any) -> None:
        await self.tell(
            ModuleCompleted(
                attempt_id=str(uuid4()),
                enrollment_id=enrollment["enrollment_id"],
                person_id=enrollment["person_id"],
                course_id=enrollment["course_id"],
                module_id=module_id,
                outcome="completed",
                assurance=more.pop("assurance", "self-reported"),
                completed_at=more.pop("completed_at", self.clock.now),
                **more,
            )
        )

    async def rule(self, **said: Any) -> str:
        """Write and activate a rule, and let it pass over everybody."""
        rule_id = await self.draft(**said)
        await self.activate(rule_id)
        return rule_id

    async def draft(self, **said: Any) -> str:
        body = {"name": "Engineering basics", "condition": is_("department", "Engineering"), **said}
        async with self.as_("admin") as http:
            answer = await http.post("/api/enrollment/rules", json=body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["rule_id"])

    async def activate(self, rule_id: str) -> None:
        async with self.as_("admin") as http:
            answer = await http.post(f"/api/enrollment/rules/{rule_id}/activate")
        assert answer.status_code == 200, answer.text
        await self.settle()

    async def settle(self) -> None:
        """Run every timer that is due."""
        await self.timers.run_due()
        assert (await self.timers.status())["late"] == 0

    async def has(self, person_id: str) -> dict[str, dict[str, Any]]:
        """The person's enrolments by course."""
        async with self.as_("admin") as http:
            answer = await http.get("/api/enrollment/enrollments", params={"person_id": person_id})
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        assert len({i["course_id"] for i in items}) == len(items)
        return {i["course_id"]: i for i in items}

    async def said(self, stream: str | None = None) -> list[str]:
        """The names of the events appended."""
        return [m.DESCRIPTOR.name for m in await emitted(self.ledger, self.tenant, stream)]


def is_(attribute: str, value: str) -> dict[str, Any]:
    return {"attribute": attribute, "operator": "is", "value": value}


@pytest.fixture
async def enrollment(database: Callable[[str], Awaitable[Any]]) -> AsyncIterator[Enrollment]:
    made = await database("enrollment")
    keys, clock, names = TestKeys(), Clock(), Names()
    settings = Settings(database_url=made.app_url, enrollment_chunk=3)
    service = build(settings, clock=clock, verifier=keys.verifier, names=names)
    yield Enrollment(service, keys, clock, names)
    assert service.ledger
    await service.ledger.close()


@pytest.fixture
async def school(enrollment: Enrollment) -> Enrollment:
    """With courses and a path: security before onboarding."""
    await enrollment.tell(
        course(SECURITY, modules=2, title="Security Protocols 101"),
        course(ONBOARDING, title="How we work"),
        course(PITCHING, title="Pitching"),
        path_of(ENGINEERING_PATH, (SECURITY, ()), (ONBOARDING, (SECURITY,))),
    )
    return enrollment


@pytest.fixture
def ids() -> Callable[[int], str]:
    return numbered


@pytest.fixture
def facts() -> Any:
    """The builders above, for tests: conftest cannot be imported."""

    class Facts:
        course = staticmethod(course)
        path_of = staticmethod(path_of)
        job = staticmethod(job)
        is_ = staticmethod(is_)

    return Facts
