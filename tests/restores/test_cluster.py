"""A whole cluster backed up while people work, and restored with an empty Kafka: the feeds keep their numbers under a
new generation, consumers go on, nothing is lost or doubled."""

import asyncio
import itertools
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import pytest

from lyceum_local import backup, postgres
from lyceum_local.paths import cache_folder
from tests.faults.wire import Wire
from tests.restores.world import FEED, SERVICES, World, create_tables, free_port, pair


class Made(NamedTuple):
    """A database as its service and its owner reach it."""

    app_url: str
    owner_url: str
    role: str


def databases(server: str, accounts: list[postgres.Account]) -> dict[str, Made]:
    address = server.rpartition("@")[2].partition("/")[0]
    return {
        a.name: Made(
            f"postgresql://{a.name}:{a.password}@{address}/{a.name}",
            f"postgresql://{a.name}_owner:{a.owner_password}@{address}/{a.name}",
            a.name,
        )
        for a in accounts
    }


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[AsyncExitStack]:
    """What is started in it is stopped."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder == Path(tempfile.gettempdir()):
            break
        folder.chmod(0o755)  # PostgreSQL's own user walks through
    async with AsyncExitStack() as stack:
        yield stack


def server(stack: AsyncExitStack, folder: Path) -> postgres.Throwaway:
    folder.mkdir(exist_ok=True)
    made = postgres.Throwaway(folder, cache_folder(), free_port(), "secret")
    stack.callback(made.stop)
    return made


POSITIONS = "SELECT partition, position, id FROM feed_position"


async def lose_topic(broker: Any) -> None:
    await Wire(broker, FEED).clear()


async def lose_broker(broker: Any) -> None:
    await asyncio.to_thread(broker.wipe)


@pytest.mark.parametrize(
    ("events", "lose"), [(150, lose_topic), pytest.param(5000, lose_broker, marks=pytest.mark.faults)]
)
async def test_a_cluster_restored_from_a_backup_under_load(
    servers: AsyncExitStack,
    tmp_path: Path,
    kafka_broker: Any,
    events: int,
    lose: Callable[[Any], Awaitable[None]],
) -> None:
    first = server(servers, tmp_path / "first")
    accounts = [postgres.Account(n, secrets.token_hex(8), secrets.token_hex(8)) for n in SERVICES]
    await postgres.create_databases(first.url, accounts)
    made = databases(first.url, accounts)
    for one in made.values():
        await create_tables(one)
    producer, consumer = pair(made, kafka_broker)
    admin = await asyncpg.connect(first.url)
    world, numbers = World(admin, producer, consumer), itertools.count()

    async def work() -> None:
        while True:
            await world.append([next(numbers)])

    async with producer.running(), consumer.running():
        writers = [asyncio.create_task(work()) for _ in range(4)]
        try:
            await at_least(world, events)
            await asyncio.to_thread(
                backup.base_backup, postgres.binaries(cache_folder()), first.url, tmp_path / "backup"
            )
            await at_least(world, len(await world.effects()) + events)
        finally:
            for writer in writers:
                writer.cancel()
            await asyncio.gather(*writers, return_exceptions=True)
        old = {(r.partition, r.position): r.id for r in await world.fetch(producer, POSITIONS)}
    await admin.close()

    await lose(kafka_broker)
    backup.unpack(tmp_path / "backup", tmp_path / "second" / "postgres" / "data")
    second = server(servers, tmp_path / "second")
    admin = await postgres.connect(second.url, patience=60)
    world = World(admin, *pair(databases(second.url, accounts), kafka_broker))
    at_backup = await world.heads()
    assert events / 2 < sum(at_backup) < len(old)  # it lost what came after the backup
    await world.append(range(10**6, 10**6 + 50))
    async with world.producer.running(), world.consumer.running() as workers:
        await world.sent()
        await world.reached(await world.in_ledger())
        new = {(r.partition, r.position): r.id for r in await world.fetch(world.producer, POSITIONS)}
        kept = {k for k in new if k[1] <= at_backup[k[0]]}
        assert len(kept) == sum(at_backup)
        assert all(new[k] == old[k] for k in kept)
        generations = await world.generations()
        assert [starts for _, starts in generations] == [[1] * 12, [head + 1 for head in at_backup]]
        assert not await world.red()
        report = await workers.reconciliation.report()
        assert not report.trouble
        assert not report.phantoms
    await admin.close()


async def at_least(world: World, events: int) -> None:
    async with asyncio.timeout(300):
        while len(await world.effects()) < events:
            await asyncio.sleep(0.1)
    assert max(Counter(await world.effects()).values()) == 1
