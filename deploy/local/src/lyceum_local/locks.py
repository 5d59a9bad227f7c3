"""The locks: requirements.lock and requirements-dev.lock from uv, kafka.lock.toml from Maven. Versions and hashes only."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

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


def drift() -> list[str]:
    """What differs between the locks and the projects: a project's demand that the lock does not meet."""
    from packaging.requirements import Requirement

    root = repository()
    lines = "".join((root / name).read_text() for name in LOCKS).splitlines()
    pinned = {
        _plain(m[1]): m[2]
        for line in lines
        if (m := re.match(r"([A-Za-z0-9_.-]+)(?:\[.*\])?==([^\s;\\]+)", line))
    }
    import tomllib

    wrong: list[str] = []
    files = [root / "pyproject.toml", *sorted(root.glob("**/pyproject.toml"))]
    for file in {f for f in files if ".venv" not in f.parts and "node_modules" not in f.parts}:
        project = tomllib.loads(file.read_text())
        wanted = [*project.get("project", {}).get("dependencies", [])]
        wanted += [d for group in project.get("dependency-groups", {}).values() for d in group]
        for text in wanted:
            need = Requirement(text)
            name = _plain(need.name)
            if name.startswith("lyceum"):
                continue
            if name not in pinned:
                wrong.append(f"{file.relative_to(root)}: {text} is in no lock")
            elif not need.specifier.contains(pinned[name], prereleases=True):
                wrong.append(f"{file.relative_to(root)}: {text}, but the lock has {pinned[name]}")
    wrong += [f"{name} names an address" for name in LOCKS if "://" in (root / name).read_text()]
    return sorted(wrong)


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


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _run(*command: str) -> str:
    ran = subprocess.run(command, cwd=repository(), capture_output=True, text=True, check=False)
    if ran.returncode:
        raise LockError(ran.stderr.strip())
    return ran.stdout
