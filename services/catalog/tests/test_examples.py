"""The examples show what catalog emits: no field more, none less."""

from typing import Any
from uuid import UUID

from lyceum_kit.delivery import emitted
from lyceum_kit.testing import unlike_examples

TENANT = UUID("01990000-0000-7000-8000-000000000001")
MANIFEST = b"""<manifest identifier="m" xmlns="http://www.imsproject.org/xsd/imscp_rootv1p1p2"
    xmlns:adlcp="http://www.adlnet.org/xsd/adlcp_rootv1p2"><metadata><schema>ADL SCORM</schema>
  <schemaversion>1.2</schemaversion></metadata><organizations default="o"><organization identifier="o">
  <title>Security Protocols 101</title>
  <item identifier="i" identifierref="r"><title>Start</title><adlcp:masteryscore>80</adlcp:masteryscore>
    <adlcp:datafromlms>lang=en</adlcp:datafromlms></item>
  <item identifier="p" identifierref="s"><title>A poster</title></item></organization></organizations>
  <resources><resource identifier="r" type="webcontent" adlcp:scormtype="sco" href="index.html"/>
  <resource identifier="s" type="webcontent" adlcp:scormtype="asset" href="poster.html"/></resources></manifest>"""


async def test_the_examples_tell_an_authors_story_as_it_is_emitted(catalog: Any, zipped: Any) -> None:
    uploaded = await catalog.upload(
        zipped({"imsmanifest.xml": MANIFEST, "index.html": b"<p>1", "poster.html": b"<p>2"})
    )
    assert uploaded.status_code == 201, uploaded.text
    package = uploaded.json()["package_id"]
    course = {
        "title": "Security Protocols 101",
        "slug": "security-protocols-101",
        "summary": "Fifteen minutes that prevent most break-ins.",
        "certifying": True,
        "duration_minutes": 15,
        "modules": [
            {"title": "Start", "kind": "scorm12", "package_id": package, "launch_path": "index.html"},
            {"title": "A poster", "kind": "scorm12", "package_id": package, "launch_path": "poster.html"},
            {"title": "Check", "kind": "quiz", "quiz_id": "01990000-0000-7000-8000-000000009001"},
            {"title": "The policy", "kind": "reading", "text": "# Passwords"},
        ],
    }
    async with catalog.author() as http:
        made = await http.post("/api/catalog/courses", json=course)
        assert made.status_code == 201, made.text
        course_id = made.json()["course_id"]
        await http.post(f"/api/catalog/courses/{course_id}/publish")
        second = await http.post("/api/catalog/courses", json={**course, "slug": "more"})
        await http.post("/api/catalog/courses/more/publish")
        items = [
            {"course_id": course_id},
            {"course_id": second.json()["course_id"], "prerequisite_course_ids": [course_id]},
        ]
        path = {"title": "Engineering", "slug": "engineering", "summary": "All of it", "items": items}
        assert (await http.post("/api/catalog/paths", json=path)).status_code == 201
        await http.post("/api/catalog/courses/more/deprecate", json={"reason": "Old"})
    events = await emitted(catalog.service.ledger, TENANT)
    assert {type(e).__name__ for e in events} == {
        "PackageImported",
        "CourseCreated",
        "CoursePublished",
        "PathPublished",
        "CourseDeprecated",
    }
    assert unlike_examples(events) == {}
