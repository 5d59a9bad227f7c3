"""Whatever way events come, ClickHouse has each of them once."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from analytics.consumers import FEEDS, Consumption
from analytics.engine import Engine
from analytics.projections import table
from analytics.settings import Settings
from analytics.sink import ClickHouseSink, blocks, token
from lyceum_kit.intake import Place


async def counted(engine: Engine) -> dict[str, tuple[int, int]]:
    found: dict[str, tuple[int, int]] = {}
    for feed in FEEDS:
        (row,) = await engine.query(f"SELECT count() AS n, uniqExact(id) AS ids FROM {table(feed)}")
        found[feed] = (row["n"], row["ids"])
    return found


@pytest.mark.parametrize("feed", FEEDS)
async def test_shuffled_and_doubled_batches_are_counted_once(
    feed: str, some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    dice = random.Random(7)
    waiting = some_of_each.all(feed) * 2
    dice.shuffle(waiting)
    while waiting:
        size = dice.randint(1, 17)
        await consumption.intake.process(waiting[:size])
        waiting = waiting[size:]
    assert (await counted(engine))[feed] == (60, 60)
    counts = await consumption.sink.counts(feed)
    assert all(c.whole for c in counts)
    expected = sorted(some_of_each.all(feed), key=lambda r: (r.partition, r.position))
    rows = await engine.query(f"SELECT position, stream FROM {table(feed)} ORDER BY partition, position")
    assert [(r["position"], r["stream"]) for r in rows] == [(r.position, r.meta.stream) for r in expected]


async def test_after_a_kill_between_insert_and_acknowledgement_nothing_is_doubled(
    some_of_each: Any, consumption: Consumption, engine: Engine, settings: Settings
) -> None:
    await consumption.intake.process(some_of_each.all())
    # What was inserted was never acknowledged, so Kafka delivers it again to a new process.
    again = Consumption(settings, engine, some_of_each)
    await again.intake.process(some_of_each.all())
    assert set((await counted(engine)).values()) == {(60, 60)}


async def test_an_insert_whose_caller_was_cancelled_is_not_repeated(
    some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    running = asyncio.create_task(consumption.intake.process(some_of_each.all("identity")))
    while not engine.running:
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await consumption.intake.process(some_of_each.all("identity"))
    assert (await counted(engine))["identity"] == (60, 60)


async def test_a_place_names_the_last_event(
    some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    await consumption.intake.process(some_of_each.all("catalog"))
    (partition, last) = next((r.partition, r) for r in reversed(some_of_each.all("catalog")))
    places = await ClickHouseSink(engine).places([("catalog", partition), ("identity", 3)])
    assert places["catalog", partition] == Place(last.position + 1, last.id, last.generation)
    assert places["identity", 3] == Place()


async def test_a_gap_is_filled_from_the_ledger(
    some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    last = {r.partition: r for r in some_of_each.all("enrollment")}
    await consumption.intake.process(list(last.values()))
    assert (await counted(engine))["enrollment"] == (60, 60)
    assert sum(note.healed for note in consumption.sink.notes.values()) == 60 - len(last)


async def test_an_empty_clickhouse_is_filled_from_the_ledgers(
    some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    await consumption.catch_up()
    assert set((await counted(engine)).values()) == {(60, 60)}
    reads = some_of_each.reads
    await consumption.catch_up()
    assert some_of_each.reads == reads  # nothing is missing, so nothing is asked


def test_blocks_are_cut_by_rows_and_by_bytes(some_of_each: Any) -> None:
    records = some_of_each.all("catalog")
    assert [len(b) for b in blocks(records, rows=25)] == [25, 25, 10]
    assert all(len(b) == 1 for b in blocks(records, most=1))
    assert [r for b in blocks(records, rows=7, most=2000) for r in b] == records


def test_a_token_names_its_positions(some_of_each: Any) -> None:
    run = sorted(some_of_each.all("catalog"), key=lambda r: (r.partition, r.position))
    first = run[0].partition
    last = max(r.position for r in run if r.partition == first)
    assert token("catalog", run).startswith(f"catalog:{first}:1-{last},")


_PROCESS = """
import asyncio, importlib.util, random, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("c", Path(sys.argv[2]) / "conftest.py")
c = importlib.util.module_from_spec(spec); spec.loader.exec_module(c)
from uuid import UUID
from lyceum.identity.v1 import events_pb2 as pb
import lyceum_kit.ids, uuid
ledgers = c.Ledgers()
ids = (uuid.UUID(int=n) for n in range(1, 10000))
c.new_id = lambda: next(ids)
for n in range(300):
    ledgers.append(UUID(int=1), f"person/{n % 50}", pb.UserProvisioned(person_id=str(n % 50)))
async def main():
    engine = c.Engine("chdb://" + sys.argv[1])
    consumption = c.Consumption(c.Settings(), engine, ledgers)
    await consumption.open()
    records = ledgers.all()
    for start in range(0, 300, 20):
        await consumption.intake.process(records[start:start + 20])
    counts = await consumption.sink.counts("identity")
    print(sum(x.rows for x in counts), sum(x.distinct for x in counts), all(x.whole for x in counts))
    await engine.close()
asyncio.run(main())
"""


def test_kill_9_right_after_inserts_leaves_every_event_once(tmp_path: Path) -> None:
    def run(failpoint: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _PROCESS, str(tmp_path / "d"), str(Path(__file__).parent)],
            env={**os.environ, "LYCEUM_FAILPOINT": failpoint},
            capture_output=True,
            timeout=120,
            check=False,
            text=True,
        )

    for _ in range(2):  # the second one finds what the first inserted, and dies after the next block
        assert run("analytics.inserted").returncode == -signal.SIGKILL
    assert run("").stdout.strip().endswith("300 300 True")
