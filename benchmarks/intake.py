"""Webhooks of HR systems, answered when durable, beside FastAPI with pydantic that checks, decodes and stores nothing."""

import asyncio
import base64
import hashlib
import json
import multiprocessing
import secrets
import time
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel

from benchmarks.figures import Figure, in_turns, percentile
from benchmarks.parts import postgres_server, service_database
from identity import app as identity
from identity.settings import Settings
from identity.signatures import new_secret, sign_standard, verify_standard
from lyceum_kit.service import run_services
from lyceum_kit.testing import client
from lyceum_local.testing import free_port

IN_FLIGHT = 16
OPERATOR = "operator-secret"
ROUNDS = 3


@dataclass(frozen=True)
class Size:
    requests: int
    in_a_listing: int


FULL = Size(requests=3_000, in_a_listing=1_000)
SHORT = Size(requests=64, in_a_listing=20)


class Employee(BaseModel):
    """What the peer decodes: the same fields as ours."""

    external_id: str
    display_name: str = ""
    email: str = ""
    department: str = ""
    location: str = ""
    job_title: str = ""
    manager_external_id: str | None = None
    hire_date: str | None = None
    effective_date: str | None = None
    employment_type: str = ""


class Event(BaseModel):
    type: str
    timestamp: datetime
    data: Employee


@dataclass(frozen=True)
class Door:
    """Where to deliver, and how it is signed."""

    process: psutil.Process
    port: int
    path: str
    secret: str


async def run(size: Size) -> list[Figure]:
    waits: list[float] = []
    used: dict[str, list[float]] = {"ours": [], "peer": []}
    with postgres_server() as server:
        async with _ours(server) as (ours, admin), _peer() as peer:

            async def rate(door: Door, name: str) -> float:
                requests = [_request(door) for _ in range(size.requests)]
                before, began = _cpu(door.process), time.perf_counter()
                took = await _deliver(door.port, requests)
                seconds = time.perf_counter() - began
                used[name].append((_cpu(door.process) - before) / size.requests * 1e6)
                if name == "ours":
                    waits.extend(took)
                return size.requests / seconds

            await rate(peer, "peer")  # connections, imports and caches are warm
            await rate(ours, "ours")
            for warm in (used["ours"], used["peer"], waits):
                warm.clear()
            rates = await in_turns(ROUNDS, lambda: rate(ours, "ours"), lambda: rate(peer, "peer"))
            listings = [await _listing(admin, size) for _ in range(ROUNDS)]
    cpu = {name: sorted(some)[len(some) // 2] for name, some in used.items()}
    peers = "FastAPI, pydantic, no store"
    return [
        Figure(
            f"webhooks, {IN_FLIGHT} in flight", rates[0], "requests/s", 1, "at least", rates[1], peers,
            because="Each message is settled before it is answered: record, person, department, manager, event; those that"
            " come together share their statements and their commit, and of 16 a transaction of a dozen statements is what"
            " takes the time. The peer ends where ours begins. An inbox that only keeps the message would come nearer, and"
            " could not tell HR what became of it",
        ),
        Figure("webhooks, CPU of the server's process", cpu["ours"], "µs", None, "at most", cpu["peer"], peers),
        Figure("webhooks, p99", percentile(waits, 0.99), "ms"),
        Figure(
            f"people in listings of {size.in_a_listing:,}", sorted(listings)[ROUNDS // 2], "people/s", 5,
            "at least", rates[0], "single webhooks",
            because="Webhooks that come at once share their statements and commits by now, as a listing's people do. What is"
            " left is the deciding for each person, and that is the same for both",
        ),
    ]  # fmt: skip


def _person() -> dict[str, Any]:
    n = secrets.token_hex(6)
    return {
        "external_id": n,
        "display_name": f"Person {n}",
        "email": f"{n}@example.test",
        "department": f"Department {int(n, 16) % 40}",
        "location": "Berlin",
        "job_title": "Nurse",
        "hire_date": "2024-05-02",
        "employment_type": "employee",
    }


def _request(door: Door) -> bytes:
    now = datetime.now(UTC)
    body = json.dumps({"type": "person.created", "timestamp": now.isoformat(), "data": _person()}).encode()
    headers = {
        **sign_standard(door.secret, f"msg_{secrets.token_hex(8)}", now, body),
        "host": "127.0.0.1",
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST {door.path} HTTP/1.1\r\n{head}\r\n".encode() + body


async def _deliver(port: int, requests: Sequence[bytes]) -> list[float]:
    """Over kept connections, each with one request under way; milliseconds of each. Bare sockets: the client shares
    the machine, and must not be what is measured."""
    waiting, took = iter(requests), list[float]()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for request in waiting:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 20"), head + await reader.read(500)
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            took.append((time.perf_counter() - began) * 1000)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(IN_FLIGHT)))
    return took


async def _listing(admin: httpx.AsyncClient, size: Size) -> float:
    """People a second of a full listing, as PUT by an HR system."""
    listing = {"complete": False, "people": [_person() for _ in range(size.in_a_listing)]}
    began = time.perf_counter()
    (await admin.put("/api/identity/hris/snapshot", json=listing)).raise_for_status()
    return size.in_a_listing / (time.perf_counter() - began)


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


# Servers, in processes of their own


@asynccontextmanager
async def _ours(server: str) -> AsyncGenerator[tuple[Door, httpx.AsyncClient]]:
    """Identity as a process of its own with one organisation and its HR system's endpoint, and a client that may list."""
    database = await service_database(server, "identity")
    port = free_port()
    origin = f"http://127.0.0.1:{port}"
    values: dict[str, Any] = {
        "edition": "local",
        "database_url": database.app_url,
        "http_host": "127.0.0.1",
        "http_port": port,
        "grpc_host": "127.0.0.1",
        "grpc_port": free_port(),
        "app_origin": origin,
        "drain_seconds": 0,
        "log_level": "ERROR",
        "identity_secret_key": base64.b64encode(secrets.token_bytes(32)).decode(),
        "identity_service_clients": {"operator": hashlib.sha256(OPERATOR.encode()).hexdigest()},
    }
    service = identity.build(Settings.model_validate(values))
    assert service.ledger
    async with client(service) as http:
        for start in service.on_start:
            await start()
        operator = await _token(http)
        body: dict[str, Any] = {
            "slug": "acme",
            "name": "Acme",
            "time_zone": "UTC",
            "admin": {"display_name": "Robin"},
        }
        made = await http.post("/api/identity/tenants", headers=operator, json=body)
        tenant = made.raise_for_status().json()["tenant_id"]
        admin = await _token(http, tenant)
        body = {"form": "standard", "name": "HR"}
        hook: dict[str, str] = (
            (await http.post("/api/identity/webhooks", headers=admin, json=body)).raise_for_status().json()
        )
    await service.ledger.close()
    with _process(_serve_ours, values) as process:
        await _listening(port)
        async with httpx.AsyncClient(base_url=origin, headers=admin, timeout=120, trust_env=False) as http:
            yield Door(process, port, str(urlsplit(hook["url"]).path), hook["secret"]), http


async def _token(http: httpx.AsyncClient, tenant: str = "") -> dict[str, str]:
    form = {"grant_type": "client_credentials", "client_id": "operator", "client_secret": OPERATOR}
    if tenant:
        form["tenant"] = tenant
    answer = (await http.post("/api/identity/token", data=form)).raise_for_status()
    return {"authorization": f"Bearer {answer.json()['access_token']}"}


@asynccontextmanager
async def _peer() -> AsyncGenerator[Door]:
    port, secret = free_port(), new_secret("standard")
    with _process(_serve_peer, port, secret) as process:
        await _listening(port)
        yield Door(process, port, "/webhook", secret)


def _serve_ours(values: dict[str, Any]) -> None:
    asyncio.run(run_services([identity.build(Settings.model_validate(values))], consume=False))


def _serve_peer(port: int, secret: str) -> None:
    app = FastAPI()

    @app.post("/webhook")
    async def receive(request: Request, event: Event) -> dict[str, str]:
        verify_standard(request.headers, await request.body(), [secret], datetime.now(UTC))
        return {"result": event.type}

    _ = receive
    uvicorn.run(app, host="127.0.0.1", port=port, log_config=None, access_log=False)


@contextmanager
def _process(target: Any, *args: Any) -> Generator[psutil.Process]:
    process = multiprocessing.get_context("spawn").Process(target=target, args=args, daemon=True)
    process.start()
    try:
        assert process.pid
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.join()


async def _listening(port: int) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            writer.close()
            return
