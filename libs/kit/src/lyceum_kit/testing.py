"""For tests of services: tokens, an HTTP client without a network, spans in memory, the contracts' examples."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import httpx
from fastapi import FastAPI
from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import lyceum
from lyceum_kit import telemetry
from lyceum_kit.service import Service
from lyceum_kit.tokens import EVERY_TENANT, Caller, Keys, Kind, Verifier, sign_token

M = TypeVar("M", bound=Message)

ISSUER = "lyceum"
EXAMPLES = Path(lyceum.__file__).parents[2] / "examples"  # of the checkout


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


def example(kind: type[M]) -> M:
    """What proto/examples shows of a message: producer and consumers are tested with the same one."""
    file = EXAMPLES / f"{kind.DESCRIPTOR.full_name}.json"
    return json_format.Parse(file.read_text(encoding="utf-8"), kind())


def filled(*messages: Message) -> set[str]:
    """The fields with which these messages say something: "person_id", "job.department"."""
    found: set[str] = set()
    for message in messages:
        for field, value in message.ListFields():
            if field.message_type and field.message_type.full_name != "google.protobuf.Timestamp":
                parts = value if field.is_repeated else [value]
                found |= {f"{field.name}.{inner}" for inner in filled(*parts)}
            else:
                found.add(field.name)
    return found


def unlike_examples(events: Iterable[Message]) -> dict[str, set[str]]:
    """By type, the fields that the example shows and none of these events fills, or the other way round."""
    by_type: dict[type[Message], list[Message]] = {}
    for event in events:
        by_type.setdefault(type(event), []).append(event)
    found = {kind: filled(example(kind)) ^ filled(*some) for kind, some in by_type.items()}
    return {kind.DESCRIPTOR.name: fields for kind, fields in found.items() if fields}
