"""The whole platform for stories."""

from collections.abc import Iterator

import pytest

from lyceum_local.testing import Platform, installation
from lyceum_local.testing.collector import Collector, collecting


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """One installation for all tests that only use it; each takes a tenant of its own."""
    with installation() as made:
        yield made


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture(scope="session")
def _fragile(collector: Collector) -> Iterator[Platform]:
    with installation(variables=collector.variables) as made:
        yield made


@pytest.fixture
def breakable(_fragile: Platform) -> Platform:
    """One installation for all tests that break something and mend it. Each finds it running; it exports traces."""
    _fragile.up(split=False)
    return _fragile


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """An installation of its own, for a test that breaks it."""
    with installation() as made:
        yield made
