"""Statements about what people have: enrolments with grounds and progress, and paths."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, and_, delete, false, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from enrollment.assignment import Change, Copies, Held, PathChange, Versioned, VersionedPath
from enrollment.dates import Due
from enrollment.enrollment import Enrollment, Ground, ModuleDone
from enrollment.path import PathEnrollment
from enrollment.tables import (
    course_versions,
    enrollments,
    grounds,
    module_progress,
    path_enrollments,
    path_versions,
    people,
    rule_versions,
)
from lyceum_kit import db

# Writing


async def save_changes(conn: AsyncConnection, tenant: UUID, changes: Sequence[Change], now: datetime) -> None:
    """The snapshots of these enrolments after their events; a few statements however many there are."""
    if not changes:
        return
    rows = [_row(tenant, change, now) for change in changes]
    statement = insert(enrollments)
    kept = ("tenant", "enrollment_id", "person_id", "course_id", "course_version", "cycle", "enrolled_at")
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "enrollment_id"],
            set_={c.name: statement.excluded[c.name] for c in enrollments.c if c.name not in kept},
        ),
        rows,
    )
    moved = [c for c in changes if (c.before.grounds if c.before else ()) != c.after.grounds]
    old = [c.after.enrollment_id for c in moved if c.before and c.before.grounds]
    if old:
        await conn.execute(
            delete(grounds).where(grounds.c.tenant == tenant, grounds.c.enrollment_id.in_(old))
        )
    if some := [_ground_row(tenant, c.after, g) for c in moved for g in c.after.grounds]:
        await conn.execute(insert(grounds), some)
    if done := [row for c in changes for row in _progress_rows(tenant, c)]:
        await conn.execute(insert(module_progress), done)


async def save_alike(conn: AsyncConnection, tenant: UUID, some: Sequence[Copies], now: datetime) -> None:
    """The snapshots of many who begin, in one statement: what a group has in common is sent once."""
    who = [(group, e, p) for group, copies in enumerate(some) for e, p, _ in copies.who]
    if not who:
        return
    rows = [{**_row(tenant, copies.change, now), "group": group} for group, copies in enumerate(some)]
    reasons = [
        {**_ground_row(tenant, copies.change.after, ground), "group": group}
        for group, copies in enumerate(some)
        for ground in copies.change.after.grounds
    ]
    common = [json.dumps(each, default=str) for each in (rows, reasons)]
    await db.driver(conn).execute(_ENROL_ALIKE, *map(list, zip(*who, strict=True)), *common)


# What the rows of a group have in common comes as JSON, an object for each group.
_ENROL_ALIKE = """
WITH whose AS (
  SELECT * FROM unnest($1::int[], $2::uuid[], $3::uuid[]) AS w(n, enrollment_id, person_id)
), enrolled AS (
  INSERT INTO enrollments (tenant, enrollment_id, person_id, version, course_id, course_version, cycle, state, overdue,
    due_at, due_date, enrolled_at, changed_at)
  SELECT c.tenant, w.enrollment_id, w.person_id, c.version, c.course_id, c.course_version, c.cycle, c.state, c.overdue,
    c.due_at, c.due_date, c.enrolled_at, c.changed_at
  FROM whose w JOIN (
    SELECT (common ->> 'group')::int AS n, e.* FROM jsonb_array_elements($4::jsonb) common,
      jsonb_populate_record(NULL::enrollments, common) e
  ) c USING (n)
)
INSERT INTO grounds (tenant, enrollment_id, person_id, kind, ground_id, via, rule_id, rule_version, reason, due_at,
  due_date, on_ground_lost, since)
SELECT c.tenant, w.enrollment_id, w.person_id, c.kind, c.ground_id, c.via, c.rule_id, c.rule_version, c.reason, c.due_at,
  c.due_date, c.on_ground_lost, c.since
FROM whose w JOIN (
  SELECT (common ->> 'group')::int AS n, g.* FROM jsonb_array_elements($5::jsonb) common,
    jsonb_populate_record(NULL::grounds, common) g
) c USING (n)
"""


def _row(tenant: UUID, change: Change, now: datetime) -> dict[str, Any]:
    state = change.after
    return {
        "tenant": tenant,
        "enrollment_id": state.enrollment_id,
        "version": change.expected + len(change.events),
        "person_id": state.person_id,
        "course_id": state.course_id,
        "course_version": state.course_version,
        "cycle": state.cycle,
        "state": state.state,
        "overdue": state.overdue,
        "due_at": state.due.at if state.due else None,
        "due_date": state.due.date if state.due else None,
        "enrolled_at": state.enrolled_at,
        "completed_at": state.completed_at,
        "changed_at": now,
    }


def _ground_row(tenant: UUID, state: Enrollment, ground: Ground) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "enrollment_id": state.enrollment_id,
        "kind": ground.kind,
        "ground_id": ground.ground_id,
        "via": ground.via,
        "person_id": state.person_id,
        "rule_id": ground.rule_id if ground.kind in ("rule", "path") else "",
        "rule_version": ground.rule_version,
        "reason": ground.reason,
        "due_at": ground.due.at if ground.due else None,
        "due_date": ground.due.date if ground.due else None,
        "on_ground_lost": ground.on_ground_lost,
        "since": ground.since,
    }


def _progress_rows(tenant: UUID, change: Change) -> Iterable[dict[str, Any]]:
    before = change.before.done if change.before else dict[str, ModuleDone]()
    for module_id, done in change.after.done.items():
        if module_id not in before:
            yield {
                "tenant": tenant,
                "enrollment_id": change.after.enrollment_id,
                "module_id": module_id,
                "assurance": done.assurance,
                "score": done.score,
            }


async def save_paths(conn: AsyncConnection, tenant: UUID, changes: Sequence[PathChange]) -> None:
    if not changes:
        return
    statement = insert(path_enrollments)
    kept = ("tenant", "person_id", "path_id", "path_enrollment_id")
    await conn.execute(
        statement.on_conflict_do_update(
            index_elements=["tenant", "person_id", "path_id"],
            set_={c.name: statement.excluded[c.name] for c in path_enrollments.c if c.name not in kept},
        ),
        [
            {
                "tenant": tenant,
                "person_id": change.after.person_id,
                "path_id": change.after.path_id,
                "path_enrollment_id": change.after.path_enrollment_id,
                "version": change.expected + len(change.events),
                "path_version": change.after.path_version,
                "state": change.after.state,
                "rule_ids": sorted(change.after.rule_ids),
                "completed_at": change.after.completed_at,
            }
            for change in changes
        ],
    )


# Reading, to decide


async def held_by(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[str, Held]:
    """What each of these people has."""
    if not ids:
        return {}
    rows = (
        await conn.execute(_PLAIN.where(enrollments.c.tenant == tenant, enrollments.c.person_id.in_(ids)))
    ).all()
    some = await _versioned(conn, tenant, rows)
    courses: dict[str, dict[str, Versioned]] = {person_id: {} for person_id in ids}
    for one in sorted(some, key=lambda v: v.state.cycle):
        courses[one.state.person_id][one.state.course_id] = one
    paths: dict[str, dict[str, VersionedPath]] = {person_id: {} for person_id in ids}
    statement = select(path_enrollments).where(
        path_enrollments.c.tenant == tenant, path_enrollments.c.person_id.in_(ids)
    )
    for row in await conn.execute(statement):
        state = PathEnrollment(
            row.path_enrollment_id,
            row.person_id,
            row.path_id,
            row.path_version,
            row.state,
            frozenset(row.rule_ids),
            row.completed_at,
        )
        paths[row.person_id][row.path_id] = VersionedPath(state, row.version)
    return {person_id: Held(courses[person_id], paths[person_id]) for person_id in ids}


async def owner_of(conn: AsyncConnection, tenant: UUID, enrollment_id: str) -> str | None:
    """The person enrolled."""
    return await conn.scalar(
        select(enrollments.c.person_id).where(
            enrollments.c.tenant == tenant, enrollments.c.enrollment_id == enrollment_id
        )
    )


async def _versioned(conn: AsyncConnection, tenant: UUID, rows: Sequence[Row[Any]]) -> list[Versioned]:
    ids = [row.enrollment_id for row in rows]
    if not ids:
        return []
    why: dict[str, list[Ground]] = {i: [] for i in ids}
    statement = select(grounds).where(grounds.c.tenant == tenant, grounds.c.enrollment_id.in_(ids))
    for row in await conn.execute(statement):
        why[row.enrollment_id].append(_ground(row))
    done: dict[str, dict[str, ModuleDone]] = {i: {} for i in ids}
    statement = select(module_progress).where(
        module_progress.c.tenant == tenant, module_progress.c.enrollment_id.in_(ids)
    )
    for row in await conn.execute(statement):
        done[row.enrollment_id][row.module_id] = ModuleDone(row.assurance, row.score)
    return [
        Versioned(_state(row, why[row.enrollment_id], done[row.enrollment_id]), row.version) for row in rows
    ]


_PLAIN = select(enrollments)


def _state(row: Row[Any], why: Sequence[Ground], done: Mapping[str, ModuleDone]) -> Enrollment:
    return Enrollment(
        enrollment_id=row.enrollment_id,
        person_id=row.person_id,
        course_id=row.course_id,
        course_version=row.course_version,
        enrolled_at=row.enrolled_at,
        cycle=row.cycle,
        state=row.state,
        # Rules first, oldest first: the order in which reasons are read out.
        grounds=tuple(sorted(why, key=lambda g: (_ORDER[g.kind], g.since, g.ground_id, g.via))),
        due=Due(row.due_at, row.due_date) if row.due_at else None,
        overdue=row.overdue,
        completed_at=row.completed_at,
        done=done,
    )


_ORDER = {"rule": 0, "path": 1, "manual": 2, "self": 3}


def _ground(row: Row[Any]) -> Ground:
    return Ground(
        kind=row.kind,
        ground_id=row.ground_id,
        since=row.since,
        via=row.via,
        rule_version=row.rule_version,
        reason=row.reason,
        due=Due(row.due_at, row.due_date) if row.due_at else None,
        on_ground_lost=row.on_ground_lost,
    )


# Reading, to show


@dataclass(frozen=True)
class Module:
    module_id: str
    title: str
    kind: str


@dataclass(frozen=True)
class Shown:
    """An enrolment with what a reader wants to know about its course."""

    version: int
    state: Enrollment
    title: str
    slug: str
    modules: tuple[Module, ...]
    changed_at: datetime


_SHOWN = select(enrollments, course_versions.c.title, course_versions.c.slug, course_versions.c.modules).join(
    course_versions,
    and_(
        course_versions.c.tenant == enrollments.c.tenant,
        course_versions.c.course_id == enrollments.c.course_id,
        course_versions.c.course_version == enrollments.c.course_version,
    ),
)


@dataclass(frozen=True)
class Visible:
    """Whose enrolments may be seen: everybody's, or one's own and those of one's reports."""

    everybody: bool = False
    person_id: str | None = None
    manager_id: str | None = None


async def shown(
    conn: AsyncConnection,
    tenant: UUID,
    visible: Visible,
    *,
    enrollment_id: str | None = None,
    person_ids: Sequence[str] | None = None,
    course_id: str | None = None,
    state: str | None = None,
    after: str | None = None,
    limit: int = 200,
) -> list[Shown]:
    """By id."""
    statement = _SHOWN.where(enrollments.c.tenant == tenant)
    if not visible.everybody:
        own = enrollments.c.person_id == visible.person_id if visible.person_id else false()
        reports = select(people.c.person_id).where(
            people.c.tenant == tenant, people.c.manager_id == visible.manager_id
        )
        statement = statement.where(
            or_(own, enrollments.c.person_id.in_(reports)) if visible.manager_id else own
        )
    if enrollment_id is not None:
        statement = statement.where(enrollments.c.enrollment_id == enrollment_id)
    if person_ids is not None:
        statement = statement.where(enrollments.c.person_id.in_(person_ids))
    if course_id is not None:
        statement = statement.where(enrollments.c.course_id == course_id)
    if state is not None:
        statement = statement.where(enrollments.c.state == state)
    if after is not None:
        statement = statement.where(enrollments.c.enrollment_id > after)
    rows = (await conn.execute(statement.order_by(enrollments.c.enrollment_id).limit(limit))).all()
    some = await _versioned(conn, tenant, rows)
    return [
        Shown(
            one.version,
            one.state,
            row.title,
            row.slug,
            tuple(Module(m["module_id"], m["title"], m["kind"]) for m in row.modules),
            row.changed_at,
        )
        for row, one in zip(rows, some, strict=True)
    ]


async def completed_by(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[str, frozenset[str]]:
    """The courses each of these people has completed, in any cycle."""
    statement = (
        select(enrollments.c.person_id, func.array_agg(enrollments.c.course_id).label("courses"))
        .where(
            enrollments.c.tenant == tenant,
            enrollments.c.person_id.in_(ids),
            enrollments.c.state == "completed",
        )
        .group_by(enrollments.c.person_id)
    )
    found = {row.person_id: frozenset(str(c) for c in row.courses) for row in await conn.execute(statement)}
    return {i: found.get(i, frozenset[str]()) for i in ids}


async def paths_of(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[tuple[str, str], int]:
    """(person, path) → the version pinned."""
    statement = select(
        path_enrollments.c.person_id, path_enrollments.c.path_id, path_enrollments.c.path_version
    ).where(path_enrollments.c.tenant == tenant, path_enrollments.c.person_id.in_(ids))
    return {(row.person_id, row.path_id): row.path_version for row in await conn.execute(statement)}


async def my_paths(conn: AsyncConnection, tenant: UUID, person_id: str) -> list[tuple[str, int]]:
    """Paths followed or completed: (path, version)."""
    statement = (
        select(path_enrollments.c.path_id, path_enrollments.c.path_version)
        .where(
            path_enrollments.c.tenant == tenant,
            path_enrollments.c.person_id == person_id,
            path_enrollments.c.state != "withdrawn",
        )
        .order_by(path_enrollments.c.path_id)
    )
    return [(row.path_id, row.path_version) for row in await conn.execute(statement)]


async def path_titles(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[str, str]:
    """The newest title of each."""
    statement = (
        select(path_versions.c.path_id, path_versions.c.title)
        .where(path_versions.c.tenant == tenant, path_versions.c.path_id.in_(ids))
        .order_by(path_versions.c.path_version)
    )
    return {row.path_id: row.title for row in await conn.execute(statement)} if ids else {}


async def rule_names(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[tuple[str, int], str]:
    """(rule, version) → its name then."""
    statement = select(rule_versions.c.rule_id, rule_versions.c.rule_version, rule_versions.c.name).where(
        rule_versions.c.tenant == tenant, rule_versions.c.rule_id.in_(ids)
    )
    found = await conn.execute(statement) if ids else ()
    return {(row.rule_id, row.rule_version): row.name for row in found}


async def course_titles(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[str, str]:
    statement = (
        select(course_versions.c.course_id, course_versions.c.title)
        .where(course_versions.c.tenant == tenant, course_versions.c.course_id.in_(ids))
        .order_by(course_versions.c.course_version)
    )
    return {row.course_id: row.title for row in await conn.execute(statement)} if ids else {}
