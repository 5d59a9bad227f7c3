"""Two replicas of each ledger service behind a balancer, over an installation's own PostgreSQL and Kafka: as in a
cluster, where a new version replaces one replica after the other.

Analytics is one process: its embedded engine belongs to one. The balancer knows what a cluster's knows, /readyz.
"""

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lyceum_kit.serving import HttpServers
from lyceum_kit.settings import KitSettings
from lyceum_local import postgres, supervisor
from lyceum_local.config import Config, port_claims
from lyceum_local.gateway import Gateway, Proxy
from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.supervisor import Part
from lyceum_local.testing import Platform

PROBE = 0.1  # seconds between two looks at a replica's readiness
SILENCE = 3  # probes without an answer, one after the other, until a replica counts as not ready
DRAIN = 1.0


@dataclass
class Replica:
    part: Part
    http_port: int
    logs: Path
    process: subprocess.Popen[bytes] | None = None
    ready: asyncio.Event = field(default_factory=asyncio.Event)

    def start(self) -> None:
        self.ready.clear()
        self.process = supervisor.spawn(self.part, self.logs)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code."""
        assert self.process
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 30)

    async def restart(self, **environment: str) -> None:
        """With what is given in its environment from now on."""
        assert await self.stop() == 0
        self.part = replace(self.part, environment={**self.part.environment, **environment})
        self.start()
        async with asyncio.timeout(120):
            await self.ready.wait()

    async def probe(self) -> None:
        """Until cancelled."""
        url = f"http://127.0.0.1:{self.http_port}/api/{self.part.name.rpartition('-')[0]}/readyz"
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            silent = 0
            while True:
                try:
                    green = (await http.get(url)).status_code == 200
                    silent = 0
                except httpx.TimeoutException:
                    # Busy, as far as anybody can tell: a cluster's probes have a failureThreshold too.
                    silent += 1
                    green = self.ready.is_set() and silent < SILENCE
                except httpx.TransportError:
                    green = False
                self.ready.set() if green else self.ready.clear()
                await asyncio.sleep(PROBE)


class Balanced:
    """Round robin over the replicas that say they are ready. Nothing is tried twice."""

    def __init__(self, replicas: list[Replica]) -> None:
        self._turns = itertools.cycle([(r, Proxy(f"http://127.0.0.1:{r.http_port}")) for r in replicas])
        self._count = len(replicas)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        for replica, proxy in itertools.islice(self._turns, self._count):
            if replica.ready.is_set():
                await proxy(scope, receive, send)
                return
        await PlainTextResponse("No replica is ready.\n", 503, {"retry-after": "1"})(scope, receive, send)


@dataclass
class Cluster:
    services: dict[str, list[Replica]]

    async def ready(self) -> None:
        async with asyncio.timeout(180):
            for replica in itertools.chain(*self.services.values()):
                await replica.ready.wait()


@asynccontextmanager
async def replicated(platform: Platform) -> AsyncGenerator[Cluster]:
    """The platform's parts stop, and run as a cluster until the end; then it is down."""
    platform.down()
    config = platform.config
    with port_claims() as claims:
        for port in config.ports.values():
            # Else another installation takes them, and its services answer for ours.
            assert claims.hold(port), f"port {port} was taken while the parts stopped"
        async with _running(config) as cluster:
            yield cluster


@asynccontextmanager
async def _running(config: Config) -> AsyncGenerator[Cluster]:
    cluster, analytics = _parts(config)
    infrastructure = supervisor.parts(config)[:2]
    running: list[tuple[Part, subprocess.Popen[bytes]]] = []
    tasks: list[asyncio.Task[None]] = []
    front = HttpServers(
        KitSettings(http_host="127.0.0.1"),
        _gateway(config, cluster),
        [config.ports["app"], config.ports["content"]],
    )
    try:
        for part in infrastructure:
            if part.before:
                part.before()
            running.append((part, supervisor.spawn(part, config.data / "logs")))
        await (await postgres.connect(config.postgres_url, patience=60)).close()
        tasks = [asyncio.create_task(front.run())]
        for replica in itertools.chain(*cluster.services.values()):
            replica.start()
            tasks.append(asyncio.create_task(replica.probe()))
        running.append((analytics, supervisor.spawn(analytics, config.data / "logs")))
        await cluster.ready()
        yield cluster
    finally:
        ours = [r for r in itertools.chain(*cluster.services.values()) if r.process]
        await asyncio.gather(*(r.stop() for r in ours))
        front.stop()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for part, process in reversed(running):
            process.send_signal(part.stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 30)


def _parts(config: Config) -> tuple[Cluster, Part]:
    """The replicas, and analytics, each with where the replicas' gRPC is."""
    http = {service: [_free_port(), _free_port()] for service in LEDGER_SERVICES}
    grpc = {service: [_free_port(), _free_port()] for service in LEDGER_SERVICES}
    peers = {
        f"LYCEUM_{service.upper()}_GRPC": "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        for service, ports in grpc.items()
    }

    def part(name: str, service: str, **own: str) -> Part:
        env = supervisor.surroundings() | config.service_env(service) | peers | own
        return Part(name, [sys.executable, "-m", service, "consume"], env)

    def replica(service: str, number: int) -> Replica:
        own = {
            "LYCEUM_HTTP_PORT": str(http[service][number]),
            "LYCEUM_GRPC_PORT": str(grpc[service][number]),
            "LYCEUM_DRAIN_SECONDS": str(DRAIN),
        }
        return Replica(
            part(f"{service}-{number}", service, **own), http[service][number], config.data / "logs"
        )

    return Cluster({s: [replica(s, 0), replica(s, 1)] for s in LEDGER_SERVICES}), part(
        "analytics", "analytics"
    )


def _gateway(config: Config, cluster: Cluster) -> ASGIApp:
    targets: dict[str, ASGIApp | str] = {s: Balanced(r) for s, r in cluster.services.items()}
    targets["analytics"] = f"http://127.0.0.1:{config.http_port('analytics')}"
    return Gateway(
        targets,
        app_origin=config.app_origin,
        content_origin=config.content_origin,
        web=config.data,  # nobody looks at the app here
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
