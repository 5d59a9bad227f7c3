"""The overlay `dev` on a real cluster: from nothing to green, the story, and faults under load. `./lyceum test --k8s`.

Wants KUBECONFIG, and the images of `./lyceum images build` where the cluster finds them. LYCEUM_TEST_NAMESPACE names a namespace
that is kept, and found again.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager

import pytest

from lyceum_local.paths import LEDGER_SERVICES
from lyceum_local.testing.audit import audit
from lyceum_local.testing.kubernetes import Cluster, applied
from lyceum_local.testing.load import Load, prepare
from lyceum_local.testing.school import play

pytestmark = pytest.mark.k8s


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with applied(kept=os.environ.get("LYCEUM_TEST_NAMESPACE", "")) as made:
        yield made


@asynccontextmanager
async def under_load(cluster: Cluster) -> AsyncGenerator[Load]:
    """People are hired and learn meanwhile; afterwards everything is there, once, and the ledgers agree."""
    load = await prepare(cluster.platform)
    async with load.running(hires=4, learners=2):
        await load.until(lambda it: len(it.hired) > 5 and any(p.kept for p in it.learners.values()))
        yield load
        await load.more_hired(5)
    await load.deliver_rest()
    await asyncio.to_thread(cluster.reach)
    await cluster.platform.settled(seconds=300)
    assert [*load.broken, *await audit(cluster.platform.config), *await load.discrepancies()] == []


async def test_the_story_is_played_through_the_services(cluster: Cluster) -> None:
    await play(cluster.platform)
    assert await audit(cluster.platform.config) == []


async def test_every_pod_holds_to_the_restricted_standard(cluster: Cluster) -> None:
    """The namespace enforces it, so no pod would be there otherwise. The control: another is refused."""
    refused = ["run", "root", "--image=lyceum/parts:dev", "--restart=Never"]
    with pytest.raises(Exception, match='violates PodSecurity "restricted'):
        await asyncio.to_thread(cluster.kubectl, *refused)


async def test_every_deployment_is_restarted_under_load(cluster: Cluster) -> None:
    async with under_load(cluster):
        for name in cluster.deployments():
            await asyncio.to_thread(cluster.restart, name)


async def test_consumers_are_scaled_under_load(cluster: Cluster) -> None:
    async with under_load(cluster):
        for replicas in (3, 1, 2):
            for service in LEDGER_SERVICES:
                await asyncio.to_thread(cluster.scale, f"deployment/{service}-consume", replicas)


async def test_kafka_loses_its_pod_and_its_volume_under_load(cluster: Cluster) -> None:
    async with under_load(cluster):
        await asyncio.to_thread(cluster.scale, "statefulset/kafka", 0)
        await asyncio.to_thread(cluster.kubectl, "delete", "persistentvolumeclaim", "data-kafka-0")
        await asyncio.to_thread(cluster.scale, "statefulset/kafka", 1)
        await asyncio.to_thread(cluster.ready)
