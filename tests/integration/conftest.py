"""The whole platform for stories."""

from collections.abc import Iterator

import pytest

from lyceum_local.testing import Platform, installation


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One installation for all tests that only use it; each takes a tenant of its own."""
    with installation() as made:
        yield made


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """An installation of its own, for a test that breaks it."""
    with installation() as made:
        yield made
