"""docs/guides/call-from-your-service.md: its examples run as they stand there, against the real platform."""

import asyncio
import json
import os
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from lyceum.analytics.v1.analytics_service_pb2 import GetOverviewRequest
from lyceum.enrollment.v1.enrollment_service_pb2 import GetEnrollmentRequest
from lyceum_client import Credential, Lyceum, TokenRefused
from lyceum_local.paths import SERVICES
from lyceum_local.testing import Platform

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "guides" / "call-from-your-service.md").read_text()
PYTHON = re.findall(r"```python\n(.+?)```", PAGE, re.S)
SHELL = re.findall(r"```sh\n(.+?)```", PAGE, re.S)

Run = Callable[..., Awaitable[str]]


@pytest.fixture
def run(platform: Platform, organisation: Any) -> Run:
    """An example of the page, with what its table says you need; what it prints."""
    config, ids = platform.config, organisation.ids
    needed = {
        "LYCEUM_URL": config.app_origin,
        "LYCEUM_GRPC": f"127.0.0.1:{config.grpc_port('enrollment')}",
        "LYCEUM_ANALYTICS_GRPC": f"127.0.0.1:{config.grpc_port('analytics')}",
        "LYCEUM_CLIENT_ID": organisation.tenant.client_id,
        "LYCEUM_CLIENT_SECRET": organisation.tenant.client_secret,
        "LYCEUM_SERVICE_ID": "analytics",
        "LYCEUM_SERVICE_SECRET": config.secrets.clients["analytics"],
        "COURSE": ids["course"],
        "TENANT": ids["tenant"],
        "CERTIFICATE": ids["certificate"],
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    async def run(*command: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=ROOT,
            env=os.environ | needed | {"PATH": path},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return out.decode()

    return run


async def test_names_and_reasons_are_printed(run: Run, organisation: Any) -> None:
    lines = (await run(sys.executable, "-c", PYTHON[0])).splitlines()
    assert len(lines) == 8  # people of the organisation, of whom one left and has no reason any more
    assert sum(organisation.ids["department"] in line for line in lines) == 7
    assert organisation.ids["name"] in {line.partition(": ")[0] for line in lines}


async def test_a_feed_is_read(run: Run, platform: Platform, organisation: Any) -> None:
    printed = (await run(sys.executable, "-c", PYTHON[1])).splitlines()
    async with platform.api(organisation.tenant) as api:
        answer = await api.get("/api/enrollment/enrollments", params={"state": "completed", "limit": 200})
    completed = {f"completed {e['enrollment_id']}" for e in answer.raise_for_status().json()["items"]}
    assert completed
    assert (set(printed), len(printed)) == (completed, len(completed))


async def test_a_shell_asks(run: Run, organisation: Any) -> None:
    table = json.loads(await run("sh", "-ec", SHELL[0]))
    assert {row["key"]: row["value"] for row in table["rows"]} == {organisation.ids["department"]: 16}
    verified = json.loads(await run("sh", "-ec", SHELL[1]))
    assert verified["recipientName"] == organisation.ids["name"]


def lyceum(platform: Platform, credential: Credential) -> Lyceum:
    config = platform.config
    at = {service: f"127.0.0.1:{config.grpc_port(service)}" for service in SERVICES}
    return Lyceum(config.app_origin, credential, at=at)


async def test_each_list_and_what_is_refused(platform: Platform, organisation: Any) -> None:
    ids, tenant = organisation.ids, organisation.tenant
    async with lyceum(platform, Credential(tenant.client_id, tenant.client_secret)) as it:
        assert ids["person"] in {p.person_id async for p in it.people(department=ids["department"])}
        assert ids["course"] in {c.published.course_id async for c in it.courses()}
        of_person = {"person_id": ids["person"]}
        assert ids["enrollment"] in {e.enrollment_id async for e in it.enrollments(**of_person)}
        assert ids["attempt"] in {a.attempt_id async for a in it.attempts(**of_person)}
        assert [c.certificate_id async for c in it.certificates(**of_person)] == [ids["certificate"]]
        assert (await it.call(it.analytics.GetOverview, GetOverviewRequest())).certificates == 1
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await it.call(it.enrollment.GetEnrollment, GetEnrollmentRequest(enrollment_id="?"))
        assert unknown.value.code() == grpc.StatusCode.NOT_FOUND
        with pytest.raises(grpc.aio.AioRpcError) as not_a_service:
            await it.heads("enrollment")
        assert not_a_service.value.code() == grpc.StatusCode.PERMISSION_DENIED
    async with lyceum(platform, Credential(tenant.client_id, "guessed")) as stranger:
        with pytest.raises(TokenRefused, match="401"):
            await stranger.call(stranger.analytics.GetOverview, GetOverviewRequest())


async def test_reading_on_gives_what_came_meanwhile_and_nothing_twice(
    platform: Platform, organisation: Any
) -> None:
    secret = platform.config.secrets.clients["analytics"]
    async with lyceum(platform, Credential("analytics", secret)) as it:
        heads = await it.heads("identity")
        partition = heads.index(max(heads))
        seen = [e async for e in it.events("identity", partition)]
        assert [e.number for e in seen] == list(range(1, len(seen) + 1))
        half = seen[len(seen) // 2]
        again = [e async for e in it.events("identity", partition, half.after)]
        assert [e.id for e in again][: len(seen) - half.number] == [e.id for e in seen][half.number :]
