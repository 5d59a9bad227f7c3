"""People are erased who were planted by every intake, and then looked for in every file, row, record, log and trace.

A marker is a word that occurs nowhere else: of the run, a person, and the field it was planted in. The search is held to a
control each time: it finds what was not erased, and before the erasure what is erased later.
"""

import asyncio
import base64
import io
import json
import re
import secrets
import tarfile
import zipfile
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from assessment import verifier
from identity.signatures import sign_bamboohr, sign_standard
from lyceum_local import postgres
from lyceum_local.demo.hris import bamboohr
from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.testing import Platform, Tenant
from lyceum_local.testing.collector import Collector
from lyceum_local.testing.school import until

API_KEY = "bamboo-key"
FEEDS = ("identity", "catalog", "enrollment", "assessment")
VIEWS = ("v1_people", "v1_enrollments", "v1_assessments", "v1_module_progress", "v1_certificates")
EVERYBODY, OF_THE_HOUSE = (
    999,
    "p",
)  # what belongs to nobody and stays: it shows that a search can find something
# Fields by letter. What is kept of a person in the clear until they are erased, and what never is.
KEPT = {
    "n": "name",
    "m": "mail",
    "x": "HR's id",
    "t": "why they left",
    "h": "HR's id of a leaver whom nobody knows",
    "i": "why that one left",
    "s": "name in a held listing",
    "r": "why a certificate was revoked",
}
NEVER = {
    "g": "given name beside a full one",
    "a": "answer to a question",
    "b": "suspend_data",
    "c": "comments",
    "d": "lesson_location",
    "e": "student_response",
    "j": "of what is no JSON",
    "k": "mail of somebody without a name",
    "l": "of an event of an unknown type",
    "u": "of a message that nobody signed",
    "q": "what somebody was looked for by",
}
MANIFEST = """<manifest identifier="m" xmlns="http://www.imsproject.org/xsd/imscp_rootv1p1p2"
 xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2"><metadata><schemaversion>1.2</schemaversion></metadata>
 <organizations default="o"><organization identifier="o"><item identifier="i" identifierref="r"/></organization>
 </organizations><resources><resource identifier="r" adlcp:scormtype="sco" href="index.html"/></resources></manifest>"""

Found = set[tuple[int, str]]  # (person, field)


class Markers:
    """Words of one run, and the search for them."""

    def __init__(self) -> None:
        self.word = "zq" + "".join(secrets.choice("bcdfghjkvwxyz") for _ in range(6))
        self._plain = re.compile(rf"{self.word}(\d{{3}})([a-z])")
        # PostgreSQL's compression puts a byte between any eight: `.??`.
        parts = [*self.word, r"(\d)", r"(\d)", r"(\d)", "([a-z])"]
        self._raw = re.compile(".??".join(parts).encode(), re.S)
        coded = {base64.b64encode(b"\0" * n + self.word.encode())[4 if n else 0 : 10] for n in range(3)}
        self._coded = re.compile(b"|".join(re.escape(c) for c in coded))

    def of(self, person: int, letter: str) -> str:
        return f"{self.word}{person:03d}{letter}"

    def in_text(self, text: str) -> Found:
        found = {(int(m[1]), m[2]) for m in self._plain.finditer(text)}
        for blob in re.findall(r"\\x([0-9a-f]{8,})", text):  # bytes, as PostgreSQL prints them
            found |= self.in_bytes(bytes.fromhex(blob[: len(blob) // 2 * 2]))
        return found | self._in_coded(text.encode())

    def in_bytes(self, data: bytes) -> Found:
        found = {(int(m[1] + m[2] + m[3]), m[4].decode()) for m in self._raw.finditer(data)}
        return found | self._in_coded(data)

    def _in_coded(self, data: bytes) -> Found:
        """In what is coded in base64, as a credential's claims are."""
        found: Found = set()
        for match in self._coded.finditer(data):
            start = max(0, match.start() - 64)
            run = re.search(rb"[A-Za-z0-9_+/-]*$", data[start : match.start()])
            assert run
            coded = re.match(rb"[A-Za-z0-9_+/-]*", data[start + run.start() : match.end() + 64])
            assert coded
            for shift in range(4):
                text = coded[0][shift:]
                plain = base64.b64decode(text[: len(text) // 4 * 4].translate(bytes.maketrans(b"-_", b"+/")))
                found |= {(int(m[1]), m[2]) for m in self._plain.finditer(plain.decode("latin-1"))}
        return found


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
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as files:
            files.writestr("imsmanifest.xml", MANIFEST)
            files.writestr("index.html", "<title>Lesson</title>")
        package = await self.ask("POST", "catalog/packages", content=archive.getvalue())
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

    # ---- where anything of them may be

    async def places(self, collector: Collector) -> dict[str, Found]:
        """By place, whose markers are there."""
        data = self.platform.config.data
        found = {
            "rows": await self.rows(),
            "clickhouse": await self._clickhouse(),
            "traces": self.markers.in_text(repr(collector.spans)),
            "exports": await self._exports(),
        }
        for part in sorted(data.iterdir()):
            found[f"files of {part.name}"] = await self.files(part.name)
        return found

    async def files(self, part: str) -> Found:
        """In the files as they are, of one part of the data folder."""
        return await asyncio.to_thread(self._files, self.platform.config.data / part)

    def _files(self, part: Path) -> Found:
        found: Found = set()
        for file in [part] if part.is_file() else part.rglob("*"):
            if not file.is_file():
                continue
            try:
                found |= self.markers.in_bytes(file.read_bytes().rstrip(b"\0"))
            except FileNotFoundError:
                continue  # gone meanwhile, and what was in it with it
        return found

    async def rows(self) -> Found:
        found: Found = set()
        for service in LEDGER_SERVICES:
            url = postgres.with_database(self.platform.config.postgres_url, service)
            conn = await asyncpg.connect(url)
            try:
                for row in await conn.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace ="
                                            " 'public'::regnamespace"):  # fmt: skip
                    for (text,) in await conn.fetch(f'SELECT t::text FROM "{row["relname"]}" AS t'):
                        found |= self.markers.in_text(text)
            finally:
                await conn.close()
        return found

    async def _clickhouse(self) -> Found:
        found: Found = set()
        config = self.platform.config
        async with httpx.AsyncClient(trust_env=False, auth=("operator", config.secrets.clickhouse)) as client:
            for table in (*(f"{feed}_events" for feed in FEEDS), *VIEWS):
                query = f"SELECT * FROM {table} WHERE tenant = '{self.tenant.tenant_id}' FORMAT TSV"
                answer = await client.post(f"http://127.0.0.1:{config.ports['clickhouse']}/", content=query)
                found |= self.markers.in_text(answer.raise_for_status().text)
        return found

    async def _exports(self) -> Found:
        """What an administrator can take away."""
        found: Found = set()
        for path in (
            *("identity/people?include_terminated=true&limit=200", "identity/hris/held"),
            *("analytics/metrics/completed?by=department&format=csv", "analytics/trend?days=7&format=csv"),
            *("enrollment/enrollments?limit=200", "identity/org-units"),
        ):
            found |= self.markers.in_text((await self.api.get(f"/api/{path}")).raise_for_status().text)
        for person_id in self.ids.values():
            for path in ("identity/people/{}", "assessment/certificates?person_id={}"):
                answer = await self.api.get(f"/api/{path.format(person_id)}")
                found |= self.markers.in_text(answer.raise_for_status().text)
        return found


LONG = pytest.param(100, 6, marks=pytest.mark.faults)


@pytest.mark.parametrize(("leavers", "others"), [(3, 3), LONG])
async def test_nothing_of_the_erased_is_left_anywhere(
    breakable: Platform, collector: Collector, tmp_path: Path, leavers: int, others: int
) -> None:
    gone, stay = range(leavers), range(leavers, leavers + others)
    employees: dict[str, dict[str, Any]] = {}
    tenant = await asyncio.to_thread(breakable.tenant)
    with bamboohr(0, API_KEY, employees) as port:
        async with breakable.api(tenant) as api:
            company = Company(breakable, tenant, Markers(), api, employees)
            await company.open(port)
            await planted(company, [*gone, *stay], leavers=[*gone, *stay[1:]])
            await erased_and_looked_for(company, collector, gone, stay, tmp_path)


async def planted(company: Company, people: list[int], *, leavers: list[int]) -> None:
    for n in people:
        await company.hire(n)
        await company.send_nonsense(n)
    await company.find(people)
    for n in people:
        await company.learn(n)
    for n in people[::3]:
        await company.revoke(n)
    async with nobody_handles(company, people[2]):
        for n in leavers:
            await company.dismiss(n)
        await company.hold_a_listing(people)
        await company.find_unknown()

        async def status(n: int) -> str:
            return (await company.ask("GET", f"identity/people/{company.ids[n]}"))["status"]

        for n in leavers:
            await until(lambda n=n: status(n), lambda found: found == "terminated")
        await company.platform.settled()


@asynccontextmanager
async def nobody_handles(company: Company, person: int) -> AsyncGenerator[None]:
    """What is said of this person meanwhile is parked by enrollment, and replayed afterwards. Its rows stay."""
    url = postgres.with_database(company.platform.config.postgres_url, "enrollment")
    conn = await asyncpg.connect(url)
    try:
        fault = f"CHECK (person_id <> '{company.ids[person]}') NOT VALID"
        await conn.execute(f"ALTER TABLE people ADD CONSTRAINT fault {fault}")
        yield
        await conn.execute("ALTER TABLE people DROP CONSTRAINT fault")
        parked = await conn.fetch("SELECT n, key FROM parked ORDER BY n")
        assert {row["key"] for row in parked} == {f"person/{company.ids[person]}"}
        first = str(parked[0]["n"])
        await asyncio.to_thread(company.platform.command, "parked", "replay", "enrollment", first)
        await company.platform.settled()
    finally:
        await conn.close()


async def erased_and_looked_for(
    company: Company, collector: Collector, gone: range, stay: range, folder: Path
) -> None:
    platform = company.platform
    # The control: in the ledgers' rows and files is what was planted, and everywhere else nothing of anybody.
    before = await company.places(collector)
    numbers = await company.counted()
    assert letters(before["rows"], gone) == KEPT.keys()
    assert {"n", "m", "x"} <= letters(before["files of postgres"], gone)
    assert {(n, "n") for n in (*gone, *stay)} <= before["rows"] & before["files of postgres"] & before[
        "exports"
    ]
    house = (EVERYBODY, OF_THE_HOUSE)
    assert all(
        house in before[place] for place in ("clickhouse", "files of kafka", "files of clickhouse", "exports")
    )
    assert letters(before["exports"], gone) <= KEPT.keys()
    for place in before.keys() - {"rows", "files of postgres", "exports"}:
        assert before[place] <= {house}, place
    assert "Somebody has no name" in await company.logged()
    assert f"person/{company.ids[0]}" in repr(collector.spans)

    await company.erase(gone)
    said = await asyncio.to_thread(
        platform.command, "person", "erase", company.ids[0], "--tenant", company.tenant.slug,
        "--reason", "unlawful", "--yes",
    )  # fmt: skip
    assert "Erased at" in said
    refused = await company.api.post(
        f"/api/identity/people/{company.ids[stay[0]]}/erasure", json={"reason": "requested"}
    )
    assert refused.status_code == 409
    await platform.settled()
    assert of(await company.rows(), gone) == set()
    assert of(await company.files("postgres"), gone), "the control: files forget later than tables"

    await asyncio.to_thread(platform.command, "rebuild", "analytics")
    await hr_goes_on(company, gone)
    await platform.settled()
    assert of(await company.rows(), gone) == set()
    await asyncio.to_thread(platform.command, "vacuum")
    after = await company.places(collector)
    assert left(after, gone) == {}
    assert {(n, letter) for n in stay for letter in "nmx"} <= after["rows"]
    assert {(n, letter) for n in stay for letter in "nmx"} <= after["files of postgres"]
    assert all(
        house in after[place] for place in ("clickhouse", "files of kafka", "files of clickhouse", "exports")
    )
    assert await company.counted() == numbers
    await proofs_hold(company, gone, stay)
    await sealed_for_good(company, gone, stay)
    backup = folder / "backup"
    await asyncio.to_thread(platform.command, "backup", str(backup))
    copied = await asyncio.to_thread(in_backup, company, backup)
    assert of(copied, gone) == set()
    assert {(n, "n") for n in stay} <= copied
    for report in platform.reports().values():
        assert not report["parked"]  # it was replayed; what is left of it is among the rows


def of(found: Found, people: Iterable[int]) -> Found:
    some = set(people)
    return {(n, letter) for n, letter in found if n in some}


def left(places: Mapping[str, Found], people: Iterable[int]) -> dict[str, Found]:
    return {place: some for place, found in places.items() if (some := of(found, people))}


def letters(found: Found, people: Iterable[int]) -> set[str]:
    return {letter for _, letter in of(found, people)}


async def hr_goes_on(company: Company, gone: range) -> None:
    """HR's system has not forgotten them, and says what it says of leavers."""
    for n in gone:
        match n % 3:
            case 0:
                who = company.described(n)
                assert await company.said("updated", **who) == "erased"
                reason = company.mark(n, "t")
                assert (
                    await company.said("terminated", external_id=who["external_id"], reason=reason)
                    == "erased"
                )
            case 1:
                listed = {**company.described(n), "hire_date": "2020-01-01"}
                report = {"external_id": f"f{n}", "display_name": "Filler"}
                await company.list_people([listed, {**report, "manager_external_id": listed["external_id"]}])
            case _:
                await company.notify(company.mark(n, "x"))
    await until(company.to_read, lambda waiting: waiting == 0)


async def proofs_hold(company: Company, gone: range, stay: range) -> None:
    """What anybody sees of a certificate, and what its holder proves offline with the copy they kept."""
    issuer = f"/badges/issuers/{company.tenant.tenant_id}"
    async with company.platform.http() as nobody:
        keys = (await nobody.get(f"{issuer}/jwks")).json()
        log_key = (await nobody.get(f"{issuer}/log/key")).text
        for n in (*gone, *stay):
            number = company.numbers[n]
            page = (await nobody.get(f"/verify/{number}")).raise_for_status().text
            assert ("Revoked" in page) == (n % 3 == 0)
            assert ("whose name was erased" in page) == (n in gone)
            proof = await until(
                lambda number=number: nobody.get(f"/verify/{number}/certificate.tlog-proof"),
                lambda answer: answer.status_code == 200,
                seconds=60,
            )
            proven = verifier.certificate(company.credentials[n], proof.text, keys, log_key)
            assert company.mark(n, "n") in proven["name"]
            gone_too = await nobody.get(f"/verify/{number}/credential.jwt")
            assert gone_too.status_code == (404 if n in gone else 200)
    audit = await company.ask("POST", "assessment/log/audit", {})
    assert audit["problems"] == []
    assert audit["size"] == audit["records"]


async def sealed_for_good(company: Company, gone: range, stay: range) -> None:
    """Of the keys that open what they wrote, in events and in older backups, those of the erased are no more."""
    url = postgres.with_database(company.platform.config.postgres_url, "assessment")
    conn = await asyncpg.connect(url)
    try:
        rows = await conn.fetch(
            "SELECT person_id, sealed_key FROM person_keys WHERE person_id = ANY($1)",
            list(company.ids.values()),
        )
    finally:
        await conn.close()
    has_key = {row["person_id"]: row["sealed_key"] is not None for row in rows}
    assert has_key == {company.ids[n]: n in stay for n in (*gone, *stay)}


def in_backup(company: Company, backup: Path) -> Found:
    found: Found = set()
    for archive in backup.rglob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            for member in tar:
                if content := tar.extractfile(member):
                    found |= company.markers.in_bytes(content.read())
    return found
