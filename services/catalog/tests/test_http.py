"""The routes, over a real database."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from lyceum.catalog.v1.events_pb2 import CourseDeprecated, CoursePublished, PathPublished
from lyceum_kit.delivery import emitted
from lyceum_kit.testing import client

TENANT = UUID("01990000-0000-7000-8000-000000000001")
READING = {"title": "Read this", "kind": "reading", "text": "# Hello"}


def course(slug: str = "secure-coding", **more: Any) -> dict[str, Any]:
    return {
        "title": slug.replace("-", " ").title(),
        "slug": slug,
        "summary": "s",
        "modules": [READING],
        **more,
    }


async def published(catalog: Any, slug: str, **more: Any) -> str:
    async with catalog.author() as http:
        made = await http.post("/api/catalog/courses", json=course(slug, **more))
        assert made.status_code == 201, made.text
        answer = await http.post(f"/api/catalog/courses/{slug}/publish")
        assert answer.status_code == 200, answer.text
        return made.json()["course_id"]


async def test_an_author_publishes_a_course_and_a_learner_finds_it(catalog: Any) -> None:
    course_id = await published(catalog, "secure-coding", certifying=True, duration_minutes=20)
    async with catalog.as_("learner") as http:
        found = (await http.get("/api/catalog/courses", params={"search": "CODING"})).json()
        assert [item["slug"] for item in found["items"]] == ["secure-coding"]
        assert found["items"][0]["certifying"] is True
        assert (await http.get("/api/catalog/courses", params={"search": "100%"})).json()["items"] == []
        for key in (course_id, "secure-coding"):
            whole = (await http.get(f"/api/catalog/courses/{key}")).json()
            assert whole["course_version"] == 1
            assert whole["modules"][0]["text"] == "# Hello"


async def test_publishing_twice_makes_one_version_and_a_changed_draft_the_next(catalog: Any) -> None:
    course_id = await published(catalog, "secure-coding")
    async with catalog.author() as http:
        again = await http.post(f"/api/catalog/courses/{course_id}/publish")
        assert again.json()["course_version"] == 1
        draft = (await http.get(f"/api/catalog/courses/{course_id}/draft")).json()["draft"]
        changed = await http.put(f"/api/catalog/courses/{course_id}", json={**draft, "title": "Safer coding"})
        assert changed.status_code == 200, changed.text
        assert (await http.get(f"/api/catalog/courses/{course_id}")).json()["title"] == "Secure Coding"
        assert (await http.post(f"/api/catalog/courses/{course_id}/publish")).json()["course_version"] == 2
        first = (await http.get(f"/api/catalog/courses/{course_id}?version=1")).json()
        newest = (await http.get(f"/api/catalog/courses/{course_id}")).json()
    assert (first["title"], newest["title"]) == ("Secure Coding", "Safer coding")
    assert first["modules"][0]["module_id"] == newest["modules"][0]["module_id"]
    events = await emitted(catalog.service.ledger, TENANT, f"course/{course_id}")
    assert [event.course_version for event in events if isinstance(event, CoursePublished)] == [1, 2]


async def test_a_slug_belongs_to_one_course_and_the_answer_names_it(catalog: Any) -> None:
    course_id = await published(catalog, "secure-coding")
    async with catalog.author() as http:
        answer = await http.post("/api/catalog/courses", json=course())
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:lyceum:problem:slug-taken"
    assert answer.json()["course_id"] == course_id


async def test_a_deprecated_course_stays_readable_and_gets_no_new_version(catalog: Any) -> None:
    course_id = await published(catalog, "secure-coding")
    async with catalog.author() as http:
        for _ in range(2):
            answer = await http.post(f"/api/catalog/courses/{course_id}/deprecate", json={"reason": "Old"})
            assert answer.status_code == 204
        assert (await http.get(f"/api/catalog/courses/{course_id}")).json()["deprecated"] is True
        assert (await http.post(f"/api/catalog/courses/{course_id}/publish")).status_code == 409
    events = await emitted(catalog.service.ledger, TENANT, f"course/{course_id}")
    assert sum(isinstance(event, CourseDeprecated) for event in events) == 1


async def test_a_path_keeps_its_prerequisites_and_refuses_a_cycle(catalog: Any) -> None:
    first, second = await published(catalog, "first"), await published(catalog, "second")
    body: dict[str, Any] = {
        "title": "Both", "slug": "both",
        "items": [{"course_id": first}, {"course_id": second, "prerequisite_course_ids": [first]}],
    }  # fmt: skip
    async with catalog.author() as http:
        made = await http.post("/api/catalog/paths", json=body)
        assert made.status_code == 201, made.text
        path_id = made.json()["path_id"]
        assert (await http.get("/api/catalog/paths/both")).json() == made.json()
        assert [p["slug"] for p in (await http.get("/api/catalog/paths")).json()["items"]] == ["both"]
        assert (await http.put(f"/api/catalog/paths/{path_id}", json=body)).json()["path_version"] == 1
        body["items"][0]["prerequisite_course_ids"] = [second]
        cycle = await http.put(f"/api/catalog/paths/{path_id}", json=body)
        unknown = await http.post(
            "/api/catalog/paths", json={**body, "slug": "x", "items": [{"course_id": str(uuid4())}]}
        )
    assert cycle.status_code == 422
    assert cycle.json()["type"] == "urn:lyceum:problem:prerequisite-cycle"
    assert unknown.json()["type"] == "urn:lyceum:problem:path-invalid"
    events = await emitted(catalog.service.ledger, TENANT, f"path/{path_id}")
    assert [type(event) for event in events] == [PathPublished]


async def test_another_tenants_ids_are_unknown(catalog: Any, zipped: Any, good: Any) -> None:
    course_id = await published(catalog, "secure-coding")
    package_id = (await catalog.upload(zipped(good))).json()["package_id"]
    stranger = uuid4()
    async with catalog.as_("author", tenant=stranger) as http:
        for url in (f"courses/{course_id}", "courses/secure-coding", f"packages/{package_id}"):
            theirs = await http.get(f"/api/catalog/{url}")
            unknown = await http.get(f"/api/catalog/{url.split('/')[0]}/{uuid4()}")
            assert theirs.status_code == 404
            assert theirs.json() == unknown.json()
        assert (await http.post(f"/api/catalog/courses/{course_id}/publish")).status_code == 404
        assert (await http.get("/api/catalog/courses")).json()["items"] == []


async def test_learners_may_read_and_not_write_and_strangers_nothing(catalog: Any) -> None:
    async with catalog.as_("learner") as http:
        assert (await http.get("/api/catalog/courses")).status_code == 200
        assert (await http.post("/api/catalog/courses", json=course())).status_code == 403
        assert (await http.post("/api/catalog/packages", content=b"x")).status_code == 403
    async with client(catalog.service) as http:
        assert (await http.get("/api/catalog/courses")).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        {"title": 7}, {"title": ""}, {"title": "a\u0000b"}, {"slug": "../x"}, {"certifying": "yes"},
        {"duration_minutes": True}, {"unknown": 1}, {"modules": [{**READING, "kind": "aicc"}]},
        {"modules": [{**READING, "text": "\u0000"}]}, {"language": "english please"},
    ],
)  # fmt: skip
async def test_a_body_of_wrong_types_is_refused(catalog: Any, change: dict[str, Any]) -> None:
    async with catalog.author() as http:
        answer = await http.post("/api/catalog/courses", json=course(**change))
    assert answer.status_code == 422, answer.text


async def test_odd_ids_and_searches_are_answered_plainly(catalog: Any) -> None:
    async with catalog.author() as http:
        assert (await http.get("/api/catalog/courses/%00")).status_code == 404
        assert (await http.get("/api/catalog/courses", params={"search": "\x00"})).status_code == 422
        assert (await http.get("/api/catalog/packages/nonsense")).status_code == 404
        assert (await http.get("/api/catalog/courses", params={"after": "rubbish"})).status_code in (400, 422)
        cursor = "WyJ4IiwieSJd"  # ["x","y"]: well-formed, but no id
        assert (await http.get("/api/catalog/courses", params={"after": cursor})).status_code == 400
        assert (await http.get("/api/catalog/packages", params={"after": cursor})).status_code == 400


async def test_pages_of_courses_follow_each_other(catalog: Any) -> None:
    slugs = [f"course-{n}" for n in range(5)]
    for slug in slugs:
        await published(catalog, slug)
    seen: list[str] = []
    async with catalog.author() as http:
        after = None
        while True:
            params = {"limit": "2", **({"after": after} if after else {})}
            answer = (await http.get("/api/catalog/courses", params=params)).json()
            seen += [item["slug"] for item in answer["items"]]
            after = answer["next"]
            if after is None:
                break
    assert seen == slugs


async def test_a_scorm_module_takes_what_its_package_says(catalog: Any, zipped: Any, good: Any) -> None:
    package = (await catalog.upload(zipped(good))).json()
    module = {"title": "Play", "kind": "scorm12", "package_id": package["package_id"]}
    await published(catalog, "played", modules=[module])
    async with catalog.author() as http:
        shown = (await http.get("/api/catalog/courses/played")).json()["modules"][0]
        assert (shown["launch_path"], shown["complete_on_view"]) == ("index.html", False)
        for wrong in ({"package_id": str(uuid4())}, {"launch_path": "other.html"}, {"package_id": None}):
            await http.post("/api/catalog/courses", json=course("wrong", modules=[{**module, **wrong}]))
            answer = await http.post("/api/catalog/courses/wrong/publish")
            assert answer.json()["type"] == "urn:lyceum:problem:modules-invalid"
        await http.post("/api/catalog/courses", json=course("empty", modules=[]))
        assert (await http.post("/api/catalog/courses/empty/publish")).status_code == 409
