"""A producer restored to an older state: what ClickHouse has beyond it must stop counting, and says so until it does."""

from typing import Any
from uuid import UUID

import pytest

from analytics.consumers import Consumption
from analytics.engine import Engine
from lyceum.catalog.v1.events_pb2 import CourseCreated
from lyceum_kit.topics import feeds

TENANT = UUID("01990000-0000-7000-8000-000000000001")
PARTITION = ("catalog", feeds()["catalog"].partition_of("one"))


@pytest.fixture
async def restored(ledgers: Any, consumption: Consumption) -> Any:
    """ClickHouse has ten events; the ledger has the first six of them."""
    for n in range(10):
        ledgers.append(TENANT, f"course/c{n}", CourseCreated(course_id=f"c{n}", title="x"), key="one")
    await consumption.catch_up()
    del ledgers.records[PARTITION][6:]
    return ledgers


@pytest.mark.parametrize("new", [0, 2, 4, 9])  # quiet, below, exactly at and beyond the old head
async def test_what_a_restored_ledger_lost_stops_counting(
    new: int, restored: Any, consumption: Consumption, engine: Engine
) -> None:
    for n in range(new):
        restored.append(TENANT, f"course/d{n}", CourseCreated(course_id=f"d{n}", title="x"), key="one")
    for _ in range(3):
        await consumption.intake.complete({PARTITION: True})
    assert "lyceum rebuild analytics" in consumption.reconciliation()["trouble"][0]
    assert set(consumption.parted()) == {"catalog"}
    await consumption.rebuild(["catalog"])
    assert not consumption.reconciliation()["trouble"]
    await consumption.intake.complete({PARTITION: True})
    rows = await engine.query("SELECT toString(id) AS id FROM catalog_events ORDER BY position")
    assert [row["id"] for row in rows] == [r.id for r in restored.records[PARTITION]]
    assert not consumption.reconciliation()["trouble"]
