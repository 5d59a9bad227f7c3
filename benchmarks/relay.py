"""The relay: beside the one-row relay everybody writes first, and beside its own two halves, numbering and sending."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from google.protobuf.message import Message

from benchmarks.figures import Figure, in_turns, percentile
from benchmarks.parts import Store, append_all, as_service, kafka_broker, postgres_server, relaying, store
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit.db import dsn
from lyceum_kit.ledger import Tx
from lyceum_kit.relay import NUMBER, NUMBER_AT_ONCE, SEND_AT_ONCE
from lyceum_kit.topics import feeds
from lyceum_kit.wire import kafka_options
from lyceum_local.kafka import Throwaway

FEED = feeds()["identity"]
ROUNDS = 3


@dataclass(frozen=True)
class Size:
    backlog: int
    one_by_one: int
    hops: int


FULL = Size(backlog=30_000, one_by_one=500, hops=300)
SHORT = Size(backlog=500, one_by_one=20, hops=10)


async def run(size: Size) -> list[Figure]:
    with postgres_server() as server, kafka_broker() as broker:
        options = kafka_options(as_service(broker, "identity"))
        async with store(server) as ours:
            async with relaying(ours, broker):
                pass  # its topic is there now
            rate, floor = await in_turns(
                ROUNDS, lambda: _relay(ours, broker, size), lambda: _halves(ours, options, size)
            )
            one = median([await _one_by_one(ours, options, size) for _ in range(ROUNDS)])
            hops = await _hops(ours, broker, options, size)
    return [
        Figure("relay, backlog", rate, "events/s", 20, "at least", one, "one row at a time"),
        Figure(
            "relay, backlog", rate, "events/s", 0.8, "at least", floor, "numbering + producer alone",
            because="Ours also reads back what it numbered: two fifths of its time with PostgreSQL. While a batch is under way"
            " the next is numbered and read, so that two cores are busy: 0.66 to 0.83 in runs of a day. A third core would help",
        ),
        Figure(
            "commit to consumed, p99", percentile(hops, 0.99), "ms", 15,
            because="The median is half of it; one in a hundred waits longer for the disk or the broker: 10 to 18 ms in runs of"
            " two days. A disk and a core of their own would do",
        ),
        Figure("commit to consumed, p50", percentile(hops, 0.5), "ms"),
    ]  # fmt: skip


def _events(count: int) -> Iterator[tuple[str, Message]]:
    for n in range(count):
        unit = str(uuid4())
        yield f"org-unit/{unit}", OrgUnitCreated(org_unit_id=unit, code=f"c{n}")


# What there is to send, sent or not, and what of it was. One statement, and one snapshot: the relay is at work.
_THERE = "SELECT (SELECT count(*) FROM outbox) + sum(head) AS all, sum(sent) AS sent FROM feed_head"
# Of a dozen rows: to count the outbox again and again would be work of its own.
_SENT = "SELECT sum(sent) FROM feed_head"


async def _relay(ours: Store, broker: Throwaway, size: Size) -> float:
    """Events a second from a full outbox until the last acknowledgement."""
    await append_all(ours.ledger, _events(size.backlog))
    connection = await asyncpg.connect(dsn(ours.owner_url))
    try:
        async with relaying(ours, broker):  # until it has the lock and its producer
            began = time.perf_counter()
            there: Any = await connection.fetchrow(_THERE)
            while await connection.fetchval(_SENT) < there["all"]:  # noqa: ASYNC110 - a query of another database
                await asyncio.sleep(0.02)
            return float(there["all"] - there["sent"]) / (time.perf_counter() - began)
    finally:
        await connection.close()


async def _halves(ours: Store, options: dict[str, Any], size: Size) -> float:
    """The floor: number the whole backlog, then send as many records as large as ours, and nothing else."""
    await append_all(ours.ledger, _events(size.backlog))
    connection = await asyncpg.connect(dsn(ours.owner_url))
    producer = AIOKafkaProducer(acks="all", linger_ms=0, max_batch_size=1024 * 1024, **options)
    await producer.start()
    headers = [(f"ce_{n:012}", b"x" * 24) for n in range(14)]
    try:
        began = time.perf_counter()
        while await connection.execute(NUMBER, NUMBER_AT_ONCE) != "INSERT 0 0":
            pass
        sending: list[Any] = []
        for partition in range(FEED.partitions):
            left = size.backlog // FEED.partitions
            while left:
                batch = producer.create_batch()
                taken = 0
                while taken < min(left, SEND_AT_ONCE):
                    if batch.append(key=b"k" * 45, value=b"v" * 45, timestamp=None, headers=headers) is None:
                        break
                    taken += 1
                sending.append(await producer.send_batch(batch, FEED.topic, partition=partition))
                left -= taken
        await asyncio.gather(*sending)
        took = time.perf_counter() - began
        await connection.execute("UPDATE feed_head SET sent = head")
        return size.backlog / took
    finally:
        await producer.stop()
        await connection.close()


async def _one_by_one(ours: Store, options: dict[str, Any], size: Size) -> float:
    """The naive relay: take a row with SKIP LOCKED, send it, wait, mark it, commit."""
    await append_all(ours.ledger, _events(size.one_by_one))
    connection = await asyncpg.connect(dsn(ours.owner_url))
    producer = AIOKafkaProducer(acks="all", linger_ms=0, **options)
    await producer.start()
    try:
        began = time.perf_counter()
        for _ in range(size.one_by_one):
            async with connection.transaction():
                row: Any = await connection.fetchrow(
                    "SELECT seq, partition, id FROM outbox ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED"
                )
                body = json.dumps({"id": str(row["id"]), "data": "v" * 45}).encode()
                await producer.send_and_wait(FEED.topic, body, partition=row["partition"])
                await connection.execute("DELETE FROM outbox WHERE seq = $1", row["seq"])
        return size.one_by_one / (time.perf_counter() - began)
    finally:
        await producer.stop()
        await connection.close()


async def _hops(ours: Store, broker: Throwaway, options: dict[str, Any], size: Size) -> list[float]:
    """Milliseconds from before the commit to the record in a consumer's hands, one event at a time."""
    consumer = AIOKafkaConsumer(fetch_max_wait_ms=500, auto_offset_reset="latest", **options)
    await consumer.start()
    partitions = [TopicPartition(FEED.topic, n) for n in range(FEED.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    tenant = uuid4()

    async def create(tx: Tx, unit: str) -> None:
        tx.append(f"org-unit/{unit}", [OrgUnitCreated(org_unit_id=unit, code="x")], expected=0)

    took: list[float] = []
    try:
        async with relaying(ours, broker):
            for n in range(size.hops + 20):
                began = time.perf_counter()
                await ours.ledger.run(tenant, create, str(uuid4()))
                await consumer.getone()
                if n >= 20:  # the first ones warm connections up
                    took.append((time.perf_counter() - began) * 1000)
        return took
    finally:
        await consumer.stop()
