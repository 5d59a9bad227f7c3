"""The broker and every topic vanish in the middle: Kafka is the wire, what it forgets the ledger still has."""

import asyncio

import pytest

from tests.faults.stage import CONSUMER, PRODUCER, Stage, eventually

KEYS = [f"k{n}" for n in range(20)]


@pytest.mark.parametrize("each", [15, pytest.param(250, marks=pytest.mark.faults)])
async def test_a_wiped_broker_in_the_middle_of_the_stream_loses_and_doubles_nothing(
    stage: Stage, each: int
) -> None:
    stage.start(PRODUCER)
    consumer = stage.start(CONSUMER)
    third = each // 3
    await stage.produce(KEYS, third)
    await stage.caught_up()
    loss = asyncio.create_task(asyncio.to_thread(stage.wire.broker.wipe))
    await stage.produce(KEYS, third, first=third + 1)
    await loss
    await stage.produce(KEYS, third, first=2 * third + 1)
    await stage.caught_up(seconds=90)
    assert await stage.effects() == {key: list(range(1, 3 * third + 1)) for key in KEYS}
    assert await stage.parked() == []

    async def sent() -> bool:
        return all(head == sent for head, sent in (await stage.heads()).values())

    await eventually(sent, seconds=60, what="the relay sends again")
    feeds = (await stage.get(consumer, "/system/feeds"))["consumers"]
    assert all(row["lag"] == 0 and not row["alarm"].startswith("red") for row in feeds)
