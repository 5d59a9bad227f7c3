"""What is asked of every process: whether it lives, whether it is ready, its metrics and its document."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic_core import to_json

from lyceum_kit import db
from lyceum_kit.errors import LyceumError
from lyceum_kit.http.problems import problem
from lyceum_kit.http.routes import public

Check = Callable[[], Awaitable[None]]

CHECK_SECONDS = 2.0


def probes(app: FastAPI) -> APIRouter:
    router = APIRouter(dependencies=[public], include_in_schema=False)

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> Response:
        if app.state.draining:
            return problem(503, "stopping", "Stopping", "This process is about to end", {"retry_after": 1})
        checks: Mapping[str, Check] = app.state.checks
        results = await asyncio.gather(*(_checked(check) for check in checks.values()))
        parts = dict(zip(checks, results, strict=True))
        red = {name: why for name, why in parts.items() if why}
        if not red:
            return Response(
                to_json({"status": "ready", "checks": dict.fromkeys(parts, "ok")}),
                media_type="application/json",
            )
        return problem(
            503, "not-ready", "Not ready", f"Red: {', '.join(red)}", {"red": red, "retry_after": 1}
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/openapi.json")
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    _ = livez, readyz, metrics, openapi
    return router


async def _checked(check: Check) -> str:
    """Empty when green. A detail only from our own errors: a driver's message may name hosts and users."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer in {CHECK_SECONDS:.0f} s"
    except Exception as e:  # noqa: BLE001 - reported, which is what a check is for
        error = db.understood(e)
        return error.detail if isinstance(error, LyceumError) else type(error).__name__
    return ""
