"""Every topic comes again, twice, and the projector is killed in the middle: the dashboards say what the ledgers say."""

# pyright: reportUnknownMemberType=false
# (confluent-kafka is annotated in part only)

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException

from lyceum_local import kafka, supervisor
from lyceum_local.postgres import with_database
from lyceum_local.testing import Platform
from lyceum_local.testing.audit import audit
from lyceum_local.testing.load import Load, prepare
from lyceum_local.testing.school import until

ENROLLED = """
    SELECT count(*) AS enrolled, count(*) FILTER (WHERE state = 'completed') AS completed,
           count(*) FILTER (WHERE state = 'withdrawn') AS withdrawn,
           count(*) FILTER (WHERE state = 'active' AND due_at < now()) AS overdue,
           count(*) FILTER (WHERE mandatory AND state <> 'withdrawn') AS obligations,
           count(*) FILTER (WHERE mandatory AND (state = 'completed' OR state = 'active'
             AND coalesce(due_at >= now(), true))) AS met
    FROM (SELECT *, EXISTS (SELECT FROM grounds g WHERE g.tenant = e.tenant
            AND g.enrollment_id = e.enrollment_id AND g.kind IN ('rule', 'path', 'manual')) AS mandatory
          FROM enrollments e WHERE tenant = $1 AND ($2::uuid[] IS NULL OR person_id = ANY ($2))) AS mine"""
GRADED = """
    SELECT count(*) AS graded, count(*) FILTER (WHERE state = 'passed') AS passed, sum(score) AS points
    FROM attempts WHERE tenant = $1 AND kind = 'quiz' AND state IN ('passed', 'failed')"""
CERTIFIED = "SELECT count(*) FROM certificates WHERE tenant = $1 AND revoked_at IS NULL"
STARTED = """
    SELECT module_id, count(DISTINCT enrollment_id) AS started,
           count(DISTINCT enrollment_id) FILTER (WHERE state IN ('completed', 'passed')) AS completed
    FROM attempts WHERE tenant = $1 AND state <> 'launched' GROUP BY module_id"""


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.faults)])
async def test_topics_that_come_again_and_a_projector_that_dies_change_no_number(
    breakable: Platform, times: int
) -> None:
    load = await prepare(breakable)
    async with load.running(hires=10, learners=3):
        await load.until(lambda it: sum(p.passed for p in it.learners.values()) > 2)
        for _ in range(times):
            async with nobody_projects(breakable):
                await forget_offsets(breakable)
            await load.more_hired(15)
            await kill(breakable, "analytics")  # in the middle of what comes again
    await load.deliver_rest()
    await breakable.settled()
    assert await audit(breakable.config) == []
    assert await dashboards(load) == await ledgers(load)


@asynccontextmanager
async def nobody_projects(platform: Platform) -> AsyncGenerator[None]:
    async with asyncio.timeout(60), platform.http() as http:
        while (await http.get("/api/analytics/readyz")).status_code != 200:
            await asyncio.sleep(0.1)
    keeper = platform.part("supervisor")
    keeper.suspend()  # or it would start analytics again
    try:
        platform.part("analytics").kill()
        yield
    finally:
        keeper.resume()


async def kill(platform: Platform, part: str) -> None:
    """As soon as it runs: after a death the supervisor starts a part again, each time a little later."""

    async def running() -> psutil.Process | None:
        state = next(s for s in supervisor.read_run(platform.config.data) if s.name == part)
        return supervisor.living(state.pid, state.born)

    process = await until(running, lambda found: found is not None, seconds=60)
    assert process
    process.kill()


async def forget_offsets(platform: Platform) -> None:
    """The group has read nothing yet. Refused until the broker has noticed that its member is gone."""
    config = platform.config
    client = kafka.admin(config.ports["kafka"], config.secrets.kafka_admin)
    end = time.monotonic() + 30
    while True:
        try:
            await asyncio.to_thread(client.delete_consumer_groups(["analytics"])["analytics"].result)
            return
        except KafkaException as e:
            if e.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                return
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.2)


async def dashboards(load: Load) -> dict[str, Any]:
    async with load.platform.api(load.tenant) as api:

        async def ask(path: str) -> Any:
            return (await api.get(f"/api/analytics/{path}")).raise_for_status().json()

        overview = await ask("overview")
        by_department = {
            metric: {
                row["key"]: row["value"] for row in (await ask(f"metrics/{metric}?by=department"))["rows"]
            }
            for metric in ("enrolled", "completed", "compliance")
        }
        drop_off = await ask(f"courses/{load.course_id}/drop-off")
    del overview["as_of"]
    modules = {m["module_id"]: (m["started"], m["completed"]) for m in drop_off["modules"]}
    return {"overview": overview, "departments": by_department, "modules": modules}


async def ledgers(load: Load) -> dict[str, Any]:
    """The same numbers by SQL over what the services wrote in the transactions of their events."""
    tenant = load.tenant.tenant_id
    departments: dict[str, list[str]] = {}
    for row in await sql(
        load, "identity", "SELECT department, person_id FROM people WHERE tenant = $1", tenant
    ):
        departments.setdefault(row["department"] or "", []).append(row["person_id"])
    [every] = await sql(load, "enrollment", ENROLLED, tenant, None)
    [graded] = await sql(load, "assessment", GRADED, tenant)
    [certified] = await sql(load, "assessment", CERTIFIED, tenant)
    of = {
        name: (await sql(load, "enrollment", ENROLLED, tenant, ids))[0] for name, ids in departments.items()
    }
    of = {name: row for name, row in of.items() if row["enrolled"]}
    return {
        "overview": {name: every[name] for name in ("enrolled", "completed", "withdrawn", "overdue")}
        | {
            "compliance": every["met"] / every["obligations"],
            "pass_rate": graded["passed"] / graded["graded"],
            "average_score": graded["points"] / graded["graded"],
            "certificates": certified["count"],
        },
        "departments": {
            "enrolled": {name: row["enrolled"] for name, row in of.items()},
            "completed": {name: row["completed"] for name, row in of.items()},
            "compliance": {name: row["met"] / row["obligations"] for name, row in of.items()},
        },
        "modules": {
            row["module_id"]: (row["started"], row["completed"])
            for row in await sql(load, "assessment", STARTED, tenant)
        },
    }


async def sql(load: Load, service: str, query: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(with_database(load.platform.config.postgres_url, service))
    try:
        return await connection.fetch(query, *values)
    finally:
        await connection.close()
