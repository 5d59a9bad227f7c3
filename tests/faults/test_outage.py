"""Kafka or PostgreSQL is away for a while: what was answered 2xx is there, the rest was refused clearly, all catch up."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest

from lyceum_local.postgres import Throwaway
from tests.faults.stage import CONSUMER, PRODUCER, Node, Stage, eventually, readiness

KEYS = [f"k{n}" for n in range(25)]
A_SECOND = 50  # events


@dataclass
class Load:
    """Fifty writes a second by HTTP, each asked once, as clients with a deadline do."""

    stage: Stage
    producer: Node
    acknowledged: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))
    answers: Counter[int] = field(default_factory=Counter[int])
    stopped: bool = False

    async def run(self) -> None:
        headers = {"Authorization": f"Bearer {self.stage.token('service', tenant=self.stage.tenant)}"}
        async with httpx.AsyncClient(
            base_url=f"{self.producer.http}/api/identity", headers=headers, timeout=30
        ) as http:
            await asyncio.gather(*(self._write(http, key) for key in KEYS))

    async def _write(self, http: httpx.AsyncClient, key: str) -> None:
        while not self.stopped:
            await asyncio.sleep(len(KEYS) / A_SECOND)
            answer = await http.post("/units", json={"key": key, "seq": self.acknowledged[key] + 1})
            self.answers[answer.status_code] += 1
            if answer.status_code == 201:
                assert answer.json()["version"] == self.acknowledged[key] + 1
                self.acknowledged[key] += 1
            else:
                assert answer.status_code == 503, answer.text
                assert int(answer.headers["retry-after"]) > 0

    async def settle(self, task: asyncio.Task[None]) -> None:
        """Everything that was acknowledged has its effect; nothing else has."""
        self.stopped = True
        await task
        await self.stage.caught_up(seconds=60)
        effects = await self.stage.effects()
        for key in KEYS:
            assert effects[key] == list(range(1, len(effects[key]) + 1))
            # One more at most: committed, and its answer was a 503 all the same.
            assert 0 <= len(effects[key]) - self.acknowledged[key] <= 1, key
        assert await self.stage.parked() == []


@pytest.mark.parametrize("seconds", [0, pytest.param(60, marks=pytest.mark.faults)])
async def test_a_frozen_broker_delays_and_loses_nothing(stage: Stage, seconds: float) -> None:
    producer, consumer = stage.start(PRODUCER), stage.start(CONSUMER)
    await stage.ready(producer)
    await stage.ready(consumer)
    load = Load(stage, producer)
    loading = asyncio.create_task(load.run())
    await _all_write(load)
    stage.wire.broker.freeze()
    try:
        await _turns(producer, ready=False, seconds=30)
        await asyncio.sleep(seconds)
    finally:
        stage.wire.broker.thaw()
    await _turns(producer, ready=True, seconds=30)
    await load.settle(loading)
    assert set(load.answers) == {201}  # the ledger alone decides whether a write is taken


@pytest.mark.parametrize("seconds", [3, pytest.param(20, marks=pytest.mark.faults)])
async def test_a_postgres_that_restarts_delays_and_loses_nothing(
    stage: Stage, postgres_server: Throwaway, seconds: float
) -> None:
    if stage.server_url != postgres_server.url:
        pytest.skip("the PostgreSQL of LYCEUM_TEST_POSTGRES is not ours to restart")
    for service in (PRODUCER, CONSUMER):  # as everywhere but in tests: a commit waits for the log
        role = stage.databases[service].role
        await stage.sql(service, f'ALTER DATABASE "{role}" SET synchronous_commit = on')
    producer, consumer = stage.start(PRODUCER), stage.start(CONSUMER)
    await stage.ready(producer)
    await stage.ready(consumer)
    load = Load(stage, producer)
    loading = asyncio.create_task(load.run())
    await _all_write(load)
    postgres_server.stop()
    try:
        await _turns(producer, ready=False, seconds=10)
        await _turns(consumer, ready=False, seconds=10)
        await asyncio.sleep(seconds)
    finally:
        postgres_server.start()
    await _turns(producer, ready=True, seconds=30)
    await _turns(consumer, ready=True, seconds=30)
    before = sum(load.acknowledged.values())

    async def writing_again() -> bool:
        return sum(load.acknowledged.values()) > before + A_SECOND

    await eventually(writing_again, seconds=20, what="writes are taken again")
    await load.settle(loading)
    assert set(load.answers) == {201, 503}


async def _all_write(load: Load) -> None:
    async def every_key() -> bool:
        return min(load.acknowledged.values()) > 1

    await eventually(every_key, seconds=20, what="every key was written")


async def _turns(node: Node, *, ready: bool, seconds: float) -> None:
    async def turned() -> bool:
        return await readiness(node) == (200 if ready else 503)

    await eventually(turned, seconds=seconds, what=f"{node.service} is {'ready' if ready else 'not ready'}")
