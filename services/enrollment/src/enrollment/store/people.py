"""Statements about people: their attributes, and whom a rule concerns."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple
from uuid import UUID

from pydantic_core import to_json
from sqlalchemy import ColumnElement, and_, case, exists, func, literal, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from enrollment.assignment import Person
from enrollment.rule import ActiveRule
from enrollment.rules import Condition
from enrollment.rules.sql import where
from enrollment.tables import enrollments, grounds, path_enrollments, people
from lyceum_kit import db


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


async def find_person(conn: AsyncConnection, tenant: UUID, person_id: str) -> Person | None:
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


Lock = Literal["none", "shared", "exclusive"]


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
    lock: Lock = "none",
    rule: ActiveRule | None = None,
) -> list[Concerned]:
    """The next people who match the condition, or hold something by the rule, by id. None matches nobody.

    With `rule`, without those who match and for whom it has nothing left to do; and it tells who is fresh. A shared lock
    keeps out whoever changes these people, but not another shared one.
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
    if lock != "none":
        statement = statement.with_for_update(of=people, read=lock == "shared")
    return [
        Concerned(Person(person_id, facts), matched, fresh)
        for person_id, facts, matched, fresh in await conn.execute(statement)
    ]
