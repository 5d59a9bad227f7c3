"""The rules of the house. Each check looks at a tree of the project and says what is wrong with it; nothing: "".

`test_rules.py` holds the project to them, `test_planted_faults.py` proves that none of them sleeps.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from lyceum_local import locks

Check = Callable[[Path], str]

BIN = Path(sys.executable).parent
PACKAGES = ("proto/gen", "libs/*/src", "services/*/src", "deploy/local/src")
NAMES = {"utils", "helpers", "manager", "base", "common", "misc"}


def linted(root: Path) -> str:
    return ran(root, "ruff", "check", "--quiet")


def formatted(root: Path) -> str:
    return ran(root, "ruff", "format", "--check")


def typed(root: Path) -> str:
    return ran(root, "pyright")


def independent(root: Path) -> str:
    """Services never import each other, the kit knows none of them, and only the kit talks to Kafka."""
    return ran(root, "lint-imports", "--no-cache")


def well_named(root: Path) -> str:
    """No module has a name under which anything could be put."""
    sources = (file for package in PACKAGES for folder in root.glob(package) for file in folder.rglob("*.py"))
    return "\n".join(str(file) for file in sources if file.stem in NAMES)


def contracts_linted(root: Path) -> str:
    return ran(root, "buf", "lint", folder="proto")


def contracts_kept(root: Path) -> str:
    """Whoever was built against the last release still understands us."""
    return ran(root, "buf", "breaking", "--against", "released.binpb", folder="proto")


def stubs_current(root: Path) -> str:
    return ran(root, "python", "proto/generate.py", "--check")


def pages_current(root: Path) -> str:
    """The configuration reference and the data dictionary are what the code says."""
    return ran(root, "python", "-m", "lyceum_local.reference", "--check")


def locks_fit(root: Path) -> str:
    return "\n".join(locks.drift(root))


def web_lock_fits(root: Path) -> str:
    return ran(root, "npm", "ls", "--package-lock-only", "--all", folder="web")


def web_checked(root: Path) -> str:
    """TypeScript and Biome. Wants web/node_modules."""
    return ran(root, "npm", "run", "check", folder="web")


WEB: tuple[Check, ...] = (web_lock_fits, web_checked)
CHECKS: tuple[Check, ...] = (
    linted,
    formatted,
    typed,
    independent,
    well_named,
    contracts_linted,
    contracts_kept,
    stubs_current,
    pages_current,
    locks_fit,
)


def ran(root: Path, *command: str, folder: str = ".") -> str:
    """What a tool of the environment says about a folder of the tree; nothing when it is content."""
    env = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        # The tree's packages, not those that the environment was installed from.
        "PYTHONPATH": os.pathsep.join(str(path) for package in PACKAGES for path in root.glob(package)),
    }
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=root / folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
