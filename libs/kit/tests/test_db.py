"""What PostgreSQL says of a row that it refuses stays out of errors: they go to logs, traces and parked events."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

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
