"""`ha` and `airgap` hold to what people's records ask for; each check sees a fault planted for it."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from lyceum_kit.service import Service
from lyceum_local.testing.kubernetes import OVERLAYS, render
from tests.k8s import network, policies, production
from tests.k8s.rendered import Documents

Check = Callable[[Documents], list[str]]
CHECKS: Mapping[str, tuple[Check, tuple[str, ...]]] = {
    "pinned": (production.pinned, ("ha", "airgap")),
    "encrypted": (production.encrypted, ("ha", "airgap")),
    "mounted": (production.mounted, ("ha", "airgap")),
    "airtight": (production.airtight, ("airgap",)),
}


@pytest.fixture(scope="module")
def rendered() -> dict[str, Documents]:
    return {name: render(OVERLAYS / name) for name in ("ha", "airgap")}


@pytest.mark.parametrize(
    ("check", "overlay"), [(c, o) for c, (_, overlays) in CHECKS.items() for o in overlays]
)
def test_an_overlay_is(check: str, overlay: str, rendered: dict[str, Documents]) -> None:
    assert CHECKS[check][0](rendered[overlay]) == []


@dataclass(frozen=True)
class Fault:
    check: str
    plant: Callable[[Any], object]  # given airgap's documents by kind and name, without Kustomize's hashes
    says: str


def _spec(documents: Any, name: str, kind: str = "Deployment") -> Any:
    return documents[kind, name]["spec"]["template"]["spec"]


FAULTS: dict[str, Fault] = {
    "an image by its tag": Fault(
        "pinned",
        lambda d: _spec(d, "web-serve")["containers"][0].update(
            image="registry.example.com/lyceum/web:1.0.0"
        ),
        "lyceum/web:1.0.0 has no digest",
    ),
    "an operator's image without a version": Fault(
        "pinned",
        lambda d: d["Cluster", "postgres"]["spec"].update(imageName="registry.example.com/postgresql"),
        "registry.example.com/postgresql may be anything",
    ),
    "a listener in the clear": Fault(
        "encrypted",
        lambda d: d["Kafka", "lyceum"]["spec"]["kafka"]["listeners"][0].update(tls=False),
        "Kafka listens in the clear on 9093",
    ),
    "Kafka in the clear": Fault(
        "encrypted",
        lambda d: d["ConfigMap", "lyceum"]["data"].update(LYCEUM_KAFKA_TLS="false"),
        "identity-consume/consume: Kafka is spoken with in the clear",
    ),
    "any server for PostgreSQL": Fault(
        "encrypted",
        lambda d: _secret(d, "catalog").update(
            LYCEUM_DATABASE_URL="postgresql://catalog:x@postgres-rw/catalog?sslmode=require"
        ),
        "catalog-serve/serve: LYCEUM_DATABASE_URL takes any server",
    ),
    "ClickHouse in the clear": Fault(
        "encrypted",
        lambda d: _secret(d, "analytics").update(
            LYCEUM_CLICKHOUSE_URL="http://clickhouse-lyceum:8123/lyceum"
        ),
        "ClickHouse is spoken with in the clear",
    ),
    "gRPC in the clear": Fault(
        "encrypted",
        lambda d: d["ConfigMap", "lyceum"]["data"].pop("LYCEUM_GRPC_CA"),
        "LYCEUM_GRPC_CA is not set",
    ),
    "a file that is not mounted": Fault(
        "mounted",
        lambda d: _spec(d, "identity-migrate", "Job")["containers"][0]["volumeMounts"].pop(),
        "identity-migrate/migrate: LYCEUM_DATABASE_URL is at /etc/lyceum/tls/postgres.crt",
    ),
    "somebody else's certificate": Fault(
        "mounted",
        lambda d: _spec(d, "catalog-serve")["volumes"][1]["projected"]["sources"][0]["secret"].update(
            name="identity-tls"
        ),
        "catalog-serve has the certificate of ['identity-tls']",
    ),
    "an image from outside": Fault(
        "airtight",
        lambda d: d["Cluster", "postgres"]["spec"].update(imageName="ghcr.io/postgresql:18"),
        "images come from ghcr.io, registry.example.com",
    ),
    "no credential": Fault(
        "airtight",
        lambda d: d["ServiceAccount", "catalog"].pop("imagePullSecrets"),
        "catalog pulls without a credential",
    ),
    "an operator without a credential": Fault(
        "airtight",
        lambda d: d["Cluster", "postgres"]["spec"].pop("imagePullSecrets"),
        "Cluster postgres pulls without a credential",
    ),
    "an authority of nobody's": Fault(
        "airtight",
        lambda d: d["Issuer", "lyceum"].update(spec={"selfSigned": {}}),
        "Issuer lyceum signs itself",
    ),
    "a way to anywhere": Fault(
        "airtight",
        lambda d: d["NetworkPolicy", "to-kafka"]["spec"]["egress"][1].pop("to"),
        "to-kafka leads out of the company: anywhere",
    ),
    "a way to the internet": Fault(
        "airtight",
        lambda d: d["NetworkPolicy", "from-identity"]["spec"]["egress"].append(
            {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"port": 443}]}
        ),
        "from-identity leads out of the company: 0.0.0.0/0",
    ),
}


def _secret(documents: Any, name: str) -> Any:
    return documents["ExternalSecret", name]["spec"]["target"]["template"]["data"]


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(fault: Fault, rendered: dict[str, Documents]) -> None:
    documents = {(d["kind"], _plain(d)): copy.deepcopy(d) for d in rendered["airgap"]}
    check = CHECKS[fault.check][0]
    assert check(list(documents.values())) == []
    fault.plant(documents)
    assert fault.says in "\n".join(check(list(documents.values())))


def _plain(document: Any) -> str:
    """Its name without the hash that Kustomize puts behind a ConfigMap's."""
    name: str = document["metadata"]["name"]
    return name.rpartition("-")[0] if document["kind"] == "ConfigMap" else name


def test_every_check_has_its_fault() -> None:
    assert {fault.check for fault in FAULTS.values()} == CHECKS.keys()


OF_POLICIES: dict[str, Fault] = {
    "a misspelt field of an operator's": Fault(
        "valid",
        lambda d: d["Kafka", "lyceum"]["spec"]["kafka"].update(listener=[]),
        "Kafka lyceum: spec.kafka: Additional properties are not allowed ('listener' was unexpected)",
    ),
    "a value that is none of an operator's": Fault(
        "valid",
        lambda d: d["KafkaUser", "identity"]["spec"]["authentication"].update(type="scram-sha-256"),
        "KafkaUser identity: spec.authentication.type: 'scram-sha-256' is not one of",
    ),
    "a field that an operator asks for": Fault(
        "valid",
        lambda d: d["Database", "identity"]["spec"].pop("owner"),
        "Database identity: spec: 'owner' is a required property",
    ),
    "a version that an operator does not have": Fault(
        "valid",
        lambda d: d["Kafka", "lyceum"].update(apiVersion="kafka.strimzi.io/v2"),
        "Kafka lyceum",
    ),
    "a database that nobody is let in to": Fault(
        "walled",
        lambda d: (
            d.pop(("NetworkPolicy", "to-postgres")) and d.pop(("NetworkPolicy", "from-those-with-a-database"))
        ),
        "identity-serve cannot reach postgresql:5432",
    ),
    "a broker for those who need none": Fault(
        "walled",
        lambda d: (
            d["NetworkPolicy", "from-those-with-feeds"]["spec"].update(podSelector={}),
            d["NetworkPolicy", "to-kafka"]["spec"]["ingress"][0]["from"].append({"podSelector": {}}),
        ),
        "identity-serve can reach kafka:9093, for nothing",
    ),
    "a database at another address": Fault(
        "addressed",
        lambda d: _secret(d, "catalog").update(LYCEUM_DATABASE_URL="postgresql://c:x@postgres/catalog"),
        "database_url leads to postgres:5432",
    ),
    "a key that no vault brings": Fault(
        "referred",
        lambda d: _secret(d, "postgres-identity").pop("password"),
        "DatabaseRole identity: there is no password in Secret postgres-identity",
    ),
    "a password that Kafka does not find": Fault(
        "referred",
        lambda d: _secret(d, "catalog").pop("LYCEUM_KAFKA_PASSWORD"),
        "KafkaUser catalog: there is no LYCEUM_KAFKA_PASSWORD in Secret catalog",
    ),
    "a variable under another name": Fault(
        "configured",
        lambda d: (data := _secret(d, "assessment")).update(
            LYCEUM_MASTER_KEY=data.pop("LYCEUM_ASSESSMENT_MASTER_KEY")
        ),
        "there is no setting master_key",
    ),
    "a probe that the kubelet cannot make": Fault(
        "probed",
        lambda d: _spec(d, "catalog-serve")["containers"][0].update(livenessProbe={"grpc": {"port": 9090}}),
        "asks gRPC, which has TLS there",
    ),
}


@pytest.mark.parametrize("fault", OF_POLICIES.values(), ids=OF_POLICIES)
def test_policies_see_what_operators_bring(
    fault: Fault, rendered: dict[str, Documents], services: Mapping[str, Service]
) -> None:
    checks: dict[str, Check] = {
        "valid": policies.valid,
        "walled": network.walled,
        "addressed": policies.addressed,
        "referred": policies.referred,
        "configured": policies.configured,
        "probed": partial(policies.probed, services=services),
    }
    check = checks[fault.check]
    documents = {(d["kind"], _plain(d)): copy.deepcopy(d) for d in rendered["airgap"]}
    assert check(list(documents.values())) == []
    fault.plant(documents)
    assert fault.says in "\n".join(check(list(documents.values())))
