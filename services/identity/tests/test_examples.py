"""The examples show what identity emits: no field more, none less."""

from datetime import timedelta
from typing import Any

from lyceum_kit.testing import unlike_examples

ADA: dict[str, Any] = {
    "email": "ada@example.org",
    "location": "Berlin",
    "job_title": "Software Engineer",
    "manager_external_id": "grace",
    "hire_date": "2020-01-01",
    "time_zone": "Europe/Berlin",
    "employment_type": "employee",
}


async def test_the_examples_tell_adas_story_as_it_is_emitted(world: Any) -> None:
    hook = await world.hook()
    for kind, person, said in (
        ("created", "grace", {}),
        ("created", "ada", ADA),
        ("updated", "ada", {**ADA, "department": "Sales", "email": "ada@example.com"}),
        ("terminated", "ada", {"reason": "resigned"}),
    ):
        assert (await world.send(hook, world.event(kind, person, **said))).status_code == 200
        await world.later(timedelta(minutes=1))
    assert (await world.send(hook, world.event("created", "ada", **ADA))).status_code == 200
    await world.http.post(f"/api/identity/webhooks/{hook.endpoint_id}/rotate", headers=world.admin, json={})
    await world.http.post(
        "/api/identity/clients", headers=world.admin, json={"name": "Warehouse", "roles": ["reader"]}
    )
    listed = await world.http.get("/api/identity/org-units", headers=world.admin)
    units = {unit["code"]: unit["org_unit_id"] for unit in listed.json()["items"]}
    mapping = {"parent_id": units["Engineering"], "head_id": (await world.person("grace"))["person_id"]}
    mapped = f"/api/identity/org-units/{units['Sales']}/mapping"
    assert (await world.http.put(mapped, headers=world.admin, json=mapping)).status_code == 200
    leaver = (await world.person("grace"))["person_id"]
    await world.later(timedelta(minutes=1))
    assert (await world.send(hook, world.event("terminated", "grace"))).status_code == 200
    erased = f"/api/identity/people/{leaver}/erasure"
    assert (await world.http.post(erased, headers=world.admin, json={"reason": "requested"})).is_success
    events = [e for e in await world.events() if getattr(e, "source", "") != "local"]  # the administrator
    assert {type(e).__name__ for e in events} >= {
        "TenantCreated",
        "UserProvisioned",
        "UserUpdated",
        "UserDeactivated",
        "UserReactivated",
        "UserErased",
        "UserProfileChanged",
        "RolesChanged",
        "OrgUnitCreated",
        "OrgUnitMapped",
        "WebhookEndpointCreated",
        "WebhookSecretRotated",
        "ApiClientCreated",
    }
    assert unlike_examples(events) == {}
