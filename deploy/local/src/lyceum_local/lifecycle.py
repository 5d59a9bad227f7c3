"""Up, down and reset: what the command line does to an installation as a whole."""

import contextlib
import fcntl
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from lyceum_local import config as configuration
from lyceum_local import kafka, postgres, supervisor, web
from lyceum_local.config import Config
from lyceum_local.paths import SERVICES, cache_folder
from lyceum_local.remote import Operator, PlatformError, readiness

Say = Callable[[str], None]


class LifecycleError(Exception):
    """The platform did not come up, or not down; the message says what is known."""


@contextmanager
def only_one(data: Path, step: Say) -> Generator[None]:
    """Two `up`s at once would choose ports and start supervisors against each other: the second waits."""
    data.mkdir(parents=True, exist_ok=True)
    with (data / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step("Waiting for another ./lyceum up")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def up(data: Path, *, split: bool | None, app_port: int | None, patience: float, step: Say) -> Config:
    """Bring everything up and wait until every service is ready. Running parts stay as they are."""
    with only_one(data, step), configuration.port_claims() as claim:
        fetch(data, step)
        config = configuration.load(data)
        process = supervisor.running(data)
        changed = config is not None and (
            (split is not None and split != config.split)
            or (app_port is not None and app_port != config.ports["app"])
        )
        if process and changed:
            step("Stopping, to start in another form")
            down(data)
            process = None
        if config is None or process is None:
            wanted = app_port or (config.ports["app"] if config else configuration.PREFERRED["app"])
            config = settle(data, config, split=split, app_port=app_port, claim=claim)
            if config.ports["app"] != wanted:
                step(f"Port {wanted} is taken by another program: the app is on {config.ports['app']}")
            step("Starting PostgreSQL, Kafka and the services")
            process = start_supervisor(config)
        else:
            step("Already running")
        wait_until_ready(config, process, patience=patience, step=step)
        return config


def fetch(data: Path, step: Say) -> None:
    """All that comes from outside or is built, each only when missing."""
    cache = cache_folder()
    supervisor.lay_out(data)
    if not kafka.is_fetched(cache):
        step("Fetching Apache Kafka (45 MB, once)")
        kafka.jars(cache)
    postgres.binaries(cache)
    if not web.is_current():
        step("Building the web app (its sources are new)")
        web.build(data / "logs" / "web-build.log")


def settle(
    data: Path,
    config: Config | None,
    *,
    split: bool | None,
    app_port: int | None,
    claim: configuration.Claim = configuration.is_free,
) -> Config:
    """The configuration to start with: ports that others took meanwhile are replaced."""
    if config is None:
        config = configuration.create(data, split=bool(split), app_port=app_port, claim=claim)
    else:
        supervisor.stop_leftovers(data)
        ports = configuration.choose_ports(
            {"app": app_port} if app_port else {}, keep=config.ports, claim=claim
        )
        config = replace(config, ports=ports, split=config.split if split is None else split)
    config.save()
    return config


def start_supervisor(config: Config) -> psutil.Process:
    """Detached: it outlives this command and its terminal."""
    with (config.data / "logs" / "supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "lyceum_local.supervisor", "run", "--data", str(config.data)],
            env=configuration.environment(supervisor.passed_on()),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return psutil.Process(child.pid)


def wait_until_ready(config: Config, process: psutil.Process, *, patience: float, step: Say) -> None:
    end = time.monotonic() + patience
    waiting: dict[str, str] = dict.fromkeys(("kafka", *SERVICES), "not asked yet")
    while waiting:
        for part in list(waiting):
            ready, told = _asked(config, part)
            if ready:
                del waiting[part]
                step(f"{part} is ready")
            else:
                waiting[part] = told
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            if not supervisor.read_run(config.data):
                raise LifecycleError("it was stopped meanwhile: somebody said ./lyceum down")
            log = config.data / "logs" / "supervisor.log"
            raise LifecycleError(f"the supervisor ended; {log} says:\n{tail(log, 15)}")
        if waiting and time.monotonic() > end:
            raise LifecycleError(_why_not(config, waiting))
        if waiting:
            time.sleep(0.1)


def _asked(config: Config, part: str) -> tuple[bool, str]:
    match part:
        case "kafka":
            return _listens(config.ports["kafka"])
        case "identity":
            ready, told = readiness(config, part)
            return _ours(config) if ready else (False, told)
        case _:
            return readiness(config, part)


def _ours(config: Config) -> tuple[bool, str]:
    """Whoever took our port while the parts were starting may say that it is ready, too; but it does not know us."""
    try:
        Operator(config)
    except PlatformError as e:
        return False, f"who answers on port {config.ports['app']} is not of this installation: {e}"
    return True, ""


def _listens(port: int) -> tuple[bool, str]:
    """Services are ready without Kafka, for a while: whoever says that everything runs has to look at it too."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError as e:
        return False, f"nothing listens on its port {port} ({e.strerror})"
    return True, ""


def _why_not(config: Config, waiting: dict[str, str]) -> str:
    lines = [f"{service} is not ready: {told}" for service, told in waiting.items()]
    for state in supervisor.read_run(config.data)[1:]:
        if state.trouble and not supervisor.living(state.pid, state.born):
            end = tail(config.data / "logs" / f"{state.name}.log", 8)
            lines.append(f"{state.name} was started {state.restarts + 1} times, last: {state.trouble}\n{end}")
    if not (config.data / "databases.done").exists():
        lines.append(f"the databases are not prepared:\n{tail(config.data / 'logs' / 'supervisor.log', 12)}")
    return "\n".join([*lines, "It goes on trying; see ./lyceum status, ./lyceum logs and ./lyceum doctor."])


def down(data: Path) -> bool:
    """Stop everything. False when nothing ran."""
    process = supervisor.running(data)
    if process is not None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except psutil.TimeoutExpired:
            process.kill()
    supervisor.stop_leftovers(data)
    return process is not None


def reset(data: Path) -> None:
    """Stop and delete everything this installation ever wrote. Only what it made: never a foreign folder's files."""
    down(data)
    cluster = data / "postgres"
    if cluster.is_symlink():
        shutil.rmtree(cluster.resolve(), ignore_errors=True)
        cluster.unlink()
    for name in ("postgres", "kafka", "clickhouse", "content", "logs"):
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(data / name)
    for name in (
        "config.json", "config.json.new", "run.json", "databases.done", "access.done", "up.lock",
        "demo.json", "demo.json.new",
    ):  # fmt: skip
        (data / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else's files are in it: they stay
        data.rmdir()


def tail(file: Path, lines: int) -> str:
    """The last lines of a log."""
    if not file.exists():
        return ""
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - 200 * lines - 64 * 1024))
        return "\n".join(stream.read().decode(errors="replace").splitlines()[-lines:])


def memory(data: Path) -> dict[str, float]:
    """MB of each part with its children, as PSS: shared pages count by share, so that the sum is the truth."""
    used: dict[str, float] = {}
    for state in supervisor.read_run(data):
        process = supervisor.living(state.pid, state.born)
        if process is None:
            continue
        family = [process] if state.name == "supervisor" else [process, *process.children(recursive=True)]
        used[state.name] = sum(_pss(p.pid) for p in family)
    return used


def _pss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
    except (
        FileNotFoundError,
        ProcessLookupError,
        PermissionError,
    ):  # ended meanwhile, or no such file system
        with contextlib.suppress(psutil.Error):
            return psutil.Process(pid).memory_info().rss / 1024 / 1024
    return 0.0
