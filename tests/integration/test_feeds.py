"""The feeds over a real Kafka and PostgreSQL: what a ledger commits reaches its consumer once, whatever the wire does."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from aiokafka.cluster import ClusterMetadata
from aiokafka.consumer.fetcher import Fetcher
from alembic.migration import MigrationContext
from alembic.operations import Operations
from fastapi import APIRouter
from faststream.kafka import KafkaBroker
from prometheus_client import REGISTRY
from sqlalchemy import text

from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit import db, relay, schema, service, wire
from lyceum_kit.envelope import Meta
from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import FeedSource, event_feed
from lyceum_kit.http import make_app
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.peers import Peers
from lyceum_kit.rpc import make_server
from lyceum_kit.service import Service, Workers
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import FixedToken, TestKeys
from lyceum_kit.topics import feeds

TENANT = uuid4()


@dataclass
class World:
    """identity produces, enrollment consumes; each with a ledger of its own."""

    producer: Ledger
    consumer: Ledger
    workers: dict[str, Workers]

    async def produce(self, count: int, *, first: int = 0) -> None:
        async def create(tx: Tx, n: int) -> None:
            tx.append(f"org-unit/{n % 40}-{n}", [OrgUnitCreated(org_unit_id=str(n), code="x")], expected=0)

        for start in range(first, first + count, 50):
            await asyncio.gather(
                *(self.producer.run(TENANT, create, n) for n in range(start, min(start + 50, first + count)))
            )

    async def effects(self) -> list[int]:
        async with self.consumer.read(TENANT) as conn:
            return [
                int(r.what) for r in await conn.execute(text("SELECT what FROM effects ORDER BY what::int"))
            ]

    async def reached(self, count: int, *, seconds: float = 40) -> list[int]:
        done: list[int] = []
        async with asyncio.timeout(seconds):
            while len(done) < count:
                await asyncio.sleep(0.05)
                done = await self.effects()
        return done

    @asynccontextmanager
    async def running(self, *names: str) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(self.workers[n].run()) for n in names or self.workers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def world(database: Callable[[str], Awaitable[Any]], kafka_broker: Any) -> AsyncIterator[World]:
    keys = TestKeys()
    token = FixedToken(keys.token(tenant="*", subject="test", roles=["service"], kind="service"))
    ledgers: dict[str, Ledger] = {}
    urls: dict[str, Any] = {}
    for name in ("identity", "enrollment"):
        made = await database("kit")
        urls[name] = made
        owner = db.make_engine(made.owner_url)

        def create(connection: Any, role: str = made.role) -> None:
            with Operations.context(MigrationContext.configure(connection)):
                schema.ledger_tables(role)
                schema.op.execute("CREATE TABLE effects (tenant uuid, what text)")
                schema.tenant_table("effects", role=role)

        async with owner.begin() as conn:
            await conn.run_sync(create)
        await owner.dispose()
        ledgers[name] = Ledger(db.make_engine(made.app_url), feeds()[name])

    source = FeedSource(urls["identity"].app_url, urls["identity"].role)
    serving = KitSettings(edition="local", grpc_host="127.0.0.1", grpc_port=0)
    server = make_server(serving, [event_feed({"identity": source})], keys.verifier)
    await server.start()

    async def effect(tx: Tx, event: OrgUnitCreated, meta: Meta) -> None:
        await tx.conn.execute(
            text("INSERT INTO effects VALUES (:t, :w)"), {"t": tx.tenant, "w": event.org_unit_id}
        )

    workers: dict[str, Workers] = {}
    for name, ledger in ledgers.items():
        settings = KitSettings(
            edition="local",
            database_url=urls[name].app_url,
            kafka=f"127.0.0.1:{kafka_broker.port}",
            kafka_replication=1,
            kafka_user=name,
            kafka_password=kafka_broker.passwords[name],
            identity_grpc=f"127.0.0.1:{server.port}",
        )
        peers = Peers(settings, token)
        made = Service(
            name=name,
            settings=settings,
            http=make_app(name, settings, router=APIRouter(), verifier=keys.verifier),
            rpc=(),
            verifier=keys.verifier,
            ledger=ledger,
            peers=peers,
            consumes={"identity": {OrgUnitCreated: effect}} if name == "enrollment" else {},
        )
        workers[name] = Workers(made)
    yield World(ledgers["identity"], ledgers["enrollment"], workers)
    await server.stop(0)
    await source.close()
    for worker in workers.values():
        assert worker.service.peers
        await worker.service.peers.close()
    for ledger in ledgers.values():
        await ledger.close()


async def test_every_committed_event_has_its_effect_once(world: World) -> None:
    async with world.running():
        await world.produce(300)
        assert await world.reached(300) == list(range(300))


async def test_a_wiped_broker_loses_nothing_and_doubles_nothing(world: World, kafka_broker: Any) -> None:
    async with world.running():
        await world.produce(100)
        await world.reached(100)
    async with world.running("identity"):
        await world.produce(50, first=100)  # sent while nobody consumes …
        await sent(world, 150)
    await asyncio.to_thread(kafka_broker.wipe)  # … and gone before anybody did
    async with world.running():
        await world.produce(50, first=150)
        assert await world.reached(200) == list(range(200))


async def test_topics_that_vanish_while_nothing_is_sent_come_back(world: World, kafka_broker: Any) -> None:
    async with world.running("identity"):
        await world.produce(20)
        await sent(world, 20)
        await asyncio.to_thread(kafka_broker.wipe)  # and no further event tells the relay
        async with world.running("enrollment"):
            assert await world.reached(20, seconds=90) == list(range(20))


async def test_readiness_tells_when_kafka_takes_nothing(
    world: World, kafka_broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "UNSENT", 0.5)
    identity = world.workers["identity"]
    async with world.running():
        await world.produce(10)
        await world.reached(10)
        await identity.check()
        kafka_broker.freeze()
        try:
            await world.produce(1, first=10)
            await turns_red(identity, "1 events wait to be sent")
        finally:
            kafka_broker.thaw()
        await world.reached(11)
        await identity.check()


async def test_readiness_tells_when_a_consumer_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "STANDING", 0.5)
    monkeypatch.setattr(wire, "TAIL_CHECK", 0.2)
    enrollment = world.workers["enrollment"]
    async with world.running():
        await world.produce(1)
        await world.reached(1)
        async with world.consumer.engine.connect() as conn, conn.begin():
            await conn.execute(text("SELECT * FROM progress FOR UPDATE"))
            await world.produce(1, first=1)
            await turns_red(enrollment, "Behind and not moving: identity/")
            monkeypatch.setattr(wire, "TAIL_CHECK", 60)
            before = standing()
            async with asyncio.timeout(10):
                while standing() == before:  # the last look in a minute
                    await asyncio.sleep(0.05)
        await world.reached(2)
        async with asyncio.timeout(5):  # the transaction is seen before the process knows of its end
            while await red(enrollment):
                await asyncio.sleep(0.01)


async def test_a_client_that_brings_nothing_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "STUCK", 2)
    monkeypatch.setattr(wire, "TAIL_CHECK", 0.2)
    mute: set[Fetcher] = set()
    actions: Any = Fetcher._get_actions_per_node  # type: ignore[reportPrivateUsage]

    def of_fetcher(fetcher: Fetcher, assignment: Any) -> Any:
        return ([], {}, 0.2, False, []) if fetcher in mute else actions(fetcher, assignment)

    monkeypatch.setattr(Fetcher, "_get_actions_per_node", of_fetcher)
    async with world.running():
        await world.produce(1)
        await world.reached(1)
        subscription = world.workers["enrollment"].subscription
        assert subscription
        first = subscription._subscriber.consumer  # type: ignore[reportPrivateUsage]
        mute.add(first._fetcher)  # type: ignore[reportPrivateUsage]
        async with asyncio.timeout(10):
            while first._fetcher._in_flight:  # type: ignore[reportPrivateUsage]
                await asyncio.sleep(0.05)
        await world.produce(1, first=1)
        assert await world.reached(2) == [0, 1]
        assert subscription._subscriber.consumer is not first  # type: ignore[reportPrivateUsage]


async def test_a_fenced_broker_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def names_no_broker(*_: object) -> None:
        """What a broker answers while its controller thinks it dead, as just after a freeze."""

    identity = world.workers["identity"]
    with monkeypatch.context() as fenced:
        fenced.setattr(ClusterMetadata, "update_metadata", names_no_broker)
        async with world.running("identity"):
            await world.produce(1)
            async with asyncio.timeout(20):
                while "No broker is active yet" not in identity.relay.status.error:
                    await asyncio.sleep(0.05)
            fenced.undo()
            await sent(world, 1)


async def test_what_fails_in_the_background_starts_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And ends nothing else: all five services may share the process."""
    broken = {"relay", "subscription"}
    ensure_topics, start = relay.ensure_topics, KafkaBroker.start

    async def relay_once_broken(*of: Any) -> None:
        if "relay" in broken:
            broken.remove("relay")
            raise RuntimeError("a bug")
        await ensure_topics(*of)

    async def start_once_broken(broker: KafkaBroker) -> None:
        if "subscription" in broken:
            broken.remove("subscription")
            raise RuntimeError("a bug")
        await start(broker)

    monkeypatch.setattr(relay, "ensure_topics", relay_once_broken)
    monkeypatch.setattr(KafkaBroker, "start", start_once_broken)
    async with world.running():
        await world.produce(20)
        assert await world.reached(20) == list(range(20))
    assert not broken


async def turns_red(workers: Workers, why: str) -> None:
    async with asyncio.timeout(20):
        while not (told := await red(workers)).startswith(why):
            assert told == ""
            await asyncio.sleep(0.1)


def standing() -> float | None:
    return REGISTRY.get_sample_value("lyceum_feed_standing_seconds", {"consumer": "enrollment"})


async def red(workers: Workers) -> str:
    try:
        await workers.check()
    except Unavailable as e:
        return e.detail
    return ""


async def sent(world: World, count: int) -> None:
    """Wait until so many events in all are on Kafka."""
    reader = world.workers["enrollment"].intake.reader
    async with asyncio.timeout(20):
        while sum(h.sent for h in await reader.heads("identity")) < count:
            await asyncio.sleep(0.05)
