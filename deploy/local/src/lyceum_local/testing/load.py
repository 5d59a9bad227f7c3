"""Load through the public APIs, and a book of what was answered: HR hires by webhook, people learn.

What was answered 2xx must be there afterwards, whatever broke meanwhile. What was not may be there or not, but once:
everybody asks again until they get an answer, as HR systems and browsers do.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from lyceum_local.testing import Platform, Tenant
from lyceum_local.testing.package import scorm12

TAKEN = {"200", "201", "202", "204"}
IN_FLIGHT = 8  # hires without an answer: on a slow machine HR waits, rather than pile up
PAGES = 4  # of the SCORM module; each is a commit
QUIZ: dict[str, Any] = {
    "title": "Load",
    "passing_score": 50,
    "questions": [
        {
            "question_id": "q",
            "type": "multiple_choice",
            "text": "Which one?",
            "options": [{"id": "a", "text": "This", "correct": True}, {"id": "b", "text": "That"}],
        }
    ],
}


class Over(Exception):
    """The load ends here."""


@dataclass
class Learner:
    """One person on the way through the course, as far as the platform has answered."""

    name: str
    person_id: str
    enrollment_id: str
    sent: int = 0  # the last page whose commit was sent …
    kept: int = 0  # … and whose commit was answered "true"
    passed: bool = False  # the quiz was handed in and found right


@dataclass
class Load:
    platform: Platform
    tenant: Tenant
    webhook_url: str
    webhook_secret: str
    course_id: str = ""
    scorm_id: str = ""
    quiz_id: str = ""
    sent: dict[str, str] = field(default_factory=dict[str, str])  # everybody HR spoke of: name → webhook id
    hired: set[str] = field(default_factory=set[str])  # of whom the platform said 2xx
    learners: dict[str, Learner] = field(default_factory=dict[str, Learner])  # by enrolment
    answers: Counter[str] = field(default_factory=Counter[str])
    refused: list[str] = field(default_factory=list[str])  # 503, with when to come again
    broken: list[str] = field(default_factory=list[str])  # neither 2xx nor a 503 that says when to come again
    slowest: float = 0.0  # seconds until an answer, of whatever kind
    _over: bool = False

    # ---- the load

    @asynccontextmanager
    async def running(self, *, hires: float, learners: int) -> AsyncGenerator[None]:
        """At most `hires` a second, and `learners` at once, until the end of the block. What was asked by then is waited
        for, but not asked again: a request that nobody waits for may have its effect whenever the server comes to it.
        """
        async with self.platform.api(self.tenant) as admin, self.platform.http() as http:
            tasks = [asyncio.create_task(self._hire_for_ever(http, hires))]
            tasks += [asyncio.create_task(self._learn_for_ever(admin)) for _ in range(learners)]
            try:
                yield
            finally:
                self._over = True
                outcomes = await asyncio.gather(*tasks, return_exceptions=True)
                self._over = False
                for outcome in outcomes:
                    if isinstance(outcome, Exception):
                        raise outcome

    async def until(self, reached: Callable[["Load"], bool], *, seconds: float = 120) -> None:
        async with asyncio.timeout(seconds):
            while not reached(self):  # noqa: ASYNC110 - any answer may change what it asks
                await asyncio.sleep(0.02)

    async def more_hired(self, count: int) -> None:
        goal = len(self.hired) + count
        await self.until(lambda it: len(it.hired) > goal)

    async def deliver_rest(self) -> None:
        """HR sends again what was never answered 2xx, the first of those while the platform comes up."""
        async with self.platform.http() as http:
            await asyncio.gather(*(self.hire(http, name) for name in self.sent.keys() - self.hired))

    async def _hire_for_ever(self, http: httpx.AsyncClient, per_second: float) -> None:
        room, number, due = asyncio.Semaphore(IN_FLIGHT), len(self.sent), time.monotonic()

        async def hire(name: str) -> None:
            with contextlib.suppress(Over):
                await self.hire(http, name)
            room.release()

        async with asyncio.TaskGroup() as group:
            while not self._over:
                due = max(due + 1 / per_second, time.monotonic() - 1)
                await asyncio.sleep(due - time.monotonic())
                await room.acquire()
                name = f"{'Nora' if number % 4 == 3 else 'Ada'} {number}"
                number += 1
                group.create_task(hire(name))

    async def hire(self, http: httpx.AsyncClient, name: str) -> None:
        """Every fourth, a Nora, goes to Sales, whom no rule enrols."""
        message = self.sent.setdefault(name, f"msg_{uuid4().hex}")
        data = {
            "external_id": name,
            "display_name": name,
            "department": "Sales" if name.startswith("Nora") else "Engineering",
        }
        body = {"type": "person.created", "timestamp": datetime.now(UTC).isoformat(), "data": data}
        raw = json.dumps(body).encode()

        async def deliver() -> httpx.Response:
            headers = signed(self.webhook_secret, message, raw)
            return await http.post(self.webhook_url, content=raw, headers=headers)

        await self._taken(deliver)
        self.hired.add(name)

    async def _learn_for_ever(self, admin: httpx.AsyncClient) -> None:
        with contextlib.suppress(Over):
            await self._learn_on(admin)

    async def _learn_on(self, admin: httpx.AsyncClient) -> None:
        while True:
            found = await self._taken(
                lambda: admin.get(
                    "/api/enrollment/enrollments",
                    params={"course_id": self.course_id, "state": "active", "limit": 200},
                )
            )
            new = [e for e in found["items"] if e["enrollment_id"] not in self.learners]
            if not new:
                await asyncio.sleep(0.1)
                continue
            learner = Learner("", new[0]["person_id"], new[0]["enrollment_id"])
            self.learners[learner.enrollment_id] = learner
            await self._learn(learner)

    async def _learn(self, learner: Learner) -> None:
        async with self.signed_in(learner) as http:
            token, session, _ = await self._open(http, learner)
            for page in range(1, PAGES + 1):
                learner.sent = page
                await self._commit(http, token, session, page)
                learner.kept = page
            module = {"enrollment_id": learner.enrollment_id, "module_id": self.quiz_id}
            sheet = await self._taken(lambda: http.post("/api/assessment/attempts", json=module))
            attempt = f"/api/assessment/attempts/{sheet['attempt_id']}"
            answer = {"sequence": 1, "answer": "a"}
            await self._taken(lambda: http.put(f"{attempt}/answers/q", json=answer))
            # Handed in before, and only the answer was lost: refused, and as good.
            await self._taken(lambda: http.post(f"{attempt}/submit"), also={409})
            learner.passed = True

    @asynccontextmanager
    async def signed_in(self, learner: Learner) -> AsyncGenerator[httpx.AsyncClient]:
        async with self.platform.http() as http:
            http.headers["origin"] = self.platform.config.app_origin
            persona = {"person_id": learner.person_id}
            await self._taken(lambda: http.post("/api/identity/sessions", json=persona))
            token = await self._taken(lambda: http.post("/api/identity/token"))
            http.headers["authorization"] = f"Bearer {token['access_token']}"
            yield http

    async def _open(self, http: httpx.AsyncClient, learner: Learner) -> tuple[dict[str, str], int, str]:
        """Headers that speak for the attempt, its session, and where the learner was."""
        module = {"enrollment_id": learner.enrollment_id, "module_id": self.scorm_id}
        launched = await self._taken(lambda: http.post("/api/assessment/launches", json=module))
        url, _, token = launched["url"].partition("#")
        headers = {"host": httpx.URL(url).netloc.decode(), "authorization": f"Bearer {token}"}
        state = await self._taken(lambda: http.get(self._lms("state"), headers=headers))
        return headers, state["session"], state["cmi"]["core"].get("lesson_location", "")

    async def _commit(
        self, http: httpx.AsyncClient, headers: dict[str, str], session: int, page: int
    ) -> None:
        last = page == PAGES
        core = {
            "lesson_location": str(page),
            "lesson_status": "completed" if last else "incomplete",
            "session_time": "00:00:30",
            "exit": "" if last else "suspend",
        }
        body = {"session": session, "sequence": page, "finish": last, "cmi": {"core": core}}
        await self._taken(lambda: http.post(self._lms("commit"), headers=headers, json=body))

    def _lms(self, what: str) -> str:
        return f"http://127.0.0.1:{self.platform.config.ports['content']}/__lms/{what}"

    async def _taken(
        self, send: Callable[[], Awaitable[httpx.Response]], *, also: frozenset[int] | set[int] = frozenset()
    ) -> Any:
        """Ask until it is answered 2xx; the answer. Notes what breaks the promise of every other answer."""
        while True:
            if self._over:
                raise Over
            began = time.monotonic()
            try:
                answer = await send()
            except httpx.TransportError as e:  # cut: nobody said anything
                self.answers[type(e).__name__] += 1
            else:
                self.answers[str(answer.status_code)] += 1
                if answer.is_success or answer.status_code in also:
                    return answer.json() if answer.content else None
                well = answer.status_code == 503 and answer.headers.get("retry-after", "").isdigit()
                (self.refused if well else self.broken).append(
                    f"{answer.request.method} {answer.request.url.path}:"
                    f" {answer.status_code} {answer.headers.get('retry-after')} {answer.text[:300]}"
                )
            finally:
                self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.3)

    # ---- the book

    async def discrepancies(self) -> list[str]:
        """What was answered 2xx and is not there, or is there twice, or was never asked for.

        It opens modules to see where their learners are, which is an event: audit the ledgers before.
        """
        async with self.platform.api(self.tenant) as admin:
            people = await every(admin, "/api/identity/people")
            enrollments = await every(admin, "/api/enrollment/enrollments", course_id=self.course_id)
            overview = (await admin.get("/api/analytics/overview")).raise_for_status().json()
        name_of = {p["person_id"]: p["display_name"] for p in people}
        wrong = _once("person", Counter(name_of.values()), self.hired, may=self.sent.keys() | {"Robin Admin"})
        must = {name for name in name_of.values() if name.startswith("Ada")}
        wrong += _once("enrolment", Counter(name_of[e["person_id"]] for e in enrollments), must, may=must)
        completed = {e["enrollment_id"] for e in enrollments if e["state"] == "completed"}
        if (overview["enrolled"], overview["completed"]) != (len(enrollments), len(completed)):
            wrong.append(f"the dashboard says {overview}, not {len(enrollments)} and {len(completed)}")
        for learner in self.learners.values():
            wrong += await self._of_learner(learner, completed)
        return wrong

    async def _of_learner(self, learner: Learner, completed: set[str]) -> list[str]:
        wrong: list[str] = []
        async with self.signed_in(learner) as http:
            certificates = await every(http, "/api/assessment/certificates")
            _, _, location = await self._open(http, learner)
        at = int(location or 0)
        if not learner.kept <= at <= learner.sent:
            wrong.append(f"{learner}: is on page {at}")
        done = learner.enrollment_id in completed
        if learner.passed and not done:
            wrong.append(f"{learner}: the course is not complete")
        if len(certificates) != int(done):
            wrong.append(f"{learner}: {len(certificates)} certificates")
        return wrong


def _once(what: str, found: Counter[str], must: set[str], *, may: set[str]) -> list[str]:
    wrong = [f"no {what} of {name}" for name in sorted(must - found.keys())]
    wrong += [f"{n} times the {what} of {name}" for name, n in sorted(found.items()) if n > 1]
    return wrong + [f"a {what} of {name}, whom nobody sent" for name in sorted(found.keys() - may)]


async def every(http: httpx.AsyncClient, path: str, **parameters: str) -> list[dict[str, Any]]:
    """All pages of a list."""
    items: list[dict[str, Any]] = []
    after = ""
    while True:
        wanted = {"limit": "200", **parameters, **({"after": after} if after else {})}
        page = (await http.get(path, params=wanted)).raise_for_status().json()
        items += page["items"]
        after = page.get("next") or ""
        if not after:
            return items


def signed(secret: str, message: str, body: bytes) -> dict[str, str]:
    """The headers of a Standard Webhook."""
    at = str(int(time.time()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signature = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }


async def prepare(platform: Platform) -> Load:
    """An organisation with a course (a SCORM module, then a quiz) that a rule gives to all of Engineering."""
    tenant = await asyncio.to_thread(platform.tenant)
    endpoint = {"form": "standard", "name": "HR", "tenant_slug": tenant.slug}
    hook = await asyncio.to_thread(lambda: platform.operator.call("POST", "/api/identity/webhooks", endpoint))
    load = Load(platform, tenant, hook["url"], hook["secret"])
    async with platform.api(tenant) as api:

        async def post(path: str, body: Any = None, **more: Any) -> Any:
            answer = (await api.post(path, json=body, **more)).raise_for_status()
            return answer.json() if answer.content else None

        package = await post("/api/catalog/packages", content=scorm12("Load"))
        quiz = await post("/api/assessment/quizzes", QUIZ)
        modules = [
            {"title": "Read", "kind": "scorm12", "package_id": package["package_id"]},
            {"title": "Answer", "kind": "quiz", "quiz_id": quiz["quiz_id"]},
        ]
        course = {"title": "Load", "slug": "load", "certifying": True, "modules": modules}
        load.course_id = (await post("/api/catalog/courses", course))["course_id"]
        await post(f"/api/catalog/courses/{load.course_id}/publish")
        shown = (await api.get("/api/catalog/courses/load")).raise_for_status().json()
        load.scorm_id, load.quiz_id = (m["module_id"] for m in shown["modules"])
        rule = {
            "name": "Engineering",
            "condition": {"attribute": "department", "operator": "is", "value": "Engineering"},
            "course_ids": [load.course_id],
        }
        async with asyncio.timeout(30):
            while True:  # until enrollment has heard of the course
                answer = await api.post("/api/enrollment/rules", json=rule)
                if answer.status_code != 422:
                    break
                await asyncio.sleep(0.1)
        await post(f"/api/enrollment/rules/{answer.raise_for_status().json()['rule_id']}/activate")
    return load
