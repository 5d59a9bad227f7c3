"""The relay: numbers what the outbox holds, partition by partition, and sends it to Kafka.

One is active per service: it holds an advisory lock on the very connection that numbers. A late commit is simply
numbered later; a stream cannot be misordered, since version n + 1 is only ever appended after n is visible. What
is sent again carries the same number, so sending needs no memory beyond `sent`, which follows the acks. Before
anything else it makes sure that this is still the ledger that sent what Kafka has (restored.py).
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    KafkaError,
    NodeNotReadyError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)

from lyceum_kit import db, restored, telemetry
from lyceum_kit.envelope import meta_of, to_headers
from lyceum_kit.failpoints import failpoint
from lyceum_kit.leaving import leave
from lyceum_kit.ledger import OUTBOX_CHANNEL
from lyceum_kit.topics import Feed

log = structlog.get_logger()

NUMBER_AT_ONCE = 2000
SEND_AT_ONCE = 500  # per partition
SEND_TIMEOUT = 8.0  # seconds; what timed out is still queued in the producer, so the producer goes too
SLOW_POLL = 1.0  # seconds; when a notification was lost
# Above the send time-out: a frozen relay loses its session, and with it the lock, to another one.
IDLE_SESSION_TIMEOUT = "15000"

# An array, not a join: that would look through a whole backlog for each batch of it.
NUMBER = """
WITH taken AS (
  DELETE FROM outbox WHERE seq = ANY (ARRAY(SELECT seq FROM outbox ORDER BY seq LIMIT $1))
  RETURNING seq, feed, partition, id
), numbered AS (
  SELECT feed, partition, id, row_number() OVER (PARTITION BY feed, partition ORDER BY seq) AS n FROM taken
), raised AS (
  UPDATE feed_head h SET head = h.head + c.n
  FROM (SELECT feed, partition, max(n) AS n FROM numbered GROUP BY feed, partition) c
  WHERE h.feed = c.feed AND h.partition = c.partition
  RETURNING h.feed, h.partition, h.head - c.n AS before
)
INSERT INTO feed_position (feed, partition, position, id)
SELECT n.feed, n.partition, r.before + n.n, n.id FROM numbered n JOIN raised r USING (feed, partition)
"""

# Positions to send, with the id before each; $3 and $4: up to where a partition is on its way already. Read with the one
# before the first, so that each finds its predecessor in the row above: joined by `position - 1`, a planner without
# statistics reads the whole partition for every row. A generation ends where a later one starts.
_TO_SEND = """
SELECT h.partition, p.position, g.generation, coalesce(p.previous::text, '') AS previous,
       e.id, e.type, e.stream, e.version, e.at, e.tenant, e.key, e.data,
       e.correlation_id, e.causation_id, e.traceparent
FROM (
  SELECT feed, partition, head, greatest(sent, flying.position) AS sent
  FROM feed_head LEFT JOIN unnest($3::smallint[], $4::bigint[]) AS flying(partition, position) USING (partition)
) h
JOIN (
  SELECT partition, generation, start, min(start) OVER (
    PARTITION BY partition ORDER BY generation ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS beyond
  FROM feed_generation WHERE feed = $1
) g USING (partition)
CROSS JOIN LATERAL (
  SELECT position, id, lag(id) OVER (ORDER BY position) AS previous FROM (
    SELECT position, id FROM feed_position
    WHERE feed = h.feed AND partition = h.partition AND position >= h.sent ORDER BY position LIMIT $2 + 1
  ) ahead
) p
JOIN events e ON e.id = p.id
WHERE h.feed = $1 AND h.head > h.sent AND p.position > h.sent AND p.position >= g.start
  AND (g.beyond IS NULL OR p.position < g.beyond)
ORDER BY h.partition, p.position
"""
_SENT = """
UPDATE feed_head h SET sent = s.position FROM unnest($2::smallint[], $3::bigint[]) AS s(partition, position)
WHERE h.feed = $1 AND h.partition = s.partition AND h.sent < s.position
"""
_HEADS = "INSERT INTO feed_head (feed, partition) SELECT $1, n FROM generate_series(0, $2 - 1) n ON CONFLICT DO NOTHING"
_FIRST_GENERATION = """
INSERT INTO feed_generation (feed, generation, partition, start)
SELECT $1, $2, n, 1 FROM generate_series(0, $3 - 1) n
WHERE NOT EXISTS (SELECT 1 FROM feed_generation WHERE feed = $1)
"""
_LOCK_KEY = 0x4C594345  # "LYCE": one relay per database


@dataclass
class RelayStatus:
    active: bool = False
    error: str = ""


_FORESEEN = (  # of what ends its lead: a traceback would tell nothing
    KafkaError,
    OSError,
    restored.Forked,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
)


class Relay:
    def __init__(
        self, url: str, role: str, feeds: Sequence[Feed], kafka: dict[str, Any], *, replication: int = 3
    ) -> None:
        """`role`: the service's database role; the relay works as `<role>_relay`, which reads every tenant."""
        self._url = url
        self._role = f"{role}_relay"
        self.feeds = feeds
        self.kafka = kafka
        self._replication = replication
        self.status = RelayStatus()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled: wait for the lock, relay, and start over after any failure."""
        pause = 0.1
        while True:
            started = time.monotonic()
            try:
                await self._lead()
            except Exception as e:
                red = isinstance(e, restored.Forked)
                self.status = RelayStatus(active=False, error=str(e) if red else f"{type(e).__name__}: {e}")
                unforeseen = not isinstance(e, _FORESEEN)
                log.warning("relay stopped, trying again", error=self.status.error, exc_info=unforeseen)
            pause = 0.1 if time.monotonic() - started > 30 else min(pause * 2, 1.0)
            await asyncio.sleep(pause)

    async def _lead(self) -> None:
        # Its few statements are right for tables of any size, and run for every event.
        connection = await self.connect(
            "relay", idle_session_timeout=IDLE_SESSION_TIMEOUT, plan_cache_mode="auto"
        )
        try:
            # PostgreSQL has no event for a freed advisory lock; waiting inside it would trip the session's time-outs.
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK_KEY):  # noqa: ASYNC110
                await asyncio.sleep(0.5)
            async with asyncio.timeout(5):
                listener = await db.connect(self._url, application="relay-listener")
            try:
                await listener.add_listener(OUTBOX_CHANNEL, self._woken)
                await self._relay(connection)
            finally:
                await leave(listener.close(), seconds=1)
        finally:
            self.status.active = False
            await leave(connection.close(), seconds=1)

    async def connect(self, application: str, **session: str) -> asyncpg.Connection:
        """To the ledger, reading every tenant."""
        connection = await db.connect(self._url, application=application, **session)
        await connection.execute(f'SET ROLE "{self._role}"')
        return connection

    def _woken(self, *_: object) -> None:
        self._wake.set()

    async def _relay(self, connection: asyncpg.Connection) -> None:
        for feed in self.feeds:
            await connection.execute(_HEADS, feed.name, feed.partitions)
            await connection.execute(_FIRST_GENERATION, feed.name, int(time.time() * 1000), feed.partitions)
        await ensure_topics(self.feeds, self.kafka, self._replication)
        await restored.settle(connection, self.feeds, self.kafka)
        producer = AIOKafkaProducer(
            acks="all",
            # Off: with idempotence aiokafka never expires a batch and hangs on a dead broker (aiokafka #1101).
            enable_idempotence=False,
            linger_ms=0,
            max_batch_size=1024 * 1024,
            max_request_size=4 * 1024 * 1024,
            request_timeout_ms=5000,
            retry_backoff_ms=100,
            **self.kafka,
        )
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await producer.start()
                for feed in self.feeds:
                    await producer.partitions_for(feed.topic)  # and from now on the client asks for it
            self.status = RelayStatus(active=True)
            await self._pump(connection, producer)
        finally:
            # Whatever it still queues is sent again under the same numbers.
            await leave(producer.stop())

    async def _pump(self, connection: asyncpg.Connection, producer: AIOKafkaProducer) -> None:
        """While one batch is on its way to Kafka, the next is numbered and read. Of a partition one batch is on its way."""
        flying: list[_Batch] = [{} for _ in self.feeds]
        sending: asyncio.Task[None] | None = None
        try:
            while True:
                numbered = await connection.execute(NUMBER, NUMBER_AT_ONCE)
                failpoint("relay.numbered")
                following = [await _to_send(connection, *of) for of in zip(self.feeds, flying, strict=True)]
                if sending:
                    await sending
                    failpoint("relay.sent")
                    for feed, batch in zip(self.feeds, flying, strict=True):
                        await connection.execute(_SENT, feed.name, *_ends(batch))
                        telemetry.RELAY_SENT.labels(feed.name).inc(sum(map(len, batch.values())))
                flying, sending = following, None
                if any(flying):
                    sending = asyncio.create_task(self._send_all(producer, flying))
                elif numbered == "INSERT 0 0":
                    try:
                        async with asyncio.timeout(SLOW_POLL):
                            await self._wake.wait()
                    except TimeoutError:
                        self._still_there(producer)
                    self._wake.clear()
        finally:
            if sending:
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)

    def _still_there(self, producer: AIOKafkaProducer) -> None:
        """Raises when a topic is gone. A broker that lost all while nothing was to be sent tells nobody else, and consumers
        have no partition to find a lost tail in before the topic is made again. By what the client hears anyway."""
        for feed in self.feeds:
            if not producer.client.cluster.partitions_for_topic(feed.topic):
                raise UnknownTopicOrPartitionError(f"{feed.topic} is gone")

    async def _send_all(self, producer: AIOKafkaProducer, batches: Sequence["_Batch"]) -> None:
        of_feeds = zip(self.feeds, batches, strict=True)
        await asyncio.gather(*(_send(producer, f, p, rows) for f, b in of_feeds for p, rows in b.items()))


_Batch = dict[int, list[asyncpg.Record]]  # by partition, in position order


def _ends(batch: _Batch) -> tuple[list[int], list[int]]:
    """Partitions, and the last position of each."""
    return list(batch), [rows[-1]["position"] for rows in batch.values()]


async def _to_send(connection: asyncpg.Connection, feed: Feed, flying: _Batch) -> _Batch:
    batch: _Batch = defaultdict(list)
    for row in await connection.fetch(_TO_SEND, feed.name, SEND_AT_ONCE, *_ends(flying)):
        batch[row["partition"]].append(row)
    return batch


async def _send(
    producer: AIOKafkaProducer, feed: Feed, partition: int, rows: Sequence[asyncpg.Record]
) -> None:
    """Send in position order, one batch in flight, until the last is acknowledged."""
    pending = list(rows)
    while pending:
        batch = producer.create_batch()
        taken = 0
        for row in pending:
            meta = meta_of(feed.name, row)
            if (
                batch.append(
                    key=row["key"].encode(), value=row["data"], timestamp=None, headers=to_headers(meta)
                )
                is None
            ):
                break
            taken += 1
        async with asyncio.timeout(SEND_TIMEOUT):
            acknowledged = await producer.send_batch(batch, feed.topic, partition=partition)
            await acknowledged
        pending = pending[taken:]


async def ensure_topics(feeds: Sequence[Feed], kafka: dict[str, Any], replication: int) -> None:
    """Create what is missing, with the registry's number of partitions. Nobody else creates topics."""
    admin = AIOKafkaAdminClient(**kafka)
    try:
        async with asyncio.timeout(SEND_TIMEOUT):
            await admin.start()
            wanted = [
                NewTopic(
                    name=feed.topic,
                    num_partitions=feed.partitions,
                    replication_factor=replication,
                    topic_configs={
                        "retention.ms": str(feed.retention_days * 86_400_000),
                        "max.message.bytes": str(4 * 1024 * 1024),
                    },
                )
                for feed in feeds
            ]
            try:
                response: Any = await admin.create_topics(wanted)
            except AttributeError as e:
                # aiokafka sends it to a controller it was told none of: every broker is fenced, as just after a freeze.
                raise NodeNotReadyError("No broker is active yet") from e
            for topic, code, *_ in response.topic_errors:
                error = for_code(code)
                if code and error is not TopicAlreadyExistsError:
                    raise error(topic)
    finally:
        await leave(admin.close())
