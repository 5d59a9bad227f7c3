"""What overlays for people's records hold to besides `policies`, and `dev` does not. Checks as there."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

from lyceum_local.images import named_in
from lyceum_local.paths import SERVICES
from tests.k8s.operators import made
from tests.k8s.rendered import Document, Documents, Pod, environment, of_kind, pods

MOUNT = "/etc/lyceum/"
OURS = "lyceum/"


def pinned(documents: Documents) -> list[str]:
    """Our images by their digest, others' by a version at least."""
    wrong: list[str] = []
    for image in named_in(documents):
        name, _, digest = image.partition("@sha256:")
        if OURS in name and len(digest) != 64:
            wrong.append(f"{image} has no digest")
        elif not digest and (":" not in name.rpartition("/")[2] or name.endswith(":latest")):
            wrong.append(f"{image} may be anything tomorrow")
    return wrong


def encrypted(documents: Documents) -> list[str]:
    """Nothing of ours goes over the network in the clear, to databases, brokers and other services' gRPC."""
    documents = [*documents, *made(documents)]
    listeners = {
        listener["port"]: listener["tls"]
        for kafka in of_kind(documents, "Kafka")
        for listener in kafka["spec"]["kafka"]["listeners"]
    }
    wrong = [f"Kafka listens in the clear on {port}" for port, tls in listeners.items() if not tls]
    for it in pods(documents):
        if it.of not in SERVICES:
            continue
        for container in it.containers:
            given = dict(environment(documents, container))
            where = f"{it.name}/{container['name']}"
            for name in ("LYCEUM_DATABASE_URL", "LYCEUM_MIGRATION_URL"):
                asked = parse_qs(urlsplit(given.get(name, "")).query)
                if name in given and (asked.get("sslmode") != ["verify-full"] or "sslrootcert" not in asked):
                    wrong.append(f"{where}: {name} takes any server for PostgreSQL")
            if it.of == "analytics" and not given["LYCEUM_CLICKHOUSE_URL"].startswith("https://"):
                wrong.append(f"{where}: ClickHouse is spoken with in the clear")
            if given.get("LYCEUM_KAFKA_TLS") != "true" or "LYCEUM_KAFKA_CA" not in given:
                wrong.append(f"{where}: Kafka is spoken with in the clear")
            wrong += [
                f"{where}: {name} is not set"
                for name in ("LYCEUM_GRPC_CERTIFICATE", "LYCEUM_GRPC_KEY", "LYCEUM_GRPC_CA")
                if name not in given
            ]
    return wrong


def mounted(documents: Documents) -> list[str]:
    """Every file that a setting names is in a volume of the container, and a service's certificate is its own."""
    documents = [*documents, *made(documents)]
    wrong: list[str] = []
    for it in pods(documents):
        if it.of not in SERVICES:
            continue
        for container in it.containers:
            there = set(_files(it, container))
            for name, value in environment(documents, container):
                wanted = {v for v in (value, *_asked(value)) if v.startswith(MOUNT)}
                wrong += [
                    f"{it.name}/{container['name']}: {name} is at {path}, where nothing is"
                    for path in sorted(wanted - there)
                ]
        own = {source["name"] for source in _sources(it) if source["name"].endswith("-tls")}
        if own != {f"{it.of}-tls"}:
            wrong.append(f"{it.name} has the certificate of {sorted(own)}")
    return wrong


def _asked(url: str) -> Iterator[str]:
    for found in parse_qs(urlsplit(url).query).values():
        yield from found


def _sources(it: Pod) -> Iterator[Document]:
    """The Secrets of its projected volumes."""
    for volume in it.spec["volumes"]:
        for source in volume.get("projected", {}).get("sources", ()):
            yield source["secret"]


def _files(it: Pod, container: Document) -> Iterator[str]:
    volumes = {v["name"]: v for v in it.spec["volumes"]}
    for mount in container.get("volumeMounts", ()):
        for source in volumes[mount["name"]].get("projected", {}).get("sources", ()):
            yield from (f"{mount['mountPath']}/{item['path']}" for item in source["secret"]["items"])


def airtight(documents: Documents) -> list[str]:
    """One registry, with a credential for it, and no way out of the company's network."""
    registries = {image.partition("/")[0] for image in named_in(documents)}
    wrong = [f"images come from {', '.join(sorted(registries))}"] if len(registries) > 1 else []
    wrong += [
        f"{account['metadata']['name']} pulls without a credential"
        for account in of_kind(documents, "ServiceAccount")
        if not account.get("imagePullSecrets")
    ]
    wrong += [
        f"{document['kind']} {document['metadata']['name']} pulls without a credential"
        for document in documents
        if document["kind"] in _PULLERS and "imagePullSecrets" not in str(document["spec"])
    ]
    wrong += [
        f"Issuer {issuer['metadata']['name']} signs itself"
        for issuer in of_kind(documents, "Issuer")
        if "selfSigned" in issuer["spec"]
    ]
    for policy in of_kind(documents, "NetworkPolicy"):
        for rule in policy["spec"].get("egress", ()):
            name = policy["metadata"]["name"]
            wrong += [f"{name} leads out of the company: {why}" for why in _outside(rule)]
    return wrong


_PULLERS = ("Kafka", "Cluster", "ClickHouseInstallation", "ClickHouseKeeperInstallation")


def _outside(rule: Mapping[str, Any]) -> Iterator[str]:
    if "to" not in rule:
        if {port["port"] for port in rule.get("ports", ())} != {53}:  # the cluster's own names
            yield "anywhere"
        return
    for peer in rule["to"]:
        block = peer.get("ipBlock", {}).get("cidr")
        shared = block == "100.64.0.0/10"  # which providers give to nodes and pods
        if block and not shared and not ip_network(block).is_private:
            yield block
