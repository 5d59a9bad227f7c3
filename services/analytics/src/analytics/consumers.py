"""Keeps ClickHouse up with the ledgers: open, check, catch up, then follow Kafka.

At a start, and every few minutes, each partition is counted: rows, distinct positions and the last position
must be one number. Where they are not (a disk lost parts, somebody else wrote), the feed is rebuilt from the
ledger.
"""

# ruff: noqa: S608 - tables' names are ours; values are bound

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog

from analytics import schema
from analytics.engine import Engine, open_engine
from analytics.projections import COLUMNS, table
from analytics.sink import CONSUMER, ClickHouseSink, Count
from lyceum_kit.errors import Refused, Unavailable
from lyceum_kit.feed import FeedReader, Head
from lyceum_kit.intake import Intake, Place, cut
from lyceum_kit.settings import KitSettings
from lyceum_kit.wire import Subscription

log = structlog.get_logger()

FEEDS = tuple(COLUMNS)
PAGE = 10_000  # events asked of a ledger at once
RECOUNT = 300.0  # seconds


class Consumption:
    """The consuming half of analytics; one process of it at a time."""

    def __init__(
        self,
        settings: KitSettings,
        engine: Engine,
        reader: FeedReader,
        *,
        pause: float = 0.0,
        cluster: str = "",
    ) -> None:
        self.engine = engine
        self.reader = reader
        self.cluster = cluster
        self.sink = ClickHouseSink(engine, pause)
        self.intake = Intake(CONSUMER, self.sink, reader)
        self.torn: dict[str, str] = {}  # feed → what is wrong with its table
        self.subscription: Subscription | None = None
        self.running = False
        self._settings = settings
        self._rebuilding = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        await self.prepare()
        self.running = True
        await self.recount()
        await self.catch_up()
        self.subscription = Subscription(self._settings, CONSUMER, FEEDS, self.intake)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.subscription.run(), name="analytics consumer")
            group.create_task(self._recount_for_ever(), name="analytics recount")

    async def prepare(self) -> None:
        """Open ClickHouse and bring its tables to this version; waits for it as long as it takes."""
        while True:
            try:
                await open_engine(self.engine)
                await schema.migrate(self.engine, self.cluster)
                return
            except Unavailable as e:
                log.warning("consumer waits", error=e.detail)
                await asyncio.sleep(1)

    async def recount(self) -> None:
        """Rebuild what is torn. A producer that does not answer now is asked again at the next recount."""
        for feed in FEEDS:
            wrong = torn(await self.sink.counts(feed))
            if not wrong:
                self.torn.pop(feed, None)
                continue
            self.torn[feed] = wrong
            log.error("table torn, rebuilding", feed=feed, what=wrong)
            try:
                await self.rebuild([feed])
            except Unavailable as e:
                log.warning("rebuild waits", feed=feed, error=e.detail)

    async def catch_up(self) -> None:
        """Read what is missing from the ledgers: Kafka keeps 30 days at most, ClickHouse may be new."""
        for feed in FEEDS:
            try:
                heads = await self.intake.refresh_heads(feed)
                places = await self.sink.places([(feed, p) for p in range(len(heads))])
                for partition, head in enumerate(heads):
                    place = places[feed, partition].next
                    while place <= head.head:
                        records = await self.reader.read(feed, partition, place, PAGE)
                        await self.intake.process(records)
                        after = self.intake.next_of((feed, partition)) or place
                        if after == place:
                            break  # red or wrong: the alarm says so
                        place = after
            except Unavailable as e:
                log.warning("not caught up from the ledger", feed=feed, error=e.detail)

    async def rebuild(self, names: Sequence[str] = FEEDS) -> dict[str, int]:
        """Fill new tables from the ledgers and exchange them; how many events each feed has. Readers see the
        old table until then. What arrives meanwhile is a gap in the new one, which the intake heals."""
        if self._rebuilding.locked():
            raise Refused("A rebuild is running")
        done: dict[str, int] = {}
        async with self._rebuilding:
            for feed in names:
                shadow, cluster = f"{table(feed)}_rebuild", schema.clauses(self.cluster)["on_cluster"]
                await self.engine.command(f"DROP TABLE IF EXISTS {shadow} {cluster} SYNC")
                await self.engine.command(f"CREATE TABLE {shadow} {cluster} AS {table(feed)}")
                done[feed] = await self._fill(feed, shadow)
                if wrong := torn(await self.sink.counts(feed, shadow)):
                    raise Unavailable(f"the rebuilt table of {feed} is torn: {wrong}")
                async with self.intake.lock:
                    await self.engine.command(f"EXCHANGE TABLES {table(feed)} AND {shadow} {cluster}")
                    self.sink.forget()
                    for partition, state in self.intake.states.items():
                        if partition[0] == feed:
                            state.place, state.alarm = None, ""
                            await self.sink.raise_alarm(partition, "")
                self.torn.pop(feed, None)
                await self.engine.command(f"DROP TABLE IF EXISTS {shadow} {cluster} SYNC")
                log.info("feed rebuilt", feed=feed, events=done[feed])
        return done

    async def _fill(self, feed: str, shadow: str) -> int:
        events = 0
        for partition, head in enumerate(await self.reader.heads(feed)):
            place = Place()
            while place.next <= head.head:
                found = cut(
                    place, await self.reader.read(feed, partition, place.next, PAGE), head.generation_at
                )
                if found.red or not found.run:
                    raise Unavailable(found.red or f"{feed} has no position {place.next} in {partition}")
                await self.sink.insert(shadow, feed, found.run)
                events += len(found.run)
                place = found.place_after(place)
        return events

    async def _recount_for_ever(self) -> None:
        while True:
            await asyncio.sleep(RECOUNT)
            try:
                async with self.intake.lock:  # or the counts would be of different moments
                    counts = {feed: torn(await self.sink.counts(feed)) for feed in FEEDS}
                if any(counts.values()):
                    await self.recount()
            except Unavailable as e:
                log.warning("not recounted", error=e.detail)
            except Exception:
                log.exception("recount failed")

    async def status(self) -> dict[str, Any]:
        """In the shape of every service's /system/feeds; `tables` is what ClickHouse itself counts."""
        counts = {(c.feed, c.partition): c for feed in FEEDS for c in await self.sink.counts(feed)}
        consumers: list[dict[str, Any]] = []
        for feed in FEEDS:
            heads = await self._heads(feed)
            parts = range(len(heads)) if heads else sorted(p for f, p in counts if f == feed)
            for partition in parts:
                count = counts.get((feed, partition))
                place = count.last + 1 if count else 1
                head = heads[partition].head if heads else None
                notes = self.sink.notes.get((feed, partition))
                alarm = notes.alarm if notes else ""
                if count and not count.whole:
                    alarm = f"red: {torn([count])}"
                consumers.append(
                    {
                        "consumer": CONSUMER,
                        "feed": feed,
                        "partition": partition,
                        "next": place,
                        "head": head,
                        "lag": None if head is None else head - place + 1,
                        "healed": notes.healed if notes else 0,
                        "alarm": alarm,
                    }
                )
        return {
            "service": CONSUMER,
            "relay": {"active": False, "error": "", "outbox": 0, "oldest_age_s": 0.0},
            "feeds": [],
            "consumers": consumers,
            "consumer_error": self.subscription.error if self.subscription else "",
            "parked": [],
            "timers": {"pending": 0, "late": 0, "failed": 0},
            "undecoded": await self._undecoded(),
        }

    def parted(self) -> dict[str, str]:
        """Feeds whose rows are not the ledger's history any more, and why. Only a rebuild brings them back."""
        red = {
            feed: note.alarm for (feed, _), note in self.sink.notes.items() if note.alarm.startswith("red:")
        }
        return red | self.torn

    def reconciliation(self) -> dict[str, Any]:
        """As `lyceum reconcile` shows it of every service."""
        parted = self.parted()
        trouble = [f"{feed}: {why}" for feed, why in sorted(parted.items())]
        told = [f"trouble: {line}" for line in trouble]
        agree = len(FEEDS) - len(parted)
        return {
            "service": CONSUMER,
            "trouble": trouble,
            "told": [f"analytics: the rows of {agree} of {len(FEEDS)} feeds are the ledgers'", *told],
        }

    async def check(self) -> None:
        """For readiness: red while a partition stands still or a table is known to be torn."""
        if self.torn:
            raise Unavailable("Torn: " + "; ".join(f"{feed}: {what}" for feed, what in self.torn.items()))
        red = [f"{f}/{p}" for (f, p), note in self.sink.notes.items() if note.alarm.startswith("red:")]
        if red:
            raise Unavailable(f"These partitions stand still: {', '.join(sorted(red))}; see /system/feeds")
        if self.subscription and (why := self.subscription.trouble()):
            raise Unavailable(why)

    async def _heads(self, feed: str) -> list[Head]:
        try:
            return await self.intake.refresh_heads(feed)
        except Unavailable:
            return []

    async def _undecoded(self) -> list[dict[str, Any]]:
        """Rows whose other columns are empty. A rebuild reads them again, with whatever this build knows."""
        union = " UNION ALL ".join(
            f"SELECT '{feed}' AS feed, type, decoded, count() AS events FROM {table(feed)}"
            " WHERE decoded != 'yes' GROUP BY type, decoded"
            for feed in FEEDS
        )
        return await self.engine.read_back(f"SELECT * FROM ({union}) ORDER BY feed, type, decoded")


def torn(counts: Sequence[Count]) -> str:
    """PURE. What does not agree; empty when everything does."""
    return "; ".join(
        f"partition {c.partition} has {c.rows} rows and {c.distinct} positions from {c.first} to {c.last}"
        for c in counts
        if not c.whole
    )
