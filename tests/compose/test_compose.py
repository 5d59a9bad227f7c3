"""deploy/compose without Docker: the file's form, its settings against the services', its addresses; and each check sees a
fault planted for it. Where Docker has its plugin compose, that reads the file as well."""

import copy
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml

from lyceum_local import compose
from lyceum_local.config import Secrets
from lyceum_local.images import IMAGES
from lyceum_local.paths import LEDGER_SERVICES, SERVICES
from tests.k8s import policies

Document = dict[str, Any]

FILES = compose.environments(Secrets())
PORTS = {"postgres": [5432], "kafka": [9092], "clickhouse": [8123], "web": [8080, 8081]}
ROLES = {"web": "serve"}

TEXTS = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}
DURATION = {"type": "string", "pattern": "^[0-9]+(s|m)$"}
BUILD = {
    "context": {"type": "string"},
    "dockerfile": {"type": "string"},
    "target": {"type": "string"},
    "args": {"type": "object"},
}
HEALTH = {"test": TEXTS, "interval": DURATION, "timeout": DURATION, "retries": {"type": "integer"}}


def closed(properties: Document, *required: str) -> Document:
    return {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        "required": list(required),
    }


CONDITIONS = ["service_healthy", "service_completed_successfully"]
SERVICE: Document = {
    "image": {"type": "string"},
    "build": closed(BUILD, "context"),
    "command": TEXTS,
    "environment": {"type": "object", "additionalProperties": {"type": "string"}},
    "env_file": TEXTS,
    "volumes": TEXTS,
    "ports": TEXTS,
    "depends_on": {
        "type": "object",
        "additionalProperties": closed({"condition": {"enum": CONDITIONS}}, "condition"),
    },
    "healthcheck": closed(HEALTH, *HEALTH),
    "restart": {"enum": ["unless-stopped", "on-failure"]},
    "user": {"type": "string"},
    "read_only": {"type": "boolean"},
    "tmpfs": TEXTS,
    "cap_drop": TEXTS,
    "cap_add": TEXTS,
    "security_opt": TEXTS,
    "stop_grace_period": DURATION,
    "mem_limit": {"type": "string", "pattern": "^[0-9]+(m|g)$"},
}
# As much of the Compose Specification as the file uses.
SCHEMA: Document = {
    **closed(
        {
            "name": {"type": "string"},
            "services": {
                "type": "object",
                "additionalProperties": closed(SERVICE, "image", "restart", "mem_limit"),
            },
            "volumes": {"type": "object"},
        },
        "services",
    ),
    "patternProperties": {"^x-": {}},
}


@pytest.fixture
def document() -> Document:
    return copy.deepcopy(yaml.safe_load((compose.FOLDER / "compose.yaml").read_text()))


def formed(document: Document) -> list[str]:
    validator = cast("Any", jsonschema.Draft7Validator(SCHEMA))  # partly unknown to its stubs
    wrong = [f"{e.json_path}: {e.message}" for e in validator.iter_errors(document)]
    for name, service in document["services"].items():
        wrong += [
            f"{name} waits for {other}, which is not there"
            for other in service.get("depends_on", {})
            if other not in document["services"]
        ]
        wrong += [
            f"{name}: there is no volume {v}" for v in _volumes(service) if v not in document["volumes"]
        ]
        wrong += [
            f"{name}: nothing writes {file}"
            for file in service.get("env_file", ())
            if Path(file).stem not in FILES
        ]
        for other, how in service.get("depends_on", {}).items():
            asked = document["services"].get(other, {})
            if how["condition"] == "service_healthy" and "healthcheck" not in asked:
                wrong.append(f"{name} waits for the health of {other}, which tells nothing")
    return wrong


def _volumes(service: Document) -> Iterator[str]:
    yield from (volume.partition(":")[0] for volume in service.get("volumes", ()))


def restricted(document: Document) -> list[str]:
    """Nobody's root, nothing of the machine, and only loopback to the outside."""
    wrong: list[str] = []
    for name, service in document["services"].items():
        ours = service["image"].startswith("lyceum/")
        if service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get(
            "security_opt", ()
        ):
            wrong.append(f"{name} has privileges")
        if ours and (
            service.get("user") != "10001:10001" or not service.get("read_only") or "cap_add" in service
        ):
            wrong.append(f"{name} is more than it needs to be")
        wrong += [
            f"{name} opens {port} to the network"
            for port in service.get("ports", ())
            if not port.startswith("127.0.0.1:")
        ]
        wrong += [f"{name} mounts {v}" for v in _volumes(service) if v.startswith((".", "/"))]
        image = service["image"].replace("${LYCEUM_TAG:-dev}", "dev")
        if ":" not in image or image.endswith(":latest"):
            wrong.append(f"{name}: {image} may be anything tomorrow")
        if ours and image.removeprefix("lyceum/").removesuffix(":dev") not in IMAGES:
            wrong.append(f"{name}: nobody builds {image}")
        if (
            ours
            and (target := service["build"]["target"]) != IMAGES[image.split("/")[1].split(":")[0]].target
        ):
            wrong.append(f"{name} is built as {target}")
    return wrong


def as_workloads(document: Document) -> list[Document]:
    """For `policies`, which look at settings and addresses: each container as a Deployment, each name as a Service."""
    found: list[Document] = []
    for name, service in document["services"].items():
        of = name.removesuffix("-migrate")
        role = "migrate" if of != name else ROLES.get(of, "consume")
        variables = {**service.get("environment", {})}
        for file in service.get("env_file", ()):
            variables |= FILES.get(Path(file).stem, {})
        container = {"name": name, "env": [{"name": k, "value": v} for k, v in variables.items()]}
        labels = {"app.kubernetes.io/name": of, "app.kubernetes.io/component": role}
        if of != "clickhouse":
            template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
            found.append({"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": template}})
        ports = [{"port": port} for port in PORTS.get(of, [8080, 9090])]
        found.append(
            {"kind": "Service", "metadata": {"name": of}, "spec": {"selector": labels, "ports": ports}}
        )
    return found


def configured(document: Document) -> list[str]:
    return policies.configured(as_workloads(document))


def addressed(document: Document) -> list[str]:
    return policies.addressed(as_workloads(document))


CHECKS: dict[str, Callable[[Document], list[str]]] = {
    "formed": formed,
    "restricted": restricted,
    "configured": configured,
    "addressed": addressed,
}


@pytest.mark.parametrize("check", CHECKS)
def test_the_file_is(check: str, document: Document) -> None:
    assert CHECKS[check](document) == []


@dataclass(frozen=True)
class Fault:
    check: str
    plant: Callable[[Document], object]  # given the services
    says: str


FAULTS: dict[str, Fault] = {
    "a misspelt key": Fault("formed", lambda s: s["web"].update(port=[]), "'port' was unexpected"),
    "nobody to wait for": Fault("formed", lambda s: s.pop("kafka"), "identity waits for kafka"),
    "a health that nobody tells": Fault(
        "formed", lambda s: s["kafka"].pop("healthcheck"), "the health of kafka, which tells nothing"
    ),
    "a file that nobody writes": Fault(
        "formed",
        lambda s: s["catalog"].update(env_file=["secrets/catalogue.env"]),
        "nothing writes secrets/catalogue.env",
    ),
    "root": Fault("restricted", lambda s: s["identity"].pop("user"), "identity is more than it needs"),
    "an open house": Fault(
        "restricted", lambda s: s["web"].update(ports=["8080:8080"]), "web opens 8080:8080 to the network"
    ),
    "the latest image": Fault(
        "restricted",
        lambda s: s["clickhouse"].update(image="docker.io/clickhouse/clickhouse-server"),
        "may be anything tomorrow",
    ),
    "another target": Fault(
        "restricted", lambda s: s["web"]["build"].update(target="service"), "web is built as service"
    ),
    "a variable under another name": Fault(
        "configured",
        lambda s: s["identity"]["environment"].update(LYCEUM_APP_URL="x"),
        "there is no setting app_url",
    ),
    "a setting that is not set": Fault(
        "configured", lambda s: s["assessment"].update(env_file=[]), "assessment_master_key is not set"
    ),
    "a password of the owner's": Fault(
        "configured",
        lambda s: s["identity-migrate"].update(env_file=["secrets/identity.env"]),
        "migration_url is not set",
    ),
    "an address where nobody is": Fault(
        "addressed",
        lambda s: s["catalog"]["environment"].update(LYCEUM_KAFKA="broker:9092"),
        "catalog: kafka leads to broker:9092",
    ),
    "a port that is not open": Fault(
        "addressed",
        lambda s: s["catalog"]["environment"].update(LYCEUM_JWKS_URL="http://identity:80/jwks"),
        "jwks_url leads to identity:80",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(fault: Fault, document: Document) -> None:
    # As files are: what anchors share is each one's own.
    services: Document = {name: copy.deepcopy(service) for name, service in document["services"].items()}
    document["services"] = services
    fault.plant(services)
    assert fault.says in "\n".join(CHECKS[fault.check](document))


def test_every_check_has_its_fault() -> None:
    assert {fault.check for fault in FAULTS.values()} == CHECKS.keys()


def test_who_gives_a_password_and_who_asks_with_it_agree() -> None:
    secrets = Secrets()
    files = compose.environments(secrets)
    for service in LEDGER_SERVICES:
        assert (
            f'"{service}": "{secrets.databases[service]}"'
            in files["postgres"]["LYCEUM_POD_POSTGRES_SERVICES"]
        )
        assert f":{secrets.databases[service]}@postgres/{service}" in files[service]["LYCEUM_DATABASE_URL"]
        assert "LYCEUM_MIGRATION_URL" not in files[service]
    for service in SERVICES:
        assert (
            f'"{service}": "{files[service]["LYCEUM_KAFKA_PASSWORD"]}"'
            in files["kafka"]["LYCEUM_POD_KAFKA_USERS"]
        )
    assert files["clickhouse"]["CLICKHOUSE_PASSWORD"] in files["analytics"]["LYCEUM_CLICKHOUSE_URL"]


def test_secrets_are_made_once_and_for_one_pair_of_eyes(tmp_path: Path) -> None:
    compose.keep(tmp_path / "secrets", compose.environments(Secrets()))
    file = tmp_path / "secrets" / "identity.env"
    before = file.read_text()
    assert (file.parent.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
    compose.keep(tmp_path / "secrets", compose.environments(Secrets()))
    assert file.read_text() == before


def test_docker_reads_it(tmp_path: Path) -> None:
    command = ["docker", "compose"]
    if (
        shutil.which("docker") is None
        or subprocess.run([*command, "version"], capture_output=True, check=False).returncode
    ):
        pytest.skip("docker has no plugin compose here")
    shutil.copy(compose.FOLDER / "compose.yaml", tmp_path)
    compose.keep(tmp_path / "secrets", FILES)
    ran = subprocess.run(
        [*command, "--file", str(tmp_path / "compose.yaml"), "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    told = yaml.safe_load(ran.stdout)["services"]["identity"]["environment"]
    assert FILES["identity"].items() <= told.items()
