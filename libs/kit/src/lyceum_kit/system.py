"""What operators see of a service: feeds, progress, relay, timers, parked events. Routes under /system."""

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

from fastapi import APIRouter, FastAPI, Path
from sqlalchemy import text

from lyceum_kit import VERSION, db, telemetry
from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import FeedSource
from lyceum_kit.http import Model, allow
from lyceum_kit.ledger import Ledger
from lyceum_kit.reconcile import Report
from lyceum_kit.settings import KitSettings
from lyceum_kit.tokens import Caller, Verifier

if TYPE_CHECKING:
    from lyceum_kit.service import Workers

MEASURE_EVERY = 5.0  # seconds

Keeper = Annotated[
    Caller, allow("admin", "operator")
]  # of parked events: an administrator sees the tenant's own
Number = Annotated[int, Path(ge=1, lt=2**63)]

_PROGRESS = text(
    "SELECT feed, partition, generation, next, healed, alarm, tries FROM progress WHERE consumer = :consumer"
    " ORDER BY feed, partition"
)
_OUTBOX = text(
    "SELECT count(*) AS rows, coalesce(extract(epoch FROM now() - min(queued_at)), 0) AS age,"
    " (SELECT coalesce(sum(head - sent), 0) FROM feed_head) AS unsent FROM outbox"
)
_WAITING = text(
    "SELECT (SELECT count(*) FROM parked WHERE consumer = :consumer AND settled IS NULL) AS parked,"
    " (SELECT count(*) FROM progress WHERE consumer = :consumer AND alarm LIKE 'red:%') AS red"
)


def platform_wide(settings: KitSettings) -> Any:
    """Who may see what is of no tenant. Whoever administers a tenant of the local edition owns the machine too."""
    return allow("operator", "admin") if settings.edition == "local" else allow("operator")


def tenant_of(who: Caller) -> UUID | None:
    """None: all of them."""
    return None if who.every_tenant else who.tenant


class Discard(Model):
    why: str


async def consumers(workers: "Workers") -> list[dict[str, Any]]:
    """One entry per feed and partition: `next` against the producer's head as last known."""
    async with workers.ledger.engine.connect() as conn:
        rows = (await conn.execute(_PROGRESS, {"consumer": workers.service.name})).all()
    heads: dict[str, list[Any]] = {}
    for feed in {row.feed for row in rows}:
        try:
            heads[feed] = list(await workers.intake.refresh_heads(feed))
        except Unavailable:
            heads[feed] = []
    entries: list[dict[str, Any]] = []
    for row in rows:
        head = heads[row.feed][row.partition].head if row.partition < len(heads[row.feed]) else None
        entries.append(
            {
                "consumer": workers.service.name,
                "feed": row.feed,
                "partition": row.partition,
                "next": row.next,
                "head": head,
                "lag": None if head is None else head - row.next + 1,
                "healed": row.healed,
                "alarm": row.alarm,
            }
        )
    return entries


async def outbox(ledger: Ledger) -> dict[str, Any]:
    """What waits for the relay, for people and for Prometheus."""
    async with ledger.engine.connect() as conn:
        row = (await conn.execute(_OUTBOX)).one()
    service = ledger.feed.producer
    telemetry.RELAY_OUTBOX.labels(service).set(row.rows)
    telemetry.RELAY_OLDEST.labels(service).set(float(row.age))
    telemetry.RELAY_UNSENT.labels(service).set(int(row.unsent))
    return {"outbox": row.rows, "oldest_age_s": round(float(row.age), 1), "unsent": int(row.unsent)}


async def measure(workers: "Workers") -> None:
    """Set the gauges that nothing else touches while nobody looks; until cancelled."""
    consumer = workers.service.name
    while True:
        try:
            await outbox(workers.ledger)
            await workers.timers.status()
            async with workers.ledger.engine.connect() as conn:
                row = (await conn.execute(_WAITING, {"consumer": consumer})).one()
            telemetry.PARKED_OPEN.labels(consumer).set(row.parked)
            telemetry.FEED_RED.labels(consumer).set(row.red)
        except Exception as e:
            if not db.is_outage(e):
                raise
        await asyncio.sleep(MEASURE_EVERY)


async def report(
    service: str, workers: "Workers", sources: dict[str, FeedSource], of: UUID | None = None
) -> dict[str, Any]:
    feeds: list[dict[str, Any]] = []
    for feed in workers.relay.feeds:
        for p in (await sources[feed.name].heads(feed.name)).partitions:
            generation = p.generations[-1].generation if p.generations else 0
            feeds.append(
                {
                    "feed": feed.name,
                    "partition": p.partition,
                    "head": p.head,
                    "sent": p.sent,
                    "generation": generation,
                }
            )
    status = workers.relay.status
    return {
        "service": service,
        "version": VERSION,
        "relay": {"active": status.active, "error": status.error, **await outbox(workers.ledger)},
        "feeds": feeds,
        "consumers": await consumers(workers),
        "consumer_error": workers.subscription.error if workers.subscription else "",
        "parked": await workers.parked.open(of),
        "timers": await workers.timers.status(),
    }


def shown(report: Report) -> dict[str, Any]:
    return {**asdict(report), "told": report.told}


def attach(
    app: FastAPI,
    service: str,
    workers: "Workers | None",
    sources: dict[str, FeedSource],
    verifier: Verifier,
    *,
    consume: bool,
) -> None:
    """Add the operator's routes to a service's app. A service without a ledger brings its own.

    Only who consumes is not ready while feeds stand: without Kafka the ledger still takes what people do.
    """
    if workers is None:
        return
    if consume:
        app.state.checks["feeds"] = workers.check
    router = APIRouter(prefix=f"/api/{service}/system", tags=["system"])

    @router.get("/feeds")
    async def feeds(who: Annotated[Caller, platform_wide(workers.service.settings)]) -> dict[str, Any]:
        """Feeds with `next` against head, healed gaps, relay, timers and parked events."""
        return await report(service, workers, sources, tenant_of(who))

    @router.get("/parked")
    async def parked(who: Keeper) -> dict[str, Any]:
        return {"items": await workers.parked.open(tenant_of(who)), "next": None}

    @router.get("/parked/{n}")
    async def show(n: Number, who: Keeper) -> dict[str, Any]:
        return await workers.parked.show(n, tenant_of(who))

    @router.post("/parked/{n}/replay")
    async def replay(n: Number, who: Keeper) -> dict[str, int]:
        """Handle the event and all later ones of its key, in order."""
        return {"handled": await workers.parked.replay(n, who=who.subject, of=tenant_of(who))}

    @router.post("/parked/{n}/discard", status_code=204)
    async def discard(n: Number, body: Discard, who: Keeper) -> None:
        """Let this one event go, for a stated reason."""
        await workers.parked.discard(n, who=who.subject, why=body.why, of=tenant_of(who))

    @router.get("/reconcile")
    async def compare(who: Annotated[Caller, allow("operator")]) -> dict[str, Any]:  # noqa: ARG001
        """What this service sent and handled, held against the ledgers."""
        return shown(await workers.reconciliation.report())

    @router.post("/reconcile")
    async def reconcile(who: Annotated[Caller, allow("operator")]) -> dict[str, Any]:
        """After a restore: raise the generation where numbers were given twice, go back where histories part."""
        return shown(await workers.reconciliation.mend(who.subject))

    _ = feeds, parked, show, replay, discard, compare, reconcile, verifier
    app.include_router(router)
