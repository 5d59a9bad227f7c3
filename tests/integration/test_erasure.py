"""People are erased who were planted by every intake, and then looked for in every file, row, record, log and trace.

A marker is a word that occurs nowhere else: of the run, a person, and the field it was planted in. The search is held to a
control each time: it finds what was not erased, and before the erasure what is erased later.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from assessment import verifier
from lyceum_local import postgres
from lyceum_local.demo.hris import bamboohr
from lyceum_local.testing import Platform
from lyceum_local.testing.collector import Collector
from lyceum_local.testing.school import until
from tests.integration.erasure import search
from tests.integration.erasure.company import API_KEY, Company
from tests.integration.erasure.markers import HOUSE, KEPT, Markers, left, letters, of

SEARCHABLE = ("clickhouse", "files of kafka", "files of clickhouse", "exports")
LONG = pytest.param(100, 6, marks=pytest.mark.faults)


@pytest.mark.parametrize(("leavers", "others"), [(3, 3), LONG])
async def test_nothing_of_the_erased_is_left_anywhere(
    breakable: Platform, collector: Collector, tmp_path: Path, leavers: int, others: int
) -> None:
    gone, stay = range(leavers), range(leavers, leavers + others)
    employees: dict[str, dict[str, Any]] = {}
    tenant = await asyncio.to_thread(breakable.tenant)
    with bamboohr(0, API_KEY, employees) as port:
        async with breakable.api(tenant) as api:
            company = Company(breakable, tenant, Markers(), api, employees)
            await company.open(port)
            await planted(company, [*gone, *stay], leavers=[*gone, *stay[1:]])
            await erased_and_looked_for(company, collector, gone, stay, tmp_path)


async def planted(company: Company, people: list[int], *, leavers: list[int]) -> None:
    for n in people:
        await company.hire(n)
        await company.send_nonsense(n)
    await company.find(people)
    for n in people:
        await company.learn(n)
    for n in people[::3]:
        await company.revoke(n)
    async with nobody_handles(company, people[2]):
        for n in leavers:
            await company.dismiss(n)
        await company.hold_a_listing(people)
        await company.find_unknown()

        async def status(n: int) -> str:
            return (await company.ask("GET", f"identity/people/{company.ids[n]}"))["status"]

        for n in leavers:
            await until(lambda n=n: status(n), lambda found: found == "terminated")
        await company.platform.settled()


@asynccontextmanager
async def nobody_handles(company: Company, person: int) -> AsyncGenerator[None]:
    """What is said of this person meanwhile is parked by enrollment, and replayed afterwards. Its rows stay."""
    url = postgres.with_database(company.platform.config.postgres_url, "enrollment")
    conn = await asyncpg.connect(url)
    try:
        fault = f"CHECK (person_id <> '{company.ids[person]}') NOT VALID"
        await conn.execute(f"ALTER TABLE people ADD CONSTRAINT fault {fault}")
        try:
            yield
        finally:
            await conn.execute("ALTER TABLE people DROP CONSTRAINT fault")
        of_ours = "SELECT n, key FROM parked WHERE tenant = $1 ORDER BY n"
        parked = await conn.fetch(of_ours, company.tenant.tenant_id)
        assert {row["key"] for row in parked} == {f"person/{company.ids[person]}"}
        first = str(parked[0]["n"])
        await asyncio.to_thread(company.platform.command, "parked", "replay", "enrollment", first)
        await company.platform.settled()
    finally:
        await conn.close()


async def erased_and_looked_for(
    company: Company, collector: Collector, gone: range, stay: range, folder: Path
) -> None:
    platform = company.platform
    # The control: in the ledgers' rows and files is what was planted, and everywhere else nothing of anybody.
    before = await search.places(company, collector)
    numbers = await company.counted()
    assert letters(before["rows"], gone) == KEPT.keys()
    assert {"n", "m", "x"} <= letters(before["files of postgres"], gone)
    in_the_clear = before["rows"] & before["files of postgres"] & before["exports"]
    assert {(n, "n") for n in (*gone, *stay)} <= in_the_clear
    assert [place for place in SEARCHABLE if HOUSE not in before[place]] == []
    assert letters(before["exports"], gone) <= KEPT.keys()
    for place in before.keys() - {"rows", "files of postgres", "exports"}:
        assert before[place] <= {HOUSE}, place
    assert "Somebody has no name" in await company.logged()
    assert f"person/{company.ids[0]}" in repr(collector.spans)

    await company.erase(gone)
    said = await asyncio.to_thread(
        platform.command, "person", "erase", company.ids[0], "--tenant", company.tenant.slug,
        "--reason", "unlawful", "--yes",
    )  # fmt: skip
    assert "Erased at" in said
    refused = await company.api.post(
        f"/api/identity/people/{company.ids[stay[0]]}/erasure", json={"reason": "requested"}
    )
    assert refused.status_code == 409
    await platform.settled()
    assert of(await search.rows(company), gone) == set()
    assert of(await search.files(company, "postgres"), gone), "the control: files forget later than tables"

    await asyncio.to_thread(platform.command, "rebuild", "analytics")
    await hr_goes_on(company, gone)
    await platform.settled()
    assert of(await search.rows(company), gone) == set()
    await asyncio.to_thread(platform.command, "vacuum")
    after = await search.places(company, collector)
    assert left(after, gone) == {}
    assert {(n, letter) for n in stay for letter in "nmx"} <= after["rows"]
    assert {(n, letter) for n in stay for letter in "nmx"} <= after["files of postgres"]
    assert [place for place in SEARCHABLE if HOUSE not in after[place]] == []
    assert await company.counted() == numbers
    await proofs_hold(company, gone, stay)
    await sealed_for_good(company, gone, stay)
    backup = folder / "backup"
    await asyncio.to_thread(platform.command, "backup", str(backup))
    copied = await asyncio.to_thread(search.in_backup, company, backup)
    assert of(copied, gone) == set()
    assert {(n, "n") for n in stay} <= copied
    for report in platform.reports().values():
        assert not report["parked"]  # it was replayed; what is left of it is among the rows


async def hr_goes_on(company: Company, gone: range) -> None:
    """HR's system has not forgotten them, and says what it says of leavers."""
    for n in gone:
        match n % 3:
            case 0:
                who = company.described(n)
                assert await company.said("updated", **who) == "erased"
                reason = company.mark(n, "t")
                assert (
                    await company.said("terminated", external_id=who["external_id"], reason=reason)
                    == "erased"
                )
            case 1:
                listed = {**company.described(n), "hire_date": "2020-01-01"}
                report = {"external_id": f"f{n}", "display_name": "Filler"}
                await company.list_people([listed, {**report, "manager_external_id": listed["external_id"]}])
            case _:
                await company.notify(company.mark(n, "x"))
    await until(company.to_read, lambda waiting: waiting == 0)


async def proofs_hold(company: Company, gone: range, stay: range) -> None:
    """What anybody sees of a certificate, and what its holder proves offline with the copy they kept."""
    issuer = f"/badges/issuers/{company.tenant.tenant_id}"
    async with company.platform.http() as nobody:
        keys = (await nobody.get(f"{issuer}/jwks")).json()
        # The log has a key since its first checkpoint, which comes within a minute.
        log_key = await until(
            lambda: nobody.get(f"{issuer}/log/key"), lambda answer: answer.status_code == 200, seconds=90
        )
        for n in (*gone, *stay):
            number = company.numbers[n]
            page = (await nobody.get(f"/verify/{number}")).raise_for_status().text
            assert ("Revoked" in page) == (n % 3 == 0)
            assert ("whose name was erased" in page) == (n in gone)
            proof = await until(
                lambda number=number: nobody.get(f"/verify/{number}/certificate.tlog-proof"),
                lambda answer: answer.status_code == 200,
                seconds=60,
            )
            proven = verifier.certificate(company.credentials[n], proof.text, keys, log_key.text)
            assert company.mark(n, "n") in proven["name"]
            gone_too = await nobody.get(f"/verify/{number}/credential.jwt")
            assert gone_too.status_code == (404 if n in gone else 200)
    audit = await company.ask("POST", "assessment/log/audit", {})
    assert audit["problems"] == []
    assert audit["size"] == audit["records"]


async def sealed_for_good(company: Company, gone: range, stay: range) -> None:
    """Of the keys that open what they wrote, in events and in older backups, those of the erased are no more."""
    url = postgres.with_database(company.platform.config.postgres_url, "assessment")
    conn = await asyncpg.connect(url)
    try:
        rows = await conn.fetch(
            "SELECT person_id, sealed_key FROM person_keys WHERE person_id = ANY($1)",
            list(company.ids.values()),
        )
    finally:
        await conn.close()
    has_key = {row["person_id"]: row["sealed_key"] is not None for row in rows}
    assert has_key == {company.ids[n]: n in stay for n in (*gone, *stay)}
