import base64
import importlib
from collections.abc import Mapping

import pytest

from lyceum_kit.service import Service
from lyceum_local.paths import SERVICES

KEY = base64.b64encode(b"k" * 32).decode()


@pytest.fixture(scope="session")
def services() -> Mapping[str, Service]:
    """Building one does no I/O."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LYCEUM_IDENTITY_SECRET_KEY", KEY)
        patch.setenv("LYCEUM_ASSESSMENT_MASTER_KEY", KEY)
        patch.setenv("LYCEUM_CONTENT_URL", "file:///tmp")
        return {
            name: importlib.import_module(f"{name}.app").build(
                importlib.import_module(f"{name}.settings").Settings()
            )
            for name in SERVICES
        }
