"""Composition root: settings → engine, consumption, HTTP, gRPC, the operator's SQL. Tests pass fakes here."""

from analytics import http, rpc, sql_endpoint
from analytics.consumers import Consumption
from analytics.engine import Engine
from analytics.settings import Settings
from lyceum_kit.feed import FeedReader
from lyceum_kit.http import make_app
from lyceum_kit.ids import Clock, utc_now
from lyceum_kit.peers import Peers
from lyceum_kit.service import Service
from lyceum_kit.tokens import Verifier


def make_engine(settings: Settings) -> Engine:
    return Engine(
        settings.clickhouse_url.get_secret_value(),
        readers=settings.analytics_readers,
        sql=settings.analytics_sql_queries,
        memory=settings.analytics_memory,
        sql_limits=sql_endpoint.limits(settings),
        cluster=settings.clickhouse_cluster,
    )


def make_consumption(settings: Settings, engine: Engine, reader: FeedReader) -> Consumption:
    return Consumption(
        settings,
        engine,
        reader,
        pause=settings.analytics_insert_pause,
    )


def build(
    settings: Settings,
    *,
    clock: Clock = utc_now,
    verifier: Verifier | None = None,
    peers: Peers | None = None,
    reader: FeedReader | None = None,
    engine: Engine | None = None,
) -> Service:
    """Does no I/O: ClickHouse is opened by the consumer, after HTTP is up, or by the first question."""
    peers = peers or Peers(settings)
    verifier = verifier or Verifier(settings.jwks_url, settings.issuer)
    engine = engine or make_engine(settings)
    consumption = make_consumption(settings, engine, reader or FeedReader(peers))
    app = make_app(
        "analytics",
        settings,
        router=http.routes(engine, consumption, settings, clock=clock),
        verifier=verifier,
        checks={"clickhouse": engine.check, "feeds": consumption.check},
    )

    async def sql() -> None:
        await sql_endpoint.serve(engine, settings)

    return Service(
        name="analytics",
        settings=settings,
        http=app,
        rpc=[rpc.service(engine, clock)],
        verifier=verifier,
        peers=peers,
        background=[consumption.run, sql],
        on_stop=[engine.close],
    )
