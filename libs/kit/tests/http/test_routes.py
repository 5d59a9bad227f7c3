"""Who may call: nobody, unless the route says so."""

from collections.abc import Callable
from typing import Annotated, Any
from uuid import UUID

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from starlette.responses import Response
from starlette.routing import Mount, Route

from lyceum_kit.http import allow
from lyceum_kit.testing import TestKeys, client
from lyceum_kit.tokens import Caller

TENANT = UUID("01990000-0000-7000-8000-000000000001")
Build = Callable[..., FastAPI]


@pytest.fixture
def router(router: APIRouter) -> APIRouter:
    @router.get("/admin")
    async def admin(who: Annotated[Caller, allow("admin", "operator")]) -> str:
        return who.subject

    _ = admin
    return router


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Basic YTpi", "Bearer a.b.c", "Token {token}", "{token}"],
)
async def test_without_a_valid_token_nothing_is_answered(
    web: httpx.AsyncClient, keys: TestKeys, header: str | None
) -> None:
    given = {} if header is None else {"Authorization": header.format(token=keys.token())}
    answer = await web.get("/me", headers=given)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["type"] == "urn:lyceum:problem:unauthenticated"


async def test_a_role_is_needed_where_one_is_named(web: httpx.AsyncClient, keys: TestKeys) -> None:
    learner = await web.get("/admin", headers=keys.headers(tenant=TENANT, roles=["learner"]))
    operator = await web.get("/admin", headers=keys.headers(roles=["operator"]))
    assert (learner.status_code, operator.status_code) == (403, 200)
    assert learner.json()["type"] == "urn:lyceum:problem:forbidden"


async def test_any_caller_may_use_a_route_without_roles(web: httpx.AsyncClient, keys: TestKeys) -> None:
    answer = await web.get("/me", headers=keys.headers(tenant=TENANT, subject="ada"))
    assert answer.json() == "ada"


def test_an_app_with_an_unguarded_route_is_not_built(built: Build) -> None:
    router = APIRouter()

    @router.get("/open")
    async def _open() -> None: ...

    with pytest.raises(TypeError, match=r"/api/kit/open: the route has neither allow\(\) nor public"):
        built(router)


def test_a_route_unguarded_in_a_router_within_a_router_is_found(built: Build) -> None:
    inner, outer = APIRouter(prefix="/inner"), APIRouter()

    @inner.get("/open")
    async def _open() -> None: ...

    outer.include_router(inner)
    with pytest.raises(TypeError, match="/api/kit/inner/open"):
        built(outer)


def test_a_router_added_later_is_checked_too(router: APIRouter, built: Build) -> None:
    later = APIRouter()

    @later.get("/verify")
    async def _verify() -> None: ...

    with pytest.raises(TypeError, match="/verify"):
        built(router).include_router(later)


async def test_a_route_added_by_decorator_is_found_before_the_first_answer(
    router: APIRouter, built: Build
) -> None:
    app = built(router)

    @app.get("/late")
    async def _late() -> None: ...

    async with client(app) as web:
        with pytest.raises(TypeError, match="/late"):
            await web.get("/api/kit/livez")


async def bare(request: Request) -> Response:
    return Response()


@pytest.mark.parametrize("route", [Route("/bare", bare), Mount("/mounted", FastAPI())])
def test_routes_that_cannot_carry_a_guard_are_refused(route: Any, built: Build) -> None:
    router = APIRouter(routes=[route])
    with pytest.raises(TypeError, match="only FastAPI routes can be guarded"):
        built(router)


def test_a_guard_of_the_whole_router_counts(built: Build) -> None:
    router = APIRouter(dependencies=[allow("admin")])

    @router.get("/closed")
    async def _closed() -> None: ...

    assert built(router)
