"""Migrations on a real PostgreSQL: found, run as the owner, once, also when two start at the same time."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from lyceum_kit import migrations

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
    monkeypatch.syspath_prepend(str(source.parent))
    yield versions
    sys.modules.pop("sample", None)


def write(versions: Path, revision: str, before: str | None, name: str, more: str = "") -> None:
    text = VERSION.format(revision=revision, before=before, name=name, more=more)
    (versions / f"{revision}_{name}.py").write_text(text)


async def fetch(url: str, sql: str) -> Any:
    connection = await asyncpg.connect(url)
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


async def test_two_machines_at_once_migrate_once(package: Path, database: Databases) -> None:
    made = await database("sample")
    # Two processes: within one, a lock of our own would hide a missing one of the database.
    write(package, "0002", "0001", "second", more="op.execute('SELECT pg_sleep(0.3)')")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from lyceum_kit.migrations import upgrade;"
        "upgrade('sample', sys.argv[2], sys.argv[3])"
    )
    source = str(package.parents[1] / "src")
    both = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, source, made.owner_url, made.role)
        for _ in range(2)
    ]
    assert await asyncio.gather(*(process.wait() for process in both)) == [0, 0]
    assert await fetch(made.app_url, "SELECT count(*) FROM second") == 1


async def test_a_failed_migration_leaves_nothing_of_itself(package: Path, database: Databases) -> None:
    made = await database("sample")
    write(package, "0002", "0001", "second", more="op.execute('SELECT 1/0')")
    with pytest.raises(Exception, match="division by zero"):
        await migrations.upgrade_async("sample", made.owner_url, made.role)
    assert await fetch(made.owner_url, "SELECT to_regclass('second')") is None
    assert await fetch(made.owner_url, "SELECT version_num FROM alembic_version") == "0001"


async def test_the_app_role_may_not_migrate(package: Path, database: Databases) -> None:
    made = await database("sample")
    with pytest.raises(Exception, match="permission denied"):
        await migrations.upgrade_async("sample", made.app_url, made.role)


def test_what_has_no_migrations_says_so() -> None:
    with pytest.raises(LookupError, match="'lyceum_kit' has no migrations"):
        migrations.folder("lyceum_kit")
    with pytest.raises(LookupError, match="'nothing_such' is not installed"):
        migrations.folder("nothing_such")
