"""The guide's own commands: the platform backed up while people work, and restored with an empty Kafka and ClickHouse."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from lyceum_local import postgres
from lyceum_local.paths import cache_folder
from lyceum_local.testing import Platform

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "operations" / "backup-and-restore.md"
COURSE: Mapping[str, Any] = {
    "title": "House rules",
    "slug": "house-rules",
    "certifying": True,
    "modules": [{"title": "Read them", "kind": "reading", "text": "Be kind."}],
}
FEEDS = ("identity", "catalog", "enrollment", "assessment")


def guided(backup: Path) -> list[str]:
    """The commands a reader types on one machine, for this installation."""
    blocks = re.findall(r"```sh\n(.+?)```", GUIDE.read_text(), re.S)
    lines = [line for block in blocks for line in block.splitlines()]
    assert [line.split()[1] for line in lines] == ["backup", "restore", "up", "reconcile"]
    return [line.replace("/backups/monday", str(backup)) for line in lines]


def typed(line: str, platform: Platform) -> str:
    """What the command said."""
    return platform.command(*line.split()[1:])


async def published(api: httpx.AsyncClient, slug: str) -> str:
    made = (await api.post("/api/catalog/courses", json={**COURSE, "slug": slug})).raise_for_status()
    course_id = str(made.json()["course_id"])
    (await api.post(f"/api/catalog/courses/{course_id}/publish")).raise_for_status()
    return course_id


async def until(api: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
    """The answer, once what it depends on has arrived."""
    async with asyncio.timeout(60):
        while (answer := await api.request(method, path, **more)).is_error:
            await asyncio.sleep(0.2)
    return answer


async def certified(platform: Platform, api: httpx.AsyncClient) -> dict[str, Any]:
    """The certificate of somebody who read the house rules."""
    course_id = await published(api, "house-rules")
    person_id = (await api.get("/api/identity/people")).json()["items"][0]["person_id"]
    body = {"person_id": person_id, "course_id": course_id}
    enrolled = (await until(api, "POST", "/api/enrollment/enrollments", json=body)).json()
    async with platform.as_person(person_id) as learner:
        body = {
            "enrollment_id": enrolled["enrollment_id"],
            "module_id": enrolled["modules"][0]["module_id"],
        }
        await until(learner, "POST", "/api/assessment/readings", json=body)
        async with asyncio.timeout(60):
            while not (items := (await learner.get("/api/assessment/certificates")).json()["items"]):
                await asyncio.sleep(0.2)
    return items[0]


async def verified(platform: Platform, tenant_id: str, number: str, folder: Path) -> str:
    """What the offline verifier says of a certificate, as the guide for outsiders has it."""
    wanted = {
        "credential.jwt": f"/verify/{number}/credential.jwt",
        "proof": f"/verify/{number}/certificate.tlog-proof",
        "jwks.json": f"/badges/issuers/{tenant_id}/jwks",
        "log.key": f"/badges/issuers/{tenant_id}/log/key",
    }
    async with platform.http() as nobody:
        files = {name: (await until(nobody, "GET", path)).content for name, path in wanted.items()}
    return await asyncio.to_thread(verdict, files, folder)


def verdict(files: Mapping[str, bytes], folder: Path) -> str:
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    command = [
        "-m",
        "assessment.verifier",
        "certificate",
        "--credential",
        "credential.jwt",
        "--proof",
        "proof",
    ]
    command += ["--issuer-keys", "jwks.json", "--log-key", "log.key"]
    ran = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    return ran.stdout + ran.stderr


async def counted(platform: Platform) -> dict[str, tuple[int, int]]:
    """By feed, ClickHouse's rows and different events."""
    config = platform.config
    union = " UNION ALL ".join(
        f"SELECT '{feed}' AS feed, count() AS n, uniqExact(id) AS events FROM {feed}_events" for feed in FEEDS
    )
    async with httpx.AsyncClient(trust_env=False, auth=("operator", config.secrets.clickhouse)) as client:
        at = f"http://127.0.0.1:{config.ports['clickhouse']}/"
        answer = await client.post(at, content=f"SELECT * FROM ({union}) FORMAT JSONEachRow")
    rows = [json.loads(line) for line in answer.raise_for_status().text.splitlines()]
    return {row["feed"]: (int(row["n"]), int(row["events"])) for row in rows}


def heads(platform: Platform) -> dict[str, int]:
    report = platform.reports()
    return {feed: sum(p["head"] for p in report[feed]["feeds"] if p["feed"] == feed) for feed in FEEDS}


def generations(platform: Platform) -> dict[str, int]:
    """The newest of each feed, the same in all its partitions."""
    reports, found = platform.reports(), dict[str, int]()
    for feed in FEEDS:
        (found[feed],) = {p["generation"] for p in reports[feed]["feeds"]}
    return found


@pytest.mark.faults
async def test_the_guides_commands_bring_everything_back(own_platform: Platform, tmp_path: Path) -> None:
    platform, made = own_platform, list[str]()
    tenant = platform.tenant()
    back_up, *restore = guided(tmp_path / "backup")
    async with platform.api(tenant) as api:
        certificate = await certified(platform, api)
        number = certificate["certificate_id"]
        assert "PROVEN" in await verified(platform, tenant.tenant_id, number, tmp_path / "before")

        async def work() -> None:
            while True:
                made.append(await published(api, f"course-{len(made)}"))

        worker = asyncio.create_task(work())
        while len(made) < 10:
            await asyncio.sleep(0.1)
        before = list(made)
        await asyncio.to_thread(typed, back_up, platform)
        async with asyncio.timeout(60):
            while len(made) < len(before) + 20:
                await asyncio.sleep(0.1)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        await platform.settled()
        lost_too, first = heads(platform), generations(platform)

    said = [await asyncio.to_thread(typed, line, platform) for line in restore]
    assert "Everything agrees" in said[-1]
    async with platform.api(tenant) as api:
        now = heads(platform)
        assert now["catalog"] < lost_too["catalog"]
        listed = {c["course_id"] for c in await all_courses(api)}
        assert set(before) <= listed
        assert made[-1] not in listed
        after = await published(api, "after-the-restore")
        person_id = (await api.get("/api/identity/people")).json()["items"][0]["person_id"]
        body = {"person_id": person_id, "course_id": after}
        await until(api, "POST", "/api/enrollment/enrollments", json=body)
    await platform.settled()
    for report in platform.reports().values():
        assert not report["parked"]
        assert not any(c["alarm"] for c in report["consumers"])
    assert all(second > first[feed] for feed, second in generations(platform).items())
    assert await counted(platform) == {feed: (head, head) for feed, head in heads(platform).items()}
    assert "PROVEN" in await verified(platform, tenant.tenant_id, number, tmp_path / "after")

    told = await asyncio.to_thread(service_says, platform, "enrollment", "reconcile")
    assert "12 of 12 partitions agree" in told


def service_says(platform: Platform, service: str, *arguments: str) -> str:
    """A service's own command, as in a cluster."""
    ran = subprocess.run(
        [sys.executable, "-m", service, *arguments],
        env=os.environ | platform.config.service_env(service),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.faults
async def test_one_database_restored_alone_is_reconciled(own_platform: Platform, tmp_path: Path) -> None:
    """catalog alone, from a dump, while the platform runs."""
    platform, dump = own_platform, tmp_path / "catalog.dump"
    tenant = platform.tenant()
    async with platform.api(tenant) as api:
        for n in range(5):
            await published(api, f"kept-{n}")
        await platform.settled()
        await asyncio.to_thread(
            postgres_says, platform, "pg_dump", "--format=custom", f"--file={dump}", "catalog"
        )
        for n in range(8):
            await published(api, f"lost-{n}")
        await platform.settled()
        await dropped(platform, "catalog")
        await asyncio.to_thread(postgres_says, platform, "pg_restore", "--dbname=catalog", str(dump))
        for n in range(3):
            await until(api, "POST", "/api/catalog/courses", json={**COURSE, "slug": f"new-{n}"})
        async with asyncio.timeout(60):
            while red(platform) != {"enrollment", "assessment", "analytics"}:
                await asyncio.sleep(0.2)
        told = await asyncio.to_thread(typed, "./lyceum reconcile --yes", platform)
    assert "done: feed catalog" in told
    assert "was handled here and is not in the ledger" in told
    await platform.settled()
    assert not red(platform)
    assert await counted(platform) == {feed: (head, head) for feed, head in heads(platform).items()}
    assert "Everything agrees" in await asyncio.to_thread(typed, "./lyceum reconcile", platform)


def postgres_says(platform: Platform, program: str, *arguments: str) -> None:
    config = platform.config
    address = ["--host=127.0.0.1", f"--port={config.ports['postgres']}", f"--username={postgres.SUPERUSER}"]
    ran = subprocess.run(
        [str(postgres.binaries(cache_folder()) / program), *address, *arguments],
        env=postgres.environment() | {"PGPASSWORD": config.secrets.postgres},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr


async def dropped(platform: Platform, service: str) -> None:
    """An empty database in its place."""
    config = platform.config
    account = postgres.Account(service, config.secrets.owners[service], config.secrets.databases[service])
    admin = await postgres.connect(config.postgres_url)
    await admin.execute(f'DROP DATABASE "{service}" WITH (FORCE)')
    await postgres.create_database(admin, config.postgres_url, account)
    await admin.close()


def red(platform: Platform) -> set[str]:
    """The services that stand somewhere."""
    return {
        service
        for service, report in platform.reports().items()
        if any(consumer["alarm"].startswith("red:") for consumer in report["consumers"])
    }


async def all_courses(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        query = {"limit": "100", **({"after": after} if after else {})}
        page = (await api.get("/api/catalog/courses", params=query)).raise_for_status().json()
        found += page["items"]
        after = page.get("next")
        if not after:
            return found
