"""A whole assessment service over a real database, with people and enrolments that tests decide on."""

import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import httpx
import pytest

from assessment.app import build
from assessment.errors import UnknownEnrollment
from assessment.peers import Named, Standing
from assessment.settings import Settings
from lyceum.catalog.v1.events_pb2 import (
    MODULE_KIND_QUIZ,
    MODULE_KIND_READING,
    MODULE_KIND_SCORM12,
    CoursePublished,
    Module,
)
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum.identity.v1.events_pb2 import TenantCreated
from lyceum_kit.delivery import Delivery
from lyceum_kit.service import Service
from lyceum_kit.testing import TestKeys, client

TENANT = UUID("01990000-0000-7000-8000-000000000001")
OTHER_TENANT = UUID("01990000-0000-7000-8000-000000000002")
ADA, GRACE, LINUS = "ada", "grace", "linus"
PACKAGE = "01990000-0000-7000-8000-0000000000aa"
COURSE = "course-security"
ORIGIN = "http://127.0.0.1:8080"

QUIZ: dict[str, Any] = {
    "title": "Security check",
    "passing_score": 70,
    "time_limit_seconds": 600,
    "max_attempts": 2,
    "questions": [
        {
            "question_id": "phish",
            "type": "multiple_choice",
            "text": "A mail asks for your password. What now?",
            "options": [{"id": "a", "text": "Send it"}, {"id": "b", "text": "Report it", "correct": True}],
            "feedback": "Nobody needs your password.",
        },
        {
            "question_id": "safe",
            "type": "multiple_response",
            "text": "What keeps an account safe?",
            "options": [
                {"id": "a", "text": "A second factor", "correct": True},
                {"id": "b", "text": "A long passphrase", "correct": True},
                {"id": "c", "text": "The dog's name"},
            ],
        },
        {"question_id": "port", "type": "numeric", "text": "HTTPS speaks on port …", "value": 443},
        {
            "question_id": "who",
            "type": "short_text",
            "text": "Whom do you tell?",
            "accepted": ["the service desk"],
        },
    ],
}
RIGHT: dict[str, Any] = {"phish": "b", "safe": ["a", "b"], "port": 443, "who": " The  Service DESK"}


@dataclass
class FakePeople:
    known: dict[str, Named] = field(
        default_factory=lambda: {ADA: Named("Ada Łukasz 山田", GRACE), GRACE: Named("Grace Hopper")}
    )

    async def get(self, tenant: UUID, person_id: str) -> Named | None:
        return self.known.get(person_id) if tenant == TENANT else None


@dataclass
class FakeEnrollments:
    known: dict[str, Standing] = field(
        default_factory=lambda: {
            "e-ada": Standing("e-ada", ADA, COURSE, 1, open=True),
            "e-linus": Standing("e-linus", LINUS, COURSE, 1, open=True),
        }
    )

    async def get(self, tenant: UUID, enrollment_id: str) -> Standing:
        if tenant != TENANT or enrollment_id not in self.known:
            raise UnknownEnrollment
        return self.known[enrollment_id]

    def close(self, enrollment_id: str, why_not: str) -> None:
        self.known[enrollment_id] = replace(self.known[enrollment_id], open=False, why_not=why_not)


@dataclass
class Clock:
    now: datetime = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **by: float) -> None:
        self.now += timedelta(**by)


@dataclass
class World:
    service: Service
    keys: TestKeys
    people: FakePeople
    enrollments: FakeEnrollments
    clock: Clock
    deliver: Delivery
    http: httpx.AsyncClient

    def headers(self, person: str, *roles: str, tenant: UUID = TENANT) -> dict[str, str]:
        return self.keys.headers(tenant=tenant, subject=person, roles=roles or ("learner",))

    async def call(
        self, method: str, path: str, *, by: str = ADA, roles: tuple[str, ...] = (), **more: Any
    ) -> Any:
        return await self.http.request(
            method, f"/api/assessment{path}", headers=self.headers(by, *roles), **more
        )

    async def publish(
        self, *modules: Module, certifying: bool = True, course: str = COURSE
    ) -> CoursePublished:
        event = CoursePublished(
            course_id=course,
            course_version=1,
            title="Security Protocols 101",
            slug="security",
            summary="How to keep secrets",
            modules=modules,
            certifying=certifying,
            language="en",
        )
        await self.deliver(event, tenant=TENANT, stream=f"course/{course}")
        return event

    async def complete(self, enrollment_id: str = "e-ada", person: str = ADA, course: str = COURSE) -> None:
        event = CourseCompleted(
            enrollment_id=enrollment_id,
            person_id=person,
            course_id=course,
            course_version=1,
            assurance="server-graded",
        )
        event.completed_at.FromDatetime(self.clock())
        await self.deliver(event, tenant=TENANT, stream=f"enrollment/{enrollment_id}", key=person)

    async def lms(self, method: str, path: str, token: str, *, package: str = PACKAGE, **more: Any) -> Any:
        headers = {"authorization": f"Bearer {token}", "host": f"{package}.localhost:8081"}
        return await self.http.request(method, f"/__lms/{path}", headers=headers, **more)

    async def launch(self, module: str = "m-scorm", by: str = ADA, enrollment: str = "e-ada") -> str:
        answer = await self.call(
            "POST", "/launches", by=by, json={"enrollment_id": enrollment, "module_id": module}
        )
        assert answer.status_code == 201, answer.text
        return str(answer.json()["url"]).partition("#")[2]

    async def open(self, token: str) -> dict[str, Any]:
        answer = await self.lms("GET", "state", token)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def commit(
        self,
        token: str,
        session: int,
        sequence: int,
        status: str = "incomplete",
        *,
        finish: bool = False,
        **more: Any,
    ) -> Any:
        score = more.pop("score", None)
        core = {
            "lesson_status": status,
            "session_time": more.pop("time", "00:01:00"),
            "exit": more.pop("exit", ""),
            "score": {"raw": "" if score is None else str(score)},
        }
        cmi = {"core": core, "suspend_data": more.pop("suspend_data", "page=4")}
        body = {"session": session, "sequence": sequence, "finish": finish, "cmi": cmi, **more}
        return await self.lms("POST", "commit", token, json=body)

    async def quiz(self, **changes: Any) -> str:
        """A course with one quiz, published; the quiz's id."""
        answer = await self.call("POST", "/quizzes", by="eve", roles=("author",), json={**QUIZ, **changes})
        assert answer.status_code == 201, answer.text
        quiz_id = str(answer.json()["quiz_id"])
        await self.publish(Module(module_id="m-quiz", title="Check", kind=MODULE_KIND_QUIZ, quiz_id=quiz_id))
        return quiz_id

    async def start(self) -> dict[str, Any]:
        answer = await self.call("POST", "/attempts", json={"enrollment_id": "e-ada", "module_id": "m-quiz"})
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def answer(self, attempt_id: str, question: str, sequence: int, answer: Any, by: str = ADA) -> Any:
        path = f"/attempts/{attempt_id}/answers/{question}"
        return await self.call("PUT", path, by=by, json={"sequence": sequence, "answer": answer})

    async def submit(self, attempt_id: str, by: str = ADA) -> Any:
        return await self.call("POST", f"/attempts/{attempt_id}/submit", by=by)


@pytest.fixture
def scorm() -> Module:
    return Module(
        module_id="m-scorm",
        title="Golf",
        kind=MODULE_KIND_SCORM12,
        package_id=PACKAGE,
        launch_path="shared/launch.html",
        launch_data="lang=en",
    )


@pytest.fixture
def reading() -> Module:
    return Module(module_id="m-read", title="Read me", kind=MODULE_KIND_READING, text="# Hello")


@pytest.fixture
def names() -> SimpleNamespace:
    """What the tests of this folder call people and things."""
    return SimpleNamespace(
        TENANT=TENANT, OTHER_TENANT=OTHER_TENANT, ADA=ADA, GRACE=GRACE, LINUS=LINUS, PACKAGE=PACKAGE,
        COURSE=COURSE, ORIGIN=ORIGIN, QUIZ=QUIZ, RIGHT=RIGHT,
    )  # fmt: skip


@pytest.fixture
def origins() -> dict[str, str]:
    """Settings of where browsers find things; a test with a real browser brings its own."""
    return {"app_origin": ORIGIN}


@pytest.fixture
async def world(database: Callable[[str], Awaitable[Any]], origins: dict[str, str]) -> AsyncIterator[World]:
    urls = await database("assessment")
    settings = Settings.model_validate(
        {
            "database_url": urls.app_url,
            "edition": "local",
            "assessment_master_key": base64.b64encode(b"k" * 32).decode(),
            **origins,
        }
    )
    keys, people, enrollments, clock = TestKeys(), FakePeople(), FakeEnrollments(), Clock()
    service = build(settings, clock=clock, verifier=keys.verifier, people=people, enrollments=enrollments)
    assert service.ledger
    async with client(service) as http:
        world = World(service, keys, people, enrollments, clock, Delivery(service), http)
        await world.deliver(
            TenantCreated(tenant_id=str(TENANT), slug="analytical-engines", name="Analytical Engines"),
            tenant=TENANT,
            stream=f"tenant/{TENANT}",
        )
        yield world
    await service.ledger.close()
