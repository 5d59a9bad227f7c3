"""The event store: append-only streams in PostgreSQL, and the transaction that handlers work in.

A command loads a stream, decides, and appends with the version it decided on. The primary key
(tenant, stream, version) turns a race into a Conflict, upon which `Ledger.run` runs the handler again. The same
transaction writes read tables, timers and the outbox, from which the relay numbers and sends. Nobody else publishes.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple, TypeVar
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from lyceum_kit import db
from lyceum_kit.appending import Alike, Appended, Origin, check_size, required, write
from lyceum_kit.errors import Conflict
from lyceum_kit.failpoints import failpoint
from lyceum_kit.ids import Clock, NewId, new_id, utc_now
from lyceum_kit.telemetry import current_traceparent
from lyceum_kit.topics import Feed

T = TypeVar("T")

ATTEMPTS = 5
OUTBOX_CHANNEL = "lyceum_outbox"


class Stream(NamedTuple):
    """A stream's events in order. Version 0: it does not exist yet."""

    version: int
    events: list[Message]


class _TimerSet(NamedTuple):
    kind: str
    key: str
    due_at: datetime | None  # None cancels
    payload: str


_LOAD = text(
    "SELECT version, type, data FROM events WHERE tenant = :tenant AND stream = :stream ORDER BY version"
)
_LOAD_MANY = text(
    "SELECT stream, version, type, data FROM events"
    " WHERE tenant = :tenant AND stream = ANY(:streams) ORDER BY stream, version"
)
_SET_TIMERS = """
INSERT INTO timers (tenant, kind, key, due_at, next_at, payload)
SELECT $1, kind, key, due_at, due_at, payload::jsonb
FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::text[]) AS t(kind, key, due_at, payload)
ON CONFLICT (tenant, kind, key) DO UPDATE
SET due_at = excluded.due_at, next_at = excluded.due_at, payload = excluded.payload, tries = 0, error = ''
"""
# Without the price of a conflict, which is a third of it.
_SET_NEW_TIMERS = """
INSERT INTO timers (tenant, kind, key, due_at, next_at, payload)
SELECT $1, $2, key, $3, $3, '{}' FROM unnest($4::text[]) AS key
"""
_CANCEL_TIMERS = """
DELETE FROM timers t USING unnest($2::text[], $3::text[]) AS gone(kind, key)
WHERE t.tenant = $1 AND t.kind = gone.kind AND t.key = gone.key
"""


class Tx:
    """One transaction of one tenant. Handlers load, decide, append; committing is the edge's work."""

    def __init__(
        self,
        conn: AsyncConnection,
        tenant: UUID,
        feed: Feed,
        *,
        now: datetime,
        new_id: NewId,
        actor: str = "",
        correlation_id: str = "",
        causation_id: str = "",
        shared: list[Appended] | None = None,
    ) -> None:
        """`shared`: the queue of a group of commands that are committed together; whoever opened it writes it."""
        self.conn = conn
        self.tenant = tenant
        self.now = now
        self.actor = actor
        self.new_id = new_id
        self.correlation_id = correlation_id or str(new_id())
        self.causation_id = causation_id
        self._feed = feed
        self._appended: list[Appended] = [] if shared is None else shared
        self._is_shared = shared is not None
        self._timers: dict[tuple[str, str], _TimerSet] = {}
        self._new_timers: dict[tuple[str, datetime], list[str]] = {}

    async def load(self, stream: str) -> Stream:
        """The stream, with what this transaction has appended to it already."""
        rows = (await self.conn.execute(_LOAD, {"tenant": self.tenant, "stream": stream})).all()
        events = [self._decode(row.type, row.data) for row in rows]
        events += [self._decode(own.type, own.data) for own in self._appended if own.stream == stream]
        return Stream(len(events), events)

    async def load_many(self, streams: Sequence[str]) -> dict[str, Stream]:
        """Each asked stream, also those that do not exist, in one statement."""
        found: dict[str, list[Message]] = {stream: [] for stream in streams}
        for row in await self.conn.execute(_LOAD_MANY, {"tenant": self.tenant, "streams": list(found)}):
            found[row.stream].append(self._decode(row.type, row.data))
        for own in self._appended:
            if own.stream in found:
                found[own.stream].append(self._decode(own.type, own.data))
        return {stream: Stream(len(events), events) for stream, events in found.items()}

    def append(
        self,
        stream: str,
        events: Sequence[Message],
        *,
        expected: int,
        key: str | None = None,
        origin: Origin | None = None,
    ) -> None:
        """Queue `events` as versions expected + 1, …; written in one statement before the commit.

        `key` decides the feed's partition and must be the same for all events of a stream: the stream itself
        (the default), or the person for learner events. `origin` is for a transaction that many share.
        """
        if not events:
            return
        origin = origin or self._origin()
        for version, message in enumerate(events, expected + 1):
            data = self._checked(message)
            self._appended.append(self._row(stream, version, key or stream, message, data, origin))

    def append_alike(self, message: Message, version: int, some: Sequence[Alike]) -> None:
        """Append to many streams what is the same event but for ids: `message` is checked for all of them."""
        self._checked(message)
        check_size(message.DESCRIPTOR.full_name, max((len(one.data) for one in some), default=0))
        own = self._origin()
        self._appended += [
            self._row(one.stream, version, one.key, message, one.data, one.origin or own) for one in some
        ]

    def set_timer(
        self, kind: str, key: str, due_at: datetime, payload: Mapping[str, str] | None = None
    ) -> None:
        """Run the service's handler for `kind` at `due_at`, or as soon after as it is up. (kind, key) is one timer."""
        self._timers[kind, key] = _TimerSet(kind, key, due_at, json.dumps(dict(payload)) if payload else "{}")

    def set_new_timers(self, kind: str, due_at: datetime, keys: Iterable[str]) -> None:
        """As `set_timer`, for keys that had none before this transaction: ids that were made in it."""
        self._new_timers.setdefault((kind, due_at), []).extend(keys)

    def cancel_timer(self, kind: str, key: str) -> None:
        self._timers[kind, key] = _TimerSet(kind, key, None, "")

    async def flush(self) -> None:
        """Write what was queued. Called by whoever opened the transaction."""
        if self._appended and not self._is_shared:
            await write(self.conn, self.tenant, self._feed, self._appended)
            self._appended = []
        if self._new_timers:
            for (kind, due_at), keys in self._new_timers.items():
                await db.driver(self.conn).execute(_SET_NEW_TIMERS, self.tenant, kind, due_at, keys)
            self._new_timers = {}
        if self._timers:
            await self._write_timers()
        self._timers = {}

    async def _write_timers(self) -> None:
        # In one order, so that two who set several wait for each other instead of deadlocking.
        ordered = sorted(self._timers.values(), key=lambda timer: (timer.kind, timer.key))
        some = [(t.kind, t.key, t.due_at, t.payload) for t in ordered if t.due_at is not None]
        gone = [(t.kind, t.key) for t in ordered if t.due_at is None]
        connection = db.driver(self.conn)
        if gone:
            await connection.execute(_CANCEL_TIMERS, self.tenant, *map(list, zip(*gone, strict=True)))
        if some:
            await connection.execute(_SET_TIMERS, self.tenant, *map(list, zip(*some, strict=True)))

    @property
    def has_events(self) -> bool:
        return bool(self._appended)

    def _decode(self, type_name: str, data: bytes) -> Message:
        return self._feed.messages[type_name].FromString(data)

    def _checked(self, message: Message) -> bytes:
        name = message.DESCRIPTOR.full_name
        if name not in self._feed.messages:
            raise ValueError(f"{name} is not of feed {self._feed.name!r}")
        for field in required(type(message)):
            if getattr(message, field) == "":
                raise ValueError(f"{name}.{field} is empty")
        data = message.SerializeToString()
        check_size(name, len(data))
        return data

    def _origin(self) -> Origin:
        return Origin(self.actor, self.correlation_id, self.causation_id, current_traceparent())

    def _row(
        self, stream: str, version: int, key: str, message: Message, data: bytes, origin: Origin
    ) -> Appended:
        return Appended(
            stream,
            version,
            key,
            self.new_id(),
            message.DESCRIPTOR.full_name,
            data,
            self.now,
            origin,
        )


class Ledger:
    """One service's event store."""

    def __init__(
        self, engine: AsyncEngine, feed: Feed, *, clock: Clock = utc_now, new_id: NewId = new_id
    ) -> None:
        self.engine = engine
        self.feed = feed
        self.clock = clock
        self.new_id = new_id
        self._waker: asyncio.Task[None] | None = None
        self._wake_again = False

    async def run(
        self,
        tenant: UUID,
        handler: Callable[..., Awaitable[T]],
        *args: object,
        actor: str = "",
        **kwargs: object,
    ) -> T:
        """Run `handler(tx, …)` in a transaction, all or nothing; again from the start when it lost a race.

        `actor` (a person's or client's id) is stored with the events. Raises Conflict when it lost five times,
        Unavailable when PostgreSQL cannot be reached, else what the handler raises.
        """
        for attempt in range(ATTEMPTS):
            try:
                async with self.transaction(tenant, actor=actor) as tx:
                    return await handler(tx, *args, **kwargs)
            except Conflict:
                if attempt == ATTEMPTS - 1:
                    raise
            except Exception as e:
                if db.is_outage(e):
                    raise db.understood(e) from e
                if not db.is_race(e):
                    raise
                if attempt == ATTEMPTS - 1:
                    raise Conflict from e
            # Two who met once meet again unless one waits a little longer.
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def transaction(self, tenant: UUID, *, actor: str = "") -> AsyncGenerator[Tx]:
        async with db.transaction(self.engine, tenant) as conn:
            tx = Tx(conn, tenant, self.feed, now=self.clock(), new_id=self.new_id, actor=actor)
            yield tx
            published = tx.has_events
            await tx.flush()
        failpoint("ledger.appended")
        if published:
            self.wake()

    @asynccontextmanager
    async def read(self, tenant: UUID) -> AsyncGenerator[AsyncConnection]:
        """A read-only transaction of one tenant. Raises Unavailable when PostgreSQL cannot be reached."""
        try:
            async with db.transaction(self.engine, tenant, read_only=True) as conn:
                yield conn
        except Exception as e:
            if db.is_outage(e):
                raise db.understood(e) from e
            raise

    async def check(self) -> None:
        """For readiness: the database answers."""
        async with self.engine.connect() as conn:
            await conn.execute(text("SELECT 1"))

    def wake(self) -> None:
        """Tell the relay, in whichever process, that the outbox has something.

        One debounced connection notifies after commits: NOTIFY inside the transactions takes a lock that halves
        their rate. A lost notification costs the relay's slow poll, nothing else.
        """
        if self._waker is None or self._waker.done():
            self._waker = asyncio.create_task(self._notify())
        else:
            self._wake_again = True

    async def _notify(self) -> None:
        while True:
            self._wake_again = False
            with contextlib.suppress(Exception):  # the relay's poll finds the rows
                # By the driver, without a transaction around it: one round trip instead of three. It need not last: the
                # disk has enough to do with what must.
                async with self.engine.connect() as conn:
                    await db.driver(conn).execute(
                        f"SET LOCAL synchronous_commit = off; NOTIFY {OUTBOX_CHANNEL}"
                    )
            if not self._wake_again:
                return

    async def close(self) -> None:
        if self._waker and not self._waker.done():
            await asyncio.wait([self._waker], timeout=1)
        await self.engine.dispose()
