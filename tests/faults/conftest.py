"""A stage with a clean wire and two fresh databases, over the session's real Kafka and PostgreSQL."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from lyceum_kit import db, schema
from tests.faults.stage import CONSUMER, FEED, PRODUCER, Stage, staged
from tests.faults.wire import Wire


@pytest.fixture
async def stage(
    tmp_path: Path, database: Callable[[str], Awaitable[Any]], kafka_broker: Any, postgres_url: str
) -> AsyncIterator[Stage]:
    databases = {service: await database("kit") for service in (PRODUCER, CONSUMER)}
    for made in databases.values():
        await _create_tables(made)
    wire = Wire(kafka_broker, FEED)
    await wire.clear()
    async with staged(tmp_path, wire, postgres_url, databases) as stage:
        yield stage


async def _create_tables(made: Any) -> None:
    def create(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            schema.ledger_tables(made.role)
            # No unique key: an effect that happens twice must show.
            schema.op.execute(
                "CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, tenant uuid NOT NULL,"
                " key text NOT NULL, seq int NOT NULL, event uuid NOT NULL)"
            )
            schema.tenant_table("effects", role=made.role)

    owner = db.make_engine(made.owner_url)
    async with owner.begin() as conn:
        await conn.run_sync(create)
    await owner.dispose()
