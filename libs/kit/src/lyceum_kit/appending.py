"""What a transaction appends: events as they are queued, and the one statement that stores them and tells the relay."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

import asyncpg
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from lyceum_kit import db
from lyceum_kit.errors import Conflict
from lyceum_kit.ids import new_id
from lyceum_kit.telemetry import current_traceparent
from lyceum_kit.topics import Feed

MAX_EVENT_BYTES = 512 * 1024


class Alike(NamedTuple):
    """An event that differs from another one only in ids, encoded. Without `origin` it has the transaction's."""

    stream: str
    key: str
    data: bytes
    origin: "Origin | None" = None


class Origin(NamedTuple):
    """Who and what an event comes from: a person's or client's id, and the request or event that led to it."""

    actor: str
    correlation_id: str
    causation_id: str
    traceparent: str

    @staticmethod
    def request(actor: str) -> "Origin":
        """A request that is answered here and now."""
        return Origin(actor, str(new_id()), "", current_traceparent())


class Appended(NamedTuple):
    """An event that is queued in a transaction."""

    stream: str
    version: int
    key: str
    id: UUID
    type: str
    data: bytes
    at: datetime
    origin: Origin


# One statement for events and outbox. WITH ORDINALITY hands rows over in array order, so the outbox's sequence
# follows the order of appending. Events are stored by stream: two who write the same streams wait for each other
# instead of deadlocking. What many events have in common is sent once, and named by its place.
_APPEND = """
WITH rows AS (
  SELECT * FROM unnest($3::text[], $4::int[], $5::text[], $6::uuid[], $7::bytea[], $8::smallint[], $9::int[])
    WITH ORDINALITY AS r(stream, version, key, id, data, partition, common, n)
), stored AS (
  INSERT INTO events (tenant, stream, version, id, type, key, at, actor, data, correlation_id, causation_id, traceparent)
  SELECT $1, stream, version, id, type, key, at, actor, data, correlation_id, causation_id, traceparent
  FROM rows JOIN unnest($10::text[], $11::timestamptz[], $12::text[], $13::text[], $14::text[], $15::text[])
    WITH ORDINALITY AS c(type, at, actor, correlation_id, causation_id, traceparent, common) USING (common)
  ORDER BY stream, version
)
INSERT INTO outbox (feed, partition, id) SELECT $2, partition, id FROM rows
"""
# What most commands append. PostgreSQL plans and runs it in two thirds of the time.
_APPEND_ONE = """
WITH stored AS (
  INSERT INTO events (tenant, stream, version, key, id, data, type, at, actor, correlation_id, causation_id, traceparent)
  VALUES ($1, $3, $4, $5, $6, $7, $9, $10, $11, $12, $13, $14)
)
INSERT INTO outbox (feed, partition, id) VALUES ($2, $8, $6)
"""


@cache
def required(kind: type[Message]) -> tuple[str, ...]:
    """Protobuf cannot tell an empty string from a missing one: an id that must be there must not be empty."""
    return tuple(
        field.name
        for field in kind.DESCRIPTOR.fields
        if field.name.endswith("_id") and not field.has_presence and not field.GetOptions().deprecated
    )


def check_size(name: str, size: int) -> None:
    if size > MAX_EVENT_BYTES:
        raise ValueError(f"{name} has {size} bytes, more than {MAX_EVENT_BYTES}")


async def write(conn: AsyncConnection, tenant: UUID, feed: Feed, rows: Sequence[Appended]) -> None:
    """Store events of one tenant and queue them for the relay. Raises Conflict when a version is taken."""
    connection = db.driver(conn)
    try:
        if len(rows) == 1:
            [r] = rows
            values = (r.stream, r.version, r.key, r.id, r.data, feed.partition_of(r.key))
            await connection.execute(_APPEND_ONE, tenant, feed.name, *values, r.type, r.at, *r.origin)
        else:
            await connection.execute(_APPEND, tenant, feed.name, *_columns(feed, rows))
    except asyncpg.UniqueViolationError as e:
        if e.constraint_name != "events_pkey":
            raise
        raise Conflict from e


def _columns(feed: Feed, rows: Sequence[Appended]) -> Iterable[Sequence[object]]:
    common: dict[tuple[str, datetime, Origin], int] = {}
    places = [common.setdefault((r.type, r.at, r.origin), len(common) + 1) for r in rows]
    yield [r.stream for r in rows]
    yield [r.version for r in rows]
    yield [r.key for r in rows]
    yield [r.id for r in rows]
    yield [r.data for r in rows]
    yield [feed.partition_of(r.key) for r in rows]
    yield places
    yield from zip(*((kind, at, *origin) for kind, at, origin in common), strict=True)
