"""A producer's database restored to an older state, five ways: no event is lost or doubled, or somebody is told.

A database is backed up and restored by copying it inside the server. Afterwards it is another database, as it is after
pg_restore.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from lyceum_kit import intake, progress, restored
from lyceum_kit.envelope import Record
from lyceum_kit.intake import Cut, Place
from tests.restores.world import FEED, World

LONG = pytest.mark.faults


async def history(world: World, *, follows: bool = True) -> tuple[str, list[int]]:
    """Events 0 to 59, a backup, events 60 to 79 that the restored ledger will not have. `follows`: the consumer had them."""
    async with world.producer.running(), world.consumer.running():
        await world.append(range(60))
        await world.reached(range(60))
    backup, heads = await world.back_up(), await world.heads()
    async with world.producer.running():
        await world.append(range(60, 80))
        await world.sent()
        if follows:
            async with world.consumer.running():
                await world.reached(range(80))
    return backup, heads


async def test_quiet(world: World) -> None:
    """Restored, and nobody writes: the consumer stands beyond the head."""
    backup, heads = await history(world)
    phantoms = await world.beyond(heads)
    await world.restore(backup)
    async with world.producer.running(), world.consumer.running() as consumer:
        await world.turns_red(phantoms)
        first, second = await world.generations()
        assert second[0] > first[0]
        assert second[1] == [head + 1 for head in heads]

        told = await consumer.reconciliation.report()
        assert len(told.trouble) == len(phantoms)
        assert await world.red() == phantoms  # looking mends nothing
        done = await consumer.reconciliation.mend("ada")
        assert not done.trouble
        assert len(done.phantoms) == 20
        await world.turns_red(())
        assert [place.next - 1 for place in await world.places()] == heads

        await world.append(range(100, 160))
        await world.reached(range(80), range(100, 160))


async def test_writing_on_at_once_past_its_old_head(world: World) -> None:
    """Commands come before the relay has looked: it looks before it numbers them."""
    backup, heads = await history(world)
    phantoms, before = await world.beyond(heads), await world.heads()
    await world.restore(backup)
    await world.append(range(100, 200))
    async with world.producer.running(), world.consumer.running() as consumer:
        await world.sent()
        assert any(now > then for now, then in zip(await world.heads(), before, strict=True))
        await world.turns_red(phantoms)
        await consumer.reconciliation.mend("ada")
        await world.reached(range(80), range(100, 200))


async def test_consumer_offline(world: World) -> None:
    """It comes back long after: Heads comes before its first record."""
    backup, heads = await history(world)
    phantoms = await world.beyond(heads)
    await world.restore(backup)
    async with world.producer.running():
        await world.append(range(100, 200))
        await world.sent()
    async with world.producer.running(), world.consumer.running() as consumer:
        await world.turns_red(phantoms)
        await consumer.reconciliation.mend("ada")
        await world.reached(range(80), range(100, 200))


async def test_consumer_behind(world: World) -> None:
    """What it had the ledger has; what Kafka still holds of the old history it leaves out. Nothing is to be mended."""
    backup, _ = await history(world, follows=False)
    await world.restore(backup)
    await world.append(range(100, 130))
    async with world.producer.running():
        await world.sent()
        async with world.consumer.running() as consumer:
            await world.reached(range(60), range(100, 130))
            assert not await world.red()
            assert not (await consumer.reconciliation.report()).trouble


async def test_the_same_backup_restored_twice(world: World) -> None:
    backup, heads = await history(world)
    written: list[int] = []
    for again in (100, 200):
        phantoms = await world.beyond(heads)
        assert phantoms
        await world.restore(backup)
        await world.append(range(again, again + 40))
        async with world.producer.running(), world.consumer.running() as consumer:
            await world.turns_red(phantoms)
            await consumer.reconciliation.mend("ada")
            written += range(again, again + 40)
            await world.reached(range(80), written)
    generations = await world.generations()
    assert len(generations) == 2  # a restored ledger does not know the one it had between
    assert all(place.generation in dict(generations) for place in await world.places() if place.next > 1)


@pytest.mark.parametrize("remembers", [True, False], ids=["", "control"])
async def test_what_the_backup_held_unnumbered_is_not_handled_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, remembers: bool
) -> None:
    """It comes again under another number, since a lost event had been numbered before it."""
    if not remembers:
        monkeypatch.setattr(progress, "returned", had_nothing)
    async with world.producer.running(), world.consumer.running():
        await world.append(range(3), key="one")
        await world.reached(range(3))
    await world.append((3, 4), key="one")  # the relay is down: committed, and not numbered
    backup = await world.back_up()
    await world.append((5,), key="one")
    # It began before the two and committed after the backup.
    owner = await asyncpg.connect(world.producer.made.owner_url)
    await owner.execute("UPDATE outbox SET seq = -1 WHERE seq = (SELECT max(seq) FROM outbox)")
    await owner.close()
    async with world.producer.running(), world.consumer.running():
        await world.reached(range(6))
    await world.restore(backup)
    await world.append((6,), key="one")
    async with world.producer.running(), world.consumer.running() as consumer:
        await world.turns_red([FEED.partition_of("one")])
        await consumer.reconciliation.mend("ada")
        if not remembers:
            await world.reached(range(7), (3, 4))
            return
        await world.reached(range(7))
        (phantom,) = (await consumer.reconciliation.report()).phantoms
        assert phantom.position == 4


async def had_nothing(*_: object) -> set[str]:
    """The control: what came before the restore is forgotten."""
    return set()


async def test_a_consumer_restored_alone_takes_again_what_it_lost(world: World) -> None:
    """Its place is of the backup, as its effects are; Kafka's offsets are not, and count nothing."""
    async with world.producer.running():
        async with world.consumer.running():
            await world.append(range(60))
            await world.reached(range(60))
        backup = await world.back_up(world.consumer)
        async with world.consumer.running():
            await world.append(range(60, 100))
            await world.reached(range(100))
        await world.restore(backup, world.consumer)
        async with world.consumer.running() as consumer:
            await world.reached(range(100))
            assert not (await consumer.reconciliation.report()).trouble


def unaware(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay that goes on without looking, as one whose database is a snapshot and whose Kafka is empty would."""

    async def looks_away(*_: object) -> None: ...

    monkeypatch.setattr(restored, "settle", looks_away)


async def unnoticed(world: World, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Restored and gone on past its old head under the old generation, while the consumer was away. Returns in which
    partitions the consumer had another history."""
    backup, heads = await history(world)
    phantoms = await world.beyond(heads)
    await world.restore(backup)
    with monkeypatch.context() as patch:
        unaware(patch)
        async with world.producer.running():
            await world.append(range(100, 300))
            await world.sent()
    places = await world.places()
    assert all(head >= place.next for head, place in zip(await world.heads(), places, strict=True))
    assert len(await world.generations()) == 1
    return phantoms


async def test_a_restore_that_nobody_noticed_shows_in_the_chain(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms = await unnoticed(world, monkeypatch)
    with monkeypatch.context() as patch:
        unaware(patch)
        async with world.producer.running(), world.consumer.running() as consumer:
            await world.turns_red(phantoms)
            had = len(await world.effects())
            await consumer.reconciliation.mend("ada")
            await world.reached(range(80), range(100, 300))
            assert had < 80 + 200


async def test_control_without_the_predecessor_new_events_are_swallowed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    phantoms = await unnoticed(world, monkeypatch)
    assert phantoms
    unaware(monkeypatch)
    monkeypatch.setattr(intake, "cut", trusting)
    ends = await world.heads()
    async with world.producer.running(), world.consumer.running():
        async with asyncio.timeout(60):
            while [place.next - 1 for place in await world.places()] != ends:
                await asyncio.sleep(0.05)
        assert not await world.red()
    missing = set(range(100, 300)) - set(await world.effects())
    assert len(missing) == 20  # as many as the consumer had of the lost history


def trusting(place: Place, records: Sequence[Record], generation_at: Callable[[int], int]) -> Cut:
    """`cut` as it would be without `ce_feedprevious`."""
    links: dict[int, Record] = {}
    for record in sorted(records, key=lambda r: r.position):
        if record.position >= place.next and record.generation == generation_at(record.position):
            links.setdefault(record.position, record)
    run: list[Record] = []
    while record := links.pop(place.next + len(run), None):
        run.append(record)
    return Cut(tuple(run), tuple(links.values()))


async def test_a_relay_whose_ledger_went_on_unnoticed_stops_until_it_is_reconciled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await unnoticed(world, monkeypatch)
    async with world.producer.running() as producer:
        async with asyncio.timeout(30):
            while not producer.relay.status.error.startswith("red:"):
                await asyncio.sleep(0.05)
        assert "lyceum reconcile identity" in producer.relay.status.error
        await world.append(range(300, 310))  # commands are taken all the same
        told = await producer.reconciliation.report()
        assert told.trouble
        await producer.reconciliation.mend("ada")
        async with world.consumer.running() as consumer:
            await world.sent()
            await consumer.reconciliation.mend("ada")
            await world.reached(range(80), range(100, 310))
        assert not (await producer.reconciliation.report()).trouble


@pytest.mark.parametrize("seed", [pytest.param(seed, marks=LONG) for seed in range(20)])
async def test_any_history_of_restores(world: World, kafka_broker: Any, seed: int) -> None:
    """Backups, restores of any of them, writing before and after the relay looks, consumers away, a wiped broker: in the
    end every event of the ledger had its effect once, and no event ever had it twice."""
    r, written, backups = random.Random(seed), 0, [await world.back_up()]
    for _ in range(8):
        if r.random() < 0.2:
            await asyncio.to_thread(kafka_broker.wipe)
        if r.random() < 0.4:  # perhaps the restore before it is still not reconciled
            await world.append(range(written, written := written + r.randint(1, 30)))
        async with AsyncExitStack() as running:
            await running.enter_async_context(world.producer.running())
            consumer = None
            if r.random() < 0.7:
                consumer = await running.enter_async_context(world.consumer.running())
            await world.append(range(written, written := written + r.randint(1, 60)))
            await world.sent()
            if consumer and r.random() < 0.7:
                await consumer.reconciliation.mend("ada")
                await asyncio.sleep(r.random() * 3)
        if r.random() < 0.5:
            await world.append(range(written, written := written + r.randint(1, 10)))
        if r.random() < 0.6:
            backups.append(await world.back_up())
        if r.random() < 0.6:
            await world.restore(r.choice(backups))
    async with world.producer.running(), world.consumer.running() as consumer:
        await world.append(range(written, written + 40))
        await world.sent()
        await consumer.reconciliation.mend("ada")
        heads = await world.heads()
        async with asyncio.timeout(60):
            while [place.next - 1 for place in await world.places()] != heads:
                await asyncio.sleep(0.1)
        assert not await world.red()
        assert not (await consumer.reconciliation.report()).trouble
    counted = Counter(await world.effects())
    assert set(counted.values()) == {1}
    assert set(counted) >= await world.in_ledger()
