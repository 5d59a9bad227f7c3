"""Every number on a dashboard, against a recount of the same events in plain Python."""

import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from analytics import metrics, store
from analytics.consumers import Consumption
from analytics.engine import Engine
from analytics.projections import COLUMNS, table
from analytics.settings import Settings
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum_kit.envelope import Record
from lyceum_kit.errors import NotFound
from services.analytics.tests.histories import HISTORIES, NOW, THEM, US, Told
from services.analytics.tests.recount import (
    School,
    compliance_at,
    expected,
    expected_drop_off,
    recount,
    rows_of,
    value_of,
)

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
QUESTIONS = dict(re.findall(r"```sql\n-- ([^\n]+)\n(.*?)```", README, re.DOTALL))
AT_A_MOMENT = "What was the compliance of each department at a moment, by where people worked then?"
NO_HURRY = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)


async def tell(history: Sequence[Told], ledgers: Any, consumption: Consumption, dice: Random) -> list[Record]:
    """Into the ledgers, an hour after each other; then to analytics, doubled, in any order."""
    for n, told in enumerate(history):
        at = NOW + timedelta(hours=n - len(history))
        ledgers.append(told.tenant, told.stream, told.message, key=told.key, at=at)
    waiting = ledgers.all() * 2
    dice.shuffle(waiting)
    half = len(waiting) // 2
    for batch in (waiting[:half], waiting[half:]):
        await consumption.intake.process(batch)
    return ledgers.all()


@hypothesis_settings(max_examples=6, suppress_health_check=NO_HURRY)
@given(history=HISTORIES, dice=st.randoms(use_true_random=False), days=st.integers(-30, 30))
async def test_every_metric_equals_a_recount(
    one_engine: Engine, settings: Settings, history: list[Told], dice: Random, days: int, new_ledgers: Any
) -> None:
    for feed in COLUMNS:
        await one_engine.command(f"TRUNCATE TABLE {table(feed)}")
    ledgers = new_ledgers()
    records = await tell(history, ledgers, Consumption(settings, one_engine, ledgers), dice)
    now = NOW + timedelta(days=days)
    school = recount(records, US)
    for name, metric in metrics.METRICS.items():
        by = dice.choice(metrics.DIMENSIONS)
        found = await store.metric_by(one_engine, US, metric, by, now, {})
        said = {f.answer.key: (f.answer.numerator, f.answer.denominator) for f in found}
        assert said == expected(school, name, by, now), (name, by)
    for tenant in (US, THEM):
        theirs = recount(records, tenant)
        for name, answer in (await store.totals(one_engine, tenant, now, {})).items():
            total = value_of(name, rows_of(theirs, name), now)
            assert (answer.numerator, answer.denominator) == total, name
    await same_drop_off(one_engine, "c1", dice.choice([0, 1, 2]), school)
    rows = await one_engine.query(QUESTIONS[AT_A_MOMENT], {"tenant": US, "at": now})
    assert {row["department"]: row["compliance"] for row in rows} == compliance_at(school, now)
    for day in await store.trend(one_engine, US, NOW.date(), 30, {}):
        done = [e.completed_at for e in school.enrollments.values() if e.completed_at]
        assert day.enrolled == sum(e.enrolled_at.date() == day.day for e in school.enrollments.values())
        assert day.completed == sum(at.date() == day.day for at in done)


async def test_what_was_chosen_and_then_demanded_is_mandatory(
    engine: Engine, settings: Settings, ledgers: Any
) -> None:
    wish, rule = enrollment.GROUND_KIND_SELF, enrollment.GROUND_KIND_RULE
    for name, later in (("chosen", wish), ("demanded", rule)):
        begun = enrollment.LearnerEnrolled(enrollment_id=name, person_id="p", course_id="c")
        begun.ground.kind = wish
        ledgers.append(US, f"enrollment/{name}", begun, key="p")
        added = enrollment.GroundAdded(enrollment_id=name, person_id="p")
        added.ground.kind = later
        ledgers.append(US, f"enrollment/{name}", added, key="p")
    await Consumption(settings, engine, ledgers).intake.process(ledgers.all())
    rows = await engine.query("SELECT enrollment_id, mandatory FROM v1_enrollments")
    assert {row["enrollment_id"]: row["mandatory"] for row in rows} == {"chosen": 0, "demanded": 1}


async def same_drop_off(engine: Engine, course: str, version: int, school: School) -> None:
    enrolled, modules = expected_drop_off(school, course, version)
    try:
        found = await store.drop_off(engine, US, course, version)
    except NotFound:
        assert (enrolled, modules) == (0, [])
        return
    assert (found.enrolled, [(m.module_id, m.title, m.started, m.completed) for m in found.modules]) == (
        enrolled,
        modules,
    )
