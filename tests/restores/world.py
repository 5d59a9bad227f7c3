"""A producer and a consumer that are services of the kit alone, stopped and started as processes are, and their
databases, backed up and restored."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fastapi import APIRouter
from sqlalchemy import text

from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit import db, schema
from lyceum_kit.consumer import Consumes
from lyceum_kit.envelope import Meta
from lyceum_kit.feed import FeedSource, event_feed
from lyceum_kit.http import make_app
from lyceum_kit.intake import Place
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.peers import Peers
from lyceum_kit.rpc import make_server
from lyceum_kit.service import Service, Workers
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import FixedToken, TestKeys
from lyceum_kit.topics import feeds
from lyceum_local import postgres
from lyceum_local.testing import free_port

TENANT = UUID("01990000-0000-7000-8000-000000000001")
FEED = feeds()["identity"]
SERVICES = ("identity", "enrollment")  # who produces and who consumes


async def effect(tx: Tx, event: OrgUnitCreated, meta: Meta) -> None:
    row = {"t": tx.tenant, "w": event.org_unit_id}
    await tx.conn.execute(text("INSERT INTO effects VALUES (:t, :w)"), row)


@dataclass
class Node:
    """One service: its database stays, its process can be stopped and started."""

    name: str
    made: Any  # its database
    settings: KitSettings
    keys: TestKeys
    consumes: Consumes = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.ledger = Ledger(db.make_engine(self.made.app_url), feeds()[self.name])

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Workers]:
        token = FixedToken(self.keys.token(tenant="*", subject="test", roles=["service"], kind="service"))
        peers = Peers(self.settings, token)
        service = Service(
            name=self.name,
            settings=self.settings,
            http=make_app(self.name, self.settings, router=APIRouter(), verifier=self.keys.verifier),
            rpc=(),
            verifier=self.keys.verifier,
            ledger=self.ledger,
            peers=peers,
            consumes=self.consumes,
        )
        source = FeedSource(self.made.app_url, self.made.role)
        server = make_server(self.settings, [event_feed({self.name: source})], self.keys.verifier)
        await server.start()
        workers = Workers(service)
        task = asyncio.create_task(workers.run())
        try:
            yield workers
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await server.stop(0)
            await source.close()
            await peers.close()
            await self.ledger.close()


def pair(made: Mapping[str, Any], broker: Any) -> tuple[Node, Node]:
    """The producer and the consumer over these databases, by service."""
    keys, port = TestKeys(), free_port()
    nodes: list[Node] = []
    for name in SERVICES:
        settings = KitSettings(
            edition="local",
            database_url=made[name].app_url,
            kafka=f"127.0.0.1:{broker.port}",
            kafka_replication=1,
            kafka_user=name,
            kafka_password=broker.passwords[name],
            grpc_host="127.0.0.1",
            grpc_port=port if name == "identity" else 0,
            identity_grpc=f"127.0.0.1:{port}",
        )
        nodes.append(Node(name, made[name], settings, keys))
    producer, consumer = nodes
    consumer.consumes = {"identity": {OrgUnitCreated: effect}}
    return producer, consumer


@dataclass
class World:
    admin: asyncpg.Connection
    producer: Node
    consumer: Node
    copies: list[str] = field(default_factory=list[str])

    async def append(self, numbers: Iterable[int], *, key: str | None = None) -> None:
        """By the producer's HTTP half, which takes commands whether the relay runs or not."""

        async def create(tx: Tx, n: int) -> None:
            stream, event = f"org-unit/{n}", OrgUnitCreated(org_unit_id=str(n), code="x")
            tx.append(stream, [event], expected=0, key=key)

        for n in numbers:
            await self.producer.ledger.run(TENANT, create, n)

    async def back_up(self, node: Node | None = None) -> str:
        """The producer's database as it is now, or another node's. Nobody may be connected."""
        node, name = node or self.producer, f"backup_{uuid4().hex[:8]}"
        await node.ledger.close()
        await self.admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{node.made.role}" STRATEGY file_copy')
        self.copies.append(name)
        return name

    async def restore(self, backup: str, node: Node | None = None) -> None:
        node = node or self.producer
        name = node.made.role
        await node.ledger.close()
        await self.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
        await self.admin.execute(
            f'CREATE DATABASE "{name}" TEMPLATE "{backup}" OWNER "{name}_owner" STRATEGY file_copy'
        )
        await postgres.grant_connect(self.admin, name, name)

    async def effects(self) -> list[int]:
        async with self.consumer.ledger.read(TENANT) as conn:
            rows = await conn.execute(text("SELECT what FROM effects ORDER BY what::int"))
            return [int(row.what) for row in rows]

    async def reached(self, *numbers: Iterable[int], seconds: float = 60) -> None:
        """Each of these had its effect once, and nothing else had any."""
        wanted = sorted(n for some in numbers for n in some)
        done: list[int] = []
        async with asyncio.timeout(seconds):
            while len(done) < len(wanted):
                await asyncio.sleep(0.05)
                done = await self.effects()
        assert Counter(done) == Counter(wanted)

    async def sent(self, seconds: float = 60) -> None:
        """The relay has nothing left."""
        async with asyncio.timeout(seconds):
            while await self.fetch(
                self.producer, "SELECT 1 FROM outbox UNION ALL SELECT 1 FROM feed_head WHERE sent < head"
            ):
                await asyncio.sleep(0.05)

    async def heads(self) -> list[int]:
        rows = await self.fetch(self.producer, "SELECT head FROM feed_head ORDER BY partition")
        return [row.head for row in rows]

    async def generations(self) -> list[tuple[int, list[int]]]:
        """Each with its starts by partition."""
        rows = await self.fetch(
            self.producer,
            "SELECT generation, array_agg(start ORDER BY partition) AS starts FROM feed_generation"
            " GROUP BY generation ORDER BY generation",
        )
        return [(row.generation, list(row.starts)) for row in rows]

    async def places(self) -> list[Place]:
        rows = await self.fetch(
            self.consumer, "SELECT next, last_id, generation FROM progress ORDER BY partition"
        )
        return [Place(row.next, row.last_id, row.generation) for row in rows]

    async def in_ledger(self) -> set[int]:
        async with self.producer.ledger.read(TENANT) as conn:
            rows = await conn.execute(text("SELECT stream FROM feed_position JOIN events USING (id)"))
            return {int(row.stream.partition("/")[2]) for row in rows}

    async def red(self) -> set[int]:
        rows = await self.fetch(self.consumer, "SELECT partition FROM progress WHERE alarm LIKE 'red:%'")
        return {row.partition for row in rows}

    async def turns_red(self, partitions: Iterable[int], seconds: float = 60) -> None:
        async with asyncio.timeout(seconds):
            while await self.red() != set(partitions):
                await asyncio.sleep(0.05)

    async def beyond(self, heads: Sequence[int]) -> set[int]:
        """In which partitions the consumer has had more than these."""
        return {n for n, place in enumerate(await self.places()) if place.next - 1 > heads[n]}

    async def fetch(self, node: Node, statement: str) -> Sequence[Any]:
        async with node.ledger.engine.connect() as conn:
            return (await conn.execute(text(statement))).all()


async def create_tables(made: Any) -> None:
    def create(connection: Any) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            schema.ledger_tables(made.role)
            schema.op.execute("CREATE TABLE effects (tenant uuid, what text)")
            schema.tenant_table("effects", role=made.role)

    owner = db.make_engine(made.owner_url)
    async with owner.begin() as conn:
        await conn.run_sync(create)
    await owner.dispose()
