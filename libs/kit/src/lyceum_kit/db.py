"""Connections to PostgreSQL: one pooled engine for handlers and reads, bare asyncpg for the relay."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from uuid import UUID

import asyncpg
from pydantic_core import from_json
from sqlalchemy import event, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from lyceum_kit.errors import Unavailable

SESSION = {
    "timezone": "UTC",
    # What a handler may block on at most. A process frozen inside a transaction holds row locks: the server frees them.
    "idle_in_transaction_session_timeout": "5000",
    "lock_timeout": "4000",
    # A plan from when a table was empty would be kept until statistics come: of 20,000 people whom HR listed at once,
    # each was looked for among all those before. Planning anew costs some 0.05 ms.
    "plan_cache_mode": "force_custom_plan",
}

_SET_TENANT = text("SELECT set_config('lyceum.tenant', :tenant, true)")


def dsn(url: str) -> str:
    """The URL as asyncpg wants it."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def make_engine(url: str, *, pool: int = 10, application: str = "lyceum") -> AsyncEngine:
    """Does not connect yet. asyncpg reads the URL itself, as it does for the relay: SQLAlchemy hands `sslmode` and its like
    on as arguments that asyncpg does not have."""
    engine = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=lambda: connect(url, application=application),
        pool_size=pool,
        max_overflow=pool,
        pool_timeout=5,
        pool_use_lifo=True,
        json_deserializer=from_json,  # three times as fast as Python's own
        hide_parameters=True,  # an error's text goes to logs and parked events: no place for personal data
    )
    event.listen(engine.sync_engine, "handle_error", _without_details)
    event.listen(engine.sync_engine, "handle_error", _discard_the_confused)
    event.listen(engine.sync_engine, "checkout", _discard_the_closed)
    return engine


def _discard_the_closed(connection: DBAPIConnection, *_: object) -> None:
    """A server that restarts closes its connections, and asyncpg hears of it at once: nobody is handed one of those."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError


def _discard_the_confused(context: ExceptionContext) -> None:
    """A caller that was cancelled in the middle of a statement can leave asyncpg waiting for its end ("another operation
    is in progress"). The pool would hand that connection out again: SQLAlchemy takes only closed ones for lost."""
    original = context.original_exception
    if any("another operation" in str(e) for e in (original, original.__cause__)):
        context.is_disconnect = True


def _without_details(context: ExceptionContext) -> None:
    """PostgreSQL quotes the row that broke a constraint. That goes with the parameters, and for the same reason."""
    original = context.original_exception
    for error in (original, original.__cause__, context.sqlalchemy_exception):
        if isinstance(error, asyncpg.PostgresError):
            error.detail = None
        elif error is not None:
            error.args = tuple(a.partition("\nDETAIL:")[0] if isinstance(a, str) else a for a in error.args)


async def connect(url: str, *, application: str, **session: str) -> asyncpg.Connection:
    """A connection outside the pool, for whoever holds one for long: the relay, listeners. Files for TLS that the URL
    names (`sslrootcert`, `sslcert`, `sslkey`) are read each time."""
    settings = {**SESSION, **session, "application_name": application}
    return await asyncpg.connect(dsn(url), server_settings=settings, timeout=5)


async def set_tenant(conn: AsyncConnection, tenant: UUID) -> None:
    """For this transaction only: a pooled connection must never carry a tenant into the next request."""
    await conn.execute(_SET_TENANT, {"tenant": str(tenant)})


@asynccontextmanager
async def transaction(
    engine: AsyncEngine, tenant: UUID, *, read_only: bool = False
) -> AsyncGenerator[AsyncConnection]:
    """A transaction of one tenant: what most of the work is, so it begins by one round trip instead of SQLAlchemy's two
    or three."""
    begin = "BEGIN READ ONLY" if read_only else "BEGIN"
    async with _beginning_nothing(engine).connect() as conn:
        connection = driver(conn)
        try:
            await connection.execute(f"{begin}; SELECT set_config('lyceum.tenant', '{tenant}', true)")
            yield conn
            if await connection.execute("COMMIT") != "COMMIT":
                # What PostgreSQL makes of it after an error that somebody caught.
                raise RuntimeError("A failed transaction was to be committed")
        except BaseException:
            await _roll_back(conn, connection)
            raise


@lru_cache(maxsize=16)
def _beginning_nothing(engine: AsyncEngine) -> AsyncEngine:
    """The same pool; SQLAlchemy begins no transaction of its own."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


async def _roll_back(conn: AsyncConnection, connection: asyncpg.Connection) -> None:
    """Or give the connection up: nobody may find himself in what was begun here. What came first is what is told."""
    done = False
    try:
        with suppress(Exception):
            await connection.execute("ROLLBACK")
            done = True
    finally:
        if not done:
            await conn.invalidate()


def driver(conn: AsyncConnection) -> asyncpg.Connection:
    """The asyncpg connection under `conn`, inside the same transaction, for statements over arrays."""
    assert conn.sync_connection
    connection: asyncpg.Connection | None = conn.sync_connection.connection.driver_connection
    assert connection
    return connection


# A lost race: doing it again from the start is right and cheap.
_RACES = ("40001", "40P01", "55P03")
# OSError: of the network; one with a file name is of a file. InternalClientError: what asyncpg says of a connection
# that breaks while a statement is on its way.
_AWAY = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
# The server went away or refuses connections for a while; class 08, 57P0x, 53xxx, 25P03 (idle in transaction).
_OUTAGES = ("08", "57P", "53", "25P03")


def _drivers(error: BaseException) -> tuple[BaseException | None, ...]:
    """The error, and what the driver said, whether it came through SQLAlchemy or straight from asyncpg."""
    inner = error.orig if isinstance(error, DBAPIError) else None
    return (error, error.__cause__, inner, inner.__cause__ if inner else None)


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of an error; else ''."""
    return next((str(code) for e in _drivers(error) if (code := getattr(e, "sqlstate", None))), "")


def is_race(error: BaseException) -> bool:
    """A deadlock, serialization failure or lock time-out."""
    return sqlstate(error) in _RACES


def is_outage(error: BaseException) -> bool:
    """PostgreSQL or the network to it is down: nothing about this request is wrong."""
    if any(isinstance(e, _AWAY) and not getattr(e, "filename", None) for e in _drivers(error)):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    if type(error).__module__.startswith("sqlalchemy") and type(error).__name__ in (
        "TimeoutError",
        "InterfaceError",
    ):
        return True
    return sqlstate(error).startswith(_OUTAGES)


def understood(error: Exception) -> Exception:
    """An outage as what callers are told of it; any other error as it is."""
    return Unavailable("The database cannot be reached", retry_after=2) if is_outage(error) else error
