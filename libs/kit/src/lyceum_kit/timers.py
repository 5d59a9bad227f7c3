"""Durable timers: rows in PostgreSQL that run a handler when their time has come, also after any restart.

Each runs in its own transaction, together with its deletion; several processes share the work by SKIP LOCKED.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog
from sqlalchemy import text

from lyceum_kit import db, telemetry
from lyceum_kit.failpoints import failpoint
from lyceum_kit.ledger import Ledger, Tx

log = structlog.get_logger()

POLL = 1.0  # seconds
AT_ONCE = 4  # while the database works for one, the next is prepared here
GIVE_UP_AFTER = 20  # tries; then a person has to look, and `status` shows it


@dataclass(frozen=True)
class Timer:
    kind: str
    key: str
    due_at: datetime
    payload: Mapping[str, str]


TimerHandler = Callable[[Tx, Timer], Awaitable[None]]

_DUE = text(
    "SELECT tenant, kind, key, due_at, payload, tries FROM timers"
    " WHERE next_at <= :now AND kind = ANY(:kinds) AND tries < :give_up"
    " ORDER BY next_at LIMIT 1 FOR UPDATE SKIP LOCKED"
)
_DONE = text("DELETE FROM timers WHERE tenant = :tenant AND kind = :kind AND key = :key AND due_at = :due_at")
_FAILED = text(
    "UPDATE timers SET tries = tries + 1, next_at = :next_at, error = :error"
    " WHERE tenant = :tenant AND kind = :kind AND key = :key AND due_at = :due_at"
)
_STATUS = text(
    "SELECT count(*) AS pending, count(*) FILTER (WHERE next_at < :late AND tries < :give_up) AS late,"
    " count(*) FILTER (WHERE tries >= :give_up) AS failed FROM timers"
)


class Timers:
    def __init__(self, ledger: Ledger, handlers: Mapping[str, TimerHandler]) -> None:
        self._ledger = ledger
        self._handlers = handlers

    async def run(self) -> None:
        """Until cancelled."""
        while self._handlers:
            try:
                await self.run_due()
            except Exception as e:  # noqa: BLE001 - an outage; the rows wait
                log.warning("timers wait", error=f"{type(e).__name__}: {e}")
            await asyncio.sleep(POLL)

    async def run_due(self) -> None:
        """Run timers until none is due. Two that are due at once run in any order, as in two processes."""
        if await self._run_one():  # while there is nothing to do, looking costs one query
            ended = await asyncio.gather(*(self._run_many() for _ in range(AT_ONCE)), return_exceptions=True)
            for error in filter(None, ended):
                raise error

    async def _run_many(self) -> None:
        while await self._run_one():
            pass

    async def _run_one(self) -> bool:
        """False when none is due that nobody else has taken."""
        now = self._ledger.clock()
        published = False
        async with self._ledger.engine.connect() as conn, conn.begin():
            row = (
                await conn.execute(
                    _DUE, {"now": now, "kinds": list(self._handlers), "give_up": GIVE_UP_AFTER}
                )
            ).one_or_none()
            if row is None:
                return False
            timer = Timer(row.kind, row.key, row.due_at, row.payload)
            tenant: UUID = row.tenant
            where = {"tenant": tenant, "kind": timer.kind, "key": timer.key, "due_at": timer.due_at}
            await db.set_tenant(conn, tenant)
            tx = Tx(
                conn,
                tenant,
                self._ledger.feed,
                now=now,
                new_id=self._ledger.new_id,
                actor=f"timer:{timer.kind}",
            )
            try:
                # A savepoint: what the handler did goes, the row stays locked and learns why.
                async with conn.begin_nested():
                    # Deleted first, so that a handler may set the same timer anew.
                    await conn.execute(_DONE, where)
                    with telemetry.span(f"timer {timer.kind}"):
                        await self._handlers[timer.kind](tx, timer)
                        published = tx.has_events
                        await tx.flush()
            except Exception as e:
                if db.is_outage(e):
                    raise
                pause = timedelta(seconds=min(2**row.tries, 300))
                error = f"{type(e).__name__}: {e}"
                log.warning("timer failed, trying again", kind=timer.kind, key=timer.key, error=error)
                await conn.execute(_FAILED, {**where, "next_at": now + pause, "error": error[:1000]})
            failpoint("timer.handled")
        if published:
            self._ledger.wake()
        return True

    async def status(self) -> dict[str, int]:
        late = self._ledger.clock() - timedelta(seconds=30)
        async with self._ledger.engine.connect() as conn:
            row = (await conn.execute(_STATUS, {"late": late, "give_up": GIVE_UP_AFTER})).one()
        telemetry.TIMERS_LATE.labels(self._ledger.feed.producer).set(row.late)
        return {"pending": row.pending, "late": row.late, "failed": row.failed}
