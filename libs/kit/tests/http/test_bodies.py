"""Bodies are taken as their types say, or refused by the field that is wrong."""

import json
from datetime import date
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter
from pydantic import Field

from lyceum_kit.http import Model, public

COURSE = UUID("01990000-0000-7000-8000-000000000001")
GOOD: dict[str, Any] = {"course_id": str(COURSE), "title": "Security", "starts": "2026-11-24"}


class Part(Model):
    minutes: int


class Course(Model):
    course_id: UUID
    title: str
    certifying: bool = False
    starts: date | None = None
    weight: float = 1.0
    parts: list[Part] = Field(default_factory=list[Part])


@pytest.fixture
def router() -> APIRouter:
    router = APIRouter(dependencies=[public])

    @router.post("/courses", status_code=201)
    async def create(body: Course) -> dict[str, Any]:
        return body.model_dump()

    _ = create
    return router


async def test_a_good_body_is_read(web: httpx.AsyncClient) -> None:
    answer = await web.post("/courses", json={**GOOD, "parts": [{"minutes": 3}]})
    assert answer.status_code == 201
    assert answer.json()["starts"] == "2026-11-24"


@pytest.mark.parametrize(
    "body",
    [b"{", b"", b"not json", b"\xff\xfe", b"[" * 50_000, b'{"title": "a"', b"\x1f\x8b\x08\x00"],
    ids=lambda b: b[:8],
)
async def test_what_is_no_json_is_a_bad_request(web: httpx.AsyncClient, body: bytes) -> None:
    answer = await web.post("/courses", content=body, headers={"content-type": "application/json"})
    # An empty body is no JSON either, but FastAPI sees a missing one.
    assert answer.status_code == (400 if body else 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("title", 7, "title"),
        ("title", None, "title"),
        ("course_id", "7", "course_id"),
        ("certifying", "true", "certifying"),
        ("certifying", 1, "certifying"),
        ("starts", "soon", "starts"),
        ("starts", 1, "starts"),
        ("weight", "1", "weight"),
        ("weight", float("nan"), "weight"),
        ("parts", {}, "parts"),
        ("parts", [{"minutes": True}], "parts.0.minutes"),
        ("parts", [{"minutes": "3"}], "parts.0.minutes"),
        ("parts", [{"minutes": 1.5}], "parts.0.minutes"),
        ("parts", [{"minutes": 1, "seconds": 2}], "parts.0.seconds"),
        ("colour", "red", "colour"),
    ],
)
async def test_a_body_of_wrong_types_names_the_field(
    web: httpx.AsyncClient, field: str, value: object, named: str
) -> None:
    content = json.dumps({**GOOD, field: value})
    answer = await web.post("/courses", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    body = answer.json()
    assert body["type"] == "urn:lyceum:problem:invalid"
    assert [e["field"] for e in body["errors"]] == [named]
    assert body["errors"][0].keys() == {"field", "message"}


@pytest.mark.parametrize("bad", ["\0", "a\0b", "\ud800", "\\\0"])
async def test_a_text_that_cannot_be_stored_is_refused_by_its_field(web: httpx.AsyncClient, bad: str) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"title": bad}, "title"),
        ({"parts": [{"minutes": 1}, {"minutes": bad}]}, "parts.1.minutes"),
        ({bad: 1}, bad.replace("\ud800", "?")),
    ]
    for change, named in changes:
        content = json.dumps({**GOOD, **change})
        answer = await web.post("/courses", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert [e["field"] for e in answer.json()["errors"]] == [named]


async def test_a_backslash_before_u0000_is_only_a_backslash(web: httpx.AsyncClient) -> None:
    assert (await web.post("/courses", json={**GOOD, "title": "\\u0000"})).status_code == 201


def test_a_body_is_also_made_in_python() -> None:
    made = Course(course_id=COURSE, title="a", starts=date(2026, 11, 24), parts=[Part(minutes=1)])
    assert made.parts == [Part(minutes=1)]
    with pytest.raises(ValueError, match="title"):
        Course.model_validate({"course_id": COURSE, "title": 7})


async def test_what_was_sent_is_not_sent_back(web: httpx.AsyncClient) -> None:
    answer = await web.post("/courses", json={**GOOD, "password": "hunter2"})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
