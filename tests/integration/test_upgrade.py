"""Two neighbouring releases work side by side on the tables of the newer, under load: nothing fails, is lost or doubled."""

import asyncio
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest

from lyceum_local import postgres, supervisor
from lyceum_local.paths import repository
from lyceum_local.testing import Platform
from lyceum_local.testing.load import TAKEN, prepare
from lyceum_local.testing.replicas import replicated, under_load
from lyceum_local.testing.school import until

# ---- the last release


def last_release() -> str:
    """Its tag; empty: none is made yet, or this clone has no tags."""
    git = ["git", "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname"]
    told = subprocess.run(git, cwd=repository(), capture_output=True, text=True, check=False)
    return told.stdout.partition("\n")[0]


def code_of(tag: str, folder: Path) -> str:
    """What PYTHONPATH finds every service of a release by."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", tag, "proto", "libs", "services"],
        cwd=repository(),
        capture_output=True,
        check=True,
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")
    found = (
        folder / "proto" / "gen",
        *sorted(folder.glob("libs/*/src")),
        *sorted(folder.glob("services/*/src")),
    )
    return ":".join(map(str, found))


async def test_the_last_release_consumes_what_this_one_says(breakable: Platform, tmp_path: Path) -> None:
    """And the other way round: one replica of each service is of the last release, its tables are this one's."""
    if not (tag := last_release()):
        pytest.skip("no release is tagged here: git fetch --tags")
    release = code_of(tag, tmp_path)
    async with under_load(breakable, hires=10) as (cluster, load):
        services = cluster.services.values()
        await asyncio.gather(*(replicas[0].restart(PYTHONPATH=release) for replicas in services))
        await load.more_hired(20)
        await asyncio.gather(*(replicas[1].restart(PYTHONPATH=release) for replicas in services))
        await load.more_hired(20)  # nobody of this release is left but analytics
        assert load.answers.keys() <= TAKEN, load.refused


# ---- the next release


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
        await load.more_hired(20)  # the old code on the new tables
        await replicas[0].restart(PYTHONPATH=release)
        began = datetime.now(UTC)
        await until(lambda: written(began), lambda by: by == {"old", "new"}, seconds=60)
        await replicas[1].restart(PYTHONPATH=release)
        began = datetime.now(UTC)
        await load.more_hired(20)
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
