"""Two organisations on one platform: neither learns anything of the other, not even by how it is refused."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import grpc.aio
import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from lyceum_kit import db
from lyceum_local import postgres
from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.surface import Operation, Rpc, operations, rpcs
from lyceum_local.testing import Platform

# Where the other organisation's ids are known by design.
OPEN = {
    "GET /api/identity/personas",  # of the local edition: everybody, to choose whom to be
    "POST /api/identity/sessions",
    "/lyceum.assessment.v1.AssessmentService/VerifyCertificate",  # whoever has the number may check it
}
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SECRET = re.compile(r"(lyc|lys|whsec)_[\w+/=-]+")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)?")


@dataclass(frozen=True)
class Stranger:
    """Somebody of another organisation, and how they ask. Who may do everything there asks everything."""

    http: httpx.AsyncClient
    mighty: bool

    @property
    def token(self) -> str:
        return self.http.headers["authorization"].removeprefix("Bearer ")


@pytest.fixture
async def strangers(platform: Platform) -> AsyncIterator[list[Stranger]]:
    """Another organisation's API client, and one of its managers, who has views of their own."""
    tenant = platform.tenant()
    people = [
        {"external_id": n, "display_name": f"Stranger {n}", "manager_external_id": None if n == "1" else "1"}
        for n in "12"
    ]
    async with platform.api(tenant) as api:
        taken = await api.put("/api/identity/hris/snapshot", json={"complete": False, "people": people})
        taken.raise_for_status()
        found = (await api.get("/api/identity/people", params={"search": "Stranger 1"})).json()["items"]
        async with platform.as_person(found[0]["person_id"]) as manager:
            assert (await manager.get("/api/identity/me")).json()["roles"] == ["learner", "manager"]
            yield [Stranger(api, mighty=True), Stranger(manager, mighty=False)]


@dataclass(frozen=True)
class Theirs:
    """What the other organisation has, by its id; and for each an id of the same form that nobody has."""

    pairs: Mapping[str, str]
    parked: Mapping[str, str]
    counted: Mapping[str, str]

    def of(self, place: str) -> Mapping[str, str]:
        """Those to ask a route or an RPC for. Analytics' questions take long: only for what it knows by an id."""
        if "/parked/" in place:
            return self.parked
        return self.counted if "analytics" in place else self.pairs


@pytest.fixture
async def theirs(platform: Platform, organisation: Any) -> Theirs:
    def pairs(values: Iterable[str]) -> dict[str, str]:
        return {value: unknown_like(value) for value in values}

    ids: dict[str, str] = organisation.ids
    parked = [await park(platform, service, ids["tenant"]) for service in LEDGER_SERVICES]
    return Theirs(pairs(ids.values()), pairs(parked), pairs(ids[name] for name in ("course", "department")))


def unknown_like(value: str) -> str:
    if value.isdigit():
        return str(int(value) + 10**9)
    if _ID.fullmatch(value):
        return str(uuid4())
    # A slug, a name, a client's id: with another number in it.
    return re.sub(r"[0-9a-f]{8,}", lambda m: uuid4().hex[: len(m[0])], value)


async def park(platform: Platform, service: str, tenant: str) -> str:
    """Set an event of that tenant aside, as a consumer would that cannot handle it."""
    async with superuser(platform, service).begin() as conn:
        n = await conn.scalar(
            text(
                "INSERT INTO parked (n, consumer, feed, partition, position, generation, kind, tenant, key, event_id, type,"
                " header_names, header_values, body, reason, tries) OVERRIDING SYSTEM VALUE VALUES (:n, :service, 'identity', 0, 0, 0, 'failed',"
                " :tenant, 'person/1', '1', '', '{}', '{}', '', 'a secret reason', 5) RETURNING n"
            ),
            {"n": secrets.randbelow(10**15) + 10**15, "service": service, "tenant": tenant},
        )
    return str(n)


def superuser(platform: Platform, service: str) -> AsyncEngine:
    return db.make_engine(postgres.with_database(platform.config.postgres_url, service))


def told(asked: str, status: object, body: str, others: Iterable[str]) -> str:
    """An answer without what may differ between two strange ids. Nothing else of the others may be in it."""
    text = body.replace(asked, "<asked>") if asked else body
    leaked = [other for other in others if other in text]
    assert not leaked, f"{body} tells of {leaked}"
    for made, name in ((_ID, "<id>"), (_SECRET, "<secret>"), (_TIME, "<time>")):
        text = made.sub(name, text)
    return f"{status} {text}"


async def asked(http: httpx.AsyncClient, operation: Operation, value: str, others: Iterable[str]) -> str:
    answer = await http.request(
        operation.method, operation.url(value), params=operation.query(value), json=operation.example(value)
    )
    assert answer.status_code < 500, (operation.name, value, answer.text)
    return told(value, answer.status_code, answer.text, others)


async def test_no_route_tells_another_organisations_ids_from_unknown_ones(
    platform: Platform, strangers: Sequence[Stranger], theirs: Theirs
) -> None:
    few = asyncio.Semaphore(8)

    async def compare(known: str, unknown: str, http: httpx.AsyncClient, operation: Operation) -> None:
        async with few:
            first = await asked(http, operation, known, theirs.pairs)
            second = await asked(http, operation, unknown, theirs.pairs)
        assert first == second, (operation.name, known)

    everything = [o for o in await operations(platform) if o.name not in OPEN]
    naming = [o for o in everything if o.path != o.url("") or o.query("") or o.body]
    for stranger in strangers:
        for operation in everything:
            if operation not in naming:  # first, while nothing is called by a name that is asked for below
                await asked(stranger.http, operation, "", theirs.pairs)
        for operation in naming:
            if stranger.mighty or await is_for(stranger, operation):
                pairs = theirs.of(operation.path).items()
                await asyncio.gather(*(compare(*ids, stranger.http, operation) for ids in pairs))


async def is_for(stranger: Stranger, operation: Operation) -> bool:
    """Whether it refuses them whatever they ask for."""
    answer = await stranger.http.request(
        operation.method, operation.url(str(uuid4())), json=operation.example(str(uuid4()))
    )
    return answer.status_code != 403


async def test_no_rpc_tells_another_organisations_ids_from_unknown_ones(
    platform: Platform, strangers: Sequence[Stranger], theirs: Theirs
) -> None:
    few = asyncio.Semaphore(4)  # as many questions as the analytics engine takes at once

    async def ask(rpc: Rpc, channel: grpc.aio.Channel, value: str, token: str) -> str:
        code, detail, got = await rpc.call(channel, rpc.request(value), token)
        return told(value, code, f"{detail} {[MessageToJson(m) for m in got]}", theirs.pairs)

    async def compare(known: str, unknown: str, rpc: Rpc, channel: grpc.aio.Channel, token: str) -> None:
        async with few:
            first = await ask(rpc, channel, known, token)
            assert first == await ask(rpc, channel, unknown, token), (rpc.name, known)

    for rpc in await rpcs(platform.config):
        if rpc.name in OPEN:
            continue
        async with grpc.aio.insecure_channel(rpc.address) as channel:
            for stranger in strangers:
                pairs = theirs.of(rpc.name).items()
                await asyncio.gather(*(compare(*ids, rpc, channel, stranger.token) for ids in pairs))
