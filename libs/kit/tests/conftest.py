"""A ledger on a database that has the kit's tables and nothing else."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from lyceum_kit import db, schema
from lyceum_kit.ledger import Ledger
from lyceum_kit.topics import feeds


class Store(NamedTuple):
    ledger: Ledger
    url: str
    role: str


@pytest.fixture
async def store(database: Callable[[str], Awaitable[Any]]) -> AsyncIterator[Store]:
    made = await database("kit")

    def create(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            schema.ledger_tables(made.role)
            schema.op.execute(
                "CREATE TABLE effects (n bigint GENERATED ALWAYS AS IDENTITY, tenant uuid, what text)"
            )
            schema.tenant_table("effects", role=made.role)

    owner = db.make_engine(made.owner_url)
    async with owner.begin() as conn:
        await conn.run_sync(create)
    await owner.dispose()
    ledger = Ledger(db.make_engine(made.app_url), feeds()["identity"])
    yield Store(ledger, made.app_url, made.role)
    await ledger.close()


@pytest.fixture
def ledger(store: Store) -> Ledger:
    return store.ledger
