"""The overlays hold to the policies, without a cluster; and no policy sleeps: each sees a fault planted for it."""

import copy
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from lyceum_kit.service import Service
from lyceum_kit.topics import feeds
from lyceum_local.paths import SERVICES
from lyceum_local.testing.kubernetes import OVERLAYS, render
from tests.k8s import network, policies
from tests.k8s.operators import made
from tests.k8s.rendered import WORKLOADS, Documents, Pod, environment, values

ALL = sorted(folder.name for folder in OVERLAYS.iterdir() if (folder / "kustomization.yaml").exists())

Check = Callable[[Documents], list[str]]
CHECKS: dict[str, Check] = {
    "valid": policies.valid,
    "restricted": policies.restricted,
    "tagged": policies.tagged,
    "limited": policies.limited,
    "ended_in_peace": policies.ended_in_peace,
    "disruptable": policies.disruptable,
    "walled": network.walled,
    "configured": policies.configured,
    "addressed": policies.addressed,
    "referred": policies.referred,
}


@pytest.fixture(scope="module")
def checks(services: Mapping[str, Service]) -> dict[str, Check]:
    return {**CHECKS, "probed": partial(policies.probed, services=services)}


@pytest.fixture(scope="module")
def rendered() -> dict[str, Documents]:
    return {name: render(OVERLAYS / name) for name in ALL}


@pytest.mark.parametrize("overlay", ALL)
@pytest.mark.parametrize("check", [*CHECKS, "probed"])
def test_an_overlay_is(
    overlay: str, check: str, checks: dict[str, Check], rendered: dict[str, Documents]
) -> None:
    assert checks[check](rendered[overlay]) == []


@dataclass(frozen=True)
class Fault:
    check: str
    plant: Callable[[Any], object]  # given dev's documents by kind and name
    says: str


def _container(documents: Any, name: str, kind: str = "Deployment") -> Any:
    return documents[kind, name]["spec"]["template"]["spec"]["containers"][0]


def _forget(documents: dict[tuple[str, str], Any], kind: str, name: str) -> None:
    for key in [(k, n) for k, n in documents if k == kind and n.rpartition("-")[0] == name]:
        del documents[key]


def _data(documents: Any, kind: str, name: str) -> Any:
    return next(d["data"] for (k, n), d in documents.items() if k == kind and n.rpartition("-")[0] == name)


FAULTS: dict[str, Fault] = {
    "a field that does not exist": Fault(
        "valid",
        lambda d: d["Deployment", "identity-serve"]["spec"].update(replica=2),
        "replica",
    ),
    "a wrong kind of value": Fault(
        "valid", lambda d: d["Deployment", "identity-serve"]["spec"].update(replicas="two"), "identity-serve"
    ),
    "root": Fault(
        "restricted",
        lambda d: d["Job", "identity-migrate"]["spec"]["template"]["spec"]["securityContext"].update(
            runAsUser=0
        ),
        "identity-migrate runs as nobody in particular",
    ),
    "a root that can be written": Fault(
        "restricted",
        lambda d: _container(d, "kafka", "StatefulSet")["securityContext"].update(
            readOnlyRootFilesystem=False
        ),
        "kafka/kafka writes its root",
    ),
    "a token": Fault(
        "restricted",
        lambda d: d["Deployment", "web-serve"]["spec"]["template"]["spec"].pop(
            "automountServiceAccountToken"
        ),
        "web-serve is handed a token",
    ),
    "the latest image": Fault(
        "tagged", lambda d: _container(d, "web-serve").update(image="lyceum/web:latest"), "lyceum/web:latest"
    ),
    "an image without a tag": Fault(
        "tagged",
        lambda d: _container(d, "web-serve").update(image="host:5000/lyceum/web"),
        "host:5000/lyceum/web",
    ),
    "no limit": Fault(
        "limited",
        lambda d: _container(d, "catalog-consume")["resources"]["limits"].pop("memory"),
        "catalog-consume/consume has no limits of memory",
    ),
    "a wrong probe path": Fault(
        "probed",
        lambda d: _container(d, "catalog-serve")["readinessProbe"]["httpGet"].update(
            path="/api/catalog/ready"
        ),
        "/api/catalog/ready, which catalog does not answer",
    ),
    "a probe of a closed port": Fault(
        "probed",
        lambda d: _container(d, "catalog-serve")["livenessProbe"]["grpc"].update(port=9091),
        "asks port 9091",
    ),
    "no probe": Fault(
        "probed",
        lambda d: _container(d, "postgres", "StatefulSet").pop("livenessProbe"),
        "livenessProbe is missing",
    ),
    "too short a grace": Fault(
        "ended_in_peace",
        lambda d: d["Deployment", "enrollment-serve"]["spec"]["template"]["spec"].update(
            terminationGracePeriodSeconds=20
        ),
        "enrollment-serve is killed after 20 s",
    ),
    "an end without a word": Fault(
        "ended_in_peace",
        lambda d: _container(d, "web-serve").pop("lifecycle"),
        "web-serve ends before balancers know of it",
    ),
    "no budget": Fault(
        "disruptable",
        lambda d: d.pop(("PodDisruptionBudget", "identity-consume")),
        "identity-consume has no disruption budget",
    ),
    "all on one node": Fault(
        "disruptable",
        lambda d: d["Deployment", "identity-consume"]["spec"]["template"]["spec"].pop(
            "topologySpreadConstraints"
        ),
        "identity-consume does not spread",
    ),
    "an open house": Fault(
        "walled", lambda d: d.pop(("NetworkPolicy", "nothing-by-default")), "nothing denies by default"
    ),
    "a flow that is cut": Fault(
        "walled",
        lambda d: d["NetworkPolicy", "to-catalog"]["spec"]["ingress"].pop(),
        "analytics-consume cannot reach catalog-serve:9090",
    ),
    "a flow that nobody needs": Fault(
        "walled",
        lambda d: (
            d["NetworkPolicy", "to-identity"]["spec"]["ingress"][1]["from"].append({"podSelector": {}}),
            d["NetworkPolicy", "from-web"]["spec"]["egress"][0]["ports"].append({"port": 9090}),
        ),
        "web-serve can reach identity-serve:9090, for nothing",
    ),
    "a port that nobody is let in to": Fault(
        "walled",
        lambda d: d.pop(("NetworkPolicy", "to-kafka")),
        "catalog-consume cannot reach kafka:9092",
    ),
    "a variable under another name": Fault(
        "configured",
        lambda d: (data := _data(d, "ConfigMap", "lyceum")).update(
            LYCEUM_APP_URL=data.pop("LYCEUM_APP_ORIGIN")
        ),
        "there is no setting app_url",
    ),
    "a setting that is not set": Fault(
        "configured",
        lambda d: _data(d, "Secret", "assessment").pop("LYCEUM_ASSESSMENT_MASTER_KEY"),
        "assessment_master_key is not set",
    ),
    "a variable of somebody else's": Fault(
        "configured",
        lambda d: _data(d, "ConfigMap", "catalog").update(PGPASSWORD="x"),
        "PGPASSWORD is no variable of ours",
    ),
    "an address where nobody is": Fault(
        "addressed",
        lambda d: _data(d, "ConfigMap", "lyceum").update(LYCEUM_JWKS_URL="http://identity-http:8080/jwks"),
        "jwks_url leads to identity-http:8080",
    ),
    "a port that is not the Service's": Fault(
        "addressed",
        lambda d: _data(d, "ConfigMap", "lyceum").update(LYCEUM_ANALYTICS_GRPC="analytics:9191"),
        "analytics_grpc leads to analytics:9191",
    ),
    "a front door that leads to nobody": Fault(
        "addressed",
        lambda d: d["Service", "catalog"]["metadata"].update(name="catalogue"),
        "web-serve: catalog_http leads to catalog:8080",
    ),
    "a Secret that is not there": Fault(
        "referred",
        lambda d: _forget(d, "Secret", "kafka"),
        "kafka: there is no Secret",
    ),
    "a Service for nobody": Fault(
        "referred",
        lambda d: d["Service", "web"]["spec"]["selector"].update({"app.kubernetes.io/component": "server"}),
        "Service web selects nothing",
    ),
    "a Service's port that is not open": Fault(
        "referred",
        lambda d: d["Service", "web"]["spec"]["ports"][0].update(targetPort="https"),
        "web-serve has no port https",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(fault: Fault, checks: dict[str, Check], rendered: dict[str, Documents]) -> None:
    documents = {(d["kind"], d["metadata"]["name"]): copy.deepcopy(d) for d in rendered["dev"]}
    assert checks[fault.check](list(documents.values())) == []
    fault.plant(documents)
    assert fault.says in "\n".join(checks[fault.check](list(documents.values())))


def test_every_policy_has_its_fault(checks: dict[str, Check]) -> None:
    assert {fault.check for fault in FAULTS.values()} == checks.keys()


def test_each_service_has_what_the_others_know_of_it(rendered: dict[str, Documents]) -> None:
    """In dev, passwords stand in two places: with who gives them and with who asks for them."""
    dev = rendered["dev"]
    clients: dict[str, str] = json.loads(_secret(dev, "identity", "LYCEUM_IDENTITY_SERVICE_CLIENTS"))
    users: dict[str, str] = json.loads(_secret(dev, "kafka", "LYCEUM_POD_KAFKA_USERS"))
    assert clients["operator"] == _hash(_secret(dev, "operator", "client_secret"))
    for service in SERVICES:
        assert clients[service] == _hash(_secret(dev, service, "LYCEUM_CLIENT_SECRET"))
        assert users[service] == _secret(dev, service, "LYCEUM_KAFKA_PASSWORD")
    for variable, key, name in (
        ("LYCEUM_POD_POSTGRES_SERVICES", "LYCEUM_DATABASE_URL", "{}"),
        ("LYCEUM_POD_POSTGRES_OWNERS", "LYCEUM_MIGRATION_URL", "{}-owner"),
    ):
        passwords: dict[str, str] = json.loads(_secret(dev, "postgres", variable))
        for service, password in passwords.items():
            assert f":{password}@postgres/{service}" in _secret(dev, name.format(service), key)
    # The pod of Kafka grants what topics.yaml says (lyceum_local.kafka.grant); here is who that is for.
    assert {who for f in feeds().values() for who in (f.producer, *f.consumers)} <= users.keys()


def test_only_migrations_have_the_owners_password(rendered: dict[str, Documents]) -> None:
    for overlay, found in rendered.items():
        documents = [*found, *made(found)]
        having = {
            it.role
            for it in map(Pod, (d for d in documents if d["kind"] in WORKLOADS))
            for container in it.containers
            if "LYCEUM_MIGRATION_URL" in dict(environment(documents, container))
        }
        assert having == {"migrate"}, overlay


def test_every_folder_of_the_base_is_in_it() -> None:
    base = OVERLAYS.parent / "base"
    listed = (base / "kustomization.yaml").read_text()
    assert {f.name for f in base.iterdir() if f.is_dir() and f"- {f.name}\n" not in listed} == {
        "pattern",
        "named",
    }


def _secret(documents: Documents, name: str, key: str) -> str:
    return values(documents, "Secret", name)[key]


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
