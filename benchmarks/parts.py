"""What benchmarks run on: a PostgreSQL that keeps its promises, a Kafka, ledgers on fresh databases, a filled feed."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, cast
from uuid import uuid4

from alembic.migration import MigrationContext
from alembic.operations import Operations
from google.protobuf.message import Message
from pydantic import SecretStr
from sqlalchemy import Connection

from lyceum_kit import db, schema
from lyceum_kit.feed import FeedReader, FeedSource, Head
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.migrations import upgrade_async
from lyceum_kit.relay import Relay
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds
from lyceum_kit.wire import kafka_options
from lyceum_local import kafka, postgres
from lyceum_local.paths import CONTRACTED, cache_folder
from lyceum_local.testing import free_port
from lyceum_local.testing.school import School

FILLED_AT_ONCE = 500


class Database(NamedTuple):
    """As the service sees it, and as the owner that migrates it."""

    app_url: str
    owner_url: str
    role: str


class Store(NamedTuple):
    ledger: Ledger
    app_url: str
    owner_url: str
    role: str


@contextmanager
def postgres_server() -> Generator[str]:
    """The URL of a durable server's superuser: what is answered is on the disk, as in production."""
    with folder("lyceum-bench-pg-") as path:
        server = postgres.Throwaway(
            path, cache_folder(), free_port(), secrets.token_urlsafe(12), durable=True
        )
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def kafka_broker() -> Generator[kafka.Throwaway]:
    with folder("lyceum-bench-kafka-") as path:
        users = {user: secrets.token_urlsafe(12) for user in (*CONTRACTED, "admin", "controller")}
        broker = kafka.Throwaway(path, cache_folder(), free_port(), free_port(), users)
        try:
            yield broker
        finally:
            broker.kill()


def as_service(broker: kafka.Throwaway, service: str) -> KitSettings:
    """The settings by which a service reaches the broker."""
    return KitSettings(
        kafka=f"127.0.0.1:{broker.port}",
        kafka_user=service,
        kafka_password=SecretStr(broker.passwords[service]),
    )


async def empty_database(server: str, name: str) -> Database:
    name = f"{name}_{secrets.token_hex(4)}"
    account = postgres.Account(name, secrets.token_urlsafe(8), secrets.token_urlsafe(8))
    await postgres.create_databases(server, [account])
    at = server.rpartition("@")[2].partition("/")[0]
    return Database(
        f"postgresql://{name}:{account.password}@{at}/{name}",
        f"postgresql://{name}_owner:{account.owner_password}@{at}/{name}",
        name,
    )


async def service_database(server: str, service: str) -> Database:
    """A fresh database with a service's tables."""
    made = await empty_database(server, service)
    await upgrade_async(service, made.owner_url, made.role)
    return made


@asynccontextmanager
async def store(server: str, feed: str = "identity", *, pool: int = 20) -> AsyncGenerator[Store]:
    """A ledger on a fresh database that has the kit's tables."""
    made = await empty_database(server, "bench")

    def create(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            schema.ledger_tables(made.role)

    engine = db.make_engine(made.owner_url)
    async with engine.begin() as conn:
        await conn.run_sync(create)
    await engine.dispose()
    ledger = Ledger(db.make_engine(made.app_url, pool=pool), feeds()[feed])
    try:
        yield Store(ledger, *made)
    finally:
        await ledger.close()


async def append_all(ledger: Ledger, events: Iterable[tuple[str, Message]]) -> int:
    """Each event as a stream of its own, many in a transaction; how many that was."""
    tenant, count = uuid4(), 0

    async def append(tx: Tx, some: Sequence[tuple[str, Message]]) -> None:
        for stream, message in some:
            tx.append(stream, [message], expected=0)

    waiting = list(events)
    for first in range(0, len(waiting), FILLED_AT_ONCE):
        some = waiting[first : first + FILLED_AT_ONCE]
        await ledger.run(tenant, append, some)
        count += len(some)
    return count


@asynccontextmanager
async def relaying(producer: Store, broker: kafka.Throwaway) -> AsyncGenerator[Relay]:
    feed = producer.ledger.feed
    options = kafka_options(as_service(broker, feed.producer))
    relay = Relay(producer.app_url, producer.role, [feed], options, replication=1)
    task = asyncio.create_task(relay.run())
    try:
        while not relay.status.active:  # noqa: ASYNC110 - it has no event for this
            await asyncio.sleep(0.01)
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def fill_topic(producer: Store, broker: kafka.Throwaway, events: Iterable[tuple[str, Message]]) -> int:
    """A feed with these events, numbered and on Kafka."""
    count = await append_all(producer.ledger, events)
    async with relaying(producer, broker), own_feed(producer) as feed:
        name = producer.ledger.feed.name
        while sum(head.sent for head in await feed.heads(name)) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return count


class _OwnFeed:
    """The producer's EventFeed, asked in process: what is measured is the consumer's own cost."""

    def __init__(self, source: FeedSource) -> None:
        self._source = source

    async def heads(self, feed: str) -> list[Head]:
        answer = await self._source.heads(feed)
        return [
            Head(p.head, p.sent, tuple((g.generation, g.start) for g in p.generations), p.head_id)
            for p in answer.partitions
        ]

    async def read(self, feed: str, partition: int, first: int, limit: int) -> list[Any]:
        raise AssertionError(f"{feed}/{partition} lost {limit} from {first}: nothing is lost here")


@asynccontextmanager
async def own_feed(producer: Store) -> AsyncGenerator[FeedReader]:
    source = FeedSource(producer.app_url, producer.role)
    try:
        yield cast("FeedReader", _OwnFeed(source))
    finally:
        await source.close()


@contextmanager
def folder(prefix: str) -> Generator[Path]:
    path = Path(tempfile.mkdtemp(prefix=prefix))
    path.chmod(0o755)  # PostgreSQL's own user walks through it
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def is_(attribute: str, value: str) -> dict[str, Any]:
    """A rule's condition."""
    return {"attribute": attribute, "operator": "is", "value": value}


async def add_course(school: School, slug: str) -> None:
    """A published course with one thing to read."""
    module = {"kind": "reading", "title": "Read", "text": "Wash your hands."}
    course = {"slug": slug, "title": slug.title(), "modules": [module]}
    made = await school.ask("POST", "catalog/courses", course)
    await school.ask("POST", f"catalog/courses/{made['course_id']}/publish")
    school.courses[slug] = made["course_id"]
