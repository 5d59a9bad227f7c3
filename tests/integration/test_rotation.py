"""Keys and certificates are replaced under load: no request fails, no event is lost or doubled."""

import asyncio
import signal
from pathlib import Path

import pytest
from joserfc import jws

from lyceum_local.paths import LEDGER_SERVICES, SERVICES
from lyceum_local.remote import PlatformError
from lyceum_local.testing import Platform, free_port
from lyceum_local.testing.authority import Authority
from lyceum_local.testing.load import TAKEN, Load
from lyceum_local.testing.replicas import under_load
from lyceum_local.testing.school import until
from lyceum_local.testing.tls_kafka import Users

LATE = "assessment"


@pytest.mark.faults
async def test_keys_are_changed_under_load(breakable: Platform) -> None:
    """The key of access tokens, which signs two minutes after it was announced, and the secret of HR's webhook."""

    async def signs(load: Load) -> str:
        async with load.signed_in(next(iter(load.learners.values()))) as http:
            token = http.headers["authorization"].removeprefix("Bearer ")
        return str(jws.extract_compact(token.encode()).headers()["kid"])

    async with under_load(breakable, hires=5) as (_, load):
        await load.until(lambda it: bool(it.learners))
        before = await signs(load)
        hook = load.webhook_url.rpartition("/")[2]
        rotation = {"tenant_slug": load.tenant.slug, "overlap_hours": 1}

        def change() -> tuple[str, str]:
            operator = breakable.operator
            key = operator.call("POST", "/api/identity/keys/rotate")
            renewed = operator.call("POST", f"/api/identity/webhooks/{hook}/rotate", rotation)
            return key["kid"], renewed["secret"]

        announced, secret = await asyncio.to_thread(change)
        await load.more_hired(20)  # by the secret before, which stays good for an hour
        load.webhook_secret = secret
        await until(lambda: signs(load), lambda kid: kid == announced != before, seconds=240)
        assert load.answers.keys() <= TAKEN, load.refused


@pytest.mark.faults
async def test_certificates_of_kafka_users_are_replaced_under_load(
    own_platform: Platform, tmp_path: Path
) -> None:
    """With the authority behind them, in the order of docs/operations/security.md. The control is who still shows the
    old certificate when the broker trusts its authority no more: what it has to say waits until its own is replaced.

    That new ones are shown, a broker sees that starts anew. It is the only one here: where that takes it more than ten
    seconds, readiness says so, and requests are answered 503 with when to come again."""
    old, new = Authority("old"), Authority("new")
    both = old.pem + new.pem
    users = Users(tmp_path, free_port(), free_port(), shown=old.issue("broker"), trusted=both)
    for service in SERVICES:
        users.give(service, old.issue(service), both)

    def late() -> set[str]:
        """Whose events wait for Kafka. Waiting for long it is not ready, and then nobody is asked."""
        operator = own_platform.operator
        told = {service: operator.try_get(f"/api/{service}/system/feeds") for service in LEDGER_SERVICES}
        return {s for s, it in told.items() if not it or it["relay"]["outbox"] + it["relay"]["unsent"] >= 10}

    async def are_late() -> set[str]:
        try:
            return await asyncio.to_thread(late)
        except PlatformError:  # nor is identity
            return {*LEDGER_SERVICES}

    async with under_load(own_platform, hires=10, users=users) as (cluster, load):
        for service in SERVICES:
            if service != LATE:
                users.give(service, new.issue(service), both)
        await load.more_hired(20)
        users.shown, users.trusted = new.issue("broker"), new.pem
        assert load.answers.keys() <= TAKEN, load.refused
        await cluster.kafka.stop(signal.SIGKILL)
        await asyncio.to_thread(cluster.kafka.start)

        await until(are_late, lambda services: services == {LATE}, seconds=90)
        users.give(LATE, new.issue(LATE), new.pem)
        await until(are_late, lambda services: not services, seconds=90)
