"""`python -m analytics serve | consume | migrate | rebuild | analyst`."""

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

import typer

from analytics import analysts
from analytics.app import build, make_consumption, make_engine
from analytics.consumers import Consumption
from analytics.engine import target
from analytics.settings import Settings
from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import FeedReader
from lyceum_kit.peers import Peers
from lyceum_kit.service import run_services

cli = typer.Typer(no_args_is_help=True, add_completion=False)


@cli.command()
def serve() -> None:
    """Answer HTTP and gRPC. On the embedded engine use `consume`, which does this as well."""
    asyncio.run(run_services([build(Settings())], consume=False))


@cli.command()
def consume() -> None:
    """Follow the feeds into ClickHouse; answers HTTP, gRPC and the operator's SQL too. One process of it."""
    asyncio.run(run_services([build(Settings())]))


@cli.command()
def migrate() -> None:
    """Bring ClickHouse's tables and views to this version. `consume` does it at its start."""
    asyncio.run(_alone(lambda consumption: consumption.open()))


@cli.command()
def rebuild() -> None:
    """Make all tables anew from the ledgers, while nothing consumes: `lyceum rebuild analytics` asks what runs."""

    async def all_feeds(consumption: Consumption) -> None:
        await consumption.open()
        for feed, events in (await consumption.rebuild()).items():
            typer.echo(f"{feed}: {events} events")

    asyncio.run(_alone(all_feeds))


@cli.command()
def analyst(
    name: Annotated[str, typer.Argument(help="Of the user and its role, after lyceum_.")],
    tenant: Annotated[UUID, typer.Option(help="The id of the organisation whose rows they see.")],
) -> None:
    """Print the SQL that makes a read-only user on a ClickHouse server, for its administrator to run."""
    password = secrets.token_urlsafe(24)
    settings = Settings()
    url = settings.clickhouse_url.get_secret_value()
    try:
        made = analysts.statements(
            name,
            tenant,
            hashlib.sha256(password.encode()).hexdigest(),
            writer=urlsplit(url).username or "default",
            database=target(url).database,
            cluster=settings.clickhouse_cluster,
        )
    except ValueError as e:
        raise typer.BadParameter(str(e)) from e
    typer.echo("".join(f"{statement};\n\n" for statement in made), nl=False)
    typer.echo(f"user lyceum_{name}, password {password}: it is not shown again", err=True)


async def _alone(work: Callable[[Consumption], Awaitable[None]]) -> None:
    settings = Settings()
    engine, peers = make_engine(settings), Peers(settings)
    try:
        await work(make_consumption(settings, engine, FeedReader(peers)))
    except Unavailable as e:
        raise SystemExit(e.detail) from e
    finally:
        await engine.close()
        await peers.close()


if __name__ == "__main__":
    cli()
