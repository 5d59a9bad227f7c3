"""For tests of services: tokens, an HTTP client without a network, spans in memory."""

from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

import httpx
from fastapi import FastAPI
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lyceum_kit import telemetry
from lyceum_kit.service import Service
from lyceum_kit.tokens import EVERY_TENANT, Caller, Keys, Kind, Verifier, sign_token

ISSUER = "lyceum"


class TestKeys:
    """An issuer of its own, whose tokens `verifier` accepts."""

    __test__ = False  # pytest: not a class of tests

    def __init__(self, issuer: str = ISSUER) -> None:
        self.keys = Keys.generate()
        self.issuer = issuer
        self.verifier = Verifier.from_keys(self.keys, issuer)

    def token(
        self,
        *,
        tenant: UUID | str = "*",
        subject: UUID | str = "tester",
        roles: Iterable[str] = (),
        kind: Kind = "person",
        lifetime: timedelta = timedelta(minutes=5),
    ) -> str:
        """`tenant="*"` is every tenant, as services and operators have it."""
        where = EVERY_TENANT if tenant == "*" else UUID(str(tenant))
        who = Caller(where, str(subject), frozenset(roles), kind)
        return sign_token(self.keys, who, issuer=self.issuer, lifetime=lifetime)

    def headers(
        self,
        *,
        tenant: UUID | str = "*",
        subject: UUID | str = "tester",
        roles: Iterable[str] = (),
        kind: Kind = "person",
    ) -> dict[str, str]:
        token = self.token(tenant=tenant, subject=subject, roles=roles, kind=kind)
        return {"Authorization": f"Bearer {token}"}


class FixedToken:
    """A TokenSource for `Peers` that always has this token."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, tenant: UUID | None) -> str:  # noqa: ARG002
        return self._token

    async def close(self) -> None:
        """Holds nothing."""


def client(service: Service | FastAPI, *, token: str = "") -> httpx.AsyncClient:
    """Straight into the app. Use it in `async with`."""
    app = service.http if isinstance(service, Service) else service
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://testserver",
        headers={"Authorization": f"Bearer {token}"} if token else {},
    )


def spans() -> InMemorySpanExporter:
    """Collects what ends from now on, in this process."""
    exporter = InMemorySpanExporter()
    telemetry.provider_of("test").add_span_processor(SimpleSpanProcessor(exporter))
    return exporter
