"""The consumer's own cost: CPU per message of the whole wrapper beside raw aiokafka with the same decode."""

import asyncio
import os
from statistics import median
from typing import Any
from uuid import uuid4

from aiokafka import AIOKafkaConsumer

from benchmarks.figures import Figure
from benchmarks.parts import Store, kafka_broker, postgres_server, store
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit.consumer import HandlerSink
from lyceum_kit.envelope import Meta
from lyceum_kit.feed import FeedSource, Head
from lyceum_kit.intake import Intake
from lyceum_kit.ledger import Tx
from lyceum_kit.relay import Relay
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds
from lyceum_kit.wire import Subscription, kafka_options

MESSAGES = 20_000
FEED = feeds()["identity"]


class Source:
    """The producer's EventFeed, asked in process: the figure is the consumer's own."""

    def __init__(self, source: FeedSource) -> None:
        self._source = source

    async def heads(self, feed: str) -> list[Head]:
        answer = await self._source.heads(feed)
        return [
            Head(p.head, p.sent, tuple((g.generation, g.start) for g in p.generations))
            for p in answer.partitions
        ]

    async def read(self, *_: Any) -> list[Any]:
        raise AssertionError("nothing is lost here")


async def run() -> list[Figure]:
    with postgres_server() as server, kafka_broker() as broker:

        def settings(service: str) -> KitSettings:
            return KitSettings(
                kafka=f"127.0.0.1:{broker.port}",
                kafka_user=service,
                kafka_password=broker.passwords[service],
            )

        async with store(server) as producer:
            await _fill(producer, kafka_options(settings("identity")))
            ours: list[float] = []
            raw: list[float] = []
            # A group that has read the feed once starts behind it: each round is another service's.
            for service in FEED.consumers[:3]:
                async with store(server, "enrollment") as consumer:
                    ours.append(await _ours(producer, consumer, service, settings(service)))
                raw.append(await _raw(kafka_options(settings(service))))
    return [
        Figure(
            "consumer, CPU a message", median(ours), "µs", 2, "at most", median(raw), "aiokafka + decode",
            note="our side keeps `next` in PostgreSQL and runs a handler for each event",
        )
    ]  # fmt: skip


async def _fill(producer: Store, options: dict[str, Any]) -> None:
    tenant = uuid4()

    async def create(tx: Tx, first: int) -> None:
        for n in range(first, first + 500):
            unit = str(uuid4())
            tx.append(f"org-unit/{unit}", [OrgUnitCreated(org_unit_id=unit, code=f"c{n}")], expected=0)

    for first in range(0, MESSAGES, 500):
        await producer.ledger.run(tenant, create, first)
    relay = Relay(producer.app_url, producer.role, [FEED], options, replication=1)
    task = asyncio.create_task(relay.run())
    source = FeedSource(producer.app_url, producer.role)
    while sum(p.sent for p in (await source.heads("identity")).partitions) < MESSAGES:
        await asyncio.sleep(0.05)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await source.close()


async def _ours(producer: Store, consumer: Store, service: str, settings: KitSettings) -> float:
    """Microseconds of this process's CPU for each event, from the first poll to the last commit."""
    handled = 0

    async def handle(tx: Tx, event: OrgUnitCreated, meta: Meta) -> None:  # noqa: ARG001
        nonlocal handled
        handled += 1

    source = FeedSource(producer.app_url, producer.role)
    sink = HandlerSink(service, consumer.ledger, {"identity": {OrgUnitCreated: handle}})
    await sink.prepare()
    intake = Intake(service, sink, Source(source))  # type: ignore[arg-type]
    subscription = Subscription(settings, service, ["identity"], intake)
    began = _cpu()
    task = asyncio.create_task(subscription.run())
    async with asyncio.timeout(120):
        while handled < MESSAGES:
            await asyncio.sleep(0.05)
    used = _cpu() - began
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await source.close()
    return used / MESSAGES * 1e6


async def _raw(options: dict[str, Any]) -> float:
    consumer = AIOKafkaConsumer(FEED.topic, group_id=None, auto_offset_reset="earliest", **options)
    await consumer.start()
    seen = 0
    began = _cpu()
    while seen < MESSAGES:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=2000)).values():
            for record in records:
                OrgUnitCreated.FromString(record.value)
            seen += len(records)
    used = _cpu() - began
    await consumer.stop()
    return used / MESSAGES * 1e6


def _cpu() -> float:
    times = os.times()
    return times.user + times.system
