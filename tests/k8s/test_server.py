"""A cluster's API server takes the objects of `ha` and `airgap`. `./lyceum test --k8s`, on a cluster that was given the
operators' definitions; what it has no definition of is left out."""

from collections.abc import Iterator

import pytest

from lyceum_local.testing.kubernetes import (
    OVERLAYS,
    ClusterError,
    fresh_namespace,
    render,
    try_out,
    versions,
)
from tests.k8s.rendered import Documents

pytestmark = pytest.mark.k8s
OPERATORS = {
    "kafka.strimzi.io/v1",
    "postgresql.cnpg.io/v1",
    "clickhouse.altinity.com/v1",
    "keda.sh/v1alpha1",
    "gateway.networking.k8s.io/v1",
}


@pytest.fixture(scope="module")
def known() -> set[str]:
    there = versions()
    if missing := OPERATORS - there:
        pytest.skip(f"the cluster was not given the definitions of {', '.join(sorted(missing))}")
    return there


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    with fresh_namespace() as made:
        yield made


@pytest.mark.parametrize("overlay", ["ha", "airgap"])
def test_the_server_takes_every_object(overlay: str, known: set[str], namespace: str) -> None:
    documents: Documents = [d for d in render(OVERLAYS / overlay) if d["apiVersion"] in known]
    assert {d["apiVersion"] for d in documents} >= OPERATORS
    try_out(namespace, documents)


@pytest.mark.parametrize(
    ("kind", "field"), [("Kafka", "kafkaa"), ("Cluster", "instancess"), ("Deployment", "replica")]
)
def test_a_misspelt_field_is_refused(kind: str, field: str, known: set[str], namespace: str) -> None:
    """The control."""
    assert known
    document = next(d for d in render(OVERLAYS / "ha") if d["kind"] == kind)
    with pytest.raises(ClusterError, match=rf"\.spec\.{field}: field not declared in schema"):
        try_out(namespace, [{**document, "spec": {**document["spec"], field: 1}}])
