"""The story over PostgreSQL, Kafka and ClickHouse from their makers' images. `./lyceum test --containers`; where Docker cannot
give an image, skipped with what it says.
"""

from collections.abc import Iterator

import pytest

from lyceum_local.testing import Platform
from lyceum_local.testing.audit import audit
from lyceum_local.testing.containers import NoContainers, over_containers
from lyceum_local.testing.load import prepare
from lyceum_local.testing.school import play

pytestmark = pytest.mark.containers


@pytest.fixture(scope="module")
def contained() -> Iterator[Platform]:
    try:
        with over_containers() as made:
            yield made
    except NoContainers as e:
        pytest.skip(str(e))


async def test_the_story_is_played(contained: Platform) -> None:
    await play(contained)
    assert await audit(contained.config) == []


async def test_what_was_answered_under_load_is_there_once(contained: Platform) -> None:
    load = await prepare(contained)
    async with load.running(hires=20, learners=2):
        await load.until(lambda it: len(it.hired) > 100 and any(p.passed for p in it.learners.values()))
    await load.deliver_rest()
    await contained.settled()
    assert [*load.broken, *await audit(contained.config), *await load.discrepancies()] == []
