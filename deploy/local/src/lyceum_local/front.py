"""The front door as a process of its own, for containers: `python -m lyceum_local.front`.

Serves the web app's build and hands everything else on. What belongs to one machine, ports and secrets of an
installation, is the business of `host`.
"""

import asyncio
import signal
from pathlib import Path

from pydantic import Field
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from lyceum_kit import logs
from lyceum_kit.serving import HttpServers
from lyceum_kit.settings import KitSettings
from lyceum_local.gateway import Gateway
from lyceum_local.paths import SERVICES


class Settings(KitSettings):
    web_dir: Path = Field(default=Path("/app/web/dist"), description="The built web app.")
    web_content_port: int = Field(
        default=0, ge=0, le=65535, description="A second port, for packages; 0: one port for both."
    )
    identity_http: str = "http://identity:8080"
    catalog_http: str = "http://catalog:8080"
    enrollment_http: str = "http://enrollment:8080"
    assessment_http: str = "http://assessment:8080"
    analytics_http: str = "http://analytics:8080"


class Alive:
    """Answers the probe, under whatever name it asks."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        inner = PlainTextResponse("alive\n") if scope["path"] == "/livez" else self._app
        await inner(scope, receive, send)


async def run(settings: Settings) -> None:
    logs.configure(settings)
    gateway = Gateway(
        {name: str(getattr(settings, f"{name}_http")) for name in SERVICES},
        app_origin=settings.app_origin,
        content_origin=settings.content_origin,
        web=settings.web_dir,
    )
    ports = [settings.http_port, *([settings.web_content_port] if settings.web_content_port else [])]
    servers = HttpServers(settings, Alive(gateway), ports)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, servers.stop)
    await servers.run()


if __name__ == "__main__":
    asyncio.run(run(Settings()))
