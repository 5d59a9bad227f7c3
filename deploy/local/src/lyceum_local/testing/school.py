"""For tests of the whole: an organisation with our own courses, and the HR system that hires its people."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import httpx

from identity.signatures import sign_standard
from lyceum_local.demo import lessons, publishing
from lyceum_local.demo.api import client_api
from lyceum_local.testing import Platform, Tenant

LESSONS = lessons.read(publishing.CONTENT)

T = TypeVar("T")


@dataclass
class School:
    """`api` is the organisation's API client: HR, author and administrator. Courses and paths are by slug."""

    platform: Platform
    tenant: Tenant
    api: httpx.AsyncClient
    webhook: Mapping[str, str]
    courses: dict[str, str] = field(default_factory=dict[str, str])
    paths: dict[str, str] = field(default_factory=dict[str, str])

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = await self.api.request(method, f"/api/{path}", json=body, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def hr(self, kind: str, **person: Any) -> httpx.Response:
        """HR's system delivers a webhook, signed as Standard Webhooks has it."""
        now = datetime.now(UTC)
        said = {"type": f"person.{kind}", "timestamp": now.isoformat(), "data": person}
        body = json.dumps(said).encode()
        headers = sign_standard(self.webhook["secret"], f"msg_{secrets.token_hex(8)}", now, body)
        headers["content-type"] = "application/json"
        async with self.platform.http() as anyone:
            answer = await anyone.post(self.webhook["url"], content=body, headers=headers)
        return answer.raise_for_status()

    async def hire(self, name: str, department: str, **more: Any) -> str:
        """A webhook for somebody who starts today; their person id."""
        today = str(datetime.now(ZoneInfo("Europe/Berlin")).date())
        person = {
            "external_id": name.partition(" ")[0].lower(),
            "display_name": name,
            "email": f"{secrets.token_hex(4)}@example.test",
            "department": department,
            "location": "Berlin",
            "hire_date": today,
            "effective_date": today,
            "employment_type": "employee",
        }
        await self.hr("created", **(person | more))
        found = await self.ask("GET", "identity/people", params={"search": name})
        return next(p["person_id"] for p in found["items"] if p["display_name"] == name)

    async def publish(self) -> None:
        """Everything in content/, as the demo's author does it: packages, quizzes, courses, paths."""

        def work() -> None:
            with httpx.Client(base_url=self.platform.config.app_origin, timeout=60, trust_env=False) as http:
                author = client_api(http, self.tenant.client_id, self.tenant.client_secret)
                packages = publishing.packages(author, _quietly)
                self.courses = publishing.courses(
                    author, _quietly, packages, publishing.quizzes(author, _quietly)
                )
                self.paths = publishing.paths(author, _quietly, self.courses)

        await asyncio.to_thread(work)

    async def upload(self, archive: bytes) -> str:
        """A package's id."""
        headers = {"content-type": "application/zip"}
        answer = await self.ask("POST", "catalog/packages", content=archive, headers=headers)
        return answer["package_id"]

    async def rule(
        self,
        name: str,
        condition: Mapping[str, Any],
        *,
        courses: Sequence[str] = (),
        paths: Sequence[str] = (),
        due_in_days: int | None = 30,
    ) -> str:
        """An active rule. Enrollment hears of courses by events: a moment after they are published."""
        draft = {
            "name": name,
            "condition": dict(condition),
            "course_ids": [self.courses[c] for c in courses],
            "path_ids": [self.paths[p] for p in paths],
            "due_in_days": due_in_days,
        }
        drafted = await until(
            lambda: self.api.post("/api/enrollment/rules", json=draft),
            lambda a: "unknown-target" not in a.text,
        )
        rule_id: str = drafted.raise_for_status().json()["rule_id"]
        await self.ask("POST", f"enrollment/rules/{rule_id}/activate")
        return rule_id

    async def enrol(self, person_id: str, course: str, **terms: Any) -> dict[str, Any]:
        """The enrolment with its modules, once enrollment has heard of both."""
        wanted = {"person_id": person_id, "course_id": self.courses[course]} | terms
        answer = await until(
            lambda: self.api.post("/api/enrollment/enrollments", json=wanted),
            lambda a: a.status_code not in (404, 422),
        )
        return answer.raise_for_status().json()

    async def study(self, person_id: str, course: str) -> None:
        """Read and answer, rightly, what the course consists of; whoever is not enrolled is enrolled."""
        mine = await self.enrol(person_id, course)
        async with self.platform.as_person(person_id) as api:
            for module in mine["modules"]:
                which = {"enrollment_id": mine["enrollment_id"], "module_id": module["module_id"]}
                if module["kind"] == "reading":
                    (await api.post("/api/assessment/readings", json=which)).raise_for_status()
                else:
                    await self._take(api, which)

    async def _take(self, api: httpx.AsyncClient, module: Mapping[str, str]) -> None:
        attempt = (await api.post("/api/assessment/attempts", json=module)).raise_for_status().json()
        path = f"/api/assessment/attempts/{attempt['attempt_id']}"
        for number, asked in enumerate(attempt["questions"], start=1):
            said = {"sequence": number, "answer": right_answer(LESSONS.questions[asked["question_id"]])}
            (await api.put(f"{path}/answers/{asked['question_id']}", json=said)).raise_for_status()
        result = (await api.post(f"{path}/submit")).raise_for_status().json()
        assert result["state"] == "passed"

    async def enrollments(self, **filters: str) -> list[dict[str, Any]]:
        answer = await self.ask("GET", "enrollment/enrollments", params={"limit": 200, **filters})
        return answer["items"]


@asynccontextmanager
async def open_school(platform: Platform) -> AsyncGenerator[School]:
    """A fresh organisation, nothing published and nobody hired yet."""
    tenant = await asyncio.to_thread(platform.tenant)
    async with platform.api(tenant) as api:
        hook = {"form": "standard", "name": "HR"}
        answer = (await api.post("/api/identity/webhooks", json=hook)).raise_for_status()
        yield School(platform, tenant, api, answer.json())


async def play(platform: Platform) -> None:
    """The story, from outside: HR hires, a rule enrols, Ada learns, is certified and counted."""
    engineering = {"attribute": "department", "operator": "is", "value": "Engineering"}
    async with open_school(platform) as school:
        await school.publish()
        await school.rule("Engineering", engineering, courses=["secure-coding-basics"])
        ada = await school.hire("Ada Lovelace", "Engineering")
        await school.hire("Nora Sales", "Sales")
        found = await until(lambda: school.enrollments(person_id=ada), lambda items: len(items) > 0)
        assert [e["course_slug"] for e in found] == ["secure-coding-basics"]
        await school.study(ada, "engineering-onboarding-assessment")

        async def certificates() -> list[dict[str, Any]]:
            async with platform.as_person(ada) as her:
                return (await her.get("/api/assessment/certificates")).raise_for_status().json()["items"]

        [certificate] = await until(certificates, lambda items: len(items) > 0)
        async with platform.http() as anyone:
            shown = await anyone.get(f"/verify/{certificate['certificate_id']}")
        assert shown.status_code == 200
        await platform.settled()
        overview = await school.ask("GET", "analytics/overview")
        assert (overview["enrolled"], overview["completed"]) == (2, 1)


async def until(ask: Callable[[], Awaitable[T]], holds: Callable[[T], bool], *, seconds: float = 30) -> T:
    """Ask again until it holds: what one service says travels to the others as events."""
    end = time.monotonic() + seconds
    while not holds(answer := await ask()):
        assert time.monotonic() < end, f"does not hold after {seconds} s: {answer!r}"
        await asyncio.sleep(0.1)
    return answer


def right_answer(question: Mapping[str, Any]) -> Any:
    right = [o["id"] for o in question.get("options", []) if o["correct"]]
    match question["type"]:
        case "multiple_choice":
            return right[0]
        case "multiple_response":
            return right
        case "numeric":
            return question["value"]
        case _:
            return question["accepted"][0]


def _quietly(step: str) -> None:
    """Nobody watches a test's author."""
