"""This machine: its programs, the installation in a folder of it, and what that tells of itself."""

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg

from lyceum_local import config as configuration
from lyceum_local import kafka, postgres, supervisor, web
from lyceum_local.config import Config
from lyceum_local.doctor.reports import Finding, feeds, parked
from lyceum_local.paths import SERVICES, cache_folder
from lyceum_local.remote import Operator, PlatformError, readiness

ROOM_MB = 2048
SETTLED = 60.0  # seconds: what lives longer than this after its restarts is well
YEAR_OF_THIS_RELEASE = 2026


def examine(data: Path) -> Iterator[Finding]:
    yield from _machine(data)
    yield from _programs()
    config = configuration.load(data)
    if config is None:
        yield Finding("installation", True, f"none in {data} yet", "run ./lyceum up")
        return
    yield from _files(config)
    alive = supervisor.running(data) is not None
    yield from _processes(config, alive)
    if alive:
        yield from _services(config)


def _machine(data: Path) -> Iterator[Finding]:
    running = ".".join(map(str, sys.version_info[:3]))
    yield Finding(
        "python",
        sys.version_info >= (3, 11),
        running,
        "install Python 3.11 or newer, delete .venv, run again",
    )
    place = next(p for p in (data, *data.parents) if p.exists())
    free = shutil.disk_usage(place).free // 1024**2
    yield Finding(
        "disk",
        free > ROOM_MB,
        f"{free} MB free at {place}",
        f"free some space, or use --data elsewhere; {ROOM_MB} MB is little",
    )
    writable = os.access(place, os.W_OK)
    yield Finding(
        "data folder",
        writable,
        f"{data} {'can' if writable else 'cannot'} be written",
        f"give yourself {place}, or use --data",
    )
    now = time.time()
    written = max((f.stat().st_mtime for f in (data / "logs").glob("*.log")), default=0)
    went_back = written > now + 60
    yield Finding(
        "clock",
        time.gmtime(now).tm_year >= YEAR_OF_THIS_RELEASE and not went_back,
        _at(now) + (f", but a log was written at {_at(written)}" if went_back else ""),
        "set the clock: signatures, tokens and due dates depend on it",
    )


def _programs() -> Iterator[Finding]:
    try:
        yield Finding("java", True, kafka.java())
    except kafka.KafkaError as e:
        yield Finding("java", False, str(e), "see the message")
    fetched = kafka.is_fetched(cache_folder())
    yield Finding(
        "kafka",
        fetched,
        f"{kafka.VERSION} {'fetched' if fetched else 'not fetched yet'}",
        "./lyceum up fetches it; that needs Maven Central or a mirror",
    )
    try:
        yield Finding("postgresql", True, str(postgres.binaries(cache_folder())))
    except (postgres.PostgresError, OSError) as e:
        yield Finding("postgresql", False, str(e), "see the message")
    current = web.is_current()
    yield Finding(
        "web app",
        current,
        "built" if current else "its sources are newer than its build",
        "./lyceum up builds it",
    )


def _files(config: Config) -> Iterator[Finding]:
    secrets = config.data / "config.json"
    mode = secrets.stat().st_mode & 0o077
    yield Finding(
        "secrets",
        mode == 0,
        f"{secrets} is {'closed' if mode == 0 else 'open'} to others",
        f"chmod 600 {secrets}",
    )
    cluster = supervisor.postgres_folder(config.data) / "data"
    yield Finding(
        "ledger",
        (cluster / "PG_VERSION").exists(),
        str(cluster),
        "restore a backup there; ./lyceum up would begin with an empty ledger",
    )


def _processes(config: Config, alive: bool) -> Iterator[Finding]:
    log = config.data / "logs" / "supervisor.log"
    yield Finding("supervisor", alive, "runs" if alive else "does not run", f"./lyceum up; its log is {log}")
    if not alive:
        for name in ("app", "content", "postgres", "kafka"):
            port = config.ports[name]
            free = configuration.is_free(port)
            yield Finding(
                f"port {name}",
                free,
                f"{port} is {'free' if free else 'taken'}",
                "./lyceum up takes the next free one and remembers it",
            )
        return
    for state in supervisor.read_run(config.data)[1:]:
        yield _part(config, state)
    told = kafka.answers(config.ports["kafka"], config.secrets.kafka_admin)
    yield Finding("kafka answers", not told, told or "yes", _advice(config, "kafka"))
    told = asyncio.run(_postgres(config.postgres_url))
    yield Finding("postgresql answers", not told, told or "yes", _advice(config, "postgres"))


def _part(config: Config, state: supervisor.State) -> Finding:
    port = config.ports.get(state.name, 0)
    if supervisor.living(state.pid, state.born) is None:
        told, advice = state.trouble or "starting", _advice(config, state.name)
        if port and not configuration.is_free(port):
            told = f"{told}; another program has its port {port}"
            advice = "./lyceum down, then ./lyceum up: it takes another port and remembers it"
        return Finding(state.name, False, told, advice)
    seconds = time.time() - state.born
    told = f"runs since {_at(state.born)}" + (
        f" after {state.restarts} restarts, the last time it {state.trouble}" if state.restarts else ""
    )
    return Finding(state.name, not state.restarts or seconds > SETTLED, told, _advice(config, state.name))


def _advice(config: Config, part: str) -> str:
    """Where to look, and what may be deleted: what the ledgers can fill again."""
    look = f"./lyceum logs {part}"
    match part:
        case "postgres":
            return f"{look}; keep its files whatever they say: they are the ledgers (else ./lyceum restore)"
        case "kafka":
            folder = config.data / "kafka"
        case "analytics":
            folder = config.data / "clickhouse"
        case _:
            return look
    return (
        f"{look}; if its files are damaged: ./lyceum down, delete {folder}, ./lyceum up."
        " Nothing is lost: it is filled again from the ledgers"
    )


async def _postgres(url: str) -> str:
    """Empty when the ledger answers, else what it says instead."""
    try:
        async with asyncio.timeout(5):
            connection = await postgres.connect(url)
            await connection.fetchval("SELECT 1")
            await connection.close()
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as e:
        return str(e) or "no answer in 5 s"
    return ""


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))


def _services(config: Config) -> Iterator[Finding]:
    for service in SERVICES:
        ready, told = readiness(config, service)
        part = service if config.split or service == "analytics" else "ledger"
        yield Finding(f"{service} ready", ready, told or "yes", f"./lyceum logs {part}")
    try:
        operator = Operator(config)
    except PlatformError as e:
        yield Finding("operator", False, str(e), "./lyceum logs ledger")
        return
    for service in SERVICES:
        report = operator.try_get(f"/api/{service}/system/feeds")
        if report is None:
            yield Finding(f"{service} feeds", False, "it does not tell", "./lyceum doctor again in a moment")
            continue
        yield feeds(service, report)
        yield parked(service, report)
