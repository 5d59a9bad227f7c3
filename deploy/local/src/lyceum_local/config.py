"""One installation's ports and secrets, made once, and the environment that each service gets from them."""

import base64
import fcntl
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

from lyceum_local.paths import CONTRACTED, cache_folder, repository

# The ports people see are tried first; the next free one is taken and remembered when somebody else has it.
PREFERRED = {
    "app": 8080,
    "content": 8081,
    "grpc": 9090,
    "analytics_http": 8082,
    "analytics_grpc": 9091,
    "clickhouse": 8123,
    "postgres": 15432,
    "kafka": 19092,
    "kafka_controller": 19093,
    # `--split`: a process for each service behind the gateway
    "identity_http": 8091,
    "identity_grpc": 9191,
    "catalog_http": 8092,
    "catalog_grpc": 9192,
    "enrollment_http": 8093,
    "enrollment_grpc": 9193,
    "assessment_http": 8094,
    "assessment_grpc": 9194,
}


# Whether one may have that port.
Claim = Callable[[int], bool]


def _secret() -> str:
    return secrets.token_urlsafe(24)


def _key() -> str:
    """32 random bytes, base64: a key for AES-256."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _cluster() -> str:
    """A Kafka cluster id: 16 bytes, base64url. Its first bit is 0, since a leading "-" would read as an option."""
    random = bytearray(secrets.token_bytes(16))
    random[0] &= 0x7F
    return base64.urlsafe_b64encode(random).decode()[:22]


@dataclass(frozen=True)
class Secrets:
    postgres: str = field(default_factory=_secret)
    kafka_admin: str = field(default_factory=_secret)
    kafka_controller: str = field(default_factory=_secret)
    kafka_cluster: str = field(default_factory=_cluster)
    owners: dict[str, str] = field(default_factory=lambda: {s: _secret() for s in CONTRACTED})
    databases: dict[str, str] = field(default_factory=lambda: {s: _secret() for s in CONTRACTED})
    kafka: dict[str, str] = field(default_factory=lambda: {s: _secret() for s in CONTRACTED})
    clients: dict[str, str] = field(default_factory=lambda: {s: _secret() for s in (*CONTRACTED, "operator")})
    identity_key: str = field(default_factory=_key)
    assessment_key: str = field(default_factory=_key)
    clickhouse: str = field(default_factory=_secret)


@dataclass(frozen=True)
class Config:
    """Everything `DATA/config.json` holds. Readable by its owner alone."""

    data: Path
    ports: dict[str, int]
    secrets: Secrets
    split: bool = False

    @property
    def app_origin(self) -> str:
        return f"http://127.0.0.1:{self.ports['app']}"

    @property
    def content_origin(self) -> str:
        return f"http://{{package}}.localhost:{self.ports['content']}"

    @property
    def postgres_url(self) -> str:
        return f"postgresql://postgres:{self.secrets.postgres}@127.0.0.1:{self.ports['postgres']}/postgres"

    def http_port(self, service: str) -> int:
        if service == "analytics":
            return self.ports["analytics_http"]
        return self.ports[f"{service}_http"] if self.split else self.ports["app"]

    def grpc_port(self, service: str) -> int:
        if service == "analytics":
            return self.ports["analytics_grpc"]
        return self.ports[f"{service}_grpc"] if self.split else self.ports["grpc"]

    def service_env(self, service: str) -> dict[str, str]:
        """The LYCEUM_* variables of one service, as a Deployment would set them."""
        env = {
            "LYCEUM_EDITION": "local",
            "LYCEUM_KAFKA": f"127.0.0.1:{self.ports['kafka']}",
            "LYCEUM_KAFKA_USER": service,
            "LYCEUM_KAFKA_PASSWORD": self.secrets.kafka[service],
            "LYCEUM_KAFKA_REPLICATION": "1",
            "LYCEUM_HTTP_HOST": "127.0.0.1",
            "LYCEUM_HTTP_PORT": str(self.http_port(service)),
            "LYCEUM_GRPC_HOST": "127.0.0.1",
            "LYCEUM_GRPC_PORT": str(self.grpc_port(service)),
            "LYCEUM_GRPC_REFLECTION": "true",
            "LYCEUM_DRAIN_SECONDS": "0",  # no balancer stands before them
            "LYCEUM_APP_ORIGIN": self.app_origin,
            "LYCEUM_CONTENT_ORIGIN": self.content_origin,
            "LYCEUM_JWKS_URL": f"{self.app_origin}/api/identity/jwks",
            "LYCEUM_TOKEN_URL": f"{self.app_origin}/api/identity/token",
            "LYCEUM_CLIENT_ID": service,
            "LYCEUM_CLIENT_SECRET": self.secrets.clients[service],
            **{f"LYCEUM_{s.upper()}_GRPC": f"127.0.0.1:{self.grpc_port(s)}" for s in CONTRACTED},
        }
        if service != "analytics":
            at = f"127.0.0.1:{self.ports['postgres']}/{service}"
            env["LYCEUM_DATABASE_URL"] = f"postgresql://{service}:{self.secrets.databases[service]}@{at}"
            env["LYCEUM_MIGRATION_URL"] = f"postgresql://{service}_owner:{self.secrets.owners[service]}@{at}"
        return env | self._own_env(service)

    def _own_env(self, service: str) -> dict[str, str]:
        match service:
            case "identity":
                hashed = {n: hashlib.sha256(s.encode()).hexdigest() for n, s in self.secrets.clients.items()}
                return {
                    "LYCEUM_IDENTITY_SECRET_KEY": self.secrets.identity_key,
                    "LYCEUM_IDENTITY_SERVICE_CLIENTS": json.dumps(hashed),
                }
            case "catalog":
                return {"LYCEUM_CONTENT_URL": f"file://{self.data / 'content'}"}
            case "assessment":
                return {
                    "LYCEUM_ASSESSMENT_MASTER_KEY": self.secrets.assessment_key,
                    "LYCEUM_ASSESSMENT_PLAYER_DIR": str(web_build() / "lms"),
                }
            case "analytics":
                return {
                    "LYCEUM_CLICKHOUSE_URL": f"chdb://{self.data / 'clickhouse'}",
                    "LYCEUM_ANALYTICS_SQL_PORT": str(self.ports["clickhouse"]),
                    "LYCEUM_ANALYTICS_SQL_USER": "operator",
                    "LYCEUM_ANALYTICS_SQL_PASSWORD": self.secrets.clickhouse,
                }
            case _:
                return {}

    def save(self) -> None:
        """Atomically, so that a kill leaves the old file or the new one."""
        self.data.mkdir(parents=True, exist_ok=True)
        new = self.data / "config.json.new"
        new.touch(mode=0o600)
        content = {"ports": self.ports, "secrets": asdict(self.secrets), "split": self.split}
        new.write_text(json.dumps(content, indent=1))
        new.replace(self.data / "config.json")


def web_build() -> Path:
    """The built web app."""
    return repository() / "web" / "dist"


def load(data: Path) -> Config | None:
    """The installation in `data`, if there is one."""
    file = data / "config.json"
    if not file.exists():
        return None
    content = json.loads(file.read_text())
    return Config(data, content["ports"], Secrets(**content["secrets"]), content["split"])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


class Claims:
    """Ports held against other installations. A part binds its port seconds after it was chosen, and again after a
    crash: another installation would take it meanwhile."""

    def __init__(self) -> None:
        self._folder = cache_folder() / "ports"
        with suppress(OSError):  # a cache that is only read: then nobody holds anything
            self._folder.mkdir(parents=True, exist_ok=True)
        self._held: dict[int, IO[str]] = {}

    def __call__(self, port: int) -> bool:
        return self.hold(port) and is_free(port)

    def hold(self, port: int) -> bool:
        """False when another installation has it. Nothing is said of other programs."""
        if port in self._held:
            return True
        if not os.access(self._folder, os.W_OK):
            return True
        lock = (self._folder / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._held[port] = lock
        return True

    def release(self) -> None:
        for lock in self._held.values():
            lock.close()
        self._held.clear()


@contextmanager
def port_claims() -> Generator[Claims]:
    claims = Claims()
    try:
        yield claims
    finally:
        claims.release()


def choose_ports(
    wanted: dict[str, int] | None = None, *, keep: dict[str, int] | None = None, claim: Claim
) -> dict[str, int]:
    """A port for each part that `claim` gives: the one it had, else the wanted or usual one, else the next."""
    taken: set[int] = set()
    chosen: dict[str, int] = {}
    for name, usual in PREFERRED.items():
        port = (wanted or {}).get(name) or (keep or {}).get(name) or usual
        while port in taken or not claim(port):
            port += 1
        taken.add(port)
        chosen[name] = port
    return chosen


def create(data: Path, *, split: bool = False, app_port: int | None = None, claim: Claim = is_free) -> Config:
    """A new installation with fresh secrets, on ports that are free now."""
    return Config(data, choose_ports({"app": app_port} if app_port else {}, claim=claim), Secrets(), split)


def environment(variables: dict[str, str]) -> dict[str, str]:
    """This process's environment without settings of another installation, plus `variables`."""
    return {k: v for k, v in os.environ.items() if not k.startswith("LYCEUM_")} | variables
