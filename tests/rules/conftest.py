from pathlib import Path

import pytest

from lyceum_local import web


@pytest.fixture(scope="session")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the web app is built and checked with, as its lock says."""
    return web.install(tmp_path_factory.mktemp("npm") / "log")
