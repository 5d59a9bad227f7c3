"""What dashboards ask of ClickHouse, always for one tenant. Definitions of metrics stand in metrics.py."""

# ruff: noqa: S608 - tables' names are ours; values are bound

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from analytics import metrics
from analytics.engine import Engine
from analytics.metrics import Answer
from analytics.projections import COLUMNS, table
from lyceum_kit.errors import NotFound

NO_DEPARTMENT = "(none)"


@dataclass(frozen=True)
class Labelled:
    """A metric's value with what a person calls its key."""

    label: str
    answer: Answer


@dataclass(frozen=True)
class ModuleDropOff:
    module_id: str
    title: str
    started: int
    completed: int


@dataclass(frozen=True)
class DropOff:
    course_version: int
    enrolled: int
    modules: Sequence[ModuleDropOff]


@dataclass(frozen=True)
class Day:
    day: date
    enrolled: int
    completed: int


async def metric_by(
    engine: Engine, tenant: UUID, of: metrics.Metric, by: str, as_of: datetime, filters: Mapping[str, str]
) -> list[Labelled]:
    question = metrics.by(of, by, tenant, as_of, filters)
    found = metrics.answers(await engine.query(question.sql, question.parameters))
    titles = await course_titles(engine, tenant) if by == "course" else {}
    return [Labelled(_label(answer.key, by, titles), answer) for answer in found]


async def totals(
    engine: Engine, tenant: UUID, as_of: datetime, filters: Mapping[str, str]
) -> dict[str, Answer]:
    """The overview's metrics by name."""
    found: dict[str, Answer] = {}
    for question in metrics.totals(metrics.OVERVIEW, tenant, as_of, filters):
        found |= {a.key: a for a in metrics.answers(await engine.query(question.sql, question.parameters))}
    return found


async def events_until(engine: Engine, tenant: UUID) -> datetime | None:
    """When the newest event that is counted was recorded."""
    union = " UNION ALL ".join(
        f"SELECT maxOrNull(at) AS at FROM {table(feed)} WHERE tenant = {{tenant:UUID}}" for feed in COLUMNS
    )
    rows = await engine.query(f"SELECT max(at) AS at FROM ({union})", {"tenant": str(tenant)})
    at: datetime | None = rows[0]["at"]
    return at


async def course_titles(engine: Engine, tenant: UUID) -> dict[str, str]:
    rows = await engine.query(
        "SELECT course_id, title FROM v1_courses WHERE tenant = {tenant:UUID}", {"tenant": str(tenant)}
    )
    return {row["course_id"]: row["title"] for row in rows}


async def drop_off(engine: Engine, tenant: UUID, course_id: str, course_version: int = 0) -> DropOff:
    """Modules of the version (0: the newest one) in order, with how many enrolments reached and finished each.
    Withdrawn enrolments count: they are where learners were lost."""
    scope: dict[str, object] = {"tenant": str(tenant), "course": course_id, "version": course_version}
    modules = await engine.query(
        "SELECT course_version, number, module_id, title FROM v1_modules"
        " WHERE tenant = {tenant:UUID} AND course_id = {course:String} AND course_version ="
        " if({version:Int32} > 0, {version:Int32}, (SELECT max(course_version) FROM v1_modules"
        " WHERE tenant = {tenant:UUID} AND course_id = {course:String})) ORDER BY number",
        scope,
    )
    enrolled = await engine.query(
        "SELECT count() AS enrolled FROM v1_enrollments_bare WHERE tenant = {tenant:UUID}"
        " AND course_id = {course:String} AND ({version:Int32} = 0 OR course_version = {version:Int32})",
        scope,
    )
    if not modules and not enrolled[0]["enrolled"]:
        raise NotFound("No such course, or nothing is known of it yet")
    progress = await engine.query(
        "SELECT module_id, count() AS started, count(completed_at) AS completed FROM v1_module_progress"
        " WHERE tenant = {tenant:UUID} AND course_id = {course:String} AND ({version:Int32} = 0 OR"
        " enrollment_id IN (SELECT enrollment_id FROM v1_enrollments_bare WHERE tenant = {tenant:UUID}"
        " AND course_id = {course:String} AND course_version = {version:Int32})) GROUP BY module_id",
        scope,
    )
    by_module = {row["module_id"]: row for row in progress}
    return DropOff(
        modules[0]["course_version"] if modules else 0,
        enrolled[0]["enrolled"],
        [_drop_off(module, by_module.get(module["module_id"])) for module in modules],
    )


async def trend(
    engine: Engine, tenant: UUID, today: date, days: int, filters: Mapping[str, str]
) -> list[Day]:
    """Enrolments and completions of each of the last `days` days (UTC), today included."""
    first = today - timedelta(days=days - 1)
    conditions = "".join(f" AND {metrics.FILTERS[name]} = {{{name}:String}}" for name in filters)
    rows = await engine.query(
        "SELECT moment.1 AS what, toDate(assumeNotNull(moment.2)) AS day, count() AS events FROM ("
        "SELECT arrayJoin([('enrolled', toNullable(enrolled_at)), ('completed', completed_at)]) AS moment"
        f" FROM {metrics.SUBJECTS['enrollments'].rows(*filters)} WHERE tenant = {{tenant:UUID}}{conditions}"
        ") WHERE moment.2 >= toDateTime64({first:String}, 6, 'UTC') GROUP BY what, day",
        {"tenant": str(tenant), "first": f"{first} 00:00:00", **filters},
    )
    counted = {(row["what"], row["day"]): row["events"] for row in rows}
    every = [first + timedelta(days=n) for n in range(days)]
    return [Day(day, *(counted.get((what, day), 0) for what in ("enrolled", "completed"))) for day in every]


def _label(key: str, by: str, titles: Mapping[str, str]) -> str:
    if by == "course":
        return titles.get(key) or key
    return key or NO_DEPARTMENT


def _drop_off(module: Mapping[str, Any], progress: Mapping[str, Any] | None) -> ModuleDropOff:
    return ModuleDropOff(
        module["module_id"],
        module["title"],
        progress["started"] if progress else 0,
        progress["completed"] if progress else 0,
    )
