"""For tests of the whole: an installation as `lyceum up` starts it, used as its users do."""

import asyncio
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import clickhouse_connect
import httpx
import psutil
from clickhouse_connect.driver.client import Client

from lyceum_local import config as configuration
from lyceum_local import lifecycle, supervisor
from lyceum_local.config import Claims, Config
from lyceum_local.paths import SERVICES
from lyceum_local.remote import Operator, PlatformError, readiness


@dataclass(frozen=True)
class Tenant:
    """A fresh organisation and an API client that may do everything in it."""

    slug: str
    tenant_id: str
    client_id: str
    client_secret: str = field(repr=False)


@dataclass
class Platform:
    """A running installation. `operator` speaks for the whole of it, `api` for one organisation."""

    config: Config
    variables: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def operator(self) -> Operator:
        return Operator(self.config)

    def tenant(self, *, time_zone: str = "Europe/Berlin") -> Tenant:
        slug = f"t-{uuid4().hex[:10]}"
        admin = {"display_name": "Robin Admin", "email": "robin@example.test"}
        operator = self.operator
        made = operator.call(
            "POST",
            "/api/identity/tenants",
            {"slug": slug, "name": f"Hospital {slug}", "time_zone": time_zone, "admin": admin},
        )
        client = operator.call(
            "POST",
            "/api/identity/clients",
            {"name": "tests", "roles": ["hris", "author", "admin"], "tenant_slug": slug},
        )
        return Tenant(slug, made["tenant_id"], client["client_id"], client["client_secret"])

    def http(self) -> httpx.AsyncClient:
        """HTTP to the app's origin, as nobody."""
        return httpx.AsyncClient(base_url=self.config.app_origin, timeout=60, trust_env=False)

    @asynccontextmanager
    async def api(self, tenant: Tenant) -> AsyncGenerator[httpx.AsyncClient]:
        """HTTP as the organisation's API client."""
        async with self.http() as client:
            form = {
                "grant_type": "client_credentials",
                "client_id": tenant.client_id,
                "client_secret": tenant.client_secret,
            }
            answer = (await client.post("/api/identity/token", data=form)).raise_for_status()
            client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    @asynccontextmanager
    async def as_person(self, person_id: str) -> AsyncGenerator[httpx.AsyncClient]:
        """HTTP as a person who chose a persona, with the cookie and the token that a browser would have."""
        async with self.http() as client:
            client.headers["origin"] = self.config.app_origin
            (await client.post("/api/identity/sessions", json={"person_id": person_id})).raise_for_status()
            answer = (await client.post("/api/identity/token")).raise_for_status()
            client.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    def reports(self) -> Mapping[str, Any]:
        """Each service's own report of its feeds, relay, timers and parked events."""
        operator = self.operator
        return {s: operator.call("GET", f"/api/{s}/system/feeds") for s in SERVICES}

    async def settled(self, *, seconds: float = 120) -> None:
        """Wait until nothing is under way: twice in a row, since what a consumer reads makes events of its own."""
        quiet, moving = 0, list[Any]()
        try:
            async with asyncio.timeout(seconds):
                while quiet < 2:
                    try:
                        moving = _moving(await asyncio.to_thread(self.reports))
                    except PlatformError as e:  # a part is starting
                        moving = [str(e)]
                    quiet = 0 if moving else quiet + 1
                    await asyncio.sleep(0.1)
        except TimeoutError as e:
            raise AssertionError(f"not settled in {seconds} s: {moving}") from e

    def answering(self, *, seconds: float = 120) -> None:
        """Wait until every service says through the front door that it is ready."""
        end = time.monotonic() + seconds
        for service in SERVICES:
            while not (told := readiness(self.config, service))[0]:
                assert time.monotonic() < end, f"{service} does not answer: {told[1]}"
                time.sleep(0.3)

    def up(self, *, split: bool | None = None) -> None:
        self.config = _up(self.config.data, self.variables, split=split)

    def down(self) -> None:
        lifecycle.down(self.config.data)

    def command(self, *arguments: str) -> str:
        """What `./lyceum …` says of this installation; the test fails when the command does."""
        ran = subprocess.run(
            [str(Path(sys.executable).with_name("lyceum")), *arguments],
            env=os.environ | {"LYCEUM_DATA": str(self.config.data)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{arguments}\n{ran.stdout}\n{ran.stderr}"
        # `up` takes other ports where somebody took ours meanwhile.
        self.config = configuration.load(self.config.data) or self.config
        return ran.stdout

    def part(self, name: str) -> psutil.Process:
        """The process of one part, or the supervisor."""
        state = next(s for s in supervisor.read_run(self.config.data) if s.name == name)
        process = supervisor.living(state.pid, state.born)
        assert process, f"{name} does not run: {state}"
        return process

    def kill(self) -> None:
        """As a power failure: every process of the installation ends at once, without a word."""
        family = [
            process
            for state in supervisor.read_run(self.config.data)
            if (top := supervisor.living(state.pid, state.born))
            for process in (top, *top.children(recursive=True))
        ]
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue  # a child of one that was killed before it
        psutil.wait_procs(family, timeout=10)


@contextmanager
def installation(*, split: bool = False, variables: Mapping[str, str] | None = None) -> Generator[Platform]:
    """A platform of its own in a folder of its own, on ports that nobody else took. `variables`: of the
    environment in which it comes up, now and later."""
    folder = Path(tempfile.mkdtemp(prefix="lyceum-platform-"))
    folder.chmod(0o755)  # PostgreSQL's own user walks through it
    data = folder / "data"
    try:
        yield Platform(_up(data, variables or {}, split=split), variables or {})
    finally:
        lifecycle.reset(data)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def operators_sql(config: Config) -> Generator[Client]:
    """ClickHouse as an operator asks it, every organisation in it."""
    client = clickhouse_connect.get_client(  # pyright: ignore[reportUnknownMemberType] - annotated in part only
        host="127.0.0.1",
        port=config.ports["clickhouse"],
        username="operator",
        password=config.secrets.clickhouse,
        database="lyceum",
        tz_mode="aware",
    )
    try:
        yield client
    finally:
        client.close()


def free_port() -> int:
    """On this machine, for whoever binds it, now or once more later; nobody else is given it while this process lives: a node
    that is to start in a minute found another test's on its port. Below those that connections get from the system, one of
    which could sit on it while a server restarts."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if (claims := Claims()).hold(port):
                _given.append(claims)
                return port


_given: list[Claims] = []  # one each: claims would give what they hold again


def _up(data: Path, variables: Mapping[str, str], *, split: bool | None) -> Config:
    said: list[str] = []
    with patch.dict(os.environ, variables):
        return lifecycle.up(data, split=split, app_port=None, patience=180, step=said.append)


def _moving(reports: Mapping[str, Any]) -> list[Any]:
    """What is under way, or stands."""
    return [
        {"service": service, **entry}
        for service, report in reports.items()
        for entry in (
            *([report["relay"]] if report["relay"]["outbox"] else []),
            *(f for f in report["feeds"] if f["sent"] != f["head"]),
            *({**c, "error": report["consumer_error"]} for c in report["consumers"] if c["lag"] != 0),
        )
    ]
