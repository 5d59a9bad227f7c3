"""One hire at a time through the running platform: from HR's webhook until the person is enrolled, hop by hop."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr

from benchmarks.figures import Figure, percentile
from benchmarks.parts import add_course, is_
from identity.signatures import sign_standard
from lyceum.enrollment.v1.events_pb2 import LearnerEnrolled
from lyceum.identity.v1.events_pb2 import UserProvisioned
from lyceum_kit.ledger import OUTBOX_CHANNEL
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds
from lyceum_kit.wire import kafka_options
from lyceum_local.config import Config
from lyceum_local.postgres import with_database
from lyceum_local.testing import installation
from lyceum_local.testing.school import School, open_school

WARM = 20
PROVISIONED = UserProvisioned.DESCRIPTOR.full_name
ENROLLED = LearnerEnrolled.DESCRIPTOR.full_name


@dataclass(frozen=True)
class Size:
    hires: int


FULL = Size(hires=300)
SHORT = Size(hires=5)


@dataclass(frozen=True)
class Hops:
    """Milliseconds since HR sent the webhook."""

    answered: float
    hired_on_kafka: float
    enrolled: float
    enrolled_on_kafka: float


async def run(size: Size) -> list[Figure]:
    with installation(split=True) as platform:
        async with (
            open_school(platform) as school,
            _watching(platform.config) as watch,
            platform.http() as hr,
        ):
            await add_course(school, "safety")
            await school.rule("Engineers", is_("department", "Engineering"), courses=["safety"])
            await platform.settled()
            hops = [await _hire(school, hr, watch, n) for n in range(WARM + size.hires)][WARM:]
    enrolled = [h.enrolled for h in hops]
    return [
        Figure("hire to enrolled, p50", percentile(enrolled, 0.5), "ms", 50),
        Figure("hire to enrolled, p99", percentile(enrolled, 0.99), "ms", 250),
        *_shares(hops),
    ]


def _shares(hops: Sequence[Hops]) -> list[Figure]:
    parts = {
        "webhook answered (identity has committed)": [h.answered for h in hops],
        "its event on Kafka (identity's relay)": [h.hired_on_kafka - h.answered for h in hops],
        "enrolment committed (consumer, rules)": [h.enrolled - h.hired_on_kafka for h in hops],
        "its event on Kafka (enrollment's relay)": [h.enrolled_on_kafka - h.enrolled for h in hops],
    }
    return [Figure(f"… {name}, p50", percentile(some, 0.5), "ms") for name, some in parts.items()]


class _Watch:
    """When events of two feeds arrive at a consumer, and when enrollment has committed."""

    def __init__(self) -> None:
        self.seen: dict[str, float] = {}
        self._arrived = asyncio.Event()

    def note(self, what: str) -> None:
        self.seen.setdefault(what, time.perf_counter())
        self._arrived.set()

    async def until(self, *wanted: str) -> None:
        async with asyncio.timeout(30):
            while not self.seen.keys() >= {*wanted}:
                self._arrived.clear()
                await self._arrived.wait()


@asynccontextmanager
async def _watching(config: Config) -> AsyncGenerator[_Watch]:
    watch = _Watch()
    settings = KitSettings(
        kafka=f"127.0.0.1:{config.ports['kafka']}",
        kafka_user="analytics",
        kafka_password=SecretStr(config.secrets.kafka["analytics"]),
    )
    consumer = AIOKafkaConsumer(auto_offset_reset="latest", **kafka_options(settings))
    await consumer.start()
    topics = [feeds()[name] for name in ("identity", "enrollment")]
    partitions = [TopicPartition(feed.topic, n) for feed in topics for n in range(feed.partitions)]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)

    async def read() -> None:
        async for record in consumer:
            kind = dict(record.headers)["ce_type"].decode()
            watch.note({PROVISIONED: "hired on kafka", ENROLLED: "enrolled on kafka"}.get(kind, kind))

    # The ledger notifies right after it has committed.
    def committed(*_: object) -> None:
        watch.note("enrolled")

    listener = await asyncpg.connect(with_database(config.postgres_url, "enrollment"))
    await listener.add_listener(OUTBOX_CHANNEL, committed)
    reading = asyncio.create_task(read())
    try:
        yield watch
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await consumer.stop()
        await listener.close()


async def _hire(school: School, hr: httpx.AsyncClient, watch: _Watch, n: int) -> Hops:
    watch.seen.clear()
    now = datetime.now(UTC)
    person = {"external_id": f"E{n}", "display_name": f"Person {n}", "department": "Engineering"}
    body = json.dumps({"type": "person.created", "timestamp": now.isoformat(), "data": person}).encode()
    headers = sign_standard(school.webhook["secret"], f"msg_{n}", now, body)
    began = time.perf_counter()
    (await hr.post(school.webhook["url"], content=body, headers=headers)).raise_for_status()
    watch.note("answered")
    await watch.until("answered", "hired on kafka", "enrolled", "enrolled on kafka")
    at = {what: (when - began) * 1000 for what, when in watch.seen.items()}
    return Hops(at["answered"], at["hired on kafka"], at["enrolled"], at["enrolled on kafka"])
