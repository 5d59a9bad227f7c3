"""Every SQL statement about org units."""

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import and_, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from identity.org_unit import OrgUnit
from identity.store import is_any, row_dict
from identity.tables import org_units, people

_IDS = select(org_units.c.code, org_units.c.org_unit_id).where(
    org_units.c.tenant == bindparam("tenant"), is_any(org_units.c.code, "codes")
)


async def ids_of(conn: AsyncConnection, tenant: UUID, codes: Collection[str]) -> dict[str, UUID]:
    rows = await conn.execute(_IDS, {"tenant": tenant, "codes": list(codes)})
    return {row.code: row.org_unit_id for row in rows}


async def add(conn: AsyncConnection, tenant: UUID, new: Mapping[str, UUID]) -> dict[str, UUID]:
    """Those that were really new: somebody may have been faster with a code."""
    added: dict[str, UUID] = {}
    for code, org_unit_id in sorted(new.items()):
        statement = (
            insert(org_units)
            .values(tenant=tenant, org_unit_id=org_unit_id, code=code, mapped=False)
            .on_conflict_do_nothing()
            .returning(org_units.c.org_unit_id)
        )
        if (await conn.execute(statement)).one_or_none():
            added[code] = org_unit_id
    return added


async def lock_all(conn: AsyncConnection, tenant: UUID) -> list[OrgUnit]:
    """All units, so that nobody moves another one meanwhile: together, two moves could make a circle."""
    query = select(org_units).where(org_units.c.tenant == tenant).order_by(org_units.c.org_unit_id)
    return [
        OrgUnit(
            org_unit_id=str(row.org_unit_id),
            code=row.code,
            mapped=row.mapped,
            parent_id=str(row.parent_id or ""),
            head_id=str(row.head_id or ""),
        )
        for row in await conn.execute(query.with_for_update())
    ]


async def save(conn: AsyncConnection, tenant: UUID, unit: OrgUnit) -> None:
    where = (org_units.c.tenant == tenant, org_units.c.org_unit_id == UUID(unit.org_unit_id))
    values = {
        "mapped": unit.mapped,
        "parent_id": UUID(unit.parent_id) if unit.parent_id else None,
        "head_id": UUID(unit.head_id) if unit.head_id else None,
    }
    await conn.execute(update(org_units).where(*where).values(**values))


_UNIT = [org_units.c[name] for name in ("org_unit_id", "code", "mapped", "parent_id", "head_id")]


async def listed(conn: AsyncConnection, tenant: UUID) -> list[dict[str, Any]]:
    count = func.count(people.c.person_id).filter(people.c.status.in_(("active", "on_leave")))
    query = (
        select(*_UNIT, count.label("people"))
        .outerjoin(
            people, and_(people.c.tenant == org_units.c.tenant, people.c.department == org_units.c.code)
        )
        .where(org_units.c.tenant == tenant)
        .group_by(*_UNIT)
        .order_by(org_units.c.code)
    )
    return [row_dict(row) for row in await conn.execute(query)]
