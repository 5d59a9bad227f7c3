"""Kafka to ClickHouse, beside the same loop as one writes it first: a pydantic model a message, 1,000 rows a flush."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from analytics import schema
from analytics.engine import Engine, Session, open_engine
from analytics.projections import table
from analytics.sink import AT_ONCE, CONSUMER, ClickHouseSink
from benchmarks.figures import Figure, in_turns
from benchmarks.parts import (
    Store,
    as_service,
    fill_topic,
    folder,
    kafka_broker,
    own_feed,
    postgres_server,
    store,
)
from lyceum.enrollment.v1.events_pb2 import GROUND_KIND_RULE, Ground, LearnerEnrolled
from lyceum_kit.envelope import Record, read_record
from lyceum_kit.intake import Intake
from lyceum_kit.topics import feeds
from lyceum_kit.wire import kafka_options

FEED = feeds()["enrollment"]
FLUSH = 1_000
ROUNDS = 3


@dataclass(frozen=True)
class Size:
    events: int


FULL = Size(events=60_000)
SHORT = Size(events=500)


class Row(BaseModel):
    """The peer's row: what our table has of an enrolment."""

    generation: int
    partition: int
    position: int
    id: UUID
    tenant: UUID
    type: str
    stream: str
    stream_version: int
    at: datetime
    occurred_at: datetime
    decoded: str = "yes"
    enrollment_id: str
    person_id: str
    course_id: str
    course_version: int
    cycle: int
    ground_kind: str
    ground_id: str
    ground_reason: str
    rule_version: int
    due_at: datetime
    department: str
    mandatory: bool


async def run(size: Size) -> list[Figure]:
    with postgres_server() as server, kafka_broker() as broker, folder("lyceum-bench-ch-") as path:
        async with store(server, "enrollment") as producer, _engine(str(path)) as engine:
            await fill_topic(producer, broker, events(size.events))
            options = kafka_options(as_service(broker, "analytics"))
            ours, peer = await in_turns(
                ROUNDS, lambda: _ours(engine, producer, options, size), lambda: _peer(engine, options, size)
            )
    against = f"pydantic, {FLUSH:,} rows a flush"
    return [
        Figure(
            "projector", ours, "events/s", 2, "at least", peer, against,
            because="The peer fetches and reads its headers by the same code, which is half of what ours does: its rows of pydantic"
            " and small inserts are where it loses. Twice as fast would leave ours hardly more than that half",
        )
    ]  # fmt: skip


def events(count: int) -> Iterator[tuple[str, Message]]:
    at = Timestamp(seconds=1_790_000_000)
    for n in range(count):
        enrollment, person = str(uuid4()), str(uuid4())
        rule = Ground(
            kind=GROUND_KIND_RULE, ground_id=str(uuid4()), rule_version=1, since="2026-11-24",
            reason="department is Engineering and location is Berlin or Munich",
        )  # fmt: skip
        yield (
            f"enrollment/{enrollment}",
            LearnerEnrolled(
                enrollment_id=enrollment, person_id=person, course_id=str(UUID(int=n % 100)),
                course_version=1, cycle=1, ground=rule, due_at=at, due_date="2026-12-24", enrolled_at=at,
                department=f"Department {n % 40}", mandatory=True,
            ),
        )  # fmt: skip


@asynccontextmanager
async def _engine(path: str) -> AsyncGenerator[Engine]:
    engine = Engine(f"chdb://{path}")
    await open_engine(engine)
    await schema.migrate(engine)
    try:
        yield engine
    finally:
        await engine.close()


@asynccontextmanager
async def _polling(options: dict[str, Any]) -> AsyncGenerator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(FEED.topic, group_id=None, auto_offset_reset="earliest", **options)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def _ours(engine: Engine, producer: Store, options: dict[str, Any], size: Size) -> float:
    """The projector's own intake and sink; only the consumer group is left out, as in the peer's loop."""
    await engine.command(f"TRUNCATE TABLE {table('enrollment')}")
    sink = ClickHouseSink(engine)
    async with own_feed(producer) as feed, _polling(options) as consumer:
        intake = Intake(CONSUMER, sink, feed)
        began, seen = time.perf_counter(), 0
        while seen < size.events:
            polled = await consumer.getmany(timeout_ms=1000, max_records=AT_ONCE)
            records = [_record(r) for some in polled.values() for r in some]
            await intake.process(records)
            seen += len(records)
        took = time.perf_counter() - began
    assert sum(c.rows for c in await sink.counts("enrollment")) == size.events
    return size.events / took


async def _peer(engine: Engine, options: dict[str, Any], size: Size) -> float:
    await engine.command("DROP TABLE IF EXISTS peer")
    await engine.command(f"CREATE TABLE peer AS {table('enrollment')}")
    names = list(Row.model_fields)

    async def flush(rows: list[Row]) -> None:
        data = [list(row.model_dump().values()) for row in rows]

        def insert(session: Session) -> None:
            session.insert("peer", data, column_names=names, column_oriented=False, settings={})

        await engine.use("write", insert)

    async with _polling(options) as consumer:
        began, seen = time.perf_counter(), 0
        waiting: list[Row] = []
        while seen < size.events:
            polled = await consumer.getmany(timeout_ms=1000, max_records=FLUSH)
            rows = [_row(_record(r)) for some in polled.values() for r in some]
            seen += len(rows)
            waiting += rows
            if len(waiting) >= FLUSH or seen >= size.events:
                await flush(waiting)
                waiting = []
        return size.events / (time.perf_counter() - began)


def _record(record: Any) -> Record:
    headers = record.headers
    return read_record(
        "enrollment", record.partition, record.key, record.value, headers, offset=record.offset
    )


def _row(record: Record) -> Row:
    meta, said = record.meta, LearnerEnrolled.FromString(record.value)
    assert meta
    return Row(
        generation=meta.generation, partition=meta.partition, position=meta.position, id=meta.id,
        tenant=meta.tenant, type=meta.type, stream=meta.stream, stream_version=meta.version, at=meta.time,
        occurred_at=said.enrolled_at.ToDatetime(), enrollment_id=said.enrollment_id,
        person_id=said.person_id, course_id=said.course_id, course_version=said.course_version,
        cycle=said.cycle, ground_kind=str(said.ground.kind), ground_id=said.ground.ground_id,
        ground_reason=said.ground.reason, rule_version=said.ground.rule_version,
        due_at=said.due_at.ToDatetime(), department=said.department, mandatory=said.mandatory,
    )  # fmt: skip
