"""The demo: an HR system lists 300 people and hires Ada by webhook; an author uploads and publishes our courses.

Everything goes through the public APIs with credentials of the demo's own tenant, kept in DATA/demo.json. Run again,
it finishes what is missing and doubles nothing.
"""

import base64
import hashlib
import hmac
import importlib.util
import json
import random
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from lyceum_local.config import Config
from lyceum_local.paths import repository

SLUG = "demo"
PEOPLE = 300
# One generated staff, the same on every machine.
SEED = 4711
DEPARTMENTS = {
    "Engineering": ("Software Engineer", "Site Reliability Engineer", "Data Engineer"),
    "Sales": ("Account Executive", "Sales Engineer"),
    "Nursing": ("Nurse", "Ward Sister"),
    "Operations": ("Technician", "Facility Manager"),
    "Finance": ("Accountant", "Controller"),
}
PLACES = {
    "Berlin": "Europe/Berlin",
    "Lisboa": "Europe/Lisbon",
    "Kraków": "Europe/Warsaw",
    "京都": "Asia/Tokyo",
}
GIVEN = [
    "Łukasz",
    "Amara",
    "Noor",
    "Inês",
    "Jonas",
    "Mei",
    "Tomás",
    "Freya",
    "Idris",
    "Zofia",
    "Ravi",
    "Elif",
    "Paul",
    "Chiara",
    "Sven",
    "Leila",
    "太郎",
    "Marta",
    "Omar",
    "Ida",
]
FAMILY = [
    "Nowak",
    "Okafor",
    "Haddad",
    "Silva",
    "Weber",
    "Chen",
    "García",
    "Lind",
    "Khan",
    "Wójcik",
    "Patel",
    "Yılmaz",
    "Martin",
    "Rossi",
    "Berg",
    "Aziz",
    "山田",
    "Costa",
]


@dataclass(frozen=True)
class Result:
    links: list[tuple[str, str]]
    hire_ms: float


def staff(today: date) -> list[dict[str, Any]]:
    """A self-written HR listing: a head for each department, everybody else below one of them."""
    chance = random.Random(SEED)  # noqa: S311 - a data set, not a secret
    people: list[dict[str, Any]] = []
    for number in range(PEOPLE):
        head = number < len(DEPARTMENTS)
        department = list(DEPARTMENTS)[number] if head else chance.choice(list(DEPARTMENTS))
        place = chance.choice(list(PLACES))
        given, family = chance.choice(GIVEN), chance.choice(FAMILY)
        if number == 0:
            given, family, place = "Grace", "Hopper", "Berlin"
        people.append(
            {
                "external_id": f"E{number:04}",
                "display_name": f"{given} {family}",
                "email": f"e{number:04}@demo.example",
                "department": department,
                "location": place,
                "time_zone": PLACES[place],
                "job_title": f"Head of {department}" if head else chance.choice(DEPARTMENTS[department]),
                "manager_external_id": None if head else f"E{list(DEPARTMENTS).index(department):04}",
                "hire_date": str(today - timedelta(days=chance.randint(30, 3000))),
                "employment_type": "employee",
            }
        )
    return people


def ada(today: date) -> dict[str, Any]:
    return {
        "external_id": "ADA",
        "display_name": "Ada Lovelace",
        "email": "ada@demo.example",
        "department": "Engineering",
        "location": "Berlin",
        "time_zone": "Europe/Berlin",
        "job_title": "Software Engineer",
        "manager_external_id": "E0000",
        "hire_date": str(today),
        "effective_date": str(today),
        "employment_type": "employee",
    }


def play(config: Config, step: Callable[[str], None]) -> Result:
    with httpx.Client(base_url=config.app_origin, timeout=120, trust_env=False) as http:
        kept = _credentials(config, http, step)
        token = _token(http, kept["client_id"], kept["client_secret"])
        api = Api(http, token)
        started = datetime.fromisoformat(kept["started"]).date()
        known = {p["display_name"] for p in api.every("/api/identity/people")}
        listed = staff(started) + ([ada(started)] if "Ada Lovelace" in known else [])
        step(f"HR lists {len(listed)} people")
        for person in listed:
            person.pop("effective_date", None)
        taken = api.call("PUT", "/api/identity/hris/snapshot", {"complete": True, "people": listed})
        step(f"  {taken['differences']}")
        hire_ms = kept.get("hire_ms", 0.0)
        if "Ada Lovelace" not in known:
            step("HR hires Ada Lovelace into Engineering by a signed webhook")
            hire_ms = _hire(http, api, kept, started)
            _keep(config, kept | {"hire_ms": hire_ms})
        quizzes = _quizzes(api, step)
        courses = _courses(api, step, _packages(api, step), quizzes)
        paths = _paths(api, step, courses)
        _rules(api, step, courses, paths)
    links = [
        ("Sign in as Ada, Grace or anybody", f"{config.app_origin}/sign-in"),
        ("Catalogue", f"{config.app_origin}/catalog"),
        ("Security Protocols 101", f"{config.app_origin}/catalog/security-protocols-101"),
    ]
    return Result(links, hire_ms)


@dataclass(frozen=True)
class Api:
    http: httpx.Client
    token: str

    def call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        headers = {"authorization": f"Bearer {self.token}"}
        answer = self.http.request(
            method, path, json=body, headers=headers | options.pop("headers", {}), **options
        )
        if answer.is_error:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        return answer.json() if answer.content else None

    def every(self, path: str) -> list[dict[str, Any]]:
        """All pages of a list."""
        items: list[dict[str, Any]] = []
        after = ""
        while True:
            page = self.call("GET", path, params={"limit": 200, **({"after": after} if after else {})})
            items += page["items"]
            after = page.get("next") or ""
            if not after:
                return items


def _token(http: httpx.Client, client_id: str, secret: str, **more: str) -> str:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, **more}
    answer = http.post("/api/identity/token", data=form)
    answer.raise_for_status()
    return answer.json()["access_token"]


def _credentials(config: Config, http: httpx.Client, step: Callable[[str], None]) -> dict[str, Any]:
    """The tenant, an API client for HR and author, and a webhook endpoint: made once, secrets in DATA/demo.json."""
    file = config.data / "demo.json"
    kept: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    if "webhook_secret" in kept:
        return kept
    operator = Api(http, _token(http, "operator", config.secrets.clients["operator"]))
    if not any(t["slug"] == SLUG for t in operator.call("GET", "/api/identity/tenants")["items"]):
        step("Creating the organisation")
        operator.call(
            "POST",
            "/api/identity/tenants",
            {
                "slug": SLUG,
                "name": "Demo Hospital Group",
                "time_zone": "Europe/Berlin",
                "admin": {"display_name": "Robin Admin", "email": "robin@demo.example"},
            },
        )
    client = operator.call(
        "POST",
        "/api/identity/clients",
        {"name": "demo", "roles": ["hris", "author", "admin"], "tenant_slug": SLUG},
    )
    hook = operator.call(
        "POST", "/api/identity/webhooks", {"form": "standard", "name": "Demo HR", "tenant_slug": SLUG}
    )
    kept = {
        "started": datetime.now(UTC).isoformat(),
        "client_id": client["client_id"],
        "client_secret": client.get("client_secret") or client["secret"],
        "webhook_url": hook["url"],
        "webhook_secret": hook["secret"],
    }
    _keep(config, kept)
    return kept


def _keep(config: Config, kept: dict[str, Any]) -> None:
    new = config.data / "demo.json.new"
    new.touch(mode=0o600)
    new.write_text(json.dumps(kept))
    new.replace(config.data / "demo.json")


def _hire(http: httpx.Client, api: Api, kept: dict[str, Any], today: date) -> float:
    """Deliver the webhook as an HR system would; milliseconds until the event is numbered on the feed."""
    body = json.dumps(
        {"type": "person.created", "timestamp": datetime.now(UTC).isoformat(), "data": ada(today)}
    ).encode()
    message, at = f"msg_{secrets.token_hex(8)}", str(int(time.time()))
    key = base64.b64decode(kept["webhook_secret"].removeprefix("whsec_"))
    signed = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    headers = {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": at,
        "webhook-signature": f"v1,{base64.b64encode(signed).decode()}",
    }
    began = time.monotonic()
    before = _sent(api)
    http.post(kept["webhook_url"], content=body, headers=headers).raise_for_status()
    while _sent(api) <= before:
        if time.monotonic() - began > 30:
            raise RuntimeError("Ada's hire did not reach the feed in 30 s: see ./lyceum status")
        time.sleep(0.005)
    return (time.monotonic() - began) * 1000


def _sent(api: Api) -> int:
    return sum(f["sent"] for f in api.call("GET", "/api/identity/system/feeds")["feeds"])


def _packages(api: Api, step: Callable[[str], None]) -> dict[str, str]:
    """File stem → package id; a package that was uploaded before is found by its title."""
    spec = importlib.util.spec_from_file_location("pack", repository() / "content" / "pack.py")
    assert spec
    assert spec.loader
    pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    there = {p["title"]: p["package_id"] for p in api.every("/api/catalog/packages")}
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in pack.pack_all(Path(folder)):
            if not file.stem.endswith("-scorm12"):
                continue
            name = file.stem.removesuffix("-scorm12")
            title = json.loads((repository() / "content" / "packages" / name / "package.json").read_text())[
                "title"
            ]
            if title not in there:
                step(f"Uploading the SCORM 1.2 package {title}")
                headers = {"content-type": "application/zip"}
                uploaded = api.call(
                    "POST", "/api/catalog/packages", headers=headers, content=file.read_bytes()
                )
                there[title] = uploaded["package_id"]
            found[name] = there[title]
    return found


def _quizzes(api: Api, step: Callable[[str], None]) -> dict[str, str]:
    there = {q["title"]: q["quiz_id"] for q in api.every("/api/assessment/quizzes")}
    found: dict[str, str] = {}
    for file in sorted((repository() / "content" / "quizzes").glob("*.json")):
        quiz = json.loads(file.read_text())
        if quiz["title"] not in there:
            step(f"Writing the quiz {quiz['title']}")
            there[quiz["title"]] = api.call("POST", "/api/assessment/quizzes", quiz)["quiz_id"]
        found[file.stem] = there[quiz["title"]]
    return found


def _courses(
    api: Api, step: Callable[[str], None], packages: dict[str, str], quizzes: dict[str, str]
) -> dict[str, str]:
    """Slug → course id, each published."""
    there = {c["slug"]: c["course_id"] for c in api.every("/api/catalog/courses")}
    for course in json.loads((repository() / "content" / "courses.json").read_text())["courses"]:
        if course["slug"] in there:
            continue
        step(f"Publishing {course['title']}")
        modules: list[dict[str, Any]] = []
        for module in course["modules"]:
            made = {k: v for k, v in module.items() if k not in ("package", "quiz", "reading")}
            if "package" in module:
                made["package_id"] = packages[module["package"]]
            if "quiz" in module:
                made["quiz_id"] = quizzes[module["quiz"]]
            if "reading" in module:
                made["text"] = (repository() / "content" / "readings" / f"{module['reading']}.md").read_text()
            modules.append(made)
        created = api.call("POST", "/api/catalog/courses", course | {"modules": modules})
        api.call("POST", f"/api/catalog/courses/{created['course_id']}/publish")
        there[course["slug"]] = created["course_id"]
    return there


def _paths(api: Api, step: Callable[[str], None], courses: dict[str, str]) -> dict[str, str]:
    """Slug → path id, each published."""
    there = {p["slug"]: p["path_id"] for p in api.every("/api/catalog/paths")}
    for path in json.loads((repository() / "content" / "paths.json").read_text())["paths"]:
        if path["slug"] in there:
            continue
        step(f"Publishing the path {path['title']}")
        items = [
            {
                "course_id": courses[item["course"]],
                "prerequisite_course_ids": [courses[c] for c in item["prerequisites"]],
            }
            for item in path["items"]
        ]
        there[path["slug"]] = api.call("POST", "/api/catalog/paths", path | {"items": items})["path_id"]
    return there


def _draft(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """A rule is refused until enrollment has heard that its courses are published: catalog's feed is on its way."""
    end = time.monotonic() + 30
    while True:
        try:
            return api.call("POST", "/api/enrollment/rules", body)
        except RuntimeError as e:
            if "unknown-target" not in str(e) or time.monotonic() > end:
                raise
            time.sleep(0.2)


def _rules(api: Api, step: Callable[[str], None], courses: dict[str, str], paths: dict[str, str]) -> None:
    """Who has to learn what, by department; each rule previewed before it is activated."""

    def when(*departments: str) -> dict[str, Any]:
        is_one = [{"attribute": "department", "operator": "is", "value": d} for d in departments]
        return is_one[0] if len(is_one) == 1 else {"any": is_one}

    rules: tuple[tuple[str, dict[str, Any], list[str], list[str], int], ...] = (
        (
            "Engineering basics",
            when("Engineering"),
            ["security-protocols-101"],
            ["engineering-onboarding"],
            30,
        ),
        ("Sales start", when("Sales"), ["code-of-conduct", "sales-essentials"], [], 30),
        ("Safety on the wards", when("Nursing", "Operations"), ["workplace-safety-essentials"], [], 14),
    )
    there = {r["name"]: r for r in api.every("/api/enrollment/rules")}
    for name, condition, course_slugs, path_slugs, days in rules:
        rule = there.get(name)
        if rule is None:
            body = {
                "name": name,
                "condition": condition,
                "course_ids": [courses[s] for s in course_slugs],
                "path_ids": [paths[s] for s in path_slugs],
                "due_in_days": days,
            }
            rule = _draft(api, body)
        if rule["state"] == "draft":
            preview = api.call("POST", f"/api/enrollment/rules/{rule['rule_id']}/preview")
            step(f"Rule {name!r}: when {rule['sentence']}, for {preview['enroll']['count']} people now")
            api.call("POST", f"/api/enrollment/rules/{rule['rule_id']}/activate")
