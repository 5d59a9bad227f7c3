"""A service as a value, and how it runs: `serve` (HTTP, gRPC), `consume` (relay, consumer, timers), or both.

The local edition runs several services in one process through the same `Running`.
"""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

import structlog
import typer
from fastapi import FastAPI
from sqlalchemy import make_url, text

from lyceum_kit import collector, db, logs, system, telemetry
from lyceum_kit.consumer import Consumes, HandlerSink
from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import FeedReader, FeedSource, event_feed
from lyceum_kit.http import drain
from lyceum_kit.intake import Intake
from lyceum_kit.ledger import Ledger
from lyceum_kit.parked import Parked
from lyceum_kit.peers import Peers
from lyceum_kit.reconcile import Reconciliation
from lyceum_kit.relay import Relay
from lyceum_kit.rpc import RpcService, make_server
from lyceum_kit.serving import FINISH_SECONDS, HttpServers
from lyceum_kit.settings import KitSettings
from lyceum_kit.timers import TimerHandler, Timers
from lyceum_kit.tokens import Verifier
from lyceum_kit.topics import feeds
from lyceum_kit.wire import Subscription, kafka_options

log = structlog.get_logger()

UNSENT = 10.0  # seconds that events may wait for Kafka before readiness says so

_UNSENT = text(
    "SELECT coalesce(sum(sent), 0) AS sent,"
    " coalesce(sum(head - sent), 0) + (SELECT count(*) FROM outbox) AS waiting FROM feed_head"
)

Task = Callable[[], Awaitable[None]]
S = TypeVar("S", bound=KitSettings)


@dataclass(frozen=True)
class Service:
    """What a composition root returns. Building one does no I/O."""

    name: str
    settings: KitSettings
    http: FastAPI
    rpc: Sequence[RpcService]
    verifier: Verifier
    ledger: Ledger | None = None
    peers: Peers | None = None
    consumes: Consumes = field(default_factory=dict[str, Any])
    timers: Mapping[str, TimerHandler] = field(default_factory=dict[str, TimerHandler])
    background: Sequence[Task] = ()  # runs with `consume`
    on_start: Sequence[Task] = ()  # once, before anything is served
    on_stop: Sequence[Task] = ()


class Workers:
    """The background half of a ledger service: relay, consumer, timers."""

    def __init__(self, service: Service) -> None:
        assert service.ledger
        assert service.peers
        settings = service.settings
        url = settings.database_url.get_secret_value()
        own = [f for f in feeds().values() if f.producer == service.name]
        self.service = service
        self.ledger = service.ledger
        self.relay = Relay(
            url, role_of(url), own, kafka_options(settings), replication=settings.kafka_replication
        )
        self.timers = Timers(service.ledger, service.timers)
        self.sink = HandlerSink(service.name, service.ledger, service.consumes)
        self.intake = Intake(service.name, self.sink, FeedReader(service.peers))
        self.subscription = (
            Subscription(settings, service.name, list(service.consumes), self.intake)
            if service.consumes
            else None
        )
        self.parked = Parked(self.sink)
        self.reconciliation = Reconciliation(self.relay, self.sink, self.intake.reader)
        self._unsent: tuple[int, float] | None = None  # the last that was sent, and since when

    async def check(self) -> None:
        """For readiness: red while events are not sent, or not handled, for long."""
        assert self.service.ledger
        if self.relay.status.error.startswith("red:"):
            raise Unavailable(self.relay.status.error)
        async with self.service.ledger.engine.connect() as conn:
            row = (await conn.execute(_UNSENT)).one()
        if not row.waiting:
            self._unsent = None
        elif self._unsent is None or self._unsent[0] != row.sent:
            self._unsent = (row.sent, time.monotonic())
        elif time.monotonic() - self._unsent[1] > UNSENT:
            raise Unavailable(f"{row.waiting} events wait to be sent to Kafka")
        if self.subscription and (why := self.subscription.trouble()):
            raise Unavailable(why)

    async def run(self) -> None:
        """Until cancelled. Whatever fails starts again: these share a process with others, in the local edition with all."""
        tasks: dict[str, Task] = {
            "relay": self.relay.run,
            "timers": self.timers.run,
            "gauges": lambda: system.measure(self),
        }
        if self.subscription:
            tasks |= {"consumer": self._consume, "forgetting": self._forget}
        tasks |= {str(task): task for task in self.service.background}
        async with asyncio.TaskGroup() as group:
            for name, task in tasks.items():
                group.create_task(_forever(task), name=f"{self.service.name} {name}")

    async def _consume(self) -> None:
        assert self.subscription
        while True:
            try:
                await self.sink.prepare()
                await self.parked.retry_unknown_types()
                break
            except Exception as e:  # noqa: BLE001 - the database is not there yet
                log.warning("consumer waits", error=f"{type(e).__name__}: {e}")
                await asyncio.sleep(1)
        await self.subscription.run()

    async def _forget(self) -> None:
        while True:
            await asyncio.sleep(3600)
            await self.sink.forget()


def role_of(url: str) -> str:
    """The database role in a URL; the relay's is derived from it."""
    role = make_url(url).username
    assert role, "the database URL names no role"
    return role


async def _once_there(task: Task, stop: asyncio.Event) -> None:
    """A service may start before its database does."""
    while not stop.is_set():
        try:
            await task()
            return
        except Exception as e:
            if not (isinstance(e, Unavailable) or db.is_outage(e)):
                raise
            log.warning("start waits", error=f"{type(e).__name__}: {e}")
            await asyncio.sleep(0.3)


async def _forever(task: Task) -> None:
    while True:
        try:
            await task()
            return
        except Exception:
            log.exception("background task failed, starting again")
            await asyncio.sleep(1)


async def run_services(
    services: Sequence[Service],
    *,
    serve: bool = True,
    consume: bool = True,
    app: Any = None,
    more_ports: Sequence[int] = (),
) -> None:
    """Run until SIGTERM or SIGINT. Then, so that no request fails when another replica is there: say that it stops,
    leave feeds and timers to others, go on answering until balancers have noticed, finish what is under way, close.

    `app` replaces the HTTP app of a single service, for a process that hosts several behind one port.
    """
    collector.settle()
    settings = services[0].settings
    logs.configure(settings)
    telemetry.configure("+".join(s.name for s in services), settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    sources = {
        feed.name: FeedSource(url, role_of(url))
        for s in services
        if s.ledger and (url := s.settings.database_url.get_secret_value())
        for feed in feeds().values()
        if feed.producer == s.name
    }
    workers = {s.name: Workers(s) for s in services if s.ledger}
    for service in services:
        system.attach(
            service.http, service.name, workers.get(service.name), sources, service.verifier, consume=consume
        )
    for service in services:
        for task in service.on_start:
            await _once_there(task, stop)
    http = server = None
    serving: list[asyncio.Task[None]] = []
    if serve and not stop.is_set():
        rpcs = [rpc for s in services for rpc in s.rpc] + ([event_feed(sources)] if sources else [])
        server = make_server(settings, rpcs, services[0].verifier)
        await server.start()
        http = HttpServers(settings, app or services[0].http, [settings.http_port, *more_ports])
        serving = [asyncio.create_task(http.run(), name="http")]
    background = [asyncio.create_task(w.run(), name=name) for name, w in workers.items() if consume]
    background += [
        asyncio.create_task(_forever(task))
        for s in services
        if s.ledger is None and consume
        for task in s.background
    ]
    waiting = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait({waiting, *serving, *background}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {waiting}:
            task.result()
    finally:
        log.info("stopping")
        for service in services:
            drain(service.http)
        for task in background:
            task.cancel()
        noticed = asyncio.sleep(settings.drain_seconds if serving else 0)
        await asyncio.gather(*background, noticed, return_exceptions=True)
        if http and server:
            http.stop()
            await asyncio.gather(*serving, server.stop(grace=FINISH_SECONDS), return_exceptions=True)
        for service in services:
            for task in service.on_stop:
                await task()
            if service.ledger:
                await service.ledger.close()
            if service.peers:
                await service.peers.close()
        for source in sources.values():
            await source.close()
        telemetry.shutdown()


def main(build: Callable[[S], Service], settings_class: type[S]) -> None:
    """The command line of a service: `python -m <service> serve | consume | migrate | migrated | reconcile`."""
    cli = typer.Typer(no_args_is_help=True, add_completion=False)

    @cli.command()
    def serve() -> None:
        """Answer HTTP and gRPC."""
        asyncio.run(run_services([build(settings_class())], consume=False))

    @cli.command()
    def consume() -> None:
        """Relay events, consume feeds, run timers. Answers probes and EventFeed as well."""
        asyncio.run(run_services([build(settings_class())]))

    @cli.command()
    def migrate() -> None:
        """Bring the database to this version. Safe to run again and side by side."""
        from lyceum_kit import migrations  # Alembic: half a second that serving never needs

        settings = settings_class()
        if settings.migration_url is None:
            raise typer.BadParameter("set LYCEUM_MIGRATION_URL to the database as its owner")
        service = build(settings)
        migrations.upgrade(
            service.name,
            settings.migration_url.get_secret_value(),
            role_of(settings.database_url.get_secret_value()),
        )

    @cli.command()
    def migrated() -> None:
        """Wait until the database is at this version, or a newer one: for processes that start beside `migrate`."""
        from lyceum_kit import migrations

        settings = settings_class()
        logs.configure(settings)
        asyncio.run(migrations.wait(build(settings).name, settings.database_url.get_secret_value()))

    @cli.command()
    def reconcile(
        yes: Annotated[bool, typer.Option("--yes", help="Mend it; else only tell what is wrong.")] = False,
    ) -> None:
        """After a restore: compare with the ledgers and, where told so, go back to where histories part."""
        if not asyncio.run(_reconcile(build(settings_class()), mend=yes)):
            raise typer.Exit(1)

    _ = serve, consume, migrate, migrated, reconcile
    cli()


async def _reconcile(service: Service, *, mend: bool) -> bool:
    """True when there is no trouble, or none any more. The service may run meanwhile."""
    workers = Workers(service)
    assert service.ledger
    assert service.peers
    try:
        reconciliation = workers.reconciliation
        report = await (reconciliation.mend("command line") if mend else reconciliation.report())
    finally:
        await service.peers.close()
        await service.ledger.close()
    for line in report.told:
        typer.echo(line)
    return not report.trouble
