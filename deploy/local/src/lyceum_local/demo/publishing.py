"""The author's and the administrator's work: packages, quizzes, courses, paths, departments, rules. Each found or made."""

import importlib.util
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lyceum_local.demo.api import Api, Refused, until
from lyceum_local.demo.staff import DEPARTMENTS, Late, Person, number
from lyceum_local.paths import repository

Step = Callable[[str], None]
Ids = dict[str, str]
CONTENT = repository() / "content"


def packages(api: Api, step: Step) -> Ids:
    """Folder's name → package id. Uploading the same bytes again gives the same package."""
    spec = importlib.util.spec_from_file_location("pack", CONTENT / "pack.py")
    assert spec
    assert spec.loader
    pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    found: Ids = {}
    with tempfile.TemporaryDirectory() as folder:
        for file in pack.pack_all(Path(folder)):
            if file.stem.endswith("-scorm12"):
                headers = {"content-type": "application/zip"}
                made = api.post("/api/catalog/packages", headers=headers, content=file.read_bytes())
                found[file.stem.removesuffix("-scorm12")] = made["package_id"]
    step(f"{len(found)} SCORM 1.2 packages are uploaded")
    return found


def quizzes(api: Api, step: Step) -> Ids:
    """File's stem → quiz id."""
    there = {q["title"]: q["quiz_id"] for q in api.every("/api/assessment/quizzes")}
    found: Ids = {}
    for file in sorted((CONTENT / "quizzes").glob("*.json")):
        quiz = json.loads(file.read_text())
        if quiz["title"] not in there:
            there[quiz["title"]] = api.post("/api/assessment/quizzes", quiz)["quiz_id"]
        found[file.stem] = there[quiz["title"]]
    step(f"{len(found)} quizzes are written")
    return found


def courses(api: Api, step: Step, packages: Ids, quizzes: Ids) -> Ids:
    """Slug → course id, each published."""
    there = {c["slug"]: c["course_id"] for c in api.every("/api/catalog/courses")}
    written = json.loads((CONTENT / "courses.json").read_text())["courses"]
    for course in written:
        if course["slug"] not in there:
            there[course["slug"]] = _publish(api, course, packages, quizzes)
    step(f"{len(written)} courses are published")
    return {course["slug"]: there[course["slug"]] for course in written}


def _publish(api: Api, course: Mapping[str, Any], packages: Ids, quizzes: Ids) -> str:
    modules: list[dict[str, Any]] = []
    for module in course["modules"]:
        made = {k: v for k, v in module.items() if k not in ("package", "quiz", "reading")}
        if "package" in module:
            made["package_id"] = packages[module["package"]]
        if "quiz" in module:
            made["quiz_id"] = quizzes[module["quiz"]]
        if "reading" in module:
            made["text"] = (CONTENT / "readings" / f"{module['reading']}.md").read_text()
        modules.append(made)
    try:  # a run that was cut short may have left a draft
        course_id = api.get(f"/api/catalog/courses/{course['slug']}/draft")["course_id"]
    except Refused as e:
        if e.status != 404:
            raise
        course_id = api.post("/api/catalog/courses", {**course, "modules": modules})["course_id"]
    api.post(f"/api/catalog/courses/{course_id}/publish")
    return course_id


def paths(api: Api, step: Step, courses: Ids) -> Ids:
    """Slug → path id, each published."""
    there = {p["slug"]: p["path_id"] for p in api.every("/api/catalog/paths")}
    for path in json.loads((CONTENT / "paths.json").read_text())["paths"]:
        if path["slug"] not in there:
            items = [
                {
                    "course_id": courses[item["course"]],
                    "prerequisite_course_ids": [courses[c] for c in item["prerequisites"]],
                }
                for item in path["items"]
            ]
            there[path["slug"]] = api.post("/api/catalog/paths", {**path, "items": items})["path_id"]
        step(f"The path {path['title']} is published")
    return there


def departments(api: Api, step: Step, people: Mapping[str, str]) -> None:
    """An administrator confirms the departments that HR brought along, and names their heads."""
    units = {u["code"]: u for u in api.get("/api/identity/org-units")["items"]}
    for n, department in enumerate(DEPARTMENTS):
        api.put(
            f"/api/identity/org-units/{units[department]['org_unit_id']}/mapping",
            {"head_id": people[number(n)]},
        )
    step(f"{len(DEPARTMENTS)} departments are confirmed, each with its head")


# Who has to learn what: a name, departments, courses, paths, and the days there are for it.
RULES: Sequence[tuple[str, Sequence[str], Sequence[str], Sequence[str], int]] = (
    ("Engineering basics", ("Engineering",), ("security-protocols-101",), ("engineering-onboarding",), 30),
    ("Sales start", ("Sales",), ("code-of-conduct", "sales-essentials"), (), 30),
    ("Safety on the wards", ("Nursing", "Operations"), ("workplace-safety-essentials",), (), 14),
    ("Honest books", ("Finance",), ("code-of-conduct",), (), 30),
)


def rules(api: Api, step: Step, listed: Sequence[Person], courses: Ids, paths: Ids) -> Ids:
    """Name → rule id. Each is previewed, activated, and has enrolled everybody it is about when this is over."""
    there = {r["name"]: r for r in api.every("/api/enrollment/rules")}
    for name, departments, course_slugs, path_slugs, days in RULES:
        is_one = [{"attribute": "department", "operator": "is", "value": d} for d in departments]
        body = {
            "name": name,
            "condition": is_one[0] if len(is_one) == 1 else {"any": is_one},
            "course_ids": [courses[slug] for slug in course_slugs],
            "path_ids": [paths[slug] for slug in path_slugs],
            "due_in_days": days,
        }
        rule = there[name] = there.get(name) or until(lambda b=body: _draft(api, b), "Knowing the courses")
        at = f"/api/enrollment/rules/{rule['rule_id']}"
        if rule["state"] == "draft":
            known = sum(person["department"] in departments for person in listed)
            previewed = until(lambda at=at, n=known: _matches(api, at, n), f"Knowing {known} people")
            step(f"Rule {name!r}: when {rule['sentence']}, for {previewed['enroll']['count']} people")
            api.post(f"{at}/activate")
    for rule in there.values():
        at = f"/api/enrollment/rules/{rule['rule_id']}/preview"
        until(lambda at=at: api.post(at)["enroll"]["count"] == 0, f"Enrolling by {rule['name']!r}")
    return {name: rule["rule_id"] for name, rule in there.items()}


def _draft(api: Api, body: dict[str, Any]) -> dict[str, Any] | None:
    """A rule is refused until enrollment has heard that its courses are published: catalog's feed is on its way."""
    try:
        return api.post("/api/enrollment/rules", body)
    except Refused as e:
        if e.code != "unknown-target":
            raise
        return None


def _matches(api: Api, at: str, people: int) -> dict[str, Any] | None:
    """The preview, once enrollment has heard of everybody."""
    found = api.post(f"{at}/preview")
    return found if found["matched"] >= people else None


def carry_over(api: Api, step: Step, late: Sequence[Late], people: Mapping[str, str], courses: Ids) -> None:
    """An administrator brings along what was open in the learning system before, though its date is over."""
    has = {
        (e["person_id"], e["course_id"])
        for e in api.every("/api/enrollment/enrollments")
        if any(ground["kind"] == "manual" for ground in e["grounds"])
    }
    for each in late:
        person_id, course_id = people[each.external_id], courses[each.course]
        if (person_id, course_id) not in has:
            body = {"person_id": person_id, "course_id": course_id, "due_date": str(each.due)}
            api.post("/api/enrollment/enrollments", {**body, "carried_over": True})
    step(f"{len(late)} late enrolments are carried over from the learning system before")
