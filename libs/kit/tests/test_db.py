"""What PostgreSQL says of a row that it refuses stays out of errors: they go to logs, traces and parked events."""

import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

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
