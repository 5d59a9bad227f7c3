"""Group commit: many commands in one transaction, each as if it were alone."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from lyceum.identity.v1.events_pb2 import OrgUnitCreated
from lyceum_kit import appending, telemetry
from lyceum_kit.appending import Origin
from lyceum_kit.delivery import emitted
from lyceum_kit.errors import Conflict, Refused
from lyceum_kit.group import Group
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.testing import spans

TENANT = uuid4()


async def create(tx: Tx, name: str) -> str:
    tx.append(f"org-unit/{name}", [OrgUnitCreated(org_unit_id=name, code="x")], expected=0)
    return name


async def extend(tx: Tx, stream: str, name: str) -> int:
    """Load, decide, append: what a race would tear."""
    there = await tx.load(stream)
    tx.append(stream, [OrgUnitCreated(org_unit_id=name, code="x")], expected=there.version)
    return there.version + 1


async def effect(tx: Tx, what: str) -> None:
    await tx.conn.execute(
        text("INSERT INTO effects (tenant, what) VALUES (:t, :w)"), {"t": tx.tenant, "w": what}
    )


async def refuse(tx: Tx, what: str) -> None:
    await effect(tx, what)
    raise Refused("no")


async def transactions(ledger: Ledger, tenant: UUID) -> int:
    """In how many transactions the tenant's events were written."""
    async with ledger.read(tenant) as conn:
        return (await conn.execute(text("SELECT count(DISTINCT xmin::text) FROM events"))).scalar_one()


async def test_commands_that_arrive_together_are_committed_together(ledger: Ledger) -> None:
    group = Group(ledger)
    names = [f"u{n}" for n in range(100)]
    assert await asyncio.gather(*(group.run(TENANT, create, n) for n in names)) == names
    assert len(await emitted(ledger, TENANT)) == 100
    assert await transactions(ledger, TENANT) == 1


async def test_a_crowd_that_was_answered_together_is_waited_for(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    group, tenant = Group(ledger), uuid4()
    monkeypatch.setattr("lyceum_kit.group.LINGER", 30)
    async with asyncio.timeout(10):
        await group.run(tenant, create, "alone")  # there was none: nobody is waited for
        await asyncio.gather(*(group.run(tenant, create, f"first {n}") for n in range(3)))
        early = [asyncio.create_task(group.run(tenant, create, f"again {n}")) for n in range(2)]
        await other_work(ledger)
        assert not any(task.done() for task in early)
        await asyncio.gather(*early, group.run(tenant, create, "again, and the last"))
    assert await transactions(ledger, tenant) == 3
    monkeypatch.setattr("lyceum_kit.group.LINGER", 0.001)
    assert await group.run(tenant, create, "the only one who comes again") == "the only one who comes again"


async def other_work(ledger: Ledger) -> None:
    """Longer than a command takes that waits for nobody."""
    for _ in range(5):
        await ledger.run(uuid4(), create, "elsewhere")


async def test_each_sees_what_those_before_it_appended(ledger: Ledger) -> None:
    group, tenant = Group(ledger), uuid4()
    versions = await asyncio.gather(*(group.run(tenant, extend, "org-unit/a", f"n{n}") for n in range(30)))
    assert versions == list(range(1, 31))
    assert await transactions(ledger, tenant) == 1


async def test_one_that_is_refused_takes_nobody_with_it_and_leaves_nothing(ledger: Ledger) -> None:
    group, tenant = Group(ledger), uuid4()
    answers = await asyncio.gather(
        *(group.run(tenant, create, f"u{n}") for n in range(9)),
        group.run(tenant, refuse, "of the refused"),
        *(group.run(tenant, effect, f"e{n}") for n in range(9)),
        return_exceptions=True,
    )
    assert [isinstance(a, Refused) for a in answers] == [False] * 9 + [True] + [False] * 9
    assert len(await emitted(ledger, tenant)) == 9
    async with ledger.read(tenant) as conn:
        effects = (await conn.execute(text("SELECT what FROM effects"))).scalars().all()
    assert sorted(effects) == [f"e{n}" for n in range(9)]


async def move(tx: Tx, streams: tuple[str, str], command: int) -> int:
    """Appends to two streams: to both, or to neither."""
    there = await tx.load_many(streams)
    for stream in streams:
        moved = OrgUnitCreated(org_unit_id=stream, code=str(command))
        tx.append(stream, [moved], expected=there[stream].version)
    return command


@pytest.mark.parametrize("build", ["as built", "control"])
@pytest.mark.parametrize("commands", [200, pytest.param(10_000, marks=pytest.mark.faults)])
async def test_planted_conflicts_tear_no_command_and_no_stream(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, commands: int, build: str
) -> None:
    """Two processes' groups and lone commands meet on the same streams. What was acknowledged is there as a whole, what
    was refused is not there at all. The control lets a taken version pass (ON CONFLICT), as a group might to go on.
    """
    if build == "control":
        taken_lightly = appending._APPEND.replace("version\n)", "version ON CONFLICT DO NOTHING\n)")  # type: ignore[reportPrivateUsage]
        monkeypatch.setattr(appending, "_APPEND", taken_lightly)
    tenant, writers = uuid4(), [Group(ledger), Group(ledger), ledger]
    chance = random.Random(1)

    async def attempt(command: int) -> int | None:
        # Six streams at a time, and others before they are so long that reading them is all that takes time.
        first, second = (f"org-unit/{command // 500}-{n}" for n in chance.sample(range(6), 2))
        try:
            return await writers[command % 3].run(tenant, move, (first, second), command)
        except Conflict:
            return None

    answers: list[int | None] = []
    for start in range(0, commands, 50):
        answers += await asyncio.gather(*(attempt(n) for n in range(start, start + 50)))
    acknowledged = [a for a in answers if a is not None]
    assert len(acknowledged) > commands / 10
    moved = Counter(int(cast("OrgUnitCreated", e).code) for e in await emitted(ledger, tenant))
    if build == "control":
        assert any(moved[command] != 2 for command in acknowledged), "nothing torn: this run proves nothing"
        return
    assert moved == dict.fromkeys(acknowledged, 2)
    async with ledger.read(tenant) as conn:
        rows = await conn.execute(
            text("SELECT count(*) = max(version) AND min(version) = 1 AS whole FROM events GROUP BY stream")
        )
        assert all(row.whole for row in rows.all())


async def test_tenants_never_share_a_transaction(ledger: Ledger) -> None:
    group, one, other = Group(ledger), uuid4(), uuid4()
    await asyncio.gather(*(group.run(t, create, f"u{n}") for n in range(20) for t in (one, other)))
    assert (len(await emitted(ledger, one)), len(await emitted(ledger, other))) == (20, 20)


async def test_each_keeps_its_own_actor_and_trace(ledger: Ledger) -> None:
    group, tenant = Group(ledger), uuid4()
    spans()

    async def request(n: int) -> str:
        with telemetry.span(f"request {n}"):
            await group.run(tenant, create, f"u{n}", actor=f"person-{n}")
            return telemetry.current_traceparent()

    traces = await asyncio.gather(*(request(n) for n in range(5)))
    async with ledger.read(tenant) as conn:
        rows = (await conn.execute(text("SELECT actor, traceparent FROM events ORDER BY actor"))).all()
    assert [r.actor for r in rows] == [f"person-{n}" for n in range(5)]
    assert [r.traceparent.split("-")[1] for r in rows] == [t.split("-")[1] for t in traces]
    assert len({r.traceparent for r in rows}) == 5


async def test_a_handler_of_many_is_called_once_and_answers_each(ledger: Ledger) -> None:
    group, tenant = Group(ledger), uuid4()
    calls: list[list[str]] = []
    spans()

    async def create_all(tx: Tx, names: Sequence[tuple[str, Origin]]) -> list[str]:
        calls.append([name for name, _ in names])
        for name, origin in names:
            if name == "refused":
                raise Refused("no")
            created = OrgUnitCreated(org_unit_id=name, code="x")
            tx.append(f"org-unit/{name}", [created], expected=0, origin=origin)
        return [name.upper() for name, _ in names]

    async def request(name: str) -> str:
        with telemetry.span(f"request {name}"):
            return await group.run_many(tenant, create_all, (name, Origin.request("hr")), actor="hr")

    names = [f"u{n}" for n in range(9)]
    assert await asyncio.gather(*map(request, names)) == [name.upper() for name in names]
    assert calls == [names]
    async with ledger.read(tenant) as conn:
        rows = (await conn.execute(text("SELECT correlation_id, traceparent FROM events"))).all()
    assert len({r.correlation_id for r in rows}) == len({r.traceparent for r in rows}) == 9

    answers = await asyncio.gather(*map(request, ("v1", "refused", "v2")), return_exceptions=True)
    assert [a if isinstance(a, str) else type(a) for a in answers] == ["V1", Refused, "V2"]
    assert len(await emitted(ledger, tenant)) == 11


async def test_what_different_actors_do_is_not_mixed(ledger: Ledger) -> None:
    group, tenant = Group(ledger), uuid4()

    async def create_all(tx: Tx, names: Sequence[str]) -> list[str]:
        return [await create(tx, name) for name in names]

    await asyncio.gather(
        *(group.run_many(tenant, create_all, f"u{n}", actor=f"hr-{n % 2}") for n in range(6))
    )
    async with ledger.read(tenant) as conn:
        rows = await conn.execute(text("SELECT stream, actor FROM events"))
    assert {r.stream: r.actor for r in rows} == {f"org-unit/u{n}": f"hr-{n % 2}" for n in range(6)}


async def test_a_caller_that_goes_away_stops_nobody(ledger: Ledger) -> None:
    group, tenant = Group(ledger), uuid4()
    calls = [asyncio.create_task(group.run(tenant, create, f"u{n}")) for n in range(4)]
    await asyncio.sleep(0)
    calls[1].cancel()
    answers: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert [a for a in answers if isinstance(a, str)] == ["u0", "u2", "u3"]


async def test_an_outage_is_told_to_each(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    from lyceum_kit.errors import Unavailable

    def down(*_: object) -> Any:
        raise OSError("no route")

    monkeypatch.setattr(type(ledger.engine), "connect", down)
    group = Group(ledger)
    answers = await asyncio.gather(
        *(group.run(TENANT, create, f"u{n}") for n in range(3)), return_exceptions=True
    )
    assert [type(a) for a in answers] == [Unavailable] * 3
