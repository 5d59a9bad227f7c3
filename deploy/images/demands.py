"""For the Dockerfile: what some projects of the workspace ask for directly, each at the version of the lock.

    demands.py LOCK PROJECT[:NAME,NAME…]…

With names, only those of the project's demands. What is asked for in turn is the installer's to find; it takes
nothing that the lock has no hash of. The standard library only: this runs before anything is installed.
"""

import re
import sys
import tomllib
from pathlib import Path

DEMAND = re.compile(r"([\w.-]+)(\[[^\]]*\])?")


def demanded(lock: str, projects: list[str]) -> list[str]:
    pins = {name: version for name, _, version in re.findall(rf"^{DEMAND.pattern}==([^\s;]+)", lock, re.M)}
    wanted: set[str] = set()
    for project in projects:
        folder, _, names = project.partition(":")
        told = tomllib.loads((Path(folder) / "pyproject.toml").read_text())["project"]["dependencies"]
        asked = {m[1].lower(): m[2] or "" for text in told if (m := DEMAND.match(text))}
        ours = {name for name in asked if name.startswith("lyceum-")}
        for name in names.split(",") if names else asked.keys() - ours:
            wanted.add(f"{name}{asked[name]}=={pins[name]}")
    return sorted(wanted)


if __name__ == "__main__":
    print("\n".join(demanded(Path(sys.argv[1]).read_text(), sys.argv[2:])))  # noqa: T201 - its answer
