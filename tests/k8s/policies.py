"""What every overlay has to hold to. Each check looks at rendered documents and says what is wrong; nothing: [].

`test_policies.py` holds the overlays to them and proves that none of them sleeps.
"""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any, cast

import kubernetes_validate
from fastapi.routing import iter_route_contexts
from pydantic_settings import BaseSettings

from lyceum_kit.service import Service
from lyceum_kit.serving import FINISH_SECONDS
from lyceum_local import front, pod
from lyceum_local.paths import SERVICES
from tests.k8s import schemas
from tests.k8s.operators import MADE, made
from tests.k8s.rendered import (
    WORKLOADS,
    Document,
    Documents,
    Pod,
    environment,
    of_kind,
    pods,
    reached,
    selects,
    values,
)

KUBERNETES = "1.34"
ENVIRONMENT = "LYCEUM_"

# Settings that no overlay needs to say anything about: their defaults are right in a cluster.
LEFT_ALONE = {
    "http_host", "http_port", "grpc_host", "grpc_port", "issuer", "log_level", "log_format", "otlp_endpoint",
    "kafka_tls", "kafka_ca", "kafka_certificate", "kafka_key", "kafka_replication",
    "grpc_certificate", "grpc_key", "grpc_ca", "grpc_client_ca", "database_pool", "grpc_reflection",
    *(f"{s}_grpc" for s in SERVICES), *(f"{s}_http" for s in SERVICES),
    "identity_proxies", "identity_deactivation_share", "identity_deactivation_floor", "identity_session_hours",
    "identity_link_hours", "identity_signing_key_overlap_hours",
    "catalog_upload_folder", "catalog_upload_bytes", "catalog_inspection_seconds",
    "enrollment_chunk",
    "assessment_player_dir", "assessment_launch_lifetime",
    "analytics_readers", "analytics_memory", "analytics_insert_pause", "analytics_sql_port", "analytics_sql_host",
    "analytics_sql_user", "analytics_sql_password", "analytics_sql_seconds", "analytics_sql_memory",
    "analytics_sql_rows", "analytics_sql_bytes", "analytics_sql_queries", "clickhouse_cluster",
    "web_dir", "web_content_port",
    "data", "kafka_host",
}  # fmt: skip
# Of the kit's settings, those that only services with a database have, or the front door has no use for.
NO_DATABASE = {"database_url", "migration_url"}
# Of others, by the service that hands them on: the store of packages has its own names for what it needs.
FOREIGN = {
    "catalog": {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT", "SSL_CERT_FILE"}
}
NOT_OF_WEB = {
    "client_id", "client_secret", "kafka_user", "kafka_password", "kafka", "jwks_url", "token_url", *NO_DATABASE,
}  # fmt: skip


def valid(documents: Documents) -> list[str]:
    """Against Kubernetes' and the operators' schemas, strictly: a field that does not exist is an error."""
    wrong: list[str] = []
    custom = schemas.known()
    for document in documents:
        if f"{document['apiVersion']}/{document['kind']}" in custom:
            name = f"{document['kind']} {document['metadata']['name']}"
            wrong += [f"{name}: {why}" for why in schemas.check(document, custom)]
            continue
        try:
            kubernetes_validate.validate(document, KUBERNETES, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as e:
            wrong.append(f"{document['kind']} {document['metadata']['name']}: {e}")
    return wrong


def restricted(documents: Documents) -> list[str]:
    """The restricted Pod Security standard, and our own: a read-only root and no token."""
    wrong: list[str] = []
    for it in pods(documents):
        context = it.spec.get("securityContext", {})
        wanted = {
            "runs as nobody in particular": context.get("runAsNonRoot") and context.get("runAsUser", 0) > 0,
            "has no seccomp profile": context.get("seccompProfile", {}).get("type") == "RuntimeDefault",
            "is handed a token": it.spec.get("automountServiceAccountToken") is False,
            "takes the default account": it.spec.get("serviceAccountName", "default") != "default",
            "shares what is the node's": not it.spec.keys() & {"hostNetwork", "hostPID", "hostIPC"},
            "mounts a folder of the node": not any("hostPath" in v for v in it.spec.get("volumes", ())),
        }
        wrong += [f"{it.name} {why}" for why, holds in wanted.items() if not holds]
        for container in it.containers:
            own = container.get("securityContext", {})
            may = {
                "may gain privileges": own.get("allowPrivilegeEscalation") is False,
                "has capabilities": own.get("capabilities", {}).get("drop") == ["ALL"]
                and not own["capabilities"].get("add"),
                "writes its root": own.get("readOnlyRootFilesystem") is True,
                "is privileged": not own.get("privileged"),
                "runs as root": own.get("runAsUser", 1) != 0,
            }
            wrong += [f"{it.name}/{container['name']} {why}" for why, holds in may.items() if not holds]
    return wrong


def tagged(documents: Documents) -> list[str]:
    """Every image says which one it is: a digest, or a tag other than latest."""
    images = {(it.name, c["image"]) for it in pods(documents) for c in it.containers}
    return [
        f"{name}: {image} may be anything tomorrow"
        for name, image in sorted(images)
        if "@sha256:" not in image and (":" not in image.rpartition("/")[2] or image.endswith(":latest"))
    ]


def limited(documents: Documents) -> list[str]:
    """Every container asks for what it needs, and gets no more than it may have."""
    return [
        f"{it.name}/{container['name']} has no {kind} of {what}"
        for it in pods(documents)
        for container in it.containers
        for kind in ("requests", "limits")
        for what in ("cpu", "memory")
        if what not in container.get("resources", {}).get(kind, {})
    ]


def probed(documents: Documents, services: Mapping[str, Service]) -> list[str]:
    """All three probes where something serves, on ports that are there and paths that are answered."""
    wrong: list[str] = []
    for it in pods(documents):
        if it.document["kind"] == "Job":
            continue
        for container in it.spec["containers"]:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                what = container.get(probe)
                where = f"{it.name}/{container['name']}: {probe}"
                if what is None:
                    wrong.append(f"{where} is missing")
                    continue
                for kind in ("httpGet", "grpc", "tcpSocket"):
                    port = what.get(kind, {}).get("port")
                    if port is not None and port not in {*it.ports, *it.ports.values()}:
                        wrong.append(f"{where} asks port {port}, which is not open")
                path = what.get("httpGet", {}).get("path")
                if path is not None and path not in answered(it.of, services):
                    wrong.append(f"{where} asks for {path}, which {it.of} does not answer")
                if "grpc" in what and "LYCEUM_GRPC_CERTIFICATE" in dict(environment(documents, container)):
                    wrong.append(f"{where} asks gRPC, which has TLS there, and the kubelet has none")
    return wrong


def answered(name: str, services: Mapping[str, Service]) -> set[str]:
    if name == "web":
        return {"/livez"}
    return {str(route.path) for route in iter_route_contexts(services[name].http.routes)}


def ended_in_peace(documents: Documents) -> list[str]:
    """A pod that serves has time to be forgotten by balancers, to drain, and to finish what it has begun."""
    drain = float(values(documents, "ConfigMap", "lyceum")["LYCEUM_DRAIN_SECONDS"])
    wrong: list[str] = []
    for it in pods(documents):
        if it.document["kind"] != "Deployment":
            continue
        for container in it.spec["containers"]:
            sleep = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
            grace = it.spec.get("terminationGracePeriodSeconds", 30)
            if sleep < 5:
                wrong.append(f"{it.name} ends before balancers know of it")
            if grace <= sleep + drain + FINISH_SECONDS:
                wrong.append(
                    f"{it.name} is killed after {grace} s: it may need {sleep + drain + FINISH_SECONDS}"
                )
    return wrong


def disruptable(documents: Documents) -> list[str]:
    """What runs more than once has a budget and spreads over nodes."""
    wrong: list[str] = []
    budgets = [d["spec"]["selector"] for d in of_kind(documents, "PodDisruptionBudget")]
    for it in pods(documents):
        if it.document["kind"] != "Deployment":
            continue
        if not any(selects(budget, it.labels) for budget in budgets):
            wrong.append(f"{it.name} has no disruption budget")
        spread = it.spec.get("topologySpreadConstraints", ())
        if not any(selects(s["labelSelector"], it.labels) for s in spread):
            wrong.append(f"{it.name} does not spread over nodes")
    return wrong


def settings_of(it: Pod) -> type[BaseSettings]:
    if it.of in SERVICES:
        return importlib.import_module(f"{it.of}.settings").Settings
    return front.Settings if it.of == "web" else pod.Settings


def configured(documents: Documents) -> list[str]:
    """Every variable is a setting, and every setting is set, or left alone for a reason."""
    documents = [*documents, *made(documents)]
    wrong: list[str] = []
    for it in pods(documents):
        kind = settings_of(it)
        prefix = kind.model_config.get("env_prefix", "")
        for container in it.containers:
            where = f"{it.name}/{container['name']}"
            names = {name for name, _ in environment(documents, container)} - FOREIGN.get(it.of, set())
            given = {n.removeprefix(prefix).lower() for n in names if n.startswith(prefix)}
            wrong += [
                f"{where}: {n} is no variable of ours" for n in sorted(names) if not n.startswith(prefix)
            ]
            # The front door reads what all share, and has no use for some of it.
            unknown = given - kind.model_fields.keys()
            wrong += [f"{where}: there is no setting {name}" for name in sorted(unknown)]
            missing = kind.model_fields.keys() - given - LEFT_ALONE - _not_for(it)
            wrong += [f"{where}: {name} is not set" for name in sorted(missing)]
    return wrong


def _not_for(it: Pod) -> set[str]:
    if it.of == "web":
        return NOT_OF_WEB
    if it.of in ("postgres", "kafka"):
        return {name for name in pod.Settings.model_fields if not name.startswith(it.of)}
    if it.of == "analytics":
        return NO_DATABASE
    return set() if it.role == "migrate" else {"migration_url"}


def addressed(documents: Documents) -> list[str]:
    """Whatever address a pod goes to inside the cluster, set or by default, is a Service's, and one of its ports."""
    documents = [*documents, *made(documents)]
    open_ports = {
        service["metadata"]["name"]: {port["port"] for port in service["spec"]["ports"]}
        for service in of_kind(documents, "Service")
    }
    wrong: list[str] = []
    for it in pods(documents):
        if it.of not in (*SERVICES, "web"):
            continue
        fields = settings_of(it).model_fields
        addresses = {name: str(field.default) for name, field in fields.items() if is_address(name)}
        for container in it.containers:
            addresses |= {
                name: value
                for variable, value in environment(documents, container)
                if is_address(name := variable.removeprefix(ENVIRONMENT).lower())
            }
        for name in addresses.keys() - _not_for(it):
            host, port = reached(addresses[name])
            if host and port not in open_ports.get(host, set()):
                wrong.append(f"{it.name}: {name} leads to {host}:{port}, which is no Service's port")
    return wrong


def is_address(setting: str) -> bool:
    return setting == "kafka" or setting.endswith(("_grpc", "_http", "_url"))


def referred(documents: Documents) -> list[str]:
    """What pods name is there: ConfigMaps, Secrets, accounts, claims, and Services that select something."""
    documents = [*documents, *made(documents)]
    there = {(d["kind"], d["metadata"]["name"]) for d in documents}
    wrong = [
        f"{kind} {name}: there is no {key} in Secret {secret}"
        for kind, name, secret, key in sorted(_secrets(documents))
        if key not in values(documents, "Secret", secret)
    ]
    for it in pods(documents):
        named = {("ServiceAccount", it.spec["serviceAccountName"])}
        for container in it.containers:
            for source in container.get("envFrom", ()):
                named |= {("ConfigMap", source[k]["name"]) for k in source if k == "configMapRef"}
                named |= {("Secret", source[k]["name"]) for k in source if k == "secretRef"}
        claims = (v["persistentVolumeClaim"] for v in it.spec["volumes"] if "persistentVolumeClaim" in v)
        named |= {("PersistentVolumeClaim", claim["claimName"]) for claim in claims}
        wrong += [f"{it.name}: there is no {kind} {name}" for kind, name in sorted(named - there)]
    for service in of_kind(documents, "Service"):
        behind = [
            it
            for it in pods(documents, (*WORKLOADS, MADE))
            if selects({"matchLabels": service["spec"]["selector"]}, it.labels)
        ]
        name = service["metadata"]["name"]
        if not behind:
            wrong.append(f"Service {name} selects nothing")
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            wrong += [
                f"Service {name}: {it.name} has no port {target}"
                for it in behind
                if target not in {*it.ports, *it.ports.values()}
            ]
    return wrong


def _secrets(documents: Documents) -> set[tuple[str, str, str, str]]:
    """Who names which key of which Secret: volumes, and whatever custom resources look up."""
    found: set[tuple[str, str, str, str]] = set()
    for document in documents:
        who = (str(document["kind"]), str(document["metadata"]["name"]))
        found |= {(*who, secret, key) for secret, key in _named(document.get("spec"))}
    return found


def _named(value: Any) -> Iterator[tuple[str, str]]:
    """The Secrets and keys in a spec, by the forms that the kinds in our overlays have."""
    if isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _named(item)
    if not isinstance(value, dict):
        return
    for key, inside in cast("Document", value).items():
        match key, inside:
            case "secret", {"name": str(name), "items": [*items]}:
                yield from ((name, str(item["key"])) for item in cast("list[Document]", items))
            case "secret", {"secretName": str(name)}:
                yield name, "tls.crt"
            case "ca", {"secretName": str(name)}:
                yield name, "tls.key"
            case "passwordSecret", {"name": str(name)}:
                yield name, "password"
            case "secretKeyRef" | "accessKeyId" | "secretAccessKey" | "endpointCA", {
                "name": str(name),
                "key": str(of),
            }:
                yield name, of
            case "secretTargetRef", [*references]:
                yield from ((str(r["name"]), str(r["key"])) for r in cast("list[Document]", references))
            case str(), str() if key.endswith("/k8s_secret_password"):
                name, _, of = inside.partition("/")
                yield name, of
            case _:
                yield from _named(inside)
