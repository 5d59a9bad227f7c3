"""The HTTP edge: denial by default, problems, limits, headers, probes, documentation."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from pydantic import Field
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Message

from lyceum_kit import http
from lyceum_kit.errors import Conflict, Invalid, NotFound, Refused, TooMany, Unavailable
from lyceum_kit.http import (
    MIB,
    Model,
    Page,
    Pages,
    allow,
    body_limit,
    cursor,
    make_app,
    page,
    public,
)
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import TestKeys, client, spans
from lyceum_kit.tokens import Caller

TENANT = UUID("01990000-0000-7000-8000-000000000001")
KEYS = TestKeys()


class Part(Model):
    minutes: int


class Course(Model):
    course_id: UUID
    title: str
    certifying: bool = False
    starts: date | None = None
    weight: float = 1.0
    parts: list[Part] = Field(default_factory=list[Part])


def routes() -> APIRouter:
    router = APIRouter()

    @router.get("/me")
    async def me(who: Annotated[Caller, allow()]) -> str:
        return who.subject

    @router.get("/admin")
    async def admin(who: Annotated[Caller, allow("admin", "operator")]) -> str:
        return who.subject

    @router.get("/things/{thing_id}", dependencies=[public])
    async def thing(thing_id: UUID) -> str:
        return str(thing_id)

    @router.get("/list", dependencies=[public])
    async def listed(paging: Pages) -> Page[int]:
        after = paging.place(int) or 0
        rows = list(range(after + 1, 8))[: paging.limit + 1]
        items, following = page(rows, paging, lambda n: [n])
        return Page(items=list(items), next=following)

    @router.post("/courses", dependencies=[public], status_code=201)
    async def create(body: Course) -> dict[str, Any]:
        return body.model_dump()

    @router.post("/raw", dependencies=[public])
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.post("/upload", dependencies=[public, body_limit(3 * MIB)])
    async def upload(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @router.get("/raise/{what}", dependencies=[public])
    async def fail(what: str) -> None:
        raise ERRORS[what]

    _ = me, admin, thing, listed, create, raw, upload, fail
    return router


class OutOfSeats(Refused):
    code, title = "out-of-seats", "No seat is left"


ERRORS: dict[str, Exception] = {
    "not-found": NotFound("No such course"),
    "conflict": Conflict(),
    "own": OutOfSeats("All 3 seats are taken", seats=3),
    "invalid": Invalid("No", errors=[{"field": "title", "message": "taken"}]),
    "too-many": TooMany(retry_after=7),
    "unavailable": Unavailable("The ledger is away", retry_after=2),
    "bug": RuntimeError("password=hunter2"),
    "outage": ConnectionRefusedError(111, "Connect call failed ('10.0.0.7', 5432)"),
    "disk": FileNotFoundError(2, "No such file", "/srv/hunter2"),
}


def built(router: APIRouter | None = None, **checks: Callable[[], Awaitable[None]]) -> FastAPI:
    return make_app("kit", KitSettings(), router=router or routes(), verifier=KEYS.verifier, checks=checks)


@pytest.fixture
async def web() -> AsyncIterator[httpx.AsyncClient]:
    async with client(built()) as made:
        made.base_url = httpx.URL("http://testserver/api/kit")
        yield made


# Denial by default


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", f"Token {KEYS.token()}", KEYS.token()],
)
async def test_without_a_valid_token_nothing_is_answered(web: httpx.AsyncClient, header: str | None) -> None:
    answer = await web.get("/me", headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:lyceum:problem:unauthenticated"


async def test_a_role_is_needed_where_one_is_named(web: httpx.AsyncClient) -> None:
    learner = await web.get("/admin", headers=KEYS.headers(tenant=TENANT, roles=["learner"]))
    operator = await web.get("/admin", headers=KEYS.headers(roles=["operator"]))
    assert (learner.status_code, operator.status_code) == (403, 200)
    assert learner.json()["type"] == "urn:lyceum:problem:forbidden"


async def test_any_caller_may_use_a_route_without_roles(web: httpx.AsyncClient) -> None:
    answer = await web.get("/me", headers=KEYS.headers(tenant=TENANT, subject="ada"))
    assert answer.json() == "ada"


def test_an_app_with_an_unguarded_route_is_not_built() -> None:
    router = APIRouter()

    @router.get("/open")
    async def _open() -> None: ...

    with pytest.raises(TypeError, match=r"/api/kit/open: the route has neither allow\(\) nor public"):
        built(router)


def test_a_route_unguarded_in_a_router_within_a_router_is_found() -> None:
    inner, outer = APIRouter(prefix="/inner"), APIRouter()

    @inner.get("/open")
    async def _open() -> None: ...

    outer.include_router(inner)
    with pytest.raises(TypeError, match="/api/kit/inner/open"):
        built(outer)


def test_a_router_added_later_is_checked_too() -> None:
    router = APIRouter()

    @router.get("/verify")
    async def _verify() -> None: ...

    with pytest.raises(TypeError, match="/verify"):
        built().include_router(router)


async def test_a_route_added_by_decorator_is_found_before_the_first_answer() -> None:
    app = built()

    @app.get("/late")
    async def _late() -> None: ...

    async with client(app) as web:
        with pytest.raises(TypeError, match="/late"):
            await web.get("/api/kit/livez")


async def bare(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize("route", [Route("/bare", bare), Mount("/mounted", FastAPI())])
def test_routes_that_cannot_carry_a_guard_are_refused(route: Any) -> None:
    router = APIRouter(routes=[route])
    with pytest.raises(TypeError, match="only FastAPI routes can be guarded"):
        built(router)


def test_a_guard_of_the_whole_router_counts() -> None:
    router = APIRouter(dependencies=[allow("admin")])

    @router.get("/closed")
    async def _closed() -> None: ...

    assert built(router)


# Problems


@pytest.mark.parametrize(
    ("what", "status", "members"),
    [
        ("not-found", 404, {"type": "urn:lyceum:problem:not-found", "detail": "No such course"}),
        ("conflict", 409, {"type": "urn:lyceum:problem:conflict"}),
        ("own", 409, {"type": "urn:lyceum:problem:out-of-seats", "title": "No seat is left", "seats": 3}),
        ("invalid", 422, {"errors": [{"field": "title", "message": "taken"}]}),
        ("too-many", 429, {"type": "urn:lyceum:problem:too-many"}),
        ("unavailable", 503, {"detail": "The ledger is away"}),
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
    assert (await web.get("/raise/unavailable")).headers["retry-after"] == "2"
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
    unknown, method = await web.get("/nothing"), await web.delete("/me")
    assert (unknown.status_code, method.status_code) == (404, 405)
    assert unknown.json()["type"] == "urn:lyceum:problem:not-found"
    assert method.json()["type"] == "urn:lyceum:problem:method-not-allowed"
    assert method.headers["allow"] == "GET"


async def test_a_malformed_id_is_an_unknown_id(web: httpx.AsyncClient) -> None:
    assert (await web.get("/things/7")).status_code == 404
    assert (await web.get(f"/things/{TENANT}")).status_code == 200


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


GOOD: dict[str, Any] = {"course_id": str(TENANT), "title": "Security", "starts": "2026-11-24"}


async def test_a_good_body_is_read(web: httpx.AsyncClient) -> None:
    answer = await web.post("/courses", json={**GOOD, "parts": [{"minutes": 3}]})
    assert answer.status_code == 201
    assert answer.json()["starts"] == "2026-11-24"


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


async def test_a_nul_in_an_address_is_an_unknown_id_or_names_the_parameter(web: httpx.AsyncClient) -> None:
    assert (await web.get("/raise/%00")).status_code == 404
    answer = await web.get("/list?limit=3&after=a%00b")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "after")
    assert (await web.get("/list?other=%2500")).status_code == 200


def test_a_body_is_also_made_in_python() -> None:
    made = Course(course_id=TENANT, title="a", starts=date(2026, 11, 24), parts=[Part(minutes=1)])
    assert made.parts == [Part(minutes=1)]
    with pytest.raises(ValueError, match="title"):
        Course.model_validate({"course_id": TENANT, "title": 7})


async def test_what_was_sent_is_not_sent_back(web: httpx.AsyncClient) -> None:
    answer = await web.post("/courses", json={**GOOD, "password": "hunter2"})
    assert answer.status_code == 422
    assert "hunter2" not in answer.text


# Limits


async def chunks(count: int, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


def post(path: str, **headers: str) -> dict[str, Any]:
    """A request as the server hands it to the app."""
    return {
        "type": "http", "http_version": "1.1", "method": "POST", "path": path, "query_string": b"", "root_path": "",
        "scheme": "http",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()],
    }  # fmt: skip


async def test_a_declared_body_over_the_limit_is_refused_before_it_is_read() -> None:
    order: list[str] = []

    async def receive() -> Message:
        order.append("read")
        return {"type": "http.request", "body": b"x" * MIB, "more_body": True}

    async def send(message: Message) -> None:
        order.append(str(message.get("status", "sent")))

    await built()(post("/api/kit/raw", content_length=str(200 * MIB)), receive, send)
    # What a client goes on sending is let go by, up to a limit, or it would hear nothing but a reset connection.
    assert order == ["413", "sent", *["read"] * 16, "sent"]


async def test_an_undeclared_body_is_cut_off_at_the_limit(web: httpx.AsyncClient) -> None:
    assert (await web.post("/raw", content=chunks(16))).json() == MIB
    answer = await web.post("/raw", content=chunks(17))
    assert answer.status_code == 413
    assert answer.headers["connection"] == "close"


async def test_a_route_may_take_more(web: httpx.AsyncClient) -> None:
    assert (await web.post("/upload", content=chunks(48))).json() == 3 * MIB
    assert (await web.post("/upload", content=chunks(49))).status_code == 413
    assert (await web.post("/upload", content=b"x" * (4 * MIB))).status_code == 413


async def test_a_body_that_never_comes_is_a_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await asyncio.wait_for(built()(post("/api/kit/raw", content_length="10"), receive, send), 5)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    "path", ["/livez", "/me", "/nothing", "/raise/bug", "/raise/not-found", "/openapi.json"]
)
async def test_every_answer_has_the_security_headers(web: httpx.AsyncClient, path: str) -> None:
    answer = await web.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


# Lists


async def test_a_list_is_walked_to_its_end(web: httpx.AsyncClient) -> None:
    seen: list[int] = []
    query: dict[str, Any] = {"limit": 3}
    for _ in range(3):
        body = (await web.get("/list", params=query)).json()
        seen += body["items"]
        query["after"] = body["next"]
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert query["after"] is None


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"limit": 0}, 422),
        ({"limit": 201}, 422),
        ({"limit": "x"}, 422),
        ({"after": "!"}, 400),
        ({"after": "MQ"}, 400),
        ({"after": cursor("x")}, 400),
        ({"after": cursor("1", "2")}, 400),
        ({"after": cursor("1\0")}, 400),
        ({"after": base64.urlsafe_b64encode(b'["\\ud800"]').decode()}, 400),
        ({"after": base64.urlsafe_b64encode(b"[" * 300).decode()}, 400),
    ],
)
async def test_a_wrong_page_is_refused(web: httpx.AsyncClient, query: dict[str, Any], status: int) -> None:
    assert (await web.get("/list", params=query)).status_code == status


def test_a_cursor_comes_back_as_it_was() -> None:
    assert http.read_cursor(cursor("山田", 7)) == ("山田", "7")


# Probes and documentation


async def ok() -> None: ...


async def broken() -> None:
    raise RuntimeError("user=postgres host=10.0.0.1")


async def away() -> None:
    raise Unavailable("Kafka does not answer")


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_ready_when_every_check_is_green() -> None:
    async with client(built(database=ok, kafka=ok)) as web:
        answer = await web.get("/api/kit/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"status": "ready", "checks": {"database": "ok", "kafka": "ok"}}


async def test_not_ready_names_what_is_red_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "CHECK_SECONDS", 0.05)
    async with client(built(good=ok, database=broken, kafka=away, clickhouse=hangs, disk=hangs)) as web:
        answer = await web.get("/api/kit/readyz")
        alive = await web.get("/api/kit/livez")
    assert answer.status_code == 503
    assert answer.json()["red"].keys() == {"database", "kafka", "clickhouse", "disk"}
    assert answer.json()["red"]["kafka"] == "Kafka does not answer"
    assert "postgres" not in answer.text
    assert alive.status_code == 200


async def test_who_is_about_to_stop_says_so_and_still_answers() -> None:
    app = built(routes())
    async with client(app) as web:
        kept = await web.get("/api/kit/me", headers=KEYS.headers(tenant=TENANT, subject="ada"))
        assert "connection" not in kept.headers
        http.drain(app)
        probe = await web.get("/api/kit/readyz")
        assert (probe.status_code, probe.json()["type"]) == (503, "urn:lyceum:problem:stopping")
        last = await web.get("/api/kit/me", headers=KEYS.headers(tenant=TENANT, subject="ada"))
        assert (last.status_code, last.headers["connection"]) == (200, "close")
        assert (await web.get("/api/kit/livez")).status_code == 200


async def test_metrics_count_requests_by_template(web: httpx.AsyncClient) -> None:
    await web.get(f"/things/{TENANT}")
    text = (await web.get("/metrics")).text
    assert (
        'lyceum_http_seconds_count{method="GET",route="/things/{thing_id}",service="kit",status="200"}'
        in text
    )
    assert str(TENANT) not in text


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
