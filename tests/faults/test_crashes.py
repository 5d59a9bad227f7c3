"""Processes that die or freeze at the moments that matter: every effect exactly once, in the order of its stream."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from lyceum_kit.consumer import TRIES
from tests.faults.stage import CONSUMER, PRODUCER, Node, Stage, eventually

# Where a process dies, and with what chance each time it comes by.
PRODUCERS = {"ledger.appended": 0.01, "relay.numbered": 0.05, "relay.sent": 0.05}
CONSUMERS = {"consumer.effect": 0.02, "consumer.handled": 0.1, "consumer.applied": 0.3, "consumer.healing": 1}


@dataclass
class Reaper:
    """Starts nodes again when they died, each time with another moment to die at."""

    stage: Stage
    chance: random.Random
    likely: float = 1
    reaping: bool = True
    deaths: Counter[str] = field(default_factory=Counter[str])

    async def keep(self, node: Node, points: dict[str, float]) -> None:
        """Until cancelled."""
        while True:
            fewest = min(self.deaths[p] for p in points)  # so that few deaths are at many moments
            point = self.chance.choice([p for p in points if self.deaths[p] == fewest])
            how = f"{point}:{min(points[point] * self.likely, 1)}"
            node.start(**({"LYCEUM_FAILPOINT": how} if self.reaping else {}))
            while node.alive:
                await asyncio.sleep(0.1)
            assert node.process.returncode == -signal.SIGKILL, node.log.read_text()[-4000:]
            self.deaths[point] += 1


@dataclass(frozen=True)
class Size:
    keys: int
    each: int  # events of a key, at least
    pause: float  # between two events of a key, at most
    consumers: int
    gaps: float  # seconds between two losses on the wire
    likely: float  # how much likelier than in a long run
    # Until when writing goes on: chance decides who dies, and a run in which nobody did would prove nothing.
    redeliveries: int
    points: int  # moments at which somebody died
    seconds: float  # in which that must have happened


SHORT = Size(keys=10, each=8, pause=0.5, consumers=1, gaps=3, likely=5, redeliveries=5, points=3, seconds=120)
LONG = Size(
    keys=50, each=40, pause=8, consumers=2, gaps=10, likely=1, redeliveries=50, points=7, seconds=1200
)


@pytest.mark.parametrize("size", [SHORT, pytest.param(LONG, marks=pytest.mark.faults)], ids=["short", "long"])
async def test_whoever_dies_every_effect_happens_once_and_in_order(stage: Stage, size: Size) -> None:
    chance = random.Random(1)
    reaper = Reaper(stage, chance, size.likely)

    def enough() -> bool:
        return stage.redeliveries() >= size.redeliveries and len(reaper.deaths) >= size.points

    producer = stage.add(PRODUCER)
    consumers = [stage.add(CONSUMER) for _ in range(size.consumers)]
    keepers = [asyncio.create_task(reaper.keep(producer, PRODUCERS))]
    keepers += [asyncio.create_task(reaper.keep(node, CONSUMERS)) for node in consumers]
    losses = asyncio.create_task(_lose_records(stage, size.gaps))
    keys = [f"k{n}" for n in range(size.keys)]
    try:
        async with asyncio.timeout(size.seconds):  # enough, by then
            written = await asyncio.gather(
                *(_write(stage, producer, key, size, chance, enough) for key in keys)
            )
        losses.cancel()
        reaper.reaping = False  # whoever dies from now on starts for good
        await stage.caught_up(seconds=120)
    finally:
        for task in (losses, *keepers):
            task.cancel()
        ended = await asyncio.gather(losses, *keepers, return_exceptions=True)
    assert all(isinstance(e, asyncio.CancelledError) for e in ended), ended

    assert await stage.parked() == []
    assert await stage.effects() == {key: list(range(1, n + 1)) for key, n in zip(keys, written, strict=True)}


async def _write(
    stage: Stage,
    producer: Node,
    key: str,
    size: Size,
    chance: random.Random,
    enough: Callable[[], bool],
) -> int:
    """By HTTP, asking again until it is said to be there. How many were written."""
    headers = {"Authorization": f"Bearer {stage.token('service', tenant=stage.tenant)}"}
    async with httpx.AsyncClient(base_url=f"{producer.http}/api/identity", headers=headers) as http:
        seq = 0
        while seq < size.each or not enough():
            seq += 1
            await asyncio.sleep(chance.uniform(0, size.pause))

            async def written(seq: int = seq) -> bool:
                try:
                    answer = await http.post("/units", json={"key": key, "seq": seq})
                except httpx.TransportError:  # it died, perhaps after its commit
                    return False
                assert answer.status_code in (201, 503), answer.text
                return answer.status_code == 201

            await eventually(written, seconds=120, what=f"{key} {seq} is written")
        return seq


async def _lose_records(stage: Stage, every: float) -> None:
    """Now and then Kafka loses what it has, so that there is something to heal."""
    while True:
        await asyncio.sleep(every)
        if not any(sent for _, sent in (await stage.heads()).values()):
            continue
        ends = await stage.wire.ends()
        await stage.wire.delete_before(ends)


@pytest.mark.parametrize("unguarded", [False, True], ids=["as built", "control"])
async def test_a_frozen_member_that_wakes_doubles_nothing_but_without_the_lock_it_does(
    stage: Stage, unguarded: bool
) -> None:
    """A member freezes with a poll in hand, its successor is in the middle of the same events when it wakes."""
    stage.start(PRODUCER)
    await stage.produce(["k"], 40, deeds={("k", 1): "sleep 3"})
    await stage.sent()
    first = stage.start(CONSUMER, failpoint="consumer.polled:1:STOP", unguarded=unguarded)
    await eventually(lambda: _is_frozen(first), seconds=30, what="the first member froze")
    seen = (stage.folder / "seen").stat().st_size
    stage.start(CONSUMER, unguarded=unguarded)

    async def taken_over() -> bool:
        return (stage.folder / "seen").stat().st_size > seen

    await eventually(taken_over, seconds=30, what="the second member took over", every=0.02)
    first.send(signal.SIGCONT)
    await stage.caught_up()
    effects = (await stage.effects())["k"]
    if unguarded:
        assert len(effects) > 40, "the control doubled nothing: this run proves nothing"
    else:
        assert effects == list(range(1, 41))


async def _is_frozen(node: Node) -> bool:
    return node.frozen


@pytest.mark.faults
async def test_an_event_that_kills_its_process_is_parked_in_the_end(stage: Stage) -> None:
    """In the middle of a poll, with others of its partition and of other partitions before it."""
    stage.start(PRODUCER)
    keys = [f"k{n}" for n in range(20)]
    await stage.produce(keys, 10, deeds={("k7", 5): "die"})
    await stage.sent()
    reaper = Reaper(stage, random.Random(1), reaping=False)
    keeper = asyncio.create_task(reaper.keep(stage.add(CONSUMER), {"none": 0}))
    try:
        await stage.caught_up(seconds=300)
    finally:
        keeper.cancel()
        await asyncio.gather(keeper, return_exceptions=True)
    effects = await stage.effects()
    assert effects.pop("k7") == [1, 2, 3, 4]
    assert effects == {key: list(range(1, 11)) for key in keys if key != "k7"}
    parked = await stage.parked()
    assert [(p["key"], p["kind"]) for p in parked] == [("org-unit/k7", "failed")] + 5 * [
        ("org-unit/k7", "key")
    ]
    assert f"died {TRIES} times" in parked[0]["reason"]
    assert reaper.deaths["none"] <= TRIES + 8  # it met its tries alone, a few deaths later
