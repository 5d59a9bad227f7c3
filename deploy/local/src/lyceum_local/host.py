"""The processes of the local edition: `python -m lyceum_local.host ledger | analytics | <service> | gateway`.

`ledger` hosts identity, catalog, enrollment and assessment behind one port; with `--split` each is a process of its
own behind the gateway's. The code of the services is the same in both, and in a cluster.
"""

import argparse
import asyncio
import gc
import importlib
import os
import signal
from pathlib import Path
from typing import Any

from lyceum_kit import collector
from lyceum_kit.service import Service, run_services
from lyceum_kit.serving import HttpServers
from lyceum_local.config import Config, load, web_build
from lyceum_local.gateway import Gateway
from lyceum_local.paths import LEDGER_SERVICES, SERVICES


def build(config: Config, name: str) -> Service:
    """A service from the environment it would have as a process of its own."""
    kept = {k: v for k, v in os.environ.items() if k.startswith("LYCEUM_")}
    for key in kept:
        del os.environ[key]
    os.environ.update(config.service_env(name) | {k: v for k, v in kept.items() if k in PASSED_ON})
    settings = importlib.import_module(f"{name}.settings").Settings()
    service = importlib.import_module(f"{name}.app").build(settings)
    assert isinstance(service, Service)
    return service


# What a person may set for all processes at once.
PASSED_ON = ("LYCEUM_OTLP_ENDPOINT", "LYCEUM_LOG_LEVEL", "LYCEUM_LOG_FORMAT", "LYCEUM_FAILPOINT")


def gateway(config: Config, inside: dict[str, Any]) -> Gateway:
    """`inside`: services of this process; the others are reached by HTTP."""
    targets = {s: inside.get(s) or f"http://127.0.0.1:{config.http_port(s)}" for s in SERVICES}
    return Gateway(
        targets, app_origin=config.app_origin, content_origin=config.content_origin, web=web_build()
    )


async def run(config: Config, part: str) -> None:
    if part == "gateway":
        app = gateway(config, {})
        settings = importlib.import_module("lyceum_kit.settings").KitSettings(http_host="127.0.0.1")
        servers = HttpServers(settings, app, [config.ports["app"], config.ports["content"]])
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, servers.stop)
        collector.settle()
        await servers.run()
    elif part == "ledger":
        services = [build(config, name) for name in LEDGER_SERVICES]
        app = gateway(config, {s.name: s.http for s in services})
        await run_services(services, app=app, more_ports=[config.ports["content"]])
    else:
        await run_services([build(config, part)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=("ledger", "gateway", *SERVICES))
    parser.add_argument("--data", type=Path, required=True)
    arguments = parser.parse_args()
    config = load(arguments.data)
    if config is None:
        raise SystemExit(f"there is no installation in {arguments.data}: run ./lyceum up")
    # Until collector.settle(): what is imported stays, and looking through it would only slow the start.
    gc.disable()
    asyncio.run(run(config, arguments.part))


if __name__ == "__main__":
    main()
