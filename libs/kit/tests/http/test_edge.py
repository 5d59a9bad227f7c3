"""Around every request: what is read of a body, and what every answer has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.types import Message

from lyceum_kit.errors import NotFound
from lyceum_kit.http import MIB, allow, body_limit, edge, public

ERRORS: dict[str, Exception] = {"not-found": NotFound(), "bug": RuntimeError()}


@pytest.fixture
def router() -> APIRouter:
    router = APIRouter()

    @router.get("/closed", dependencies=[allow()])
    async def closed() -> None: ...

    @router.post("/raw", dependencies=[public])
    async def raw(request: Request) -> int:
        return len(await request.body())

    @router.post("/upload", dependencies=[public, body_limit(3 * MIB)])
    async def upload(request: Request) -> int:
        return sum([len(chunk) async for chunk in request.stream()])

    @router.get("/raise/{what}", dependencies=[public])
    async def fail(what: str) -> None:
        raise ERRORS[what]

    _ = closed, raw, upload, fail
    return router


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


async def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(
    router: APIRouter, built: Callable[..., FastAPI]
) -> None:
    order: list[str] = []

    async def receive() -> Message:
        order.append("read")
        return {"type": "http.request", "body": b"x" * MIB, "more_body": True}

    async def send(message: Message) -> None:
        order.append(str(message.get("status", "sent")))

    await built(router)(post("/api/kit/raw", content_length=str(200 * MIB)), receive, send)
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


async def test_a_body_that_never_comes_is_a_time_out(
    router: APIRouter, built: Callable[..., FastAPI], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edge, "BODY_SECONDS", 0.05)
    sent: list[Message] = []

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await asyncio.wait_for(built(router)(post("/api/kit/raw", content_length="10"), receive, send), 5)
    assert sent[0]["status"] == 408
    assert (b"connection", b"close") in sent[0]["headers"]


@pytest.mark.parametrize(
    "path", ["/livez", "/closed", "/nothing", "/raise/bug", "/raise/not-found", "/openapi.json"]
)
async def test_every_answer_has_the_security_headers(web: httpx.AsyncClient, path: str) -> None:
    answer = await web.get(path)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
