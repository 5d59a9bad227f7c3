"""A running identity over a real database, with a clock that tests move."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
from google.protobuf.message import Message
from pydantic import SecretStr
from sqlalchemy import text

from identity.app import build
from identity.settings import Settings
from identity.signatures import sign_standard
from identity.vault import Vault
from lyceum_kit.service import Service
from lyceum_kit.testing import client
from lyceum_kit.timers import Timers

OPERATOR_SECRET = "operator-secret"
SECRET_KEY = base64.b64encode(b"k" * 32).decode()
ORIGIN = "http://127.0.0.1:8080"


class Clock:
    """Real time, plus what a test adds."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class StubHris:
    """An HR system as BambooHR is one: employees by id, behind an API key."""

    def __init__(self) -> None:
        self.employees: dict[str, dict[str, Any]] = {}
        self.down = False
        self.asked: list[httpx.Request] = []

    def client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        expected = "Basic " + base64.b64encode(b"bamboo-key:x").decode()
        if self.down:
            return httpx.Response(503)
        if request.headers.get("authorization") != expected:
            return httpx.Response(401)
        employee = self.employees.get(request.url.path.rpartition("/")[2])
        return httpx.Response(200, json=employee) if employee else httpx.Response(404)


@dataclass
class Hook:
    endpoint_id: str
    path: str
    secret: str


@dataclass
class World:
    """Identity, one tenant, and its HR system."""

    service: Service
    http: httpx.AsyncClient
    clock: Clock
    hris: StubHris
    operator: dict[str, str]
    tenant: UUID = field(default=UUID(int=0))
    slug: str = ""
    admin_link: str = ""
    admin: dict[str, str] = field(default_factory=dict[str, str])
    sent: int = 0

    @property
    def vault(self) -> Vault:
        return Vault(SecretStr(SECRET_KEY))

    async def found(self, slug: str) -> "World":
        """Another tenant of the same platform, with its administrator signed in."""
        answer = await self.http.post(
            "/api/identity/tenants",
            headers=self.operator,
            json={
                "slug": slug,
                "name": slug.title(),
                "time_zone": "Europe/Berlin",
                "admin": {"display_name": "Root of " + slug, "email": f"root@{slug}.example"},
            },
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()
        world = World(self.service, self.http, self.clock, self.hris, self.operator)
        world.tenant, world.slug, world.admin_link = UUID(made["tenant_id"]), slug, made["admin_link"]
        world.admin = await world.token("operator", OPERATOR_SECRET, tenant=made["tenant_id"])
        return world

    async def later(self, ahead: timedelta) -> None:
        """Time passes; tokens expire, so the administrator gets a new one."""
        self.clock.ahead += ahead
        self.operator = await self.token("operator", OPERATOR_SECRET)
        self.admin = await self.token("operator", OPERATOR_SECRET, tenant=str(self.tenant))

    async def token(self, client_id: str, secret: str, **extra: str) -> dict[str, str]:
        answer = await self.http.post(
            "/api/identity/token",
            data={
                "grant_type": "client_credentials",
                "client_id": client_id,
                "client_secret": secret,
                **extra,
            },
        )
        assert answer.status_code == 200, answer.text
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    async def hook(self, **config: str) -> Hook:
        form = "bamboohr" if "api_key" in config else "standard"
        answer = await self.http.post(
            "/api/identity/webhooks",
            headers=self.admin,
            json={"form": form, "name": "HR", "config": config},
        )
        assert answer.status_code == 201, answer.text
        made = answer.json()
        return Hook(made["endpoint_id"], made["url"].removeprefix(ORIGIN), made["secret"])

    async def send(
        self, hook: Hook, body: bytes | dict[str, Any], *, webhook_id: str = "", secret: str = ""
    ) -> httpx.Response:
        self.sent += 1
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        signed = sign_standard(secret or hook.secret, webhook_id or f"msg_{self.sent}", self.clock(), raw)
        return await self.http.post(hook.path, content=raw, headers=signed)

    def event(self, kind: str, external_id: str, **data: Any) -> dict[str, Any]:
        """A message of the HR system, said now."""
        if kind != "terminated":
            data = {"display_name": f"Person {external_id}", "department": "Engineering", **data}
        timestamp = data.pop("timestamp", self.clock().isoformat())
        return {
            "type": f"person.{kind}",
            "timestamp": timestamp,
            "data": {"external_id": external_id, **data},
        }

    async def events(self) -> list[Message]:
        """All of the tenant's events, stream by stream."""
        assert self.service.ledger
        ledger = self.service.ledger
        async with ledger.read(self.tenant) as conn:
            rows = await conn.execute(
                text("SELECT type, data FROM events WHERE tenant = :tenant ORDER BY id, stream, version"),
                {"tenant": self.tenant},
            )
            return [ledger.feed.messages[row.type].FromString(row.data) for row in rows]

    async def names(self, *, skip: int = 0) -> list[str]:
        return [type(e).__name__ for e in (await self.events())[skip:]]

    async def person(self, external_id: str) -> dict[str, Any]:
        """A person of this tenant as its administrator sees one."""
        answer = await self.http.get(
            "/api/identity/people", headers=self.admin, params={"include_terminated": True, "limit": 200}
        )
        for item in answer.json()["items"]:
            found = await self.http.get(f"/api/identity/people/{item['person_id']}", headers=self.admin)
            if found.json()["external_id"] == external_id:
                return found.json()
        raise LookupError(external_id)

    async def run_timers(self) -> None:
        assert self.service.ledger
        timers = Timers(self.service.ledger, self.service.timers)
        await timers.run_due()


@pytest.fixture
async def world(database: Callable[[str], Awaitable[Any]]) -> AsyncIterator[World]:
    """A platform with the tenant `acme`."""
    urls = await database("identity")
    settings = Settings.model_validate(
        {
            "edition": "local",
            "database_url": urls.app_url,
            "app_origin": ORIGIN,
            "identity_secret_key": SECRET_KEY,
            "identity_service_clients": {
                "operator": hashlib.sha256(OPERATOR_SECRET.encode()).hexdigest(),
                "enrollment": hashlib.sha256(b"enrollment-secret").hexdigest(),
            },
        }
    )
    clock, stub = Clock(), StubHris()
    service = build(settings, clock=clock, hris_client=stub.client)
    assert service.ledger
    async with client(service) as http:
        http.base_url = httpx.URL(ORIGIN)
        platform = World(service, http, clock, stub, {})
        platform.operator = await platform.token("operator", OPERATOR_SECRET)
        yield await platform.found("acme")
    await service.ledger.close()
