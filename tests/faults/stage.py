"""Where the faults happen: a producer and its consumers as processes, each service with its own database."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID, uuid4

import asyncpg
import httpx

from lyceum_kit import db
from lyceum_kit.ledger import Ledger
from lyceum_kit.testing import TestKeys
from lyceum_kit.tokens import Kind
from lyceum_kit.topics import feeds
from lyceum_local.children import bound
from lyceum_local.postgres import with_database
from lyceum_local.testing import free_port
from tests.faults import node
from tests.faults.wire import Wire

FEED = feeds()["identity"]
PRODUCER, CONSUMER = "identity", "enrollment"


class Database(Protocol):
    app_url: str
    role: str


@dataclass
class Node:
    """One process of a service."""

    service: str
    command: list[str]
    env: dict[str, str]
    http: str  # its origin
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, **more: str) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                bound(self.command, signal.SIGKILL),
                env={**self.env, **more},
                stdout=log,
                stderr=log,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def frozen(self) -> bool:
        """Stopped by a signal: state T in /proc."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    async def stop(self) -> None:
        """As a rollout does."""
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 40)


@dataclass
class Stage:
    folder: Path
    wire: Wire
    server_url: str  # of PostgreSQL, as its superuser
    databases: Mapping[str, Database]
    keys: TestKeys
    ledger: Ledger  # the producer's, for whoever appends without HTTP
    tenant: UUID = field(default_factory=uuid4)
    nodes: list[Node] = field(default_factory=list[Node])
    identity_grpc: int = field(default_factory=free_port)

    def token(self, *roles: str, tenant: UUID | str = "*", kind: Kind = "service") -> str:
        return self.keys.token(
            tenant=tenant, subject="fault", roles=roles, kind=kind, lifetime=timedelta(hours=6)
        )

    def add(self, service: str, **behaviour: object) -> Node:
        """A node that is not started yet. `behaviour`: see node.Behaviour."""
        first = not any(n.service == service for n in self.nodes)
        http = free_port()
        grpc = self.identity_grpc if service == PRODUCER and first else free_port()
        database = self.databases[service]
        settings = {
            "edition": "local",
            "database_url": database.app_url,
            "kafka": f"127.0.0.1:{self.wire.broker.port}",
            "kafka_user": service,
            "kafka_password": self.wire.broker.passwords[service],
            "kafka_replication": 1,
            "http_host": "127.0.0.1",
            "http_port": http,
            "grpc_host": "127.0.0.1",
            "grpc_port": grpc,
            "identity_grpc": f"127.0.0.1:{self.identity_grpc}",
        }
        behaviour |= {
            "keys": self.folder / "keys.json",
            "token": self.token("service"),
            "seen": self.folder / "seen",
        }
        made = Node(
            service,
            [sys.executable, node.__file__, service],
            {
                **os.environ,
                **{f"LYCEUM_{name.upper()}": str(value) for name, value in settings.items()},
                **{f"FAULTS_{name.upper()}": str(value) for name, value in behaviour.items()},
            },
            f"http://127.0.0.1:{http}",
            self.folder / f"{service}-{len(self.nodes)}.log",
        )
        self.nodes.append(made)
        return made

    def start(self, service: str, *, failpoint: str = "", **behaviour: object) -> Node:
        made = self.add(service, **behaviour)
        made.start(**({"LYCEUM_FAILPOINT": failpoint} if failpoint else {}))
        return made

    # What was appended and what came of it

    async def produce(
        self,
        keys: list[str],
        each: int,
        *,
        first: int = 1,
        at_once: int = 25,
        deeds: Mapping[tuple[str, int], str] = {},
        tenant: UUID | None = None,
    ) -> None:
        """`each` further events for every key, of which `first` is the first; straight into the ledger."""
        for start in range(first, first + each, at_once):
            some = range(start, min(start + at_once, first + each))
            for key in keys:
                units = [node.Unit(key=key, seq=n, deed=deeds.get((key, n), "")) for n in some]
                await self.ledger.run(tenant or self.tenant, node.append, key, units)

    async def sql(self, service: str, query: str, *values: object) -> list[Any]:
        connection = await self.connect(service)
        try:
            return await connection.fetch(query, *values)
        finally:
            await connection.close()

    async def connect(self, service: str) -> asyncpg.Connection:
        """To a service's database, as the superuser, who sees every tenant."""
        return await asyncpg.connect(with_database(self.server_url, self.databases[service].role))

    async def heads(self) -> dict[int, tuple[int, int]]:
        """(head, sent) by partition."""
        rows = await self.sql(PRODUCER, "SELECT partition, head, sent FROM feed_head WHERE feed = 'identity'")
        return {r["partition"]: (r["head"], r["sent"]) for r in rows}

    async def effects(self, tenant: UUID | None = None) -> dict[str, list[int]]:
        """By key, in the order in which they were committed."""
        rows = await self.sql(
            CONSUMER,
            "SELECT key, seq FROM effects WHERE $1::uuid IS NULL OR tenant = $1 ORDER BY n",
            tenant,
        )
        found: dict[str, list[int]] = defaultdict(list)
        for row in rows:
            found[row["key"]].append(row["seq"])
        return dict(found)

    async def progress(self) -> list[Any]:
        return await self.sql(CONSUMER, "SELECT * FROM progress ORDER BY feed, partition")

    async def parked(self) -> list[Any]:
        return await self.sql(CONSUMER, "SELECT * FROM parked ORDER BY n")

    async def lag(self) -> int:
        """Events appended that no consumer has handled or parked."""
        handled = sum(row["next"] - 1 for row in await self.progress())
        appended = (await self.sql(PRODUCER, "SELECT count(*) AS n FROM events"))[0]["n"]
        return appended - handled

    async def sent(self, *, seconds: float = 60) -> None:
        """Wait until everything appended is on Kafka."""

        async def all_sent() -> bool:
            waiting = (await self.sql(PRODUCER, "SELECT count(*) AS n FROM outbox"))[0]["n"]
            return not waiting and all(head == sent for head, sent in (await self.heads()).values())

        await eventually(all_sent, seconds=seconds, what="everything is sent")

    async def caught_up(self, *, seconds: float = 60) -> None:
        async def no_lag() -> bool:
            return await self.lag() == 0

        try:
            await eventually(no_lag, seconds=seconds, what="the consumer caught up")
        except AssertionError as failure:
            failure.add_note(await self.told())
            raise

    async def told(self) -> str:
        """How far everything is, and what the nodes said last: for whoever reads of a failure and cannot repeat it."""
        said = [
            f"{node.log.name}, {'alive' if node.alive else f'ended with {node.process.returncode}'}:\n"
            + "\n".join(node.log.read_text(errors="replace").splitlines()[-40:])
            for node in self.nodes
        ]
        places = [tuple(row.values()) for row in await self.progress()]
        return "\n\n".join([f"(head, sent): {await self.heads()}", f"progress: {places}", *said])

    def redeliveries(self) -> int:
        """How often a record reached the consumer that had reached it before."""
        seen = (self.folder / "seen").read_text().splitlines()
        return len(seen) - len(set(seen))

    # What operators see

    async def get(self, of: Node, path: str) -> Any:
        async with self.operator(of) as http:
            answer = await http.get(path)
            answer.raise_for_status()
            return answer.json()

    @asynccontextmanager
    async def operator(self, of: Node) -> AsyncGenerator[httpx.AsyncClient]:
        """Calls to a node's /system, as grace."""
        token = self.keys.token(subject="grace", roles=["operator"])
        async with httpx.AsyncClient(
            base_url=f"{of.http}/api/{of.service}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=10,
        ) as client:
            yield client

    async def metric(self, of: Node, name: str) -> float:
        """The sum of a metric's series."""
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{of.http}/api/{of.service}/metrics")
        lines = [line for line in answer.text.splitlines() if line.startswith((f"{name} ", f"{name}{{"))]
        return sum(float(line.rpartition(" ")[2]) for line in lines)

    async def ready(self, of: Node, *, seconds: float = 30) -> None:
        async def is_ready() -> bool:
            return await readiness(of) == 200

        await eventually(is_ready, seconds=seconds, what=f"{of.service} is ready")

    async def close(self) -> None:
        for one in self.nodes:
            if hasattr(one, "process"):
                one.kill()
        await self.ledger.close()


@asynccontextmanager
async def staged(
    folder: Path, wire: Wire, server_url: str, databases: Mapping[str, Database]
) -> AsyncGenerator[Stage]:
    keys = TestKeys()
    (folder / "keys.json").write_text(json.dumps(keys.keys.private()))
    ledger = Ledger(db.make_engine(databases[PRODUCER].app_url, pool=16), FEED)
    stage = Stage(folder, wire, server_url, databases, keys, ledger)
    try:
        yield stage
    finally:
        await stage.close()


async def readiness(of: Node) -> int:
    """The status of its /readyz; 0 when nothing answers."""
    try:
        async with httpx.AsyncClient(timeout=5) as client:
            return (await client.get(f"{of.http}/api/{of.service}/readyz")).status_code
    except httpx.HTTPError:
        return 0


async def eventually(condition: Callable[[], Any], *, seconds: float, what: str, every: float = 0.1) -> float:
    """Wait until `condition` holds; how long it took."""
    started = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(every)
    except TimeoutError as e:
        raise AssertionError(f"not within {seconds:.0f} s: {what}") from e
    return asyncio.get_running_loop().time() - started
