"""Where events become rows: the Sink of the feed protocol over ClickHouse.

There is no progress table. What is in a feed's table is the progress: a block holds contiguous positions and
is written whole or not at all, so `max(position) + 1` is next, and after a kill between insert and
acknowledgement nothing is lost or doubled. That needs one writer for each partition: consume in one process.
"""

# ruff: noqa: S608 - tables' names are ours; values are bound

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from analytics.engine import Engine
from analytics.projections import columns, size, table
from lyceum_kit import telemetry
from lyceum_kit.envelope import Record
from lyceum_kit.failpoints import failpoint
from lyceum_kit.intake import Cut, Cutter, Partition, Place

CONSUMER = "analytics"
AT_ONCE = 5_000  # events of a poll: an insert costs some 10 ms, whatever is in it
BLOCK_ROWS = 50_000
BLOCK_BYTES = 64 * 1024 * 1024
MANY = 1000  # a poll of so many events is a backlog: no pause before the next insert
TRUSTED = 3.0  # seconds a place is remembered; less than a frozen consumer needs to lose its partitions
ONE_BY_ONE = (
    2_000_000  # rows from which partitions are counted one at a time: uniqExact holds all it has seen
)


@dataclass(frozen=True)
class Count:
    """What a partition's rows say of themselves."""

    feed: str
    partition: int
    rows: int
    distinct: int
    first: int
    last: int

    @property
    def whole(self) -> bool:
        return self.rows == self.distinct == self.last and self.first == min(self.last, 1)


@dataclass
class Notes:
    """What an operator should see of a partition; since the start of this process."""

    alarm: str = ""
    healed: int = 0


@dataclass
class ClickHouseSink:
    """Applies events to ClickHouse."""

    engine: Engine
    pause: float = 0.0
    notes: dict[Partition, Notes] = field(default_factory=dict[Partition, Notes])

    def __post_init__(self) -> None:
        self._remembered: dict[Partition, tuple[Place, float]] = {}
        self._inserted_at = 0.0

    @property
    def remedy(self) -> str:
        return "lyceum rebuild analytics"

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        found = {p: Place() for p in partitions}
        for feed in {feed for feed, _ in partitions}:
            rows = await self.engine.read_back(
                "SELECT partition, max(position) AS last, argMax(toString(id), position) AS id,"
                f" argMax(generation, position) AS generation FROM {table(feed)}"
                " WHERE has({partitions:Array(UInt16)}, partition) GROUP BY partition",
                {"partitions": [p for f, p in partitions if f == feed]},
            )
            for row in rows:
                found[feed, row["partition"]] = Place(row["last"] + 1, row["id"], row["generation"])
        return found

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter
    ) -> dict[Partition, tuple[Place, Cut]]:
        if sum(map(len, records.values())) < MANY:
            await asyncio.sleep(self._inserted_at + self.pause - time.monotonic())
        try:
            places = await self._places_now(list(records))
            results = {p: cut(p, places[p], some) for p, some in records.items()}
            run = [r for result in results.values() for r in result.run]
            metas = (r.meta for r in run if r.meta)
            with telemetry.event_spans(lambda _: "clickhouse insert", metas, consumer=CONSUMER):
                await self._insert(results)
        except BaseException:
            # Whatever it was, cancellation as well: an insert may have arrived or may still be on its way.
            # The next places are read on the writer's own handle, after it.
            self._remembered.clear()
            raise
        after = {p: (result.place_after(places[p]), result) for p, result in results.items()}
        self._remembered |= {
            p: (place, self._inserted_at) for p, (place, result) in after.items() if result.run
        }
        telemetry.count_handled(CONSUMER, run)
        return after

    async def raise_alarm(self, partition: Partition, alarm: str) -> None:
        self.notes.setdefault(partition, Notes()).alarm = alarm

    async def count_healed(self, partition: Partition, events: int) -> None:
        self.notes.setdefault(partition, Notes()).healed += events

    def forget(self) -> None:
        """The tables are others now."""
        self._remembered.clear()

    async def counts(self, feed: str, name: str = "") -> list[Count]:
        """Count a feed's rows, distinct positions and ends, by partition."""
        name = name or table(feed)
        rows = await self.engine.read_back(
            f"SELECT partition, count() AS rows FROM {name} GROUP BY partition"
        )
        total = sum(row["rows"] for row in rows)
        parts = sorted(row["partition"] for row in rows)
        some = [[part] for part in parts] if total > ONE_BY_ONE else [parts]
        counted = [
            row
            for partitions in some
            for row in await self.engine.read_back(
                "SELECT partition, count() AS rows, uniqExact(position) AS distinct, min(position) AS first,"
                f" max(position) AS last FROM {name}"
                " WHERE has({partitions:Array(UInt16)}, partition) GROUP BY partition ORDER BY partition",
                {"partitions": partitions},
            )
        ]
        return [Count(feed, r["partition"], r["rows"], r["distinct"], r["first"], r["last"]) for r in counted]

    async def insert(self, name: str, feed: str, records: Sequence[Record]) -> None:
        """Contiguous runs of one feed, in blocks."""
        for block in blocks(records):
            await self.engine.insert(name, columns(feed, block), token=token(feed, block))
            failpoint("analytics.inserted")

    async def _insert(self, results: Mapping[Partition, Cut]) -> None:
        for feed in sorted({feed for feed, _ in results}):
            run = [r for (f, _), result in results.items() if f == feed for r in result.run]
            if run:
                await self.insert(table(feed), feed, run)
                self._inserted_at = time.monotonic()

    async def _places_now(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        now = time.monotonic()
        known = {p: self._remembered[p] for p in partitions if p in self._remembered}
        places = {p: place for p, (place, at) in known.items() if at > now - TRUSTED}
        missing = [p for p in partitions if p not in places]
        if missing:
            found = await self.places(missing)
            self._remembered |= {p: (place, now) for p, place in found.items()}
            places |= found
        return places


def blocks(records: Sequence[Record], rows: int = BLOCK_ROWS, most: int = BLOCK_BYTES) -> list[list[Record]]:
    """PURE. Cut by rows and by bytes: past 256 MiB the engine would make two parts of one block."""
    cut: list[list[Record]] = []
    room = 0
    for record in records:
        room -= size(record)
        if not cut or room < 0 or len(cut[-1]) >= rows:
            cut.append([])
            room = most - size(record)
        cut[-1].append(record)
    return cut


def token(feed: str, block: Sequence[Record]) -> str:
    """PURE. Names the positions in a block: `enrollment:3:101-180,7:12-12`."""
    ends: dict[int, tuple[int, int]] = {}
    for record in block:
        first, last = ends.get(record.partition, (record.position, record.position))
        ends[record.partition] = (min(first, record.position), max(last, record.position))
    return f"{feed}:" + ",".join(f"{p}:{first}-{last}" for p, (first, last) in sorted(ends.items()))
