"""Departments that HR brought along: a person says where they belong."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from identity.errors import BadMapping
from identity.org_unit import Map, OrgUnit, decide, evolve
from lyceum.identity.v1 import events_pb2 as pb

MAPPED = OrgUnit("b", "Sales", mapped=True, parent_id="a")


def test_confirming_a_unit_says_so_once() -> None:
    fresh = evolve(OrgUnit("b"), pb.OrgUnitCreated(org_unit_id="b", code="Sales"))
    [event] = decide(fresh, Map(), parents={})
    assert event == pb.OrgUnitMapped(org_unit_id="b")
    assert decide(evolve(fresh, event), Map(), parents={}) == []
    [event] = decide(evolve(fresh, event), Map("a", "grace"), parents={})
    assert event == pb.OrgUnitMapped(org_unit_id="b", parent_id="a", head_id="grace")


def test_what_is_left_out_is_taken_away() -> None:
    [event] = decide(MAPPED, Map(), parents={"b": "a"})
    assert evolve(MAPPED, event) == OrgUnit("b", "Sales", mapped=True)


@pytest.mark.parametrize("above", ["b", "c", "d"])
def test_no_unit_is_below_itself(above: str) -> None:
    with pytest.raises(BadMapping):
        decide(MAPPED, Map(above), parents={"b": "a", "c": "b", "d": "c"})


async def units(world: Any) -> dict[str, dict[str, Any]]:
    answer = await world.http.get("/api/identity/org-units", headers=world.admin)
    return {unit["code"]: unit for unit in answer.json()["items"]}


async def put(world: Any, unit: str, body: Any, **more: Any) -> Any:
    headers = more.get("headers", world.admin)
    return await world.http.put(f"/api/identity/org-units/{unit}/mapping", json=body, headers=headers)


@pytest.fixture
async def departments(world: Any) -> dict[str, str]:
    hook = await world.hook()
    for n, code in enumerate(("Company", "Sales", "Moonbase")):
        await world.send(hook, world.event("created", str(n), department=code))
    return {code: unit["org_unit_id"] for code, unit in (await units(world)).items()}


async def test_an_administrator_maps_a_unit_and_again_nothing_changes(
    world: Any, departments: dict[str, str]
) -> None:
    grace = (await world.person("0"))["person_id"]
    before = len(await world.events())
    body = {"parent_id": departments["Company"], "head_id": grace}
    for _ in range(2):
        answer = await put(world, departments["Sales"], body)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["mapped"], answer.json()["head_id"]) == (True, grace)
    assert await world.names(skip=before) == ["OrgUnitMapped"]
    shown = await units(world)
    assert (shown["Sales"]["mapped"], shown["Sales"]["parent_id"]) == (True, departments["Company"])
    assert (shown["Moonbase"]["mapped"], shown["Moonbase"]["people"]) == (False, 1)
    assert (await put(world, departments["Sales"], {})).json()["head_id"] is None


async def test_two_who_put_units_below_each_other_make_no_circle(
    world: Any, departments: dict[str, str]
) -> None:
    one, other = departments["Sales"], departments["Moonbase"]
    answers = await asyncio.gather(
        put(world, one, {"parent_id": other}), put(world, other, {"parent_id": one})
    )
    assert sorted(a.status_code for a in answers) == [200, 422]


async def test_a_mapping_that_makes_no_sense_is_refused(world: Any, departments: dict[str, str]) -> None:
    sales, unknown = departments["Sales"], str(uuid4())
    bodies: list[Any] = [
        {"parent_id": sales},
        {"parent_id": unknown},
        {"head_id": unknown},
        {"head_id": "Grace"},
        {"parent": sales},
        [],
    ]
    for body in bodies:
        assert (await put(world, sales, body)).status_code == 422, body
    assert (await put(world, unknown, {})).status_code == 404
    assert not (await units(world))["Sales"]["mapped"]


async def test_only_an_administrator_of_the_tenant_maps(world: Any, departments: dict[str, str]) -> None:
    sales = departments["Sales"]
    hooks = {"name": "HR", "roles": ["hris", "author", "reader"]}
    made = (await world.http.post("/api/identity/clients", json=hooks, headers=world.admin)).json()
    other = await world.token(made["client_id"], made["client_secret"])
    assert (await put(world, sales, {}, headers=other)).status_code == 403
    assert (await put(world, sales, {}, headers={})).status_code == 401
    foreign = (await world.found("globex")).admin
    assert (await put(world, sales, {}, headers=foreign)).status_code == 404
    assert not (await units(world))["Sales"]["mapped"]


async def test_who_left_heads_nothing_new(world: Any, departments: dict[str, str]) -> None:
    await world.send(await world.hook(), world.event("terminated", "1"))
    left = (await world.person("1"))["person_id"]
    answer = await put(world, departments["Sales"], {"head_id": left})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:lyceum:problem:bad-mapping")
