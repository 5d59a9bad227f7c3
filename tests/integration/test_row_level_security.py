"""The net under the filters: where a query forgets its tenant, PostgreSQL still shows nothing of the others."""

import importlib
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import Column, MetaData, Table, Uuid, event, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from lyceum_kit import db
from lyceum_kit.testing import client
from lyceum_local import postgres
from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.surface import Operation, operations
from lyceum_local.testing import Platform

# Tables with a tenant that are read before the tenant is known, or for all tenants at once.
OUTSIDE = {
    *((s, t) for s in LEDGER_SERVICES for t in ("timers", "parked")),
    ("assessment", "launches"),
    ("assessment", "certificate_directory"),
}
_GUARDED = text(
    "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AND EXISTS"
    " (SELECT FROM pg_policies p WHERE p.tablename = c.relname) AS guarded"
    " FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant'"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm') AND c.relnamespace = 'public'::regnamespace"
)
EVENTS = Table("events", MetaData(), Column("tenant", Uuid))
# An index that is unique over all tenants would say "duplicate" of a row that its asker cannot see.
_ORACLES = text(
    "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid"
    " WHERE i.indisunique AND t.relrowsecurity AND NOT EXISTS (SELECT FROM pg_attribute a"
    " WHERE a.attrelid = t.oid AND a.attname = 'tenant' AND a.attnum = ANY(i.indkey))"
)
_POWERS = text("SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = ANY(:roles)")
_DEFINERS = text("SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace")


def url(platform: Platform, service: str, *, mighty: bool = False) -> str:
    """Of the service's database, as the service; or as a superuser, whom row-level security does not stop."""
    config = platform.config
    server = postgres.with_database(config.postgres_url, service)
    return (
        server
        if mighty
        else server.replace(
            f"postgres:{config.secrets.postgres}@", f"{service}:{config.secrets.databases[service]}@"
        )
    )


@asynccontextmanager
async def connected(platform: Platform, service: str, *, mighty: bool = False) -> AsyncGenerator[AsyncEngine]:
    engine = db.make_engine(url(platform, service, mighty=mighty), pool=2)
    yield engine
    await engine.dispose()


_FILTER = re.compile(r"(?<![.\w])((?:\w+\.)?tenant) = (\$\d+(?:::\w+)?)")


class Stripped:
    """Takes every filter by tenant out of an engine's statements; joins stay. `seen`: the tables they were on."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.seen: set[str] = set()
        event.listen(engine.sync_engine, "before_cursor_execute", self._strip, retval=True)

    def _strip(self, _conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        def passes(found: re.Match[str]) -> str:
            self.seen.add(found[1])
            return f"({found[2]} IS NOT NULL)"  # keeps the parameter, and its type

        return _FILTER.sub(passes, statement), parameters


def tables(service: str) -> list[Table]:
    """Those of its own that are under row-level security."""
    found: Mapping[str, Table] = importlib.import_module(f"{service}.tables").metadata.tables
    return [t for t in found.values() if "tenant" in t.c and (service, t.name) not in OUTSIDE]


@pytest.mark.parametrize("service", LEDGER_SERVICES)
async def test_every_table_with_a_tenant_is_under_forced_row_level_security(
    platform: Platform, service: str
) -> None:
    async with connected(platform, service, mighty=True) as engine, engine.connect() as conn:
        rows = (await conn.execute(_GUARDED)).all()
        assert {(service, r.relname) for r in rows if not r.guarded} == {
            o for o in OUTSIDE if o[0] == service
        }
        assert {t.name for t in tables(service)} | {"events"} == {r.relname for r in rows if r.guarded}
        # Events' ids are made here, and random: nobody can try another's.
        assert set((await conn.execute(_ORACLES)).scalars()) == {"events_id_key"}
        assert set((await conn.execute(_POWERS, {"roles": [service, f"{service}_owner"]})).scalars()) == {
            False
        }
        assert list((await conn.execute(_DEFINERS)).scalars()) == []


# Rows that come and go, or come after a while: one of each, of an organisation that is none.
_SELDOM = {
    "assessment": (
        "INSERT INTO waiting_completions VALUES (gen_random_uuid(), 'e', 'c', 1, '')",
        "INSERT INTO log_checkpoints VALUES (gen_random_uuid(), 1, '', '', now())",
        "INSERT INTO log_keys VALUES (gen_random_uuid(), '', '', '')",
    )
}


@pytest.mark.parametrize("service", LEDGER_SERVICES)
async def test_a_query_without_its_filter_finds_nothing_of_others(
    platform: Platform, organisation: Any, service: str
) -> None:
    """The control: without row-level security the same query finds rows of others in every table."""
    ours = UUID(platform.tenant().tenant_id)
    async with connected(platform, service, mighty=True) as engine, engine.begin() as conn:
        for statement in _SELDOM.get(service, ()):
            await conn.execute(text(statement))
    for mighty in (False, True):
        async with connected(platform, service, mighty=mighty) as engine:
            stripped = Stripped(engine)
            for tenant in (*(t.c.tenant for t in tables(service)), EVENTS.c.tenant):
                async with engine.connect() as conn:
                    await db.set_tenant(conn, ours)
                    found = set((await conn.execute(select(tenant).where(tenant == ours))).scalars())
                assert str(tenant) in stripped.seen
                assert bool(found - {ours}) is mighty, str(tenant)


@asynccontextmanager
async def serving(
    platform: Platform, service: str, monkeypatch: pytest.MonkeyPatch, *, mighty: bool
) -> AsyncGenerator[tuple[httpx.AsyncClient, Stripped]]:
    """The service in this process over the platform's database, without a single filter by tenant."""
    for variable, value in platform.config.service_env(service).items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("LYCEUM_DATABASE_URL", url(platform, service, mighty=mighty))
    settings = importlib.import_module(f"{service}.settings").Settings()
    built = importlib.import_module(f"{service}.app").build(settings)
    stripped = Stripped(built.ledger.engine)
    async with client(built) as http:
        yield http, stripped
    await built.peers.close()
    await built.ledger.close()


@pytest.mark.parametrize("service", LEDGER_SERVICES)
async def test_a_service_without_its_filters_tells_nothing_of_others(
    platform: Platform, organisation: Any, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every route that only reads, for every id of the other organisation. The control does so as a superuser."""
    everything = await operations(platform)
    reading = [
        o
        for o in everything
        if o.method == "GET" and f"/api/{service}/" in o.path and "/system/" not in o.path
    ]
    ids: dict[str, str] = organisation.ids
    async with platform.api(platform.tenant()) as api:
        token = api.headers["authorization"]
        for mighty in (False, True):
            async with serving(platform, service, monkeypatch, mighty=mighty) as (http, stripped):
                leak, broken = await first_leak(http, token, reading, ids)
                assert bool(leak) is mighty, leak
                # The control ends at its first leak; and where one row is asked for, it may find several.
                assert mighty or (not broken and len(stripped.seen) > 1), (broken, stripped.seen)


async def first_leak(
    http: httpx.AsyncClient, token: str, reading: list[Operation], ids: Mapping[str, str]
) -> tuple[str, list[str]]:
    """An answer with something of the other organisation in it that was not asked for; and those that failed."""
    broken: list[str] = []
    for operation in reading:
        named = operation.path != operation.url("") or operation.query("")
        for value in ids.values() if named else [""]:
            answer = await http.get(
                operation.url(value), params=operation.query(value), headers={"authorization": token}
            )
            said = f"{operation.name} {value} {answer.text}"
            if answer.status_code >= 500:
                broken.append(said)
            elif any(
                other in (answer.text.replace(value, "") if value else answer.text) for other in ids.values()
            ):
                return said, broken
    return "", broken
