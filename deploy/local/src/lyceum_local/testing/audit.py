"""Do the ledgers, their consumers and ClickHouse agree, event by event? Asked of the databases, not of the services."""

# pyright: reportUnknownMemberType=false
# (clickhouse-connect is annotated in part only)

from collections import Counter
from collections.abc import Mapping
from typing import Any

import asyncpg

from lyceum_kit.topics import feeds
from lyceum_local.config import Config
from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.postgres import with_database
from lyceum_local.testing import operators_sql

Partition = tuple[str, int]


async def audit(config: Config) -> list[str]:
    """What does not agree; empty when every event is numbered once, handled once and a row once."""
    wrong: list[str] = []
    numbered: dict[Partition, list[str]] = {}
    for service in LEDGER_SERVICES:
        connection = await asyncpg.connect(with_database(config.postgres_url, service))
        try:
            wrong += await _ledger(connection, service, numbered)
        finally:
            await connection.close()
    for service in LEDGER_SERVICES:
        connection = await asyncpg.connect(with_database(config.postgres_url, service))
        try:
            wrong += await _consumer(connection, service, numbered)
        finally:
            await connection.close()
    return wrong + _clickhouse(config, numbered)


async def _ledger(
    connection: asyncpg.Connection, service: str, numbered: dict[Partition, list[str]]
) -> list[str]:
    """Every event has one position, without a gap, and was sent."""
    wrong: list[str] = []
    for row in await connection.fetch("SELECT feed, partition, head, sent FROM feed_head"):
        place = (row["feed"], row["partition"])
        rows = await connection.fetch(
            "SELECT position, id FROM feed_position WHERE feed = $1 AND partition = $2 ORDER BY position",
            *place,
        )
        numbered[place] = [str(r["id"]) for r in rows]
        if [r["position"] for r in rows] != list(range(1, row["head"] + 1)):
            wrong.append(f"{place}: the positions are not 1 to {row['head']} without a gap")
        if row["sent"] != row["head"]:
            wrong.append(f"{place}: {row['sent']} of {row['head']} are sent")
    stored = Counter(str(r["id"]) for r in await connection.fetch("SELECT id FROM events"))
    given = Counter(i for (feed, _), ids in numbered.items() if feed == service for i in ids)
    if stored != given:
        wrong.append(f"{service}: {stored.total()} events are stored, {given.total()} positions are given")
    return wrong


async def _consumer(
    connection: asyncpg.Connection, service: str, numbered: Mapping[Partition, list[str]]
) -> list[str]:
    """Every position of what the service consumes is handled, and nothing is set aside."""
    wrong: list[str] = []
    rows = await connection.fetch("SELECT feed, partition, next, last_id, alarm FROM progress")
    for row in rows:
        place = (row["feed"], row["partition"])
        ids = numbered[place]
        if row["next"] != len(ids) + 1:
            wrong.append(f"{service}: next of {place} is {row['next']}, the head {len(ids)}")
        elif row["last_id"] != (ids[-1] if ids else ""):
            wrong.append(f"{service}: the last event of {place} is {row['last_id']}, the ledger's {ids[-1]}")
        if row["alarm"]:
            wrong.append(f"{service}: {place}: {row['alarm']}")
    expected = sum(feed.partitions for feed in feeds().values() if service in feed.consumers)
    if len(rows) != expected:
        wrong.append(f"{service}: has {len(rows)} places in what it consumes, not {expected}")
    if parked := await connection.fetchval("SELECT count(*) FROM parked WHERE settled IS NULL"):
        wrong.append(f"{service}: {parked} events are parked")
    return wrong


def _clickhouse(config: Config, numbered: Mapping[Partition, list[str]]) -> list[str]:
    """Every event of the ledgers is a row under its position, once, and there is no other."""
    wrong: list[str] = []
    with operators_sql(config) as client:
        for feed in sorted({feed for feed, _ in numbered}):
            rows: list[Any] = list(
                client.query(f"SELECT partition, position, toString(id) FROM {feed}_events").result_rows  # noqa: S608 - a feed's name
            )
            found = Counter((int(p), int(n), str(i)) for p, n, i in rows)
            true = Counter(
                (p, n, i) for (f, p), ids in numbered.items() if f == feed for n, i in enumerate(ids, 1)
            )
            if found != true:
                wrong.append(
                    f"ClickHouse: {feed} has {found.total()} rows, {(true - found).total()} are missing,"
                    f" {(found - true).total()} are too many"
                )
    return wrong
