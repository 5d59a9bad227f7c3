"""The relay: beside the one-row relay everybody writes first, and beside its own two halves, numbering and sending."""

import asyncio
import json
import time
from statistics import median
from typing import Any
from uuid import uuid4

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from benchmarks.figures import Figure, percentile
from benchmarks.parts import Store, kafka_broker, postgres_server, store
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit import relay as relays
from lyceum_kit.db import dsn
from lyceum_kit.ledger import Tx
from lyceum_kit.relay import Relay
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds
from lyceum_kit.wire import kafka_options

BACKLOG, ONE_BY_ONE, HOPS = 30_000, 800, 300
FEED = feeds()["identity"]


async def run() -> list[Figure]:
    with postgres_server() as server, kafka_broker() as broker:
        options = kafka_options(
            KitSettings(
                kafka=f"127.0.0.1:{broker.port}",
                kafka_user="identity",
                kafka_password=broker.passwords["identity"],
            )
        )
        async with store(server) as ours:
            rate = median([await _relay(ours, options) for _ in range(3)])
            floor = median([await _halves(ours, options) for _ in range(3)])
            one = await _one_by_one(ours, options)
            hops = await _hops(ours, options)
    return [
        Figure("relay, backlog", rate, "events/s", 20, "at least", one, "one row at a time"),
        Figure("relay, backlog", rate, "events/s", 0.8, "at least", floor, "numbering + producer alone"),
        Figure("commit to consumed, p99", percentile(hops, 0.99), "ms", 15, "at most"),
        Figure("commit to consumed, p50", percentile(hops, 0.5), "ms", 15, "at most"),
    ]


async def _fill(ours: Store, count: int) -> None:
    tenant = uuid4()

    async def create(tx: Tx, first: int) -> None:
        for n in range(first, first + 500):
            unit = str(uuid4())
            tx.append(f"org-unit/{unit}", [OrgUnitCreated(org_unit_id=unit, code=f"c{n}")], expected=0)

    for first in range(0, count, 500):
        await ours.ledger.run(tenant, create, first)


async def _behind(connection: asyncpg.Connection) -> int:
    return await connection.fetchval(
        "SELECT (SELECT count(*) FROM outbox) + (SELECT coalesce(sum(head - sent), 0) FROM feed_head)"
    )


async def _relay(ours: Store, options: dict[str, Any]) -> float:
    """Events a second from a full outbox until the last acknowledgement."""
    await _fill(ours, BACKLOG)
    one = Relay(ours.app_url, ours.role, [FEED], options, replication=1)
    connection = await asyncpg.connect(dsn(ours.owner_url))
    task = asyncio.create_task(one.run())
    try:
        while await _behind(connection) == BACKLOG:
            await asyncio.sleep(0.002)  # until it has the lock and its producer
        began, first = time.perf_counter(), await _behind(connection)
        while await _behind(connection):
            await asyncio.sleep(0.02)
        return first / (time.perf_counter() - began)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()


async def _halves(ours: Store, options: dict[str, Any]) -> float:
    """The floor: number the whole backlog, then send as many records as large as ours, and nothing else."""
    await _fill(ours, BACKLOG)
    connection = await asyncpg.connect(dsn(ours.owner_url))
    producer = AIOKafkaProducer(acks="all", linger_ms=0, max_batch_size=1024 * 1024, **options)
    await producer.start()
    headers = [(f"ce_{n:012}", b"x" * 24) for n in range(14)]
    try:
        began = time.perf_counter()
        while await connection.execute(relays._NUMBER, relays.NUMBER_AT_ONCE) != "INSERT 0 0":
            pass
        sending: list[Any] = []
        for partition in range(FEED.partitions):
            left = BACKLOG // FEED.partitions
            while left:
                batch = producer.create_batch()
                taken = 0
                while taken < min(left, relays.SEND_AT_ONCE):
                    if batch.append(key=b"k" * 45, value=b"v" * 45, timestamp=None, headers=headers) is None:
                        break
                    taken += 1
                sending.append(await producer.send_batch(batch, FEED.topic, partition=partition))
                left -= taken
        await asyncio.gather(*sending)
        took = time.perf_counter() - began
        await connection.execute("UPDATE feed_head SET sent = head")
        return BACKLOG / took
    finally:
        await producer.stop()
        await connection.close()


async def _one_by_one(ours: Store, options: dict[str, Any]) -> float:
    """The naive relay: take a row with SKIP LOCKED, send it, wait, mark it, commit."""
    await _fill(ours, 500 * (ONE_BY_ONE // 500 + 1))
    connection = await asyncpg.connect(dsn(ours.owner_url))
    producer = AIOKafkaProducer(acks="all", linger_ms=0, **options)
    await producer.start()
    try:
        began = time.perf_counter()
        for _ in range(ONE_BY_ONE):
            async with connection.transaction():
                row = await connection.fetchrow(
                    "SELECT seq, partition, id FROM outbox ORDER BY seq LIMIT 1 FOR UPDATE SKIP LOCKED"
                )
                body = json.dumps({"id": str(row["id"]), "data": "v" * 45}).encode()
                await producer.send_and_wait(FEED.topic, body, partition=row["partition"])
                await connection.execute("DELETE FROM outbox WHERE seq = $1", row["seq"])
        took = time.perf_counter() - began
        await connection.execute("TRUNCATE outbox")
        return ONE_BY_ONE / took
    finally:
        await producer.stop()
        await connection.close()


async def _hops(ours: Store, options: dict[str, Any]) -> list[float]:
    """Milliseconds from before the commit to the record in a consumer's hands, one event at a time."""
    one = Relay(ours.app_url, ours.role, [FEED], options, replication=1)
    task = asyncio.create_task(one.run())
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
        while not one.status.active:
            await asyncio.sleep(0.01)
        for n in range(HOPS + 20):
            began = time.perf_counter()
            await ours.ledger.run(tenant, create, str(uuid4()))
            await consumer.getone()
            if n >= 20:  # the first ones warm connections up
                took.append((time.perf_counter() - began) * 1000)
        return took
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()
