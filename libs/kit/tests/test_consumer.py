"""Every effect exactly once; what fails is parked with its key, in the same transaction as the progress."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from lyceum.catalog.v1.events_pb2 import CourseCreated, CourseDeprecated
from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit.consumer import TRIES, Consumes, Event, HandlerSink, Together
from lyceum_kit.delivery import Delivery, emitted
from lyceum_kit.envelope import Meta, Record
from lyceum_kit.errors import Conflict, NotFound, Unavailable
from lyceum_kit.feed import Head
from lyceum_kit.intake import Place, cut
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.parked import Parked

TENANT, OTHER = uuid4(), uuid4()
HEAD = Head(10**9, 10**9, ((1, 1),))


class Numbering(Delivery):
    """Only makes records."""

    def __init__(self) -> None:
        self._heads, self._versions = {}, {}


async def note(tx: Tx, event: CourseCreated, meta: Meta) -> None:
    await tx.conn.execute(
        text("INSERT INTO effects (tenant, what) VALUES (:t, :w)"), {"t": tx.tenant, "w": event.course_id}
    )
    tx.append(
        f"org-unit/{event.course_id}",
        [OrgUnitCreated(org_unit_id=event.course_id, code=meta.stream)],
        expected=0,
    )


def sink(ledger: Ledger, handler: Callable[..., Any] = note) -> HandlerSink:
    consumes: Consumes = {"catalog": {CourseCreated: handler}}
    return HandlerSink("test", ledger, consumes)


async def apply(sink: HandlerSink, records: list[Record]) -> None:
    by: dict[tuple[str, int], list[Record]] = {}
    for r in records:
        by.setdefault((r.feed, r.partition), []).append(r)
    await sink.apply(by, lambda _, place, some: cut(place, some, HEAD.generation_at))


async def effects(ledger: Ledger, tenant: Any = TENANT) -> list[str]:
    async with ledger.read(tenant) as conn:
        return [r.what for r in await conn.execute(text("SELECT what FROM effects ORDER BY n"))]


def course(numbering: Numbering, name: str, tenant: Any = TENANT) -> Record:
    return numbering.record(
        CourseCreated(course_id=name, title=name, slug=name, created_by="a"),
        tenant=tenant,
        stream=f"course/{name}",
    )


@pytest.mark.parametrize("seed", range(3))
async def test_shuffled_and_doubled_records_have_their_effect_once_and_in_order(
    ledger: Ledger, seed: int
) -> None:
    numbering = Numbering()
    records = [course(numbering, f"c{i}", random.Random(seed).choice([TENANT, OTHER])) for i in range(60)]
    consumer = sink(ledger)
    await consumer.prepare()
    for start in range(0, 60, 20):
        some = records[max(0, start - 10) : start + 20] * 2
        random.Random(seed).shuffle(some)
        await apply(consumer, some)
    done = await effects(ledger) + await effects(ledger, OTHER)
    assert sorted(done) == sorted(f"c{i}" for i in range(60))
    assert len(await emitted(ledger, TENANT)) == len(await effects(ledger))


async def test_a_member_with_a_stale_view_changes_nothing(ledger: Ledger) -> None:
    """A zombie and its successor handle the same poll: the row lock and the true `next` let one of them win."""
    numbering = Numbering()
    records = [course(numbering, f"c{i}") for i in range(30)]
    first, second = sink(ledger), sink(ledger)
    await first.prepare()
    await asyncio.gather(apply(first, records), apply(second, records))
    assert sorted(await effects(ledger)) == sorted(f"c{i}" for i in range(30))


async def test_poison_parks_its_key_in_order_and_the_others_flow(ledger: Ledger) -> None:
    broken = {"on": True}

    async def fails(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        if event.course_id == "bad" and broken["on"]:
            await tx.conn.execute(
                text("INSERT INTO effects (tenant, what) VALUES (:t, 'half')"), {"t": tx.tenant}
            )
            raise ValueError("cannot")
        await tx.conn.execute(
            text("INSERT INTO effects (tenant, what) VALUES (:t, :w)"), {"t": tx.tenant, "w": event.title}
        )

    numbering = Numbering()

    def titled(stream: str, title: str) -> Record:
        return numbering.record(
            CourseCreated(course_id=stream, title=title, slug="s", created_by="a"),
            tenant=TENANT,
            stream=f"course/{stream}",
        )

    records = [
        titled("bad", "bad 1"),
        titled("good", "good 1"),
        titled("bad", "bad 2"),
        titled("good", "good 2"),
    ]
    consumer = sink(ledger, fails)
    await consumer.prepare()
    await apply(consumer, records)
    assert await effects(ledger) == ["good 1", "good 2"]

    parked = Parked(consumer)
    waiting = await parked.open()
    assert [(p["kind"], p["tries"]) for p in waiting] == [("failed", 5), ("key", 0)]
    assert "cannot" in waiting[0]["reason"]
    assert await parked.replay(waiting[0]["n"], who="ops") == 0  # not mended yet: still parked
    broken["on"] = False
    assert await parked.replay(waiting[0]["n"], who="ops") == 2
    assert await effects(ledger) == ["good 1", "good 2", "bad 1", "bad 2"]
    await apply(consumer, [titled("bad", "bad 3")])  # the key flows again
    assert (await effects(ledger))[-1] == "bad 3"


async def test_what_nobody_handles_and_waits_behind_its_key_is_settled_with_it(ledger: Ledger) -> None:
    broken = {"on": True}

    async def fails(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        if broken["on"]:
            raise ValueError("cannot")
        await note(tx, event, meta)

    numbering, consumer = Numbering(), sink(ledger, fails)
    await consumer.prepare()
    deprecated = CourseDeprecated(course_id="a")
    records = [course(numbering, "a"), numbering.record(deprecated, tenant=TENANT, stream="course/a")]
    await apply(consumer, records)
    parked = Parked(consumer)
    waiting = await parked.open()
    assert [p["kind"] for p in waiting] == ["failed", "key"]
    broken["on"] = False
    assert await parked.replay(waiting[0]["n"], who="ops") == 2
    assert await effects(ledger) == ["a"]


@pytest.mark.parametrize("seed", range(3))
async def test_events_that_are_handled_together_have_their_effect_once_and_a_keys_in_order(
    ledger: Ledger, seed: int
) -> None:
    chance, numbering, calls = random.Random(seed), Numbering(), list[list[str]]()

    async def note_all(tx: Tx, events: Sequence[Event]) -> None:
        calls.append([event.message.title for event in events])
        if any(event.message.title == "bad" for event in events):
            await tx.conn.execute(
                text("INSERT INTO effects (tenant, what) VALUES (:t, 'half')"), {"t": tx.tenant}
            )
            raise ValueError("cannot")
        for event in events:
            await tx.conn.execute(
                text("INSERT INTO effects (tenant, what) VALUES (:t, :w)"),
                {"t": tx.tenant, "w": f"{event.message.course_id} {event.message.title}"},
            )
            unit = OrgUnitCreated(org_unit_id=str(event.meta.id), code="c")
            tx.append(f"org-unit/{event.meta.id}", [unit], expected=0, origin=event.origin)

    def told(n: int) -> Record:
        name = f"c{n}" if n < 150 else f"c{chance.randrange(150)}"  # some come again
        title = "bad" if n == 90 else f"{n:03}"
        message = CourseCreated(course_id=name, title=title, slug="s", created_by="a")
        return numbering.record(message, tenant=TENANT, stream=f"course/{name}")

    records = [told(n) for n in range(200)]
    consumer = HandlerSink("test", ledger, {"catalog": {CourseCreated: Together(note_all)}})
    await consumer.prepare()
    some = records * 2
    chance.shuffle(some)
    await apply(consumer, some)

    done = await effects(ledger)
    bad = {r.key for r in records if b"bad" in r.value}
    waiting = {r.id for n, r in enumerate(records) if r.key in bad and n >= 90}
    assert {p["event_id"] for p in await Parked(consumer).open()} == waiting
    assert len(done) == len({*done}) == 200 - len(waiting)
    for n in range(150):
        own = [what for what in done if what.split()[0] == f"c{n}"]
        assert own == sorted(own)
    assert max(map(len, calls)) > 10
    async with ledger.read(TENANT) as conn:
        rows = (await conn.execute(text("SELECT stream, causation_id, actor FROM events"))).all()
    assert len(rows) == len(done)
    assert all(row.stream == f"org-unit/{row.causation_id}" for row in rows)
    assert all(row.actor == f"event:{row.causation_id}" for row in rows)


async def test_a_discarded_event_leaves_who_and_why(ledger: Ledger) -> None:
    async def fails(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        raise ValueError("never")

    consumer = sink(ledger, fails)
    await consumer.prepare()
    await apply(consumer, [course(Numbering(), "bad")])
    parked = Parked(consumer)
    n = (await parked.open())[0]["n"]
    await parked.discard(n, who="grace", why="test data")
    assert await parked.open() == []
    assert (await parked.show(n))["settled_why"] == "test data"
    with pytest.raises(NotFound):
        await parked.replay(n, who="grace")


async def test_a_tenant_keeps_its_own_parked_events_and_no_others(ledger: Ledger) -> None:
    async def fails(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        raise ValueError("never")

    consumer, numbering = sink(ledger, fails), Numbering()
    await consumer.prepare()
    await apply(consumer, [course(numbering, "ours"), course(numbering, "theirs", OTHER)])
    parked = Parked(consumer)
    [theirs] = await parked.open(OTHER)
    assert [theirs["key"], *(p["key"] for p in await parked.open(TENANT))] == ["course/theirs", "course/ours"]
    assert len(await parked.open()) == 2
    n = theirs["n"]
    for stranger in (
        parked.show(n, TENANT),
        parked.replay(n, who="eve", of=TENANT),
        parked.discard(n, who="eve", why="mischief", of=TENANT),
    ):
        with pytest.raises(NotFound):
            await stranger
    assert (await parked.show(n, OTHER))["settled"] is None


async def test_an_undecodable_body_is_parked_with_its_bytes(ledger: Ledger) -> None:
    numbering = Numbering()
    bad = course(numbering, "bad")._replace(value=b"\xff\xff\xff")
    consumer = sink(ledger)
    await consumer.prepare()
    await apply(consumer, [bad, course(numbering, "good")])
    parked = Parked(consumer)
    waiting = await parked.open()
    assert len(waiting) == 1
    assert "ffffff" in str((await parked.show(waiting[0]["n"]))["body"])
    assert await effects(ledger) == ["good"]


async def test_a_type_nobody_handles_is_skipped_and_a_newer_one_waits_without_holding_its_key(
    ledger: Ledger,
) -> None:
    numbering = Numbering()
    skipped = numbering.record(CourseDeprecated(course_id="a"), tenant=TENANT, stream="course/a")
    newer = numbering.record(CourseDeprecated(course_id="a"), tenant=TENANT, stream="course/a")
    assert newer.meta
    newer = newer._replace(meta=newer.meta._replace(type="lyceum.catalog.v1.CourseTeleported"))
    consumer = sink(ledger)
    await consumer.prepare()
    await apply(consumer, [skipped, newer, course(numbering, "a")])
    assert await effects(ledger) == ["a"]
    assert [p["kind"] for p in await Parked(consumer).open()] == ["unknown-type"]


@pytest.mark.parametrize("error", [Unavailable("identity is away"), ConnectionResetError("gone")])
async def test_an_outage_is_nobodys_fault_and_never_parks(ledger: Ledger, error: Exception) -> None:
    state = {"down": True}

    async def needs_peer(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        if state["down"]:
            raise error
        await note(tx, event, meta)

    consumer = sink(ledger, needs_peer)
    await consumer.prepare()
    record = course(Numbering(), "a")
    for _ in range(8):
        with pytest.raises(type(error)):
            await apply(consumer, [record])
    state["down"] = False
    await apply(consumer, [record])
    assert await effects(ledger) == ["a"]
    assert await Parked(consumer).open() == []


async def test_a_lost_race_is_tried_again_at_once(ledger: Ledger) -> None:
    tries = {"n": 0}

    async def races(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        tries["n"] += 1
        if tries["n"] < 4:
            raise Conflict
        await note(tx, event, meta)

    consumer = sink(ledger, races)
    await consumer.prepare()
    await apply(consumer, [course(Numbering(), "a")])
    assert await effects(ledger) == ["a"]


async def test_an_event_that_kills_its_process_is_parked_in_the_end(ledger: Ledger) -> None:
    """A death leaves no exception: only the tries counted before each one tell."""
    record = course(Numbering(), "a")
    first = sink(ledger)
    await first.prepare()
    for _ in range(6):  # six starts that died in the handler
        await sink(ledger).count_try({("catalog", record.partition): [record]}, 1)
    await apply(sink(ledger), [record])
    parked = await Parked(first).open()
    assert "died" in parked[0]["reason"]
    assert (await first.places([("catalog", record.partition)]))[("catalog", record.partition)] == Place(
        2, record.id, 1
    )


class Died(BaseException):
    """The process is gone: nothing of its own can run after it."""


class Mortal(HandlerSink):
    async def count_try(self, records: Mapping[tuple[str, int], Sequence[Record]], by: int) -> int:
        return await super().count_try(records, by) if by > 0 else 1


async def test_a_killer_is_met_alone_however_much_flows_beside_it(ledger: Ledger) -> None:
    """Each start reads again from before what was had, and finds fresh events of other partitions first."""
    numbering = Numbering()
    records = [course(numbering, f"c{i}") for i in range(60)]
    killer = records[37]

    async def dies(tx: Tx, event: CourseCreated, meta: Meta) -> None:
        if meta.id == (killer.meta and killer.meta.id):
            raise Died
        await note(tx, event, meta)

    starts = 0
    await sink(ledger).prepare()
    for starts in range(1, 20):
        records = [course(numbering, f"more{starts}-{i}") for i in range(20)] + records
        by: dict[tuple[str, int], list[Record]] = {}
        for r in sorted(records, key=lambda r: (r.partition == killer.partition, r.position)):
            by.setdefault((r.feed, r.partition), []).append(r)
        consumer = Mortal("test", ledger, {"catalog": {CourseCreated: dies}})
        try:
            await consumer.apply(by, lambda _, place, some: cut(place, some, HEAD.generation_at))
            break
        except Died:
            continue
    assert starts <= TRIES + 4
    parked = await Parked(sink(ledger)).open()
    assert [p["event_id"] for p in parked] == [killer.id]
    assert len(await effects(ledger)) == 60 + 20 * starts - 1
