"""Every SQL statement of the tamper-evident log. Functions take the transaction's connection and never commit."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, insert, select, text, tuple_, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from assessment.merkle import Node
from assessment.tables import log_checkpoints, log_entries, log_keys, log_nodes, log_sizes

Found = Row[Any]

_EVENT = text("SELECT id, type, stream, version, at, data FROM events WHERE tenant = :tenant AND id = :id")
_OF_STREAM = text("SELECT id FROM events WHERE tenant = :tenant AND stream = :stream AND version = :version")
_RECORDS = text(
    "SELECT e.id, e.type, e.stream, e.version, e.at, e.data FROM events e"
    " WHERE e.tenant = :tenant AND e.type = ANY(:types)"
)


async def event(conn: AsyncConnection, tenant: UUID, event_id: UUID) -> Found | None:
    return (await conn.execute(_EVENT, {"tenant": tenant, "id": event_id})).one_or_none()


async def event_of(conn: AsyncConnection, tenant: UUID, stream: str, version: int) -> UUID | None:
    where = {"tenant": tenant, "stream": stream, "version": version}
    return (await conn.execute(_OF_STREAM, where)).scalar_one_or_none()


async def records(conn: AsyncConnection, tenant: UUID, types: Sequence[str]) -> Mapping[UUID, Found]:
    """Every stored event of these types, by id."""
    found = await conn.execute(_RECORDS, {"tenant": tenant, "types": list(types)})
    return {row.id: row for row in found.all()}


async def lock_size(conn: AsyncConnection, tenant: UUID) -> int:
    """How many entries there are. The row's lock makes one sequencer of all consumers of the tenant."""
    await conn.execute(upsert(log_sizes).values(tenant=tenant, size=0).on_conflict_do_nothing())
    query = select(log_sizes.c.size).where(log_sizes.c.tenant == tenant).with_for_update()
    return (await conn.execute(query)).scalar_one()


async def size(conn: AsyncConnection, tenant: UUID) -> int:
    query = select(log_sizes.c.size).where(log_sizes.c.tenant == tenant)
    return (await conn.execute(query)).scalar_one_or_none() or 0


async def add_entry(
    conn: AsyncConnection,
    tenant: UUID,
    index: int,
    *,
    event_id: UUID,
    salt: bytes,
    nodes: Mapping[Node, bytes],
) -> None:
    entry = {"tenant": tenant, "n": index, "event_id": event_id, "salt": salt}
    await conn.execute(insert(log_entries).values(**entry))
    rows = [{"tenant": tenant, "level": lv, "n": i, "hash": h} for (lv, i), h in nodes.items()]
    await conn.execute(insert(log_nodes).values(rows))
    await conn.execute(update(log_sizes).where(log_sizes.c.tenant == tenant).values(size=index + 1))


async def entry_of(conn: AsyncConnection, tenant: UUID, event_id: UUID) -> Found | None:
    where = and_(log_entries.c.tenant == tenant, log_entries.c.event_id == event_id)
    return (await conn.execute(select(log_entries).where(where))).one_or_none()


async def entries(conn: AsyncConnection, tenant: UUID) -> Sequence[Found]:
    query = select(log_entries).where(log_entries.c.tenant == tenant).order_by(log_entries.c.n)
    return (await conn.execute(query)).all()


async def nodes(conn: AsyncConnection, tenant: UUID, wanted: Iterable[Node]) -> dict[Node, bytes]:
    c = log_nodes.c
    query = select(c.level, c.n, c.hash).where(c.tenant == tenant, tuple_(c.level, c.n).in_(list(wanted)))
    return {(row.level, row.n): row.hash for row in (await conn.execute(query)).all()}


async def leaf_hashes(conn: AsyncConnection, tenant: UUID) -> dict[int, bytes]:
    c = log_nodes.c
    query = select(c.n, c.hash).where(c.tenant == tenant, c.level == 0)
    return {row.n: row.hash for row in (await conn.execute(query)).all()}


async def checkpoints(conn: AsyncConnection, tenant: UUID) -> Sequence[Found]:
    c = log_checkpoints.c
    query = select(log_checkpoints).where(c.tenant == tenant)
    return (await conn.execute(query.order_by(c.size))).all()


async def checkpoint(conn: AsyncConnection, tenant: UUID, *, least: int = 0) -> Found | None:
    """The newest, if it covers `least` entries."""
    c = log_checkpoints.c
    query = select(log_checkpoints).where(c.tenant == tenant, c.size >= least)
    return (await conn.execute(query.order_by(c.size.desc()).limit(1))).one_or_none()


async def add_checkpoint(
    conn: AsyncConnection, tenant: UUID, *, size: int, root: bytes, note: str, now: datetime
) -> None:
    row = {"tenant": tenant, "size": size, "root": root, "note": note, "signed_at": now}
    await conn.execute(insert(log_checkpoints).values(**row))


async def key(conn: AsyncConnection, tenant: UUID) -> Found | None:
    return (await conn.execute(select(log_keys).where(log_keys.c.tenant == tenant))).one_or_none()


async def add_key(
    conn: AsyncConnection, tenant: UUID, *, name: str, public_key: bytes, sealed_key: bytes
) -> None:
    row = {"tenant": tenant, "name": name, "public_key": public_key, "sealed_key": sealed_key}
    await conn.execute(upsert(log_keys).values(**row).on_conflict_do_nothing())
