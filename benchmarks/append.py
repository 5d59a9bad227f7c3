"""Appending and replaying events, beside pyeventsourcing on the same server (performance.md: its ceilings)."""

import asyncio
import threading
import time
from collections.abc import Iterator
from statistics import median
from uuid import uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.figures import Figure
from benchmarks.parts import postgres_server, store
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit.group import Group
from lyceum_kit.ledger import Ledger, Tx

ROUNDS = 3
SINGLE, MANY, WRITERS, REPLAYED, LENGTH = 600, 6_000, 16, 40, 100


class Unit(Aggregate):
    """The peer's aggregate: as small as ours."""

    @event("Created")
    def __init__(self, code: str) -> None:
        self.code = code

    @event("Renamed")
    def rename(self, code: str) -> None:
        self.code = code


async def run() -> list[Figure]:
    with postgres_server() as server:
        async with store(server) as ours:
            peer = _peer(ours.owner_url)
            try:
                one = await _one_writer(ours.ledger)
                peer_one = await asyncio.to_thread(_peer_one_writer, peer)
                many = await _many_writers(ours.ledger)
                peer_many = await asyncio.to_thread(_peer_many_writers, peer)
                replay = await _replay(ours.ledger)
                peer_replay = await asyncio.to_thread(_peer_replay, peer)
            finally:
                peer.close()
    against = "pyeventsourcing"
    return [
        Figure("append, 1 writer, 1 event each", one, "events/s", 1.5, "at least", peer_one, against),
        Figure(f"append, {WRITERS} writers", many, "events/s", 10, "at least", peer_many, against),
        Figure(f"replay, streams of {LENGTH}", replay, "events/s", 5, "at least", peer_replay, against),
    ]


async def _create(tx: Tx, unit: str) -> None:
    tx.append(f"org-unit/{unit}", [OrgUnitCreated(org_unit_id=unit, code="x")], expected=0)


async def _one_writer(ledger: Ledger) -> float:
    rates: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(SINGLE):
            await ledger.run(uuid4(), _create, str(uuid4()))
        rates.append(SINGLE / (time.perf_counter() - began))
    return median(rates)


async def _many_writers(ledger: Ledger) -> float:
    group = Group(ledger)

    async def writer(tenant: object, units: Iterator[str]) -> None:
        for unit in units:
            await group.run(tenant, _create, unit)  # type: ignore[arg-type]

    rates: list[float] = []
    for _ in range(ROUNDS):
        tenant = uuid4()
        units = iter([str(uuid4()) for _ in range(MANY)])
        began = time.perf_counter()
        await asyncio.gather(*(writer(tenant, units) for _ in range(WRITERS)))
        rates.append(MANY / (time.perf_counter() - began))
    return median(rates)


async def _replay(ledger: Ledger) -> float:
    tenant = uuid4()

    async def fill(tx: Tx, unit: str) -> None:
        events = [OrgUnitCreated(org_unit_id=unit, code=f"c{n}") for n in range(LENGTH)]
        tx.append(f"org-unit/{unit}", events, expected=0)

    units = [str(uuid4()) for _ in range(REPLAYED)]
    for unit in units:
        await ledger.run(tenant, fill, unit)

    async def load(tx: Tx, unit: str) -> int:
        return (await tx.load(f"org-unit/{unit}")).version

    rates: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for unit in units:
            assert await ledger.run(tenant, load, unit) == LENGTH
        rates.append(REPLAYED * LENGTH / (time.perf_counter() - began))
    return median(rates)


def _peer(owner_url: str) -> Application:
    user, _, rest = owner_url.removeprefix("postgresql://").partition(":")
    password, _, at = rest.partition("@")
    host, _, name = at.partition("/")
    server, _, port = host.partition(":")
    return Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": name,
            "POSTGRES_HOST": server,
            "POSTGRES_PORT": port,
            "POSTGRES_USER": user,
            "POSTGRES_PASSWORD": password,
            "POSTGRES_POOL_SIZE": "20",
        }
    )


def _peer_one_writer(peer: Application) -> float:
    rates: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(SINGLE):
            peer.save(Unit(code="x"))
        rates.append(SINGLE / (time.perf_counter() - began))
    return median(rates)


def _peer_many_writers(peer: Application) -> float:
    each = MANY // 4 // WRITERS  # slower by an order: a quarter is enough to tell

    def writer() -> None:
        for _ in range(each):
            peer.save(Unit(code="x"))

    rates: list[float] = []
    for _ in range(ROUNDS):
        threads = [threading.Thread(target=writer) for _ in range(WRITERS)]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rates.append(each * WRITERS / (time.perf_counter() - began))
    return median(rates)


def _peer_replay(peer: Application) -> float:
    units: list[Unit] = []
    for _ in range(REPLAYED):
        unit = Unit(code="x")
        for n in range(LENGTH - 1):
            unit.rename(code=f"c{n}")
        peer.save(unit)
        units.append(unit)
    rates: list[float] = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for unit in units:
            found: Unit = peer.repository.get(unit.id)
            assert found.version == LENGTH
        rates.append(REPLAYED * LENGTH / (time.perf_counter() - began))
    return median(rates)
