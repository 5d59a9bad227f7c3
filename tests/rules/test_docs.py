"""What the pages say about the code is so: links, excerpts, and the routes, events and settings of each service."""

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds, spelled
from lyceum_local.paths import SERVICES

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    subprocess.run(
        ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
)
SECTIONS = ["Owns", "Consumes", "Emits", "RPCs and routes", "Run", "Test"]
# Every service has these from the kit; the README of the kit's settings is the class itself.
OF_EVERY_SERVICE = re.compile(r"/(healthz|readyz|metrics|system|parked|rebuild|openapi\.json|docs)\b")


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    file = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text())
    assert [link for link in links if not (file.parent / link).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.startswith("docs/guides/")])
def test_excerpts_are_in_the_files_they_name(page: str) -> None:
    excerpts = re.findall(r"```\w+ (\S+/\S+)\n(.+?)```", (ROOT / page).read_text(), re.S)
    assert [path for path, text in excerpts if text not in (ROOT / path).read_text()] == []


def readme(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text()


def section(service: str, name: str) -> str:
    return re.split(r"^## ", readme(service).partition(f"## {name}\n")[2], maxsplit=1, flags=re.M)[0]


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_has_the_sections_of_all(service: str) -> None:
    assert re.findall(r"^## (.+)$", readme(service), re.M) == SECTIONS


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_every_event_that_comes_and_goes(service: str, built: Any) -> None:
    emitted = {
        spelled(name) for feed in feeds().values() if feed.producer == service for name in feed.messages
    }
    assert words(section(service, "Emits")) >= emitted
    consumed = {
        spelled(kind.DESCRIPTOR.full_name) for kinds in built(service).consumes.values() for kind in kinds
    }
    assert words(section(service, "Consumes")) >= consumed


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_every_setting_of_its_own(service: str) -> None:
    settings = importlib.import_module(f"{service}.settings").Settings
    own = {
        f"LYCEUM_{name.upper()}" for name in settings.model_fields.keys() - KitSettings.model_fields.keys()
    }
    assert words(section(service, "Run")) >= own


@pytest.mark.parametrize("service", SERVICES)
def test_a_readme_names_every_rpc_and_route_and_no_other(service: str, built: Any) -> None:
    text = section(service, "RPCs and routes")
    ...


def words(text: str) -> set[str]:
    return {word for quoted in re.findall(r"`([^`]+)`", text) for word in re.split(r"[\s,|]+", quoted)}
