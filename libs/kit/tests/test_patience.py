"""Sockets that say nothing, or half of it, are closed; slow answers and busy connections are not."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from lyceum_kit import patience
from lyceum_kit.patience import PatientProtocol

LIMIT = 0.3
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def answer(scope: Any, receive: Any, send: Any) -> None:
    if scope["path"] == "/slow":
        await asyncio.sleep(LIMIT * 3)  # longer than a head may take
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(patience, "HEAD_SECONDS", LIMIT)
    config = uvicorn.Config(
        answer, host="127.0.0.1", port=0, http=PatientProtocol, log_config=None, lifespan="off"
    )
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: PatientProtocol(config, ServerState(), {}), "127.0.0.1", 0
    )
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.mark.parametrize("said", [b"", b"G", b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: "])
async def test_half_a_head_is_closed(port: int, said: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(said)
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_a_trickle_of_header_bytes_is_closed(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\n")
    ended = asyncio.create_task(reader.read())
    async with asyncio.timeout(10):
        while not ended.done():
            writer.write(b"X: y\r\n")
            await asyncio.wait({ended}, timeout=LIMIT / 5)
    assert ended.result() == b""
    writer.close()


async def test_half_a_second_head_on_a_used_connection_is_closed(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST)
    assert b"200 OK" in await reader.readuntil(b"ok")
    writer.write(b"GET / HT")
    assert await asyncio.wait_for(reader.read(), 10) == b""
    writer.close()


async def test_a_slow_answer_is_waited_for(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST.replace(b" / ", b" /slow "))
    assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"ok"), 10)
    writer.close()


async def test_pipelined_slow_answers_are_waited_for(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(REQUEST + REQUEST.replace(b" / ", b" /slow "))
    for _ in range(2):
        assert b"200 OK" in await asyncio.wait_for(reader.readuntil(b"ok"), 10)
    writer.close()
