"""Keeps the parts running: starts PostgreSQL, Kafka and our own processes side by side and restarts what dies.

`python -m lyceum_local.supervisor --data DIR`, detached by `lyceum up`. What it knows stands in DATA/run.json, by which
`status` shows the parts and the next start finds what a killed supervisor left behind.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import psutil

from lyceum_local import kafka, postgres
from lyceum_local.children import bound
from lyceum_local.config import Config, environment, load, port_claims
from lyceum_local.paths import LEDGER_SERVICES, OTHER_SERVICES, SERVICES, cache_folder, repository

LOG_LIMIT = 10 * 1024 * 1024
LONGEST_PAUSE = 10.0
# A part that lived this long was well: the next crash starts the back-off anew.
WELL_AFTER = 30.0


@dataclass(frozen=True)
class Part:
    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    stop: signal.Signals = signal.SIGTERM
    user: str | None = None
    before: Callable[[], None] | None = None  # at every start, in a thread


@dataclass
class State:
    """A part as DATA/run.json shows it."""

    name: str
    pid: int | None = None
    born: float = 0.0  # with the pid it names one process for ever
    restarts: int = 0
    trouble: str = ""


def postgres_folder(data: Path) -> Path:
    """Where the cluster lives: in `data`; elsewhere, with a link, when the server's user cannot reach that (as root)."""
    folder = data / "postgres"
    if folder.exists() or postgres.reachable(folder, postgres.server_user()):
        return folder.resolve()
    outside = (
        Path("/var/lib/lyceum-postgres") / hashlib.sha256(f"{data}{time.time_ns()}".encode()).hexdigest()[:12]
    )
    outside.mkdir(parents=True)
    folder.unlink(missing_ok=True)  # a link to what is gone
    folder.symlink_to(outside)
    return outside


def lay_out(data: Path) -> None:
    """The folders of an installation. As root, PostgreSQL's user may walk through but look at nothing."""
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o711 if postgres.server_user() else 0o700)
    for name in ("logs", "content", "kafka", "clickhouse"):
        (data / name).mkdir(exist_ok=True)
        (data / name).chmod(0o700)


def parts(config: Config) -> list[Part]:
    """Every process but the one-off preparation."""
    data, cache = config.data, cache_folder()
    cluster = postgres_folder(data) / "data"
    bin_dir = postgres.binaries(cache)
    database = Part(
        "postgres",
        postgres.start_command(bin_dir, cluster, config.ports["postgres"]),
        postgres.environment(),
        stop=signal.SIGINT,
        user=postgres.server_user(),
        before=lambda: _prepare_postgres(bin_dir, cluster, config),
    )
    broker = Part(
        "kafka",
        kafka.start_command(cache, data / "kafka" / "server.properties"),
        environment({}),
        before=lambda: _prepare_kafka(cache, config),
    )
    ours = ("gateway", *SERVICES) if config.split else ("ledger", *OTHER_SERVICES)
    return [database, broker, *(Part(n, host(n, data), surroundings()) for n in ours)]


PASSED_ON = (
    "LYCEUM_CACHE",
    "LYCEUM_OTLP_ENDPOINT",
    "LYCEUM_LOG_LEVEL",
    "LYCEUM_LOG_FORMAT",
    "LYCEUM_FAILPOINT",
)


def passed_on() -> dict[str, str]:
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def surroundings() -> dict[str, str]:
    """What every process of ours has in its environment."""
    # One arena for all threads: glibc would keep one for each of them.
    return environment(passed_on()) | {"MALLOC_ARENA_MAX": "1", "TZ": "UTC"}


def host(part: str, data: Path) -> list[str]:
    return [sys.executable, "-m", "lyceum_local.host", part, "--data", str(data)]


def _prepare_postgres(bin_dir: Path, cluster: Path, config: Config) -> None:
    postgres.initialise(bin_dir, cluster, config.secrets.postgres)
    postgres.clear_stale(cluster)


def _prepare_kafka(cache: Path, config: Config) -> None:
    own = {"admin": config.secrets.kafka_admin, "controller": config.secrets.kafka_controller}
    kafka.prepare(
        cache,
        config.data / "kafka",
        port=config.ports["kafka"],
        controller_port=config.ports["kafka_controller"],
        cluster=config.secrets.kafka_cluster,
        passwords=own | config.secrets.kafka,
    )


# ---- what must have happened before the services start: databases, migrations, Kafka's access rules


def database_digest(config: Config) -> str:
    """Changes with the cluster, the accounts and every migration."""
    digest = hashlib.sha256(json.dumps([config.secrets.owners, config.secrets.databases]).encode())
    control = postgres_folder(config.data) / "data" / "PG_VERSION"
    digest.update(str(control.stat().st_ino if control.exists() else 0).encode())
    for file in sorted(repository().glob("services/*/migrations/**/*.py")):
        digest.update(file.read_bytes())
    digest.update((repository() / "libs/kit/src/lyceum_kit/schema.py").read_bytes())
    return digest.hexdigest()


def kafka_digest(config: Config) -> str:
    """Changes with the broker's storage, the feeds and the access rules."""
    digest = hashlib.sha256((files("lyceum_local") / "kafka.py").read_bytes())
    digest.update((files("lyceum") / "topics.yaml").read_bytes())
    formatted = config.data / "kafka" / "data" / "meta.properties"
    digest.update(formatted.read_bytes() if formatted.exists() else b"")
    return digest.hexdigest()


def done(config: Config, what: str, digest: str) -> bool:
    stamp = config.data / f"{what}.done"
    return stamp.exists() and stamp.read_text() == digest


async def prepare_databases(config: Config) -> None:
    """Databases and roles, then each ledger service's migrations."""
    from lyceum_kit import migrations

    accounts = [
        postgres.Account(s, config.secrets.owners[s], config.secrets.databases[s]) for s in LEDGER_SERVICES
    ]
    await postgres.create_databases(config.postgres_url, accounts)
    for account in accounts:
        owner = config.service_env(account.name)["LYCEUM_MIGRATION_URL"]
        await migrations.upgrade_async(account.name, owner, account.name)
    (config.data / "databases.done").write_text(database_digest(config))


def prepare_access(config: Config) -> None:
    kafka.grant(config.ports["kafka"], config.secrets.kafka_admin)
    (config.data / "access.done").write_text(kafka_digest(config))


# ---- processes


def spawn(part: Part, logs: Path) -> subprocess.Popen[bytes]:
    with (logs / f"{part.name}.log").open("ab") as log:
        return subprocess.Popen(
            # Nothing outlives its supervisor: two of a part would fight over ports and files.
            bound(part.command, part.stop, user=part.user),
            env=dict(part.environment),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def rotate(logs: Path) -> None:
    """Cap each log. The children hold the files open for appending, so they are cut, not moved."""
    for file in logs.glob("*.log"):
        if file.stat().st_size > LOG_LIMIT:
            file.with_suffix(".log.1").write_bytes(file.read_bytes())
            os.truncate(file, 0)


def living(pid: int | None, born: float) -> psutil.Process | None:
    """The process, unless its number belongs to another by now."""
    if pid is None:
        return None
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if abs(process.create_time() - born) < 1 and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def read_run(data: Path) -> list[State]:
    """The supervisor, first, and its parts as last written. Empty when nothing ever ran."""
    try:
        return [State(**entry) for entry in json.loads((data / "run.json").read_text())]
    except (FileNotFoundError, ValueError, TypeError):
        return []


def running(data: Path) -> psutil.Process | None:
    """The supervisor of this installation, if it lives."""
    run = read_run(data)
    return living(run[0].pid, run[0].born) if run else None


def stop_leftovers(data: Path) -> None:
    """End parts whose supervisor was killed; where the kernel cannot tell them, this does."""
    left = [p for s in read_run(data)[1:] if (p := living(s.pid, s.born))]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGINT if process.name() == "postgres" else signal.SIGTERM)
    _, alive = psutil.wait_procs(left, timeout=15)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


class Supervisor:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.logs = config.data / "logs"
        self.states: dict[str, State] = {}
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.stopping = asyncio.Event()

    def say(self, text: str) -> None:
        print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)  # noqa: T201 - this is its log

    def write_run(self) -> None:
        me = State("supervisor", os.getpid(), psutil.Process().create_time())
        new = self.config.data / "run.json.new"
        new.write_text(json.dumps([asdict(s) for s in (me, *self.states.values())]))
        new.replace(self.config.data / "run.json")

    async def keep(self, part: Part) -> None:
        """Run the part, and again whenever it ends, after a growing pause."""
        state = self.states[part.name]
        pause = 0.2
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                if part.before:
                    await asyncio.to_thread(part.before)
                child = spawn(part, self.logs)
            except (
                OSError,
                subprocess.SubprocessError,
                postgres.PostgresError,
                kafka.KafkaError,
                psutil.Error,
            ) as e:
                state.trouble = f"cannot start: {e}"
            else:
                self.children[part.name] = child
                with contextlib.suppress(psutil.NoSuchProcess):
                    state.pid, state.born = child.pid, psutil.Process(child.pid).create_time()
                self.write_run()
                code = await asyncio.to_thread(child.wait)
                state.pid = None
                state.trouble = f"ended with {code}"
            if self.stopping.is_set():
                return
            state.restarts += 1
            self.write_run()
            if time.monotonic() - began > WELL_AFTER:
                pause = 0.2
            self.say(f"{part.name} {state.trouble}; starting it again in {pause} s")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def prepare(self, what: str, digest: Callable[[], str], act: Callable[[], Awaitable[None]]) -> None:
        """One-off work against a part that is still starting: tried until it is done."""
        while not self.stopping.is_set() and not done(self.config, what, digest()):
            try:
                await act()
            except Exception as e:  # noqa: BLE001 - the part it needs may be anywhere between down and up
                self.say(f"{what}: {type(e).__name__}: {e}; trying again")
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), 1)

    async def one_off(self, what: str) -> None:
        """In a process of its own: what it imports would stay in the supervisor's memory."""
        with (self.logs / "supervisor.log").open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lyceum_local.supervisor",
                what,
                "--data",
                str(self.config.data),
                stdout=log,
                stderr=log,
            )
            code = await child.wait()
        if code:
            raise RuntimeError(f"ended with {code}")

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        lay_out(self.config.data)
        stop_leftovers(self.config.data)
        every = parts(self.config)
        self.states = {p.name: State(p.name) for p in every}
        self.write_run()
        databases, access = "databases", "access"
        keepers = [asyncio.create_task(self.keep(p)) for p in every[:2]]
        chores = [
            asyncio.create_task(
                self.prepare(databases, lambda: database_digest(self.config), lambda: self.one_off(databases))
            ),
            asyncio.create_task(
                self.prepare(access, lambda: kafka_digest(self.config), lambda: self.one_off(access))
            ),
        ]
        # Nothing of ours needs Kafka to start, but everything needs its tables.
        stop = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({chores[0], stop}, return_when=asyncio.FIRST_COMPLETED)
        keepers += [asyncio.create_task(self.keep(p)) for p in every[2:]]
        with port_claims() as claims:
            while not self.stopping.is_set():
                rotate(self.logs)
                for port in self.config.ports.values():
                    claims.hold(port)  # when `up` has let go of them
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), 10)
        self.say("stopping")
        await self.end(every[2:])
        await self.end(every[:2])
        await asyncio.gather(*keepers, *chores)
        (self.config.data / "run.json").unlink()

    async def end(self, some: Sequence[Part]) -> None:
        """Ours first, so that they finish what they have begun while the database is there."""

        async def one(part: Part) -> None:
            child = self.children.get(part.name)
            if child is None or child.poll() is not None:
                return
            child.send_signal(part.stop)
            try:
                await asyncio.to_thread(child.wait, 20)
            except subprocess.TimeoutExpired:
                self.say(f"{part.name} does not stop; killing it")
                child.kill()

        await asyncio.gather(*(one(p) for p in some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("run", "databases", "access"), default="run", nargs="?")
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    config = load(arguments.data)
    if config is None:
        raise SystemExit(f"there is no installation in {arguments.data}: run ./lyceum up")
    match arguments.what:
        case "databases":
            asyncio.run(prepare_databases(config))
        case "access":
            prepare_access(config)
        case _:
            asyncio.run(Supervisor(config).run())


if __name__ == "__main__":
    main()
