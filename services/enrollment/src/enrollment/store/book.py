"""Statements about the catalogue and the rules; and the rule book made of them, cached by its revision."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any
from uuid import UUID

from sqlalchemy import and_, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from enrollment.assignment import Catalog, Course
from enrollment.path import Item, Path
from enrollment.rule import ActiveRule, Draft, Rule
from enrollment.rules import RuleIndex, parse
from enrollment.tables import (
    course_versions,
    courses,
    path_versions,
    revisions,
    rule_versions,
    rules,
    tenants,
)
from lyceum.catalog.v1.events_pb2 import CoursePublished, ModuleKind, PathPublished

_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(CAST(:tenant AS text), 0))")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:tenant AS text), 0))")
_COURSES = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(key, 0)) FROM unnest(CAST(:keys AS text[])) key"
)
KIND_NAMES: Mapping[int, str] = {
    ModuleKind.MODULE_KIND_SCORM12: "scorm12",
    ModuleKind.MODULE_KIND_QUIZ: "quiz",
    ModuleKind.MODULE_KIND_READING: "reading",
}


# Locks. A statement of its own each: what is read after it must see what its holder before committed.


async def lock_shared(conn: AsyncConnection, tenant: UUID) -> None:
    """Taken by whoever evaluates people."""
    await conn.execute(_SHARED, {"tenant": str(tenant)})


async def lock_exclusive(conn: AsyncConnection, tenant: UUID) -> None:
    """Taken by whoever changes rules, courses or paths: else a person and a rule that arrive together miss
    each other."""
    await conn.execute(_EXCLUSIVE, {"tenant": str(tenant)})


async def lock_courses(conn: AsyncConnection, tenant: UUID, course_ids: Sequence[str]) -> None:
    """Taken by the passes of rules that name the same courses, in one order: who reads that somebody is in no such course
    must be the only one to enrol them."""
    if course_ids:
        await conn.execute(_COURSES, {"keys": [f"{tenant}/{course_id}" for course_id in sorted(course_ids)]})


# The catalogue


async def save_time_zone(conn: AsyncConnection, tenant: UUID, time_zone: str) -> None:
    statement = insert(tenants).values(tenant=tenant, time_zone=time_zone)
    await conn.execute(
        statement.on_conflict_do_update(index_elements=["tenant"], set_={"time_zone": time_zone})
    )


async def save_course(conn: AsyncConnection, tenant: UUID, event: CoursePublished) -> None:
    version = insert(course_versions).values(
        tenant=tenant,
        course_id=event.course_id,
        course_version=event.course_version,
        title=event.title,
        slug=event.slug,
        modules=[
            {"module_id": m.module_id, "title": m.title, "kind": KIND_NAMES.get(m.kind, "")}
            for m in event.modules
        ],
    )
    await conn.execute(version.on_conflict_do_nothing())
    course = insert(courses).values(
        tenant=tenant, course_id=event.course_id, course_version=event.course_version, deprecated=False
    )
    newest = func.greatest(courses.c.course_version, course.excluded.course_version)
    await conn.execute(
        course.on_conflict_do_update(index_elements=["tenant", "course_id"], set_={"course_version": newest})
    )


async def deprecate_course(conn: AsyncConnection, tenant: UUID, course_id: str) -> None:
    await conn.execute(
        update(courses)
        .where(courses.c.tenant == tenant, courses.c.course_id == course_id)
        .values(deprecated=True)
    )


async def save_path(conn: AsyncConnection, tenant: UUID, event: PathPublished) -> None:
    items = [{"course_id": i.course_id, "after": list(i.prerequisite_course_ids)} for i in event.items]
    statement = insert(path_versions).values(
        tenant=tenant,
        path_id=event.path_id,
        path_version=event.path_version,
        title=event.title,
        items=items,
    )
    await conn.execute(statement.on_conflict_do_nothing())


async def _catalog(conn: AsyncConnection, tenant: UUID) -> Catalog:
    zone = await conn.scalar(select(tenants.c.time_zone).where(tenants.c.tenant == tenant))
    found = {
        row.course_id: Course(row.course_id, row.course_version, row.deprecated)
        for row in await conn.execute(select(courses).where(courses.c.tenant == tenant))
    }
    versions = select(
        course_versions.c.course_id, course_versions.c.course_version, course_versions.c.modules
    ).where(course_versions.c.tenant == tenant)
    modules = {
        (row.course_id, row.course_version): tuple(m["module_id"] for m in row.modules)
        for row in await conn.execute(versions)
    }
    paths: dict[tuple[str, int], Path] = {}
    newest: dict[str, int] = {}
    for row in await conn.execute(select(path_versions).where(path_versions.c.tenant == tenant)):
        items = tuple(Item(i["course_id"], tuple(i["after"])) for i in row.items)
        paths[row.path_id, row.path_version] = Path(row.path_id, row.path_version, row.title, items)
        newest[row.path_id] = max(newest.get(row.path_id, 0), row.path_version)
    return Catalog(found, modules, newest, paths, zone or "")


# Rules


async def save_rule(
    conn: AsyncConnection, tenant: UUID, rule: Rule, stream_version: int, drafted: Mapping[str, Any] | None
) -> None:
    """The rule's state; `drafted` is the row of the version that was drafted just now, if one was."""
    if drafted:
        await conn.execute(insert(rule_versions).values(tenant=tenant, rule_id=rule.rule_id, **drafted))
    values = {
        "state": rule.state,
        "version": rule.version,
        "active_version": rule.active_version,
        "stream_version": stream_version,
    }
    statement = insert(rules).values(tenant=tenant, rule_id=rule.rule_id, **values)
    await conn.execute(statement.on_conflict_do_update(index_elements=["tenant", "rule_id"], set_=values))


@dataclass(frozen=True)
class RuleRow:
    """A rule and what its newest version says."""

    rule: Rule
    stream_version: int
    draft: Draft


_RULE = (
    select(rules, rule_versions)
    .join(
        rule_versions,
        and_(
            rule_versions.c.tenant == rules.c.tenant,
            rule_versions.c.rule_id == rules.c.rule_id,
            rule_versions.c.rule_version == rules.c.version,
        ),
    )
    .with_only_columns(
        rules.c.rule_id,
        rules.c.state,
        rules.c.version,
        rules.c.active_version,
        rules.c.stream_version,
        *(c for c in rule_versions.c if c.name not in ("tenant", "rule_id")),
    )
)


async def rule(conn: AsyncConnection, tenant: UUID, rule_id: str) -> RuleRow | None:
    statement = _RULE.where(rules.c.tenant == tenant, rules.c.rule_id == rule_id)
    row = (await conn.execute(statement)).one_or_none()
    return _rule(row) if row else None


async def all_rules(conn: AsyncConnection, tenant: UUID, *, after: str | None, limit: int) -> list[RuleRow]:
    """By id, which is by age."""
    statement = _RULE.where(rules.c.tenant == tenant).order_by(rules.c.rule_id).limit(limit)
    if after:
        statement = statement.where(rules.c.rule_id > after)
    return [_rule(row) for row in await conn.execute(statement)]


def _rule(row: Any) -> RuleRow:
    return RuleRow(
        Rule(row.rule_id, row.version, row.state, row.active_version), row.stream_version, _draft(row)
    )


def _draft(row: Any) -> Draft:
    return Draft(
        name=row.name,
        condition=parse(row.condition),
        condition_json=row.condition,
        sentence=row.sentence,
        course_ids=tuple(row.course_ids),
        path_ids=tuple(row.path_ids),
        due_in_days=row.due_in_days,
        on_ground_lost=row.on_ground_lost,
    )


def draft_row(version: int, draft: Draft, *, by: str, at: datetime) -> dict[str, Any]:
    return {
        "rule_version": version,
        "name": draft.name,
        "condition": draft.condition_json,
        "sentence": draft.sentence,
        "course_ids": list(draft.course_ids),
        "path_ids": list(draft.path_ids),
        "due_in_days": draft.due_in_days,
        "on_ground_lost": draft.on_ground_lost,
        "drafted_by": by,
        "drafted_at": at,
    }


async def _active(conn: AsyncConnection, tenant: UUID) -> list[ActiveRule]:
    statement = (
        select(rule_versions)
        .join(
            rules,
            and_(
                rules.c.tenant == rule_versions.c.tenant,
                rules.c.rule_id == rule_versions.c.rule_id,
                rules.c.active_version == rule_versions.c.rule_version,
            ),
        )
        .where(rule_versions.c.tenant == tenant, rules.c.state == "active")
        .order_by(rule_versions.c.rule_id)
    )
    return [ActiveRule(row.rule_id, row.rule_version, _draft(row)) for row in await conn.execute(statement)]


# The rule book


@dataclass(frozen=True)
class Book:
    """Everything about a tenant that evaluating a person needs, besides the person."""

    catalog: Catalog
    active: Mapping[str, ActiveRule]
    index: RuleIndex[ActiveRule]
    contested: Mapping[str, Sequence[str]]  # of each rule: the courses that another one names too


async def raise_revision(conn: AsyncConnection, tenant: UUID) -> int:
    """Under the exclusive lock: whoever holds the shared one afterwards reads the book anew."""
    statement = insert(revisions).values(tenant=tenant, revision=1)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant"], set_={"revision": revisions.c.revision + 1}
    ).returning(revisions.c.revision)
    return int((await conn.execute(statement)).scalar_one())


async def read_book(conn: AsyncConnection, tenant: UUID) -> Book:
    active = await _active(conn, tenant)
    index = RuleIndex[ActiveRule].of((rule, rule.draft.condition) for rule in active)
    catalog = await _catalog(conn, tenant)
    reach = {rule.rule_id: _reach(rule, catalog) for rule in active}
    named = Counter(chain.from_iterable(reach.values()))
    contested = {rule_id: [c for c in courses if named[c] > 1] for rule_id, courses in reach.items()}
    return Book(catalog, {rule.rule_id: rule for rule in active}, index, contested)


def _reach(rule: ActiveRule, catalog: Catalog) -> set[str]:
    """The courses it names, and those of its paths, whichever version somebody follows."""
    by_path = (
        item.course_id
        for (path_id, _), path in catalog.paths.items()
        if path_id in rule.draft.path_ids
        for item in path.items
    )
    return {*rule.draft.course_ids, *by_path}


class Books:
    """The newest book of each tenant that this process has seen. One per database."""

    KEPT = 200

    def __init__(self) -> None:
        self._books: dict[UUID, tuple[int, Book]] = {}

    async def read(self, conn: AsyncConnection, tenant: UUID) -> Book:
        """As of this transaction; from memory when nothing has changed."""
        revision = await conn.scalar(select(revisions.c.revision).where(revisions.c.tenant == tenant)) or 0
        known = self._books.pop(tenant, None)
        if known is None or known[0] != revision:
            known = (revision, await read_book(conn, tenant))
        self._books[tenant] = known
        if len(self._books) > self.KEPT:
            del self._books[next(iter(self._books))]  # the one that was used longest ago
        return known[1]
