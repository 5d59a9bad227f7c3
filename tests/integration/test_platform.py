"""What every story stands on: an installation comes up, an organisation is made, its client is let in."""

from lyceum_local.testing import Platform


async def test_a_fresh_organisation_is_empty_and_its_own(platform: Platform) -> None:
    first, second = platform.tenant(), platform.tenant()
    async with platform.api(first) as api:
        people = (await api.get("/api/identity/people")).raise_for_status().json()["items"]
    assert [p["display_name"] for p in people] == ["Robin Admin"]
    async with platform.api(second) as api:
        assert (await api.get(f"/api/identity/people/{people[0]['person_id']}")).status_code == 404
    await platform.settled()
