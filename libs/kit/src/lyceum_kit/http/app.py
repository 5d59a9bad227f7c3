"""The app of a service."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp

from lyceum_kit.http.edge import Edge, Limit
from lyceum_kit.http.openapi import described
from lyceum_kit.http.probes import Check, probes
from lyceum_kit.http.problems import answer_errors
from lyceum_kit.http.routes import declared
from lyceum_kit.settings import KitSettings
from lyceum_kit.tokens import Verifier


class _App(FastAPI):
    """FastAPI that refuses a route without allow() or public, whenever it is added."""

    limits: Sequence[Limit] = ()

    def include_router(self, *args: Any, **kwargs: Any) -> None:
        super().include_router(*args, **kwargs)
        self._check()

    def build_middleware_stack(self) -> ASGIApp:
        # The last moment before the first request: also sees routes added one by one.
        self._check()
        return super().build_middleware_stack()

    def _check(self) -> None:
        limits: list[Limit] = []
        for route in iter_route_contexts(self.routes):
            dependant = getattr(route, "dependant", None)
            if dependant is None:
                raise TypeError(
                    f"{route.path}: only FastAPI routes can be guarded; mount nothing, and add no bare route"
                )
            said = declared(dependant)
            if not (said.guarded or said.public):
                raise TypeError(f"{route.path}: the route has neither allow() nor public")
            if said.body_limit is not None:
                limits.append(Limit(frozenset(route.methods or ()), route.path_regex, said.body_limit))
        self.limits = limits

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = described(self)
        return self.openapi_schema


def make_app(
    service: str,
    settings: KitSettings,
    *,
    router: APIRouter,
    verifier: Verifier,
    checks: Mapping[str, Check] | None = None,
) -> FastAPI:
    """Mount `router` under /api/<service> with probes, metrics and documentation. Does no I/O."""
    prefix = f"/api/{service}"
    app = _App(
        title=f"Lyceum {service}",
        version="1",
        openapi_url=None,  # own routes below: FastAPI's would be neither allow() nor public
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "metrics": False,  # Prometheus has them
            "logs": False,  # they would carry bodies of validation errors
            "operation_spans": settings.log_level == "DEBUG",
            "exclude": lambda scope: str(scope["path"]).endswith(("/livez", "/readyz", "/metrics")),
        },
    )
    app.state.verifier = verifier
    app.state.draining = False
    app.state.checks = dict(checks or {})
    answer_errors(app)
    app.add_middleware(Edge, service=service, limits=lambda: app.limits, draining=lambda: app.state.draining)
    app.include_router(probes(app), prefix=prefix)
    app.include_router(router, prefix=prefix)
    return app


def drain(app: FastAPI) -> None:
    """Readiness turns red and connections are no longer kept; requests are answered as before."""
    app.state.draining = True
