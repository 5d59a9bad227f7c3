"""The whole story: HR hires, authors publish, rules enrol, people learn, certificates are issued, numbers come out.

Everything goes through the public APIs, with credentials of the demo's own tenant. Each step looks for what is there
already: run again, also after a kill, it finishes what is missing and doubles nothing.
"""

import secrets
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx

from lyceum_local.config import Config, is_free
from lyceum_local.demo import hris, learners, lessons, numbers, publishing, staff
from lyceum_local.demo.api import Refused, client_api, person_api, until
from lyceum_local.demo.hris import Endpoint
from lyceum_local.demo.learners import Temper
from lyceum_local.demo.lessons import Lessons
from lyceum_local.demo.memory import Memory, keep, recall
from lyceum_local.demo.numbers import Outcome
from lyceum_local.demo.playing import Courses, Learner
from lyceum_local.demo.screen import Screen
from lyceum_local.paths import SERVICES

SLUG = "demo"
PEOPLE = 300
ADMIN = "Robin Admin"
# People at work at the same time; more would only wait for each other on a small machine.
AT_WORK = 8
# Employee numbers of those whom links and programs ask for.
NAMED = {
    "ada": "ADA", "alan": "ALAN", "grace": staff.number(0), "katherine": "K1", "margaret": "MARGARET",
    "robin": "administrator",
}  # fmt: skip
REVOKED_BECAUSE = "Issued for the training environment by mistake"


def play(config: Config, screen: Screen, *, people: int = PEOPLE, slug: str = SLUG) -> Outcome:
    """Play it in the organisation `slug`. `people`: how many HR lists, the first time."""
    limits = httpx.Limits(max_connections=2 * AT_WORK, max_keepalive_connections=2 * AT_WORK)
    with httpx.HTTPTransport(limits=limits) as transport:
        return Demo(config, screen, transport, slug, people).play()


class Demo:
    def __init__(
        self, config: Config, screen: Screen, transport: httpx.HTTPTransport, slug: str, people: int
    ) -> None:
        self._config = config
        self._slug = slug
        self._file = config.data / f"{slug}.json"
        self._step = screen.step
        self._screen = screen
        self._transport = transport
        self._http = self._client()
        self._memory = self._credentials(people)
        self._api = client_api(self._http, **self._memory.client)
        self._today = datetime.fromisoformat(self._memory.started).date()
        self._listed = staff.staff(self._today, self._memory.people)
        self._late = staff.carried_over(self._listed, self._today)

    def _client(self) -> httpx.Client:
        """A browser of its own, with its own cookies, over the connections that all share."""
        return httpx.Client(base_url=self._config.app_origin, transport=self._transport, timeout=120)

    def play(self) -> Outcome:
        listing = {"complete": False, "people": self._listed}
        taken = self._api.put("/api/identity/hris/snapshot", listing)["differences"]
        self._step(f"HR lists {len(self._listed)} people, {taken['created']} of them new")
        people = self._people()
        publishing.departments(self._api, self._step, people)

        packages = publishing.packages(self._api, self._step)
        quizzes = publishing.quizzes(self._api, self._step)
        courses = publishing.courses(self._api, self._step, packages, quizzes)
        paths = publishing.paths(self._api, self._step, courses)
        with self._screen.waiting("Rules enrol"):
            rules = publishing.rules(self._api, self._step, self._listed, courses, paths)
            publishing.carry_over(self._api, self._step, self._late, people, courses)

        self._hires()
        self._bamboohr_hires()
        people = self._people()
        if not self._memory.learned:
            self._everybody_learns(people)
            self._ada_chooses(people["ADA"])
            self._remember(learned=True)
        self._moves_and_leaves(people["ALAN"])
        with self._screen.waiting("Waiting until every event has arrived everywhere"):
            numbers.late_is_told(self._api)
            numbers.settle(self._api)
            certificates = self._certificates(people)
            numbers.settle(self._api)
            self._step("Every event has arrived everywhere")
            found = numbers.numbers(self._api, courses)
        ids = {
            "people": {name: people[key] for name, key in NAMED.items()},
            "courses": courses,
            "paths": paths,
            "rules": rules,
            "quizzes": quizzes,
            "packages": packages,
            "certificates": certificates,
        }
        outcome = Outcome(self._links(certificates), self._memory.hire_ms, found, ids)
        self._remember(outcome=asdict(outcome))
        return outcome

    # ---- who we are

    def _credentials(self, people: int) -> Memory:
        """The tenant, an API client for author, HR and administrator, and a webhook: made once."""
        memory = recall(self._file)
        if memory and self._works(memory):
            return memory
        operator = client_api(self._http, "operator", self._config.secrets.clients["operator"])
        if not any(t["slug"] == self._slug for t in operator.every("/api/identity/tenants")):
            self._step("The operator creates the organisation")
            operator.post(
                "/api/identity/tenants",
                {
                    "slug": self._slug,
                    "name": "Demo Hospital Group",
                    "time_zone": "Europe/Berlin",
                    "admin": {"display_name": ADMIN, "email": "robin@demo.example"},
                },
            )
        roles = {"roles": ["hris", "author", "admin"], "tenant_slug": self._slug}
        client = operator.post("/api/identity/clients", {"name": "demo", **roles})
        hook = operator.post(
            "/api/identity/webhooks", {"form": "standard", "name": "Demo HR", "tenant_slug": self._slug}
        )
        return keep(
            self._file,
            Memory(people=people),
            client={"client_id": client["client_id"], "secret": client["client_secret"]},
            webhook={"path": _path(hook["url"]), "secret": hook["secret"]},
        )

    def _works(self, memory: Memory) -> bool:
        """Whether the platform knows the client: it does not when its data is not what it was."""
        try:
            client_api(self._http, **memory.client)
        except Refused as e:
            if e.status != 401:
                raise
            return False
        return True

    def _remember(self, **changed: Any) -> None:
        self._memory = keep(self._file, self._memory, **changed)

    def _people(self) -> dict[str, str]:
        """Employee number → person id, also of those who left or have not begun."""
        found = self._api.every("/api/identity/people", include_terminated=True)
        return {person["external_id"]: person["person_id"] for person in found}

    # ---- HR hires

    def _hook(self) -> Endpoint:
        return Endpoint(self._memory.webhook["path"], self._memory.webhook["secret"])

    def _hires(self) -> None:
        """Ada and Alan start today, Margaret next week."""
        there = self._people()
        for key, name in (("ADA", "Ada Lovelace"), ("ALAN", "Alan Turing")):
            if key not in there:
                took = self._hire(staff.hired(key, name, self._today))
                self._remember(hire_ms={**self._memory.hire_ms, name: took})
                self._step(f"HR hires {name} into Engineering; {took:.0f} ms later the courses are assigned")
        if "MARGARET" not in there:
            start = self._today + timedelta(days=7)
            person = staff.hired("MARGARET", "Margaret Hamilton", start)
            hris.deliver(self._http, self._hook(), "demo-margaret-hired", "person.created", person)
            self._step(f"HR hires Margaret Hamilton for {start}: she waits for her day")

    def _hire(self, person: Mapping[str, Any]) -> float:
        """Milliseconds from HR's webhook until enrollment shows what was assigned."""
        key: str = person["external_id"]
        began = time.monotonic()
        hris.deliver(self._http, self._hook(), f"demo-{key.lower()}-hired", "person.created", person)
        found = self._api.get("/api/identity/people", search=person["display_name"])["items"]
        person_id = next(p["person_id"] for p in found if p["external_id"] == key)
        until(lambda: self._enrollments(person_id), f"Enrolling {person['display_name']}", pause=0.005)
        return round((time.monotonic() - began) * 1000, 1)

    def _enrollments(self, person_id: str, **params: Any) -> list[dict[str, Any]]:
        return self._api.every("/api/enrollment/enrollments", person_id=person_id, **params)

    def _bamboohr_hires(self) -> None:
        """The other HR system says that somebody changed; identity asks it who."""
        if "K1" in self._people():
            return
        place = self._memory.bamboohr
        api_key: str = place.get("api_key") or secrets.token_urlsafe(24)
        port: int = place.get("port", 0)
        with hris.bamboohr(port if is_free(port) else 0, api_key, {"K1": staff.KATHERINE}) as listens:
            if listens != port:
                config = {"base_url": f"http://127.0.0.1:{listens}", "api_key": api_key}
                body = {"form": "bamboohr", "name": "Demo BambooHR", "config": config}
                hook = self._api.post("/api/identity/webhooks", body)
                place = {"path": _path(hook["url"]), "secret": hook["secret"]}
                self._remember(bamboohr={**place, "port": listens, "api_key": api_key})
            hris.notify(self._http, Endpoint(place["path"], place["secret"]), "K1")
            until(lambda: "K1" in self._people(), "Reading Katherine Johnson from the HR system")
        unit = staff.KATHERINE["department"]
        self._step(
            f"BambooHR names an id; identity reads Katherine Johnson, of {unit}, which nobody has confirmed"
        )

    def _moves_and_leaves(self, alan: str) -> None:
        """HR moves Alan to Sales, and then he leaves. What he completed stays."""
        person = self._api.get(f"/api/identity/people/{alan}")
        if person["status"] == "active" and person["department"] == "Engineering":
            moved = staff.hired("ALAN", "Alan Turing", self._today, department="Sales")
            hris.deliver(self._http, self._hook(), "demo-alan-moved", "person.updated", moved)
        if person["status"] != "active":
            return
        self._until_enrolled(alan, "sales-essentials", "active")
        leaver = {"external_id": "ALAN", "reason": "resigned"}
        hris.deliver(self._http, self._hook(), "demo-alan-left", "person.terminated", leaver)
        self._until_enrolled(alan, "sales-essentials", "withdrawn")
        kept = [e["course_title"] for e in self._enrollments(alan, state="completed")]
        self._step(f"HR moves Alan Turing to Sales, then he leaves; his record stays: {', '.join(kept)}")

    def _until_enrolled(self, person_id: str, course: str, state: str) -> None:
        def holds() -> bool:
            return any(e["course_slug"] == course for e in self._enrollments(person_id, state=state))

        until(holds, f"Having {course} {state}")

    # ---- people learn

    def _everybody_learns(self, people: Mapping[str, str]) -> None:
        present = {p["external_id"] for p in self._api.every("/api/identity/people")}
        willing = learners.willing(self._listed, {late.external_id for late in self._late})
        at_work = {people[key]: who for key, who in willing.items() if key in present}
        learn = partial(self._learn, lessons.read(publishing.CONTENT), {})
        with (
            self._screen.counting("People learn", len(at_work)) as one_more,
            ThreadPoolExecutor(AT_WORK, "learner") as pool,
        ):
            futures = [pool.submit(learn, person_id, who) for person_id, who in at_work.items()]
            try:
                for future in as_completed(futures):
                    future.result()
                    one_more()
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
        self._step(f"{len(at_work)} people have learned as far as they wanted to")

    def _ada_chooses(self, ada: str) -> None:
        """Nobody told her to: the course waits for whoever signs in as her."""
        course_id = self._api.get(f"/api/catalog/courses/{learners.CHOSEN}")["course_id"]
        body = {"person_id": ada, "course_id": course_id}
        person_api(self._client(), ada).post("/api/enrollment/enrollments", body)

    def _learn(self, asked: Lessons, courses: Courses, person_id: str, who: Temper) -> None:
        Learner(person_api(self._client(), person_id), person_id, who, asked, courses).learn()

    def _certificates(self, people: Mapping[str, str]) -> dict[str, str]:
        """Ada's, and one of somebody else, which the administrator revokes."""
        ada = until(lambda: self._certificates_of(people["ADA"]), "Issuing Ada's certificate")[0]
        self._step(f"Ada is certified with {ada['score']:.0f} %")
        found = {"ada": ada["certificate_id"]}
        engineers = (
            p["external_id"]
            for p in self._listed
            if p["department"] == "Engineering" and p["manager_external_id"]
        )
        for certificate in (c for key in engineers for c in self._certificates_of(people[key])):
            found["revoked"] = certificate["certificate_id"]
            if not certificate["revoked_at"]:
                at = f"/api/assessment/certificates/{certificate['certificate_id']}/revoke"
                self._api.post(at, {"reason": REVOKED_BECAUSE})
            break
        return found

    def _certificates_of(self, person_id: str) -> list[dict[str, Any]]:
        return self._api.every("/api/assessment/certificates", person_id=person_id)

    def _links(self, certificates: Mapping[str, str]) -> dict[str, str]:
        """Each answers a browser; where one has to be somebody, the page asks, and the right persona is found."""
        app = self._config.app_origin

        def sign_in(who: str, page: str) -> str:
            return f"{app}/sign-in?{urlencode({'find': who, 'return': page})}"

        return {
            "Sign in as anybody": f"{app}/sign-in",
            "Ada: what to learn today": sign_in("Ada Lovelace", "/"),
            "Ada: her record and certificate": sign_in("Ada Lovelace", "/record"),
            "Grace: her team, and who is late": sign_in("Grace Hopper", "/team"),
            "Robin: dashboards": sign_in(ADMIN, "/admin/dashboards"),
            "Robin: people and departments": sign_in(ADMIN, "/admin/people"),
            "Robin: rules": sign_in(ADMIN, "/admin/rules"),
            "Robin: the system": sign_in(ADMIN, "/admin/system"),
            "Catalogue": sign_in("Ada Lovelace", "/catalog"),
            "Ada's certificate, for everybody": f"{app}/verify/{certificates['ada']}",
            **(
                {"A certificate that was revoked": f"{app}/verify/{certificates['revoked']}"}
                if "revoked" in certificates
                else {}
            ),
            **{f"API of {service}": f"{app}/api/{service}/openapi.json" for service in SERVICES},
        }


def _path(url: str) -> str:
    """The app may be on another port the next time."""
    return urlsplit(url).path
