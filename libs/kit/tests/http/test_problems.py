"""What goes wrong is answered as a problem, and tells nothing that it should not."""

from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import APIRouter

from lyceum_kit.errors import Conflict, Invalid, NotFound, Refused, TooMany, Unavailable
from lyceum_kit.http import Page, Pages, public
from lyceum_kit.testing import spans


class OutOfSeats(Refused):
    code, title = "out-of-seats", "No seat is left"


ERRORS: dict[str, Exception] = {
    "not-found": NotFound("No such course"),
    "conflict": Conflict(),
    "own": OutOfSeats("All 3 seats are taken", seats=3),
    "invalid": Invalid("No", errors=[{"field": "title", "message": "taken"}]),
    "too-many": TooMany(retry_after=7),
    "unavailable": Unavailable("The ledger is away"),
    "bug": RuntimeError("password=hunter2"),
    "outage": ConnectionRefusedError(111, "Connect call failed ('10.0.0.7', 5432)"),
    "disk": FileNotFoundError(2, "No such file", "/srv/hunter2"),
}


@pytest.fixture
def router() -> APIRouter:
    router = APIRouter(dependencies=[public])

    @router.get("/things/{thing_id}")
    async def thing(thing_id: UUID) -> str:
        return str(thing_id)

    @router.get("/list")
    async def listed(paging: Pages) -> Page[int]:
        return Page(items=list(range(paging.limit)))

    @router.get("/raise/{what}")
    async def fail(what: str) -> None:
        raise ERRORS[what]

    _ = thing, listed, fail
    return router


@pytest.mark.parametrize(
    ("what", "status", "members"),
    [
        ("not-found", 404, {"type": "urn:lyceum:problem:not-found", "detail": "No such course"}),
        ("conflict", 409, {"type": "urn:lyceum:problem:conflict"}),
        ("own", 409, {"type": "urn:lyceum:problem:out-of-seats", "title": "No seat is left", "seats": 3}),
        ("invalid", 422, {"errors": [{"field": "title", "message": "taken"}]}),
        ("too-many", 429, {"type": "urn:lyceum:problem:too-many"}),
        ("unavailable", 503, {"detail": "The ledger is away", "retry_after": 1}),
        ("outage", 503, {"detail": "The database cannot be reached", "retry_after": 2}),
    ],
)
async def test_an_error_becomes_its_problem(
    web: httpx.AsyncClient, what: str, status: int, members: dict[str, Any]
) -> None:
    answer = await web.get(f"/raise/{what}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert members.items() <= body.items()


async def test_when_to_come_back_is_a_header_too(web: httpx.AsyncClient) -> None:
    assert (await web.get("/raise/unavailable")).headers["retry-after"] == "1"
    assert (await web.get("/raise/too-many")).headers["retry-after"] == "7"


@pytest.mark.parametrize("what", ["bug", "disk"])
async def test_a_bug_shows_its_trace_and_nothing_else(web: httpx.AsyncClient, what: str) -> None:
    finished = spans()
    answer = await web.get(f"/raise/{what}")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["type"] == "urn:lyceum:problem:internal"
    [span] = [s for s in finished.get_finished_spans() if s.name.startswith("GET")]
    assert span.context is not None
    assert answer.json()["trace_id"] == f"{span.context.trace_id:032x}"


async def test_unknown_paths_and_methods_are_problems(web: httpx.AsyncClient) -> None:
    unknown, method = await web.get("/nothing"), await web.delete("/list")
    assert (unknown.status_code, method.status_code) == (404, 405)
    assert unknown.json()["type"] == "urn:lyceum:problem:not-found"
    assert method.json()["type"] == "urn:lyceum:problem:method-not-allowed"
    assert method.headers["allow"] == "GET"


async def test_a_malformed_id_is_an_unknown_id(web: httpx.AsyncClient) -> None:
    assert (await web.get("/things/7")).status_code == 404
    assert (await web.get(f"/things/{uuid4()}")).status_code == 200


async def test_a_nul_in_an_address_is_an_unknown_id_or_names_the_parameter(web: httpx.AsyncClient) -> None:
    assert (await web.get("/raise/%00")).status_code == 404
    answer = await web.get("/list?limit=3&after=a%00b")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")
    assert (await web.get("/list?other=%2500")).status_code == 200
