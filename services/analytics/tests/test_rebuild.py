"""Tables that can be thrown away: what is torn is noticed, and made anew while everything goes on."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from typing import Any
from uuid import UUID

import httpx
import pytest

from analytics.app import build
from analytics.consumers import FEEDS, REMEDY, Consumption, shadow
from analytics.engine import Engine
from analytics.projections import table
from analytics.settings import Settings
from lyceum.assessment.v1 import events_pb2 as assessment
from lyceum.catalog.v1 import events_pb2 as catalog
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.envelope import Record
from lyceum_kit.errors import Refused, Unavailable
from lyceum_kit.feed import Head
from lyceum_kit.service import Service
from lyceum_kit.testing import TestKeys, client

TENANT = UUID(int=1)

Prints = dict[str, tuple[int, int]]


async def prints(engine: Engine) -> Prints:
    """(rows, a hash of all they hold) of each table, whatever their order."""
    found: Prints = {}
    for feed in FEEDS:
        (row,) = await engine.query(f"SELECT count() AS n, sum(cityHash64(*)) AS hash FROM {table(feed)}")
        found[feed] = (row["n"], row["hash"])
    return found


def one_more_of_each(ledgers: Any, n: int) -> list[Record]:
    return [
        ledgers.append(TENANT, f"person/n{n}", identity.UserProvisioned(person_id=f"n{n}")),
        ledgers.append(TENANT, f"course/n{n}", catalog.CourseCreated(course_id=f"n{n}")),
        ledgers.append(
            TENANT, f"enrollment/n{n}", enrollment.LearnerEnrolled(enrollment_id=f"n{n}"), key="p1"
        ),
        ledgers.append(TENANT, f"attempt/n{n}", assessment.SessionLaunched(attempt_id=f"n{n}"), key="p1"),
    ]


async def test_a_rebuild_gives_the_same_tables_twice_in_a_row(
    some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    await consumption.intake.process(some_of_each.all())
    live = await prints(engine)
    for _ in range(2):
        assert await consumption.rebuild() == dict.fromkeys(FEEDS, 60)
        assert await prints(engine) == live


async def test_events_arrive_and_reads_go_on_while_it_runs(
    some_of_each: Any, consumption: Consumption, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every read of a ledger is followed by new events, which the consumer takes at once, as from Kafka."""
    await consumption.intake.process(some_of_each.all())
    read, arriving = some_of_each.read, list[asyncio.Task[None]]()

    async def read_and_more(feed: str, partition: int, first: int, limit: int) -> list[Record]:
        records = await read(feed, partition, first, limit)
        if len(arriving) < 8:
            new = one_more_of_each(some_of_each, len(arriving))
            arriving.append(asyncio.create_task(consumption.intake.process(new)))
            await asyncio.wait(arriving, timeout=0.05)
        return records

    monkeypatch.setattr(some_of_each, "read", read_and_more)
    rebuilding = asyncio.create_task(consumption.rebuild())
    seen: list[Prints] = []
    while not rebuilding.done():
        seen.append(await prints(engine))
    await rebuilding
    await asyncio.gather(*arriving)

    assert len(seen) > 4
    for before, after in pairwise(seen):
        assert all(after[feed][0] >= before[feed][0] for feed in FEEDS)  # no reader saw less than before
    now = await prints(engine)
    assert {feed: n for feed, (n, _) in now.items()} == dict.fromkeys(FEEDS, 68)
    monkeypatch.setattr(some_of_each, "read", read)
    await consumption.rebuild()
    assert await prints(engine) == now


async def test_a_rebuild_never_takes_what_readers_had(
    some_of_each: Any, consumption: Consumption, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the consumer took since the ledger was read is in the new table too when it takes the old one's place."""
    await consumption.intake.process(some_of_each.all())
    heads, more = some_of_each.heads, list[Record]()

    async def heads_then_more(feed: str) -> list[Head]:
        answer = await heads(feed)
        if not more:
            more.extend(one_more_of_each(some_of_each, 1))
            await consumption.intake.process(more)
        return answer

    monkeypatch.setattr(some_of_each, "heads", heads_then_more)
    await consumption.rebuild(["identity"])
    assert (await prints(engine))["identity"][0] == 61


async def test_one_at_a_time(some_of_each: Any, consumption: Consumption) -> None:
    first = asyncio.create_task(consumption.rebuild())
    await asyncio.sleep(0)
    with pytest.raises(Refused):
        await consumption.rebuild()
    await first


DAMAGE: dict[str, Callable[[str], str]] = {
    "rows lost": lambda name: f"ALTER TABLE {name} DELETE WHERE position = 1",
    "rows doubled": lambda name: f"INSERT INTO {name} SELECT * FROM {name} WHERE position = 1",
    "a part detached": lambda name: f"ALTER TABLE {name} DETACH PART '{{part}}'",
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_torn_table_is_noticed_named_and_mended(
    damage: str, some_of_each: Any, consumption: Consumption, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 60, 20):  # three parts
        await consumption.intake.process(some_of_each.all("enrollment")[start : start + 20])
    await consumption.catch_up()
    whole = await prints(engine)
    parts = await engine.query(
        "SELECT name FROM system.parts WHERE active AND table = 'enrollment_events' ORDER BY min_block_number"
    )
    await engine.command(DAMAGE[damage]("enrollment_events").format(part=parts[0]["name"]))
    assert await prints(engine) != whole

    # While its producer is down it stays red and says what to do.
    async def down(feed: str) -> Any:
        raise Unavailable("nobody there")

    with monkeypatch.context() as patch:
        patch.setattr(some_of_each, "heads", down)
        await consumption.recount()
        with pytest.raises(Unavailable, match="enrollment_events") as red:
            await consumption.check()
        assert "lyceum rebuild analytics" in red.value.detail
        status = await consumption.status()
        (alarm, *_) = [c["alarm"] for c in status["consumers"] if c["alarm"]]
        assert alarm.startswith("red: partition ")
        assert alarm.endswith(REMEDY)
        assert [t["whole"] for t in status["tables"]] == [True, True, False, True]

    await consumption.recount()
    assert await prints(engine) == whole
    assert not consumption.torn
    await consumption.check()


@pytest.mark.parametrize("again", ["catch up", "rebuild"])
async def test_a_truncated_table_is_filled_again(
    again: str, some_of_each: Any, consumption: Consumption, engine: Engine, settings: Settings
) -> None:
    await consumption.catch_up()
    whole = await prints(engine)
    await engine.command("TRUNCATE TABLE assessment_events")
    status = await consumption.status()
    (reconciled,) = [t for t in status["tables"] if t["table"] == "assessment_events"]
    assert (reconciled["events"], reconciled["ledger"], reconciled["missing"]) == (0, 60, 60)
    started_again = Consumption(settings, engine, some_of_each)
    await (started_again.catch_up() if again == "catch up" else started_again.rebuild())
    assert await prints(engine) == whole
    assert [t["missing"] for t in (await started_again.status())["tables"]] == [0, 0, 0, 0]


async def test_what_a_killed_rebuild_left_is_removed(
    some_of_each: Any, consumption: Consumption, engine: Engine
) -> None:
    await consumption.catch_up()
    await engine.command(f"CREATE TABLE {shadow('identity')} AS identity_events")
    await consumption.open()
    left = await engine.query("SELECT name FROM system.tables WHERE name LIKE '%_rebuild'")
    assert left == []
    assert (await prints(engine))["identity"][0] == 60


async def test_a_ledger_with_a_hole_changes_nothing(
    some_of_each: Any, consumption: Consumption, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await consumption.catch_up()
    whole, read = await prints(engine), some_of_each.read

    async def with_a_hole(feed: str, partition: int, first: int, limit: int) -> list[Record]:
        return [r for r in await read(feed, partition, first, limit) if r.position != 2]

    monkeypatch.setattr(some_of_each, "read", with_a_hole)
    with pytest.raises(Unavailable, match="has no position 2"):
        await consumption.rebuild()
    assert await prints(engine) == whole
    assert "has no position 2" in consumption.last_rebuild.error


@pytest.fixture
async def running(
    engine: Engine, settings: Settings, some_of_each: Any
) -> AsyncIterator[tuple[httpx.AsyncClient, TestKeys]]:
    """The service as it consumes, without a Kafka: that makes no difference to a rebuild."""
    keys = TestKeys()
    service: Service = build(
        settings.model_copy(update={"kafka": "127.0.0.1:1"}),
        verifier=keys.verifier,
        reader=some_of_each,
        engine=engine,
    )
    consuming = asyncio.ensure_future(service.background[0]())
    async with client(service) as http:
        yield http, keys
    consuming.cancel()
    await asyncio.wait([consuming])


async def test_the_running_process_is_asked_over_http(
    running: tuple[httpx.AsyncClient, TestKeys], engine: Engine
) -> None:
    http, keys = running
    operator = keys.headers(roles=["operator"])
    path = "/api/analytics/system/rebuild"
    async with asyncio.timeout(60):
        while (await prints(engine))["assessment"][0] < 60:
            await asyncio.sleep(0.05)
        await engine.command("TRUNCATE TABLE identity_events")
        asked = await http.post(path, headers=operator)
        assert (asked.status_code, asked.json()["running"]) == (202, True)
        assert (await http.post(path, headers=operator)).status_code == 409  # one at a time
        while (said := (await http.get(path, headers=operator)).json())["running"]:
            await asyncio.sleep(0.05)
    assert said == {
        "running": False,
        "error": "",
        "tables": [{"table": table(feed), "events": 60, "ledger": 60} for feed in FEEDS],
    }
    assert {feed: n for feed, (n, _) in (await prints(engine)).items()} == dict.fromkeys(FEEDS, 60)


async def test_who_may_rebuild(running: tuple[httpx.AsyncClient, TestKeys]) -> None:
    http, keys = running
    for method in ("GET", "POST"):
        for headers, status in (
            ({}, 401),
            (keys.headers(tenant=TENANT, roles=["admin"]), 403),
            (keys.headers(tenant=TENANT, roles=["reader"]), 403),
        ):
            answer = await http.request(method, "/api/analytics/system/rebuild", headers=headers)
            assert answer.status_code == status


async def test_a_process_that_only_serves_does_not_rebuild(consumption: Consumption) -> None:
    with pytest.raises(Refused, match="ask the one that does"):
        consumption.ask_for_rebuild()


def test_a_second_process_is_sent_to_the_running_one(one_engine: Engine, settings: Settings) -> None:
    """The embedded engine belongs to one process; another one says so instead of waiting for ever."""
    url = settings.clickhouse_url.get_secret_value()
    second = subprocess.run(
        [sys.executable, "-m", "analytics", "rebuild"],
        env={**os.environ, "LYCEUM_CLICKHOUSE_URL": url},
        capture_output=True,
        timeout=120,
        check=False,
        text=True,
    )
    assert second.returncode == 1
    assert "lyceum rebuild analytics" in second.stderr
