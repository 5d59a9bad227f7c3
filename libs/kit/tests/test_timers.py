"""What is due runs once, a few at a time, together with what it does; what fails is tried again and holds nobody up."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest
from sqlalchemy import text

from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.timers import AT_ONCE, GIVE_UP_AFTER, Timer, Timers

TENANT = uuid4()
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


class Clock:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(ledger: Ledger) -> Clock:
    ledger.clock = Clock()
    return ledger.clock


async def set_timers(ledger: Ledger, *keys: str, at: datetime = NOON) -> None:
    async def ask(tx: Tx) -> None:
        for key in keys:
            tx.set_timer("ring", key, at, {"bell": key})

    await ledger.run(TENANT, ask)


async def note(tx: Tx, what: str) -> None:
    await tx.conn.execute(
        text("INSERT INTO effects (tenant, what) VALUES (:tenant, :what)"),
        {"tenant": tx.tenant, "what": what},
    )


async def noted(ledger: Ledger) -> list[str]:
    async with ledger.read(TENANT) as conn:
        return sorted((await conn.execute(text("SELECT what FROM effects"))).scalars())


async def ring(tx: Tx, timer: Timer) -> None:
    await note(tx, timer.payload["bell"])


async def test_what_is_due_runs_once(ledger: Ledger, clock: Clock) -> None:
    await set_timers(ledger, *(f"{n:02}" for n in range(20)))
    await set_timers(ledger, "later", at=NOON + timedelta(hours=1))
    here, there = Timers(ledger, {"ring": ring}), Timers(ledger, {"ring": ring})
    await asyncio.gather(here.run_due(), there.run_due())  # as two processes
    assert await noted(ledger) == [f"{n:02}" for n in range(20)]
    assert (await here.status())["pending"] == 1
    clock.now += timedelta(hours=1)
    await here.run_due()
    assert (await noted(ledger))[-1] == "later"


async def test_timers_of_what_is_new_run_like_others_and_replace_none(ledger: Ledger, clock: Clock) -> None:
    async def begin(tx: Tx, *keys: str) -> None:
        tx.set_new_timers("ring", NOON, keys)
        tx.set_new_timers("ring", NOON + timedelta(hours=1), [f"{key}-later" for key in keys])
        tx.set_new_timers("ring", NOON, [f"{key}-too" for key in keys])

    async def ring_key(tx: Tx, timer: Timer) -> None:
        assert not timer.payload
        await note(tx, timer.key)

    await ledger.run(TENANT, begin, "a", "b")
    timers = Timers(ledger, {"ring": ring_key})
    await timers.run_due()
    assert await noted(ledger) == ["a", "a-too", "b", "b-too"]
    with pytest.raises(asyncpg.UniqueViolationError):
        await ledger.run(TENANT, begin, "c", "b")
    clock.now += timedelta(hours=1)
    await timers.run_due()
    assert await noted(ledger) == ["a", "a-later", "a-too", "b", "b-later", "b-too"]


async def test_some_run_at_once(ledger: Ledger, clock: Clock) -> None:
    together = asyncio.Barrier(AT_ONCE)

    async def meet(tx: Tx, timer: Timer) -> None:
        if timer.key != "first":  # which is run alone, to see whether there is anything to do
            async with asyncio.timeout(10):
                await together.wait()
        await ring(tx, timer)

    await set_timers(ledger, "first", at=NOON - timedelta(minutes=1))
    await set_timers(ledger, *(str(n) for n in range(AT_ONCE)))
    await Timers(ledger, {"ring": meet}).run_due()
    assert len(await noted(ledger)) == 1 + AT_ONCE
    assert clock.now == NOON


async def test_one_that_sets_itself_anew_runs_again(ledger: Ledger, clock: Clock) -> None:
    async def count(tx: Tx, timer: Timer) -> None:
        await ring(tx, timer)
        left = int(timer.payload["bell"]) - 1
        if left:
            tx.set_timer("ring", timer.key, clock.now, {"bell": str(left)})

    await set_timers(ledger, "3")
    await Timers(ledger, {"ring": count}).run_due()
    assert await noted(ledger) == ["1", "2", "3"]


async def test_one_that_fails_leaves_nothing_and_is_tried_ever_less_often(
    ledger: Ledger, clock: Clock
) -> None:
    tried = 0

    async def crack(tx: Tx, timer: Timer) -> None:
        nonlocal tried
        await ring(tx, timer)
        if timer.key == "cracked":
            tried += 1
            raise RuntimeError("no sound")

    await set_timers(ledger, "cracked", "whole")
    timers = Timers(ledger, {"ring": crack})
    await timers.run_due()
    assert await noted(ledger) == ["whole"]
    for tries in range(1, GIVE_UP_AFTER + 3):
        assert tried == min(tries, GIVE_UP_AFTER)
        await timers.run_due()  # too early
        assert tried == min(tries, GIVE_UP_AFTER)
        clock.now += timedelta(seconds=min(2**tries, 300))
        await timers.run_due()
    assert await timers.status() == {"pending": 1, "late": 0, "failed": 1}
    async with ledger.engine.connect() as conn:
        assert await conn.scalar(text("SELECT error FROM timers")) == "RuntimeError: no sound"


async def test_an_outage_is_told_and_is_no_try(ledger: Ledger, clock: Clock) -> None:
    away = True

    async def call(tx: Tx, timer: Timer) -> None:
        if timer.key == "far" and away:
            raise ConnectionResetError
        await ring(tx, timer)

    await set_timers(ledger, "near", at=NOON - timedelta(minutes=1))
    await set_timers(ledger, "far", at=clock.now)
    timers = Timers(ledger, {"ring": call})
    for _ in range(GIVE_UP_AFTER + 1):
        with pytest.raises(ConnectionResetError):
            await timers.run_due()
    assert await noted(ledger) == ["near"]
    away = False
    await timers.run_due()
    assert await noted(ledger) == ["far", "near"]
