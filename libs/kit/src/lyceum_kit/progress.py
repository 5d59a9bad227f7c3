"""Every SQL statement of a consumer in a ledger service: its places, what it handled, and what it set aside."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from lyceum_kit import telemetry
from lyceum_kit.envelope import Record
from lyceum_kit.intake import Partition, Place
from lyceum_kit.topics import feeds

_CREATE = text(
    "INSERT INTO progress (consumer, feed, partition)"
    " SELECT :consumer, :feed, n FROM generate_series(0, :partitions - 1) n ON CONFLICT DO NOTHING"
)
_PLACES = text("SELECT feed, partition, next, last_id, generation FROM progress WHERE consumer = :consumer")
# In partition order: two members that overlap during a rebalance queue up instead of deadlocking.
_LOCK = text(
    "SELECT feed, partition, next, last_id, generation, tries, had_until FROM progress"
    " WHERE consumer = :consumer AND (feed, partition) IN"
    " (SELECT * FROM unnest(CAST(:feeds AS text[]), CAST(:partitions AS smallint[])))"
    " ORDER BY feed, partition FOR UPDATE"
)
# With what was handled: after a restore it tells what to handle again (reconcile.py). The runs' ids come behind each other.
_ADVANCE = text(
    "WITH moved AS ("
    " SELECT *, (sum(after - before) OVER (ORDER BY n))::int AS until FROM unnest("
    " CAST(:feeds AS text[]), CAST(:partitions AS smallint[]), CAST(:befores AS bigint[]), CAST(:afters AS bigint[]),"
    " CAST(:last_ids AS text[]), CAST(:generations AS bigint[]))"
    " WITH ORDINALITY AS m(feed, partition, before, after, last_id, generation, n)"
    "), advanced AS ("
    " UPDATE progress p SET next = m.after, last_id = m.last_id, generation = m.generation, tries = 0 FROM moved m"
    " WHERE p.consumer = :consumer AND p.feed = m.feed AND p.partition = m.partition AND p.next = m.before"
    " RETURNING m.feed, m.partition, m.before, m.after, m.until)"
    " INSERT INTO handled (consumer, feed, partition, first, ids)"
    " SELECT :consumer, feed, partition, before, (CAST(:ids AS uuid[]))[until - (after - before) + 1 : until]"
    " FROM advanced"
)
# Backups and Kafka's retention are younger.
_FORGET = text("DELETE FROM handled WHERE at < now() - interval '40 days'")
_RETURNED = text(
    "UPDATE superseded SET returned_at = now() WHERE consumer = :consumer AND event_id = ANY(CAST(:ids AS uuid[]))"
    " AND returned_at IS NULL RETURNING event_id"
)
_TRY = text(
    "UPDATE progress SET tries = greatest(tries + :by, 0) WHERE consumer = :consumer AND feed = :feed"
    " AND partition = :partition AND next = :next RETURNING tries"
)
_ALARM = text(
    "UPDATE progress SET alarm = :alarm WHERE consumer = :consumer AND feed = :feed AND partition = :partition"
    " AND (:alarm <> '' OR alarm LIKE 'red:%')"
)
_HEALED = text(
    "UPDATE progress SET healed = healed + :events"
    " WHERE consumer = :consumer AND feed = :feed AND partition = :partition"
)
_ANY_PARKED = text("SELECT EXISTS (SELECT 1 FROM parked WHERE consumer = :consumer AND settled IS NULL)")
_PARKED_KEYS = text(
    "SELECT DISTINCT feed, key FROM parked WHERE consumer = :consumer AND settled IS NULL AND kind <> 'unknown-type'"
    " AND key = ANY(:keys)"
)
_PARK = text(
    "INSERT INTO parked (consumer, feed, partition, position, generation, kind, tenant, key, event_id, type,"
    " header_names, header_values, body, reason, tries)"
    " VALUES (:consumer, :feed, :partition, :position, :generation, :kind, :tenant, :key, :event_id, :type,"
    " :header_names, :header_values, :body, :reason, :tries)"
)


class Progressed(NamedTuple):
    place: Place
    tries: int
    had_until: int


class Run(NamedTuple):
    """What one transaction handled of a partition: its events from position `before` to `after`."""

    before: int
    after: Place
    records: Sequence[Record]


async def create(conn: AsyncConnection, consumer: str, consumed: Iterable[str]) -> None:
    """A row for each partition of the feeds, where there is none yet."""
    for feed in consumed:
        row = {"consumer": consumer, "feed": feed, "partitions": feeds()[feed].partitions}
        await conn.execute(_CREATE, row)


async def places(conn: AsyncConnection, consumer: str) -> dict[Partition, Place]:
    rows = await conn.execute(_PLACES, {"consumer": consumer})
    return {(r.feed, r.partition): Place(r.next, r.last_id, r.generation) for r in rows.all()}


async def lock(
    conn: AsyncConnection, consumer: str, partitions: Sequence[Partition]
) -> dict[Partition, Progressed]:
    """No other member, and nobody who replays, gets past here in these partitions until `conn`'s transaction ends."""
    row = {
        "consumer": consumer,
        "feeds": [feed for feed, _ in partitions],
        "partitions": [n for _, n in partitions],
    }
    rows = await conn.execute(_LOCK, row)
    return {
        (r.feed, r.partition): Progressed(Place(r.next, r.last_id, r.generation), r.tries, r.had_until)
        for r in rows.all()
    }


async def advance(conn: AsyncConnection, consumer: str, runs: Mapping[Partition, Run]) -> None:
    """Put each partition behind what was run of it."""
    if not runs:
        return
    row = {
        "consumer": consumer,
        "feeds": [feed for feed, _ in runs],
        "partitions": [partition for _, partition in runs],
        "befores": [run.before for run in runs.values()],
        "afters": [run.after.next for run in runs.values()],
        "last_ids": [run.after.last_id for run in runs.values()],
        "generations": [run.after.generation for run in runs.values()],
        "ids": [record.id for run in runs.values() for record in run.records],
    }
    done = await conn.execute(_ADVANCE, row)
    # We hold the rows' locks: anything else would mean two members handled the same run.
    assert done.rowcount == len(runs), f"progress of one of {list(runs)} moved under its lock"


async def returned(conn: AsyncConnection, consumer: str, records: Sequence[Record]) -> set[str]:
    """Which of them had their effect before the producer was restored, and come again under another number."""
    if not records:
        return set()
    rows = await conn.execute(_RETURNED, {"consumer": consumer, "ids": [r.id for r in records]})
    return {str(row.event_id) for row in rows.all()}


async def count_try(conn: AsyncConnection, consumer: str, record: Record, by: int) -> int:
    row = {**_of(consumer, (record.feed, record.partition)), "next": record.position, "by": by}
    return (await conn.execute(_TRY, row)).scalar() or 1


async def raise_alarm(conn: AsyncConnection, consumer: str, partition: Partition, alarm: str) -> None:
    await conn.execute(_ALARM, {**_of(consumer, partition), "alarm": alarm[:1000]})


async def count_healed(conn: AsyncConnection, consumer: str, partition: Partition, events: int) -> None:
    await conn.execute(_HEALED, {**_of(consumer, partition), "events": events})


async def forget(conn: AsyncConnection) -> None:
    await conn.execute(_FORGET)


async def parked_keys(conn: AsyncConnection, consumer: str, run: Sequence[Record]) -> set[tuple[str, str]]:
    # To hand over all keys costs more than to ask first, and hardly ever is one parked. Nobody parks or settles any of
    # these partitions meanwhile: we hold their locks.
    if not (await conn.execute(_ANY_PARKED, {"consumer": consumer})).scalar():
        return set()
    keys = list({r.key for r in run})
    rows = await conn.execute(_PARKED_KEYS, {"consumer": consumer, "keys": keys})
    return {(r.feed, r.key) for r in rows.all()}


async def park(
    conn: AsyncConnection, consumer: str, record: Record, kind: str, reason: str, tries: int
) -> None:
    headers = {name: value for name, value in record.headers if value is not None}
    row = {
        **_of(consumer, (record.feed, record.partition)),
        "position": record.position,
        "generation": record.generation,
        "kind": kind,
        "tenant": str(record.meta.tenant) if record.meta else "",
        "key": record.key,
        "event_id": record.id,
        "type": record.meta.type if record.meta else "",
        "header_names": list(headers),
        "header_values": list(headers.values()),
        "body": record.value,
        "reason": reason[:2000],
        "tries": tries,
    }
    await conn.execute(_PARK, row)
    telemetry.PARKED.labels(consumer, record.feed).inc()


def _of(consumer: str, partition: Partition) -> dict[str, object]:
    return {"consumer": consumer, "feed": partition[0], "partition": partition[1]}
