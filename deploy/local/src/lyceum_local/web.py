"""Builds the web app with the Node of the nodejs wheel, when its sources have changed."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lyceum_local.paths import cache_folder, repository

STAMP = ".sources"
NOT_SOURCES = {"node_modules", "dist", "screenshots"}


class BuildError(Exception):
    """The web app cannot be built; the message has the end of what the build said."""


def sources(web: Path) -> str:
    """A hash of all that the build is made of."""
    digest = hashlib.sha256()
    for folder, names, files in os.walk(web):
        names[:] = sorted(n for n in names if n not in NOT_SOURCES)
        for name in sorted(files):
            file = Path(folder) / name
            digest.update(f"{file.relative_to(web)}\0".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def is_current(web: Path | None = None) -> bool:
    """Whether there is nothing to build."""
    web = web or repository() / "web"
    if not (web / "package.json").exists():
        return True
    stamp = web / "dist" / STAMP
    return stamp.exists() and stamp.read_text() == sources(web)


def build(log: Path) -> None:
    """`npm ci` when the lock changed, then `npm run build`."""
    web = repository() / "web"
    with _alone():
        if is_current(web):
            return  # by whoever built it while we waited
        was = sources(web)
        install(log)
        _npm(log, "run", "build")
        (web / "dist" / STAMP).write_text(was)


@contextmanager
def _alone() -> Generator[None]:
    """Two builds at once would write over each other's files: the second waits."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "web.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def install(log: Path) -> Path:
    """`npm ci` when the lock changed. Returns node_modules."""
    web = repository() / "web"
    lock = hashlib.sha256((web / "package-lock.json").read_bytes()).hexdigest()
    installed = web / "node_modules" / ".lyceum-lock"
    if not installed.exists() or installed.read_text() != lock:
        _npm(log, "ci", "--no-audit", "--no-fund")
        installed.write_text(lock)
    return installed.parent


def _npm(log: Path, *arguments: str) -> None:
    # The environment's own programs first, or npm's scripts would run a Node of the system.
    here = Path(sys.executable).parent
    env = os.environ | {"PATH": f"{here}{os.pathsep}{os.environ.get('PATH', '')}", "CI": "1"}
    with log.open("w") as out:
        ran = subprocess.run(
            [str(here / "npm"), *arguments],
            cwd=repository() / "web",
            env=env,
            stdout=out,
            stderr=out,
            check=False,
        )
    if ran.returncode:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise BuildError(f"npm {arguments[0]} failed (all of it in {log}):\n{end}")
