"""Whatever breaks at once — the power, Kafka's disk, ClickHouse's — what was answered 2xx is there afterwards, once."""

import asyncio
import contextlib
import io
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psutil
import pytest
from rich.console import Console

from lyceum_local.demo.play import play
from lyceum_local.demo.screen import Screen
from lyceum_local.postgres import with_database
from lyceum_local.testing import Platform
from lyceum_local.testing.audit import audit
from lyceum_local.testing.load import Load, prepare


async def whole(load: Load) -> list[str]:
    """All that is wrong once everything has settled."""
    platform = load.platform
    await load.deliver_rest()
    await platform.settled()
    return [*load.broken, *await audit(platform.config), *await load.discrepancies()]


async def test_after_kill_9_of_everything_under_load_all_that_was_answered_is_there_once(
    breakable: Platform,
) -> None:
    load = await prepare(breakable)
    async with load.running(hires=10, learners=4):
        await load.until(lambda it: len(it.hired) > 20 and any(p.kept for p in it.learners.values()))
        await asyncio.to_thread(breakable.kill)
    assert load.sent.keys() - load.hired, "nothing was under way when the power failed"
    await asyncio.to_thread(breakable.up)
    assert await whole(load) == []


async def test_the_book_and_the_audit_see_what_is_lost_or_doubled(breakable: Platform) -> None:
    """The control: without it the tests here could not fail."""
    load = await prepare(breakable)
    async with load.running(hires=20, learners=0):
        await load.until(lambda it: len(it.hired) > 3)
    assert await whole(load) == []
    load.hired.add("Ada whom nobody kept")
    load.sent.pop(lost := next(name for name in load.hired if name in load.sent))
    assert await load.discrepancies() == [
        "no person of Ada whom nobody kept",
        f"a person of {lost}, whom nobody sent",
    ]
    enrollment = await asyncpg.connect(with_database(breakable.config.postgres_url, "enrollment"))
    try:
        place = await enrollment.fetchrow("SELECT feed, partition FROM progress WHERE next > 1 LIMIT 1")
        assert place
        for change, undo in (
            ("next = next - 1", "next = next + 1"),
            ("last_id = 'x' || last_id", "last_id = substr(last_id, 2)"),
        ):
            where = "WHERE feed = $1 AND partition = $2"
            await enrollment.execute(f"UPDATE progress SET {change} {where}", *place)
            assert len(await audit(breakable.config)) == 1
            await enrollment.execute(f"UPDATE progress SET {undo} {where}", *place)
        assert await audit(breakable.config) == []
    finally:
        await enrollment.close()


@asynccontextmanager
async def nobody_consumes(platform: Platform) -> AsyncGenerator[None]:
    """Events go to Kafka and no further: the ledger services' places are locked, analytics is frozen."""
    analytics = platform.part("analytics")
    locks = [
        await asyncpg.connect(with_database(platform.config.postgres_url, s))
        for s in ("enrollment", "assessment")
    ]
    try:
        for connection in locks:
            await connection.execute("BEGIN; SELECT * FROM progress FOR UPDATE")
        analytics.suspend()
        yield
    finally:
        for connection in locks:
            connection.terminate()
        with contextlib.suppress(psutil.NoSuchProcess):
            analytics.resume()


async def test_a_deleted_kafka_folder_loses_and_doubles_nothing(breakable: Platform) -> None:
    load = await prepare(breakable)
    await breakable.settled()
    before = healed(breakable)
    async with nobody_consumes(breakable):
        async with load.running(hires=20, learners=0):
            await load.until(lambda it: len(it.hired) > 20)
        await only_kafka_has_them(breakable)
        await asyncio.to_thread(breakable.kill)
    shutil.rmtree(breakable.config.data / "kafka")
    await asyncio.to_thread(breakable.up)
    async with load.running(hires=10, learners=2):
        await load.until(lambda it: len(it.hired) > 30)
    assert await whole(load) == []
    after = healed(breakable)
    assert all(after[service] > before[service] for service in after), "they came from somewhere else"


def healed(platform: Platform) -> dict[str, int]:
    """Events that each ledger service read from the producers since Kafka did not have them."""
    reports = platform.reports()
    return {s: sum(c["healed"] for c in reports[s]["consumers"]) for s in ("enrollment", "assessment")}


async def only_kafka_has_them(platform: Platform) -> None:
    """Identity's events are sent, and neither enrollment nor assessment has handled them."""
    async with asyncio.timeout(20):
        while True:
            reports = [
                await asyncio.to_thread(platform.operator.call, "GET", f"/api/{s}/system/feeds")
                for s in ("identity", "enrollment", "assessment")
            ]
            if all(f["sent"] == f["head"] for f in reports[0]["feeds"]):
                break
            await asyncio.sleep(0.1)
    for report in reports[1:]:
        assert sum(c["lag"] for c in report["consumers"] if c["feed"] == "identity") > 10


async def test_a_deleted_clickhouse_folder_is_filled_again_from_the_ledgers(breakable: Platform) -> None:
    load = await prepare(breakable)
    async with load.running(hires=10, learners=3):
        await load.until(lambda it: any(p.passed for p in it.learners.values()))
        supervisor = breakable.part("supervisor")
        supervisor.suspend()  # or it would start analytics again before the folder is gone
        try:
            breakable.part("analytics").kill()
            shutil.rmtree(breakable.config.data / "clickhouse")
        finally:
            supervisor.resume()
        await load.until(lambda it: len(it.hired) > 30)
    assert await whole(load) == []


@pytest.mark.faults
async def test_the_demo_finishes_after_a_power_failure_in_its_middle(breakable: Platform) -> None:
    """Like an undisturbed run, and then once more without a new event."""

    def demo(slug: str) -> list[Any]:
        screen = Screen(Console(file=io.StringIO()))
        numbers = play(breakable.config, screen, people=25, slug=slug).numbers
        overview = {k: v for k, v in numbers.overview.items() if k != "as_of"}
        return [overview, numbers.by_department, numbers.drop_off]

    cut = asyncio.create_task(asyncio.to_thread(demo, "cut"))
    async with asyncio.timeout(120):
        while events(breakable, "assessment") < 60:
            assert not cut.done(), "it ended before the power failed"
            await asyncio.sleep(0.2)
    await asyncio.to_thread(breakable.kill)
    [broken] = await asyncio.gather(cut, return_exceptions=True)
    assert isinstance(broken, Exception)
    await asyncio.to_thread(breakable.up)
    finished = await asyncio.to_thread(demo, "cut")
    assert finished == await asyncio.to_thread(demo, "whole")
    await breakable.settled()
    assert await audit(breakable.config) == []
    before = {feed: events(breakable, feed) for feed in ("identity", "catalog", "enrollment", "assessment")}
    assert await asyncio.to_thread(demo, "cut") == finished
    assert before == {feed: events(breakable, feed) for feed in before}


def events(platform: Platform, feed: str) -> int:
    reported = platform.operator.call("GET", f"/api/{feed}/system/feeds")["feeds"]
    return sum(partition["head"] for partition in reported)
