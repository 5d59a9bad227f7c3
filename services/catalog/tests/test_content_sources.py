"""The demo's own courses: they pack the same way each time, import, and name only what exists."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

CONTENT = Path(__file__).resolve().parents[3] / "content"


@pytest.fixture
def packed(tmp_path: Path) -> dict[str, bytes]:
    pack_all = runpy.run_path(str(CONTENT / "pack.py"))["pack_all"]
    return {file.name: file.read_bytes() for file in pack_all(tmp_path)}


def test_packing_twice_gives_the_same_bytes(packed: dict[str, bytes], tmp_path: Path) -> None:
    pack_all = runpy.run_path(str(CONTENT / "pack.py"))["pack_all"]
    assert {file.name: file.read_bytes() for file in pack_all(tmp_path / "again")} == packed


async def test_the_scorm_packages_import_and_the_cmi5_package_is_not_yet_supported(
    catalog: Any, packed: dict[str, bytes]
) -> None:
    launched: dict[str, list[str]] = {}
    for name, body in packed.items():
        answer = await catalog.upload(body)
        if name.endswith("-cmi5.zip"):
            assert answer.json()["type"] == "urn:lyceum:problem:cmi5-not-supported"
        else:
            assert answer.status_code == 201, answer.text
            launched[name] = [item["launch_path"] for item in answer.json()["items"] if item["sco"]]
    assert launched == {
        "engineering-handbook-scorm12.zip": ["how-we-work.html", "shipping-safely.html"],
        "security-protocols-101-scorm12.zip": ["index.html"],
    }
    assert "security-protocols-101-cmi5.zip" in packed


def test_courses_and_paths_name_only_what_exists(packed: dict[str, bytes]) -> None:
    courses = json.loads((CONTENT / "courses.json").read_text())["courses"]
    paths = json.loads((CONTENT / "paths.json").read_text())["paths"]
    for module in [module for course in courses for module in course["modules"]]:
        if module["kind"] == "scorm12":
            assert f"{module['package']}-scorm12.zip" in packed
        elif module["kind"] == "quiz":
            assert (CONTENT / "quizzes" / f"{module['quiz']}.json").is_file()
        else:
            assert (CONTENT / "readings" / f"{module['reading']}.md").read_text().startswith("# ")
    slugs = {course["slug"] for course in courses}
    for path in paths:
        for item in path["items"]:
            assert {item["course"], *item["prerequisites"]} <= slugs


def test_every_question_can_be_answered_right() -> None:
    kinds: set[str] = set()
    for file in (CONTENT / "quizzes").glob("*.json"):
        for question in json.loads(file.read_text())["questions"]:
            kinds.add(question["type"])
            right = [option for option in question.get("options", []) if option["correct"]]
            assert right or "value" in question or question["accepted"], question["question_id"]
    assert kinds == {"multiple_choice", "multiple_response", "numeric", "short_text"}


def test_the_pages_load_nothing_from_elsewhere() -> None:
    for page in (CONTENT / "packages").rglob("*.html"):
        text = page.read_text()
        assert "http" not in text, page
        assert '<html lang="en">' in text
