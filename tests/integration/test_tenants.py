"""Two organisations on one platform: neither learns anything of the other, not even by how it is refused."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import grpc.aio
import httpx
import pytest
from google.protobuf.json_format import MessageToJson

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


@pytest.fixture
async def strangers(platform: Platform) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Another organisation's API client, who may do everything there, and one of its managers."""
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
            yield [api, manager]


@dataclass(frozen=True)
class Alike:
    """Ids of one form that the other organisation has, and one that nobody has."""

    theirs: Sequence[str]
    nobodys: str


@dataclass(frozen=True)
class Theirs:
    """What the other organisation has."""

    all: Sequence[Alike]
    parked: Sequence[Alike]
    counted: Sequence[Alike]

    def of(self, place: str) -> Sequence[Alike]:
        """What to ask a route or an RPC for. Analytics' questions take long: only for what it knows by an id."""
        if "/parked/" in place:
            return self.parked
        return self.counted if "analytics" in place else self.all

    @property
    def names(self) -> list[str]:
        return [name for alike in self.all for name in alike.theirs]


@pytest.fixture
async def theirs(platform: Platform, organisation: Any) -> Theirs:
    ids: dict[str, str] = organisation.ids
    random = [value for value in ids.values() if _ID.fullmatch(value)]
    others = [Alike([value], unknown_like(value)) for value in ids.values() if not _ID.fullmatch(value)]
    parked = [await park(platform, service, ids["tenant"]) for service in LEDGER_SERVICES]
    return Theirs(
        all=[Alike(random, str(uuid4())), *others],
        parked=[Alike(parked, str(10**16))],
        counted=[Alike([ids["course"], ids["person"]], str(uuid4()))],
    )


def unknown_like(name: str) -> str:
    """A slug, a name or a client's id with another number in it."""
    return re.sub(r"[0-9a-f]{8,}", lambda m: uuid4().hex[: len(m[0])], name)


async def park(platform: Platform, service: str, tenant: str) -> str:
    """Set an event of that tenant aside, as a consumer would that cannot handle it."""
    n = secrets.randbelow(10**15) + 10**15
    connection = await asyncpg.connect(postgres.with_database(platform.config.postgres_url, service))
    await connection.execute(
        "INSERT INTO parked (n, consumer, feed, partition, position, generation, kind, tenant, key, event_id, type,"
        " header_names, header_values, body, reason, tries) OVERRIDING SYSTEM VALUE"
        " VALUES ($1, $2, 'identity', 0, 0, 0, 'failed', $3, 'person/1', '1', '', '{}', '{}', '', 'a secret', 5)",
        n,
        service,
        tenant,
    )
    await connection.close()
    return str(n)


def told(asked: str, status: object, body: str, others: Iterable[str]) -> str:
    """An answer without what may differ between two strange ids. Nothing else of the others may be in it."""
    text = body.replace(asked, "<asked>") if asked else body
    leaked = [other for other in others if other in text]
    assert not leaked, f"{body} tells of {leaked}"
    for made, name in ((_ID, "<id>"), (_SECRET, "<secret>"), (_TIME, "<time>")):
        text = made.sub(name, text)
    return f"{status} {text}"


async def compare(what: str, ask: Callable[[str], Awaitable[str]], some: Sequence[Alike]) -> None:
    """Whoever asks hears of the others' what they hear of nobody's. Who may not ask at all hears that at once."""
    for alike in some:
        expected = await ask(alike.nobodys)
        if expected.startswith(("403 ", str(grpc.StatusCode.PERMISSION_DENIED))):
            return
        for known, answer in zip(alike.theirs, await asyncio.gather(*map(ask, alike.theirs)), strict=True):
            assert answer == expected, (what, known)


async def test_no_route_tells_another_organisations_ids_from_unknown_ones(
    platform: Platform, strangers: Sequence[httpx.AsyncClient], theirs: Theirs
) -> None:
    few, names, asked = asyncio.Semaphore(8), theirs.names, 0
    everything = [o for o in await operations(platform) if o.name not in OPEN]
    naming = [o for o in everything if o.path != o.url("") or o.query("") or o.body]
    # First those that list, while nothing is called by a name that is asked for below.
    for operation in [*(o for o in everything if o not in naming), *naming]:
        for http in strangers:

            async def ask(value: str, http: httpx.AsyncClient = http, on: Operation = operation) -> str:
                nonlocal asked
                asked += 1
                async with few:
                    answer = await http.request(
                        on.method, on.url(value), params=on.query(value), json=on.example(value)
                    )
                assert answer.status_code < 500, (on.name, value, answer.text)
                return told(value, answer.status_code, answer.text, names)

            if operation in naming:
                await compare(operation.name, ask, theirs.of(operation.path))
            else:
                await ask("")
    assert asked > 1000


async def test_no_rpc_tells_another_organisations_ids_from_unknown_ones(
    platform: Platform, strangers: Sequence[httpx.AsyncClient], theirs: Theirs
) -> None:
    few, names = asyncio.Semaphore(4), theirs.names  # as many questions as the analytics engine takes at once
    for rpc in await rpcs(platform.config):
        if rpc.name in OPEN:
            continue
        async with grpc.aio.insecure_channel(rpc.address) as channel:
            for http in strangers:
                token = http.headers["authorization"].removeprefix("Bearer ")

                async def ask(value: str, rpc: Rpc = rpc, channel: Any = channel, token: str = token) -> str:
                    async with few:
                        code, detail, got = await rpc.call(channel, rpc.request(value), token)
                    return told(value, code, f"{detail} {[MessageToJson(m) for m in got]}", names)

                await compare(rpc.name, ask, theirs.of(rpc.name))
