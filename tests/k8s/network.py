"""Who can reach whom by the NetworkPolicies, and who has to. A check as in `policies`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lyceum_kit.topics import feeds
from lyceum_local import pod
from lyceum_local.paths import SERVICES
from tests.k8s.operators import MADE, made
from tests.k8s.rendered import WORKLOADS, Documents, Pod, environment, of_kind, pods, reached, selects

ROOT = Path(__file__).parents[2]
SERVING = ("serve", "consume")


@dataclass(frozen=True, order=True)
class Flow:
    source: str
    target: str
    port: int


def flows(documents: Documents) -> set[Flow]:
    """What the policies let our pods through to: out of the one and into the other."""
    policies = [d["spec"] for d in of_kind(documents, "NetworkPolicy")]
    found: set[Flow] = set()
    for a in pods(documents):
        for b in pods(documents, (*WORKLOADS, MADE)):
            for name, number in b.ports.items():
                out = _through(policies, "Egress", a, b, {number, name} if a is b else {number})
                if out and _through(policies, "Ingress", b, a, {number, name}):
                    found.add(Flow(a.name, b.name, number))
    return found


def _through(
    policies: Sequence[Mapping[str, Any]], way: str, here: Pod, there: Pod, ports: set[int | str]
) -> bool:
    """Whether a policy of `here` lets `there` in or out. No policy for a way would be an open door."""
    mine = [p for p in policies if way in p["policyTypes"] and selects(p["podSelector"], here.labels)]
    if not mine:
        return True
    peers, key = ("to", "egress") if way == "Egress" else ("from", "ingress")
    return any(
        (not rule.get("ports") or any(p["port"] in ports for p in rule["ports"]))
        and (
            peers not in rule
            or any(
                "podSelector" in peer and selects(peer["podSelector"], there.labels) for peer in rule[peers]
            )
        )
        for policy in mine
        for rule in policy.get(key, ())
    )


def called() -> set[tuple[str, str]]:
    """Who calls whom by gRPC: consumers their producers, and whoever the code opens a channel to."""
    pairs = {(consumer, feed.producer) for feed in feeds().values() for consumer in feed.consumers}
    for service in SERVICES:
        for file in (ROOT / "services" / service / "src").rglob("*.py"):
            pairs |= {(service, peer) for peer in re.findall(r'\.channel\("(\w+)"\)', file.read_text())}
    return pairs


def needed(documents: Documents) -> set[Flow]:
    """The flows that exist, as topics.yaml, the code and the settings have them."""
    behind = {
        service["metadata"]["name"]: [
            it.name
            for it in pods(documents, (*WORKLOADS, MADE))
            if selects({"matchLabels": service["spec"]["selector"]}, it.labels)
        ]
        for service in of_kind(documents, "Service")
    }
    wanted = {("web", service, 8080) for service in SERVICES}
    wanted |= {(service, "identity", 8080) for service in SERVICES if service != "identity"}
    wanted |= {(caller, peer, 9090) for caller, peer in called()}
    found: set[Flow] = set()
    for it in pods(documents):
        goes = {(peer, port) for caller, peer, port in wanted if caller == it.of and it.role in SERVING}
        for container in it.containers:
            given = dict(environment(documents, container))
            goes |= {reached(given[name]) for name in _stands_on(it) if name in given}
        if it.of == "kafka":
            goes.add(("kafka", pod.KAFKA_PORT))
        found |= {Flow(it.name, target, port) for peer, port in goes for target in behind.get(peer, ())}
    return found


def _stands_on(it: Pod) -> set[str]:
    """The settings that tell of databases and brokers, of those that this pod uses."""
    if it.of == "web":
        return set()
    databases = {"LYCEUM_DATABASE_URL", "LYCEUM_MIGRATION_URL", "LYCEUM_CLICKHOUSE_URL"}
    return databases | ({"LYCEUM_KAFKA"} if it.role == "consume" else set())


def walled(documents: Documents) -> list[str]:
    """Nothing goes by default, and what goes is exactly what exists."""
    documents = [*documents, *made(documents)]
    closed = [
        d
        for d in of_kind(documents, "NetworkPolicy")
        if d["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ]
    wrong = [] if closed else ["nothing denies by default"]
    really, should = flows(documents), needed(documents)
    wrong += [f"{f.source} cannot reach {f.target}:{f.port}" for f in sorted(should - really)]
    return wrong + [f"{f.source} can reach {f.target}:{f.port}, for nothing" for f in sorted(really - should)]
