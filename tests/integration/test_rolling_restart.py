"""A new version replaces one replica after the other under load: no request fails, no event is lost or doubled."""

import signal

import pytest

from lyceum_local.testing import Platform
from lyceum_local.testing.load import TAKEN
from lyceum_local.testing.replicas import under_load


async def test_a_replica_of_everything_is_replaced_and_no_request_fails(breakable: Platform) -> None:
    async with under_load(breakable) as (cluster, load):
        for replicas in cluster.services.values():
            await replicas[0].restart()
        assert load.answers.keys() <= TAKEN, load.refused
        # The control: who ends without a word, fails requests. (And even so nothing is lost.)
        identity = cluster.services["identity"][0]
        await identity.stop(signal.SIGKILL)
        await load.until(lambda it: not it.answers.keys() <= TAKEN)
        identity.start()
        await cluster.ready()


@pytest.mark.faults
@pytest.mark.parametrize("service", ["identity", "catalog", "enrollment", "assessment"])
async def test_twenty_restarts_of_each_service(breakable: Platform, service: str) -> None:
    async with under_load(breakable) as (cluster, load):
        for turn in range(20):
            await cluster.services[service][turn % 2].restart()
        assert load.answers.keys() <= TAKEN, load.refused
