"""What operators make of our custom resources, as far as our other documents speak of it: Services and their pods' labels and
ports, Secrets and their keys. From the operators' documentation; the resources themselves are held to their schemas."""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Document = dict[str, Any]
MADE = "Made"  # the kind of a workload that an operator keeps


def made(documents: Sequence[Document]) -> list[Document]:
    return [it for document in documents for it in _MAKERS.get(document["kind"], _nothing)(document)]


def _nothing(_: Document) -> Iterator[Document]:
    yield from ()


def _kafka(document: Document) -> Iterator[Document]:
    name = document["metadata"]["name"]
    ports = {listener["name"]: listener["port"] for listener in document["spec"]["kafka"]["listeners"]}
    labels = {"app.kubernetes.io/name": "kafka", "strimzi.io/cluster": name}
    yield from _serving(f"{name}-kafka-bootstrap", labels, ports)
    yield _secret(f"{name}-cluster-ca-cert", {"ca.crt": "PEM"})


def _postgres(document: Document) -> Iterator[Document]:
    name = document["metadata"]["name"]
    labels = {"app.kubernetes.io/name": "postgresql", "cnpg.io/cluster": name}
    yield from _serving(f"{name}-rw", labels, {"postgres": 5432})
    yield _secret(f"{name}-ca", {"ca.crt": "PEM"})


def _clickhouse(document: Document) -> Iterator[Document]:
    name = document["metadata"]["name"]
    (service,) = document["spec"]["templates"]["serviceTemplates"]
    labels = {"app.kubernetes.io/name": "clickhouse", "clickhouse.altinity.com/chi": name}
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    yield from _serving(service["generateName"].replace("{chi}", name), labels, ports)


def _keeper(document: Document) -> Iterator[Document]:
    name = document["metadata"]["name"]
    labels = {"app.kubernetes.io/name": "keeper", "clickhouse-keeper.altinity.com/chk": name}
    yield from _serving(f"keeper-{name}", labels, {"zk": 2181})


def _external_secret(document: Document) -> Iterator[Document]:
    target = document["spec"]["target"]
    yield _secret(target["name"], target["template"]["data"])


def _certificate(document: Document) -> Iterator[Document]:
    yield _secret(document["spec"]["secretName"], {"tls.crt": "PEM", "tls.key": "PEM", "ca.crt": "PEM"})


def _serving(name: str, labels: Mapping[str, str], ports: Mapping[str, int]) -> Iterator[Document]:
    """A Service and the pods behind it."""
    open_ports = [{"name": port, "containerPort": number} for port, number in ports.items()]
    yield {
        "kind": MADE,
        "metadata": {"name": labels["app.kubernetes.io/name"]},
        "spec": {
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"ports": open_ports}]}}
        },
    }
    yield {
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": labels, "ports": [{"name": port, "port": n} for port, n in ports.items()]},
    }


def _secret(name: str, data: Mapping[str, str]) -> Document:
    encoded = {key: b64encode(value.encode()).decode() for key, value in data.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": encoded}


_MAKERS = {
    "Kafka": _kafka,
    "Cluster": _postgres,
    "ClickHouseInstallation": _clickhouse,
    "ClickHouseKeeperInstallation": _keeper,
    "ExternalSecret": _external_secret,
    "Certificate": _certificate,
}
