"""Takes what was erased out of PostgreSQL's files, where it stays for a while after it has gone from the tables.

A changed row leaves its old form in the table's file until the table is rewritten, in the planner's statistics until
the table is analysed, and in the write-ahead log until the log's files are written over. Services go on meanwhile, but for
the moments in which a table of theirs is locked.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import asyncpg

from lyceum_local import postgres
from lyceum_local.config import Config

# The tables that have, or had, something personal in them. Events have none, and nothing of them ever changes.
TABLES: Mapping[str, Sequence[str]] = {
    "identity": ("people", "snapshots", "sessions", "sign_in_links", "timers"),
    "enrollment": ("people", "parked"),
    "assessment": ("attempts", "certificates", "person_keys", "launches", "timers", "parked"),
}
PATIENCE = 60.0  # seconds for transactions that began before and may still see the old rows

_OLDER = """
    SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend' AND xact_start < $1"""
_FORGET_STATISTICS = """
    SELECT pg_clear_attribute_stats(schemaname, tablename, attname, inherited) FROM pg_stats
    WHERE schemaname = 'public' AND tablename = ANY($1)"""
_AHEAD = """
    SELECT count(*) FROM pg_ls_waldir()
    WHERE name ~ '^[0-9A-F]{24}$' AND name > pg_walfile_name(pg_current_wal_insert_lsn())"""


class VacuumError(Exception):
    """Not everything could be taken out; the message says why."""


async def vacuum(config: Config) -> None:
    """Rewrite the tables, forget the statistics, write over the log."""
    for service, tables in TABLES.items():
        conn = await asyncpg.connect(postgres.with_database(config.postgres_url, service))
        try:
            await _quiet(conn, service)
            await conn.execute(_FORGET_STATISTICS, list(tables))
            for table in tables:
                await conn.execute(f'VACUUM (FULL, ANALYZE) "{table}"')
            await conn.execute("VACUUM (FULL) pg_catalog.pg_statistic")
        finally:
            await conn.close()
    conn = await asyncpg.connect(config.postgres_url)
    try:
        await _turn_over_log(conn)
    finally:
        await conn.close()


async def _quiet(conn: asyncpg.Connection, service: str) -> None:
    """Until every transaction has ended that may still see a row as it was: such a row would be kept."""
    began = await conn.fetchval("SELECT clock_timestamp()")
    end = time.monotonic() + PATIENCE
    while await conn.fetchval(_OLDER, began):
        if time.monotonic() > end:
            raise VacuumError(f"a transaction in the database of {service} does not end: try again later")
        await asyncio.sleep(0.1)


async def _turn_over_log(conn: asyncpg.Connection) -> None:
    """Write over each file of the log. Those that a checkpoint sets aside for later use still have what was in them."""
    await _next_file(conn)
    await conn.execute("CHECKPOINT")
    for _ in range(1 + await conn.fetchval(_AHEAD)):  # the present file was set aside once, too
        await _next_file(conn)


async def _next_file(conn: asyncpg.Connection) -> None:
    await conn.execute("SELECT pg_logical_emit_message(false, 'lyceum', '')")  # an empty file is not left
    await conn.execute("SELECT pg_switch_wal()")  # fills the rest of the file with zeros
