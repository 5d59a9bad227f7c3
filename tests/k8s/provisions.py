"""What components bring as custom resources: topics and users, autoscaling, routes. Checks as in `policies`."""

from collections.abc import Iterator, Mapping
from typing import Any

from lyceum_kit.service import Service
from lyceum_kit.topics import feeds
from lyceum_local.gateway import PUBLIC
from lyceum_local.paths import SERVICES
from tests.k8s.policies import Documents, of_kind, pods

Right = tuple[str, str, str, str]  # user, kind of resource, its name, operation


def provisioned(documents: Documents) -> list[str]:
    """Every feed is a topic with its partitions and retention, and everybody may do what topics.yaml says, no more."""
    found = {d["metadata"]["name"]: d["spec"] for d in of_kind(documents, "KafkaTopic")}
    wanted = {feed.topic: feed for feed in feeds().values()}
    wrong = [f"{name} is no feed's topic" for name in sorted(found.keys() - wanted.keys())]
    for name, feed in wanted.items():
        if name not in found:
            wrong.append(f"topic {name} is missing")
            continue
        spec = found[name]
        if spec["partitions"] != feed.partitions:
            wrong.append(f"topic {name} has {spec['partitions']} partitions, not {feed.partitions}")
        if spec["config"]["retention.ms"] != feed.retention_days * 86_400_000:
            wrong.append(f"topic {name} is not kept for {feed.retention_days} days")
        if not 1 < spec["config"]["min.insync.replicas"] < spec["replicas"]:
            wrong.append(f"topic {name} loses events or stands still with one broker")
    given, due = set(_given(documents)), set(_due())
    wrong += [f"{' '.join(right)}: is not given" for right in sorted(due - given)]
    return wrong + [f"{' '.join(right)}: is given for nothing" for right in sorted(given - due)]


def _given(documents: Documents) -> Iterator[Right]:
    for user in of_kind(documents, "KafkaUser"):
        for acl in user["spec"]["authorization"]["acls"]:
            what = acl["resource"]
            exactly = what["name"] if what["patternType"] == "literal" else f"{what['name']}*"
            for operation in acl["operations"]:
                yield user["metadata"]["name"], what["type"], exactly, operation


def _due() -> Iterator[Right]:
    for feed in feeds().values():
        for operation in ("Write", "Create", "Describe", "Read"):
            yield feed.producer, "topic", feed.topic, operation
        for consumer in feed.consumers:
            yield consumer, "topic", feed.topic, "Read"
            yield consumer, "topic", feed.topic, "Describe"
            yield consumer, "group", consumer, "Read"


def scaled(documents: Documents) -> list[str]:
    """Consumers by the lag of all they consume, up to its partitions; what serves by its load; neither to none."""
    wrong: list[str] = []
    deployments = {it.name: it for it in pods(documents) if it.document["kind"] == "Deployment"}
    by_lag = {d["spec"]["scaleTargetRef"]["name"]: d["spec"] for d in of_kind(documents, "ScaledObject")}
    by_load = {
        d["spec"]["scaleTargetRef"]["name"]: d["spec"] for d in of_kind(documents, "HorizontalPodAutoscaler")
    }
    for service in SERVICES:
        name = f"{service}-consume"
        mine = [feed for feed in feeds().values() if service in feed.consumers]
        if not mine:
            continue
        if name not in by_lag:
            wrong.append(f"{name} does not scale")
            continue
        spec = by_lag[name]
        most = max(feed.partitions for feed in mine)
        if not 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"] == most:
            wrong.append(f"{name} scales to {spec['maxReplicaCount']}, and there are {most} partitions")
        watched = {(t["metadata"]["consumerGroup"], t["metadata"]["topic"]) for t in spec["triggers"]}
        if watched != {(service, feed.topic) for feed in mine}:
            wrong.append(f"{name} looks at {sorted(watched)}")
    serving = {name for name, it in deployments.items() if it.role == "serve"}
    wrong += [f"{name} does not scale" for name in sorted(serving - by_load.keys())]
    for name in by_lag.keys() | by_load.keys():
        if name not in deployments:
            wrong.append(f"{name} is to scale, and there is none")
        elif "replicas" in deployments[name].document["spec"]:
            wrong.append(f"{name} has a fixed number, which each apply would set again")
    return wrong


def routed(documents: Documents, services: Mapping[str, Service]) -> list[str]:
    """Every public path and RPC leads to its service, metrics to none, packages to hosts of their own."""
    ports = {
        (d["metadata"]["name"], port["port"])
        for d in of_kind(documents, "Service")
        for port in d["spec"]["ports"]
    }
    routes = {
        d["metadata"]["name"]: d["spec"]
        for kind in ("HTTPRoute", "GRPCRoute")
        for d in of_kind(documents, kind)
    }
    wrong = [
        f"route {name} leads to {ref['name']}:{ref['port']}, which is no Service's port"
        for name, spec in routes.items()
        for rule in spec["rules"]
        for ref in rule["backendRefs"]
        if (ref["name"], ref["port"]) not in ports
    ]
    expected = {
        "app": {
            **{("Exact", f"/api/{s}/metrics"): "web" for s in SERVICES},
            **{("PathPrefix", f"/api/{s}"): s for s in SERVICES},
            **{("PathPrefix", path): s for path, s in PUBLIC.items()},
            ("", ""): "web",
        },
        "packages": {("PathPrefix", "/__lms"): "assessment", ("", ""): "catalog"},
        "grpc": {("", rpc.name): s for s, it in services.items() for rpc in it.rpc},
    }
    for name, wanted in expected.items():
        found = dict(_matches(routes[name]))
        wrong += [
            f"route {name}: {' '.join(match)} leads to {found.get(match)}, not {wanted.get(match)}"
            for match in sorted(found.keys() | wanted.keys())
            if found.get(match) != wanted.get(match)
        ]
    if not all(host.startswith("*.") for host in routes["packages"]["hostnames"]):
        wrong.append("packages share a host")
    return wrong


def _matches(spec: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str], str]]:
    for rule in spec["rules"]:
        target: str = rule["backendRefs"][0]["name"]
        if "matches" not in rule:
            yield ("", ""), target
        for match in rule.get("matches", ()):
            path = match.get("path", {})
            yield (path.get("type", ""), path.get("value") or match["method"]["service"]), target
