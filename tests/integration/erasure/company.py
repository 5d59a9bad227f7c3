"""How markers get in: by HR's ways, by what learners do, and by what administrators write."""

import base64
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx

from identity.signatures import sign_bamboohr, sign_standard
from lyceum_local import postgres
from lyceum_local.testing import Platform, Tenant
from lyceum_local.testing.package import scorm12
from lyceum_local.testing.school import until
from tests.integration.erasure.markers import EVERYBODY, OF_THE_HOUSE, Markers

API_KEY = "bamboo-key"


@dataclass
class Company:
    """A tenant whose HR systems, learners and administrators leave markers wherever they can."""

    platform: Platform
    tenant: Tenant
    markers: Markers
    api: httpx.AsyncClient
    employees: dict[str, dict[str, Any]]
    hooks: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    course_id: str = ""
    ids: dict[int, str] = field(default_factory=dict[int, str])
    unknown_ids: dict[int, str] = field(default_factory=dict[int, str])
    credentials: dict[int, str] = field(default_factory=dict[int, str])
    numbers: dict[int, str] = field(default_factory=dict[int, str])

    async def ask(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = await self.api.request(method, f"/api/{path}", json=body, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def mark(self, person: int, letter: str) -> str:
        return self.markers.of(person, letter)

    @property
    def department(self) -> str:
        return f"Care {self.mark(EVERYBODY, OF_THE_HOUSE)}"

    # ---- before anybody is hired

    async def open(self, port: int) -> None:
        standard = {"form": "standard", "name": "HR", "config": {"source": "hris"}}
        bamboo = {
            "form": "bamboohr",
            "name": "Bamboo",
            "config": {"base_url": f"http://127.0.0.1:{port}", "api_key": API_KEY, "source": "bamboohr"},
        }
        for name, hook in (("standard", standard), ("bamboohr", bamboo)):
            self.hooks[name] = await self.ask("POST", "identity/webhooks", hook)
        package = await self.ask("POST", "catalog/packages", content=scorm12("Lesson"))
        questions = [
            {"question_id": "sum", "type": "numeric", "text": "1 + 1", "value": 2},
            {"question_id": "you", "type": "short_text", "text": "Who are you?", "accepted": ["nobody"]},
        ]
        quiz = {"title": "Quiz", "passing_score": 50, "questions": questions}
        quiz_id = (await self.ask("POST", "assessment/quizzes", quiz))["quiz_id"]
        modules = [
            {"title": "Play", "kind": "scorm12", "package_id": package["package_id"]},
            {"title": "Answer", "kind": "quiz", "quiz_id": quiz_id},
        ]
        course = {"title": "Care", "slug": "care", "certifying": True, "modules": modules}
        self.course_id = (await self.ask("POST", "catalog/courses", course))["course_id"]
        await self.ask("POST", f"catalog/courses/{self.course_id}/publish")
        rule = {
            "name": "Care",
            "condition": {"attribute": "department", "operator": "is", "value": self.department},
            "course_ids": [self.course_id],
        }
        drafted = await until(
            lambda: self.api.post("/api/enrollment/rules", json=rule), lambda a: a.status_code != 422
        )
        await self.ask("POST", f"enrollment/rules/{drafted.json()['rule_id']}/activate")

    # ---- HR's ways in

    async def hr(self, body: bytes | Mapping[str, Any], *, secret: str = "") -> httpx.Response:
        hook, now = self.hooks["standard"], datetime.now(UTC)
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = sign_standard(secret or hook["secret"], f"m{secrets.token_hex(8)}", now, raw)
        async with self.platform.http() as http:
            return await http.post(hook["url"], content=raw, headers=headers)

    async def said(self, kind: str, **data: Any) -> str:
        now = datetime.now(UTC).isoformat()
        answer = await self.hr({"type": f"person.{kind}", "timestamp": now, "data": data})
        return str(answer.raise_for_status().json()["result"])

    async def notify(self, external_id: str) -> None:
        hook = self.hooks["bamboohr"]
        notice = {"employees": [{"id": external_id, "action": secrets.token_hex(4)}]}
        raw = json.dumps(notice).encode()
        async with self.platform.http() as http:
            headers = sign_bamboohr(hook["secret"], datetime.now(UTC), raw)
            (await http.post(hook["url"], content=raw, headers=headers)).raise_for_status()

    def described(self, person: int) -> dict[str, Any]:
        return {
            "external_id": self.mark(person, "x"),
            "display_name": f"Ada {self.mark(person, 'n')}",
            "given_name": self.mark(person, "g"),
            "email": f"{self.mark(person, 'm')}@example.org",
            "department": self.department,
        }

    async def list_people(self, people: list[dict[str, Any]], *, complete: bool = False) -> Any:
        listing = {"source": "import", "complete": complete, "people": people}
        return await self.ask("PUT", "identity/hris/snapshot", listing)

    async def hire(self, person: int) -> None:
        """By one of the three ways in that a company has, and a report of theirs by the same."""
        external_id, who = self.mark(person, "x"), self.described(person)
        match person % 3:
            case 0:
                assert await self.said("created", **who) == "created"
                report = {"external_id": f"r{person}", "display_name": "Report"}
                await self.said("created", **report, manager_external_id=external_id)
            case 1:
                report = {"external_id": f"r{person}", "display_name": "Report"}
                await self.list_people([who, {**report, "manager_external_id": external_id}])
            case _:
                self.employees[external_id] = {"department": self.department}
                await self.notify(external_id)
                if person == 2:  # nobody there has a name yet: that fails, is logged, and is tried again
                    endpoint = self.hooks["bamboohr"]["endpoint_id"]
                    await until(self.logged, lambda log: "timer failed" in log and endpoint in log)
                self.employees[external_id] = {
                    "displayName": who["display_name"],
                    "firstName": who["given_name"],
                    "workEmail": who["email"],
                    "department": self.department,
                }
        for letter in ("n", "q"):  # an administrator looks for somebody
            await self.ask("GET", "identity/people", params={"search": self.mark(person, letter)})

    async def logged(self) -> str:
        files = (self.platform.config.data / "logs").glob("*.log")
        return "".join(file.read_text(errors="replace") for file in files)

    async def to_read(self) -> int:
        """How many of BambooHR's people are still to be read again."""
        conn = await asyncpg.connect(postgres.with_database(self.platform.config.postgres_url, "identity"))
        try:
            return await conn.fetchval("SELECT count(*) FROM timers WHERE kind = 'hris-read'")
        finally:
            await conn.close()

    async def send_nonsense(self, person: int) -> None:
        """What no HR system should send, and one of a leaver whom nobody here knows."""
        now = datetime.now(UTC).isoformat()
        bad = f'{{"type": "person.created", "data": {{"email": "{self.mark(person, "j")}"'.encode()
        assert (await self.hr(bad)).status_code == 400
        nameless = {"external_id": "1", "email": self.mark(person, "k")}
        answer = await self.hr({"type": "person.created", "timestamp": now, "data": nameless})
        assert answer.status_code == 422
        party = {"type": "party", "timestamp": now, "data": {"name": self.mark(person, "l")}}
        assert (await self.hr(party)).json() == {"result": "ignored"}
        stranger = f"whsec_{base64.b64encode(b'a stranger').decode()}"
        assert (await self.hr({"name": self.mark(person, "u")}, secret=stranger)).status_code == 401
        leaver = {"external_id": self.mark(person, "h"), "reason": self.mark(person, "i")}
        assert await self.said("terminated", **leaver) == "held"

    async def dismiss(self, person: int) -> None:
        external_id = self.mark(person, "x")
        match person % 3:
            case 0:
                reason = self.mark(person, "t")
                assert await self.said("terminated", external_id=external_id, reason=reason) == "terminated"
            case 1:
                await self.list_people([{**self.described(person), "status": "terminated"}])
            case _:
                self.employees[external_id]["status"] = "Inactive"
                await self.notify(external_id)

    async def find(self, people: Iterable[int]) -> None:
        """Everybody's id, once all of them are here."""
        by_external_id = {self.mark(n, "x"): n for n in people}

        async def known() -> dict[str, str]:
            items = await self.every("identity/people", include_terminated="true")
            return {p["external_id"]: p["person_id"] for p in items if p["external_id"] in by_external_id}

        found = await until(known, lambda found: len(found) == len(by_external_id), seconds=120)
        self.ids = {by_external_id[external_id]: person_id for external_id, person_id in found.items()}

    async def every(self, path: str, **filters: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = []
        after: str | None = None
        while True:
            page = await self.ask(
                "GET", path, params={"limit": "200", **filters, **({"after": after} if after else {})}
            )
            items += page["items"]
            if not (after := page["next"]):
                return items

    # ---- what people do

    async def learn(self, person: int) -> None:
        async with self.platform.as_person(self.ids[person]) as api:

            async def mine() -> list[dict[str, Any]]:
                return (await api.get("/api/enrollment/enrollments")).raise_for_status().json()["items"]

            [enrollment] = await until(mine, lambda found: len(found) == 1)
            at = f"/api/enrollment/enrollments/{enrollment['enrollment_id']}"
            modules = (await api.get(at)).json()["modules"]
            by_kind = {
                m["kind"]: {"enrollment_id": enrollment["enrollment_id"], "module_id": m["module_id"]}
                for m in modules
            }
            await self._play(api, person, by_kind["scorm12"])
            sheet = (
                (await api.post("/api/assessment/attempts", json=by_kind["quiz"])).raise_for_status().json()
            )
            attempt = f"/api/assessment/attempts/{sheet['attempt_id']}"
            for sequence, (question, answer) in enumerate(
                {"you": self.mark(person, "a"), "sum": 2}.items(), 1
            ):
                saved = {"sequence": sequence, "answer": answer}
                (await api.put(f"{attempt}/answers/{question}", json=saved)).raise_for_status()
            assert self.mark(person, "a") in (await api.get(attempt)).text
            (await api.post(f"{attempt}/submit")).raise_for_status()

            async def certificates() -> list[dict[str, Any]]:
                return (await api.get("/api/assessment/certificates")).raise_for_status().json()["items"]

            [certificate] = await until(certificates, lambda found: len(found) == 1)
            number = self.numbers[person] = certificate["certificate_id"]
            self.credentials[person] = (await api.get(f"/verify/{number}/credential.jwt")).text

    async def _play(self, api: httpx.AsyncClient, person: int, module: dict[str, str]) -> None:
        launched = (await api.post("/api/assessment/launches", json=module)).raise_for_status().json()
        url, _, token = launched["url"].partition("#")
        headers = {"host": httpx.URL(url).netloc.decode(), "authorization": f"Bearer {token}"}
        lms = f"http://127.0.0.1:{self.platform.config.ports['content']}/__lms"
        state = (await api.get(f"{lms}/state", headers=headers)).raise_for_status().json()
        assert self.mark(person, "n") in state["cmi"]["core"]["student_name"]
        core = {
            **state["cmi"]["core"],
            "lesson_status": "completed",
            "lesson_location": self.mark(person, "d"),
        }
        cmi = {
            "core": core,
            "suspend_data": self.mark(person, "b"),
            "comments": self.mark(person, "c"),
            "interactions": {"0": {"student_response": self.mark(person, "e")}},
        }
        body = {"session": state["session"], "sequence": 1, "finish": False, "cmi": cmi}
        (await api.post(f"{lms}/commit", headers=headers, json=body)).raise_for_status()
        again = (await api.get(f"{lms}/state", headers=headers)).raise_for_status()
        assert all(self.mark(person, letter) in again.text for letter in "bd")

    # ---- what becomes of them

    async def revoke(self, person: int) -> None:
        reason = {"reason": f"Not for {self.mark(person, 'r')}"}
        await self.ask("POST", f"assessment/certificates/{self.numbers[person]}/revoke", reason)

    async def hold_a_listing(self, people: Iterable[int]) -> None:
        """A full listing that would deactivate too many waits for somebody's decision, with all whom it lists."""
        fillers = [{"external_id": f"f{n}", "display_name": f"Filler {n}"} for n in range(400)]
        await self.list_people(fillers)
        few = [
            {"external_id": self.mark(n, "x"), "display_name": self.mark(n, "s")}
            for n in people
            if n % 3 == 1
        ]
        assert (await self.list_people(few, complete=True))["held"] is True

    async def find_unknown(self) -> None:
        held = (await self.ask("GET", "identity/hris/held"))["items"]
        for item in held:
            [(person, _)] = self.markers.in_text(item["external_id"])
            self.unknown_ids[person] = item["id"]

    async def erase(self, people: Iterable[int]) -> None:
        for n in people:
            for person_id in (self.ids[n], self.unknown_ids[n]):
                await self.ask("POST", f"identity/people/{person_id}/erasure", {"reason": "requested"})

    async def counted(self) -> dict[str, Any]:
        """Every number that may not change."""
        enrollments = await self.every("enrollment/enrollments")
        overview = await self.ask("GET", "analytics/overview")
        by_department = await self.ask("GET", "analytics/metrics/completed?by=department")
        return {
            "overview": {k: v for k, v in overview.items() if isinstance(v, int | float)},
            "enrolled": sorted((e["enrollment_id"], e["person_id"], e["state"]) for e in enrollments),
            "by department": {k: v for k, v in by_department.items() if k != "as_of"},
            "records": {
                n: len((await self.ask("GET", f"assessment/records?person_id={i}"))["items"])
                for n, i in self.ids.items()
            },
            "certificates": {
                n: len((await self.ask("GET", f"assessment/certificates?person_id={i}"))["items"])
                for n, i in self.ids.items()
            },
        }
