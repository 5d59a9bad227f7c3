"""The platform on a real Kubernetes for tests: an overlay applied to whatever cluster KUBECONFIG names, and reached as
its users reach it, through Services that `kubectl port-forward` brings to this machine.

The namespace is a fresh one of this run, and goes at the end; nothing else of the cluster is touched.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64decode
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from lyceum_local.children import bound
from lyceum_local.config import Config, Secrets
from lyceum_local.paths import repository
from lyceum_local.testing import Platform, free_port

OVERLAYS = repository() / "deploy" / "k8s" / "overlays"
# The environment's own first: it comes with the tools for tests, and a machine may have none.
KUBECTL = shutil.which(
    "kubectl", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
)


# Run by a pod's own Python: the cluster's events tell a probe's status only.
ASK_READINESS = """
import sys, urllib.error, urllib.request
try:
    print(urllib.request.urlopen("http://127.0.0.1:8080" + sys.argv[1], timeout=10).read().decode())
except urllib.error.HTTPError as e:
    print(e.read().decode())
"""


class ClusterError(Exception):
    """The cluster refused, or did not get ready; the message is its own."""


def render(folder: Path) -> list[dict[str, Any]]:
    """What `kubectl kustomize` makes of a folder."""
    return [document for document in yaml.safe_load_all(_kubectl("kustomize", str(folder))) if document]


def versions() -> set[str]:
    """Of APIs that the cluster has: `apps/v1`, and those of operators whose definitions it was given."""
    return set(_kubectl("api-versions").split())


@contextmanager
def fresh_namespace() -> Generator[str]:
    name = f"lyceum-{uuid4().hex[:8]}"
    _kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        _kubectl("delete", "namespace", name, "--wait=false")


def try_out(namespace: str, documents: Sequence[Mapping[str, Any]]) -> None:
    """Have the API server check them, and keep nothing. Raises ClusterError for what it would refuse, and for a field
    that it does not know."""
    there = [{**d, "metadata": {**d["metadata"], "namespace": namespace}} for d in documents]
    asked = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    _kubectl(*asked, text=yaml.safe_dump_all(there))


def _kubectl(*arguments: str, text: str | None = None, seconds: float = 120) -> str:
    ran = subprocess.run(
        [KUBECTL or "kubectl", *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    if ran.returncode:
        raise ClusterError(f"kubectl {' '.join(arguments)}: {ran.stderr.strip()[-2000:]}")
    return ran.stdout


@dataclass
class Forward:
    """A Service's ports, or a pod's, on this machine. When its pod goes, another one is taken."""

    namespace: str
    target: str
    ports: Mapping[int, int]  # here → there
    _stopping: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._keep, name=f"forward {self.target}", daemon=True)
        self._thread.start()

    def again(self) -> None:
        """To a pod that is there now: kubectl notices that its own has gone only when somebody asks."""
        if process := self._process:
            process.terminate()
            process.wait(15)
        for port in self.ports:
            _listening(port)

    def stop(self) -> None:
        self._stopping.set()
        if self._process:
            self._process.terminate()
        self._thread.join(15)

    def _keep(self) -> None:
        pairs = [f"{here}:{there}" for here, there in self.ports.items()]
        while not self._stopping.is_set():
            self._process = subprocess.Popen(
                bound(
                    [
                        KUBECTL or "kubectl",
                        "--namespace",
                        self.namespace,
                        "port-forward",
                        self.target,
                        *pairs,
                    ],
                    signal.SIGKILL,
                ),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            self._process.wait()
            self._stopping.wait(0.3)


@dataclass
class Cluster:
    """The overlay in its namespace. `platform` is what tests of the whole use everywhere."""

    namespace: str
    platform: Platform
    forwards: list[Forward] = field(default_factory=list[Forward])

    def reach(self) -> None:
        """The Services, whatever became of the pods behind them."""
        for forward in self.forwards:
            forward.again()
        self.platform.answering()

    def kubectl(self, *arguments: str, seconds: float = 120) -> str:
        return _kubectl("--namespace", self.namespace, *arguments, seconds=seconds)

    def get(self, kind: str, selector: str = "") -> list[dict[str, Any]]:
        asked = ["get", kind, "--output=json", *([f"--selector={selector}"] if selector else [])]
        return list(json.loads(self.kubectl(*asked))["items"])

    def deployments(self) -> list[str]:
        return sorted(d["metadata"]["name"] for d in self.get("deployments"))

    def ready(self, *names: str, seconds: float = 600) -> None:
        """Wait until rollouts are complete: these, or all of them."""
        wanted = names or (
            *(f"statefulset/{s['metadata']['name']}" for s in self.get("statefulsets")),
            *(f"deployment/{name}" for name in self.deployments()),
        )
        for name in wanted:
            try:
                self.kubectl("rollout", "status", name, f"--timeout={seconds:.0f}s", seconds=seconds + 10)
            except ClusterError as e:
                raise ClusterError(f"{e}\n{self.told()}") from e

    def restart(self, name: str) -> None:
        """As an upgrade does it: one pod after the other."""
        self.kubectl("rollout", "restart", f"deployment/{name}")
        self.ready(f"deployment/{name}")

    def scale(self, name: str, replicas: int) -> None:
        self.kubectl("scale", name, f"--replicas={replicas}")
        self.ready(name)

    def told(self) -> str:
        """What the cluster says of pods that are not ready, for a failure's message."""
        lines: list[str] = [self.kubectl("get", "pods", "--output=wide")]
        for pod in self.get("pods"):
            statuses = pod["status"].get("containerStatuses", []) + pod["status"].get(
                "initContainerStatuses", []
            )
            if pod["status"]["phase"] != "Succeeded" and not all(s["ready"] for s in statuses):
                name = pod["metadata"]["name"]
                lines.append(self.kubectl("describe", "pod", name)[-1500:])
                path = pod["spec"]["containers"][0]["readinessProbe"].get("httpGet", {}).get("path", "/")
                ask = ("exec", name, "--", "python", "-c", ASK_READINESS, path)
                lines.append(_tried("--namespace", self.namespace, *ask))
                lines.append(
                    _tried("--namespace", self.namespace, "logs", name, "--all-containers", "--tail=15")
                )
        return "\n".join(lines)


def _tried(*arguments: str) -> str:
    try:
        return _kubectl(*arguments)
    except ClusterError as e:
        return str(e)


@contextmanager
def applied(overlay: str = "dev", *, kept: str = "") -> Generator[Cluster]:
    """The overlay on a cluster that has none of it, until the end of the block. `kept`: in the namespace of that name,
    which stays and is found again: it saves the start while writing a test."""
    if KUBECTL is None:
        raise ClusterError("kubectl was not found")
    namespace = kept or f"lyceum-{uuid4().hex[:8]}"
    ports = {name: free_port() for name in ("app", "content", "postgres", "clickhouse")}
    ports |= _ports_before(kept) if kept else {}
    folder = Path(tempfile.mkdtemp(prefix="lyceum-k8s-"))
    (folder / "kustomization.yaml").write_text(
        yaml.safe_dump(
            {
                "namespace": namespace,
                "resources": [os.path.relpath(OVERLAYS / overlay, folder.resolve())],
                "configMapGenerator": [
                    {
                        "name": "lyceum",
                        "behavior": "merge",
                        "literals": [
                            f"LYCEUM_APP_ORIGIN=http://127.0.0.1:{ports['app']}",
                            f"LYCEUM_CONTENT_ORIGIN=http://{{package}}.localhost:{ports['content']}",
                        ],
                    }
                ],
            }
        )
    )
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        platform = Platform(Config(folder, ports, _secrets(render(folder))))
        cluster = Cluster(namespace, platform)
        if not kept:
            stack.callback(_kubectl, "delete", "namespace", namespace, "--wait=true", seconds=300)
        _kubectl("apply", "--kustomize", str(folder))
        cluster.ready()
        for target, pairs in (
            ("service/web", {ports["app"]: 8080, ports["content"]: 8081}),
            ("service/postgres", {ports["postgres"]: 5432}),
            ("deployment/analytics-consume", {ports["clickhouse"]: 8123}),
        ):
            forward = Forward(namespace, target, pairs)
            forward.start()
            stack.callback(forward.stop)
            cluster.forwards.append(forward)
        cluster.reach()
        yield cluster


def _ports_before(namespace: str) -> dict[str, int]:
    """The origins that a kept platform believes to have."""
    asked = ("--namespace", namespace, "get", "configmaps", "--output=json")
    for found in json.loads(_kubectl(*asked))["items"]:
        if "LYCEUM_APP_ORIGIN" in found["data"]:
            named = {"app": "LYCEUM_APP_ORIGIN", "content": "LYCEUM_CONTENT_ORIGIN"}
            return {name: int(found["data"][key].rpartition(":")[2]) for name, key in named.items()}
    return {}


def _secrets(rendered: Sequence[Mapping[str, Any]]) -> Secrets:
    """What a test needs of the overlay's own."""
    found = dict(_values(rendered))
    return Secrets(
        postgres=found["LYCEUM_POD_POSTGRES_PASSWORD"],
        clickhouse=found["LYCEUM_ANALYTICS_SQL_PASSWORD"],
        clients={"operator": found["client_secret"]},
    )


def _values(rendered: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for document in rendered:
        if document["kind"] == "Secret":
            for name, value in document["data"].items():
                yield name, b64decode(value).decode()


def _listening(port: int, *, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
