"""Serving HTTP: uvicorn with our limits, stopped by us. On a signal of its own it would shut the door at once,
before any balancer knows that this replica goes."""

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn

from lyceum_kit.patience import PatientProtocol
from lyceum_kit.settings import KitSettings

FINISH_SECONDS = 15  # for requests that are under way when the door is shut


class HttpServers:
    """One app on one or more ports."""

    def __init__(self, settings: KitSettings, app: Any, ports: Sequence[int]) -> None:
        self._servers = [Server(_config(settings, app, port)) for port in ports]

    async def run(self) -> None:
        """Until `stop`, and then until what is under way is answered."""
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.serve())

    def stop(self) -> None:
        for server in self._servers:
            server.should_exit = True


class Server(uvicorn.Server):
    """Leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _config(settings: KitSettings, app: Any, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.http_host,
        port=port,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=FINISH_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
        lifespan="off",
    )
