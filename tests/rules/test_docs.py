"""What the pages say about the code is so: links, excerpts, and the routes, events and settings of each service."""

import base64
import importlib
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.routing import iter_route_contexts

from lyceum_kit import VERSION
from lyceum_kit.service import Service
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds, spelled
from lyceum_local.paths import SERVICES

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
PAGES = TRACKED.stdout.splitlines()
SECTIONS = ["Owns", "Consumes", "Emits", "RPCs and routes", "Run", "Test"]
OF_EVERY_SERVICE = {f"GET /{probe}" for probe in ("livez", "readyz", "metrics", "openapi.json")}
KEY = base64.b64encode(b"k" * 32).decode()

# What a newcomer asks, and words of the answer on the page that docs/README.md leads to.
QUESTIONS = {
    "Which service owns due dates?": "due dates",
    "How do I add a rule condition?": "rules/conditions.py",
    "How do I replay a parked event?": "./lyceum parked replay",
    "Why is this person enrolled?": "ExplainEnrollment",
    "What does this column mean?": "| `due_at` |",
    "How do I restore?": "./lyceum restore",
    "How do I add a topic?": "proto/topics.yaml",
    "What happens when Kafka is down?": "| **Kafka** |",
    "How do I rotate keys?": "./lyceum keys rotate",
    "How do I call it from my service?": "from lyceum_client import",
}

Build = Callable[[str], Service]


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Build:
    """A service from its settings' defaults; building one does no I/O."""
    monkeypatch.setenv("LYCEUM_IDENTITY_SECRET_KEY", KEY)
    monkeypatch.setenv("LYCEUM_ASSESSMENT_MASTER_KEY", KEY)
    monkeypatch.setenv("LYCEUM_CONTENT_URL", f"file://{tmp_path}")

    def built(service: str) -> Service:
        settings = importlib.import_module(f"{service}.settings").Settings()
        made = importlib.import_module(f"{service}.app").build(settings)
        assert isinstance(made, Service)
        return made

    return built


def readme(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text()


def section(service: str, name: str) -> str:
    return re.split(r"^## ", readme(service).partition(f"\n## {name}\n")[2], maxsplit=1, flags=re.M)[0]


def words(text: str) -> set[str]:
    """What is set as code."""
    return set(re.findall(r"`([^`\n]+)`", text))


def routes(text: str) -> set[str]:
    """`GET, POST /rules/{id}?state=` as "GET /rules/{}" and "POST /rules/{}"."""
    named = re.findall(r"`([A-Z]+(?:, [A-Z]+)*) (/[^`]*)`", text)
    return {plain(method, path) for methods, path in named for method in methods.split(", ")}


def plain(method: str, path: str) -> str:
    return f"{method} {re.sub(r'{[^}]*}', '{}', path.partition('?')[0])}"


def dead(text: str, page: Path) -> list[str]:
    """The links of a page's text that lead to no file, or to no heading of one."""
    return [
        link for link in re.findall(r"\]\(([^)\s]+)\)", text) if ":" not in link and not _leads(link, page)
    ]


def _leads(link: str, page: Path) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target.read_text()))


def anchors(text: str) -> set[str]:
    """What GitHub makes of the headings: small letters, digits, hyphens."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    assert dead((ROOT / page).read_text(), ROOT / page) == []


def test_a_link_that_leads_nowhere_is_noticed() -> None:
    text = "[a](gone.md) [b](architecture.md#no-such-thing) [c](#nor-this) [d](architecture.md#layout) [e](https://x.example)"
    assert dead(text, ROOT / "docs" / "README.md") == [
        "gone.md",
        "architecture.md#no-such-thing",
        "#nor-this",
    ]


@pytest.mark.parametrize(("question", "answer"), QUESTIONS.items())
def test_a_newcomers_question_is_answered_within_two_clicks(question: str, answer: str) -> None:
    assert "(docs/README.md)" in (ROOT / "README.md").read_text()
    index = ROOT / "docs" / "README.md"
    [row] = [line for line in index.read_text().splitlines() if question in line]
    page, _, anchor = re.findall(r"\]\(([^)\s]+)\)", row)[0].partition("#")
    text = (index.parent / page).read_text()
    if anchor:
        parts = re.split(r"^(?=#+ )", text, flags=re.M)
        text = next(part for part in parts if anchor in anchors(part.partition("\n")[0]))
    assert answer in text


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/guides/")])
def test_excerpts_are_in_the_files_they_name(page: str) -> None:
    excerpts = re.findall(r"```\w+ (\S+/\S+)\n(.+?)```", (ROOT / page).read_text(), re.S)
    assert [path for path, text in excerpts if text not in (ROOT / path).read_text()] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_has_the_sections_of_all(service: str) -> None:
    found = re.findall(r"^## (.+)$", readme(service), re.M)
    assert [name for name in found if name in SECTIONS] == SECTIONS


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_the_events_that_go_and_come(service: str, build: Build) -> None:
    own = {spelled(name) for feed in feeds().values() if feed.producer == service for name in feed.messages}
    said = words(section(service, "Emits"))
    assert own <= said
    handled = {
        spelled(kind.DESCRIPTOR.full_name) for kinds in build(service).consumes.values() for kind in kinds
    }
    taken = words(section(service, "Consumes"))
    assert handled <= taken
    every = {spelled(name) for feed in feeds().values() for name in feed.messages}
    assert (said & every, taken & every) == (own, handled)


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_the_rpcs_and_routes(service: str, build: Build) -> None:
    made, text = build(service), section(service, "RPCs and routes")
    there = {
        plain(method, str(route.path).removeprefix(f"/api/{service}"))
        for route in iter_route_contexts(made.http.routes)
        for method in route.methods or ()
    }
    assert routes(text) - OF_EVERY_SERVICE == there - OF_EVERY_SERVICE
    assert {rpc for one in made.rpc for rpc in one.access} <= words(text)


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_the_settings_of_its_own(service: str) -> None:
    fields = importlib.import_module(f"{service}.settings").Settings.model_fields
    own = {f"LYCEUM_{name.upper()}" for name in fields.keys() - KitSettings.model_fields.keys()}
    shared = {f"LYCEUM_{name.upper()}" for name in KitSettings.model_fields}
    said = {word for word in words(readme(service)) if word.startswith("LYCEUM_")}
    assert (own - said, said - own - shared) == (set(), set())


def test_every_project_has_the_version_that_services_tell() -> None:
    files = [
        ROOT / "pyproject.toml",
        *(f for f in ROOT.glob("*/**/pyproject.toml") if ".venv" not in f.parts),
    ]
    versions = {str(f): tomllib.loads(f.read_text())["project"]["version"] for f in files}
    assert set(versions.values()) == {VERSION}, versions
