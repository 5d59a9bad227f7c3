"""The consumer's own cost: CPU per message of the whole wrapper beside raw aiokafka with the same decode."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import process_time
from uuid import uuid4

from aiokafka import AIOKafkaConsumer, TopicPartition
from google.protobuf.message import Message

from benchmarks.figures import Figure
from benchmarks.parts import (
    Store,
    as_service,
    fill_topic,
    kafka_broker,
    own_feed,
    postgres_server,
    store,
)
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit import telemetry
from lyceum_kit.consumer import Event, HandlerSink, Together
from lyceum_kit.envelope import Meta
from lyceum_kit.intake import Intake
from lyceum_kit.ledger import Tx
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds
from lyceum_kit.wire import Subscription, kafka_options

FEED = feeds()["identity"]


@dataclass(frozen=True)
class Size:
    messages: int


FULL = Size(messages=40_000)
SHORT = Size(messages=500)


async def run(size: Size) -> list[Figure]:
    each: list[float] = []
    many: list[float] = []
    raw: list[float] = []
    with postgres_server() as server, kafka_broker() as broker:
        async with store(server) as producer:
            with telemetry.span("load"):  # every event of a service belongs to a trace
                await fill_topic(producer, broker, _events(size))
            for service in FEED.consumers[:3]:
                settings = as_service(broker, service)
                raw.append(await _raw(settings, size))
                for figures, together in ((each, False), (many, True)):
                    async with store(server, "enrollment") as consumer:
                        figures.append(
                            await _ours(producer, consumer, service, settings, size, together=together)
                        )
                    await _from_the_beginning(settings, service)
    return [
        Figure(
            "consumer, CPU a message", median(each), "µs", 2, "at most", median(raw), "aiokafka + decode",
            note="Ours keeps its place in PostgreSQL, checks the chain of ids, opens a span and runs a handler",
            because="15 headers, a span, a transaction object and a timed handler for each event, all in Python; the peer"
            " looks at no header. Reading them alone is half of what the target leaves",
        ),
        Figure(
            "consumer whose handler takes many, CPU a message", median(many), "µs", 2, "at most", median(raw),
            "aiokafka + decode",
            because="The headers, the chain of ids and the places of 12 partitions are what is left. One header with all of an"
            " event's envelope would bring it near, and no tool that speaks CloudEvents could read the feed",
        ),
    ]  # fmt: skip


def _events(size: Size) -> Iterator[tuple[str, Message]]:
    for n in range(size.messages):
        unit = str(uuid4())
        yield f"org-unit/{unit}", OrgUnitCreated(org_unit_id=unit, code=f"c{n}")


async def _ours(
    producer: Store, consumer: Store, service: str, settings: KitSettings, size: Size, *, together: bool
) -> float:
    """Microseconds of this process's CPU for each event, from the first poll to the last handler."""
    handled = 0

    async def handle(tx: Tx, event: OrgUnitCreated, meta: Meta) -> None:  # noqa: ARG001
        nonlocal handled
        handled += 1

    async def handle_all(tx: Tx, events: Sequence[Event]) -> None:  # noqa: ARG001
        nonlocal handled
        handled += len(events)

    handler = Together(handle_all) if together else handle
    sink = HandlerSink(service, consumer.ledger, {"identity": {OrgUnitCreated: handler}})
    await sink.prepare()
    async with own_feed(producer) as feed:
        subscription = Subscription(settings, service, ["identity"], Intake(service, sink, feed))
        began = process_time()
        task = asyncio.create_task(subscription.run())
        async with asyncio.timeout(180):
            while handled < size.messages:  # noqa: ASYNC110 - looking rarely costs the figure nothing
                await asyncio.sleep(0.05)
        used = process_time() - began
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return used / size.messages * 1e6


async def _from_the_beginning(settings: KitSettings, group: str) -> None:
    """A group that has read the feed once would start behind it."""
    consumer = AIOKafkaConsumer(group_id=group, enable_auto_commit=False, **kafka_options(settings))
    await consumer.start()
    try:
        consumer.assign([TopicPartition(FEED.topic, n) for n in range(FEED.partitions)])
        await consumer.commit(dict.fromkeys(consumer.assignment(), 0))
    finally:
        await consumer.stop()


async def _raw(settings: KitSettings, size: Size) -> float:
    options = kafka_options(settings)
    consumer = AIOKafkaConsumer(FEED.topic, group_id=None, auto_offset_reset="earliest", **options)
    began = process_time()
    await consumer.start()
    seen = 0
    while seen < size.messages:
        for records in (await consumer.getmany(timeout_ms=1000, max_records=2000)).values():
            for record in records:
                OrgUnitCreated.FromString(record.value or b"")
            seen += len(records)
    used = process_time() - began
    await consumer.stop()
    return used / size.messages * 1e6
