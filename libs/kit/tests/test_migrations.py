"""Migrations on a real PostgreSQL: found, run as the owner, once, also when two start at the same time."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lyceum_kit import db, migrations

ENV = "from lyceum_kit.migrations import run_env\n\nrun_env()\n"
VERSION = """
from alembic import context, op

revision = {revision!r}
down_revision = {before!r}

def upgrade() -> None:
    role = context.config.attributes["app_role"]
    op.execute("CREATE TABLE {name} (n int)")
    op.execute("INSERT INTO {name} VALUES (1)")
    op.execute(f'GRANT SELECT ON {name} TO "{{role}}"')
    {more}
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout of a service called `sample`, with one migration."""
    source = tmp_path / "sample%20" / "src" / "sample"  # % means something to Alembic's configuration
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    versions = source.parents[1] / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text(ENV)
    write(versions, "0001", None, "first")
    monkeypatch.setattr(sys, "path", [str(source.parent), *sys.path])
    yield versions
    sys.modules.pop("sample", None)


def write(versions: Path, revision: str, before: str | None, name: str, more: str = "") -> None:
    text = VERSION.format(revision=revision, before=before, name=name, more=more)
    (versions / f"{revision}_{name}.py").write_text(text)


async def fetch(url: str, sql: str) -> Any:
    connection: Any = await db.connect(url, application="test")
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


Databases = Callable[[str], Awaitable[Any]]


async def test_a_database_is_brought_to_this_version_and_again(package: Path, database: Databases) -> None:
    made = await database("sample")
    await migrations.upgrade_async("sample", made.owner_url, made.role)
    await migrations.upgrade_async("sample", made.owner_url, made.role)
    assert await fetch(made.app_url, "SELECT count(*) FROM first") == 1
    write(package, "0002", "0001", "second")
    await migrations.upgrade_async("sample", made.owner_url, made.role)
    assert await fetch(made.app_url, "SELECT count(*) FROM second") == 1
    assert await fetch(made.owner_url, "SELECT version_num FROM alembic_version") == "0002"


async def test_a_migration_waits_for_one_on_another_machine(package: Path, database: Databases) -> None:
    made = await database("sample")
    other: Any = await db.connect(made.owner_url, application="another machine")
    await other.execute("SELECT pg_advisory_lock($1)", migrations.lock_key("sample"))
    mine = asyncio.create_task(migrations.upgrade_async("sample", made.owner_url, made.role))
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    async with asyncio.timeout(20):
        while not mine.done() and not await other.fetchval(waiting):
            await asyncio.sleep(0.01)
    assert not mine.done()
    assert await other.fetchval("SELECT to_regclass('first')") is None
    await other.close()
    await mine
    assert await fetch(made.app_url, "SELECT count(*) FROM first") == 1


async def test_a_failed_migration_leaves_nothing_of_itself(package: Path, database: Databases) -> None:
    made = await database("sample")
    write(package, "0002", "0001", "second", more="op.execute('SELECT 1/0')")
    with pytest.raises(Exception, match="division by zero"):
        await migrations.upgrade_async("sample", made.owner_url, made.role)
    assert await fetch(made.owner_url, "SELECT to_regclass('second')") is None
    assert await fetch(made.owner_url, "SELECT version_num FROM alembic_version") == "0001"


async def test_whoever_starts_beside_a_migration_waits_for_it(package: Path, database: Databases) -> None:
    made = await database("sample")
    waiting = asyncio.create_task(migrations.wait("sample", made.app_url, pause=0.01))
    await migrations.upgrade_async("sample", made.owner_url, made.role)
    async with asyncio.timeout(20):
        await waiting
    write(package, "0002", "0001", "second")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(migrations.wait("sample", made.app_url, pause=0.01), 1)
    await migrations.upgrade_async("sample", made.owner_url, made.role)
    (package / "0002_second.py").unlink()  # an old process starts again after the new version has migrated
    async with asyncio.timeout(20):
        await migrations.wait("sample", made.app_url, pause=0.01)


async def test_the_app_role_may_not_migrate(package: Path, database: Databases) -> None:
    made = await database("sample")
    with pytest.raises(Exception, match="permission denied"):
        await migrations.upgrade_async("sample", made.app_url, made.role)


def test_what_has_no_migrations_says_so() -> None:
    with pytest.raises(LookupError, match="'lyceum_kit' has no migrations"):
        migrations.folder("lyceum_kit")
    with pytest.raises(LookupError, match="'nothing_such' is not installed"):
        migrations.folder("nothing_such")
