"""What Kafka lost is noticed and read from the producer's ledger; what it still has is left to it."""

import asyncio
from pathlib import Path

import pytest

from tests.faults.stage import CONSUMER, FEED, PRODUCER, Stage

HEALED_WITHIN = 10.0  # seconds after the consumer is up


@pytest.mark.parametrize("each", [60, pytest.param(5000, marks=pytest.mark.faults)])
async def test_what_kafka_lost_is_healed_from_the_ledger(stage: Stage, each: int) -> None:
    """Three partitions, three losses: records deleted, the last records gone, the group moved forward by hand."""
    deleted, truncated, skipped = keys = ["k0", "k3", "k4"]
    partitions = {key: FEED.partition_of(f"org-unit/{key}") for key in keys}
    assert len(set(partitions.values())) == 3
    stage.start(PRODUCER)
    consumer = stage.start(CONSUMER)
    await stage.produce(keys, 20)
    await stage.caught_up()
    await consumer.stop()
    await stage.produce(keys, each, first=21)
    await stage.sent()

    ends = await stage.wire.ends()
    await stage.wire.commit("enrollment", {partitions[skipped]: ends[partitions[skipped]]})
    await asyncio.to_thread(_truncate, stage, partitions[truncated])
    await stage.wire.back()
    await stage.wire.delete_before({partitions[deleted]: ends[partitions[deleted]] - 10})
    assert (await stage.wire.ends())[partitions[truncated]] < ends[partitions[truncated]]

    consumer = stage.start(CONSUMER)
    await stage.ready(consumer)
    await stage.caught_up(seconds=HEALED_WITHIN)
    assert await stage.effects() == {key: list(range(1, each + 21)) for key in keys}

    feeds = (await stage.get(consumer, "/system/feeds"))["consumers"]
    healed = {row["partition"]: row["healed"] for row in feeds if row["healed"]}
    assert healed.keys() == set(partitions.values())
    assert healed[partitions[deleted]] == each - 10
    assert healed[partitions[skipped]] == each
    assert await stage.metric(consumer, "lyceum_feed_gaps_healed_total") == sum(healed.values())
    assert all(row["lag"] == 0 and not row["alarm"] for row in feeds)


def _truncate(stage: Stage, partition: int) -> None:
    """The end of a partition's log is lost with a broker that dies: a disk that lied, an unclean election."""
    broker = stage.wire.broker
    broker.kill()
    (log,) = broker.data.glob(f"{FEED.topic}-{partition}/*.log")
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 1)  # the last batch is torn: recovery drops it
    for index in Path(log.parent).glob("*.*index"):
        index.unlink()
    broker.start()


@pytest.mark.parametrize("events", [5000, pytest.param(200_000, marks=pytest.mark.faults)])
async def test_a_healthy_backlog_raises_no_alarm(stage: Stage, events: int) -> None:
    """Half is there when the consumer starts, half comes while it works."""
    keys = [f"k{n}" for n in range(50)]
    half = events // 2 // len(keys)
    stage.start(PRODUCER)
    await stage.produce(keys, half, at_once=500)
    consumer = stage.start(CONSUMER)
    await stage.produce(keys, half, first=half + 1, at_once=500)
    await stage.caught_up(seconds=60 + events / 200)
    assert await stage.effects() == {key: list(range(1, 2 * half + 1)) for key in keys}
    feeds = (await stage.get(consumer, "/system/feeds"))["consumers"]
    assert [row for row in feeds if row["healed"] or row["alarm"] or row["lag"]] == []
    assert await stage.metric(consumer, "lyceum_feed_gaps_healed_total") == 0
