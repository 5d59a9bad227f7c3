"""What operators see of a service: feeds, progress, relay, timers, parked events. Routes under /system."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI
from sqlalchemy import text

from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import FeedSource
from lyceum_kit.http import Model, allow
from lyceum_kit.reconcile import Report
from lyceum_kit.tokens import Caller, Verifier

if TYPE_CHECKING:
    from lyceum_kit.service import Workers

Operator = Annotated[Caller, allow("admin", "operator")]

_PROGRESS = text(
    "SELECT feed, partition, generation, next, healed, alarm, tries FROM progress WHERE consumer = :consumer"
    " ORDER BY feed, partition"
)
_OUTBOX = text(
    "SELECT count(*) AS rows, coalesce(extract(epoch FROM now() - min(queued_at)), 0) AS age FROM outbox"
)


class Discard(Model):
    why: str


async def consumers(workers: "Workers") -> list[dict[str, Any]]:
    """One entry per feed and partition: `next` against the producer's head as last known."""
    assert workers.service.ledger
    async with workers.service.ledger.engine.connect() as conn:
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


async def report(service: str, workers: "Workers", sources: dict[str, FeedSource]) -> dict[str, Any]:
    assert workers.service.ledger
    async with workers.service.ledger.engine.connect() as conn:
        outbox = (await conn.execute(_OUTBOX)).one()
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
        "relay": {
            "active": status.active,
            "error": status.error,
            "outbox": outbox.rows,
            "oldest_age_s": round(float(outbox.age), 1),
        },
        "feeds": feeds,
        "consumers": await consumers(workers),
        "consumer_error": workers.subscription.error if workers.subscription else "",
        "parked": await workers.parked.open(),
        "timers": await workers.timers.status(),
    }


def shown(report: Report) -> dict[str, Any]:
    return {**asdict(report), "told": report.told}


def attach(
    app: FastAPI, service: str, workers: "Workers | None", sources: dict[str, FeedSource], verifier: Verifier
) -> None:
    """Add the operator's routes to a service's app. A service without a ledger brings its own."""
    if workers is None:
        return
    router = APIRouter(prefix=f"/api/{service}/system", tags=["system"])

    @router.get("/feeds")
    async def feeds(who: Operator) -> dict[str, Any]:  # noqa: ARG001
        """Feeds with `next` against head, healed gaps, relay, timers and parked events."""
        return await report(service, workers, sources)

    @router.get("/parked")
    async def parked(who: Operator) -> dict[str, Any]:  # noqa: ARG001
        return {"items": await workers.parked.open(), "next": None}

    @router.get("/parked/{n}")
    async def show(n: int, who: Operator) -> dict[str, Any]:  # noqa: ARG001
        return await workers.parked.show(n)

    @router.post("/parked/{n}/replay")
    async def replay(n: int, who: Operator) -> dict[str, int]:
        """Handle the event and all later ones of its key, in order."""
        return {"handled": await workers.parked.replay(n, who=who.subject)}

    @router.post("/parked/{n}/discard", status_code=204)
    async def discard(n: int, body: Discard, who: Operator) -> None:
        """Let this one event go, for a stated reason."""
        await workers.parked.discard(n, who=who.subject, why=body.why)

    @router.get("/reconcile")
    async def compare(who: Operator) -> dict[str, Any]:  # noqa: ARG001
        """What this service sent and handled, held against the ledgers."""
        return shown(await workers.reconciliation.report())

    @router.post("/reconcile")
    async def reconcile(who: Operator) -> dict[str, Any]:
        """After a restore: raise the generation where numbers were given twice, go back where histories part."""
        return shown(await workers.reconciliation.mend(who.subject))

    _ = feeds, parked, show, replay, discard, compare, reconcile, verifier
    app.include_router(router)
