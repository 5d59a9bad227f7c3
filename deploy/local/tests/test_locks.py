from importlib.metadata import version
from pathlib import Path

import pytest

from lyceum_local import locks

RICH = f"rich=={version('rich')}"
PROJECT = f"""
[project]
dependencies = ["{RICH}", "Typer_X>=1", "lyceum-kit"]

[tool.uv.workspace]
members = ["libs/*"]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "libs" / "kit").mkdir(parents=True)
    (tmp_path / "libs" / "kit" / "pyproject.toml").write_text('[project]\ndependencies = ["structlog"]\n')
    (tmp_path / "requirements.lock").write_text(
        f"{RICH} \\\n    --hash=sha256:00\ntyper-x==1.2\n"
        "structlog==25.1 ; python_full_version >= '3.4'\nstructlog==1 ; python_full_version < '3.4'\n"
        # What rich itself asks for, as installed here.
        "markdown-it-py==2.2\npygments==2.13\nmdurl==0.1\n"
    )
    (tmp_path / "requirements-dev.lock").write_text("")
    return tmp_path


def change(lock: Path, old: str, new: str) -> None:
    assert old in lock.read_text()
    lock.write_text(lock.read_text().replace(old, new))


def test_a_lock_that_fits_has_no_drift(project: Path) -> None:
    change(project / "requirements.lock", "mdurl==0.1\n", "")
    assert locks.drift(project) == []


def test_another_version_a_missing_package_and_an_address_are_drift(project: Path) -> None:
    (project / "requirements.lock").write_text(
        "--index-url https://example.org\nrich==14.0.0\nstructlog==1\n"
    )
    assert locks.drift(project) == [
        "pyproject.toml: Typer_X>=1 is in no lock",
        f"pyproject.toml: {RICH}, but the lock has 14.0.0",
        "requirements.lock names an address",
    ]


def test_what_a_package_asks_for_must_be_locked_too(project: Path) -> None:
    change(project / "requirements.lock", "pygments==2.13\n", "")
    assert any(line.startswith("rich: pygments") for line in locks.drift(project))


def test_a_pin_that_nobody_asks_for_any_more_is_drift(project: Path) -> None:
    assert locks.drift(project) == ["mdurl is locked, and nobody asks for it"]
