"""The whole platform for stories."""

import asyncio
import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from rich.console import Console

from identity.signatures import sign_standard
from lyceum_local import lifecycle
from lyceum_local.demo.numbers import Outcome
from lyceum_local.demo.play import play
from lyceum_local.demo.screen import Screen
from lyceum_local.testing import Platform, Tenant, installation
from lyceum_local.testing.collector import Collector, collecting
from lyceum_local.testing.package import scorm12


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One installation for all tests that only use it; each takes a tenant of its own. LYCEUM_TEST_DATA names one
    that is kept, which saves its start while writing a test."""
    if kept := os.environ.get("LYCEUM_TEST_DATA"):
        config = lifecycle.up(Path(kept), split=None, app_port=None, patience=180, step=print)
        yield Platform(config)
        return
    with installation() as made:
        yield made


@pytest.fixture(scope="session")
def played(platform: Platform) -> Outcome:
    """The demo with few people, on the installation that all share. Played again it changes nothing."""
    return play(platform.config, Screen(Console(file=io.StringIO())), people=25)


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="session")
def _fragile(collector: Collector) -> Iterator[Platform]:
    with installation(variables=collector.variables) as made:
        yield made


@pytest.fixture
def breakable(_fragile: Platform) -> Platform:
    """One installation for all tests that break something and mend it. Each finds it running; it exports traces."""
    _fragile.up(split=False)
    return _fragile


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """An installation of its own, for a test that breaks it."""
    with installation() as made:
        yield made


@dataclass
class Organisation:
    """A tenant with one of everything, and what each is called: `ids["course"]`, `ids["rule"]`, …"""

    platform: Platform
    tenant: Tenant
    ids: dict[str, str] = field(default_factory=dict[str, str])
    webhook: dict[str, str] = field(default_factory=dict[str, str])

    async def fill(self) -> None:
        async with self.platform.api(self.tenant) as api:
            await self._people(api)
            await self._courses(api)
            await self._rule(api)
        async with self.platform.as_person(self.ids["person"]) as api:
            await self._learn(api)
        assert (await self.hr("person.terminated", f"{self.tenant.slug}-7")).json() == {
            "result": "terminated"
        }
        await self.platform.settled()

    async def hr(self, kind: str, external_id: str) -> httpx.Response:
        """A signed webhook about somebody."""
        said = {
            "type": kind,
            "timestamp": datetime.now(UTC).isoformat(),
            "data": {"external_id": external_id},
        }
        body = json.dumps(said).encode()
        headers = sign_standard(self.webhook["secret"], f"about-{external_id}", datetime.now(UTC), body)
        async with self.platform.http() as http:
            return (await http.post(self.webhook["url"], content=body, headers=headers)).raise_for_status()

    async def _people(self, api: httpx.AsyncClient) -> None:
        slug = self.tenant.slug
        self.ids |= {"tenant": self.tenant.tenant_id, "slug": slug, "client": self.tenant.client_id}
        self.ids["department"] = f"Engineering {slug}"
        people = [
            {
                "external_id": f"{slug}-{n}",
                "display_name": f"Person {n} of {slug}",
                "email": f"p{n}@{slug}.example",
                "department": self.ids["department"],
                "manager_external_id": f"{slug}-0" if n else None,
            }
            for n in range(8)
        ]
        await _ask(api, "PUT", "identity/hris/snapshot", {"complete": True, "people": people})
        few = {"complete": True, "people": people[:1]}
        self.ids["snapshot"] = (await _ask(api, "PUT", "identity/hris/snapshot", few))["snapshot_id"]
        found = (await _ask(api, "GET", "identity/people?limit=200"))["items"]
        by_name = {p["display_name"]: p["person_id"] for p in found}
        self.ids["person"] = by_name[f"Person 1 of {slug}"]
        self.ids["name"] = f"Person 1 of {slug}"
        self.ids["org_unit"] = (await _ask(api, "GET", "identity/org-units"))["items"][0]["org_unit_id"]
        self.webhook = await _ask(api, "POST", "identity/webhooks", {"form": "standard", "name": "HR"})
        self.ids["endpoint"] = self.webhook["endpoint_id"]
        assert (await self.hr("person.terminated", f"{slug}-nobody")).json() == {"result": "held"}
        self.ids["held"] = (await _ask(api, "GET", "identity/hris/held"))["items"][0]["id"]

    async def _courses(self, api: httpx.AsyncClient) -> None:
        package = await _ask(api, "POST", "catalog/packages", content=scorm12(self.tenant.slug))
        question = {"question_id": "sum", "type": "numeric", "text": "1 + 1", "value": 2}
        quiz = {"title": "Quiz", "passing_score": 50, "time_limit_seconds": 600, "questions": [question]}
        self.ids |= {
            "package": package["package_id"],
            "quiz": (await _ask(api, "POST", "assessment/quizzes", quiz))["quiz_id"],
        }
        modules: dict[str, list[dict[str, Any]]] = {
            "course": [
                {"title": "Play", "kind": "scorm12", "package_id": self.ids["package"]},
                {"title": "Answer", "kind": "quiz", "quiz_id": self.ids["quiz"]},
            ],
            "certifying": [{"title": "Read", "kind": "reading", "text": "Here."}],
        }
        for name, its_modules in modules.items():
            course = {"title": name, "slug": f"{name}-{self.tenant.slug}", "certifying": name == "certifying"}
            made = await _ask(api, "POST", "catalog/courses", course | {"modules": its_modules})
            self.ids[name], self.ids["course_slug"] = made["course_id"], made["slug"]
            await _ask(api, "POST", f"catalog/courses/{made['course_id']}/publish")
        path = {
            "title": "Path",
            "slug": f"path-{self.tenant.slug}",
            "items": [{"course_id": self.ids["certifying"]}],
        }
        self.ids["path"] = (await _ask(api, "POST", "catalog/paths", path))["path_id"]

    async def _rule(self, api: httpx.AsyncClient) -> None:
        await self.platform.settled()
        rule = {
            "name": "Everybody",
            "condition": {"attribute": "department", "operator": "is", "value": self.ids["department"]},
            "course_ids": [self.ids["course"]],
            "path_ids": [self.ids["path"]],
            "due_in_days": 30,
        }
        self.ids["rule"] = (await _ask(api, "POST", "enrollment/rules", rule))["rule_id"]
        await _ask(api, "POST", f"enrollment/rules/{self.ids['rule']}/activate")

    async def _learn(self, api: httpx.AsyncClient) -> None:
        async with asyncio.timeout(30):
            while len(found := (await _ask(api, "GET", "enrollment/enrollments"))["items"]) < 2:
                await asyncio.sleep(0.05)
        for enrollment in found:
            detail = await _ask(api, "GET", f"enrollment/enrollments/{enrollment['enrollment_id']}")
            for module in detail["modules"]:
                what = {"enrollment_id": detail["enrollment_id"], "module_id": module["module_id"]}
                await self._take(api, module["kind"], what)
        async with asyncio.timeout(30):
            while not (certificates := (await _ask(api, "GET", "assessment/certificates"))["items"]):
                await asyncio.sleep(0.05)
        self.ids["certificate"] = certificates[0]["certificate_id"]

    async def _take(self, api: httpx.AsyncClient, kind: str, what: dict[str, str]) -> None:
        match kind:
            case "reading":
                await _ask(api, "POST", "assessment/readings", what)
            case "quiz":
                self.ids |= {"enrollment": what["enrollment_id"], "module": what["module_id"]}
                attempt = (await _ask(api, "POST", "assessment/attempts", what))["attempt_id"]
                answer = {"sequence": 1, "answer": 2}
                await _ask(api, "PUT", f"assessment/attempts/{attempt}/answers/sum", answer)
                await _ask(api, "POST", f"assessment/attempts/{attempt}/submit")
                self.ids["attempt"] = attempt
            case _:
                await _ask(api, "POST", "assessment/launches", what)


async def _ask(api: httpx.AsyncClient, method: str, path: str, body: Any = None, **options: Any) -> Any:
    answer = await api.request(method, f"/api/{path}", json=body, **options)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()


@pytest.fixture(scope="session")
async def organisation(platform: Platform) -> Organisation:
    """For tests that only look."""
    made = Organisation(platform, platform.tenant())
    await made.fill()
    return made
