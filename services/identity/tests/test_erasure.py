"""Erasing a person: nothing of them is left in identity, and HR's chatter doesn't bring it back."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from identity import erasure, sign_in
from identity.errors import StillHere
from identity.handlers import take_notice
from identity.hris import Notice
from identity.person import (
    Described,
    Erase,
    Leaves,
    Person,
    PersonFacts,
    Profile,
    Record,
    comes_anew,
    decide,
    evolve,
    heard,
    is_over,
    status_name,
)
from lyceum.identity.v1 import events_pb2 as pb
from lyceum_kit.timers import Timer

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HIRE = Described(NOON, PersonFacts(department="Sales"), Profile("Ada Lovelace"), hires=True)
LEFT = Person(status=pb.EMPLOYMENT_STATUS_TERMINATED)
ERASE = Erase("p", "requested", over=True, at=NOON)


def test_whoever_works_here_or_is_about_to_is_not_erased() -> None:
    with pytest.raises(StillHere):
        decide(Person(status=pb.EMPLOYMENT_STATUS_ACTIVE), ERASE)
    with pytest.raises(StillHere):
        decide(Person(), Erase("p", "requested", over=False, at=NOON))


def test_who_left_is_erased_once_and_then_nothing_follows() -> None:
    [event] = decide(LEFT, ERASE)
    assert isinstance(event, pb.UserErased)
    assert (event.reason, event.erased_at.ToDatetime(UTC)) == ("requested", NOON)
    after = evolve(LEFT, event)
    assert status_name(after, Record()) == "erased"
    assert decide(after, ERASE) == []


def test_it_is_over_when_hr_says_so() -> None:
    hired = heard(Record(), HIRE, NOON)
    assert not is_over(hired, NOON)
    assert is_over(heard(Record(), Leaves(NOON), NOON), NOON)  # never came
    tomorrow = heard(hired, Leaves(NOON, date(2026, 11, 25)), NOON)
    assert not is_over(tomorrow, NOON)
    assert is_over(tomorrow, NOON + timedelta(days=1))


@pytest.mark.parametrize(
    ("statement", "anew"),
    [
        (HIRE, False),
        (Leaves(NOON + timedelta(days=2)), False),
        (Described(NOON + timedelta(days=2), PersonFacts(), Profile("Ada")), False),
        (Described(NOON + timedelta(days=2), PersonFacts(), Profile("Ada"), hires=True), True),
        (Described(NOON + timedelta(days=2), PersonFacts(hire_date=date(2026, 12, 1)), Profile("Ada")), True),
    ],
)
def test_only_a_new_hire_brings_somebody_back(statement: Any, anew: bool) -> None:
    assert comes_anew(statement, NOON + timedelta(days=1)) is anew


async def erased(world: Any, person_id: str, reason: str = "requested") -> httpx.Response:
    path = f"/api/identity/people/{person_id}/erasure"
    return await world.http.post(path, headers=world.admin, json={"reason": reason})


async def everything(world: Any) -> AsyncIterator[str]:
    """Each row of each table of the service, as text; bytes as what they spell."""
    async with world.service.ledger.read(world.tenant) as conn:
        tables = (
            await conn.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        ).scalars()
        for table in tables:
            if table in ("alembic_version", "ledger_seen"):
                continue
            for row in await conn.execute(text(f"SELECT * FROM {table}")):
                for value in row:
                    yield f"{table}: {value!r}"


async def where(world: Any, marker: str) -> list[str]:
    return [line async for line in everything(world) if marker in line]


MARKED = {
    "display_name": "zq-name",
    "given_name": "zq-given",
    "family_name": "zq-family",
    "email": "zq-mail@example.org",
    "locale": "zq-locale",
}


async def hired_and_gone(world: Any, hook: Any) -> str:
    """A leaver with something personal in every place; their person id."""
    await world.send(hook, world.event("created", "zq-boss", display_name="Boss"))
    said = {**MARKED, "manager_external_id": "zq-boss"}
    await world.send(hook, world.event("created", "zq-id", **said))
    await world.send(hook, world.event("created", "9", manager_external_id="zq-id"))
    person_id = (await world.person("zq-id"))["person_id"]
    await world.service.ledger.run(world.tenant, sign_in.make_link, person_id, 1)
    await world.send(hook, world.event("terminated", "zq-id", reason="zq-reason"))
    return person_id


async def test_nothing_of_the_erased_is_left_and_others_stay(world: Any) -> None:
    hook = await world.hook()
    bamboo = await world.hook(base_url="https://hr.example", api_key="bamboo-key", source="hris")
    person_id = await hired_and_gone(world, hook)
    notice = [Notice(id="zq-id")]
    run = world.service.ledger.run
    await run(world.tenant, take_notice, bamboo.endpoint_id, "n1", notice, vault=world.vault)
    people = [{"external_id": f"l{n}", "display_name": f"Leaver {n}"} for n in range(60)]
    people += [{"external_id": "9", "display_name": "Person 9", "manager_external_id": "zq-id"}]
    listing: dict[str, Any] = {"complete": True, "people": people}
    put = "/api/identity/hris/snapshot"
    assert (await world.http.put(put, headers=world.admin, json=listing)).json()["held"] is False
    listing["people"] = [
        {"external_id": "zq-id", "display_name": "zq-held"},
        {"external_id": "l1", "display_name": "Leaver 1", "manager_external_id": "zq-id"},
    ]
    assert (await world.http.put(put, headers=world.admin, json=listing)).json()["held"] is True
    places = {line.partition(":")[0] for line in await where(world, "zq-")}
    assert places >= {"people", "snapshots", "timers"}
    assert "events" not in places

    assert (await erased(world, person_id)).status_code == 200
    left = {line for line in await where(world, "zq-") if "zq-boss" not in line}
    assert left == set()
    assert await where(world, "Leaver 1")
    report = await world.person("9")
    assert report["manager_id"] is None
    [held] = (await world.http.get("/api/identity/hris/snapshots/held", headers=world.admin)).json()["items"]
    assert held["listed"] == 2
    shown = await world.http.get(f"/api/identity/people/{person_id}", headers=world.admin)
    assert (shown.json()["status"], shown.json()["display_name"], shown.json()["external_id"]) == (
        "erased",
        "",
        "",
    )
    count = len(await world.events())
    again = await erased(world, person_id, "unlawful")
    assert again.status_code == 200
    assert len(await world.events()) == count
    assert (await world.names()).count("UserErased") == 1


async def test_a_leave_that_was_held_can_be_erased(world: Any) -> None:
    hook = await world.hook()
    assert (await world.send(hook, world.event("terminated", "zq-id", reason="zq-why"))).status_code == 202
    [held] = (await world.http.get("/api/identity/hris/held", headers=world.admin)).json()["items"]
    assert (await erased(world, held["id"])).status_code == 200
    assert await where(world, "zq-") == []


async def test_what_cannot_be_erased_is_said_clearly(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "7"))
    person_id = (await world.person("7"))["person_id"]
    refused = await erased(world, person_id)
    assert refused.status_code == 409
    assert refused.json()["type"].endswith(":still-here")
    assert "end the employment" in refused.json()["detail"]
    assert (await world.person("7"))["status"] == "active"
    assert (await erased(world, str(uuid4()))).status_code == 404
    assert (await erased(world, person_id, "because Ada said so")).status_code == 422
    nobody = await world.http.post(f"/api/identity/people/{person_id}/erasure", json={"reason": "requested"})
    assert nobody.status_code == 401


async def test_hr_may_go_on_speaking_and_nothing_comes_back(world: Any) -> None:
    hook = await world.hook()
    person_id = await hired_and_gone(world, hook)
    assert (await erased(world, person_id)).status_code == 200
    await world.later(timedelta(seconds=1))
    events = len(await world.events())
    for kind, said in (("updated", MARKED), ("terminated", {"reason": "zq-reason"})):
        answer = await world.send(hook, world.event(kind, "zq-id", **said))
        assert (answer.status_code, answer.json()) == (200, {"result": "erased"})
    listing = {
        "complete": False,
        "people": [{"external_id": "zq-id", "display_name": "zq-name", "hire_date": "2020-01-01"}],
    }
    await world.http.put("/api/identity/hris/snapshot", headers=world.admin, json=listing)
    await world.send(hook, world.event("updated", "9", manager_external_id="zq-id"))
    assert (await world.person("9"))["manager_id"] is None
    assert [line for line in await where(world, "zq-") if "zq-boss" not in line] == []
    assert "UserProvisioned" not in await world.names(skip=events)

    answer = await world.send(hook, world.event("created", "zq-id", **MARKED))
    assert answer.json() == {"result": "created"}
    anew = await world.person("zq-id")
    assert anew["person_id"] != person_id
    await world.send(hook, world.event("updated", "9", manager_external_id="zq-id"))
    assert (await world.person("9"))["manager_id"] == anew["person_id"]
    await world.later(timedelta(seconds=1))
    await world.send(hook, world.event("terminated", "zq-id"))
    assert (await erased(world, anew["person_id"])).status_code == 200
    assert [line for line in await where(world, "zq-") if "zq-boss" not in line] == []


async def test_a_manager_named_beside_the_erasure_is_forgotten_a_minute_later(world: Any) -> None:
    """The control: a record that names the erased, as a transaction that ran beside it leaves one."""
    hook = await world.hook()
    person_id = await hired_and_gone(world, hook)
    assert (await erased(world, person_id)).status_code == 200
    async with world.service.ledger.transaction(world.tenant) as tx:
        stale = "jsonb_set(record, '{newest,facts,manager_external_id}', '\"zq-id\"')"
        await tx.conn.execute(text(f"UPDATE people SET record = {stale} WHERE external_id = '9'"))
    assert await where(world, "zq-id")
    timer = Timer(erasure.MENTIONS, "hris", world.clock(), {})
    for _ in range(2):
        run = world.service.ledger.run
        await run(world.tenant, erasure.on_mentions, timer, vault=world.vault)
        assert await where(world, "zq-id") == []
