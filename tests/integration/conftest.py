"""The whole platform for stories."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from lyceum_local import lifecycle
from lyceum_local.testing import Platform, installation


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One installation for all tests that only use it; each takes a tenant of its own. LYCEUM_TEST_DATA names one
    that is kept, which saves its start while writing a test."""
    if kept := os.environ.get("LYCEUM_TEST_DATA"):
        config = lifecycle.up(Path(kept), split=None, app_port=None, patience=180, step=print)
        yield Platform(config)
        return
    with installation() as made:
        yield made


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """An installation of its own, for a test that breaks it."""
    with installation() as made:
        yield made
