"""A new version replaces one replica after the other under load: no request fails, no event is lost or doubled."""

import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from lyceum_local.testing import Platform
from lyceum_local.testing.audit import audit
from lyceum_local.testing.load import Load, prepare
from lyceum_local.testing.replicas import Cluster, replicated

TAKEN = {"200", "201", "202", "204"}


@asynccontextmanager
async def under_load(platform: Platform) -> AsyncGenerator[tuple[Cluster, Load]]:
    async with replicated(platform) as cluster:
        load = await prepare(platform)
        async with load.running(hires=40, learners=2):
            await load.until(lambda it: len(it.hired) > 10)
            yield cluster, load
            hired = len(load.hired)
            await load.until(lambda it: len(it.hired) > hired + 10)
        await load.deliver_rest()
        await platform.settled()
        assert [*load.broken, *await audit(platform.config), *await load.discrepancies()] == []


async def test_a_replica_of_everything_is_replaced_and_no_request_fails(breakable: Platform) -> None:
    async with under_load(breakable) as (cluster, load):
        for replicas in cluster.services.values():
            await replicas[0].restart()
        assert load.answers.keys() <= TAKEN
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
        assert load.answers.keys() <= TAKEN
