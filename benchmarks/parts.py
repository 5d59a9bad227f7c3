"""What benchmarks run on: a PostgreSQL that keeps its promises, a Kafka, and ledgers on fresh databases."""

import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NamedTuple

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection

from lyceum_kit import db, schema
from lyceum_kit.ledger import Ledger
from lyceum_kit.topics import feeds
from lyceum_local import kafka, postgres
from lyceum_local.paths import CONTRACTED, cache_folder


class Store(NamedTuple):
    ledger: Ledger
    app_url: str
    owner_url: str
    role: str


@contextmanager
def postgres_server() -> Generator[str]:
    """The URL of a durable server's superuser: what is answered is on the disk, as in production."""
    with _folder("lyceum-bench-pg-") as folder:
        server = postgres.Throwaway(
            folder, cache_folder(), free_port(), secrets.token_urlsafe(12), durable=True
        )
        try:
            yield server.url
        finally:
            server.stop()


@contextmanager
def kafka_broker() -> Generator[kafka.Throwaway]:
    with _folder("lyceum-bench-kafka-") as folder:
        users = {user: secrets.token_urlsafe(12) for user in (*CONTRACTED, "admin", "controller")}
        broker = kafka.Throwaway(folder, cache_folder(), free_port(), free_port(), users)
        try:
            yield broker
        finally:
            broker.kill()


@asynccontextmanager
async def store(server: str, feed: str = "identity", *, pool: int = 20) -> AsyncGenerator[Store]:
    """A ledger on a fresh database that has the kit's tables."""
    name = f"bench_{secrets.token_hex(4)}"
    account = postgres.Account(name, secrets.token_urlsafe(8), secrets.token_urlsafe(8))
    await postgres.create_databases(server, [account])
    at = server.rpartition("@")[2].partition("/")[0]
    app = f"postgresql://{name}:{account.password}@{at}/{name}"
    owner = f"postgresql://{name}_owner:{account.owner_password}@{at}/{name}"

    def create(connection: Connection) -> None:
        with Operations.context(MigrationContext.configure(connection)):
            schema.ledger_tables(name)

    engine = db.make_engine(owner)
    async with engine.begin() as conn:
        await conn.run_sync(create)
    await engine.dispose()
    ledger = Ledger(db.make_engine(app, pool=pool), feeds()[feed])
    try:
        yield Store(ledger, app, owner, name)
    finally:
        await ledger.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _folder(prefix: str) -> Generator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)  # PostgreSQL's own user walks through it
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
