"""Appending is all or nothing, races become conflicts, tenants never meet."""

import asyncio
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from lyceum.identity.v1.events_pb2 import OrgUnitCreated, OrgUnitMapped
from lyceum_kit import db
from lyceum_kit.appending import Alike, Origin
from lyceum_kit.delivery import emitted
from lyceum_kit.errors import Conflict, Unavailable
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.topics import feeds

TENANT, OTHER = uuid4(), uuid4()


def unit(name: str) -> OrgUnitCreated:
    return OrgUnitCreated(org_unit_id=name, code=name)


async def add_one(tx: Tx, name: str) -> int:
    stream = await tx.load(f"org-unit/{name}")
    tx.append(f"org-unit/{name}", [unit(name)], expected=stream.version)
    return stream.version + 1


async def test_a_stream_reads_back_what_was_appended_in_order(ledger: Ledger) -> None:
    async def create(tx: Tx) -> None:
        tx.append("org-unit/a", [unit("a"), OrgUnitMapped(org_unit_id="a")], expected=0)
        assert (await tx.load("org-unit/a")).version == 2  # its own appends are seen before the commit

    await ledger.run(TENANT, create)
    assert await emitted(ledger, TENANT, "org-unit/a") == [unit("a"), OrgUnitMapped(org_unit_id="a")]


async def test_racing_commands_each_succeed_on_the_state_they_saw(ledger: Ledger) -> None:
    versions = await asyncio.gather(
        *(ledger.run(TENANT, add_one, "hot") for _ in range(8)), return_exceptions=True
    )
    won = sorted(v for v in versions if isinstance(v, int))
    assert won == list(range(1, len(won) + 1))
    assert all(isinstance(v, Conflict) for v in versions if not isinstance(v, int))
    assert len(await emitted(ledger, TENANT, "org-unit/hot")) == len(won)


async def test_a_stale_version_is_a_conflict_and_writes_nothing(ledger: Ledger) -> None:
    await ledger.run(TENANT, add_one, "a")

    async def stale(tx: Tx) -> None:
        tx.append("org-unit/b", [unit("b")], expected=0)
        tx.append("org-unit/a", [unit("a")], expected=0)

    with pytest.raises(Conflict):
        await ledger.run(TENANT, stale)
    assert await emitted(ledger, TENANT, "org-unit/b") == []


async def test_a_handler_that_fails_leaves_no_trace(ledger: Ledger) -> None:
    async def fails(tx: Tx) -> None:
        tx.append("org-unit/a", [unit("a")], expected=0)
        tx.set_timer("remind", "a", tx.now)
        raise LookupError("no")

    with pytest.raises(LookupError):
        await ledger.run(TENANT, fails)
    assert await emitted(ledger, TENANT) == []


async def test_tenants_do_not_see_each_other_even_without_a_filter(ledger: Ledger) -> None:
    await ledger.run(TENANT, add_one, "a")
    async with ledger.read(OTHER) as conn:
        assert (await conn.execute(text("SELECT count(*) FROM events"))).scalar() == 0
    async with ledger.read(TENANT) as conn:
        assert (await conn.execute(text("SELECT count(*) FROM events"))).scalar() == 1


async def test_a_missing_tenant_raises_instead_of_finding_nothing(ledger: Ledger) -> None:
    async with ledger.read(TENANT) as conn:  # a pooled connection that served a tenant …
        await conn.execute(text("SELECT 1"))
    async with ledger.engine.connect() as conn:  # … must not carry it into the next request
        with pytest.raises(Exception, match="no tenant is set"):
            await conn.execute(text("SELECT count(*) FROM events"))


@pytest.mark.parametrize(
    "statement", ["UPDATE events SET actor = 'x'", "DELETE FROM events", "TRUNCATE events"]
)
async def test_nobody_changes_history(ledger: Ledger, statement: str) -> None:
    await ledger.run(TENANT, add_one, "a")
    async with ledger.engine.connect() as conn:
        await db.set_tenant(conn, TENANT)
        with pytest.raises(Exception, match=r"permission denied|append-only"):
            await conn.execute(text(statement))


async def test_another_tenants_row_cannot_be_written(ledger: Ledger) -> None:
    async with ledger.engine.connect() as conn:
        await db.set_tenant(conn, TENANT)
        with pytest.raises(Exception, match="row-level security"):
            await conn.execute(
                text("INSERT INTO effects (tenant, what) VALUES (:other, 'x')"), {"other": OTHER}
            )


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (OrgUnitCreated(code="x"), "org_unit_id is empty"),
        (OrgUnitCreated(org_unit_id="a", code="x" * 600_000), "more than"),
    ],
)
async def test_an_event_without_its_id_or_of_monstrous_size_is_refused(
    ledger: Ledger, message: OrgUnitCreated, says: str
) -> None:
    async def append(tx: Tx) -> None:
        tx.append("org-unit/a", [message], expected=0)

    with pytest.raises(ValueError, match=says):
        await ledger.run(TENANT, append)


async def test_an_event_of_others_of_monstrous_size_is_refused(ledger: Ledger) -> None:
    async def append(tx: Tx) -> None:
        tx.append_alike(unit("a"), 1, [Alike("org-unit/a", "a", b"x" * 600_000)])

    with pytest.raises(ValueError, match="more than"):
        await ledger.run(TENANT, append)


async def test_each_of_many_events_keeps_its_own_type_and_origin(ledger: Ledger) -> None:
    """What they have in common is sent once."""
    origins = [Origin(f"actor-{n}", f"correlation-{n}", f"causation-{n}", f"trace-{n}") for n in range(3)]

    async def append(tx: Tx) -> None:
        for n in range(12):
            events = [unit(f"u{n}"), OrgUnitMapped(org_unit_id=f"u{n}")]
            tx.append(f"org-unit/u{n}", events, expected=0, key=f"k{n}", origin=origins[n % 3])

    await ledger.run(TENANT, append)
    async with ledger.read(TENANT) as conn:
        rows = (
            await conn.execute(
                text(
                    "SELECT stream, version, key, type, data, actor, correlation_id, causation_id, traceparent"
                    " FROM events JOIN outbox USING (id) ORDER BY seq"
                )
            )
        ).all()
    assert [tuple(row) for row in rows] == [
        (
            f"org-unit/u{n}",
            version,
            f"k{n}",
            message.DESCRIPTOR.full_name,
            message.SerializeToString(),
            *origins[n % 3],
        )
        for n in range(12)
        for version, message in enumerate((unit(f"u{n}"), OrgUnitMapped(org_unit_id=f"u{n}")), 1)
    ]


async def test_an_unreachable_database_is_unavailable_and_says_when_to_come_back() -> None:
    nowhere = Ledger(db.make_engine("postgresql://x:y@127.0.0.1:1/none"), feeds()["identity"])
    with pytest.raises(Unavailable) as raised:
        await nowhere.run(UUID(int=1), add_one, "a")
    assert raised.value.extra["retry_after"]
