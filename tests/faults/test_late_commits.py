"""An event that takes its number early and commits late is relayed all the same, and in the order of its stream."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator

import pytest

from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit.errors import Conflict
from tests.faults.stage import FEED, PRODUCER, Stage

WRITERS = 16
STREAMS = 400
# The control's own copy of what the outbox was given, with the same numbers, since the relay empties the outbox.
COPY = """
CREATE TABLE copy (seq bigint, id uuid);
CREATE FUNCTION copy() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
$$ BEGIN INSERT INTO copy VALUES (NEW.seq, NEW.id); RETURN NEW; END $$;
CREATE TRIGGER copy AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION copy();
"""


@pytest.mark.parametrize("transactions", [1500, pytest.param(20_000, marks=pytest.mark.faults)])
async def test_late_commits_are_relayed_and_polling_by_id_loses_some(stage: Stage, transactions: int) -> None:
    for statement in COPY.strip().split(";\n"):
        await stage.sql(PRODUCER, statement)
    stage.start(PRODUCER)
    stop = asyncio.Event()
    polling = asyncio.create_task(_poll_ids_greater_than_the_last(stage, stop))
    todo = iter(range(transactions))
    await asyncio.gather(*(_write(stage, todo, seed) for seed in range(WRITERS)))
    await stage.sent(seconds=120)
    stop.set()

    polled = await polling
    assert len(polled) < transactions, "the control lost nothing: this run proves nothing"

    records = await stage.wire.records()
    assert len({r.id for r in records}) == transactions
    positions: dict[int, list[int]] = defaultdict(list)
    versions: dict[str, list[int]] = defaultdict(list)
    for record in sorted(records, key=lambda r: (r.partition, r.offset)):
        assert record.meta
        positions[record.partition].append(record.position)
        versions[record.meta.stream].append(record.meta.version)
    heads = await stage.heads()
    assert len(heads) == FEED.partitions
    for partition, numbers in positions.items():
        assert numbers == list(range(1, heads[partition][0] + 1)), f"partition {partition}"
    assert sum(head for head, _ in heads.values()) == transactions
    for stream, numbers in versions.items():
        assert numbers == list(range(1, len(numbers) + 1)), stream


async def _write(stage: Stage, todo: Iterator[int], seed: int) -> None:
    """One event a transaction; five in a hundred wait between their numbers and their commit."""
    chance = random.Random(seed)
    for _ in todo:
        key = f"k{chance.randrange(STREAMS)}"
        while True:
            try:
                async with stage.ledger.transaction(stage.tenant) as tx:
                    stream = await tx.load(f"org-unit/{key}")
                    event = OrgUnitCreated(org_unit_id=key, code=str(stream.version + 1))
                    tx.append(f"org-unit/{key}", [event], expected=stream.version)
                    await tx.flush()
                    if chance.random() < 0.05:
                        await asyncio.sleep(0.01)
                break
            except Conflict:
                continue
    stage.ledger.wake()


async def _poll_ids_greater_than_the_last(stage: Stage, stop: asyncio.Event) -> set[int]:
    """The control: how feeds are often read, and lose what commits late."""
    seen: set[int] = set()
    connection = await stage.connect(PRODUCER)
    try:
        while True:
            last_round = stop.is_set()
            rows = await connection.fetch(
                "SELECT seq FROM copy WHERE seq > $1 ORDER BY seq", max(seen, default=0)
            )
            seen.update(row["seq"] for row in rows)
            if last_round:
                return seen
            await asyncio.sleep(0.002)
    finally:
        await connection.close()
