"""Keeps ClickHouse up with the ledgers: open, check, catch up, then follow Kafka.

At a start, and every few minutes, each partition is counted: rows, distinct positions and the last position
must be one number. Where they are not (a disk lost parts, somebody else wrote), the feed is rebuilt from the
ledger. A rebuild fills a table beside the live one and exchanges both once it has everything the live one has,
so readers never see less than before.
"""

# ruff: noqa: S608 - tables' names are ours; values are bound

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from analytics import schema
from analytics.engine import Engine, open_engine
from analytics.projections import COLUMNS, table
from analytics.sink import AT_ONCE, CONSUMER, ClickHouseSink, Count
from lyceum_kit import VERSION
from lyceum_kit.errors import LyceumError, Refused, Unavailable
from lyceum_kit.feed import FeedReader, Head
from lyceum_kit.intake import Intake, Place, cut
from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import feeds
from lyceum_kit.wire import Subscription

log = structlog.get_logger()

FEEDS = tuple(COLUMNS)
PAGE = 10_000  # events asked of a ledger at once
RECOUNT = 300.0  # seconds
CLOSE = 1000  # events left behind, few enough to hold back the consumer while they are read
REMEDY = "`lyceum rebuild analytics` makes it anew from the ledger"


@dataclass
class Rebuild:
    """The running one, or the last one of this process."""

    running: bool = False
    error: str = ""
    events: dict[str, int] = field(default_factory=dict[str, int])  # in the new table of each feed
    of: dict[str, int] = field(default_factory=dict[str, int])  # in its ledger


class Consumption:
    """The consuming half of analytics; one process of it at a time."""

    def __init__(
        self,
        settings: KitSettings,
        engine: Engine,
        reader: FeedReader,
        *,
        pause: float = 0.0,
    ) -> None:
        self.engine = engine
        self.reader = reader
        self.sink = ClickHouseSink(engine, pause)
        self.intake = Intake(CONSUMER, self.sink, reader)
        self.torn: dict[str, str] = {}  # feed → what is wrong with its table
        self.subscription: Subscription | None = None
        self.last_rebuild = Rebuild()
        self._running = False
        self._settings = settings
        self._rebuilding = asyncio.Lock()
        self._asked = asyncio.Event()  # for a rebuild

    async def run(self) -> None:
        """Until cancelled."""
        await self.wait_until_open()
        self._running = True
        try:
            await self.recount()
            await self.catch_up()
            self.subscription = Subscription(self._settings, CONSUMER, FEEDS, self.intake, at_once=AT_ONCE)
            async with asyncio.TaskGroup() as group:
                group.create_task(self.subscription.run(), name="analytics consumer")
                group.create_task(self._recount_for_ever(), name="analytics recount")
                group.create_task(self._rebuild_when_asked(), name="analytics rebuild")
        finally:
            self._running = False

    async def open(self) -> None:
        """ClickHouse, with its tables at this version and no half-made ones."""
        await open_engine(self.engine)
        await schema.migrate(self.engine, self.engine.cluster)
        for feed in FEEDS:
            await self._drop(shadow(feed))

    async def wait_until_open(self) -> None:
        """As long as it takes: a server may start later, another process may still hold the folder."""
        while True:
            try:
                await self.open()
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
            log.error("table torn, rebuilding", feed=feed, what=wrong, remedy=REMEDY)
            try:
                await self.rebuild([feed])
            except (Unavailable, Refused) as e:
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

    def ask_for_rebuild(self) -> None:
        """Of all feeds, beside everything else that this process does."""
        if not self._running:
            raise Refused("This process does not consume; ask the one that does")
        if self._rebuilding.locked() or self._asked.is_set():
            raise Refused("A rebuild is running")
        self.last_rebuild = Rebuild(running=True)
        self._asked.set()

    async def rebuild(self, names: Sequence[str] = FEEDS) -> dict[str, int]:
        """Make the tables anew; how many events each has."""
        if self._rebuilding.locked():
            raise Refused("A rebuild is running")
        async with self._rebuilding:
            now = self.last_rebuild = Rebuild(running=True)
            try:
                for feed in names:
                    await self._rebuild(feed, now)
                    log.info("feed rebuilt", feed=feed, events=now.events[feed])
            except Exception as e:
                now.error = e.detail if isinstance(e, LyceumError) else f"{type(e).__name__}: {e}"
                raise
            finally:
                now.running = False
            return now.events

    async def _rebuild(self, feed: str, now: Rebuild) -> None:
        await self._drop(shadow(feed))
        await self.engine.command(f"CREATE TABLE {shadow(feed)} {self._on_cluster} AS {table(feed)}")
        now.events[feed] = now.of[feed] = 0
        places: dict[int, Place] = {}
        while await self._fill(feed, places, now) > CLOSE:
            pass  # others arrived meanwhile
        async with self.intake.lock:  # none arrives now
            await self._fill(feed, places, now)
            if wrong := torn(await self.sink.counts(feed, shadow(feed))):
                raise Unavailable(f"The new table of {feed} is torn: {wrong}")
            try:
                exchange = f"EXCHANGE TABLES {table(feed)} AND {shadow(feed)} {self._on_cluster}"
                await self.engine.command(exchange)
            finally:
                self.sink.forget()  # even where it failed: who knows which table is which
            for partition, state in self.intake.states.items():
                if partition[0] == feed:
                    state.place, state.alarm = None, ""
                    await self.sink.raise_alarm(partition, "")
            self.torn.pop(feed, None)
        await self._drop(shadow(feed))

    async def _fill(self, feed: str, places: dict[int, Place], now: Rebuild) -> int:
        """Go on at `places` up to the ledger's heads; how many events that was."""
        before = now.events[feed]
        heads = await self.intake.refresh_heads(feed)
        now.of[feed] = sum(head.head for head in heads)
        for partition, head in enumerate(heads):
            place = places.get(partition, Place())
            while place.next <= head.head:
                read = await self.reader.read(feed, partition, place.next, PAGE)
                found = cut(place, [r for r in read if r.position <= head.head], head.generation_at)
                if found.red or not found.run:
                    raise Unavailable(found.red or f"{feed} has no position {place.next} in {partition}")
                await self.sink.insert(shadow(feed), feed, found.run)
                now.events[feed] += len(found.run)
                place = places[partition] = found.place_after(place)
        return now.events[feed] - before

    async def _rebuild_when_asked(self) -> None:
        while True:
            await self._asked.wait()
            try:
                await self.rebuild()
            except Exception:
                log.exception("rebuild failed")  # whoever asked reads it in `last_rebuild`
            finally:
                self._asked.clear()

    async def _drop(self, name: str) -> None:
        await self.engine.command(f"DROP TABLE IF EXISTS {name} {self._on_cluster} SYNC")

    @property
    def _on_cluster(self) -> str:
        return schema.clauses(self.engine.cluster)["on_cluster"]

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
        """In the shape of every service's /system/feeds, and `tables`: what ClickHouse counts against the ledgers."""
        counts = {(c.feed, c.partition): c for feed in FEEDS for c in await self.sink.counts(feed)}
        consumers: list[dict[str, Any]] = []
        tables: list[dict[str, Any]] = []
        for feed in FEEDS:
            heads = await self._heads(feed)
            mine = [c for (of, _), c in counts.items() if of == feed]
            rows, ledger = sum(c.rows for c in mine), sum(h.head for h in heads) if heads else None
            tables.append(
                {
                    "table": table(feed),
                    "events": rows,
                    "ledger": ledger,
                    "missing": None if ledger is None else ledger - rows,
                    "whole": all(c.whole for c in mine),
                }
            )
            for partition in range(feeds()[feed].partitions):
                count = counts.get((feed, partition))
                place = count.last + 1 if count else 1
                head = heads[partition].head if heads else None
                notes = self.sink.notes.get((feed, partition))
                alarm = notes.alarm if notes else ""
                if count and not count.whole:
                    alarm = f"red: {torn([count])}; {REMEDY}"
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
            "version": VERSION,
            "relay": {"active": False, "error": "", "outbox": 0, "oldest_age_s": 0.0},
            "feeds": [],
            "consumers": consumers,
            "consumer_error": self.subscription.error if self.subscription else "",
            "parked": [],
            "timers": {"pending": 0, "late": 0, "failed": 0},
            "tables": tables,
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
            wrong = "; ".join(f"{table(feed)}: {what}" for feed, what in self.torn.items())
            raise Unavailable(f"Torn, so numbers may be wrong: {wrong}. {REMEDY}")
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


def shadow(feed: str) -> str:
    """Where a feed's table is made anew."""
    return f"{table(feed)}_rebuild"


def torn(counts: Sequence[Count]) -> str:
    """PURE. What does not agree; empty when everything does."""
    return "; ".join(
        f"partition {c.partition} has {c.rows} rows and {c.distinct} positions from {c.first} to {c.last}"
        for c in counts
        if not c.whole
    )
