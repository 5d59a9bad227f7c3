"""What older versions stored is kept."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from sqlalchemy import text

from enrollment.store.people import find_person, reports_of
from lyceum_kit.db import make_engine, set_tenant
from lyceum_kit.migrations import upgrade_async

TENANT = UUID("01990000-0000-7000-8000-000000000001")
ADA = "01990000-0000-7000-8000-0000000000ad"


async def test_attributes_become_a_document(database: Callable[[str], Awaitable[Any]]) -> None:
    made = await database("older")
    await upgrade_async("enrollment", made.owner_url, made.role, to="0001")
    engine = make_engine(made.app_url)
    async with engine.begin() as conn:
        await set_tenant(conn, TENANT)
        await conn.execute(
            text(
                "INSERT INTO people VALUES (:tenant, :id, 'active', 'Sales', 'Łódź', '', 'm', '', '2026-11-24', '')"
            ),
            {"tenant": TENANT, "id": ADA},
        )
    await engine.dispose()
    await upgrade_async("enrollment", made.owner_url, made.role)
    engine = make_engine(made.app_url)
    async with engine.begin() as conn:
        await set_tenant(conn, TENANT)
        ada = await find_person(conn, TENANT, ADA)
        assert ada
        assert {name: value for name, value in ada.facts.items() if value} == {
            "department": "Sales",
            "location": "Łódź",
            "manager_id": "m",
            "hire_date": "2026-11-24",
            "status": "active",
        }
        assert await reports_of(conn, TENANT, "m") == [ADA]
    await engine.dispose()
