"""HTTP over a real socket: what no client library would send, and answers that arrive while a body is on its way."""

import asyncio
import socket
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import APIRouter, Request

from lyceum_kit.http import MIB, edge, make_app, public
from lyceum_kit.serving import HttpServers
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import TestKeys

HEAD = b"POST /api/kit/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    router = APIRouter()

    @router.post("/echo", dependencies=[public])
    async def echo(request: Request) -> int:
        return len(await request.body())

    _ = echo
    settings = KitSettings(http_host="127.0.0.1")
    app = make_app("kit", settings, router=router, verifier=TestKeys().verifier)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listening = int(probe.getsockname()[1])
    servers = HttpServers(settings, app, [listening])
    serving = asyncio.create_task(servers.run())
    async with asyncio.timeout(10):
        while True:
            try:
                (await asyncio.open_connection("127.0.0.1", listening))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.01)
    yield listening
    servers.stop()
    await serving


async def said(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_an_honest_request_is_answered(port: int) -> None:
    for body in (b"Content-Length: 3\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"):
        answer = await said(port, HEAD + body)
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.endswith(b"3")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /admin HTTP/1.1\r\n\r\n",
        b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
        b"Content-Length: 3, 5\r\n\r\nabcde",
        b"Content-Length: +3\r\n\r\nabc",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 99999999999999999999\r\n\r\n",
        b"Content-Length : 3\r\n\r\nabc",
        b"Transfer-Encoding: gzip, chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
        b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"X: a\rContent-Length: 0\r\n\r\n",
    ],
    ids=lambda rest: rest.split(b"\r\n\r\n")[0][:40].decode("latin-1"),
)
async def test_a_request_that_servers_could_read_in_two_ways_is_refused(port: int, rest: bytes) -> None:
    answer = await said(port, HEAD + rest)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1  # and what follows it is no second request


async def test_who_sends_too_much_is_told_so_and_not_cut_off(port: int) -> None:
    """Seen by a client that hears only after it has said all: without draining it hears a reset connection."""

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(80):
            yield b"x" * 64 * 1024

    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        for content in (b"x" * 5 * MIB, chunks()):
            answer = await client.post("/api/kit/echo", content=content)
            assert (answer.status_code, answer.json()["limit"]) == (413, MIB)
            assert answer.headers["connection"] == "close"


async def test_draining_comes_to_an_end(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "DRAIN_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(HEAD + b"Content-Length: 999999999\r\n\r\nx")
    answer = await asyncio.wait_for(reader.read(), 10)
    assert answer.startswith(b"HTTP/1.1 413")
    writer.close()
