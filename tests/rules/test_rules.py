"""The rules of the house, each a check that fails the build."""

import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lyceum_local import web

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


def run(*command: str, cwd: Path = ROOT) -> None:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--quiet")


def test_the_code_is_formatted() -> None:
    run("ruff", "format", "--check", "--quiet")


def test_services_never_import_each_other() -> None:
    run("lint-imports", "--no-cache")


def test_contracts_are_linted() -> None:
    run("buf", "lint", cwd=ROOT / "proto")


def test_contracts_break_nothing_that_was_released() -> None:
    run("buf", "breaking", "--against", "released.binpb", cwd=ROOT / "proto")


def test_stubs_are_those_of_the_contracts() -> None:
    run("python", "proto/generate.py", "--check")


def test_types_are_complete() -> None:
    run("pyright", "--project", str(ROOT / "pyproject.toml"))


def test_the_web_app_is_typed_and_formatted(tmp_path: Path) -> None:
    web.check(tmp_path / "check.log")


def test_what_is_installed_is_what_the_packages_ask_for() -> None:
    """The environment was installed from the lock without resolving: a requirement the lock misses shows here."""
    installed = {canonicalize_name(d.metadata["Name"]): d.version for d in distributions()}
    wrong = [
        f"{d.metadata['Name']} wants {requirement}, here is {installed.get(canonicalize_name(requirement.name))}"
        for d in distributions()
        for requirement in map(Requirement, d.requires or ())
        if (requirement.marker is None or requirement.marker.evaluate({"extra": ""}))
        and not requirement.specifier.contains(
            installed.get(canonicalize_name(requirement.name), "0.dev0"), prereleases=True
        )
    ]
    assert wrong == []


def test_locks_name_no_registry() -> None:
    for lock in (ROOT / "requirements.lock", ROOT / "requirements-dev.lock"):
        assert "://" not in lock.read_text(), lock.name


@pytest.mark.parametrize("name", ["utils", "helpers", "manager", "base", "common", "misc"])
def test_no_module_is_called(name: str) -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert [p for p in tracked.splitlines() if Path(p).stem == name] == []
