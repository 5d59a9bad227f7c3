"""Two replicas of each ledger service behind a balancer, over an installation's own PostgreSQL and Kafka: as in a
cluster, where a new version replaces one replica after the other.

Analytics is one process: its embedded engine belongs to one. The balancer knows what a cluster's knows, /readyz.
"""

import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field, replace
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
from lyceum_local.testing import Platform, free_port
from lyceum_local.testing.audit import audit
from lyceum_local.testing.load import Load, prepare
from lyceum_local.testing.tls_kafka import Users

PROBE = 0.1  # seconds between two looks at a replica's readiness
SILENCE = 3  # probes without an answer, one after the other, until a replica counts as not ready
DRAIN = 2.0  # a busy machine answers a probe late


@dataclass
class Server:
    part: Part
    logs: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.part.before:
            self.part.before()
        self.process = supervisor.spawn(self.part, self.logs)

    async def stop(self, number: signal.Signals | None = None) -> int:
        """Its exit code."""
        assert self.process
        self.process.send_signal(number or self.part.stop)
        return await asyncio.to_thread(self.process.wait, 30)


@dataclass
class Replica(Server):
    _: KW_ONLY
    http_port: int
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    told: str = ""  # by the last probe

    def start(self) -> None:
        self.ready.clear()
        super().start()

    async def restart(self, **environment: str) -> None:
        """With what is given in its environment from now on."""
        assert await self.stop() == 0
        self.part = replace(self.part, environment={**self.part.environment, **environment})
        self.start()
        await self.come_up(120)

    async def come_up(self, seconds: float) -> None:
        """Raises TimeoutError with all that is known of why not."""
        try:
            async with asyncio.timeout(seconds):
                await self.ready.wait()
        except TimeoutError as e:
            code = self.process.poll() if self.process else None
            log = (self.logs / f"{self.part.name}.log").read_text(errors="replace")
            raise TimeoutError(
                f"{self.part.name} is not ready: {self.told or 'not asked'}; exit code {code}\n{log[-4000:]}"
            ) from e

    async def probe(self) -> None:
        """Until cancelled."""
        url = f"http://127.0.0.1:{self.http_port}/api/{self.part.name.rpartition('-')[0]}/readyz"
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            silent = 0
            while True:
                try:
                    answer = await http.get(url)
                    green, self.told = answer.status_code == 200, answer.text
                    silent = 0
                except httpx.TimeoutException:
                    # Busy, as far as anybody can tell: a cluster's probes have a failureThreshold too.
                    silent += 1
                    green = self.ready.is_set() and silent < SILENCE
                except httpx.TransportError as e:
                    green, self.told = False, repr(e)
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
    analytics: Server
    postgres: Server
    kafka: Server

    async def ready(self) -> None:
        await asyncio.gather(*(r.come_up(180) for r in itertools.chain(*self.services.values())))


@asynccontextmanager
async def replicated(platform: Platform, users: Users | None = None) -> AsyncGenerator[Cluster]:
    """The platform's parts stop, and run as a cluster until the end; then it is down. `users`: services are known to
    Kafka by their certificates, not by passwords."""
    platform.down()
    config = platform.config
    with port_claims() as claims:
        for port in config.ports.values():
            # Else another installation takes them, and its services answer for ours.
            assert claims.hold(port), f"port {port} was taken while the parts stopped"
        async with _running(config, users) as cluster:
            yield cluster


@asynccontextmanager
async def under_load(
    platform: Platform, *, hires: float = 40, users: Users | None = None
) -> AsyncGenerator[tuple[Cluster, Load]]:
    """A cluster at work. At the end nothing may be lost or doubled, and nothing answered but 2xx and 503."""
    async with replicated(platform, users) as cluster:
        load = await prepare(platform)
        async with load.running(hires=hires, learners=2):
            await load.until(lambda it: len(it.hired) > 10)
            yield cluster, load
            await load.more_hired(10)
        await load.deliver_rest()
        await platform.settled()
        assert [*load.broken, *await audit(platform.config), *await load.discrepancies()] == []


@asynccontextmanager
async def _running(config: Config, users: Users | None) -> AsyncGenerator[Cluster]:
    cluster = _cluster(config, users)
    tasks: list[asyncio.Task[None]] = []
    front = HttpServers(
        KitSettings(http_host="127.0.0.1"),
        _gateway(config, cluster),
        [config.ports["app"], config.ports["content"]],
    )
    try:
        cluster.postgres.start()
        cluster.kafka.start()
        await (await postgres.connect(config.postgres_url, patience=60)).close()
        tasks = [asyncio.create_task(front.run())]
        for replica in itertools.chain(*cluster.services.values()):
            replica.start()
            tasks.append(asyncio.create_task(replica.probe()))
        cluster.analytics.start()
        await cluster.ready()
        yield cluster
    finally:
        ours = [r for r in itertools.chain(*cluster.services.values()) if r.process]
        await asyncio.gather(*(r.stop() for r in ours))
        front.stop()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in (cluster.analytics, cluster.kafka, cluster.postgres):
            if server.process:
                await server.stop()


def _cluster(config: Config, users: Users | None) -> Cluster:
    """Everything but the gateway, not yet started; each part with where the replicas' gRPC is."""
    logs = config.data / "logs"
    http = {service: [free_port(), free_port()] for service in LEDGER_SERVICES}
    grpc = {service: [free_port(), free_port()] for service in LEDGER_SERVICES}
    peers = {
        f"LYCEUM_{service.upper()}_GRPC": "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in ports)
        for service, ports in grpc.items()
    }
    database, broker = supervisor.parts(config)[:2]

    def part(name: str, service: str, **own: str) -> Part:
        known = users.environment(service) if users else {}
        env = supervisor.surroundings() | config.service_env(service) | peers | known | own
        return Part(name, [sys.executable, "-m", service, "consume"], env)

    def replica(service: str, number: int) -> Replica:
        own = {
            "LYCEUM_HTTP_PORT": str(http[service][number]),
            "LYCEUM_GRPC_PORT": str(grpc[service][number]),
            "LYCEUM_DRAIN_SECONDS": str(DRAIN),
        }
        return Replica(part(f"{service}-{number}", service, **own), logs, http_port=http[service][number])

    return Cluster(
        {s: [replica(s, 0), replica(s, 1)] for s in LEDGER_SERVICES},
        analytics=Server(part("analytics", "analytics"), logs),
        postgres=Server(database, logs),
        kafka=Server(users.admitted(broker, config) if users else broker, logs),
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
