"""Probes, metrics and the document."""

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from lyceum_kit.errors import Unavailable
from lyceum_kit.http import Model, drain, probes, public
from lyceum_kit.testing import TestKeys, client

Build = Callable[..., FastAPI]


class Course(Model):
    title: str


@pytest.fixture
def router(router: APIRouter) -> APIRouter:
    @router.get("/things/{thing_id}", dependencies=[public])
    async def thing(thing_id: UUID) -> str:
        return str(thing_id)

    @router.post("/courses", dependencies=[public])
    async def create(body: Course) -> str:
        return body.title

    _ = thing, create
    return router


async def ok() -> None: ...


async def broken() -> None:
    raise RuntimeError("user=postgres host=10.0.0.1")


async def away() -> None:
    raise Unavailable("Kafka does not answer")


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_ready_when_every_check_is_green(router: APIRouter, built: Build) -> None:
    async with client(built(router, database=ok, kafka=ok)) as web:
        answer = await web.get("/api/kit/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"database": "ok", "kafka": "ok"}}


async def test_not_ready_names_what_is_red_and_no_more(
    router: APIRouter, built: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "CHECK_SECONDS", 0.05)
    async with client(
        built(router, good=ok, database=broken, kafka=away, clickhouse=hangs, disk=hangs)
    ) as web:
        answer = await web.get("/api/kit/readyz")
        alive = await web.get("/api/kit/livez")
    assert answer.status_code == 503
    assert answer.json()["red"].keys() == {"database", "kafka", "clickhouse", "disk"}
    assert answer.json()["red"]["kafka"] == "Kafka does not answer"
    assert "postgres" not in answer.text
    assert alive.status_code == 200


async def test_who_is_about_to_stop_says_so_and_still_answers(
    router: APIRouter, built: Build, keys: TestKeys
) -> None:
    app = built(router)
    ada = keys.headers(subject="ada")
    async with client(app) as web:
        kept = await web.get("/api/kit/me", headers=ada)
        assert "connection" not in kept.headers
        drain(app)
        probe = await web.get("/api/kit/readyz")
        assert (probe.status_code, probe.json()["type"]) == (503, "urn:lyceum:problem:stopping")
        last = await web.get("/api/kit/me", headers=ada)
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        assert (await web.get("/api/kit/livez")).status_code == 200


async def test_metrics_count_requests_by_template(web: httpx.AsyncClient) -> None:
    thing = uuid4()
    await web.get(f"/things/{thing}")
    text = (await web.get("/metrics")).text
    assert (
        'lyceum_http_seconds_count{method="GET",route="/things/{thing_id}",service="kit",status="200"}'
        in text
    )
    assert str(thing) not in text


async def test_the_document_says_who_may_call_and_that_errors_are_problems(web: httpx.AsyncClient) -> None:
    document = (await web.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    guarded, opened = document["paths"]["/api/kit/me"]["get"], document["paths"]["/api/kit/courses"]["post"]
    assert guarded["security"] == [{"bearer": []}]
    assert "security" not in opened
    assert {"401", "403"} <= guarded["responses"].keys()
    # "default" would allow any status: then no test could find one that nobody told of.
    assert {"409", "default"}.isdisjoint(guarded["responses"])
    assert "409" in opened["responses"]
    problem = opened["responses"]["422"]["content"]
    assert problem == {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    assert "HTTPValidationError" not in document["components"]["schemas"]
