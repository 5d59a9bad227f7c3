"""An event that cannot be handled waits with its key, for a person; nobody else waits with it."""

from uuid import UUID, uuid4

import pytest

from lyceum_kit.consumer import TRIES
from tests.faults.stage import CONSUMER, PRODUCER, Node, Stage

KEYS = [f"k{n}" for n in range(100)]


@pytest.mark.parametrize("each", [6, pytest.param(100, marks=pytest.mark.faults)])
async def test_three_bad_records_hold_three_keys_until_somebody_decides(stage: Stage, each: int) -> None:
    half = each // 2
    await stage.produce(KEYS, each, deeds={("k3", half): "fail", ("k50", half): "fail"})
    await _scribble(stage, "k77", half)  # what a broken producer would write
    stage.start(PRODUCER)
    consumer = stage.start(CONSUMER)
    await stage.caught_up(seconds=60 + each)

    before, all_of_them = list(range(1, half)), list(range(1, each + 1))
    bad = {"k3", "k50", "k77"}
    effects = await stage.effects()
    assert {key: effects[key] for key in KEYS if key not in bad} == {
        key: all_of_them for key in KEYS if key not in bad
    }
    assert {key: effects[key] for key in bad} == dict.fromkeys(bad, before)
    parked = await stage.parked()
    assert {p["key"].removeprefix("org-unit/") for p in parked} == bad
    assert sorted((p["kind"], p["tries"]) for p in parked) == sorted(
        [("failed", TRIES)] * 3 + [("key", 0)] * (3 * (each - half))
    )

    first = {p["key"].removeprefix("org-unit/"): p["n"] for p in parked if p["kind"] == "failed"}
    assert await _replay(stage, consumer, first["k3"]) == 0  # nothing is mended yet
    await consumer.stop()
    consumer = stage.start(CONSUMER, mended=True)
    await stage.ready(consumer)
    for key in ("k3", "k50"):
        assert await _replay(stage, consumer, first[key]) == each - half + 1
    assert await _replay(stage, consumer, first["k77"]) == 0  # no handler can read this one
    async with stage.operator(consumer) as operator:
        path, why = f"/system/parked/{first['k77']}/discard", {"why": "the importer's fault, sent again"}
        assert (await operator.post(path, json=why)).status_code == 204
    rest = next(p["n"] for p in parked if p["key"] == "org-unit/k77" and p["kind"] == "key")
    assert await _replay(stage, consumer, rest) == each - half

    # And the keys flow again; but nobody can load the stream that holds what no message says.
    await stage.produce([key for key in KEYS if key != "k77"], 1, first=each + 1)
    await stage.caught_up()
    effects = await stage.effects()
    assert effects.pop("k77") == [*before, *range(half + 1, each + 1)]
    assert effects == {key: [*all_of_them, each + 1] for key in KEYS if key != "k77"}
    settled = {p["n"]: p for p in await stage.parked()}
    assert {p["settled"] for n, p in settled.items() if n != first["k77"]} == {"replayed"}
    assert {p["settled_by"] for p in settled.values()} == {"grace"}
    discarded = settled[first["k77"]]
    assert (discarded["settled"], discarded["settled_why"]) == (
        "discarded",
        "the importer's fault, sent again",
    )


@pytest.mark.parametrize(("count", "each"), [(5, 5), pytest.param(20, 50, marks=pytest.mark.faults)])
async def test_a_bug_that_hits_every_event_of_one_tenant_stops_no_other(
    stage: Stage, count: int, each: int
) -> None:
    struck, well = uuid4(), [uuid4() for _ in range(3)]
    keys = {tenant: [f"{tenant.hex[:4]}-{n}" for n in range(count)] for tenant in (struck, *well)}
    stage.start(PRODUCER)
    for seq in range(1, each + 1):  # side by side in every partition
        for tenant, some in keys.items():
            bug = {(key, seq): "fail" for key in some} if tenant == struck else {}
            await stage.produce(some, 1, first=seq, deeds=bug, tenant=tenant)
    consumer = stage.start(CONSUMER)
    await stage.caught_up(seconds=60 + each)
    everything = list(range(1, each + 1))
    for tenant in well:
        assert await stage.effects(tenant) == dict.fromkeys(keys[tenant], everything)
    assert await stage.effects(struck) == {}
    parked = await stage.parked()
    assert {UUID(p["tenant"]) for p in parked} == {struck}
    assert len(parked) == count * each

    await consumer.stop()
    consumer = stage.start(CONSUMER, mended=True)
    await stage.ready(consumer)
    for n in (p["n"] for p in parked if p["kind"] == "failed"):
        assert await _replay(stage, consumer, n) == each
    assert await stage.effects(struck) == dict.fromkeys(keys[struck], everything)


async def _replay(stage: Stage, consumer: Node, n: int) -> int:
    async with stage.operator(consumer) as operator:
        answer = await operator.post(f"/system/parked/{n}/replay", timeout=60)
    answer.raise_for_status()
    return answer.json()["handled"]


async def _scribble(stage: Stage, key: str, seq: int) -> None:
    """Put bytes that are no message into the ledger."""
    stream = f"org-unit/{key}"
    await stage.sql(PRODUCER, "ALTER TABLE events DISABLE TRIGGER append_only")
    await stage.sql(
        PRODUCER, "UPDATE events SET data = '\\xffffff' WHERE stream = $1 AND version = $2", stream, seq
    )
    await stage.sql(PRODUCER, "ALTER TABLE events ENABLE TRIGGER append_only")
