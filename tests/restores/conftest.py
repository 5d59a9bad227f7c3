"""Two fresh databases over the session's PostgreSQL and Kafka."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from lyceum_kit import wire
from tests.restores.world import SERVICES, World, create_tables, pair


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks at the producers' heads more often than every two seconds."""
    monkeypatch.setattr(wire, "TAIL_CHECK", 0.3)


@pytest.fixture
async def world(
    database: Callable[[str], Awaitable[Any]], kafka_broker: Any, postgres_url: str
) -> AsyncIterator[World]:
    made = {name: await database("kit") for name in SERVICES}
    for one in made.values():
        await create_tables(one)
    world = World(await asyncpg.connect(postgres_url), *pair(made, kafka_broker))
    yield world
    for node in (world.producer, world.consumer):
        await node.ledger.close()
    for copy in world.copies:
        await world.admin.execute(f'DROP DATABASE "{copy}" WITH (FORCE)')
    await world.admin.close()
