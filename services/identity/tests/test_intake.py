"""Webhooks: signed, once, in any order; bad ones get a clear answer and change nothing."""

import asyncio
import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from identity.signatures import new_secret, sign_standard


async def test_a_hire_becomes_a_person_without_a_name_in_any_event(world: Any) -> None:
    hook = await world.hook()
    before = len(await world.events())
    hire = world.event(
        "created", "7", display_name="Ada Lovelace", email="ada@acme.example", location="Berlin"
    )
    answer = await world.send(hook, hire)
    assert (answer.status_code, answer.json()) == (200, {"result": "created"})
    assert set(await world.names(skip=before)) == {"OrgUnitCreated", "UserProvisioned"}
    assert all(b"Ada" not in e.SerializeToString() for e in await world.events())
    person = await world.person("7")
    assert (person["display_name"], person["department"]) == ("Ada Lovelace", "Engineering")


async def test_an_unknown_department_is_created_and_flagged(world: Any) -> None:
    await world.send(await world.hook(), world.event("created", "7", department="Moonbase"))
    units = (await world.http.get("/api/identity/org-units", headers=world.admin)).json()["items"]
    assert [(u["code"], u["mapped"], u["people"]) for u in units] == [("Moonbase", False, 1)]


async def test_the_same_message_again_changes_nothing(world: Any) -> None:
    hook = await world.hook()
    hire = world.event("created", "7")
    await world.send(hook, hire, webhook_id="once")
    count = len(await world.events())
    await world.later(timedelta(days=5))  # signed anew, as a sender's retry is
    answer = await world.send(hook, hire, webhook_id="once")
    assert (answer.status_code, answer.json()) == (200, {"result": "duplicate"})
    assert (await world.send(hook, hire, webhook_id="another")).json() == {"result": "unchanged"}
    assert len(await world.events()) == count


async def test_messages_that_come_at_once_are_each_answered_for_themselves(world: Any) -> None:
    hook, other = await world.hook(), await world.hook()
    hire = world.event("created", "1")
    moved = world.event("updated", "1", department="Sales")
    answers = await asyncio.gather(
        world.send(hook, hire, webhook_id="once"),
        world.send(hook, world.event("created", "2", manager_external_id="3"), webhook_id="two"),
        world.send(hook, hire, webhook_id="once"),
        world.send(hook, moved, webhook_id="later of the same person"),
        world.send(other, world.event("created", "3"), webhook_id="once"),
        world.send(hook, world.event("created", "4"), secret=new_secret("standard")),
        world.send(hook, world.event("terminated", "5")),
    )
    assert [a.json().get("result", a.status_code) for a in answers] == [
        "created", "created", "duplicate", "updated", "created", 401, "held",
    ]  # fmt: skip
    assert (await world.person("1"))["department"] == "Sales"
    assert (await world.person("2"))["manager_id"] == (await world.person("3"))["person_id"]
    async with world.service.ledger.read(world.tenant) as conn:
        rows = await conn.execute(
            text(
                "SELECT actor, correlation_id FROM events WHERE type LIKE '%UserProvisioned' AND actor LIKE 'webhook%'"
            )
        )
    provisioned = rows.all()
    assert len({row.correlation_id for row in provisioned}) == len(provisioned) == 3
    actors = Counter(row.actor for row in provisioned)
    assert actors == {f"webhook:{hook.endpoint_id}": 2, f"webhook:{other.endpoint_id}": 1}


@pytest.mark.parametrize(
    "case", ["missing", "empty", "wrong", "tampered", "respaced", "other id", "no json", "no body"]
)
async def test_without_a_right_signature_nothing_is_read(world: Any, case: str) -> None:
    hook = await world.hook()
    raw = json.dumps(world.event("created", "7")).encode()
    headers = sign_standard(hook.secret, "m", world.clock(), raw)
    match case:
        case "no json":
            raw = b"{"
        case "no body":
            raw = b""
        case "missing":
            del headers["webhook-signature"]
        case "empty":
            headers["webhook-signature"] = ""
        case "wrong":
            headers["webhook-signature"] = "v1," + "A" * 43 + "="
        case "tampered":
            raw = raw.replace(b"Engineering", b"Directorate")
        case "respaced":
            raw = raw.replace(b": ", b":", 1)
        case _:
            headers["webhook-id"] = "n"
    answer = await world.http.post(hook.path, content=raw, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["type"] == "urn:lyceum:problem:bad-signature"
    with pytest.raises(LookupError):
        await world.person("7")


@pytest.mark.parametrize("minutes", [-6, 6])
async def test_a_stale_or_early_message_is_refused(world: Any, minutes: int) -> None:
    hook = await world.hook()
    raw = json.dumps(world.event("created", "7")).encode()
    headers = sign_standard(hook.secret, "m", world.clock() + timedelta(minutes=minutes), raw)
    answer = await world.http.post(hook.path, content=raw, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lyceum:problem:stale-webhook")


@pytest.mark.parametrize("webhook_id", ["a.b", "x" * 257])
async def test_an_ambiguous_webhook_id_is_refused(world: Any, webhook_id: str) -> None:
    answer = await world.send(await world.hook(), world.event("created", "7"), webhook_id=webhook_id)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lyceum:problem:bad-webhook-id")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"type": NaN}',
        b'{"type": "a", "type": "b"}',
        b"[" * 5000 + b"]" * 5000,
        b'{"a":' * 50 + b"1" + b"}" * 50,
        b'{"type": "\\ud800"}',
        b'{"type": "\\u0000"}',
        b"\xff\xfe",
    ],
)
async def test_json_that_readers_disagree_on_is_refused(world: Any, raw: bytes) -> None:
    answer = await world.send(await world.hook(), raw)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:lyceum:problem:bad-json")


async def test_over_one_mebibyte_is_refused(world: Any) -> None:
    assert (await world.send(await world.hook(), b" " * (1024 * 1024 + 1))).status_code == 413


async def test_a_compressed_body_is_refused(world: Any) -> None:
    hook = await world.hook()
    headers = sign_standard(hook.secret, "m", world.clock(), b"x") | {"content-encoding": "gzip"}
    assert (await world.http.post(hook.path, content=b"x", headers=headers)).status_code == 400


@pytest.mark.parametrize(
    ("data", "status"),
    [
        ({"display_name": ""}, 422),
        ({"display_name": 7}, 422),
        ({"hire_date": "soon"}, 422),
        ({"hire_date": 20261124}, 422),
        ({"hire_date": "2024-02-29"}, 200),
        ({"hire_date": "2023-02-29"}, 422),
        ({"hire_date": "0001-01-01", "time_zone": "Pacific/Kiritimati"}, 422),
        ({"hire_date": "9999-12-31", "time_zone": "Etc/GMT+12"}, 422),
        ({"effective_date": "0001-01-01"}, 422),
        ({"time_zone": "Mars/Olympus"}, 422),
        ({"timestamp": "2026-11-24T12:00:00"}, 422),
        ({"timestamp": "2999-01-01T00:00:00Z"}, 422),
        ({"timestamp": "2026-11-24T23:59:60Z"}, 422),
        ({"timestamp": "0001-01-01T00:00:00+14:00"}, 422),
        ({"timestamp": "2025-02-28T23:59:59+14:00"}, 200),
        ({"external_id": "a\tb"}, 422),
        ({"external_id": " "}, 422),
        ({"department": "x" * 301}, 422),
        ({"manager_external_id": 7}, 422),
        ({"favourite_colour": "blue"}, 200),
    ],
)
async def test_a_field_of_the_wrong_shape_is_named(world: Any, data: dict[str, Any], status: int) -> None:
    external_id = data.pop("external_id", "7")
    answer = await world.send(await world.hook(), world.event("created", external_id, **data))
    assert answer.status_code == status, answer.text


async def test_what_would_drive_a_terminal_or_turn_a_page_is_a_space_in_a_name(world: Any) -> None:
    hire = world.event("created", "7", display_name=" Ada\t\x1b[2J\u202eLovelace\r\n", department="R&D\u2028")
    assert (await world.send(await world.hook(), hire)).status_code == 200
    person = await world.person("7")
    assert (person["display_name"], person["department"]) == ("Ada [2J Lovelace", "R&D")


async def test_an_event_type_nobody_knows_is_let_pass(world: Any) -> None:
    answer = await world.send(await world.hook(), world.event("photographed", "7"))
    assert (answer.status_code, answer.json()) == (200, {"result": "ignored"})


async def test_both_secrets_hold_while_they_rotate_and_one_after(world: Any) -> None:
    hook = await world.hook()
    path = f"/api/identity/webhooks/{hook.endpoint_id}/rotate"
    answer = await world.http.post(path, headers=world.admin, json={"overlap_hours": 2})
    fresh = answer.json()["secret"]
    assert (await world.send(hook, world.event("created", "1"))).status_code == 200
    assert (await world.send(hook, world.event("created", "2"), secret=fresh)).status_code == 200
    await world.later(timedelta(hours=2, seconds=1))
    assert (await world.send(hook, world.event("created", "3"))).status_code == 401
    assert (await world.send(hook, world.event("created", "3"), secret=fresh)).status_code == 200


async def test_a_secret_of_another_tenant_opens_nothing(world: Any) -> None:
    other = await world.found("other")
    mine, theirs = await world.hook(), await other.hook()
    assert (await world.send(theirs, world.event("created", "7"), secret=mine.secret)).status_code == 401
    crossed = theirs.path.replace("/other/", "/acme/")
    raw = json.dumps(world.event("created", "7")).encode()
    headers = sign_standard(theirs.secret, "m", world.clock(), raw)
    wrong = await world.http.post(mine.path, content=raw, headers=headers)
    assert wrong.status_code == 401
    # Nor does anybody learn which addresses exist.
    for path in (crossed, crossed.replace("/acme/", "/nobody/")):
        nowhere = await world.http.post(path, content=raw, headers=headers)
        assert (nowhere.status_code, nowhere.json()) == (401, wrong.json())


async def test_a_termination_before_the_hire_is_held_shown_and_then_applied(world: Any) -> None:
    hook = await world.hook()
    said = world.clock()
    left = world.event("terminated", "7", timestamp=said.isoformat())
    answer = await world.send(hook, left)
    assert (answer.status_code, answer.json()) == (202, {"result": "held"})
    held = (await world.http.get("/api/identity/hris/held", headers=world.admin)).json()["items"]
    assert [h["external_id"] for h in held] == ["7"]
    hire = world.event("created", "7", timestamp=(said - timedelta(minutes=1)).isoformat())
    assert (await world.send(hook, hire)).json() == {"result": "terminated"}
    assert (await world.names())[-2:] == ["UserProvisioned", "UserDeactivated"]
    assert (await world.http.get("/api/identity/hris/held", headers=world.admin)).json()["items"] == []


async def test_a_future_hire_waits_for_its_day(world: Any) -> None:
    hook = await world.hook()
    day = (world.clock() + timedelta(days=9)).date()
    answer = await world.send(hook, world.event("created", "7", hire_date=day.isoformat()))
    assert (answer.status_code, answer.json()) == (202, {"result": "waiting"})
    person = await world.person("7")
    assert person["status"] == "prehire"
    await world.run_timers()
    assert (await world.person("7"))["status"] == "prehire"
    await world.later(timedelta(days=10))
    await world.run_timers()
    assert (await world.person("7"))["status"] == "active"
    assert (await world.names())[-1] == "UserProvisioned"


async def test_an_older_version_after_a_newer_one_is_ignored(world: Any) -> None:
    hook = await world.hook()
    older = world.event("updated", "7", department="Old")
    assert (await world.send(hook, world.event("created", "7", department="New"))).status_code == 200
    assert (await world.send(hook, older)).json() == {"result": "unchanged"}
    assert (await world.person("7"))["department"] == "New"


async def test_a_manager_who_arrives_later_is_linked_and_leads(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "7", manager_external_id="1"))
    assert (await world.person("7"))["manager_id"] is None
    await world.send(hook, world.event("created", "1"))
    grace = await world.person("1")
    assert (await world.person("7"))["manager_id"] == grace["person_id"]
    assert grace["roles"] == ["learner", "manager"]
    updated = [e for e in await world.events() if type(e).__name__ == "UserUpdated"]
    assert [list(e.changed) for e in updated] == [["manager_id"]]
    await world.send(hook, world.event("terminated", "7"))
    assert (await world.person("1"))["roles"] == ["learner"]


async def test_a_move_and_a_new_name_are_two_facts(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "7"))
    before = len(await world.events())
    await world.send(hook, world.event("updated", "7", department="Sales", display_name="Ada King"))
    assert set(await world.names(skip=before)) == {"OrgUnitCreated", "UserUpdated", "UserProfileChanged"}
    assert (await world.person("7"))["display_name"] == "Ada King"
