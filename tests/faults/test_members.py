"""Members of a consumer group come, go and freeze under load: nothing doubled, nothing lost, soon nothing left."""

import asyncio
import signal

import pytest

from tests.faults.stage import CONSUMER, PRODUCER, Node, Stage, eventually

KEYS = [f"k{n}" for n in range(20)]
SLOW = 0.03  # seconds in a handler; with an event a key a second, one member alone can just keep up


@pytest.mark.parametrize("changes", [3, pytest.param(24, marks=pytest.mark.faults)])
async def test_members_that_come_go_and_freeze_double_and_lose_nothing(stage: Stage, changes: int) -> None:
    stage.start(PRODUCER)
    loaded = [0]
    load = asyncio.create_task(_load(stage, loaded))
    # Frozen in the middle of a batch, with its transaction open, for longer than its session.
    zombie = stage.start(CONSUMER, slow=SLOW, failpoint="consumer.effect:0.05:STOP")
    members = [stage.start(CONSUMER, slow=SLOW)]

    async def frozen() -> bool:
        return zombie.frozen

    await eventually(frozen, seconds=60, what="a member froze")
    for change in range(changes):
        await asyncio.sleep(5)
        if change == 1:
            zombie.send(signal.SIGCONT)
        await _change(stage, members, change)
    load.cancel()
    await asyncio.gather(load, return_exceptions=True)

    await stage.caught_up(seconds=30)
    effects = await stage.effects()
    for key in KEYS:
        assert effects[key] == list(range(1, len(effects[key]) + 1))
        assert len(effects[key]) >= loaded[0]
    assert await stage.parked() == []
    assert all(row["alarm"] == "" for row in await stage.progress())


async def _change(stage: Stage, members: list[Node], change: int) -> None:
    if change % 2 == 0:
        members.append(stage.start(CONSUMER, slow=SLOW))
    else:
        await members.pop(0).stop()


async def _load(stage: Stage, loaded: list[int]) -> None:
    while True:
        await stage.produce(KEYS, 1, first=loaded[0] + 1)
        loaded[0] += 1
        await asyncio.sleep(1)
