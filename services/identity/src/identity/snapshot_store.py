"""Every SQL statement about HR's listings that wait for a person to look at them."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from identity.store import row_dict
from identity.tables import snapshots


@dataclass(frozen=True)
class SnapshotRow:
    snapshot_id: UUID
    source: str
    taken_at: datetime
    received_at: datetime
    state: str
    people: list[dict[str, Any]]
    listed: int
    would_deactivate: int


_SNAPSHOT = [snapshots.c[f.name] for f in fields(SnapshotRow)]


async def add(conn: AsyncConnection, tenant: UUID, row: SnapshotRow) -> None:
    await conn.execute(
        insert(snapshots).values(tenant=tenant, **{f.name: getattr(row, f.name) for f in fields(row)})
    )


async def find(
    conn: AsyncConnection, tenant: UUID, snapshot_id: UUID, *, lock: bool = False
) -> SnapshotRow | None:
    query = select(*_SNAPSHOT).where(snapshots.c.tenant == tenant, snapshots.c.snapshot_id == snapshot_id)
    row = (await conn.execute(query.with_for_update() if lock else query)).one_or_none()
    return SnapshotRow(**row_dict(row)) if row else None


async def decide(conn: AsyncConnection, tenant: UUID, snapshot_id: UUID, state: str) -> None:
    """The people listed in it are forgotten: they were only kept to decide on."""
    where = (snapshots.c.tenant == tenant, snapshots.c.snapshot_id == snapshot_id)
    values: dict[str, Any] = (
        {"state": state} if state.startswith("applying") else {"state": state, "people": []}
    )
    await conn.execute(update(snapshots).where(*where).values(**values))


async def waiting(conn: AsyncConnection, tenant: UUID) -> list[dict[str, Any]]:
    query = (
        select(*(c for c in _SNAPSHOT if c.name != "people"))
        .where(
            snapshots.c.tenant == tenant,
            or_(snapshots.c.state.like("held%"), snapshots.c.state.like("applying%")),
        )
        .order_by(snapshots.c.received_at)
    )
    return [row_dict(row) for row in await conn.execute(query)]
