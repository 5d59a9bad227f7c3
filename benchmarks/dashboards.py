"""Dashboards over 1 and 10 million events: our query layer beside the bare SQL, and what ten times the rows cost."""

# ruff: noqa: S608 - names and numbers are ours

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median
from uuid import UUID

import httpx

from analytics import schema
from analytics.app import build
from analytics.engine import Engine, Row, Session, open_engine
from analytics.settings import Settings
from benchmarks.figures import Figure
from benchmarks.parts import folder
from lyceum_kit.testing import TestKeys, client

TENANTS = 50
EVENTS_EACH = 3  # of an enrolment: enrolled, a module, completed
COURSES = 100
BLOCK = 1_000_000


@dataclass(frozen=True)
class Size:
    rows: int
    many_rows: int
    rounds: int


FULL = Size(rows=1_000_000, many_rows=10_000_000, rounds=15)
SHORT = Size(rows=3_000, many_rows=30_000, rounds=3)

TILES = {
    "headline numbers": "/api/analytics/overview",
    "compliance by department": "/api/analytics/metrics/compliance?by=department",
    "trend of 90 days": "/api/analytics/trend?days=90",
}


class Listening(Engine):
    """Knows what was asked, so that the same can be asked without us."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[tuple[str, Mapping[str, object]]] = []

    async def query(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[Row]:
        self.asked.append((sql, dict(parameters or {})))
        return await super().query(sql, parameters)


async def run(size: Size) -> list[Figure]:
    growth: list[Figure] = []
    layers: list[Figure] = []
    with folder("lyceum-bench-ch-") as path:
        async with _analytics(str(path)) as (engine, http):
            await _fill(engine, 0, size.rows)
            few = {name: (await _tile(engine, http, url, size))[0] for name, url in TILES.items()}
            await _fill(engine, size.rows, size.many_rows)
            for name, url in TILES.items():
                tile, bare = await _tile(engine, http, url, size)
                grown = f"{name}, {size.many_rows:,} rows"
                growth.append(
                    Figure(
                        grown, tile, "ms", 3.5, "at most", few[name], f"{size.rows:,} rows",
                        because="Ten times the rows are read, and then no longer from the caches of a machine that others"
                        " share: 2.8 to 4.2 in runs of two days. Aggregates kept ready would read none of them",
                    )
                )  # fmt: skip
                layers.append(Figure(grown, tile, "ms", 1.3, "at most", bare, "bare SQL"))
    return growth + layers


@asynccontextmanager
async def _analytics(path: str) -> AsyncGenerator[tuple[Listening, httpx.AsyncClient]]:
    settings = Settings.model_validate({"clickhouse_url": f"chdb://{path}"})
    engine, keys = Listening(f"chdb://{path}"), TestKeys()
    await open_engine(engine)
    await schema.migrate(engine)
    service = build(settings, verifier=keys.verifier, engine=engine)
    try:
        async with client(service, token=keys.token(tenant=UUID(int=1), roles=["admin"])) as http:
            yield engine, http
    finally:
        await engine.close()


async def _fill(engine: Engine, first: int, until: int) -> None:
    """Enrolments of TENANTS organisations, and a person for each tenth of their events."""
    for start in range(first, until, BLOCK):
        numbers = f"numbers({start}, {min(BLOCK, until - start)})"
        enrollment = f"intDiv(number, {EVENTS_EACH})"
        tenant = f"toUUID(concat('00000000-0000-0000-0000-', leftPad(toString(1 + {enrollment} % {TENANTS}), 12, '0')))"
        person = f"concat('person-', toString(intDiv({enrollment}, 4)))"
        at = f"toDateTime64('2026-11-24 00:00:00', 6, 'UTC') - toIntervalMinute({enrollment} % 130000)"
        common = f"1 AS generation, 0 AS partition, number + 1 AS position, generateUUIDv7() AS id, {tenant} AS tenant"
        await engine.command(
            "INSERT INTO enrollment_events (generation, partition, position, id, tenant, type, stream,"
            " stream_version, at, occurred_at, decoded, enrollment_id, person_id, course_id, course_version,"
            " cycle, due_at, department, mandatory, module_id, modules_done, on_time, assurance)"
            f" SELECT {common}, ['learner-enrolled', 'module-progressed', 'course-completed'][number % 3 + 1],"
            f" concat('enrollment/', toString({enrollment})), number % 3 + 1, {at}, {at}, 'yes',"
            f" toString({enrollment}), {person}, concat('course-', toString({enrollment} % {COURSES})), 1, 1,"
            f" {at} + toIntervalDay(30), concat('Department ', toString({enrollment} % 40)), 1, 'm', 1, 1,"
            f" 'self-reported' FROM {numbers}"
        )
        await engine.command(
            "INSERT INTO identity_events (generation, partition, position, id, tenant, type, stream,"
            " stream_version, at, occurred_at, decoded, person_id, status, department)"
            f" SELECT {common}, 'user-provisioned', {person}, 1, {at}, {at}, 'yes', {person}, 'active',"
            f" concat('Department ', toString({enrollment} % 40)) FROM {numbers} WHERE number % 12 = 0"
        )
    # What merges leave to do in the background would be in one size's figures and not in the other's.
    for table in ("enrollment_events", "identity_events"):
        await engine.command(f"OPTIMIZE TABLE {table} FINAL")


async def _tile(engine: Listening, http: httpx.AsyncClient, url: str, size: Size) -> tuple[float, float]:
    """Milliseconds of the tile through HTTP and, by turns, of its own statements by the bare client."""
    tiles: list[float] = []
    bares: list[float] = []
    for _ in range(size.rounds):
        engine.asked.clear()
        began = time.perf_counter()
        (await http.get(url)).raise_for_status()
        tiles.append((time.perf_counter() - began) * 1000)
        bares.append(await engine.use("read", partial(_bare, engine.asked)))
    return median(tiles), median(bares)


def _bare(asked: Sequence[tuple[str, Mapping[str, object]]], session: Session) -> float:
    began = time.perf_counter()
    for sql, parameters in asked:
        _ = session.query(sql, parameters=parameters).result_rows
    return (time.perf_counter() - began) * 1000
