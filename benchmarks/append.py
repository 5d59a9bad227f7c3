"""Appending and replaying events, beside pyeventsourcing on the same server."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from benchmarks.figures import Figure, in_turns
from benchmarks.parts import postgres_server, store
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit.group import Group
from lyceum_kit.ledger import Ledger, Tx

WRITERS = 16
ROUNDS = 5  # a disk's mood is a matter of seconds
AGAINST = "pyeventsourcing"


@dataclass(frozen=True)
class Size:
    single: int
    many: int
    streams: int
    length: int = 100


FULL = Size(single=500, many=4_000, streams=40)
SHORT = Size(single=20, many=160, streams=2)


class Unit(Aggregate):
    """The peer's aggregate: as small as ours."""

    @event("Created")
    def __init__(self, code: str) -> None:
        self.code = code

    @event("Renamed")
    def rename(self, code: str) -> None:
        self.code = code


async def run(size: Size) -> list[Figure]:
    with postgres_server() as server:
        async with store(server) as ours:
            peer = await asyncio.to_thread(_peer, ours.owner_url)
            try:
                one = await in_turns(
                    ROUNDS, lambda: _one(ours.ledger, size), lambda: asyncio.to_thread(_peer_one, peer, size)
                )
                many = await in_turns(
                    ROUNDS,
                    lambda: _many(ours.ledger, size),
                    lambda: asyncio.to_thread(_peer_many, peer, size),
                )
                tenant, streams = await _streams(ours.ledger, size)
                units = await asyncio.to_thread(_peer_streams, peer, size)
                replay = await in_turns(
                    ROUNDS,
                    lambda: _replay(ours.ledger, tenant, streams, size),
                    lambda: asyncio.to_thread(_peer_replay, peer, units, size),
                )
            finally:
                await asyncio.to_thread(peer.close)
    return [
        Figure(
            "append, 1 writer, 1 event each",
            one[0],
            "events/s",
            1.5,
            "at least",
            one[1],
            AGAINST,
            because="One writer has nothing to share with others. Begin, append and commit are a round trip each, and the"
            " disk is a quarter of its time. An append that is a function of the database would save a trip",
        ),
        Figure(f"append, {WRITERS} writers", many[0], "events/s", 10, "at least", many[1], AGAINST),
        Figure(
            f"replay, streams of {size.length} events",
            replay[0],
            "events/s",
            5,
            "at least",
            replay[1],
            AGAINST,
        ),
    ]


async def _rate(count: int, work: Awaitable[Any]) -> float:
    began = time.perf_counter()
    await work
    return count / (time.perf_counter() - began)


async def _create(tx: Tx, unit: str) -> None:
    tx.append(f"org-unit/{unit}", [OrgUnitCreated(org_unit_id=unit, code="x")], expected=0)


async def _one(ledger: Ledger, size: Size) -> float:
    async def work() -> None:
        for _ in range(size.single):
            await ledger.run(uuid4(), _create, str(uuid4()))

    return await _rate(size.single, work())


async def _many(ledger: Ledger, size: Size) -> float:
    group, tenant = Group(ledger), uuid4()
    units = iter([str(uuid4()) for _ in range(size.many)])

    async def writer(units: Iterator[str]) -> None:
        for unit in units:
            await group.run(tenant, _create, unit)

    return await _rate(size.many, asyncio.gather(*(writer(units) for _ in range(WRITERS))))


async def _streams(ledger: Ledger, size: Size) -> tuple[UUID, list[str]]:
    tenant, streams = uuid4(), [f"org-unit/{uuid4()}" for _ in range(size.streams)]

    async def fill(tx: Tx, stream: str) -> None:
        events = [OrgUnitCreated(org_unit_id=stream, code=f"c{n}") for n in range(size.length)]
        tx.append(stream, events, expected=0)

    for stream in streams:
        await ledger.run(tenant, fill, stream)
    return tenant, streams


async def _replay(ledger: Ledger, tenant: UUID, streams: list[str], size: Size) -> float:
    """A handler that needs many streams asks for them at once."""

    async def load(tx: Tx) -> int:
        found = await tx.load_many(streams)
        return sum(stream.version for stream in found.values())

    began = time.perf_counter()
    assert await ledger.run(tenant, load) == size.streams * size.length
    return size.streams * size.length / (time.perf_counter() - began)


def _peer(owner_url: str) -> Application[UUID]:
    url = urlsplit(owner_url)
    return Application(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": url.path.strip("/"),
            "POSTGRES_HOST": url.hostname or "",
            "POSTGRES_PORT": str(url.port),
            "POSTGRES_USER": url.username or "",
            "POSTGRES_PASSWORD": url.password or "",
            "POSTGRES_POOL_SIZE": str(WRITERS + 4),
        }
    )


def _peer_one(peer: Application[UUID], size: Size) -> float:
    began = time.perf_counter()
    for _ in range(size.single):
        peer.save(Unit(code="x"))
    return size.single / (time.perf_counter() - began)


def _peer_many(peer: Application[UUID], size: Size) -> float:
    each = size.many // 4 // WRITERS  # slower by an order: a quarter is enough to tell

    def writer() -> None:
        for _ in range(each):
            peer.save(Unit(code="x"))

    threads = [threading.Thread(target=writer) for _ in range(WRITERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return each * WRITERS / (time.perf_counter() - began)


def _peer_streams(peer: Application[UUID], size: Size) -> list[UUID]:
    units: list[UUID] = []
    for _ in range(size.streams):
        unit = Unit(code="x")
        for n in range(size.length - 1):
            unit.rename(code=f"c{n}")
        peer.save(unit)
        units.append(unit.id)
    return units


def _peer_replay(peer: Application[UUID], units: list[UUID], size: Size) -> float:
    """One stream at a time: it has no other way."""
    began = time.perf_counter()
    for unit in units:
        found: Unit = peer.repository.get(unit)
        assert found.version == size.length
    return size.streams * size.length / (time.perf_counter() - began)
