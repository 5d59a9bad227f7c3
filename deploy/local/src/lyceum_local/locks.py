"""The locks: requirements.lock and requirements-dev.lock from uv, kafka.lock.toml from Maven. Versions and hashes only."""

import hashlib
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from lyceum_local import kafka
from lyceum_local.paths import cache_folder, repository

EXPORT = (
    "export",
    "--frozen",
    "--no-emit-workspace",
    "--no-header",
    "--no-annotate",
    "--format=requirements-txt",
)
LOCKS = {
    "requirements.lock": ("--all-packages", "--no-dev"),
    "requirements-dev.lock": ("--only-group", "dev"),
}


class LockError(Exception):
    """A lock cannot be made; the message says why."""


def uv() -> str:
    own = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "lyceum" / "uv" / "bin" / "uv"
    found = shutil.which("uv") or (str(own) if own.exists() else None)
    if found is None:
        raise LockError("uv was not found")
    return found


def export(*, fresh: bool) -> dict[str, str]:
    """What each lock should hold. `fresh` resolves anew; otherwise uv.lock, where there is one, keeps its versions."""
    root = repository()
    if fresh:
        (root / "uv.lock").unlink(missing_ok=True)
    _run(uv(), "lock", "--quiet")
    return {name: _run(uv(), *EXPORT, *options) for name, options in LOCKS.items()}


def drift(root: Path) -> list[str]:
    """What differs between the locks and the projects: demands that no lock meets, and pins that nobody asks for.

    A project's demands are read from its pyproject.toml, those of a pinned package from what is installed.
    """
    pins = {name: version for lock in LOCKS for name, version in pinned(root / lock).items()}
    demands = [(file, text) for file in projects(root) for text in asked_by(root / file)]
    wrong = {f"{lock} names an address" for lock in LOCKS if "://" in (root / lock).read_text()}
    met: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    while demands:
        by, text = demands.pop()
        need = Requirement(text)
        name = canonicalize_name(need.name)
        if name.startswith("lyceum"):
            continue
        if name not in pins:
            wrong.add(f"{by}: {text} is in no lock")
        elif not need.specifier.contains(pins[name], prereleases=True):
            wrong.add(f"{by}: {text}, but the lock has {pins[name]}")
        met.add(name)
        if (key := (name, frozenset(need.extras))) not in seen:
            seen.add(key)
            demands += [
                (name, further) for further in asked_by_package(name, pins.get(name, ""), need.extras)
            ]
    return sorted(wrong | {f"{name} is locked, and nobody asks for it" for name in pins.keys() - met})


def pinned(lock: Path) -> dict[NormalizedName, str]:
    """The versions a lock names, as far as they are for this machine."""
    needs = [
        Requirement(m[0].rstrip("\\ "))
        for m in re.finditer(r"^[\w.-]+(\[.*\])?==.+$", lock.read_text(), re.M)
    ]
    return {
        canonicalize_name(need.name): next(iter(need.specifier)).version
        for need in needs
        if need.marker is None or need.marker.evaluate()
    }


def projects(root: Path) -> list[str]:
    """Every pyproject.toml of the workspace."""
    members = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]
    found = (file for member in members for file in root.glob(f"{member}/pyproject.toml"))
    return ["pyproject.toml", *sorted(str(file.relative_to(root)) for file in found)]


def asked_by(project: Path) -> list[str]:
    """What a pyproject.toml asks for."""
    told = tomllib.loads(project.read_text())
    groups = [told["project"].get("dependencies", []), *told.get("dependency-groups", {}).values()]
    return [text for group in groups for text in group]


def asked_by_package(name: str, version: str, extras: Iterable[str]) -> list[str]:
    """What an installed package asks for on this machine; nothing where another version is installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return []
    if found.version != version:
        return []
    needs = [Requirement(text) for text in found.requires or ()]
    return [
        str(need)
        for need in needs
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def write() -> list[str]:
    """Make all locks anew. Returns the files."""
    root = repository()
    written = [root / name for name in LOCKS]
    for name, content in export(fresh=False).items():
        if "://" in content:
            raise LockError(f"{name} would name an address; set no index in uv's own configuration for this")
        (root / name).write_text(content)
    lock = Path(kafka.__file__).with_name("kafka.lock.toml")
    folder = cache_folder() / f"kafka-{kafka.VERSION}"
    if folder.is_dir() and {p.name for p in folder.iterdir()} != set(kafka.pinned()):
        shutil.rmtree(folder)
    jars = sorted(Path(j) for j in kafka.resolve())
    hashes = "".join(f'"{j.name}" = "{hashlib.sha256(j.read_bytes()).hexdigest()}"\n' for j in jars)
    lock.write_text(f"# Every jar of Kafka and its SHA-256. Made anew with `lyceum lock`.\n[jars]\n{hashes}")
    return [str(p.relative_to(root)) for p in [*written, lock]]


def _run(*command: str) -> str:
    ran = subprocess.run(command, cwd=repository(), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise LockError(ran.stderr.strip())
    return ran.stdout
