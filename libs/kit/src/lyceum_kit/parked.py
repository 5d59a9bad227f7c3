"""Parked events: seen, replayed or discarded by a person. Nothing is deleted; a settled event keeps its trace."""

from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from lyceum_kit import db, progress, telemetry
from lyceum_kit.consumer import HandlerSink, Poison
from lyceum_kit.envelope import Record, read_record
from lyceum_kit.errors import NotFound
from lyceum_kit.topics import feeds, spelled

_LIST = text(
    "SELECT n, consumer, feed, partition, position, kind, tenant, key, event_id, type, reason, tries, parked_at"
    " FROM parked WHERE consumer = :consumer AND settled IS NULL AND tenant = coalesce(:tenant, tenant)"
    " ORDER BY n LIMIT 500"
)
_ONE = text(
    "SELECT * FROM parked WHERE consumer = :consumer AND n = :n AND tenant = coalesce(:tenant, tenant)"
)
_OF_KEY = text(
    "SELECT * FROM parked WHERE consumer = :consumer AND feed = :feed AND key = :key AND settled IS NULL ORDER BY n"
)
_UNKNOWN = text(
    "SELECT * FROM parked WHERE consumer = :consumer AND kind = 'unknown-type' AND settled IS NULL ORDER BY n"
)
_SETTLE = text(
    "UPDATE parked SET settled = :how, settled_at = now(), settled_by = :who, settled_why = :why"
    " WHERE n = :n AND settled IS NULL"
)
_FAILED = text("UPDATE parked SET tries = tries + 1, reason = :reason WHERE n = :n")


class ParkedEvent(TypedDict):
    n: int
    feed: str
    partition: int
    position: int
    kind: str
    key: str
    event_id: str
    type: str
    reason: str
    tries: int
    parked_at: str


class Parked:
    """One consumer's parked events: all, or those `of` a tenant. The table stands outside row-level security."""

    def __init__(self, sink: HandlerSink) -> None:
        self._sink = sink

    async def open(self, of: UUID | None = None) -> list[ParkedEvent]:
        async with self._sink.ledger.engine.connect() as conn:
            rows = await conn.execute(_LIST, {"consumer": self._sink.consumer, "tenant": of and str(of)})
            return [_seen(row) for row in rows.all()]

    async def show(self, n: int, of: UUID | None = None) -> dict[str, object]:
        """The event with its headers and its body as text, for a person who decides."""
        async with self._sink.ledger.engine.connect() as conn:
            row = await self._one(conn, n, of)
        if row is None:
            raise NotFound(f"No parked event {n}")
        kind = feeds()[row.feed].messages.get(row.type)
        try:
            body = str(kind.FromString(row.body)) if kind else row.body.hex()
        except Exception as e:  # noqa: BLE001 - undecodable is what it may be parked for
            body = f"undecodable ({e}): {row.body.hex()}"
        headers = {
            n: v.decode(errors="replace") for n, v in zip(row.header_names, row.header_values, strict=True)
        }
        return {
            **_seen(row),
            "headers": headers,
            "body": body,
            "settled": row.settled,
            "settled_why": row.settled_why,
        }

    async def replay(self, n: int, *, who: str, of: UUID | None = None) -> int:
        """Handle the event and all later ones of its key, in order, each in its own transaction.

        Returns how many were handled; stops at the first that fails again, which stays parked with its new reason.
        """
        async with self._sink.ledger.engine.connect() as conn:
            row = await self._one(conn, n, of)
        if row is None or row.settled:
            raise NotFound(f"No parked event {n} that waits")
        done = 0
        while await self._replay_next(row.feed, row.key, who):
            done += 1
        return done

    async def retry_unknown_types(self) -> None:
        """After an upgrade: events whose type this build knows now."""
        async with self._sink.ledger.engine.connect() as conn:
            rows = (await conn.execute(_UNKNOWN, {"consumer": self._sink.consumer})).all()
        for row in rows:
            if row.type in feeds()[row.feed].messages:
                await self._handle(row, "upgrade")

    async def discard(self, n: int, *, who: str, why: str, of: UUID | None = None) -> None:
        """Let one event go unhandled, for a stated reason. Later ones of its key still wait for `replay`."""
        async with self._sink.ledger.engine.begin() as conn:
            row = await self._one(conn, n, of)
            if row is None or row.settled:
                raise NotFound(f"No parked event {n} that waits")
            await self._lock(conn, row)
            await conn.execute(_SETTLE, {"n": n, "how": "discarded", "who": who, "why": why})

    async def _one(self, conn: AsyncConnection, n: int, of: UUID | None) -> Any:
        values = {"consumer": self._sink.consumer, "n": n, "tenant": of and str(of)}
        return (await conn.execute(_ONE, values)).one_or_none()

    async def _replay_next(self, feed: str, key: str, who: str) -> bool:
        async with self._sink.ledger.engine.connect() as conn:
            rows = await conn.execute(_OF_KEY, {"consumer": self._sink.consumer, "feed": feed, "key": key})
            row = rows.first()
        return row is not None and await self._handle(row, who)

    async def _handle(self, row: Any, who: str) -> bool:
        record = _record(row)
        engine = self._sink.ledger.engine
        try:
            async with engine.begin() as conn:
                await self._lock(conn, row)
                assert record.meta
                await db.set_tenant(conn, record.meta.tenant)
                published = await self._sink.handle(conn, [record])
                await conn.execute(_SETTLE, {"n": row.n, "how": "replayed", "who": who, "why": ""})
                telemetry.count_handled(self._sink.consumer, [record])
        except Poison as poison:
            async with engine.begin() as conn:
                await conn.execute(_FAILED, {"n": row.n, "reason": str(poison)})
            return False
        if published:
            self._sink.ledger.wake()
        return True

    async def _lock(self, conn: AsyncConnection, row: Any) -> None:
        """As the consumer does: no event of the key can slip in between the last replayed one and the next."""
        await progress.lock(conn, self._sink.consumer, [(row.feed, row.partition)])


def _record(row: Any) -> Record:
    headers = list(zip(row.header_names, row.header_values, strict=True))
    return read_record(row.feed, row.partition, row.key.encode(), row.body, headers)


def _seen(row: Any) -> ParkedEvent:
    return ParkedEvent(
        n=row.n,
        feed=row.feed,
        partition=row.partition,
        position=row.position,
        kind=row.kind,
        key=row.key,
        event_id=row.event_id,
        type=spelled(row.type) if row.type else "",
        reason=row.reason,
        tries=row.tries,
        parked_at=row.parked_at.isoformat(),
    )
