"""The one way to ClickHouse: clickhouse-connect, to a server by HTTP or to the engine in this process (chDB).

A handle is one connection; one thread at a time uses it, away from the event loop. **After any error a handle
is closed and opened again**: on chDB a query that fails after some output leaves that output behind, and the
next query on the same connection would return it as its own.
"""

import asyncio
import fcntl
import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar, cast
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import structlog
from clickhouse_connect.driver import options
from clickhouse_connect.driver.exceptions import ClickHouseError

from analytics.errors import Busy, EngineDown, TooExpensive

log = structlog.get_logger()

T = TypeVar("T")
Use = Literal["write", "read", "sql"]
Row = dict[str, Any]

# Of the embedded engine: its default database would look for files where a table is missing.
DATABASE = "lyceum"
LIMIT_CODES = {159, 160, 241, 158, 307, 396, 202}  # time, speed, memory, rows, bytes, queries

# What the counting relies on, by name: engine releases change their defaults (26.2 turned async_insert on).
WRITER: Mapping[str, int | str] = {
    "async_insert": 0,
    "max_insert_threads": 1,
    "min_insert_block_size_rows": 1_048_576,  # a block of ours is one part, or it could be torn
    "min_insert_block_size_bytes": 268_435_456,
    "insert_deduplicate": 1,
    "mutations_sync": 2,
}
# Where tables are replicated: an insert counts once most replicas have it, and what is read back on any of them has it, or
# fails and is asked again. A writer whose replica is lost goes on with another one and sees its own last block.
QUORUM: Mapping[str, int | str] = {
    "insert_quorum": "auto",
    "insert_quorum_parallel": 0,
    "insert_quorum_timeout": 10_000,
    "select_sequential_consistency": 1,
}
READER: Mapping[str, int | str] = {
    "max_execution_time": 10,
    "max_memory_usage": 500_000_000,
    "max_result_rows": 200_000,
    "max_result_bytes": 64 * 1024 * 1024,
    "result_overflow_mode": "throw",
    "max_threads": 2,
    "join_use_nulls": 0,
    "readonly": 1,  # last: nothing can be set after it
}

# The embedded engine knows one user. Without these grants it would read any file and address it is asked to.
_CONFIG = """<clickhouse>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <mark_cache_size>33554432</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <users_config>{users}</users_config>
</clickhouse>
"""
_USERS = f"""<clickhouse>
  <profiles><default/></profiles>
  <quotas><default/></quotas>
  <users><default>
    <password></password>
    <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
    <profile>default</profile>
    <quota>default</quota>
    <grants>
      <query>GRANT SELECT, INSERT, CREATE, DROP, ALTER, TRUNCATE, OPTIMIZE, SHOW ON {DATABASE}.*</query>
      <query>GRANT SELECT ON system.*</query>
      <query>GRANT SELECT ON information_schema.*</query>
      <query>GRANT CREATE TEMPORARY TABLE ON *.*</query>
    </grants>
  </default></users>
</clickhouse>
"""


class Result(Protocol):
    """What we read of an answer."""

    @property
    def result_rows(self) -> Sequence[Sequence[Any]]: ...
    def named_results(self) -> Generator[Row, None, None]: ...


class Bytes(Protocol):
    """A stream of an answer's bytes."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Session(Protocol):
    """What we use of clickhouse-connect's client, whose own signatures are only half typed."""

    database: str

    def query(self, query: str, parameters: Mapping[str, object] | None = None) -> Result: ...
    def command(self, cmd: str, parameters: Mapping[str, object] | None = None) -> object: ...
    def insert(
        self,
        table: str,
        data: Sequence[Sequence[Any]],
        *,
        column_names: Sequence[str],
        column_oriented: bool,
        settings: Mapping[str, str],
    ) -> object: ...
    def raw_query(self, query: str, parameters: Mapping[str, object] | None = None) -> bytes: ...
    def raw_stream(self, query: str, parameters: Mapping[str, object] | None = None) -> Bytes: ...
    def set_client_setting(self, key: str, value: int | str) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Target:
    """Where LYCEUM_CLICKHOUSE_URL points. `folder` is set for the embedded engine only."""

    url: str
    folder: Path | None
    database: str

    @property
    def embedded(self) -> bool:
        return self.folder is not None


def target(url: str) -> Target:
    parts = urlsplit(url)
    if parts.scheme == "chdb":
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError(
                "LYCEUM_CLICKHOUSE_URL: the embedded engine is chdb:///folder, with three slashes"
            )
        return Target(url, Path(unquote(parts.path)), DATABASE)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            "LYCEUM_CLICKHOUSE_URL: chdb:///folder or http(s)://user:password@host:port/database"
        )
    return Target(url, None, parts.path.strip("/") or DATABASE)


class Engine:
    """Handles for writing (one), for dashboards, and for the operator's SQL. Opens when first used."""

    def __init__(
        self,
        url: str,
        *,
        readers: int = 2,
        sql: int = 2,
        memory: int = 1_500_000_000,
        sql_limits: Mapping[str, int | str] | None = None,
        cluster: str = "",
        patience: float = 10.0,
    ) -> None:
        self.target = target(url)
        self.cluster = cluster
        self._memory = memory
        self._patience = patience
        self._settings: dict[Use, Mapping[str, int | str]] = {
            "write": {**WRITER, **(QUORUM if cluster else {})},
            "read": READER,
            "sql": {**READER, "max_threads": 1, **(sql_limits or {}), "readonly": 1},
        }
        counts: dict[Use, int] = {"write": 1, "read": readers, "sql": sql}
        self._handles: dict[Use, asyncio.Queue[_Handle]] = {}
        for use, count in counts.items():
            queue: asyncio.Queue[_Handle] = asyncio.Queue()
            for _ in range(count):
                queue.put_nowait(_Handle(self, use))
            self._handles[use] = queue
        self._folder_lock: int | None = None
        self._opening = threading.Lock()
        self.running: set[asyncio.Task[Any]] = set()
        self.opened = False

    @property
    def writer(self) -> Mapping[str, int | str]:
        """The settings of whoever writes."""
        return self._settings["write"]

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """A dashboard's SELECT, within the readers' limits."""
        return await self.use("read", lambda session: _rows(session, sql, parameters))

    async def command(self, sql: str, parameters: Mapping[str, object] | None = None) -> None:
        """A statement of ours that changes something."""
        await self.use("write", lambda session: session.command(sql, parameters=dict(parameters or {})))

    async def read_back(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        """A SELECT on the writer's handle: it comes after whatever insert is still running there."""
        return await self.use("write", lambda session: _rows(session, sql, parameters))

    async def insert(self, table: str, columns: Mapping[str, Sequence[Any]], *, token: str) -> None:
        """One block. On a replicated table the token makes a repetition of the same block harmless."""
        # The embedded engine has no replicas, and ignores tokens unless a table asks for them.
        settings = {} if self.target.embedded else {"insert_deduplication_token": token}

        def run(session: Session) -> None:
            session.insert(
                table,
                list(columns.values()),
                column_names=list(columns),
                column_oriented=True,
                settings=settings,
            )

        await self.use("write", run)

    async def use(self, use: Use, run: Callable[[Session], T]) -> T:
        """Run in a thread on a free handle, which stays taken until the thread is done, cancelled or not."""
        try:
            async with asyncio.timeout(None if use == "write" else self._patience):
                handle = await self._handles[use].get()
        except TimeoutError:
            raise Busy("All readers are taken; try again in a moment", retry_after=1) from None
        task = asyncio.create_task(self._run(handle, run))
        self.running.add(task)
        task.add_done_callback(self._finished)
        return await asyncio.shield(task)

    async def _run(self, handle: "_Handle", run: Callable[[Session], T]) -> T:
        try:
            return await asyncio.to_thread(handle.run, run)
        finally:
            self._handles[handle.use].put_nowait(handle)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self.running.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits has it as well; a cancelled waiter does not

    async def check(self) -> None:
        """For readiness. A slow first start is not an error of the engine, but it is not ready."""
        if not self.opened:
            raise EngineDown("ClickHouse is not open yet")
        await self.query("SELECT 1")

    async def close(self) -> None:
        """Waits for what runs."""
        if self.running:
            await asyncio.wait(set(self.running))
        for queue in self._handles.values():
            handles = [queue.get_nowait() for _ in range(queue.qsize())]
            for handle in handles:
                await asyncio.to_thread(handle.close)
                queue.put_nowait(handle)
        self.opened = False
        if self._folder_lock is not None:
            os.close(self._folder_lock)
            self._folder_lock = None

    # In threads from here on

    def open_session(self, use: Use) -> Session:
        with self._opening:
            try:
                session = self._open_embedded(use) if self.target.folder else self._open_server(use)
            except (ClickHouseError, OSError, RuntimeError) as e:
                raise EngineDown(f"ClickHouse cannot be opened: {type(e).__name__}", retry_after=2) from e
            self.opened = True
            return session

    def _open_server(self, use: Use) -> Session:
        options_of = dict[str, Any](tz_mode="aware", autogenerate_session_id=False, query_retries=0)
        url = urlsplit(self.target.url)
        # The client would take the scheme from the port.
        options_of |= {"dsn": url._replace(path="").geturl(), "interface": url.scheme}
        settings = dict(self._settings[use])
        if use == "write":
            session = _connect(database="default", settings=settings, **options_of)
            session.command(create_database(self.target.database, self.cluster))
            session.database = self.target.database
            return session
        return _connect(database=self.target.database, settings=settings, **options_of)

    def _open_embedded(self, use: Use) -> Session:
        folder = self.target.folder
        assert folder
        os.environ["TZ"] = "UTC"  # of this process: the engine takes it for its own
        time.tzset()
        config = self._prepare_folder(folder)
        with _without_frames():
            session = _connect(
                interface="chdb",
                path=str(folder / "engine"),
                chdb_options={"config-file": str(config)},
                tz_mode="aware",
            )
        session.command(create_database(DATABASE))
        session.database = DATABASE
        session.command(f"USE {DATABASE}")
        for name, value in self._settings[use].items():
            session.set_client_setting(name, value)
        return session

    def _prepare_folder(self, folder: Path) -> Path:
        if self._folder_lock is None:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            held = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as e:
                os.close(held)
                raise EngineDown(
                    f"Another process has {folder} open: the embedded engine belongs to one process, which"
                    " `lyceum rebuild analytics` asks",
                    retry_after=2,
                ) from e
            self._folder_lock = held
            users = folder / "users.xml"
            users.write_text(_USERS)
            (folder / "config.xml").write_text(_CONFIG.format(memory=self._memory, users=users.resolve()))
        return (folder / "config.xml").resolve()


def create_database(name: str, cluster: str = "") -> str:
    on_cluster = f" ON CLUSTER `{cluster}`" if cluster else ""
    return f"CREATE DATABASE IF NOT EXISTS `{name}`{on_cluster} ENGINE = Atomic"


class _Handle:
    """One connection, opened when needed and never used again after an error."""

    def __init__(self, engine: Engine, use: Use) -> None:
        self.use: Use = use
        self._engine = engine
        self._session: Session | None = None

    def run(self, run: Callable[[Session], T]) -> T:
        if self._session is None:
            self._session = self._engine.open_session(self.use)
        try:
            return run(self._session)
        except ClickHouseError as e:
            self.close()
            if self.use == "read":
                raise _meaning(e) from e
            raise
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.close()


def _connect(**options: Any) -> Session:
    return cast("Session", cast("Any", clickhouse_connect).get_client(**options))


def _rows(session: Session, sql: str, parameters: Mapping[str, object] | None) -> list[Row]:
    return list(session.query(sql, parameters=dict(parameters or {})).named_results())


def _meaning(error: ClickHouseError) -> Exception:
    """For a dashboard: its limits and an absent server are answers, anything else is our mistake."""
    code = getattr(error, "code", None)
    if code in LIMIT_CODES:
        return TooExpensive(f"The question met its limit of time, memory or rows (code {code})")
    if code in (None, 210):
        return EngineDown("ClickHouse does not answer", retry_after=2)
    return RuntimeError(f"a query of ours failed (code {code})")


@contextmanager
def _without_frames() -> Generator[None]:
    """Open chDB without pandas and pyarrow: it imports both if it finds them, 75 MB that we never use."""
    hidden = [name for name in ("pandas", "pyarrow") if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # the documented way to make an import fail
    try:
        importlib.import_module("chdb")
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


# clickhouse-connect's insert would import pandas just to ask whether it was given one of its frames.
options.pd = options.pd_time_test = None  # type: ignore[attr-defined]


async def open_engine(engine: Engine) -> None:
    """Open the writer and see that the settings the counting relies on are in force."""
    rows = await engine.read_back(
        "SELECT name, value FROM system.settings WHERE has({names:Array(String)}, name)",
        {"names": list(engine.writer)},
    )
    effective = {row["name"]: row["value"] for row in rows}
    wrong = {k: effective.get(k) for k, v in engine.writer.items() if effective.get(k) != str(v)}
    if wrong:
        raise EngineDown(f"ClickHouse did not take the writer's settings: {wrong}")
