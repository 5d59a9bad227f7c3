"""Statements about people, the catalogue and the rules; and the rule book made of them, cached by its revision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import (
    ColumnElement,
    and_,
    case,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from enrollment.assignment import Catalog, Course, Person
from enrollment.path import Item, Path
from enrollment.rule import ActiveRule, Draft, Rule
from enrollment.rules import Condition, RuleIndex, parse
from enrollment.rules.sql import where
from enrollment.tables import (
    course_versions,
    courses,
    enrollments,
    grounds,
    path_enrollments,
    path_versions,
    people,
    revisions,
    rule_versions,
    rules,
    tenants,
)
from lyceum.catalog.v1.events_pb2 import CoursePublished, ModuleKind, PathPublished
from lyceum_kit import db

_SHARED = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(CAST(:tenant AS text), 0))")
_EXCLUSIVE = text("SELECT pg_advisory_xact_lock(hashtextextended(CAST(:tenant AS text), 0))")
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


# People


async def save_people(conn: AsyncConnection, tenant: UUID, some: Sequence[Person]) -> set[str]:
    """Write the attributes and lock the rows until the transaction ends; who is new. In one order, as `lock_people`."""
    who = sorted(some, key=lambda person: person.person_id)
    facts = [{name: value for name, value in person.facts.items() if value} for person in who]
    rows = await db.driver(conn).fetch(
        _SAVE_PEOPLE, tenant, [p.person_id for p in who], [to_json(each).decode() for each in facts]
    )
    return {str(row["person_id"]) for row in rows if row["new"]}


_SAVE_PEOPLE = """
INSERT INTO people (tenant, person_id, facts)
SELECT $1, person_id, facts::jsonb FROM unnest($2::uuid[], $3::text[]) AS s(person_id, facts)
ON CONFLICT (tenant, person_id) DO UPDATE SET facts = excluded.facts
RETURNING person_id, xmax = 0 AS new  -- else the row was updated
"""


async def blank_person(conn: AsyncConnection, tenant: UUID, person_id: str) -> None:
    """Nothing is left of an erased person's attributes but that no rule is about them."""
    where = and_(people.c.tenant == tenant, people.c.person_id == person_id)
    await conn.execute(update(people).where(where).values(facts={"status": "terminated"}))


async def lock_people(conn: AsyncConnection, tenant: UUID, ids: Sequence[str]) -> dict[str, Person]:
    """Those of `ids` who exist; in one order, so that two who lock several wait instead of deadlocking."""
    statement = (
        select(people)
        .where(people.c.tenant == tenant, people.c.person_id.in_(ids))
        .order_by(people.c.person_id)
        .with_for_update()
    )
    return {row.person_id: _person(row) for row in await conn.execute(statement)}


async def person(conn: AsyncConnection, tenant: UUID, person_id: str) -> Person | None:
    row = (
        await conn.execute(select(people).where(people.c.tenant == tenant, people.c.person_id == person_id))
    ).one_or_none()
    return _person(row) if row else None


async def reports_of(conn: AsyncConnection, tenant: UUID, manager_id: str) -> list[str]:
    """Direct reports who have not left."""
    statement = select(people.c.person_id).where(
        people.c.tenant == tenant, people.c.manager_id == manager_id, people.c.status != "terminated"
    )
    return list((await conn.execute(statement.order_by(people.c.person_id))).scalars())


def _person(row: Any) -> Person:
    return Person(row.person_id, row.facts)


class Concerned(NamedTuple):
    """Somebody a rule is or was about."""

    person: Person
    matched: bool
    fresh: bool = False  # is in none of the rule's courses


def _fresh(tenant: UUID, rule: ActiveRule) -> ColumnElement[bool]:
    """Who has never been in a course of this rule. Paths have courses of their own: not told here."""
    if rule.draft.path_ids:
        return literal(False)
    return not_(
        exists().where(
            enrollments.c.tenant == tenant,
            enrollments.c.person_id == people.c.person_id,
            enrollments.c.course_id.in_(rule.draft.course_ids),
        )
    )


async def concerned(
    conn: AsyncConnection,
    tenant: UUID,
    rule_id: str,
    condition: Condition | None,
    *,
    after: str | None,
    limit: int,
    lock: bool,
    rule: ActiveRule | None = None,
) -> list[Concerned]:
    """The next people who match the condition, or hold something by the rule, by id. None matches nobody.

    With `rule`, without those who match and for whom it has nothing left to do; and it tells who is fresh.
    """
    match = and_(where(condition), people.c.status != "terminated") if condition else literal(False)
    # Lists that are made once, not looked up for each person: who holds what by the rule, and who follows its paths.
    count, newest = func.count(), func.bool_and(grounds.c.rule_version == (rule.rule_version if rule else 0))
    done = and_(count == len(rule.draft.course_ids), newest) if rule else literal(False)
    held = (
        select(grounds.c.person_id, done.label("done"))
        .where(grounds.c.tenant == tenant, grounds.c.rule_id == rule_id)
        .group_by(grounds.c.person_id)
        .subquery()
    )
    followed = people.c.person_id.in_(
        select(path_enrollments.c.person_id).where(
            path_enrollments.c.tenant == tenant, path_enrollments.c.rule_ids.contains([rule_id])
        )
    )
    # Paths have courses of their own: whether a rule that names some is done is not told here.
    settled = literal(False) if rule and rule.draft.path_ids else func.coalesce(held.c.done, False)
    # CASE, so that a condition is evaluated once for each person.
    chosen = case((match, not_(settled)), else_=or_(held.c.person_id.is_not(None), followed))
    fresh = and_(match, _fresh(tenant, rule)) if rule else literal(False)
    statement = (
        select(people.c.person_id, people.c.facts, match.label("matched"), fresh.label("fresh"))
        .outerjoin(held, held.c.person_id == people.c.person_id)
        .where(people.c.tenant == tenant, chosen)
    )
    if after:
        statement = statement.where(people.c.person_id > after)
    statement = statement.order_by(people.c.person_id).limit(limit)
    if lock:
        statement = statement.with_for_update(of=people)
    return [
        Concerned(Person(person_id, facts), matched, fresh)
        for person_id, facts, matched, fresh in await conn.execute(statement)
    ]


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
    return Book(await _catalog(conn, tenant), {rule.rule_id: rule for rule in active}, index)


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
