"""The consumer's side of the feed protocol, whatever the events are applied to.

Each partition of a feed is numbered 1, 2, 3 … by the producer's ledger. `cut` takes what came and says which of it
is next; `Intake` fetches what is missing from the producer, guards against what the producer never wrote, and
hands the rest to a Sink, which applies events and remembers its place in one atomic step.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from lyceum_kit import telemetry
from lyceum_kit.envelope import Record
from lyceum_kit.errors import Unavailable
from lyceum_kit.failpoints import failpoint
from lyceum_kit.feed import FeedReader, Head

log = structlog.get_logger()

Partition = tuple[str, int]  # (feed, partition)
HEAL_AT_ONCE = 2000


@dataclass(frozen=True)
class Place:
    """Where a consumer is in one partition. `last_id` is the event at `next - 1`."""

    next: int = 1
    last_id: str = ""
    generation: int = 0


@dataclass(frozen=True)
class Cut:
    """`run` continues at the place without a gap; `waiting` lies beyond one; `red` stops the partition."""

    run: tuple[Record, ...] = ()
    waiting: tuple[Record, ...] = ()
    red: str = ""

    def place_after(self, before: Place) -> Place:
        if not self.run:
            return before
        last = self.run[-1]
        return Place(last.position + 1, last.id, last.generation)


def cut(place: Place, records: Sequence[Record], generation_at: Callable[[int], int]) -> Cut:
    """PURE. Sort, drop what was had and what belongs to no valid generation, follow the chain of predecessors."""
    fresh: dict[int, Record] = {}
    for record in records:
        if record.position >= place.next and record.generation == generation_at(record.position):
            fresh.setdefault(record.position, record)
    run: list[Record] = []
    position, last_id = place.next, place.last_id
    while record := fresh.pop(position, None):
        if record.previous != last_id:
            return Cut(
                tuple(run),
                waiting=tuple(fresh[p] for p in sorted(fresh)),
                red=f"event {record.id} at position {position} follows {record.previous or 'nothing'!r}, but here"
                f" {last_id or 'nothing'!r} came before it: the producer was restored or this consumer was."
                " Compare both with `lyceum reconcile` before going on.",
            )
        run.append(record)
        position, last_id = position + 1, record.id
    return Cut(tuple(run), tuple(fresh[p] for p in sorted(fresh)))


class Sink(Protocol):
    """What a consumer does with events: apply the next run of each partition and advance, atomically."""

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        """Read afresh from where they are kept."""
        ...

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: "Cutter"
    ) -> dict[Partition, tuple[Place, Cut]]:
        """Cut each partition at its true place, apply the runs, return the places after. All or nothing."""
        ...

    async def raise_alarm(self, partition: Partition, alarm: str) -> None:
        """Keep what a person should see; empty clears it."""
        ...

    async def count_healed(self, partition: Partition, events: int) -> None: ...


Cutter = Callable[[Partition, Place, Sequence[Record]], Cut]


@dataclass
class PartitionState:
    """What this process knows of one partition it consumes."""

    place: Place | None = None
    alarm: str = ""
    quiet_rounds: int = 0
    seen_next: int = 0


@dataclass
class Intake:
    """Feeds one Sink. `process` is called by the poll loop and by the tail check; never by both at once."""

    consumer: str
    sink: Sink
    reader: FeedReader
    heads: dict[str, list[Head]] = field(default_factory=dict[str, list[Head]])
    states: dict[Partition, PartitionState] = field(default_factory=dict[Partition, PartitionState])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def process(self, records: Sequence[Record]) -> None:
        """Apply all of `records` that can be applied now. What cannot, because the producer is not there to fill
        a gap, raises Unavailable: the poll loop then comes back to it."""
        async with self.lock:
            by_partition: dict[Partition, list[Record]] = {}
            for record in records:
                by_partition.setdefault((record.feed, record.partition), []).append(record)
            await self._know_heads(by_partition)
            for partition, some in by_partition.items():
                by_partition[partition] = await self._within_head(partition, some)
            failpoint("consumer.polled")
            todo = {
                p: r for p, r in by_partition.items() if r and not self._state(p).alarm.startswith("red:")
            }
            while todo:
                results = await self.sink.apply(todo, self._cut)
                failpoint("consumer.applied")
                todo = {}
                for partition, (place, result) in results.items():
                    self._advance(partition, place)
                    if result.red:
                        if instead := await self._ledgers_own(partition, place, result.red):
                            todo[partition] = [instead, *result.waiting]
                    elif result.waiting:
                        missing = await self._missing(partition, place, result.waiting[0].position)
                        if missing:
                            todo[partition] = [*missing, *result.waiting]

    def next_of(self, partition: Partition) -> int | None:
        place = self._state(partition).place
        return place.next if place else None

    def behind(self, partition: Partition) -> bool:
        """Whether the producer sent something that is not handled here; also when neither is known yet."""
        heads, following = self.heads.get(partition[0]), self.next_of(partition)
        return heads is None or following is None or heads[partition[1]].sent >= following

    async def refresh_heads(self, feed: str) -> list[Head]:
        heads = await self.reader.heads(feed)
        self.heads[feed] = heads
        for number, head in enumerate(heads):
            telemetry.FEED_HEAD.labels(self.consumer, feed, str(number)).set(head.head)
        return heads

    async def complete(self, partitions: Mapping[Partition, bool]) -> None:
        """Find lost tails. The value says whether Kafka has nothing more of that partition for us.

        A tail is lost when Kafka is drained, the producer says it sent what we do not have, and nothing moves for
        two rounds; anything laxer rang in a healthy backlog.
        """
        unknown = [p for p in partitions if self._state(p).place is None]
        if unknown:
            for partition, place in (await self.sink.places(unknown)).items():
                self._advance(partition, place)
        for feed in sorted({feed for feed, _ in partitions}):
            await self.refresh_heads(feed)
        for partition, drained in partitions.items():
            await self._check_tail(partition, drained=drained)

    async def _check_tail(self, partition: Partition, *, drained: bool) -> None:
        state, head = self._state(partition), self.heads[partition[0]][partition[1]]
        place = state.place or Place()
        if place.next - 1 > head.head:
            await self._alarm(
                partition,
                f"red: this consumer is at position {place.next - 1}, beyond the producer's head {head.head}:"
                " the producer was restored to an older state. See `lyceum reconcile`.",
            )
            return
        moved = place.next != state.seen_next
        state.seen_next = place.next
        lost = drained and head.sent >= place.next and not moved and not state.alarm.startswith("red:")
        state.quiet_rounds = state.quiet_rounds + 1 if lost else 0
        if state.quiet_rounds >= 2:
            state.quiet_rounds = 0
            records = await self.reader.read(
                *partition, place.next, min(HEAL_AT_ONCE, head.sent - place.next + 1)
            )
            await self._healed(partition, len(records))
            await self.process(records)

    async def _missing(self, partition: Partition, place: Place, until: int) -> list[Record]:
        failpoint("consumer.healing")
        records = await self.reader.read(*partition, place.next, min(HEAL_AT_ONCE, until - place.next))
        if not records:
            await self._alarm(
                partition, f"position {until} came, but the producer has no position {place.next}"
            )
        await self._healed(partition, len(records))
        return records

    async def _ledgers_own(self, partition: Partition, place: Place, red: str) -> Record | None:
        """The chain broke: was the record a stranger's? The ledger's copy goes on; without one the partition stops."""
        records = await self.reader.read(*partition, place.next, 1)
        if records and records[0].previous == place.last_id:
            await self._alarm(
                partition, f"position {place.next} on Kafka is not the ledger's event; the ledger's was taken"
            )
            return records[0]
        await self._alarm(partition, f"red: {red}")
        return None

    async def _know_heads(self, partitions: Mapping[Partition, Sequence[Record]]) -> None:
        """The producer's word on how far it is, asked when something lies beyond what it last said.

        Heads comes before the first record after a start; later an absent producer does not stop its consumers:
        `complete` finds out afterwards if somebody else had written into its topic.
        """
        for feed in {feed for feed, _ in partitions}:
            known = self.heads.get(feed)
            beyond = known is None or any(
                r.position > known[p[1]].head for p, rs in partitions.items() if p[0] == feed for r in rs
            )
            if beyond:
                try:
                    await self.refresh_heads(feed)
                except Unavailable:
                    if known is None:
                        raise

    async def _within_head(self, partition: Partition, records: Sequence[Record]) -> list[Record]:
        head = self.heads[partition[0]][partition[1]]
        true = [r for r in records if 0 < r.position <= head.head and r.meta]
        if false := next((r for r in records if not (0 < r.position <= head.head and r.meta)), None):
            # What has no readable headers counts as lost: the gap it leaves is filled from the ledger.
            await self._alarm(
                partition,
                f"a record at offset {false.offset} claims position {false.position} of {head.head}"
                f"{'' if false.meta else ' with unreadable headers'}: not the producer's, ignored",
            )
        return true

    def _cut(self, partition: Partition, place: Place, records: Sequence[Record]) -> Cut:
        return cut(place, records, self.heads[partition[0]][partition[1]].generation_at)

    def _state(self, partition: Partition) -> PartitionState:
        return self.states.setdefault(partition, PartitionState())

    def _advance(self, partition: Partition, place: Place) -> None:
        self._state(partition).place = place
        telemetry.FEED_NEXT.labels(self.consumer, partition[0], str(partition[1])).set(place.next)

    async def _alarm(self, partition: Partition, alarm: str) -> None:
        state = self._state(partition)
        if alarm != state.alarm:
            state.alarm = alarm
            log.error(
                "feed alarm", consumer=self.consumer, feed=partition[0], partition=partition[1], alarm=alarm
            )
            await self.sink.raise_alarm(partition, alarm)

    async def _healed(self, partition: Partition, events: int) -> None:
        if events:
            telemetry.GAPS_HEALED.labels(self.consumer, partition[0]).inc(events)
            log.warning("healed from the ledger", feed=partition[0], partition=partition[1], events=events)
            await self.sink.count_healed(partition, events)
