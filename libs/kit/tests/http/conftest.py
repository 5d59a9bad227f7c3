"""Apps of a router, as services make them, and a client of the one whose `router` a module has."""

from collections.abc import AsyncIterator, Callable
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, FastAPI

from lyceum_kit.http import Check, allow, make_app
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import TestKeys, client
from lyceum_kit.tokens import Caller


@pytest.fixture(scope="session")
def keys() -> TestKeys:
    return TestKeys()


@pytest.fixture
def router() -> APIRouter:
    """Modules add what theirs has besides."""
    router = APIRouter()

    @router.get("/me")
    async def me(who: Annotated[Caller, allow()]) -> str:
        return who.subject

    _ = me
    return router


@pytest.fixture
def built(keys: TestKeys) -> Callable[..., FastAPI]:
    def built(router: APIRouter, **checks: Check) -> FastAPI:
        return make_app("kit", KitSettings(), router=router, verifier=keys.verifier, checks=checks)

    return built


@pytest.fixture
async def web(router: APIRouter, built: Callable[..., FastAPI]) -> AsyncIterator[httpx.AsyncClient]:
    async with client(built(router)) as made:
        made.base_url = httpx.URL("http://testserver/api/kit")
        yield made
