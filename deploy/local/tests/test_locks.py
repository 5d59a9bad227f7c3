from pathlib import Path

import pytest

from lyceum_local import locks


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(locks, "repository", lambda: tmp_path)
    (tmp_path / "pyproject.toml").write_text('[project]\ndependencies = ["rich==15.0.0", "Typer_X>=1"]\n')
    (tmp_path / "requirements.lock").write_text("rich==15.0.0 \\\n    --hash=sha256:00\ntyper-x==1.2\n")
    (tmp_path / "requirements-dev.lock").write_text("")
    return tmp_path


def test_a_lock_that_fits_has_no_drift(project: Path) -> None:
    assert locks.drift() == []


def test_another_version_a_missing_package_and_an_address_are_drift(project: Path) -> None:
    (project / "requirements.lock").write_text("--index-url https://example.org\nrich==14.0.0\n")
    assert locks.drift() == [
        "pyproject.toml: Typer_X>=1 is in no lock",
        "pyproject.toml: rich==15.0.0, but the lock has 14.0.0",
        "requirements.lock names an address",
    ]


def test_our_own_locks_fit() -> None:
    assert locks.drift() == []
