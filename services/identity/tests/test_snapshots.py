"""Full listings: only differences count; one that would clear out the company waits for a person."""

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from identity.setup_http import check_base_url
from identity.signatures import sign_bamboohr
from lyceum_kit.errors import Invalid


@pytest.fixture
def listing() -> Any:
    def make(*external_ids: str, **more: Any) -> dict[str, Any]:
        people = [
            {"external_id": e, "display_name": f"Person {e}", "department": "Engineering"}
            for e in external_ids
        ]
        return {"source": "hris", "complete": True, "people": people, **more}

    return make


async def put(world: Any, snapshot: dict[str, Any] | bytes) -> httpx.Response:
    raw = snapshot if isinstance(snapshot, bytes) else json.dumps(snapshot).encode()
    return await world.http.put("/api/identity/hris/snapshot", headers=world.admin, content=raw)


async def test_an_import_creates_and_the_same_again_changes_nothing(world: Any, listing: Any) -> None:
    snapshot = listing(*"abcdef")
    snapshot["people"][0]["manager_external_id"] = "f"  # listed after its report
    first = (await put(world, snapshot)).json()
    assert first["held"] is False
    assert first["differences"]["created"] == 6
    assert (await world.person("a"))["manager_id"] == (await world.person("f"))["person_id"]
    assert "UserUpdated" not in await world.names()
    count = len(await world.events())
    again = (await put(world, snapshot)).json()
    assert again["differences"] == {
        "created": 0,
        "updated": 0,
        "terminated": 0,
        "unchanged": 6,
        "waiting": 0,
    }
    assert len(await world.events()) == count


async def test_a_snapshot_and_webhooks_are_one_path(world: Any, listing: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "a", department="Sales"))
    await world.send(hook, world.event("created", "gone"))
    found = (await put(world, listing("a", "b"))).json()["differences"]
    assert (found["created"], found["updated"], found["terminated"]) == (1, 1, 1)
    assert (await world.person("a"))["department"] == "Engineering"
    assert (await world.person("gone"))["status"] == "terminated"


async def test_who_is_listed_again_is_rehired(world: Any, listing: Any) -> None:
    await put(world, listing("a", "b"))
    await put(world, listing("a"))
    assert (await world.person("b"))["status"] == "terminated"
    assert (await put(world, listing("a", "b"))).json()["differences"]["updated"] == 1
    assert (await world.names())[-1] == "UserReactivated"


async def test_an_incomplete_snapshot_terminates_nobody(world: Any, listing: Any) -> None:
    await put(world, listing(*"abcdefgh"))
    found = (await put(world, listing("a", complete=False))).json()
    assert (found["held"], found["differences"]["terminated"]) == (False, 0)


async def test_people_of_another_source_are_left_alone(world: Any, listing: Any) -> None:
    await put(world, listing("a", source="acquired"))
    await put(world, listing("b"))
    assert (await world.person("a"))["status"] == "active"
    assert (await world.http.get("/api/identity/me", headers=world.admin)).status_code == 403


async def test_too_many_leavers_are_held_until_a_person_applies_them(world: Any, listing: Any) -> None:
    await put(world, listing(*"abcdefgh"))
    count = len(await world.events())
    held = (await put(world, listing("a", "b"))).json()
    assert held["held"] is True
    assert await world.names(skip=count) == ["SnapshotHeld"]
    waiting = (await world.http.get("/api/identity/hris/snapshots/held", headers=world.admin)).json()["items"]
    assert [(w["snapshot_id"], w["would_deactivate"]) for w in waiting] == [(held["snapshot_id"], 6)]
    path = f"/api/identity/hris/snapshots/{held['snapshot_id']}"
    applied = await world.http.post(f"{path}/apply", headers=world.admin)
    assert applied.json()["differences"]["terminated"] == 6
    assert (await world.names())[-1] == "SnapshotReleased"
    assert (await world.http.post(f"{path}/apply", headers=world.admin)).status_code == 409
    assert (await world.http.post(f"{path}/discard", headers=world.admin)).status_code == 409


async def test_a_discarded_snapshot_changes_nobody(world: Any, listing: Any) -> None:
    await put(world, listing(*"abcdefgh"))
    held = (await put(world, listing("a"))).json()
    path = f"/api/identity/hris/snapshots/{held['snapshot_id']}"
    other = await world.found("other")
    assert (await world.http.post(f"{path}/discard", headers=other.admin)).status_code == 404
    assert (await world.http.post(f"{path}/discard", headers=world.admin)).status_code == 204
    assert (await world.person("h"))["status"] == "active"
    waiting = await world.http.get("/api/identity/hris/snapshots/held", headers=world.admin)
    assert waiting.json()["items"] == []


async def test_a_message_newer_than_a_held_snapshot_wins(world: Any, listing: Any) -> None:
    await put(world, listing(*"abcdefgh"))
    held = (await put(world, listing("a"))).json()
    await world.send(await world.hook(), world.event("created", "h", location="Kyoto"))
    await world.http.post(f"/api/identity/hris/snapshots/{held['snapshot_id']}/apply", headers=world.admin)
    assert (await world.person("h"))["status"] == "active"
    assert (await world.person("g"))["status"] == "terminated"


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"{", 400),
        (b'{"people": []}', 422),
        (b'{"complete": "yes", "people": []}', 422),
        (
            b'{"complete": true, "people": [{"external_id": "a"}, {"external_id": "a"}]}',
            422,
        ),
        (b'{"complete": true, "people": [{"external_id": "a"}]}', 422),
        (b'{"complete": true, "people": [], "taken_at": "2999-01-01T00:00:00Z"}', 422),
        (b'{"complete": true, "people": [], "taken_at": "0001-01-01T00:00:00+14:00"}', 422),
        (
            b'{"complete": true, "people": [{"external_id": "a", "display_name": "A", "hire_date": "9999-12-31"}]}',
            422,
        ),
        (b'{"complete": true, "people": [{"external_id": "a\\u0000", "display_name": "A"}]}', 400),
        (b'{"complete": true, "people": [{"external_id": "a\\ud800", "display_name": "A"}]}', 400),
        (b'{"complete": true, "people": ' + b"[" * 1000 + b"]" * 1000 + b"}", 400),
    ],
)
async def test_a_bad_snapshot_changes_nothing(world: Any, raw: bytes, status: int) -> None:
    count = len(await world.events())
    assert (await put(world, raw)).status_code == status
    assert len(await world.events()) == count


async def test_only_hr_clients_and_administrators_push_snapshots(world: Any, listing: Any) -> None:
    async def as_client(role: str) -> dict[str, str]:
        made = await world.http.post(
            "/api/identity/clients", headers=world.admin, json={"name": role, "roles": [role]}
        )
        return await world.token(made.json()["client_id"], made.json()["client_secret"])

    body = json.dumps(listing("a")).encode()
    for role, status in (("reader", 403), ("hris", 200)):
        answer = await world.http.put(
            "/api/identity/hris/snapshot", headers=await as_client(role), content=body
        )
        assert answer.status_code == status


async def test_a_notice_is_durable_and_the_person_read_again_until_hr_answers(world: Any) -> None:
    hook = await world.hook(base_url="https://hr.example/api/v1", api_key="bamboo-key")
    world.hris.down = True
    assert (await notify(world, hook, "123")).json() == {"result": "noted"}
    await world.run_timers()
    assert world.hris.asked
    world.hris.down = False
    world.hris.employees["123"] = {
        "id": "123",
        "displayName": "Ada Lovelace",
        "workEmail": "ada@acme.example",
        "department": "Engineering",
        "jobTitle": None,
        "hireDate": "2020-01-01",
        "terminationDate": "0000-00-00",
        "status": "Active",
    }
    await world.later(timedelta(minutes=2))
    await world.run_timers()
    assert (await world.person("123"))["display_name"] == "Ada Lovelace"
    del world.hris.employees["123"]
    await notify(world, hook, "123")
    await world.run_timers()
    assert (await world.person("123"))["status"] == "terminated"


async def notify(world: Any, hook: Any, external_id: str, *, secret: str = "") -> httpx.Response:
    world.sent += 1
    raw = json.dumps({"employees": [{"id": external_id, "action": "Updated", "n": world.sent}]}).encode()
    headers = sign_bamboohr(secret or hook.secret, world.clock(), raw)
    return await world.http.post(hook.path, content=raw, headers=headers)


async def test_a_notice_needs_its_signature_and_counts_once(world: Any) -> None:
    hook = await world.hook(base_url="https://hr.example/api/v1", api_key="bamboo-key")
    assert (await notify(world, hook, "1", secret="wrong")).status_code == 401
    raw = b'{"employees": [{"id": 5, "action": "Created"}]}'
    headers = sign_bamboohr(hook.secret, world.clock(), raw)
    assert (await world.http.post(hook.path, content=raw, headers=headers)).status_code == 202
    assert (await world.http.post(hook.path, content=raw, headers=headers)).status_code == 200
    old = sign_bamboohr(hook.secret, world.clock() - timedelta(minutes=6), raw)
    assert (await world.http.post(hook.path, content=raw, headers=old)).status_code == 400
    evil = b'{"employees": [{"id": "../../secrets"}]}'
    signed = sign_bamboohr(hook.secret, world.clock(), evil)
    assert (await world.http.post(hook.path, content=evil, headers=signed)).status_code == 422


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://acme.bamboohr.com/api/v1",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://0x7f.1/",
        "https://bamboohr.com.evil.example/",
        "https://evilbamboohr.com/",
        "https://acme.bamboohr.com@10.0.0.1/",
        "https://user:secret@acme.bamboohr.com/",
        "https://acme.bamboohr.com:8443/",
        "file:///etc/passwd",
        "gopher://acme.bamboohr.com/",
        "https://[",
    ],
)
def test_only_bamboohr_is_asked_for_people(url: str) -> None:
    with pytest.raises(Invalid):
        check_base_url(url, local=False)
    check_base_url("https://acme.bamboohr.com/api/v1", local=False)
    check_base_url("http://127.0.0.1:9999", local=True)  # the demo's own


async def test_the_stored_secrets_are_not_readable(world: Any) -> None:
    hook = await world.hook(base_url="https://hr.example", api_key="bamboo-key")
    async with world.service.ledger.read(world.tenant) as conn:
        join = "webhook_endpoints JOIN webhook_secrets USING (tenant, endpoint_id)"
        rows = (await conn.execute(text(f"SELECT config, secret FROM {join}"))).all()
    assert len(rows) == 1
    assert b"bamboo-key" not in rows[0].config
    assert hook.secret.encode() not in rows[0].secret
