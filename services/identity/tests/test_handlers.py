"""The handlers over a real database: in any order, twice, and at the same time."""

import asyncio
import random
from datetime import date, timedelta
from typing import Any

import pytest

from identity import store
from identity.handlers import hear, on_person_day
from identity.person import Described, Leaves, PersonFacts, Profile, Statement
from lyceum_kit.timers import Timer


@pytest.fixture
def story(world: Any) -> list[tuple[str, Statement]]:
    """What HR said of three people over a morning."""
    start = world.clock() - timedelta(hours=5)

    def at(hour: int, department: str, *, manager: str = "", hires: bool = False) -> Described:
        facts = PersonFacts(department, "Berlin", "Engineer", manager, date(2020, 1, 1), "Europe/Berlin")
        return Described(start + timedelta(hours=hour), facts, Profile(f"Name {hour}"), hires=hires)

    return [
        ("ada", at(0, "Engineering", manager="grace", hires=True)),
        ("grace", at(1, "Engineering", hires=True)),
        ("alan", at(1, "Moonbase", manager="ada", hires=True)),
        ("ada", at(2, "Sales", manager="grace")),
        ("alan", Leaves(start + timedelta(hours=3), reason="resigned")),
        ("grace", at(4, "Sales")),
    ]


async def people(world: Any) -> list[tuple[Any, ...]]:
    async with world.service.ledger.read(world.tenant) as conn:
        rows = await store.people_by_external_id(conn, world.tenant, "hris", ["ada", "grace", "alan"])
    by_id = {str(row.person_id): row.external_id for row in rows}

    def above(row: store.PersonRow) -> str:
        # Who left before the manager arrived stays without: the record of a leaver is not touched any more.
        return by_id.get(row.manager_id, "") if row.active else ""

    return sorted(
        (r.external_id, r.status, r.department, above(r), tuple(r.roles), r.display_name) for r in rows
    )


EXPECTED = [
    ("ada", "active", "Sales", "grace", ("learner",), "Name 2"),
    ("alan", "terminated", "Moonbase", "", ("learner",), "Name 1"),
    ("grace", "active", "Sales", "", ("learner", "manager"), "Name 4"),
]


@pytest.mark.parametrize("seed", range(5))
async def test_any_order_and_doubles_end_in_the_same_people(world: Any, story: Any, seed: int) -> None:
    messages = [*story, *story]
    random.Random(seed).shuffle(messages)
    for external_id, statement in messages:
        await world.service.ledger.run(
            world.tenant, hear, "hris", {external_id: [statement]}, vault=world.vault
        )
    assert await people(world) == EXPECTED
    count = len(await world.events())
    for external_id, statement in story:
        outcome = await world.service.ledger.run(
            world.tenant, hear, "hris", {external_id: [statement]}, vault=world.vault
        )
        assert outcome == {external_id: "unchanged"}
    assert len(await world.events()) == count


async def test_all_in_one_batch_is_the_same(world: Any, story: Any) -> None:
    said: dict[str, list[Statement]] = {}
    for external_id, statement in story:
        said.setdefault(external_id, []).append(statement)
    await world.service.ledger.run(world.tenant, hear, "hris", said, vault=world.vault)
    assert await people(world) == EXPECTED


async def test_all_at_the_same_time_is_the_same(world: Any, story: Any) -> None:
    run = world.service.ledger.run
    await asyncio.gather(*(run(world.tenant, hear, "hris", {e: [s]}, vault=world.vault) for e, s in story))
    assert await people(world) == EXPECTED
    units = [e.code for e in await world.events() if type(e).__name__ == "OrgUnitCreated"]
    assert len(units) == len(set(units))


async def test_a_manager_and_reports_who_arrive_together_meet(world: Any) -> None:
    start = world.clock()

    def hire(external_id: str, manager: str) -> dict[str, list[Statement]]:
        facts = PersonFacts(manager_external_id=manager)
        return {external_id: [Described(start, facts, Profile(external_id), hires=True)]}

    pairs = [(f"report-{n}", f"lead-{n}") for n in range(12)]
    messages = [hire(r, lead) for r, lead in pairs] + [hire(lead, "") for _, lead in pairs]
    random.Random(7).shuffle(messages)
    run = world.service.ledger.run
    await asyncio.gather(
        *(run(world.tenant, hear, "hris", message, vault=world.vault) for message in messages)
    )
    async with world.service.ledger.read(world.tenant) as conn:
        found = await store.people_by_external_id(
            conn, world.tenant, "hris", [external_id for pair in pairs for external_id in pair]
        )
    ids = {row.external_id: str(row.person_id) for row in found}
    linked = {row.external_id: row.manager_id for row in found if row.external_id.startswith("report")}
    assert linked == {report: ids[lead] for report, lead in pairs}
    assert all("manager" in row.roles for row in found if row.external_id.startswith("lead"))


async def test_somebody_whom_many_hear_of_at_once_is_one_person(world: Any) -> None:
    said = [
        Described(world.clock() + timedelta(minutes=n), PersonFacts(f"D{n}"), Profile("Y"), hires=True)
        for n in range(4)
    ]
    run = world.service.ledger.run
    await world.later(timedelta(minutes=4))
    await asyncio.gather(*(run(world.tenant, hear, "hris", {"y": [s]}, vault=world.vault) for s in said))
    assert (await world.person("y"))["department"] == "D3"
    kinds = [type(e).__name__ for e in await world.events()]
    assert kinds.count("UserProvisioned") == 2  # the administrator, and Y


async def test_a_day_that_comes_twice_hires_once(world: Any) -> None:
    day = (world.clock() + timedelta(days=3)).date()
    facts = PersonFacts("Engineering", hire_date=day, time_zone="Asia/Tokyo")
    said = Described(world.clock(), facts, Profile("山田"), hires=True)
    run = world.service.ledger.run
    assert await run(world.tenant, hear, "hris", {"y": [said]}, vault=world.vault) == {"y": "waiting"}
    person = await world.person("y")
    await world.later(timedelta(days=4))
    timer = Timer("person-day", person["person_id"], world.clock(), {})
    await run(world.tenant, on_person_day, timer)
    count = len(await world.events())
    await run(world.tenant, on_person_day, timer)
    assert len(await world.events()) == count
    assert (await world.names()).count("UserProvisioned") == 2  # the administrator, and 山田
