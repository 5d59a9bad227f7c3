"""`lyceum doctor --url` of a real installation: all well; and what is planted is found, with what to do about it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import asyncpg

from lyceum_local.postgres import with_database
from lyceum_local.testing import Platform

PARKED = """
    INSERT INTO parked (consumer, feed, partition, position, generation, kind, tenant, key, event_id, type,
      header_names, header_values, body, reason, tries)
    VALUES ('enrollment', 'identity', 0, 1, 1, 'failed', gen_random_uuid()::text, 'planted', gen_random_uuid()::text,
      'lyceum.identity.v1.UserUpdated', '{}', '{}', '', 'planted', 5)"""


class Doctor:
    """The command, as an operator far away gives it."""

    def __init__(self, platform: Platform, client: str = "operator", secret: str = "") -> None:
        self._platform = platform
        self._client = client
        self._secret = secret or platform.config.secrets.clients["operator"]

    async def says(self) -> tuple[int, str]:
        command = [Path(sys.executable).with_name("lyceum"), "doctor"]
        options = ["--url", self._platform.config.app_origin, "--client-id", self._client]
        env = os.environ | {"LYCEUM_CLIENT_SECRET": self._secret}
        ran = await asyncio.to_thread(
            subprocess.run, [*command, *options], env=env, capture_output=True, text=True, check=False
        )
        assert not ran.stderr
        return ran.returncode, ran.stdout

    async def until(self, found: Callable[[set[str]], bool]) -> str:
        """What it says once it finds that wrong."""
        async with asyncio.timeout(90):
            while True:
                _, said = await self.says()
                if found(wrong(said)):
                    return said


def wrong(said: str) -> set[str]:
    return {line[4:].partition(":")[0] for line in said.splitlines() if line.startswith("bad ")}


async def test_all_is_well_and_a_parked_event_is_not(platform: Platform) -> None:
    await platform.settled()
    doctor = Doctor(platform)
    code, said = await doctor.says()
    assert (code, wrong(said)) == (0, set()), said
    for what in ("clock", "versions", "analytics ready", "enrollment consumer", "identity relay"):
        assert f"ok  {what}: " in said
    connection = await asyncpg.connect(with_database(platform.config.postgres_url, "enrollment"))
    try:
        await connection.execute(PARKED)
        code, said = await doctor.says()
        assert (code, wrong(said)) == (1, {"enrollment parked"})
        assert "→ ./lyceum parked list" in said
    finally:
        await connection.execute("DELETE FROM parked WHERE key = 'planted'")
        await connection.close()


async def test_who_is_no_operator_is_told_so(platform: Platform) -> None:
    body = {"name": "reads", "roles": ["reader"], "tenant_slug": platform.tenant().slug}
    reader = platform.operator.call("POST", "/api/identity/clients", body)
    for client, secret, what in (
        ("operator", "guessed", "operator"),
        (reader["client_id"], reader["client_secret"], "identity feeds"),
    ):
        code, said = await Doctor(platform, client, secret).says()
        assert code == 1
        assert what in wrong(said), said


async def test_kafka_that_stands_and_analytics_that_is_gone_are_found(breakable: Platform) -> None:
    kafka, supervisor = breakable.part("kafka"), breakable.part("supervisor")
    supervisor.suspend()  # or it would start again what is gone
    kafka.suspend()
    try:
        breakable.part("analytics").kill()
        breakable.tenant()  # events that go nowhere
        said = await Doctor(breakable).until(lambda it: {"analytics ready", "identity relay"} <= it)
        assert "lyceumeventsunsent" in said or "lyceumrelaystands" in said
    finally:
        kafka.resume()
        supervisor.resume()
    await breakable.settled()
    assert wrong((await Doctor(breakable).says())[1]) == set()
