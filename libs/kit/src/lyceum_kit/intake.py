"""The consumer's side of the feed protocol, whatever the events are applied to.

Each partition of a feed is numbered 1, 2, 3 … by the producer's ledger. `cut` takes what came and says which of it
is next; `Intake` fetches what is missing from the producer, guards against what the producer never wrote, and
hands the rest to a Sink, which applies events and remembers its place in one atomic step.

Where the producer's ledger is no longer the one this consumer followed, because one of them was restored, the partition
stops red before an event is taken or left out, and the alarm names the command that mends it. `standing` tells it from
what the producer says of itself, `cut` from the chain of predecessors: a ledger that was restored and went on past its
old head at once shows in that chain alone.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
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
                red=f"event {record.id} at position {position} follows {record.previous or 'nothing'}, but here"
                f" {last_id or 'nothing'} came before it",
            )
        run.append(record)
        position, last_id = position + 1, record.id
    return Cut(tuple(run), tuple(fresh[p] for p in sorted(fresh)))


def standing(place: Place, head: Head, ledgers_id: str = "") -> str | None:
    """PURE. Why this consumer's history is not the ledger's, empty when it is, None when only the ledger's event at
    `place.next - 1` can tell (`ledgers_id`).

    That one event is enough: an event has the same position twice only where as many events lie before it, and a
    restored ledger numbers what it kept before anything new.
    """
    last = place.next - 1
    if last == 0:
        return ""
    if last > head.head:
        return f"this consumer is at position {last}, beyond the producer's head {head.head}"
    if own := ledgers_id or (head.id if last == head.head else ""):
        return "" if own == place.last_id else f"position {last} was {place.last_id} here and is {own} there"
    return "" if place.generation == head.generation_at(last) else None


class Sink(Protocol):
    """What a consumer does with events: apply the next run of each partition and advance, atomically."""

    @property
    def remedy(self) -> str:
        """The command that brings a consumer back to its producer's history."""
        ...

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        """Read afresh from where they are kept."""
        ...

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: "Cutter"
    ) -> dict[Partition, tuple[Place, Cut]]:
        """Cut each partition at its true place, apply the runs, return the places after. All or nothing."""
        ...

    async def raise_alarm(self, partition: Partition, alarm: str) -> None:
        """Keep what a person should see. Empty clears a red one."""
        ...

    async def count_healed(self, partition: Partition, events: int) -> None: ...


Cutter = Callable[[Partition, Place, Sequence[Record]], Cut]


@dataclass
class PartitionState:
    """What this process knows of one partition it consumes."""

    place: Place | None = None
    alarm: str = ""
    quiet_at: int = 0  # the next that it had when it was last looked at, and seemed to have lost what follows
    stood: tuple[Place, int] | None = None  # this place was the ledger's history in this generation

    @property
    def red(self) -> bool:
        return self.alarm.startswith("red:")


@dataclass
class Intake:
    """Feeds one Sink. `process` is called by the poll loop and by the tail check; never by both at once."""

    consumer: str
    sink: Sink
    reader: FeedReader
    heads: dict[str, list[Head]] = field(default_factory=dict[str, list[Head]])
    states: dict[Partition, PartitionState] = field(default_factory=dict[Partition, PartitionState])
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    applied: frozenset[Partition] = frozenset()  # just now
    asked: int = 0
    answered: dict[str, int] = field(default_factory=dict[str, int])

    async def process(self, records: Sequence[Record]) -> None:
        """Apply all of `records` that can be applied now. What cannot, because the producer is not there to fill
        a gap or to own to a position, raises Unavailable: the poll loop then comes back to it."""
        by_partition: dict[Partition, list[Record]] = {}
        for record in records:
            by_partition.setdefault((record.feed, record.partition), []).append(record)
        async with self.applying(by_partition):
            away = await self._know_heads(by_partition)
            for partition, some in by_partition.items():
                by_partition[partition] = (
                    [] if partition[0] in away else await self._within_head(partition, some)
                )
            failpoint("consumer.polled")
            todo = {p: r for p, r in by_partition.items() if r and not self._state(p).red}
            continued: dict[Partition, Place] = {}
            while todo:
                results = await self.sink.apply(todo, self._cut)
                failpoint("consumer.applied")
                todo = {}
                for partition, (place, result) in results.items():
                    self._advance(partition, place)
                    if more := await self._continued(partition, place, result):
                        if continued.get(partition) == place:
                            raise Unavailable(
                                f"{partition}: what the ledger has does not go on at {place.next}"
                            )
                        continued[partition] = place
                        todo[partition] = [*more, *result.waiting]
            for absence in away.values():
                raise absence

    @asynccontextmanager
    async def applying(self, partitions: Iterable[Partition]) -> AsyncGenerator[None]:
        """Nobody else applies anything meanwhile."""
        async with self.lock:
            self.applied = frozenset(partitions)
            try:
                yield
            finally:
                self.applied = frozenset()

    def next_of(self, partition: Partition) -> int | None:
        place = self._state(partition).place
        return place.next if place else None

    def stopped(self, partition: Partition) -> bool:
        """Whether it is red: nothing goes on until a person decides."""
        return self._state(partition).red

    def behind(self, partition: Partition) -> bool:
        """Whether the producer sent something that is not handled here; also when neither is known yet."""
        heads, following = self.heads.get(partition[0]), self.next_of(partition)
        return heads is None or following is None or heads[partition[1]].sent >= following

    async def refresh_heads(self, feed: str) -> list[Head]:
        self.asked = asked = self.asked + 1
        heads = await self.reader.heads(feed)
        if asked < self.answered.get(feed, 0):
            return self.heads[feed]  # overtaken: an older answer would put us beyond the head
        self.answered[feed], self.heads[feed] = asked, heads
        for number, head in enumerate(heads):
            telemetry.FEED_HEAD.labels(self.consumer, feed, str(number)).set(head.head)
        return heads

    async def complete(self, partitions: Mapping[Partition, bool]) -> None:
        """Find lost tails. The value says whether Kafka has nothing more of that partition for us.

        A tail is lost when Kafka is drained, the producer says it sent what we do not have, and two looks find it at the
        same place, which no poll was about to leave; anything laxer rang in a healthy backlog.
        """
        # A red partition's place as well: somebody may have reconciled it. And of one that seems behind: after a
        # rebalance and another, it may have come back from a member that went on with it. Not while a poll is applied:
        # a place from before would be remembered after it, and what came since would seem lost. Nor is it waited for: it
        # may be what stands, and readiness has to tell.
        if not self.lock.locked():
            async with self.lock:
                await self._know_places(p for p in partitions if self._state(p).red or self.behind(p))
        for feed in sorted({feed for feed, _ in partitions}):
            await self.refresh_heads(feed)
        for partition, drained in partitions.items():
            if await self._stands(partition):
                await self._check_tail(partition, drained=drained)

    async def _stands(self, partition: Partition) -> bool:
        """Whether what this consumer had is what the ledger has; raises or clears the red alarm."""
        state, head = self._state(partition), self.heads[partition[0]][partition[1]]
        place = state.place or Place()
        seen = (place, head.generation)
        why = standing(place, head)
        if why is None and state.stood == seen:
            why = ""
        elif why is None or (why == "" and state.red and place.next > 1):
            found = await self.reader.read(*partition, place.next - 1, 1)
            why = standing(place, head, found[0].id if found else "missing")
        if why:
            await self._alarm(partition, self._red(why))
            return False
        if state.red:  # reconciled: what it goes back to is long read and committed on Kafka
            state.alarm, state.quiet_at = "", place.next
            await self.sink.raise_alarm(partition, "")
        elif state.stood is None:  # perhaps a process before this one left an alarm
            await self.sink.raise_alarm(partition, "")
        state.stood = seen
        return True

    async def _check_tail(self, partition: Partition, *, drained: bool) -> None:
        state, head = self._state(partition), self.heads[partition[0]][partition[1]]
        if state.place is None:  # a poll is applied, and has not come to it
            return
        # What is being applied moves in a moment.
        lost = drained and state.place.next <= head.sent and partition not in self.applied
        quiet_before, state.quiet_at = state.quiet_at, state.place.next if lost else 0
        if not lost or quiet_before != state.quiet_at:
            return
        state.quiet_at = 0
        while (next_one := state.place.next) <= head.sent and not state.red:
            records = await self.reader.read(
                *partition, next_one, min(HEAL_AT_ONCE, head.sent - next_one + 1)
            )
            await self.process(records)
            healed = state.place.next - next_one
            await self._healed(partition, healed)
            if healed == 0:
                return

    async def _continued(self, partition: Partition, place: Place, result: Cut) -> Sequence[Record]:
        """What the ledger has at a place where Kafka's records do not go on; nothing when they do, or nothing can."""
        if result.red:
            instead = await self._ledgers_own(partition, place, result.red)
            more = [instead] if instead else []
        elif result.waiting:
            more = await self._missing(partition, place, result.waiting[0].position)
        else:
            return ()
        if any(r.generation > self.heads[partition[0]][partition[1]].generation for r in more):
            # Raised since we asked; and what we had may be of the one before.
            await self.refresh_heads(partition[0])
            if not await self._stands(partition):
                return ()
        return more

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
        await self._alarm(partition, self._red(red))
        return None

    def _red(self, why: str) -> str:
        return (
            f"red: {why}: the producer was restored, or this consumer was. Nothing is taken or left out until"
            f" `{self.sink.remedy}` has compared both."
        )

    async def _know_heads(self, partitions: Mapping[Partition, Sequence[Record]]) -> dict[str, Unavailable]:
        """The producer's word on how far it is, before the first record after a start, and when something lies
        beyond what it last said. Feeds whose producer is away then have to wait."""
        away: dict[str, Unavailable] = {}
        for feed in {feed for feed, _ in partitions}:
            some = [p for p in partitions if p[0] == feed]
            known = self.heads.get(feed)
            unplaced = [p for p in some if self._state(p).place is None]
            await self._know_places(unplaced)
            beyond = known is None or any(
                r.position > known[p[1]].head or r.generation > known[p[1]].generation
                for p in some
                for r in partitions[p]
            )
            if not (beyond or unplaced):
                continue
            try:
                await self.refresh_heads(feed)
                for partition in some:
                    await self._stands(partition)
            except Unavailable as e:
                away[feed] = e
                for partition in unplaced:  # so that it is asked again
                    self._state(partition).place = None
        return away

    async def _know_places(self, partitions: Iterable[Partition]) -> None:
        """Always before the heads they are held against."""
        if unknown := list(partitions):
            for partition, place in (await self.sink.places(unknown)).items():
                self._advance(partition, place)

    async def _within_head(self, partition: Partition, records: Sequence[Record]) -> list[Record]:
        head = self.heads[partition[0]][partition[1]]
        true = [r for r in records if 0 < r.position <= head.head and r.meta]
        if len(true) == len(records):
            return true
        # What has no readable headers counts as lost: the gap it leaves is filled from the ledger. (What lies beyond the
        # head of a restored ledger and is of the generation before is no news.)
        false = [
            r
            for r in records
            if not (r.meta and (0 < r.position <= head.head or r.generation < head.generation_at(r.position)))
        ]
        if false:
            await self._alarm(
                partition,
                f"a record at offset {false[0].offset} claims position {false[0].position} of {head.head}"
                f"{'' if false[0].meta else ' with unreadable headers'}: not the producer's, ignored",
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
        if alarm != state.alarm and (alarm.startswith("red:") or not state.red):
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
