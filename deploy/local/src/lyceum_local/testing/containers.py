"""The platform over PostgreSQL, Kafka and a ClickHouse server from their makers' images, by Docker. The services are
processes of this machine, as with `./lyceum up --split`; only what they stand on is another's build.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.errors import DockerException
from testcontainers.community.clickhouse import ClickHouseContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from lyceum_local import config, supervisor
from lyceum_local.config import Config, port_claims
from lyceum_local.paths import SERVICES
from lyceum_local.supervisor import Part
from lyceum_local.testing import Platform

# Those of deploy/compose and of the overlay `ha`. A site without the way to their registry names its mirror's.
IMAGES = {
    "postgres": os.environ.get("LYCEUM_TEST_POSTGRES_IMAGE", "docker.io/library/postgres:18"),
    "kafka": os.environ.get("LYCEUM_TEST_KAFKA_IMAGE", "docker.io/apache/kafka:4.3.0"),
    "clickhouse": os.environ.get(
        "LYCEUM_TEST_CLICKHOUSE_IMAGE", "docker.io/clickhouse/clickhouse-server:26.8"
    ),
}


class NoContainers(Exception):
    """Docker, or an image, cannot be had here; the message says why."""


@contextmanager
def over_containers() -> Generator[Platform]:
    """A platform of its own, gone at the end with its containers. Raises NoContainers."""
    _pull()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lyceum-containers-")))
        claims = stack.enter_context(port_claims())
        made = config.create(folder / "data", split=True, claim=claims)
        supervisor.lay_out(made.data)
        made.save()
        stack.enter_context(_postgres(made))
        stack.enter_context(_kafka(made))
        stack.enter_context(_clickhouse(made))
        asyncio.run(supervisor.prepare_databases(made))
        for part in _parts(made):
            stack.callback(_ended, supervisor.spawn(part, made.data / "logs"))
        platform = Platform(made)
        platform.answering()
        yield platform


def _pull() -> None:
    try:
        client: Any = docker.from_env()
        for image in IMAGES.values():
            if not client.images.list(name=image):
                client.images.pull(image)
    except DockerException as e:
        raise NoContainers(f"Docker cannot give the images: {e}") from e


def _postgres(made: Config) -> PostgresContainer:
    container = PostgresContainer(
        IMAGES["postgres"], username="postgres", password=made.secrets.postgres, dbname="postgres"
    )
    return container.with_bind_ports(5432, made.ports["postgres"])


def _clickhouse(made: Config) -> ClickHouseContainer:
    container = ClickHouseContainer(
        IMAGES["clickhouse"], username="operator", password=made.secrets.clickhouse, dbname="lyceum"
    )
    container.with_env("CLICKHOUSE_DEFAULT_ACCESS_MANAGEMENT", "1")
    return container.with_bind_ports(8123, made.ports["clickhouse"])


def _kafka(made: Config) -> DockerContainer:
    """One broker that is its own controller, without passwords: who may write what, the other editions try."""
    port = made.ports["kafka"]
    settings = {
        "NODE_ID": "1",
        "PROCESS_ROLES": "broker,controller",
        "LISTENERS": "PLAINTEXT://:9092,CONTROLLER://:9093",
        "ADVERTISED_LISTENERS": f"PLAINTEXT://127.0.0.1:{port}",
        "LISTENER_SECURITY_PROTOCOL_MAP": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "CONTROLLER_LISTENER_NAMES": "CONTROLLER",
        "CONTROLLER_QUORUM_VOTERS": "1@localhost:9093",
        "OFFSETS_TOPIC_REPLICATION_FACTOR": "1",
        "GROUP_INITIAL_REBALANCE_DELAY_MS": "0",
        "AUTO_CREATE_TOPICS_ENABLE": "false",
    }
    container = DockerContainer(IMAGES["kafka"]).with_bind_ports(9092, port)
    for name, value in settings.items():
        container.with_env(f"KAFKA_{name}", value)
    return container.waiting_for(LogMessageWaitStrategy("Kafka Server started"))


def _parts(made: Config) -> list[Part]:
    at = f"127.0.0.1:{made.ports['clickhouse']}"
    other = {
        "LYCEUM_KAFKA_USER": "",
        "LYCEUM_KAFKA_PASSWORD": "",
        "LYCEUM_CLICKHOUSE_URL": f"http://operator:{made.secrets.clickhouse}@{at}/lyceum",
        "LYCEUM_ANALYTICS_SQL_PORT": "0",  # the server has its own
    }
    services = [
        Part(
            service,
            [sys.executable, "-m", service, "consume"],
            supervisor.surroundings() | made.service_env(service) | other,
        )
        for service in SERVICES
    ]
    return [
        *services,
        Part("gateway", supervisor.host("gateway", made.data), supervisor.surroundings()),
    ]


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(60)
