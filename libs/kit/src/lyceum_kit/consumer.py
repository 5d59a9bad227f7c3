"""The Sink of the ledger services: handlers, their effects and `progress` in one PostgreSQL transaction.

Handlers get (tx, message, meta), or are `Together` and get (tx, events). Infrastructure errors and lost races are
retried in place by the poll loop; any other exception, after five tries record by record, parks the event and all later
ones of its key here, in the same transaction as `progress`; other keys flow on.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from google.protobuf.message import Message
from sqlalchemy.ext.asyncio import AsyncConnection

from lyceum_kit import db, progress, telemetry
from lyceum_kit.appending import Origin
from lyceum_kit.envelope import Meta, Record, decode
from lyceum_kit.errors import Conflict, Unavailable
from lyceum_kit.failpoints import failpoint
from lyceum_kit.intake import Cut, Cutter, Partition, Place
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.topics import feeds, spelled

log = structlog.get_logger()


class Event(NamedTuple):
    """One of many. What is appended because of it takes its `origin`."""

    message: Any
    meta: Meta
    origin: Origin


@dataclass(frozen=True)
class Together:
    """A handler of all its events that come one after another, and of each key one at most.

    Where many come at once, statements cost more than what they write. It is all or nothing: where it fails, they come
    again one by one.
    """

    handler: Callable[[Tx, Sequence[Event]], Awaitable[None]]


Handler = Callable[[Tx, Any, Meta], Awaitable[None]]
Consumes = Mapping[str, Mapping[type[Message], Handler | Together]]

TRIES = 5
BATCH = 2000  # records in one transaction at most


class Poison(Exception):
    """A handler refused these records; carries which, so that they are tried again one by one."""

    def __init__(self, records: Sequence[Record], cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.records = records


@dataclass
class HandlerSink:
    """Applies events to one service's database."""

    consumer: str
    ledger: Ledger
    consumes: Consumes

    def __post_init__(self) -> None:
        self._handlers: dict[str, tuple[type[Message], Handler | Together]] = {
            kind.DESCRIPTOR.full_name: (kind, handler)
            for handlers in self.consumes.values()
            for kind, handler in handlers.items()
        }
        # How many records of a partition one transaction takes. It grows from 1 after a start or a failure, so that
        # an event that kills the process meets its tries alone and is parked in the end, however much flows beside it.
        self._batches: dict[Partition, int] = {}

    @property
    def remedy(self) -> str:
        return f"lyceum reconcile {self.consumer}"

    async def prepare(self) -> None:
        """Create the progress rows; once per start."""
        async with self.ledger.engine.begin() as conn:
            await progress.create(conn, self.consumer, self.consumes)

    async def forget(self) -> None:
        """What was handled so long ago that no backup is as old."""
        async with self.ledger.engine.begin() as conn:
            await progress.forget(conn)

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        async with self.ledger.engine.connect() as conn:
            found = await progress.places(conn, self.consumer)
        return {p: found.get(p, Place()) for p in partitions}

    async def raise_alarm(self, partition: Partition, alarm: str) -> None:
        async with self.ledger.engine.begin() as conn:
            await progress.raise_alarm(conn, self.consumer, partition, alarm)

    async def count_healed(self, partition: Partition, events: int) -> None:
        async with self.ledger.engine.begin() as conn:
            await progress.count_healed(conn, self.consumer, partition, events)

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter
    ) -> dict[Partition, tuple[Place, Cut]]:
        results: dict[Partition, tuple[Place, Cut]] = {}
        todo = await self._without_had({p: sorted(rs, key=lambda r: r.position) for p, rs in records.items()})
        lost_races = 0
        while todo:
            some = self._next(todo)
            try:
                done = await self._apply_once(some, cut)
            except Poison as poison:
                log.warning("handler failed", error=str(poison), **_named(poison.records[0]))
                self._batches |= {(r.feed, r.partition): 1 for r in poison.records}
                continue
            except Exception as e:
                lost_races += 1
                if lost_races > 20 or not (isinstance(e, Conflict) or db.is_race(e)):
                    raise
                await asyncio.sleep(random.uniform(0, 0.02))  # noqa: S311
                continue
            for partition, (place, result) in done.items():
                if result.run:
                    self._batches[partition] = min(self._batch(partition) * 2, BATCH)
                rest = todo.pop(partition)[len(some[partition]) :]
                if rest and not result.waiting and not result.red:
                    todo[partition] = rest
                results[partition] = (place, replace(result, waiting=(*result.waiting, *rest)))
        return results

    def _batch(self, partition: Partition) -> int:
        return self._batches.get(partition, 1)

    async def _without_had(
        self, records: Mapping[Partition, Sequence[Record]]
    ) -> dict[Partition, Sequence[Record]]:
        """Drop what was had before a start: it would use up the small batches in which a killer is to be met alone."""
        careful = [p for p in records if self._batch(p) == 1]
        places = await self.places(careful) if careful else {}
        fresh = {
            p: [r for r in rs if r.position >= places[p].next] if p in places else rs
            for p, rs in records.items()
        }
        return {p: rs for p, rs in fresh.items() if rs}

    def _next(self, todo: Mapping[Partition, Sequence[Record]]) -> dict[Partition, Sequence[Record]]:
        """For one transaction: a record that is to be met alone, else a batch over all partitions."""
        for partition, records in todo.items():
            if self._batch(partition) == 1:
                return {partition: records[:1]}
        taken: dict[Partition, Sequence[Record]] = {}
        room = BATCH
        for partition, records in todo.items():
            if room:
                taken[partition] = records[: min(self._batch(partition), room)]
                room -= len(taken[partition])
        return taken

    async def _apply_once(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter
    ) -> dict[Partition, tuple[Place, Cut]]:
        alone = all(self._batch(partition) == 1 for partition in records)
        tries = await self.count_try(records, 1) if alone else 0
        try:
            return await self._transact(records, cut, tries)
        except Poison:
            raise
        except BaseException:
            if alone:  # an outage or a lost race is not this event's fault
                with contextlib.suppress(Exception):
                    await self.count_try(records, -1)
            raise

    async def _transact(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter, tries: int
    ) -> dict[Partition, tuple[Place, Cut]]:
        results: dict[Partition, tuple[Place, Cut]] = {}
        async with self.ledger.engine.connect() as conn, conn.begin():
            places = await progress.lock(conn, self.consumer, list(records))
            for partition, some in records.items():
                place = places[partition].place
                result = cut(partition, place, some)
                results[partition] = (result.place_after(place), result)
            run = [r for _, result in results.values() for r in result.run]
            again = [r for r in run if r.position < places[r.feed, r.partition].had_until]
            had = await progress.returned(conn, self.consumer, again)
            published = await self._handle(conn, [r for r in run if r.id not in had], tries=tries)
            failpoint("consumer.handled")
            runs = {
                partition: progress.Run(places[partition].place.next, after, result.run)
                for partition, (after, result) in results.items()
                if result.run
            }
            await progress.advance(conn, self.consumer, runs)
        if published:
            self.ledger.wake()
        return results

    async def count_try(self, records: Mapping[Partition, Sequence[Record]], by: int) -> int:
        """Remember the try before it is made: what kills the process must not be tried for ever."""
        ((record,),) = records.values()
        async with self.ledger.engine.begin() as conn:
            return await progress.count_try(conn, self.consumer, record, by)

    async def _handle(self, conn: AsyncConnection, run: Sequence[Record], *, tries: int) -> bool:
        """Each tenant's events together, in order; order between partitions means nothing. True when events were
        appended."""
        if not run:
            return False
        parked = await progress.parked_keys(conn, self.consumer, run)
        by_tenant: dict[UUID, list[Record]] = {}
        for record in run:
            assert record.meta  # the intake lets nothing else through
            by_tenant.setdefault(record.meta.tenant, []).append(record)
        published = False
        for tenant, records in by_tenant.items():
            fit: list[Record] = []
            for record in records:
                kind = record.meta.type if record.meta else ""
                if (record.feed, record.key) in parked:
                    await progress.park(
                        conn, self.consumer, record, "key", "an earlier event of this key is parked", 0
                    )
                elif kind in self._handlers:
                    fit.append(record)
                elif kind not in feeds()[record.feed].messages:
                    # A newer producer's: set aside without holding its key, tried again after an upgrade.
                    await progress.park(
                        conn, self.consumer, record, "unknown-type", "this build does not know the type", 0
                    )
            if fit:
                await db.set_tenant(conn, tenant)
            if tries >= TRIES:
                for record in fit:
                    published |= await self._last_try(conn, record, tries)
            else:
                for some in self._calls(fit):
                    published |= await self.handle(conn, some)
                telemetry.count_handled(self.consumer, fit)
        return published

    def _calls(self, records: Sequence[Record]) -> list[list[Record]]:
        """Which records share a call of a handler; a key's records stay in order."""
        calls: list[list[Record]] = []
        last, keys = None, set[str]()
        for record in records:
            assert record.meta
            _, handler = self._handlers[record.meta.type]
            if isinstance(handler, Together) and handler is last and record.key not in keys:
                calls[-1].append(record)
            else:
                calls.append([record])
                keys.clear()
            last = handler
            keys.add(record.key)
        return calls

    async def _last_try(self, conn: AsyncConnection, record: Record, tries: int) -> bool:
        """The fifth try in a savepoint, so that its failure can be parked in this very transaction."""
        try:
            async with conn.begin_nested():
                if tries > TRIES:  # the tries before it never came back: it kills the process
                    raise Poison(
                        [record], RuntimeError(f"the process died {tries - 1} times while handling it")
                    )
                published = await self.handle(conn, [record])
                telemetry.count_handled(self.consumer, [record])
                return published
        except Poison as poison:
            log.error("parked", error=str(poison), **_named(record))
            await progress.park(conn, self.consumer, record, "failed", str(poison), min(tries, TRIES))
            return False

    async def handle(self, conn: AsyncConnection, records: Sequence[Record]) -> bool:
        """Run the handler of a record, or of several that share one, inside `conn`'s transaction. True when it appended
        events. Raises Poison for what is the records' fault."""
        metas = [record.meta for record in records if record.meta]
        first = metas[0]
        if first.type not in self._handlers:  # set aside behind an earlier one of its key
            return False
        _, handler = self._handlers[first.type]
        tx = Tx(
            conn,
            first.tenant,
            self.ledger.feed,
            now=self.ledger.clock(),
            new_id=self.ledger.new_id,
            actor=_actor(first),
            correlation_id=first.correlation_id,
            causation_id=str(first.id),
        )
        try:
            messages = [decode(self._handlers[m.type][0], r) for m, r in zip(metas, records, strict=True)]
            if isinstance(handler, Together):
                with telemetry.event_spans(_name, metas, consumer=self.consumer) as traceparents:
                    origins = map(_origin, metas, traceparents)
                    await handler.handler(tx, list(map(Event, messages, metas, origins)))
                    published = await _written(tx)
            else:
                with telemetry.event_span(_name, first, consumer=self.consumer):
                    await handler(tx, messages[0], first)
                    published = await _written(tx)
        except (Conflict, Unavailable):
            raise
        except Exception as e:
            if db.is_outage(e) or db.is_race(e):
                raise
            raise Poison(records, e) from e
        return published


async def _written(tx: Tx) -> bool:
    """True when it wrote events."""
    failpoint("consumer.effect")
    published = tx.has_events
    await tx.flush()
    return published


def _name(meta: Meta) -> str:
    return f"handle {spelled(meta.type)}"


def _actor(meta: Meta) -> str:
    return f"event:{meta.id}"


def _origin(meta: Meta, traceparent: str) -> Origin:
    return Origin(_actor(meta), meta.correlation_id, str(meta.id), traceparent)


def _named(record: Record) -> dict[str, object]:
    return {
        "feed": record.feed,
        "partition": record.partition,
        "position": record.position,
        "event_id": record.id,
        "type": spelled(record.meta.type) if record.meta else "",
    }
