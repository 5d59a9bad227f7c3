"""Whether this ledger was restored to an older state, found before it numbers or sends anything.

A restored database cannot remember that it was restored: what it would remember it by went with the rest. Two
witnesses stay. The server says which it is (a recovery begins a new timeline, another server has another system
identifier, tables that were dropped and loaded lie in other files), and Kafka's last records show positions that the
ledger does not have, or has with another event.

Where the ledger was restored, its events up to its head are what everybody knows them to be, and what follows gets a
new generation: records of the old one beyond that are ignored by consumers. Raising it without need harms nobody.
Where the ledger went on before anybody noticed, numbers were given twice under one generation: then it is `forked`, the
relay stops, and `reconcile` looks for the first such position in all of the topic.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from lyceum_kit.envelope import Record, read_record
from lyceum_kit.feed import Head
from lyceum_kit.leaving import leave
from lyceum_kit.topics import Feed

log = structlog.get_logger()

# More than the very last record: a frozen relay's late request may have put old ones behind newer ones.
LOOK_BACK = 20
KAFKA_TIMEOUT = 8.0  # seconds without anything read
DAY_MS = 86_400_000

Position = tuple[int, int]  # (partition, position)

_SYSTEM = "SELECT system_identifier FROM pg_control_system()"
# The control file tells a promotion's timeline only after its checkpoint, the name of a WAL file at once.
_TIMELINE = "SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)"
_DATABASE = "SELECT oid FROM pg_database WHERE datname = current_database()"
_TABLES = "SELECT pg_relation_filenode('feed_position')"
_NOT_TOLD = (
    asyncpg.InsufficientPrivilegeError,
    asyncpg.FeatureNotSupportedError,
    asyncpg.UndefinedFunctionError,
)
_SEEN = "SELECT incarnation FROM ledger_seen"
_SEE = """
INSERT INTO ledger_seen (incarnation, at) VALUES ($1, now())
ON CONFLICT (one) DO UPDATE SET incarnation = excluded.incarnation, at = excluded.at
"""
_HEADS = "SELECT partition, head, sent FROM feed_head WHERE feed = $1 ORDER BY partition"
_GENERATIONS = "SELECT partition, generation, start FROM feed_generation WHERE feed = $1 ORDER BY generation"
_TOLD_GENERATIONS = """
SELECT generation, max(why) AS why FROM feed_generation WHERE feed = $1 GROUP BY generation ORDER BY generation
"""
_IDS = """
SELECT p.partition, p.position, p.id::text AS id
FROM feed_position p JOIN unnest($2::smallint[], $3::bigint[]) AS asked(partition, position) USING (partition, position)
WHERE p.feed = $1
"""
# Numbering updates these rows: until we commit it waits.
_HOLD = "SELECT 1 FROM feed_head WHERE feed = ANY($1) ORDER BY feed, partition FOR UPDATE"
_RAISE = """
INSERT INTO feed_generation (feed, generation, partition, start, why)
SELECT h.feed, $2, h.partition, least(h.head + 1, f.position), $3
FROM feed_head h
LEFT JOIN unnest($4::text[], $5::smallint[], $6::bigint[]) AS f(feed, partition, position) USING (feed, partition)
WHERE h.feed = ANY($1)
"""
# What follows a fork was sent under a number that others had: it is sent again, in the new generation.
_SEND_AGAIN = """
UPDATE feed_head h SET sent = least(h.sent, f.position - 1)
FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS f(feed, partition, position)
WHERE h.feed = f.feed AND h.partition = f.partition
"""


class Forked(Exception):
    """Kafka and the ledger have different events under one number: nothing may be sent until a person decides."""


@dataclass(frozen=True)
class Verdict:
    """What Kafka's records say of the ledger; empty texts when nothing contradicts it."""

    restored: str = ""  # the ledger lacks what it sent
    forked: str = ""  # the ledger has other events where it sent some
    forks: tuple[Position, ...] = ()
    newest: int = 0  # generation, anywhere


def judge(
    heads: Sequence[Head], ids: Mapping[Position, str], records: Iterable[Record], *, now_ms: int
) -> Verdict:
    """PURE. `heads` by partition, `ids` the ledger's events at the records' positions."""
    newest = max((h.generation for h in heads), default=0)
    restored = forked = ""
    forks: list[Position] = []
    for record in records:
        # What no relay of ours can have written says nothing.
        if record.meta is None or record.position < 1 or record.generation > now_ms + DAY_MS:
            continue
        head = heads[record.partition]
        newest = max(newest, record.generation)
        at = f"partition {record.partition}, position {record.position}"
        if record.generation > head.generation:
            restored = restored or f"Kafka has an event of a later generation, {record.generation} ({at})"
        elif record.generation != head.generation_at(record.position):
            continue  # an older generation's, superseded: known and settled
        elif record.position > head.head:
            restored = restored or f"Kafka has an event beyond the ledger's head {head.head} ({at})"
        elif (own := ids.get((record.partition, record.position))) != record.id:
            forked = forked or f"Kafka has event {record.id} where the ledger has {own} ({at})"
            forks.append((record.partition, record.position))
    return Verdict(restored, forked, tuple(forks), newest)


def moved(was: str, now: str) -> str:
    """PURE. Why the server may hold an older state than before; empty when it is the same, or seen for the first time."""
    return f"the database is no longer the one last seen: {was}; now {now}" if was and was != now else ""


def next_generation(now_ms: int, known: int) -> int:
    """PURE. A time-stamp, since a counter would give the same number to two restores of one backup."""
    return max(now_ms, known + 1)


async def settle(connection: asyncpg.Connection, feeds: Sequence[Feed], kafka: dict[str, Any]) -> None:
    """Compare, and raise the generation where the ledger was restored. Raises Forked. The caller numbers for these feeds
    and nobody else does meanwhile."""
    was, now = await seen_and_now(connection)
    why = moved(was, now)
    verdicts = await examine(connection, feeds, kafka)
    for feed, verdict in verdicts.items():
        if verdict.forked:
            raise Forked(
                f"red: feed {feed}: {verdict.forked}. The ledger was restored and went on before that was noticed:"
                f" nothing is sent until `lyceum reconcile {feeds[0].producer}` has found where it began."
            )
        why = why or verdict.restored
    if why:
        known = max(v.newest for v in verdicts.values())
        await raise_generation(connection, feeds, known=known, why=why, seen=now)
    elif was != now:
        await connection.execute(_SEE, now)


async def raise_generation(
    connection: asyncpg.Connection,
    feeds: Sequence[Feed],
    *,
    known: int,
    why: str,
    seen: str,
    forks: Mapping[str, Mapping[int, int]] | None = None,
) -> int:
    """Begin a generation in every partition: after its head or, where it forked, at the first position given twice."""
    generation = next_generation(int(time.time() * 1000), known)
    names = [feed.name for feed in feeds]
    forked = [(feed, part, at) for feed, some in (forks or {}).items() for part, at in some.items()]
    columns = [list(column) for column in zip(*forked, strict=True)] or [[], [], []]
    async with connection.transaction():
        await connection.execute(_HOLD, names)
        await connection.execute(_RAISE, names, generation, why, *columns)
        await connection.execute(_SEND_AGAIN, *columns)
        await connection.execute(_SEE, seen)
    log.warning("feed generation raised", feeds=names, generation=generation, why=why)
    return generation


async def seen_and_now(connection: asyncpg.Connection) -> tuple[str, str]:
    """The incarnation last seen, empty before the first time, and the present one."""
    return await connection.fetchval(_SEEN) or "", await incarnation(connection)


async def incarnation(connection: asyncpg.Connection) -> str:
    """Which server and which tables these are, as far as the server tells."""
    told: list[str] = []
    for what, asked in (
        ("system", _SYSTEM),
        ("timeline", _TIMELINE),
        ("database", _DATABASE),
        ("tables", _TABLES),
    ):
        with contextlib.suppress(*_NOT_TOLD):
            told.append(f"{what} {await connection.fetchval(asked)}")
    return ", ".join(told)


async def examine(
    connection: asyncpg.Connection, feeds: Sequence[Feed], kafka: dict[str, Any]
) -> dict[str, Verdict]:
    """Each feed's last records against the ledger."""
    verdicts: dict[str, Verdict] = {}
    async with _reading(kafka) as consumer:
        for feed in feeds:
            records = [r async for some in _records(consumer, feed, last=LOOK_BACK) for r in some]
            verdicts[feed.name] = await _judged(connection, feed, records)
    return verdicts


async def forks_of(
    connection: asyncpg.Connection, feeds: Sequence[Feed], kafka: dict[str, Any]
) -> dict[str, dict[int, int]]:
    """By feed and partition, the first position under which Kafka has another event than the ledger. Reads all that
    Kafka has."""
    found: dict[str, dict[int, int]] = {feed.name: {} for feed in feeds}
    async with _reading(kafka) as consumer:
        for feed in feeds:
            first = found[feed.name]
            async for records in _records(consumer, feed):
                for partition, position in (await _judged(connection, feed, records)).forks:
                    first[partition] = min(position, first.get(partition, position))
    return found


async def heads_of(connection: asyncpg.Connection, feed: str) -> list[Head]:
    """By partition."""
    generations = await connection.fetch(_GENERATIONS, feed)
    return [
        Head(
            row["head"],
            row["sent"],
            tuple((g["generation"], g["start"]) for g in generations if g["partition"] == row["partition"]),
        )
        for row in await connection.fetch(_HEADS, feed)
    ]


async def generations_of(connection: asyncpg.Connection, feed: str) -> list[tuple[int, str]]:
    """With why each was raised, oldest first."""
    return [(row["generation"], row["why"]) for row in await connection.fetch(_TOLD_GENERATIONS, feed)]


async def _judged(connection: asyncpg.Connection, feed: Feed, records: Sequence[Record]) -> Verdict:
    heads = await heads_of(connection, feed.name)
    partitions, positions = [r.partition for r in records], [r.position for r in records]
    ids = {
        (row["partition"], row["position"]): row["id"]
        for row in await connection.fetch(_IDS, feed.name, partitions, positions)
    }
    return judge(heads, ids, records, now_ms=int(time.time() * 1000))


@asynccontextmanager
async def _reading(kafka: dict[str, Any]) -> AsyncGenerator[AIOKafkaConsumer]:
    """Without a group: nothing is committed, nobody is asked for partitions."""
    consumer = AIOKafkaConsumer(**kafka, enable_auto_commit=False, fetch_max_wait_ms=100)
    try:
        async with asyncio.timeout(KAFKA_TIMEOUT):
            await consumer.start()
        yield consumer
    finally:
        await leave(consumer.stop())


async def _records(
    consumer: AIOKafkaConsumer, feed: Feed, *, last: int | None = None
) -> AsyncGenerator[list[Record]]:
    """What Kafka has of the feed by now, or the last records of each partition."""
    partitions = [TopicPartition(feed.topic, n) for n in range(feed.partitions)]
    async with asyncio.timeout(KAFKA_TIMEOUT):
        consumer.assign(partitions)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    left = {tp for tp in partitions if ends[tp] > begins[tp]}
    for tp in left:
        consumer.seek(tp, begins[tp] if last is None else max(begins[tp], ends[tp] - last))
    while left:
        async with asyncio.timeout(KAFKA_TIMEOUT):
            polled: dict[TopicPartition, Any] = {}
            while not polled:
                polled = await consumer.getmany(*left, timeout_ms=500)
            at_end = {tp for tp in left if await consumer.position(tp) >= ends[tp]}
        left -= at_end
        yield [
            read_record(feed.name, tp.partition, r.key, r.value, r.headers, offset=r.offset)
            for tp, records in polled.items()
            for r in records
        ]
