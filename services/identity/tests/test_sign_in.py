"""Who comes in, with what, and who no longer does."""

import base64
import json
from datetime import timedelta
from typing import Any

import grpc
import grpc.aio
import pytest

from identity.keys import ANNOUNCED
from identity.sign_in_http import came_from_here
from lyceum.identity.v1 import identity_service_pb2 as pb
from lyceum.identity.v1 import identity_service_pb2_grpc as stubs
from lyceum_kit.errors import Unauthenticated
from lyceum_kit.rpc import make_server
from lyceum_kit.testing import TestKeys

SAME = {"origin": "http://127.0.0.1:8080"}


async def sign_in(world: Any, person_id: str) -> dict[str, str]:
    answer = await world.http.post("/api/identity/sessions", json={"person_id": person_id}, headers=SAME)
    assert answer.status_code == 204, answer.text
    token = await world.http.post("/api/identity/token", headers=SAME)
    assert token.status_code == 200, token.text
    assert token.json()["expires_in"] <= 600
    return {"Authorization": f"Bearer {token.json()['access_token']}"}


async def test_the_first_administrators_link_works_once(world: Any) -> None:
    path = world.admin_link.removeprefix("http://127.0.0.1:8080")
    # Wherever the link says it wants to lead: it leads to the app.
    answer = await world.http.get(f"{path}&next=//evil.example&return=https://evil.example")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    assert "HttpOnly" in answer.headers["set-cookie"]
    assert "samesite=lax" in answer.headers["set-cookie"].lower()
    token = (await world.http.post("/api/identity/token", headers=SAME)).json()["access_token"]
    me = (await world.http.get("/api/identity/me", headers={"Authorization": f"Bearer {token}"})).json()
    assert (me["display_name"], me["roles"], me["tenant_name"]) == (
        "Root of acme",
        ["admin", "learner"],
        "Acme",
    )
    assert (await world.http.get(path)).status_code == 409
    assert (await world.http.get("/api/identity/sessions/link?token=nonsense")).status_code == 409


async def test_an_old_link_is_refused(world: Any) -> None:
    world.clock.ahead = timedelta(hours=73)
    assert (await world.http.get(world.admin_link.removeprefix("http://127.0.0.1:8080"))).status_code == 409


async def test_a_persona_signs_in_sees_herself_and_signs_out(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "1", display_name="Grace Hopper"))
    await world.send(hook, world.event("created", "7", display_name="Ada", manager_external_id="1"))
    personas = (await world.http.get("/api/identity/personas")).json()["items"]
    assert {p["display_name"] for p in personas} == {"Root of acme", "Grace Hopper", "Ada"}
    ada = await world.person("7")
    headers = await sign_in(world, ada["person_id"])
    me = (await world.http.get("/api/identity/me", headers=headers)).json()
    assert me["manager"]["display_name"] == "Grace Hopper"
    seen = (await world.http.get("/api/identity/people", headers=headers)).json()["items"]
    assert [p["display_name"] for p in seen] == ["Ada"]
    other = await world.http.get(f"/api/identity/people/{me['manager']['person_id']}", headers=headers)
    assert other.status_code == 404
    assert (await world.http.delete("/api/identity/sessions", headers=SAME)).status_code == 204
    assert (await world.http.post("/api/identity/token", headers=SAME)).status_code == 401


async def test_a_manager_sees_the_team(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "1", display_name="Grace"))
    await world.send(hook, world.event("created", "7", display_name="Ada", manager_external_id="1"))
    await world.send(hook, world.event("created", "8", display_name="Elsewhere"))
    headers = await sign_in(world, (await world.person("1"))["person_id"])
    team = (await world.http.get("/api/identity/me/team", headers=headers)).json()["items"]
    assert [p["display_name"] for p in team] == ["Ada"]
    seen = (await world.http.get("/api/identity/people", headers=headers)).json()["items"]
    assert {p["display_name"] for p in seen} == {"Ada", "Grace"}


async def test_who_left_is_refused_at_once_with_an_old_session(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "7"))
    await sign_in(world, (await world.person("7"))["person_id"])
    await world.send(hook, world.event("terminated", "7"))
    assert (await world.http.post("/api/identity/token", headers=SAME)).status_code == 401
    left = {"person_id": (await world.person("7"))["person_id"]}
    assert (await world.http.post("/api/identity/sessions", json=left, headers=SAME)).status_code == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://evil.example"},
        {"origin": "http://pkg.localhost:8081"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1:8080"},
        {"sec-fetch-site": "cross-site"},
    ],
)
async def test_another_sites_page_gets_no_token_with_the_cookie(world: Any, headers: dict[str, str]) -> None:
    await world.http.get(world.admin_link.removeprefix("http://127.0.0.1:8080"))
    assert (await world.http.post("/api/identity/token", headers=headers)).status_code == 403
    control = await world.http.post("/api/identity/token", headers={"sec-fetch-site": "same-origin"})
    assert control.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"x-forwarded-for": "203.0.113.9"},
        {"x-forwarded-for": "127.0.0.1, 10.0.0.1"},
    ],
)
async def test_personas_are_for_this_machine(world: Any, headers: dict[str, str]) -> None:
    assert (await world.http.get("/api/identity/personas", headers=headers)).status_code == 403
    assert (await world.http.get("/api/identity/personas")).status_code == 200


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "here"),
    [
        ("127.0.0.1", "", "", True),
        ("10.0.0.7", "127.0.0.1", "", False),  # the control: no proxy is believed
        ("10.0.0.7", "127.0.0.1", "10.0.0.0/8,fd00::/8", True),
        ("fd00::7", "::1, 127.0.0.1", "10.0.0.0/8,fd00::/8", True),
        ("10.0.0.7", "", "10.0.0.0/8", False),  # the proxy itself is nobody
        ("10.0.0.7", "10.0.0.9", "10.0.0.0/8", False),
        ("10.0.0.7", "127.0.0.1, 203.0.113.9", "10.0.0.0/8", False),
        ("192.0.2.1", "127.0.0.1", "10.0.0.0/8", False),
    ],
)
def test_who_comes_through_a_named_proxy_may_be_here(
    peer: str, forwarded: str, proxies: str, here: bool
) -> None:
    assert came_from_here(peer, forwarded, proxies) is here


async def test_a_revoked_client_and_a_wrong_secret_get_no_token(world: Any) -> None:
    made = (
        await world.http.post(
            "/api/identity/clients", headers=world.admin, json={"name": "BI", "roles": ["reader"]}
        )
    ).json()
    form = {"grant_type": "client_credentials", "client_id": made["client_id"]}

    async def ask(secret: str) -> int:
        answer = await world.http.post("/api/identity/token", data={**form, "client_secret": secret})
        return answer.status_code

    assert await ask(made["client_secret"]) == 200
    assert await ask(made["client_secret"] + "x") == 401
    other = await world.found("other")
    gone = f"/api/identity/clients/{made['client_id']}"
    assert (await world.http.delete(gone, headers=other.admin)).status_code == 404
    assert (await world.http.delete(gone, headers=world.admin)).status_code == 204
    assert await ask(made["client_secret"]) == 401


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"grant_type": "password", "client_id": "a", "client_secret": "b"}, 400),
        ({"grant_type": "client_credentials", "client_id": "nobody", "client_secret": ""}, 401),
        ({"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x"}, 401),
        (
            {
                "grant_type": "client_credentials",
                "client_id": "enrollment",
                "client_secret": "enrollment-secret",
                "tenant": "acme",
            },
            400,
        ),
    ],
)
async def test_a_bad_token_request_is_refused(world: Any, form: dict[str, str], status: int) -> None:
    assert (await world.http.post("/api/identity/token", data=form)).status_code == status


async def test_a_services_token_is_short_and_for_the_tenant_it_asked_for(world: Any) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": "enrollment",
        "client_secret": "enrollment-secret",
    }
    answer = (await world.http.post("/api/identity/token", data=form)).json()
    assert answer["expires_in"] <= 60
    who = await world.service.verifier.verify(answer["access_token"])
    assert (who.every_tenant, who.roles, who.kind) == (True, frozenset({"service"}), "service")
    one = (await world.http.post("/api/identity/token", data={**form, "tenant": str(world.tenant)})).json()
    assert (await world.service.verifier.verify(one["access_token"])).tenant == world.tenant


async def test_expired_and_forged_tokens_are_refused(world: Any) -> None:
    good = world.admin["Authorization"].removeprefix("Bearer ")
    head, claims, signature = good.split(".")
    padded = json.loads(base64.urlsafe_b64decode(claims + "=="))
    other = base64.urlsafe_b64encode(json.dumps({**padded, "roles": ["operator"]}).encode()).decode()
    forged = TestKeys().token(tenant=world.tenant, roles=["admin"])
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt","kid":"x"}').decode().rstrip("=")
    for token in (forged, f"{head}.{other.rstrip('=')}.{signature}", f"{none}.{claims}.", "nonsense"):
        answer = await world.http.get("/api/identity/people", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    assert (await world.http.get("/api/identity/people", headers=world.admin)).status_code == 200
    world.clock.ahead = timedelta(minutes=11)
    assert (await world.http.get("/api/identity/people", headers=world.admin)).status_code == 401


async def test_keys_rotate_without_an_interruption(world: Any) -> None:
    async def kids() -> list[str]:
        return [k["kid"] for k in (await world.http.get("/api/identity/jwks")).json()["keys"]]

    [old] = await kids()
    new = (await world.http.post("/api/identity/keys/rotate", headers=world.operator)).json()["kid"]
    assert set(await kids()) == {old, new}
    before = world.admin["Authorization"].removeprefix("Bearer ")
    assert (await world.service.verifier.verify(before)).has("admin")
    await world.later(ANNOUNCED + timedelta(seconds=1))
    after = world.admin["Authorization"].removeprefix("Bearer ")
    assert json.loads(base64.urlsafe_b64decode(after.split(".")[0] + "=="))["kid"] == new
    assert (await world.service.verifier.verify(before)).has("admin")
    await world.later(timedelta(hours=25))
    assert await kids() == [new]
    with pytest.raises(Unauthenticated):
        await world.service.verifier.verify(before)
    keys = (await world.http.get("/api/identity/jwks")).json()["keys"]
    assert all("d" not in key for key in keys)


async def test_tenants_do_not_see_each_other(world: Any) -> None:
    other = await world.found("other")
    await world.send(await world.hook(), world.event("created", "7"))
    ada = (await world.person("7"))["person_id"]
    hook = await world.hook()
    unknown = await world.http.get(f"/api/identity/people/{world.tenant}", headers=other.admin)
    foreign = await world.http.get(f"/api/identity/people/{ada}", headers=other.admin)
    assert (unknown.status_code, foreign.status_code) == (404, 404)
    assert unknown.json() == foreign.json()
    for path, body in (
        (f"/api/identity/people/{ada}/roles", {"roles": ["admin"]}),
        (f"/api/identity/webhooks/{hook.endpoint_id}/rotate", {}),
    ):
        assert (await world.http.post(path, headers=other.admin, json=body)).status_code == 404
    named = await world.http.get("/api/identity/people?tenant_slug=acme", headers=other.admin)
    assert named.status_code == 404
    assert (await world.http.get("/api/identity/people/not-an-id", headers=world.admin)).status_code == 404


async def test_roles_are_granted_by_administrators_only_and_never_platform_wide(world: Any) -> None:
    await world.send(await world.hook(), world.event("created", "7"))
    ada = (await world.person("7"))["person_id"]
    path = f"/api/identity/people/{ada}/roles"
    headers = await sign_in(world, ada)
    assert (await world.http.post(path, headers=headers, json={"roles": ["admin"]})).status_code == 403
    assert (await world.http.post(path, headers=world.admin, json={"roles": ["operator"]})).status_code == 422
    mass = {"roles": ["author"], "tenant_id": "x"}
    assert (await world.http.post(path, headers=world.admin, json=mass)).status_code == 422
    granted = await world.http.post(path, headers=world.admin, json={"roles": ["author"]})
    assert granted.json()["roles"] == ["author", "learner"]
    count = len(await world.events())
    await world.http.post(path, headers=world.admin, json={"roles": ["author"]})
    assert len(await world.events()) == count


async def test_only_the_operator_founds_tenants_and_a_slug_is_taken_once(world: Any) -> None:
    new = {"slug": "acme", "name": "Again", "time_zone": "UTC", "admin": {"display_name": "A"}}
    assert (await world.http.post("/api/identity/tenants", headers=world.admin, json=new)).status_code == 403
    answer = await world.http.post("/api/identity/tenants", headers=world.operator, json=new)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:lyceum:problem:slug-taken")
    bad = {**new, "slug": "UPPER"}
    assert (
        await world.http.post("/api/identity/tenants", headers=world.operator, json=bad)
    ).status_code == 422


async def test_other_services_ask_who_people_are(world: Any) -> None:
    hook = await world.hook()
    await world.send(hook, world.event("created", "1", display_name="山田"))
    await world.send(hook, world.event("created", "7", display_name="Łukasz", manager_external_id="1"))
    ids = [(await world.person(e))["person_id"] for e in ("1", "7")]
    settings = world.service.settings.model_copy(update={"grpc_port": 0, "grpc_host": "127.0.0.1"})
    server = make_server(settings, world.service.rpc, world.service.verifier)
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            stub = stubs.IdentityServiceStub(channel)

            def meta(headers: dict[str, str]) -> tuple[tuple[str, str], ...]:
                return (("authorization", headers["Authorization"]),)

            service = meta(await world.token("enrollment", "enrollment-secret", tenant=str(world.tenant)))
            person = await stub.GetPerson(pb.GetPersonRequest(person_id=ids[0]), metadata=service)
            assert (person.display_name, person.job.department) == ("山田", "Engineering")
            found = await stub.GetPeople(pb.GetPeopleRequest(person_ids=ids), metadata=service)
            assert {p.display_name for p in found.people} == {"山田", "Łukasz"}
            listed = [
                p.display_name
                async for page in stub.ListPeople(pb.ListPeopleRequest(manager_id=ids[0]), metadata=service)
                for p in page.people
            ]
            assert listed == ["Łukasz"]

            other = await world.found("other")
            foreign = await stub.GetPeople(pb.GetPeopleRequest(person_ids=ids), metadata=meta(other.admin))
            assert list(foreign.people) == []
            for who, code in (
                (meta(other.admin), grpc.StatusCode.NOT_FOUND),
                (meta(await sign_in(world, ids[1])), grpc.StatusCode.PERMISSION_DENIED),
                ((), grpc.StatusCode.UNAUTHENTICATED),
            ):
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await stub.GetPerson(pb.GetPersonRequest(person_id=ids[0]), metadata=who)
                assert refused.value.code() == code
            lead = meta(await sign_in(world, ids[0]))
            seen = await stub.GetPerson(pb.GetPersonRequest(person_id=ids[1]), metadata=lead)
            assert seen.display_name == "Łukasz"
    finally:
        await server.stop(0)
