"""What custom resources bring: topics and users, databases and roles, analysts, autoscaling, routes. Checks as in `policies`."""

from collections.abc import Iterator, Mapping
from typing import Any

from analytics.projections import table
from lyceum_kit.service import Service
from lyceum_kit.topics import feeds
from lyceum_local.gateway import PUBLIC
from lyceum_local.paths import LEDGER_SERVICES, SERVICES
from tests.k8s.rendered import Documents, of_kind, pods

ALONE = {"analytics"}  # who consumes in one process: services/analytics/README.md

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


def stored(documents: Documents) -> list[str]:
    """A database for each service that has one, with the three roles of `lyceum_local.postgres`; what is committed is on two
    machines and in a backup."""
    wrong: list[str] = []
    roles = {d["spec"]["name"]: d["spec"] for d in of_kind(documents, "DatabaseRole")}
    databases = {d["spec"]["name"]: d["spec"] for d in of_kind(documents, "Database")}
    for service in LEDGER_SERVICES:
        owner, relay = f"{service}_owner", f"{service}_relay"
        database = databases.get(service, {})
        if database.get("owner") != owner or database.get("schemas") != [{"name": "public", "owner": owner}]:
            wrong.append(f"there is no database {service} of {owner}")
        if not roles.get(owner, {}).get("login"):
            wrong.append(f"{owner} cannot log in")
        if roles.get(relay, {"login": True}).get("login"):
            wrong.append(f"{relay}, which reads every tenant, can log in")
        own = roles.get(service, {})
        if (own.get("login"), own.get("inherit"), own.get("inRoles")) != (True, False, [relay]):
            wrong.append(f"{service} does not take on {relay} by SET ROLE alone")
    for name, role in roles.items():
        powers = sorted({"superuser", "bypassrls", "createdb", "createrole", "replication"} & role.keys())
        wrong += [f"{name} has {power}" for power in powers]
    doors = [f"hostssl {s} {s},{s}_owner all scram-sha-256" for s in LEDGER_SERVICES]
    nightly = {d["spec"]["cluster"]["name"] for d in of_kind(documents, "ScheduledBackup")}
    stores = {d["metadata"]["name"] for d in of_kind(documents, "ObjectStore")}
    for cluster in of_kind(documents, "Cluster"):
        name, spec = cluster["metadata"]["name"], cluster["spec"]
        if spec["postgresql"]["pg_hba"] != [*doors, "host all all all reject"]:
            wrong.append(f"{name} lets in others than a database's own roles, or not by TLS")
        together = spec["postgresql"].get("synchronous", {})
        if (
            spec["instances"] < 3
            or together.get("number", 0) < 1
            or together.get("dataDurability") != "required"
        ):
            wrong.append(f"{name} can lose what it has committed")
        kept = {p["parameters"]["barmanObjectName"] for p in spec["plugins"] if p.get("isWALArchiver")}
        if not kept or kept - stores or name not in nightly:
            wrong.append(f"{name} is not backed up")
    return wrong


def analysed(documents: Documents) -> list[str]:
    """Whoever comes to ClickHouse besides analytics reads one tenant's rows of every table, within limits."""
    wrong: list[str] = []
    for installation in of_kind(documents, "ClickHouseInstallation"):
        configuration = installation["spec"]["configuration"]
        settings = {key: configuration[key] for key in ("users", "profiles", "quotas")}
        for user in sorted({key.partition("/")[0] for key in settings["users"]} - {"analytics"}):
            own = _under(settings["users"], user)
            profile = _under(settings["profiles"], own.get("profile", ""))
            quota = _under(settings["quotas"], own.get("quota", ""))
            if profile.get("readonly") != 1:
                wrong.append(f"{user} can write")
            if not {"max_execution_time", "max_memory_usage", "max_rows_to_read"} <= profile.keys():
                wrong.append(f"{user}'s query may run away")
            if not {"interval/duration", "interval/execution_time"} <= quota.keys():
                wrong.append(f"{user} has no quota")
            for feed in feeds():
                if not str(own.get(f"databases/lyceum/{table(feed)}/filter", "")).startswith("tenant = "):
                    wrong.append(f"{user} reads every tenant's {table(feed)}")
    return wrong


def _under(settings: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {k.removeprefix(f"{name}/"): v for k, v in settings.items() if k.startswith(f"{name}/")}


def scaled(documents: Documents) -> list[str]:
    """Consumers by the lag of all they consume, up to its partitions; what serves by its load; neither to none. Who consumes in
    one process is one pod, and the next one waits for its end."""
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
        if service in ALONE:
            spec = deployments[name].document["spec"]
            if name in by_lag or (spec["replicas"], spec["strategy"]["type"]) != (1, "Recreate"):
                wrong.append(f"{name} may be two at once")
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
