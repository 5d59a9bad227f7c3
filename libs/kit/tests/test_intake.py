"""The order of a feed: whatever arrives, events come out once, in the ledger's order, or the partition stops."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyceum_kit.envelope import Record
from lyceum_kit.errors import Unavailable
from lyceum_kit.feed import Head
from lyceum_kit.intake import Cut, Cutter, Intake, Partition, Place, cut

P = ("identity", 0)


def record(
    position: int, *, id: str = "", previous: str | None = None, generation: int = 1, good: bool = True
) -> Record:
    from datetime import UTC, datetime
    from uuid import UUID

    from lyceum_kit.envelope import Meta

    before = (f"e{position - 1}" if position > 1 else "") if previous is None else previous
    meta = Meta(
        UUID(int=position), "t", "s", "x", 1, datetime.now(UTC), UUID(int=1), *P, position, generation
    )
    return Record(
        *P, position, generation, before, id or f"e{position}", "k", b"", (), meta if good else None
    )


def always(generation: int) -> Callable[[int], int]:
    return lambda _position: generation


@given(st.integers(1, 30), st.integers(1, 40), st.randoms(use_true_random=False))
def test_a_cut_is_the_contiguous_run_whatever_the_order_and_duplicates(
    start: int, count: int, r: random.Random
) -> None:
    records = [record(p) for p in range(1, start + count)]
    given_records = [x for x in records for _ in range(r.randint(1, 2))]
    r.shuffle(given_records)
    result = cut(Place(start, f"e{start - 1}" if start > 1 else "", 1), given_records, always(1))
    assert [x.position for x in result.run] == list(range(start, start + count))
    assert not result.waiting
    assert not result.red


def test_what_lies_beyond_a_gap_waits() -> None:
    result = cut(Place(), [record(1), record(3), record(4)], always(1))
    assert [r.position for r in result.run] == [1]
    assert [r.position for r in result.waiting] == [3, 4]


def test_a_broken_chain_stops_the_partition_before_the_event() -> None:
    result = cut(Place(2, "e1", 1), [record(2, previous="another")], always(1))
    assert not result.run
    assert "follows another, but here e1 came before it" in result.red


def test_records_of_a_generation_that_was_replaced_are_ignored() -> None:
    head = Head(9, 9, ((1, 1), (7, 3)))  # positions from 3 on belong to generation 7
    old, new = record(3, id="lost", generation=1), record(3, generation=7)
    result = cut(Place(3, "e2", 1), [old, new], head.generation_at)
    assert [r.id for r in result.run] == ["e3"]


@dataclass
class MemorySink:
    """Keeps what it applied; fails a set number of times first."""

    place: Place = field(default_factory=Place)
    remedy: str = "mend it"
    applied: list[int] = field(default_factory=list[int])
    alarms: list[str] = field(default_factory=list[str])
    healed: int = 0

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        return dict.fromkeys(partitions, self.place)

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter
    ) -> dict[Partition, tuple[Place, Cut]]:
        result = cut(P, self.place, records[P])
        self.applied += [r.position for r in result.run]
        self.place = result.place_after(self.place)
        return {P: (self.place, result)}

    async def raise_alarm(self, partition: Partition, alarm: str) -> None:
        if alarm or (self.alarms and self.alarms[-1].startswith("red:")):
            self.alarms.append(alarm)

    async def count_healed(self, partition: Partition, events: int) -> None:
        self.healed += events


@dataclass
class Producer:
    """The ledger behind the feed: knows its head, can be away, can be restored to before position `restored`."""

    head: int
    away: bool = False
    asked: int = 0
    restored: int = 0

    async def heads(self, feed: str) -> list[Head]:
        self.asked += 1
        if self.away:
            raise Unavailable
        generations = ((1, 1), (2, self.restored)) if self.restored else ((1, 1),)
        return [Head(self.head, self.head, generations)]

    async def read(self, feed: str, partition: int, first: int, limit: int) -> list[Record]:
        if self.away:
            raise Unavailable
        return [self.event(p) for p in range(first, min(first + limit, self.head + 1))]

    def event(self, position: int) -> Record:
        if not self.restored or position < self.restored:
            return record(position)
        before = f"e{position - 1}" if position == self.restored else f"new{position - 1}"
        return record(position, id=f"new{position}", previous=before, generation=2)


def intake(sink: MemorySink, producer: Producer) -> Intake:
    return Intake("test", sink, producer)  # type: ignore[arg-type] - a fake of the two calls it makes


async def test_a_gap_is_filled_from_the_ledger() -> None:
    sink = MemorySink()
    await intake(sink, Producer(10)).process([record(1), record(6), record(7)])
    assert sink.applied == [1, 2, 3, 4, 5, 6, 7]
    assert sink.healed == 4


async def test_a_gap_with_the_producer_away_comes_back_later_and_loses_nothing() -> None:
    sink, producer = MemorySink(), Producer(7)
    consumer = intake(sink, producer)
    await consumer.process([record(1)])
    producer.away = True
    with pytest.raises(Unavailable):
        await consumer.process([record(3)])
    producer.away = False
    await consumer.process([record(3)])
    assert sink.applied == [1, 2, 3]


async def test_a_position_beyond_the_producers_head_is_an_alarm_and_no_event() -> None:
    sink = MemorySink()
    await intake(sink, Producer(3)).process([record(1), record(4, id="forged"), record(2)])
    assert sink.applied == [1, 2]
    assert "not the producer's" in sink.alarms[0]


async def test_what_lies_beyond_the_known_head_waits_while_the_producer_is_away_and_is_no_alarm() -> None:
    sink, producer = MemorySink(), Producer(2)
    consumer = intake(sink, producer)
    await consumer.process([record(1)])
    producer.head, producer.away = 3, True
    with pytest.raises(Unavailable):
        await consumer.process([record(2), record(3)])
    assert (sink.applied, sink.alarms) == ([1], [])
    producer.away = False
    await consumer.process([record(2), record(3)])
    assert (sink.applied, sink.alarms) == ([1, 2, 3], [])


async def test_nothing_is_judged_before_the_producer_was_heard_once() -> None:
    sink, producer = MemorySink(), Producer(3, away=True)
    consumer = intake(sink, producer)
    with pytest.raises(Unavailable):
        await consumer.process([record(1)])
    assert (sink.applied, sink.alarms) == ([], [])


async def test_unreadable_headers_count_as_lost_and_the_ledgers_event_is_taken() -> None:
    sink = MemorySink()
    await intake(sink, Producer(3)).process(
        [record(1, good=False), record(2), record(0, good=False), record(3)]
    )
    assert sink.applied == [1, 2, 3]
    assert sink.alarms


async def test_a_strangers_record_in_the_place_of_an_event_is_replaced_by_the_ledgers() -> None:
    sink = MemorySink()
    consumer = intake(sink, Producer(3))
    await consumer.process([record(1)])
    await consumer.process([record(2, id="forged", previous="nonsense"), record(3)])
    assert sink.applied == [1, 2, 3]


async def test_a_restored_producer_stops_the_partition_red_and_nothing_is_taken_for_a_duplicate() -> None:
    sink = MemorySink(place=Place(3, "mine-2", 1))  # here event 2 was another one than in today's ledger
    await intake(sink, Producer(9)).process([record(3), record(4)])
    assert sink.applied == []
    assert sink.alarms[0].startswith("red:")


async def test_a_lost_tail_is_found_by_two_looks_and_a_healthy_backlog_rings_nothing() -> None:
    sink, producer = MemorySink(), Producer(5)
    consumer = intake(sink, producer)
    for _ in range(5):
        await consumer.complete({P: False})  # Kafka still has something for us
    async with consumer.applying([P]):  # Kafka has nothing more: all is in a poll that takes its time
        for _ in range(5):
            await consumer.complete({P: True})
    await consumer.complete({P: True})
    assert sink.healed == 0
    await consumer.complete({P: True})
    assert sink.applied == [1, 2, 3, 4, 5]
    assert not sink.alarms


async def test_a_consumer_ahead_of_its_producer_is_red() -> None:
    sink = MemorySink(place=Place(9, "e8", 1))
    await intake(sink, Producer(5)).complete({P: True})
    assert "beyond the producer's head" in sink.alarms[0]


async def test_a_generation_nobody_told_us_of_is_asked_for_and_its_first_event_taken() -> None:
    sink, producer = MemorySink(place=Place(3, "e2", 1)), Producer(9)
    consumer = intake(sink, producer)
    await consumer.complete({P: True})
    producer.restored, producer.head = 3, 3
    await consumer.process([record(3, id="lost"), producer.event(3)])
    assert sink.place == Place(4, "new3", 2)
    assert not sink.alarms


async def test_a_consumer_with_another_generations_events_is_red_before_it_takes_one_and_goes_on_once_reconciled() -> (
    None
):
    sink, producer = MemorySink(place=Place(5, "e4", 1)), Producer(9, restored=3)
    consumer = intake(sink, producer)
    await consumer.process([producer.event(p) for p in range(3, 10)])
    assert "position 4 was e4 here and is new4 there" in sink.alarms[0]
    assert "`mend it`" in sink.alarms[0]
    await consumer.process([record(99, id="forged")])  # another alarm takes nothing of the red
    await consumer.complete({P: True})
    assert sink.applied == []

    sink.place = Place(3, "e2", 1)  # somebody reconciled it
    await consumer.complete({P: True})
    assert sink.alarms[-1] == ""
    assert sink.applied == [3, 4, 5, 6, 7, 8, 9]


async def test_the_same_event_under_a_new_generation_is_the_same_history() -> None:
    sink, producer = MemorySink(place=Place(4, "new3", 1)), Producer(4, restored=3)
    consumer = intake(sink, producer)
    await consumer.process([producer.event(4)])
    assert sink.applied == [4]
    assert not sink.alarms


async def test_what_kafka_has_of_a_lost_history_beyond_the_head_is_no_alarm() -> None:
    sink, producer = MemorySink(place=Place(3, "e2", 1)), Producer(2, restored=3)
    await intake(sink, producer).process([record(3, id="lost"), record(4, id="lost")])
    assert sink.applied == []
    assert not sink.alarms


async def test_an_answer_that_was_overtaken_counts_nothing() -> None:
    """An older head after a newer one would put the consumer beyond it."""
    sink, producer = MemorySink(), Producer(2)
    consumer = intake(sink, producer)
    overtaken, go_on = asyncio.Event(), asyncio.Event()
    heads = producer.heads

    async def slow(feed: str) -> list[Head]:
        said = await heads(feed)
        if producer.asked == 1:
            overtaken.set()
            await go_on.wait()
        return said

    producer.heads = slow  # type: ignore[method-assign]
    older = asyncio.create_task(consumer.complete({P: True}))
    await overtaken.wait()
    producer.head = 5
    await consumer.process([record(p) for p in range(1, 6)])
    go_on.set()
    await older
    assert sink.place.next == 6
    assert not sink.alarms


async def test_a_long_lost_tail_is_taken_in_one_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lyceum_kit.intake.HEAL_AT_ONCE", 10)
    sink = MemorySink()
    consumer = intake(sink, Producer(95))
    for _ in range(3):
        await consumer.complete({P: True})
    assert sink.place.next == 96
    assert sink.healed == 95


async def test_a_partition_that_comes_back_is_where_the_other_member_left_it() -> None:
    """Nothing of it counts as lost, and nothing makes it look behind."""
    sink, producer = MemorySink(), Producer(2)
    consumer = intake(sink, producer)
    await consumer.process([record(1), record(2)])
    producer.head = 5
    await intake(sink, producer).process([record(3), record(4), record(5)])  # the other member
    for _ in range(4):
        await consumer.complete({P: True})
    assert (consumer.next_of(P), consumer.behind(P)) == (6, False)
    assert sink.healed == 0


@dataclass
class SlowSink(MemorySink):
    """Says where it is from what is written, as ClickHouse does, and is slow to say so."""

    applying: asyncio.Event = field(default_factory=asyncio.Event)
    written: asyncio.Event = field(default_factory=asyncio.Event)
    done: bool = True

    async def places(self, partitions: Sequence[Partition]) -> dict[Partition, Place]:
        found = self.place
        while not self.done:
            await asyncio.sleep(0)
        return dict.fromkeys(partitions, found)

    async def apply(
        self, records: Mapping[Partition, Sequence[Record]], cut: Cutter
    ) -> dict[Partition, tuple[Place, Cut]]:
        self.done = False
        self.applying.set()
        await self.written.wait()
        self.done = True
        return await super().apply(records, cut)


async def test_a_look_at_the_tails_neither_forgets_what_a_poll_is_bringing_nor_waits_for_it() -> None:
    sink = SlowSink()
    consumer = intake(sink, Producer(2))
    poll = asyncio.create_task(consumer.process([record(1), record(2)]))
    await sink.applying.wait()
    async with asyncio.timeout(1):
        await consumer.complete({P: True})
    sink.written.set()
    await poll
    assert (consumer.next_of(P), consumer.behind(P)) == (3, False)
