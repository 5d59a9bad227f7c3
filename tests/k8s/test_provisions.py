"""The custom resources of `ha`, and with them all components, hold to topics.yaml and to the services; each check sees a fault
planted for it."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from lyceum_kit.service import Service
from lyceum_local.testing.kubernetes import OVERLAYS, render
from tests.k8s import provisions
from tests.k8s.rendered import Documents

Check = Callable[[Documents], list[str]]
CHECKS = ("provisioned", "stored", "analysed", "scaled", "routed")


@pytest.fixture(scope="module")
def checks(services: Mapping[str, Service]) -> dict[str, Check]:
    return {
        "provisioned": provisions.provisioned,
        "stored": provisions.stored,
        "analysed": provisions.analysed,
        "scaled": provisions.scaled,
        "routed": partial(provisions.routed, services=services),
    }


@pytest.fixture(scope="module")
def documents() -> Documents:
    return render(OVERLAYS / "ha")


@pytest.mark.parametrize("check", CHECKS)
def test_custom_resources_are(check: str, checks: dict[str, Check], documents: Documents) -> None:
    assert checks[check](documents) == []


@dataclass(frozen=True)
class Fault:
    check: str
    plant: Callable[[Any], object]  # given the documents by kind and name
    says: str


FAULTS: dict[str, Fault] = {
    "a missing topic": Fault(
        "provisioned",
        lambda d: d.pop(("KafkaTopic", "lyceum.catalog")),
        "topic lyceum.catalog is missing",
    ),
    "other partitions": Fault(
        "provisioned",
        lambda d: d["KafkaTopic", "lyceum.catalog"]["spec"].update(partitions=6),
        "lyceum.catalog has 6 partitions, not 12",
    ),
    "a right too many": Fault(
        "provisioned",
        lambda d: d["KafkaUser", "analytics"]["spec"]["authorization"]["acls"][0]["operations"].append(
            "Write"
        ),
        "analytics topic lyceum.identity Write: is given for nothing",
    ),
    "a right too few": Fault(
        "provisioned",
        lambda d: d["KafkaUser", "enrollment"]["spec"]["authorization"]["acls"].pop(),
        "enrollment group enrollment Read: is not given",
    ),
    "rights by a prefix": Fault(
        "provisioned",
        lambda d: d["KafkaUser", "catalog"]["spec"]["authorization"]["acls"][0]["resource"].update(
            patternType="prefix"
        ),
        "catalog topic lyceum.catalog* Write: is given for nothing",
    ),
    "a database that is missing": Fault(
        "stored", lambda d: d.pop(("Database", "catalog")), "there is no database catalog of catalog_owner"
    ),
    "a relay that logs in": Fault(
        "stored",
        lambda d: d["DatabaseRole", "identity-relay"]["spec"].update(login=True),
        "identity_relay, which reads every tenant, can log in",
    ),
    "a service that reads as its relay": Fault(
        "stored",
        lambda d: d["DatabaseRole", "identity"]["spec"].pop("inherit"),
        "identity does not take on identity_relay by SET ROLE alone",
    ),
    "a role above row-level security": Fault(
        "stored",
        lambda d: d["DatabaseRole", "catalog"]["spec"].update(bypassrls=True),
        "catalog has bypassrls",
    ),
    "a door for everybody": Fault(
        "stored",
        lambda d: d["Cluster", "postgres"]["spec"]["postgresql"]["pg_hba"].pop(),
        "postgres lets in others",
    ),
    "a commit on one machine": Fault(
        "stored",
        lambda d: d["Cluster", "postgres"]["spec"]["postgresql"]["synchronous"].update(
            dataDurability="preferred"
        ),
        "postgres can lose what it has committed",
    ),
    "no backup": Fault("stored", lambda d: d.pop(("ScheduledBackup", "postgres")), "is not backed up"),
    "an analyst of every tenant": Fault(
        "analysed",
        lambda d: d["ClickHouseInstallation", "lyceum"]["spec"]["configuration"]["users"].pop(
            "analyst/databases/lyceum/identity_events/filter"
        ),
        "analyst reads every tenant's identity_events",
    ),
    "an analyst who writes": Fault(
        "analysed",
        lambda d: d["ClickHouseInstallation", "lyceum"]["spec"]["configuration"]["profiles"].pop(
            "analyst/readonly"
        ),
        "analyst can write",
    ),
    "a query that runs away": Fault(
        "analysed",
        lambda d: d["ClickHouseInstallation", "lyceum"]["spec"]["configuration"]["profiles"].pop(
            "analyst/max_rows_to_read"
        ),
        "analyst's query may run away",
    ),
    "two writers of one table": Fault(
        "scaled",
        lambda d: d["Deployment", "analytics-consume"]["spec"].update(replicas=2),
        "analytics-consume may be two at once",
    ),
    "more consumers than partitions": Fault(
        "scaled",
        lambda d: d["ScaledObject", "enrollment-consume"]["spec"].update(maxReplicaCount=24),
        "enrollment-consume scales to 24, and there are 12 partitions",
    ),
    "a feed whose lag nobody sees": Fault(
        "scaled",
        lambda d: d["ScaledObject", "assessment-consume"]["spec"]["triggers"].pop(),
        "assessment-consume looks at",
    ),
    "two who say how many": Fault(
        "scaled",
        lambda d: d["Deployment", "web-serve"]["spec"].update(replicas=2),
        "web-serve has a fixed number",
    ),
    "metrics for everybody": Fault(
        "routed",
        lambda d: d["HTTPRoute", "app"]["spec"]["rules"].pop(0),
        "Exact /api/identity/metrics leads to None, not web",
    ),
    "a wrong port": Fault(
        "routed",
        lambda d: d["GRPCRoute", "grpc"]["spec"]["rules"][0]["backendRefs"][0].update(port=8081),
        "leads to identity:8081",
    ),
    "a service by another name": Fault(
        "routed",
        lambda d: d["GRPCRoute", "grpc"]["spec"]["rules"][1]["matches"][0]["method"].update(
            service="lyceum.catalog.v2.CatalogService"
        ),
        "lyceum.catalog.v1.CatalogService leads to None, not catalog",
    ),
    "one host for all packages": Fault(
        "routed",
        lambda d: d["HTTPRoute", "packages"]["spec"].update(hostnames=["packages.example.net"]),
        "packages share a host",
    ),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(fault: Fault, checks: dict[str, Check], documents: Documents) -> None:
    found = {(d["kind"], d["metadata"]["name"]): copy.deepcopy(d) for d in documents}
    fault.plant(found)
    assert fault.says in "\n".join(checks[fault.check](list(found.values())))


def test_every_check_has_its_fault() -> None:
    assert {fault.check for fault in FAULTS.values()} == set(CHECKS)
