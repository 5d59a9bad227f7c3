"""A new version replaces one replica after the other under load: no request fails, no event is lost or doubled. Nor does
one when keys are changed."""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from joserfc import jws

from lyceum_local import postgres, supervisor
from lyceum_local.paths import repository
from lyceum_local.testing import Platform
from lyceum_local.testing.audit import audit
from lyceum_local.testing.load import Load, prepare
from lyceum_local.testing.replicas import Cluster, replicated
from lyceum_local.testing.school import until

TAKEN = {"200", "201", "202", "204"}


@asynccontextmanager
async def under_load(platform: Platform, *, hires: float = 40) -> AsyncGenerator[tuple[Cluster, Load]]:
    async with replicated(platform) as cluster:
        load = await prepare(platform)
        async with load.running(hires=hires, learners=2):
            await load.until(lambda it: len(it.hired) > 10)
            yield cluster, load
            hired = len(load.hired)
            await load.until(lambda it: len(it.hired) > hired + 10)
        await load.deliver_rest()
        await platform.settled()
        assert [*load.broken, *await audit(platform.config), *await load.discrepancies()] == []


async def test_a_replica_of_everything_is_replaced_and_no_request_fails(breakable: Platform) -> None:
    async with under_load(breakable) as (cluster, load):
        for replicas in cluster.services.values():
            await replicas[0].restart()
        assert load.answers.keys() <= TAKEN, load.refused
        # The control: who ends without a word, fails requests. (And even so nothing is lost.)
        identity = cluster.services["identity"][0]
        await identity.stop(signal.SIGKILL)
        await load.until(lambda it: not it.answers.keys() <= TAKEN)
        identity.start()
        await cluster.ready()


@pytest.mark.faults
@pytest.mark.parametrize("service", ["identity", "catalog", "enrollment", "assessment"])
async def test_twenty_restarts_of_each_service(breakable: Platform, service: str) -> None:
    async with under_load(breakable) as (cluster, load):
        for turn in range(20):
            await cluster.services[service][turn % 2].restart()
        assert load.answers.keys() <= TAKEN, load.refused


# What the next release of enrollment has: a column, and code that fills it.
EXPAND = "ALTER TABLE enrollments ADD COLUMN release text NOT NULL DEFAULT 'old'"
FILLED: Sequence[tuple[str, str, str]] = (
    ("tables.py", 'Column("changed_at",', 'Column("release", Text), Column("changed_at",'),
    ("store/records.py", '"changed_at": now,', '"changed_at": now, "release": "new",'),
    ("store/records.py", "enrolled_at, changed_at)", "enrolled_at, changed_at, release)"),
    ("store/records.py", "c.enrolled_at, c.changed_at", "c.enrolled_at, c.changed_at, c.release"),
)
# The control takes away, at once, what the release before writes.
CONTRACT = "ALTER TABLE enrollments RENAME COLUMN changed_at TO touched_at"


def next_release(folder: Path, change: str, filled: Sequence[tuple[str, str, str]] = ()) -> str:
    """Enrollment's package with one more migration and with these texts replaced; what PYTHONPATH finds it by."""
    own = folder / "enrollment"
    shutil.copytree(
        repository() / "services" / "enrollment", own, ignore=shutil.ignore_patterns("__pycache__")
    )
    versions = own / "migrations" / "versions"
    newest = max(versions.glob("[0-9]*.py")).name[:4]
    migration = (
        f"from alembic import op\n\nrevision, down_revision = 'next', {newest!r}\n\n\n"
        f"def upgrade() -> None:\n    op.execute({change!r})\n"
    )
    (versions / "9999_next.py").write_text(migration)
    for name, old, new in filled:
        file = own / "src" / "enrollment" / name
        assert file.read_text().count(old) == 1, old
        file.write_text(file.read_text().replace(old, new))
    return str(own / "src")


async def migrate(platform: Platform, release: str) -> None:
    environment = (
        supervisor.surroundings() | platform.config.service_env("enrollment") | {"PYTHONPATH": release}
    )
    command = [sys.executable, "-m", "enrollment", "migrate"]
    await asyncio.to_thread(subprocess.run, command, env=environment, check=True)


@pytest.mark.faults
async def test_old_and_new_code_work_side_by_side_on_the_tables_of_the_new(
    own_platform: Platform, tmp_path: Path
) -> None:
    release = next_release(tmp_path, EXPAND, FILLED)

    async def written(since: datetime) -> set[str]:
        """By which releases, since then."""
        conn = await asyncpg.connect(postgres.with_database(own_platform.config.postgres_url, "enrollment"))
        try:
            rows = await conn.fetch("SELECT DISTINCT release FROM enrollments WHERE enrolled_at > $1", since)
        finally:
            await conn.close()
        return {row["release"] for row in rows}

    async with under_load(own_platform) as (cluster, load):
        replicas = cluster.services["enrollment"]
        await migrate(own_platform, release)
        hired = len(load.hired)
        await load.until(lambda it: len(it.hired) > hired + 20)  # the old code on the new tables
        await replicas[0].restart(PYTHONPATH=release)
        began = datetime.now(UTC)
        await until(lambda: written(began), lambda by: by == {"old", "new"}, seconds=60)
        await replicas[1].restart(PYTHONPATH=release)
        began = datetime.now(UTC)
        hired = len(load.hired)
        await load.until(lambda it: len(it.hired) > hired + 20)
        assert await written(began) == {"new"}
        assert load.answers.keys() <= TAKEN, load.refused


@pytest.mark.faults
async def test_a_migration_that_takes_away_what_the_old_code_writes_fails_requests(
    own_platform: Platform, tmp_path: Path
) -> None:
    """The control."""
    async with replicated(own_platform):
        load = await prepare(own_platform)
        async with load.running(hires=10, learners=1):
            await load.until(lambda it: len(it.hired) > 5)
            assert load.answers.keys() <= TAKEN, load.refused
            await migrate(own_platform, next_release(tmp_path, CONTRACT))
            await load.until(lambda it: not it.answers.keys() <= TAKEN)


@pytest.mark.faults
async def test_keys_are_changed_under_load(breakable: Platform) -> None:
    """The key of access tokens, which signs two minutes after it was announced, and the secret of HR's webhook."""

    async def signs(load: Load) -> str:
        async with load.signed_in(next(iter(load.learners.values()))) as http:
            token = http.headers["authorization"].removeprefix("Bearer ")
        return str(jws.extract_compact(token.encode()).headers()["kid"])

    async with under_load(breakable, hires=5) as (_, load):
        await load.until(lambda it: bool(it.learners))
        before = await signs(load)
        hook = load.webhook_url.rpartition("/")[2]
        rotation = {"tenant_slug": load.tenant.slug, "overlap_hours": 1}

        def change() -> tuple[str, str]:
            operator = breakable.operator
            key = operator.call("POST", "/api/identity/keys/rotate")
            renewed = operator.call("POST", f"/api/identity/webhooks/{hook}/rotate", rotation)
            return key["kid"], renewed["secret"]

        announced, secret = await asyncio.to_thread(change)
        hired = len(load.hired)
        # By the secret before, which stays good for an hour.
        await load.until(lambda it: len(it.hired) > hired + 20)
        load.webhook_secret = secret
        await until(lambda: signs(load), lambda kid: kid == announced != before, seconds=240)
        assert load.answers.keys() <= TAKEN, load.refused
