"""A part is away for a while, under load: writes keep their promise, readiness tells the truth, all catch up.

Short here; `./lyceum test --faults` has each part away for a minute.
"""

import asyncio
import signal
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx
import psutil
import pytest

from lyceum_local.testing import Platform
from lyceum_local.testing.audit import audit
from lyceum_local.testing.load import Load, prepare

FOR_LONG = pytest.param(60, marks=pytest.mark.faults)


@asynccontextmanager
async def under_load(platform: Platform) -> AsyncGenerator[Load]:
    """Some 50 events a second: hires, the enrolments that follow, and learners. Nothing is lost or doubled."""
    load = await prepare(platform)
    async with load.running(hires=25, learners=4):
        await load.until(lambda it: len(it.hired) > 10)
        yield load
        await load.more_hired(10)
    await load.deliver_rest()
    await platform.settled()
    assert [*load.broken, *await audit(platform.config), *await load.discrepancies()] == []
    async with platform.http() as http:
        for service in ("identity", "enrollment", "assessment", "analytics"):
            answer = await readiness(http, service)
            assert answer.status_code == 200, (service, answer.text)


@asynccontextmanager
async def gone(platform: Platform, name: str, number: signal.Signals, seconds: float) -> AsyncGenerator[None]:
    """The part has ended, and the supervisor does not start it again until the end of the block."""
    supervisor, process = platform.part("supervisor"), platform.part(name)
    supervisor.suspend()
    try:
        process.send_signal(number)
        async with asyncio.timeout(20):
            while process.status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.05)
        began = time.monotonic()
        yield
        await asyncio.sleep(began + seconds - time.monotonic())
    finally:
        supervisor.resume()


async def readiness(http: httpx.AsyncClient, service: str) -> httpx.Response:
    return await http.get(f"/api/{service}/readyz")


@pytest.mark.parametrize("seconds", [3, FOR_LONG])
async def test_the_broker_is_frozen_and_every_write_is_taken(breakable: Platform, seconds: float) -> None:
    kafka = breakable.part("kafka")
    async with under_load(breakable) as load, breakable.http() as http:
        kafka.suspend()
        try:
            began, answers = time.monotonic(), load.answers.copy()
            await load.more_hired(10)
            assert not {a for a in load.answers - answers if not a.startswith("2")}
            assert (await readiness(http, "identity")).status_code == 200, (
                "not sent for a moment is no trouble"
            )
            if seconds > 30:
                red = await turns(http, "identity", 503)
                assert "wait to be sent" in red.text
            await asyncio.sleep(began + seconds - time.monotonic())
        finally:
            kafka.resume()
        await turns(http, "identity", 200)


@pytest.mark.parametrize("seconds", [1, FOR_LONG])
async def test_postgresql_restarts_and_says_so_meanwhile(breakable: Platform, seconds: float) -> None:
    async with under_load(breakable) as load, breakable.http() as http:
        async with gone(breakable, "postgres", signal.SIGINT, seconds):
            refused = load.answers["503"]
            await load.until(lambda it: it.answers["503"] > refused + 3)
            for service in ("identity", "catalog", "enrollment", "assessment"):
                red = await readiness(http, service)
                assert (red.status_code, red.headers["retry-after"]) == (503, "1"), service
        await turns(http, "identity", 200)


@pytest.mark.parametrize("seconds", [1, FOR_LONG])
async def test_analytics_dies_and_nobody_else_notices(breakable: Platform, seconds: float) -> None:
    async with under_load(breakable) as load, breakable.http() as http:
        async with gone(breakable, "analytics", signal.SIGKILL, seconds):
            answers = load.answers.copy()
            await load.more_hired(10)
            assert not {a for a in load.answers - answers if not a.startswith("2")}
            for path in ("readyz", "overview"):
                red = await http.get(f"/api/analytics/{path}")
                assert (red.status_code, red.headers["retry-after"]) == (503, "1")
        await turns(http, "analytics", 200)


async def turns(http: httpx.AsyncClient, service: str, status: int) -> httpx.Response:
    async with asyncio.timeout(60):
        while (answer := await readiness(http, service)).status_code != status:
            await asyncio.sleep(0.1)
        return answer
