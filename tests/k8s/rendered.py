"""Rendered documents as the checks look at them: pods, their labels, ports and environment."""

import re
from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from lyceum_local import pod

Document = dict[str, Any]
Documents = Sequence[Document]

WORKLOADS = ("Deployment", "StatefulSet", "Job")


@dataclass(frozen=True)
class Pod:
    """A workload's pod template."""

    document: Document

    @property
    def name(self) -> str:
        return str(self.document["metadata"]["name"])

    @property
    def template(self) -> Document:
        return self.document["spec"]["template"]

    @property
    def spec(self) -> Document:
        return self.template["spec"]

    @property
    def labels(self) -> Mapping[str, str]:
        return self.template["metadata"]["labels"]

    @property
    def of(self) -> str:
        """The service or part it belongs to."""
        return self.labels["app.kubernetes.io/name"]

    @property
    def role(self) -> str:
        return self.labels.get("app.kubernetes.io/component", "")

    @property
    def containers(self) -> list[Document]:
        return [*self.spec["containers"], *self.spec.get("initContainers", ())]

    @property
    def ports(self) -> dict[str, int]:
        return {p["name"]: p["containerPort"] for c in self.spec["containers"] for p in c.get("ports", ())}


def pods(documents: Documents, kinds: Sequence[str] = WORKLOADS) -> list[Pod]:
    return [Pod(d) for d in documents if d["kind"] in kinds]


def of_kind(documents: Documents, kind: str) -> list[Document]:
    return [d for d in documents if d["kind"] == kind]


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    for expression in selector.get("matchExpressions", ()):
        within = labels.get(expression["key"]) in expression["values"]
        if within != {"In": True, "NotIn": False}[expression["operator"]]:
            return False
    return True


def environment(documents: Documents, container: Document) -> Iterator[tuple[str, str]]:
    """The variables of a container and their values, from wherever they come."""
    for source in container.get("envFrom", ()):
        for kind, reference in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference in source:
                yield from values(documents, kind, source[reference]["name"]).items()
    for entry in container.get("env", ()):
        yield entry["name"], entry["value"]


def values(documents: Documents, kind: str, name: str) -> dict[str, str]:
    """Of the ConfigMap or Secret; the hash that Kustomize puts behind a name may be left out. Empty: there is none."""
    for document in of_kind(documents, kind):
        full = document["metadata"]["name"]
        if full == name or re.fullmatch(rf"{re.escape(name)}-[a-z0-9]{{10}}", full):
            data = document.get("data", {})
            return {k: b64decode(v).decode() for k, v in data.items()} if kind == "Secret" else dict(data)
    return {}


def reached(address: str) -> tuple[str, int]:
    """Host and port; no host where it is a folder, or somewhere outside the cluster. Of a Service's whole name, the first part."""
    parts = urlsplit(address if "://" in address else f"tcp://{address}")
    if parts.scheme in ("file", "chdb", "s3"):
        return "", 0
    standard = {"postgresql": pod.POSTGRES_PORT, "https": 443}
    return (parts.hostname or "").removesuffix(".lyceum.svc"), parts.port or standard.get(parts.scheme, 80)
