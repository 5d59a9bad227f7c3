"""Alembic on asyncpg. A migrations/env.py is: `from lyceum_kit.migrations import run_env; run_env()`.

Online only: a script written offline could not be checked against the database it meets.
"""

import asyncio
import importlib.util
import threading
import zlib
from pathlib import Path

import asyncpg
import structlog
from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from lyceum_kit import db

log = structlog.get_logger()

# Alembic keeps the running environment in module globals: one migration at a time in a process.
_one_at_a_time = threading.Lock()


def folder(service: str) -> Path:
    """`<package>/migrations` in a wheel; in a checkout, beside `src`."""
    spec = importlib.util.find_spec(service)
    if spec is None or spec.origin is None:
        raise LookupError(f"package {service!r} is not installed")
    package = Path(spec.origin).parent
    for candidate in (package / "migrations", package.parents[1] / "migrations"):
        if (candidate / "env.py").is_file():
            return candidate
    raise LookupError(f"{service!r} has no migrations")


def upgrade(service: str, owner_url: str, app_role: str, *, to: str = "head") -> None:
    """Bring the database to this version (tests: to an older one), as its owner. Safe again, and from several machines at once."""
    with _one_at_a_time:
        asyncio.run(_upgrade(service, owner_url, app_role, to))


async def upgrade_async(service: str, owner_url: str, app_role: str, *, to: str = "head") -> None:
    """The same from inside a running loop."""
    await asyncio.to_thread(upgrade, service, owner_url, app_role, to=to)


async def wait(service: str, url: str, *, pause: float = 1.0) -> None:
    """Until the service's own role finds the database at this version, or at one that this build does not know: then
    a newer one was here first, which leaves the old one its tables for one release."""
    script = ScriptDirectory(str(folder(service)))
    earlier = {revision.revision for revision in script.walk_revisions()} - set(script.get_heads())
    while (at := await _version(url)) is None or at in earlier:
        log.info("waiting for migrations", service=service, at=at)
        await asyncio.sleep(pause)


async def _version(url: str) -> str | None:
    """None: there is no database yet, or nothing in it."""
    try:
        connection: asyncpg.Connection = await db.connect(url, application="migrated")
    except (OSError, asyncpg.PostgresError):
        return None
    try:
        # Asked first: what cannot be read would be an error in the server's log, each second.
        if not await connection.fetchval(
            "SELECT has_table_privilege(to_regclass('alembic_version'), 'SELECT')"
        ):
            return None
        return await connection.fetchval("SELECT version_num FROM alembic_version")
    finally:
        await connection.close()


def lock_key(service: str) -> int:
    """Of the advisory lock that one migration holds while others wait."""
    return zlib.crc32(f"lyceum migrations of {service}".encode())


async def _upgrade(service: str, owner_url: str, app_role: str, to: str) -> None:
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(db.dsn(owner_url)), poolclass=NullPool
    )
    lock = {"key": lock_key(service)}
    try:
        async with engine.connect() as conn:
            # Of the session, not of a transaction: each migration commits by itself.
            await conn.execute(text("SELECT pg_advisory_lock(:key)"), lock)
            await conn.commit()
            await conn.run_sync(_run, service, app_role, to)
    finally:
        await engine.dispose()  # closes the session, which frees the lock


def _run(connection: Connection, service: str, app_role: str, to: str) -> None:
    config = Config()
    # % would be read as interpolation.
    config.set_main_option("script_location", str(folder(service)).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["app_role"] = app_role
    command.upgrade(config, to)
    connection.execute(text(f'GRANT SELECT ON alembic_version TO "{app_role}"'))  # for `wait`
    connection.commit()


def run_env() -> None:
    """What every env.py does."""
    if context.is_offline_mode():
        raise RuntimeError("migrations run against a database, not into a script")
    connection = context.config.attributes.get("connection")
    if not isinstance(connection, Connection):
        raise RuntimeError("run migrations by `python -m <service> migrate`")
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
