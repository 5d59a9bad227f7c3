"""The platform in containers on one machine: deploy/compose, and the secrets that its first start makes."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from lyceum_local.config import Secrets
from lyceum_local.paths import LEDGER_SERVICES, repository

FOLDER = repository() / "deploy" / "compose"


def environments(secrets: Secrets) -> dict[str, dict[str, str]]:
    """PURE. What stands in each file of `secrets/`, by its name without `.env`."""
    hashed = {name: hashlib.sha256(s.encode()).hexdigest() for name, s in secrets.clients.items()}
    passwords = {"admin": secrets.kafka_admin, "controller": secrets.kafka_controller, **secrets.kafka}
    ledgers = {s: secrets.databases[s] for s in LEDGER_SERVICES}
    owners = {s: secrets.owners[s] for s in LEDGER_SERVICES}
    found = {
        "postgres": {
            "LYCEUM_POD_POSTGRES_PASSWORD": secrets.postgres,
            "LYCEUM_POD_POSTGRES_OWNERS": json.dumps(owners),
            "LYCEUM_POD_POSTGRES_SERVICES": json.dumps(ledgers),
        },
        "kafka": {
            "LYCEUM_POD_KAFKA_CLUSTER": secrets.kafka_cluster,
            "LYCEUM_POD_KAFKA_USERS": json.dumps(passwords),
        },
        "clickhouse": {
            "CLICKHOUSE_DB": "lyceum",
            "CLICKHOUSE_USER": "analytics",
            "CLICKHOUSE_PASSWORD": secrets.clickhouse,
        },
        # For whoever operates the platform; no container has it.
        "operator": {"client_id": "operator", "client_secret": secrets.clients["operator"]},
    }
    for service, password in secrets.kafka.items():
        found[service] = {
            "LYCEUM_KAFKA_PASSWORD": password,
            "LYCEUM_CLIENT_SECRET": secrets.clients[service],
        }
    for service in LEDGER_SERVICES:
        url = f"postgresql://{service}:{ledgers[service]}@postgres/{service}"
        owner = f"postgresql://{service}_owner:{owners[service]}@postgres/{service}"
        found[service]["LYCEUM_DATABASE_URL"] = url
        found[f"{service}-owner"] = {"LYCEUM_MIGRATION_URL": owner}
    found["identity"] |= {
        "LYCEUM_IDENTITY_SECRET_KEY": secrets.identity_key,
        "LYCEUM_IDENTITY_SERVICE_CLIENTS": json.dumps(hashed),
    }
    found["assessment"]["LYCEUM_ASSESSMENT_MASTER_KEY"] = secrets.assessment_key
    found["analytics"]["LYCEUM_CLICKHOUSE_URL"] = (
        f"http://analytics:{secrets.clickhouse}@clickhouse:8123/lyceum"
    )
    return found


def keep(folder: Path, files: Mapping[str, Mapping[str, str]]) -> None:
    """Write them for their owner's eyes, all or none. What is there already stays: databases know it."""
    if folder.exists():
        return
    partial = folder.with_name(f"{folder.name}.{os.getpid()}")
    partial.mkdir(mode=0o700)
    for name, variables in files.items():
        file = partial / f"{name}.env"
        file.touch(mode=0o600)
        file.write_text("".join(f"{variable}={value}\n" for variable, value in variables.items()))
    partial.rename(folder)


def run(arguments: Sequence[str]) -> None:
    """Become `docker compose` on our file; `up` alone means built, in the background, and waited for."""
    keep(FOLDER / "secrets", environments(Secrets()))
    more = ["--build", "--detach", "--wait"] if list(arguments) == ["up"] else []
    docker = shutil.which("docker")
    if docker is None:
        raise FileNotFoundError("docker was not found")
    os.execv(docker, ["docker", "compose", "--file", str(FOLDER / "compose.yaml"), *arguments, *more])  # noqa: S606
