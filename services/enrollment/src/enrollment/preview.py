"""What activating a rule would do now: the computation of the real pass, without its effects."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from enrollment import assignment
from enrollment.assignment import Plan
from enrollment.rule import ActiveRule, Draft
from enrollment.store import records
from enrollment.store.book import Books
from enrollment.store.people import concerned
from lyceum.enrollment.v1 import events_pb2 as pb
from lyceum_kit.ids import NewId

CHUNK = 1000
UNWRITTEN = "00000000-0000-0000-0000-000000000000"  # the id of a rule that nobody has saved yet


@dataclass(frozen=True)
class Preview:
    """Person → the courses they would get or lose; `unchanged`: people the rule is about who neither get nor lose."""

    matched: int
    enroll: Mapping[str, Sequence[str]]
    withdraw: Mapping[str, Sequence[str]]
    unchanged: int


async def preview(
    conn: AsyncConnection,
    tenant: UUID,
    said: Draft,
    *,
    books: Books,
    now: datetime,
    new_id: NewId,
    rule_id: str = UNWRITTEN,
    version: int = 1,
) -> Preview:
    """As if `said` were activated as `version` of the rule."""
    current = await books.read(conn, tenant)
    rule = ActiveRule(rule_id, version, said)
    enroll: dict[str, Sequence[str]] = {}
    withdraw: dict[str, Sequence[str]] = {}
    matched = unchanged = 0
    after: str | None = None
    while True:
        some = await concerned(conn, tenant, rule_id, said.condition, after=after, limit=CHUNK)
        held = await records.held_by(conn, tenant, [c.person.person_id for c in some])
        for one in some:
            person_id = one.person.person_id
            plan = assignment.plan(
                tenant,
                one.person,
                [rule] if one.matched else [],
                held[person_id],
                current.catalog,
                now=now,
                new_id=new_id,
                scope=rule_id,
            )
            got, lost = effects(plan)
            matched += one.matched
            unchanged += one.matched and not got and not lost
            if got:
                enroll[person_id] = got
            if lost:
                withdraw[person_id] = lost
        if len(some) < CHUNK:
            return Preview(matched, enroll, withdraw, unchanged)
        after = some[-1].person.person_id


def effects(plan: Plan) -> tuple[list[str], list[str]]:
    """The courses that begin or go on, and those that end."""
    got = [c.after.course_id for c in plan.changes if _has(c, pb.LearnerEnrolled, pb.EnrollmentResumed)]
    lost = [c.after.course_id for c in plan.changes if _has(c, pb.EnrollmentWithdrawn)]
    return got, lost


def _has(change: assignment.Change, *kinds: type) -> bool:
    return any(isinstance(event, kinds) for event in change.events)
