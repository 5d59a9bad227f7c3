"""The way back after a restore: where histories part, what is not handled twice, what is told of the rest."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from lyceum.catalog.v1.events_pb2 import CourseCreated
from lyceum_kit.consumer import TRIES, HandlerSink
from lyceum_kit.delivery import Delivery
from lyceum_kit.envelope import Meta, Record
from lyceum_kit.errors import Refused
from lyceum_kit.feed import Head
from lyceum_kit.intake import Cut, Partition, Place, cut
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.reconcile import Reconciliation
from lyceum_kit.topics import feeds

TENANT = uuid4()
KEY = "one"
AT: Partition = ("catalog", feeds()["catalog"].partition_of(KEY))


class Numbering(Delivery):
    """Only makes records."""

    def __init__(self) -> None:
        self._heads, self._versions = {}, {}


@dataclass
class Producer:
    """The ledger of one partition, which may be another one later."""

    events: list[Record] = field(default_factory=list[Record])

    async def heads(self, feed: str) -> list[Head]:
        empty = Head(0, 0, ((1, 1),))
        own = Head(len(self.events), len(self.events), ((1, 1),), self.events[-1].id)
        return [own if n == AT[1] else empty for n in range(feeds()[feed].partitions)]

    async def read(self, feed: str, partition: int, first: int, limit: int) -> list[Record]:
        return self.events[first - 1 : first - 1 + limit] if (feed, partition) == AT else []


IDS: dict[str, str] = {}


def history(*names: str) -> list[Record]:
    """Events in this order; the same name is the same event in every history."""
    numbering, made = Numbering(), list[Record]()
    for name in names:
        event = CourseCreated(course_id=name, title=name, slug=name, created_by="a")
        record = numbering.record(event, tenant=TENANT, stream=f"course/{name}", key=KEY)
        id, previous = IDS.setdefault(name, record.id), made[-1].id if made else ""
        assert record.meta
        meta = record.meta._replace(id=UUID(id), previous=previous)
        made.append(record._replace(id=id, previous=previous, meta=meta))
    return made


@dataclass
class Consumer:
    sink: HandlerSink
    producer: Producer
    broken: set[str]

    @property
    def reconciliation(self) -> Reconciliation:
        return Reconciliation(None, self.sink, self.producer)  # type: ignore[arg-type] - neither is asked for more

    async def take(self, upto: int = 0) -> None:
        """What the ledger has from this consumer's place on."""
        place = (await self.sink.places([AT]))[AT]
        records = self.producer.events[place.next - 1 : upto or None]
        for _ in range(TRIES + 1):
            await self.sink.apply({AT: records}, _cut)

    async def effects(self) -> list[str]:
        async with self.sink.ledger.read(TENANT) as conn:
            return [r.what for r in await conn.execute(text("SELECT what FROM effects ORDER BY n"))]

    async def rows(self, statement: str) -> Sequence[Any]:
        async with self.sink.ledger.engine.begin() as conn:
            return (await conn.execute(text(statement))).all()

    async def mend(self) -> str:
        """Returns what was told of the difference."""
        reconciliation = self.reconciliation
        _, (difference,) = await reconciliation.compare()
        await reconciliation.go_back(difference, "ada")
        return difference.told("test")


def _cut(partition: Partition, place: Place, records: Sequence[Record]) -> Cut:
    return cut(place, records, lambda _: 1)


@pytest.fixture
async def consumer(ledger: Ledger) -> Consumer:
    broken: set[str] = set()

    async def note(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        if event.course_id in broken:
            raise ValueError("cannot")
        row = {"t": tx.tenant, "w": event.course_id}
        await tx.conn.execute(text("INSERT INTO effects (tenant, what) VALUES (:t, :w)"), row)

    sink = HandlerSink("test", ledger, {"catalog": {CourseCreated: note}})
    await sink.prepare()
    IDS.clear()
    return Consumer(sink, Producer(), broken)


async def test_who_agrees_is_left_alone(consumer: Consumer) -> None:
    consumer.producer.events = history(*"abcde")
    await consumer.take(3)
    places, differences = await consumer.reconciliation.compare()
    assert not differences
    assert all(place.agrees for place in places)


async def test_what_comes_again_is_not_handled_twice_and_what_is_new_once(consumer: Consumer) -> None:
    """c and e were committed and not numbered at the backup; d came between them, f after."""
    consumer.producer.events = history(*"abcdef")
    for upto in (1, 4, 6):  # three runs, the second of which is cut
        await consumer.take(upto)
    consumer.producer.events = history(*"abce", "new")
    told = await consumer.mend()
    assert "from position 4 on" in told
    assert "Of the 3 events test handled since, the ledger has 1 under another number and 2 not" in told
    await consumer.take()
    assert await consumer.effects() == [*"abcdef", "new"]
    rows = await consumer.rows("SELECT event_id, position, returned_at FROM superseded ORDER BY position")
    assert [(str(r.event_id), r.position, r.returned_at is None) for r in rows] == [
        (IDS["d"], 4, True),
        (IDS["e"], 5, False),
        (IDS["f"], 6, True),
    ]
    (row,) = await consumer.rows(
        "SELECT array_agg(id ORDER BY first, n) AS ids FROM handled, unnest(ids) WITH ORDINALITY u(id, n)"
    )
    assert [str(i) for i in row.ids] == [IDS[n] for n in (*"abce", "new")]
    assert not (await consumer.reconciliation.compare())[1]


async def test_a_backup_that_is_newer_after_all_brings_lost_events_back(consumer: Consumer) -> None:
    consumer.producer.events = history(*"abcd")
    await consumer.take()
    consumer.producer.events = history(*"ab", "x", "y", "z")
    await consumer.mend()
    await consumer.take()
    consumer.producer.events = history(*"abcd", "v")
    await consumer.mend()
    await consumer.take()
    assert await consumer.effects() == [*"abcd", *"xyz", "v"]


async def test_what_was_parked_had_no_effect_and_is_handled_when_it_comes_again(consumer: Consumer) -> None:
    consumer.producer.events = history(*"abcd")
    consumer.broken |= {"c"}
    await consumer.take()  # c is parked, and d behind it
    assert await consumer.effects() == ["a", "b"]
    consumer.broken.clear()
    consumer.producer.events = history(*"ad", "new")
    await consumer.mend()
    await consumer.take()
    assert await consumer.effects() == ["a", "b", "d", "new"]
    rows = await consumer.rows("SELECT settled, settled_by FROM parked")
    assert [tuple(r) for r in rows] == [("superseded", "ada")] * 2
    assert [str(r.event_id) for r in await consumer.rows("SELECT event_id FROM superseded")] == [IDS["b"]]


async def test_beyond_what_it_remembers_nothing_is_guessed(consumer: Consumer) -> None:
    consumer.producer.events = history(*"abcd")
    for upto in (2, 4):
        await consumer.take(upto)
    await consumer.rows("DELETE FROM handled WHERE first = 1 RETURNING 1")
    consumer.producer.events = history("a", "x")
    _, (difference,) = await consumer.reconciliation.compare()
    assert difference.since == 0
    assert "restore its database from the same backup as catalog's" in difference.told("test")


async def test_who_moved_meanwhile_is_not_moved_back(consumer: Consumer) -> None:
    consumer.producer.events = history(*"abcd")
    await consumer.take()
    consumer.producer.events = history(*"ab", "x")
    _, (difference,) = await consumer.reconciliation.compare()
    await consumer.mend()
    with pytest.raises(Refused, match="moved meanwhile"):
        await consumer.reconciliation.go_back(difference, "ada")


async def test_it_forgets_what_no_backup_is_as_old_as(consumer: Consumer) -> None:
    consumer.producer.events = history(*"ab")
    for upto in (1, 2):
        await consumer.take(upto)
    await consumer.rows("UPDATE handled SET at = now() - interval '41 days' WHERE first = 1 RETURNING 1")
    await consumer.sink.forget()
    assert [r.first for r in await consumer.rows("SELECT first FROM handled")] == [2]
