"""The images of a cluster: built by Docker from deploy/images/Dockerfile, and what is in them as an SBOM."""

import json
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from lyceum_local.paths import SERVICES, repository

PLAYS = "assessment"  # the service that hands out the SCORM run-time, which comes from the web app's build


class ImageError(Exception):
    """An image was not built, or cannot be looked into; the message says why."""


@dataclass(frozen=True)
class Image:
    """`target` of the Dockerfile; `service` is its argument where one is asked for."""

    name: str
    target: str
    service: str = ""


IMAGES = {
    **{s: Image(s, "player" if s == PLAYS else "service", s) for s in SERVICES},
    "web": Image("web", "web"),
    "parts": Image("parts", "parts"),
}

# Runs inside an image, by its own Python: distributions, Kafka's jars, and what the base brought.
LOOK = """
import hashlib, importlib.metadata as m, json, pathlib, platform, re
found = [["pypi", d.name, d.version, d.metadata.get("License-Expression") or ""] for d in m.distributions()]
jars = [["jar", p.name, hashlib.sha256(p.read_bytes()).hexdigest(), ""] for p in pathlib.Path("/opt/lyceum").rglob("*.jar")]
status = pathlib.Path("/var/lib/dpkg/status")
blocks = status.read_text().split("\\n\\n") if status.exists() else []
debs = [dict(re.findall("^(Package|Version|Architecture): (.+)$", b, re.M)) for b in blocks]
debs = [["deb", d["Package"], d["Version"], d["Architecture"]] for d in debs if "Version" in d]
print(json.dumps(found + [["python", "cpython", platform.python_version(), ""]] + jars + debs))
"""


def reference(name: str, tag: str) -> str:
    return f"lyceum/{name}:{tag}"


def version() -> str:
    return str(tomllib.loads((repository() / "pyproject.toml").read_text())["project"]["version"])


def build_command(image: Image, tag: str, base: str, more: Sequence[str] = ()) -> list[str]:
    arguments = {"BASE": base, "SERVICE": image.service}
    return [
        "docker",
        "build",
        "--file",
        "deploy/images/Dockerfile",
        "--target",
        image.target,
        *(a for name, value in arguments.items() if value for a in ("--build-arg", f"{name}={value}")),
        "--tag",
        reference(image.name, tag),
        *more,
        ".",
    ]


def build(names: Iterable[str], tag: str, *, base: str = "", more: Sequence[str] = ()) -> Iterable[str]:
    """Each image's reference, when it is built. `more`: for Docker."""
    if shutil.which("docker") is None:
        raise ImageError("docker was not found: images are built with it")
    for name in names:
        ran = subprocess.run(build_command(IMAGES[name], tag, base, more), cwd=repository(), check=False)
        if ran.returncode:
            raise ImageError(f"the image of {name} was not built: Docker's own words are above")
        yield reference(name, tag)


def push(names: Iterable[str], tag: str, registry: str) -> Iterable[str]:
    """Each pushed image as an entry of a kustomization's `images`, by its digest: what was tried is what runs."""
    for name in names:
        there = f"{registry}/{reference(name, tag)}"
        _docker("tag", reference(name, tag), there)
        _docker("push", "--quiet", there)
        digests = json.loads(_docker("image", "inspect", "--format={{json .RepoDigests}}", there))
        at, _, digest = next(d for d in digests if d.startswith(f"{registry}/")).partition("@")
        yield f"- name: lyceum/{name}\n  newName: {at}\n  digest: {digest}"


def _docker(*arguments: str) -> str:
    try:
        ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError as e:
        raise ImageError("docker was not found: images are pushed with it") from e
    if ran.returncode:
        raise ImageError(f"docker {arguments[0]}: {ran.stderr.strip()[-400:]}")
    return ran.stdout


def named_in(documents: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every image that Kubernetes' or an operator's documents name, by its last name, so that the lists of two overlays match."""
    found = {image for document in documents for image in _images(document)}
    return sorted(found, key=lambda image: (image.rpartition("/")[2], image))


def _images(value: object) -> Iterator[str]:
    if isinstance(value, list):
        for item in cast("list[object]", value):
            yield from _images(item)
    elif isinstance(value, dict):
        for key, inside in cast("dict[str, object]", value).items():
            if key in ("image", "imageName") and isinstance(inside, str):
                yield inside
            else:
                yield from _images(inside)


def sbom(name: str, tag: str) -> dict[str, Any]:
    """CycloneDX 1.6, of what is really in the built image."""
    image = reference(name, tag)
    look = ["docker", "run", "--rm", "--interactive", "--network=none", "--read-only", "--entrypoint=python"]
    ran = subprocess.run([*look, image, "-"], input=LOOK, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise ImageError(f"{image} cannot be looked into: {ran.stderr.strip()[-400:]}")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": f"lyceum/{name}", "version": tag}},
        "components": sorted(
            (_component(*entry) for entry in json.loads(ran.stdout)), key=lambda c: (c["type"], c["name"])
        ),
    }


def _component(kind: str, name: str, version_or_hash: str, more: str) -> dict[str, Any]:
    if kind == "jar":
        digest = {"alg": "SHA-256", "content": version_or_hash}
        return {"type": "file", "name": name, "hashes": [digest]}
    purl = {
        "pypi": f"pkg:pypi/{name.lower()}@{version_or_hash}",
        "python": f"pkg:generic/python@{version_or_hash}",
        "deb": f"pkg:deb/debian/{name}@{version_or_hash}?arch={more}",
    }[kind]
    component: dict[str, Any] = {"type": "library", "name": name, "version": version_or_hash, "purl": purl}
    if kind == "pypi" and more:
        component["licenses"] = [{"expression": more}]
    return component
