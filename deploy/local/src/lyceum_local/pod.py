"""PostgreSQL or Kafka as the one thing a container does: `python -m lyceum_local.pod postgres | kafka`.

For clusters without operators, such as the overlay `dev`. Each makes what is missing in its volume, opens its port to
the cluster, sets up who may do what there, and then says that it is ready by a file. Repeating it is harmless, so a
pod that comes back with an empty volume is as good as the first.
"""

import argparse
import asyncio
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from lyceum_local import kafka, postgres
from lyceum_local.children import bound
from lyceum_local.paths import LEDGER_SERVICES, cache_folder

POSTGRES_PORT = 5432
KAFKA_PORT = 9092
CONTROLLER_PORT = 9093
READY = Path("/tmp/ready")  # noqa: S108 - of the container, for its readiness probe
# Scram for everybody, from wherever the cluster's network lets in.
ACCESS = "host all all 0.0.0.0/0 scram-sha-256\nhost all all ::/0 scram-sha-256\n"


class Settings(BaseSettings):
    """Each from an environment variable `LYCEUM_POD_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="LYCEUM_POD_", extra="ignore", frozen=True)

    data: Path = Path("/var/lib/lyceum")
    postgres_password: SecretStr = Field(default=SecretStr(""), description="The superuser's.")
    postgres_owners: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr], description="Of each service's role that owns and migrates."
    )
    postgres_services: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr], description="Of each service's own role."
    )
    kafka_host: str = Field(default="kafka", description="The name by which clients reach the broker.")
    kafka_cluster: str = Field(default="", description="Its cluster id, 16 bytes in base64url.")
    kafka_users: dict[str, SecretStr] = Field(
        default_factory=dict[str, SecretStr],
        description="SCRAM users; admin and controller are the broker's own.",
    )


def run_postgres(settings: Settings) -> int:
    bin_dir = postgres.binaries(cache_folder())
    data = settings.data / "postgres" / "data"
    postgres.initialise(bin_dir, data, settings.postgres_password.get_secret_value())
    postgres.clear_stale(data)
    access = data.parent / "access.conf"
    access.write_text(ACCESS)
    wide = {"listen_addresses": "*", "hba_file": str(access), "max_connections": "400"}
    command = postgres.start_command(bin_dir, data, POSTGRES_PORT, wide)

    def set_up() -> None:
        owners, own = _plain(settings.postgres_owners), _plain(settings.postgres_services)
        accounts = [postgres.Account(s, owners[s], own[s]) for s in LEDGER_SERVICES]
        server = postgres.url(
            POSTGRES_PORT, postgres.SUPERUSER, settings.postgres_password.get_secret_value(), "postgres"
        )
        asyncio.run(postgres.create_databases(server, accounts, patience=120))

    # SIGINT: it does not wait for its clients, who come again.
    return _run(command, postgres.environment(), signal.SIGINT, set_up)


def run_kafka(settings: Settings) -> int:
    users = _plain(settings.kafka_users)
    configuration = kafka.prepare(
        cache_folder(),
        settings.data / "kafka",
        port=KAFKA_PORT,
        controller_port=CONTROLLER_PORT,
        cluster=settings.kafka_cluster,
        passwords=users,
        host=settings.kafka_host,
    )

    def set_up() -> None:
        end = time.monotonic() + 120
        while (said := kafka.answers(KAFKA_PORT, users["admin"])) and time.monotonic() < end:
            time.sleep(0.5)
        if said:
            raise kafka.KafkaError(f"Kafka does not answer its administrator: {said}")
        kafka.grant(KAFKA_PORT, users["admin"])

    return _run(kafka.start_command(cache_folder(), configuration), {}, signal.SIGTERM, set_up)


def _run(
    command: Sequence[str], environment: Mapping[str, str], stop: signal.Signals, set_up: Callable[[], None]
) -> int:
    """Its exit code. Where the setting-up fails, it ends, and the container is started again."""
    READY.unlink(missing_ok=True)
    child = subprocess.Popen(bound(command, stop), env=dict(environment))

    def end(number: int, frame: object) -> None:  # noqa: ARG001 - what the signal module hands over
        child.send_signal(stop)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    try:
        set_up()
        READY.touch()
        return child.wait()
    finally:
        READY.unlink(missing_ok=True)
        if child.poll() is None:
            child.send_signal(stop)
            child.wait()


def _plain(passwords: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: secret.get_secret_value() for name, secret in passwords.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("postgres", "kafka"))
    settings = Settings()
    part = parser.parse_args().part
    raise SystemExit(run_postgres(settings) if part == "postgres" else run_kafka(settings))


if __name__ == "__main__":
    main()
