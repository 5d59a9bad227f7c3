"""What PostgreSQL says of a row that it refuses stays out of errors: they go to logs, traces and parked events."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from lyceum_kit import db

INSERT = text("INSERT INTO pg_temp.people (name) VALUES (:name)")


@pytest.mark.parametrize("quoted", ["zq-marker", "zq-marker\nHINT: of its own"])
async def test_an_error_quotes_nothing_of_the_row(
    database: Callable[[str], Awaitable[Any]], quoted: str
) -> None:
    engine = db.make_engine((await database("ledger")).app_url)
    async with engine.connect() as conn:
        await conn.execute(text("CREATE TEMPORARY TABLE people (name text UNIQUE)"))
        await conn.execute(INSERT, {"name": quoted})
        with pytest.raises(IntegrityError) as raised:
            await conn.execute(INSERT, {"name": quoted})
    await engine.dispose()
    told = "".join(traceback.format_exception(raised.value))
    assert "people_name_key" in told
    assert db.sqlstate(raised.value) == "23505"
    assert "zq-marker" not in told
    assert "of its own" not in told


async def test_a_connection_with_an_unfinished_statement_is_not_handed_out_again(
    database: Callable[[str], Awaitable[Any]],
) -> None:
    """As a cancelled caller leaves it."""
    engine = db.make_engine((await database("ledger")).app_url, pool=1)
    async with engine.connect() as conn:
        [pid] = (await conn.execute(text("SELECT pg_backend_pid()"))).one()
        driver: Any = (await conn.get_raw_connection()).driver_connection
        left = asyncio.create_task(driver.fetch("SELECT pg_sleep(60)"))
        await asyncio.sleep(0)  # it has begun
        with pytest.raises(DBAPIError) as raised:
            await conn.execute(text("SELECT 1"))
        assert db.is_outage(raised.value)
    async with engine.connect() as conn:
        [other] = (await conn.execute(text("SELECT pg_backend_pid()"))).one()
    assert other != pid
    left.cancel()
    await engine.dispose()


TENANT_NOW = text("SELECT current_setting('lyceum.tenant', true), pg_backend_pid(), pg_current_xact_id()")


async def test_whatever_ends_a_transaction_the_next_one_of_its_connection_is_a_new_one(
    database: Callable[[str], Awaitable[Any]],
) -> None:
    engine = db.make_engine((await database("ledger")).app_url, pool=1)
    seen: list[tuple[str, int]] = []

    async def look(then: Callable[[], Awaitable[object]]) -> None:
        tenant = uuid4()
        async with db.transaction(engine, tenant) as conn:
            [named, pid, xact] = (await conn.execute(TENANT_NOW)).one()
            assert named == str(tenant)
            seen.append((xact, pid))
            await then()

    async def fail() -> None:
        raise KeyError

    asleep = asyncio.Event()

    async def sleep() -> None:
        asleep.set()
        await asyncio.Event().wait()

    await look(lambda: asyncio.sleep(0))
    with pytest.raises(KeyError):
        await look(fail)
    cancelled = asyncio.create_task(look(sleep))
    await asleep.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    await look(lambda: asyncio.sleep(0))
    async with engine.connect() as conn:
        [named, _, _] = (await conn.execute(TENANT_NOW)).one()
    await engine.dispose()
    assert named == ""
    assert len({xact for xact, _ in seen}) == 4
    assert len({pid for _, pid in seen}) == 1


async def test_a_statement_that_is_cancelled_leaves_nothing_behind(
    database: Callable[[str], Awaitable[Any]],
) -> None:
    engine = db.make_engine((await database("ledger")).app_url, pool=1)
    at_work = asyncio.Event()

    async def work() -> None:
        async with db.transaction(engine, uuid4()) as conn:
            at_work.set()
            await conn.execute(text("SELECT pg_sleep(60)"))

    task = asyncio.create_task(work())
    await at_work.wait()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    tenant = uuid4()
    async with db.transaction(engine, tenant) as conn:
        assert (await conn.execute(TENANT_NOW)).one()[0] == str(tenant)
    await engine.dispose()


async def test_an_error_that_somebody_caught_is_not_taken_for_a_commit(
    database: Callable[[str], Awaitable[Any]],
) -> None:
    engine = db.make_engine((await database("ledger")).app_url)

    async def careless() -> None:
        async with db.transaction(engine, uuid4()) as conn:
            with suppress(DBAPIError):
                await conn.execute(text("SELECT 1 / 0"))

    with pytest.raises(RuntimeError, match="was to be committed"):
        await careless()
    await engine.dispose()


async def test_a_connection_that_the_server_closed_is_not_handed_out(
    database: Callable[[str], Awaitable[Any]],
) -> None:
    """As all of them are when it restarts: nobody's request fails for it."""
    urls = await database("ledger")
    engine = db.make_engine(urls.app_url, pool=1)
    async with db.transaction(engine, uuid4()) as conn:
        [_, pid, _] = (await conn.execute(TENANT_NOW)).one()
        raw: Any = (await conn.get_raw_connection()).driver_connection
    other = await db.connect(urls.app_url, application="other")
    await other.execute(f"SELECT pg_terminate_backend({pid})")
    async with asyncio.timeout(10):
        while not raw.is_closed():
            await asyncio.sleep(0.01)
    async with db.transaction(engine, uuid4()) as conn:
        assert (await conn.execute(TENANT_NOW)).one()[1] != pid
    await other.close()
    await engine.dispose()
