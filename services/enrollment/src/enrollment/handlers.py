"""One function per event or command.

identity    UserProvisioned, UserUpdated, UserReactivated → the rules that match → LearnerEnrolled, GroundAdded, …
            UserDeactivated → EnrollmentWithdrawn for all that is open      TenantCreated → the fallback time zone
            UserErased → no attribute of the person is kept
catalog     CoursePublished, CourseDeprecated, PathPublished → what can be assigned
assessment  ModuleCompleted → ModuleProgressed → CourseCompleted → PathCompleted
timers      overdue → EnrollmentOverdue      rule-pass → the next chunk of people after a rule has changed
commands    draft_rule, activate_rule, retire_rule, enrol
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date
from uuid import UUID

from google.protobuf.message import Message

from enrollment import assignment, dates, path, rule
from enrollment.assignment import Catalog, Change, Copies, Held, PathChange, Person, Plan, Versioned
from enrollment.enrollment import (
    ChangeGrounds,
    Enrol,
    Ground,
    Kind,
    MarkOverdue,
    RecordModule,
    decide,
    of_others,
)
from enrollment.errors import CourseNotOpen, DueDatePassed, NotEmployed, UnknownEnrollment, UnknownTarget
from enrollment.rule import ActiveRule, Draft, Rule
from enrollment.rules import DATES, JOB
from enrollment.store import book, records
from enrollment.store.book import Books
from enrollment.store.people import blank_person, concerned, find_person, lock_people, save_people
from lyceum.assessment.v1.events_pb2 import ModuleCompleted
from lyceum.catalog.v1.events_pb2 import CourseDeprecated, CoursePublished, PathPublished
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.appending import Alike, Origin
from lyceum_kit.consumer import Event
from lyceum_kit.envelope import Meta
from lyceum_kit.errors import NotFound
from lyceum_kit.ids import read_id
from lyceum_kit.ledger import Tx
from lyceum_kit.timers import Timer

OVERDUE = "overdue"
EVERYBODY = "rule-pass"

STATUS = {
    identity.EMPLOYMENT_STATUS_UNSPECIFIED: "active",
    identity.EMPLOYMENT_STATUS_PREHIRE: "prehire",
    identity.EMPLOYMENT_STATUS_ACTIVE: "active",
    identity.EMPLOYMENT_STATUS_ON_LEAVE: "on_leave",
    identity.EMPLOYMENT_STATUS_TERMINATED: "terminated",
}

Origins = Mapping[str, Origin]  # by person; whoever is not in it takes the transaction's
_OWN: Origins = {}


# People


async def on_people(tx: Tx, events: Sequence[Event], *, books: Books) -> None:
    """Enrol new, changed and returning people in what the rules ask for now."""
    people = [person_of(event.message) for event in events]
    origins = {person.person_id: event.origin for person, event in zip(people, events, strict=True)}
    await _follow_rules(tx, books, people, origins)


async def on_user_deactivated(tx: Tx, event: identity.UserDeactivated, meta: Meta, *, books: Books) -> None:  # noqa: ARG001
    """Withdraw what is open. The record stays."""
    person_id = str(UUID(event.person_id))
    known = await find_person(tx.conn, tx.tenant, person_id)
    facts = known.facts if known else dict[str, str]()
    await _follow_rules(tx, books, [Person(person_id, {**facts, "status": "terminated"})])


async def on_user_erased(tx: Tx, event: identity.UserErased, meta: Meta) -> None:  # noqa: ARG001
    """Only ids are left of the person. What they had is withdrawn since they left; the record stays."""
    await blank_person(tx.conn, tx.tenant, str(UUID(event.person_id)))


def person_of(
    event: identity.UserProvisioned | identity.UserUpdated | identity.UserReactivated,
) -> Person:
    """The attributes that rules may use. A date that is none is a missing one."""
    job = event.job
    facts: dict[str, str] = {name: getattr(job, name) for name in JOB}
    for name in DATES:
        if not dates.parse_date(facts[name]):
            del facts[name]
    facts["status"] = STATUS[event.status]
    return Person(str(read_id(event.person_id)), facts)


async def _follow_rules(tx: Tx, books: Books, people: Sequence[Person], origins: Origins = _OWN) -> None:
    # Together with the exclusive lock of whoever changes a rule: either we see the rule, or its pass sees the person.
    await book.lock_shared(tx.conn, tx.tenant)
    new = await save_people(tx.conn, tx.tenant, people)
    current = await books.read(tx.conn, tx.tenant)
    matched = [(p, current.index.find(p.facts) if p.employed else []) for p in people]
    held = await records.held_by(tx.conn, tx.tenant, [p.person_id for p in people if p.person_id not in new])

    def begins(person: Person, rules: Sequence[ActiveRule]) -> bool:
        """And gets the same as others who begin: a path has an event of its own for each."""
        return person.person_id in new and not any(rule.draft.path_ids for rule in rules)

    alike = [(p, rules) for p, rules in matched if begins(p, rules)]
    others = [(p, rules) for p, rules in matched if not begins(p, rules)]
    catalog, now, new_id = current.catalog, tx.now, tx.new_id
    copies = assignment.enrol_alike(tx.tenant, alike, catalog, now=now, new_id=new_id)
    plans = [
        assignment.plan(tx.tenant, p, rules, held.get(p.person_id, Held()), catalog, now=now, new_id=new_id)
        for p, rules in others
    ]
    await _apply_alike(tx, copies, origins)
    await _apply(tx, plans, origins)


async def _held(tx: Tx, person_id: str) -> Held:
    return (await records.held_by(tx.conn, tx.tenant, [person_id]))[person_id]


async def _apply(tx: Tx, plans: Sequence[Plan], origins: Origins = _OWN) -> None:
    """Append the events of these plans, and bring snapshots and timers up to them."""
    changes = [change for found in plans for change in found.changes]
    paths = [change for found in plans for change in found.paths]
    for change in changes:
        who, stream = change.after.person_id, f"enrollment/{change.after.enrollment_id}"
        tx.append(stream, change.events, expected=change.expected, key=who, origin=origins.get(who))
        _set_timer(tx, change)
    for change in paths:
        who, stream = change.after.person_id, path.stream_of(change.after.person_id, change.after.path_id)
        tx.append(stream, change.events, expected=change.expected, key=who, origin=origins.get(who))
    await records.save_changes(tx.conn, tx.tenant, changes, tx.now)
    await records.save_paths(tx.conn, tx.tenant, paths)


async def _apply_alike(tx: Tx, some: Sequence[Copies], origins: Origins = _OWN) -> None:
    """The same as `_apply`, in sets, for those who begin."""
    for copies in some:
        for version, event in enumerate(copies.change.events, 1):
            datas = of_others(event, copies.who)
            alike = [
                Alike(f"enrollment/{enrollment_id}", person_id, data, origins.get(person_id))
                for (enrollment_id, person_id, _), data in zip(copies.who, datas, strict=True)
            ]
            tx.append_alike(event, version, alike)
        if due := copies.change.after.due:
            tx.set_new_timers(OVERDUE, due.at, [enrollment_id for enrollment_id, *_ in copies.who])
    await records.save_alike(tx.conn, tx.tenant, some, tx.now)


def _set_timer(tx: Tx, change: Change) -> None:
    before, after = change.before, change.after
    was = before.due if before and before.state == "active" else None
    now = after.due if after.state == "active" else None
    if now and now != was:
        tx.set_timer(OVERDUE, after.enrollment_id, now.at)
    elif was and not now:
        tx.cancel_timer(OVERDUE, after.enrollment_id)


# The catalogue


async def on_tenant_created(tx: Tx, event: identity.TenantCreated, meta: Meta) -> None:  # noqa: ARG001
    """Remember the time zone of people who have none."""
    await book.lock_exclusive(tx.conn, tx.tenant)
    await book.save_time_zone(tx.conn, tx.tenant, event.default_time_zone)
    await book.raise_revision(tx.conn, tx.tenant)


async def on_course_published(tx: Tx, event: CoursePublished, meta: Meta, *, books: Books) -> None:  # noqa: ARG001
    """A version can be assigned. Whoever is enrolled stays with the version they began."""
    await book.lock_exclusive(tx.conn, tx.tenant)
    before = await books.read(tx.conn, tx.tenant)
    await book.save_course(tx.conn, tx.tenant, event)
    revision = await book.raise_revision(tx.conn, tx.tenant)
    if event.course_id in before.catalog.courses:
        return
    # A path may have become known before its course: its followers get the course now.
    waiting = {
        p
        for (p, _), known in before.catalog.paths.items()
        for i in known.items
        if i.course_id == event.course_id
    }
    for active in before.active.values():
        if not waiting.isdisjoint(active.draft.path_ids):
            _begin_pass(tx, active.rule_id, revision)


async def on_course_deprecated(tx: Tx, event: CourseDeprecated, meta: Meta) -> None:  # noqa: ARG001
    """Nobody is newly enrolled; whoever is enrolled may finish."""
    await book.lock_exclusive(tx.conn, tx.tenant)
    await book.deprecate_course(tx.conn, tx.tenant, event.course_id)
    await book.raise_revision(tx.conn, tx.tenant)


async def on_path_published(tx: Tx, event: PathPublished, meta: Meta) -> None:  # noqa: ARG001
    """A version can be assigned. Whoever follows the path stays with the version they began."""
    await book.lock_exclusive(tx.conn, tx.tenant)
    await book.save_path(tx.conn, tx.tenant, event)
    await book.raise_revision(tx.conn, tx.tenant)


# Progress


async def on_module_completed(tx: Tx, event: ModuleCompleted, meta: Meta, *, books: Books) -> None:  # noqa: ARG001
    """Note the module; the last one completes the course, and the last course the path."""
    held, old = await _enrolled(tx, str(UUID(event.enrollment_id)))
    catalog = (await books.read(tx.conn, tx.tenant)).catalog
    command = RecordModule(
        module_id=event.module_id,
        assurance=event.assurance or "self-reported",
        score=event.score if event.HasField("score") else None,
        modules=catalog.modules[old.state.course_id, old.state.course_version],
        at=event.completed_at.ToDatetime(UTC) if event.HasField("completed_at") else tx.now,
    )
    change = assignment.change_of(old, decide(old.state, command))
    if change.events:
        await _apply(tx, [Plan((change,), _completed_paths(tx, held, change, catalog))])


async def _enrolled(tx: Tx, enrollment_id: str) -> tuple[Held, Versioned]:
    """The enrolment with all else the person has; the person is locked."""
    person_id = await records.owner_of(tx.conn, tx.tenant, enrollment_id)
    if person_id is None:
        raise UnknownEnrollment(f"No enrolment {enrollment_id!r}")
    await lock_people(tx.conn, tx.tenant, [person_id])
    held = await _held(tx, person_id)
    return held, next(v for v in held.enrollments.values() if v.state.enrollment_id == enrollment_id)


def _completed_paths(tx: Tx, held: Held, change: Change, catalog: Catalog) -> tuple[PathChange, ...]:
    if change.after.state != "completed":
        return ()
    states = {c: v.state for c, v in held.enrollments.items()} | {change.after.course_id: change.after}
    done = ((v, assignment.completion(v.state, catalog, states, tx.now)) for v in held.paths.values())
    return tuple(
        PathChange(v.version, tuple(events), path.evolve(v.state, events[0])) for v, events in done if events
    )


async def on_overdue(tx: Tx, timer: Timer) -> None:
    """The due date has come; unless it moved or the course is done, say so."""
    _, old = await _enrolled(tx, timer.key)
    change = assignment.change_of(old, decide(old.state, MarkOverdue(tx.now)))
    if change.events:
        await _apply(tx, [Plan((change,))])


# Rules


async def draft_rule(tx: Tx, said: Draft, *, books: Books, rule_id: str | None = None) -> str:
    """Write a rule, or a new version of one. Nobody is enrolled by it until it is activated."""
    check_targets((await books.read(tx.conn, tx.tenant)).catalog, said)
    if rule_id is None:
        state, version = Rule(str(tx.new_id())), 0
    else:
        row = await _rule(tx, rule_id)
        state, version = row.rule, row.stream_version
        if said == row.draft:
            return rule_id
    events = rule.draft(state, said, condition_text=json.dumps(said.condition_json), by=tx.actor)
    tx.append(f"rule/{state.rule_id}", events, expected=version)
    after = rule.evolve(state, events[0])
    drafted = book.draft_row(after.version, said, by=tx.actor, at=tx.now)
    await book.save_rule(tx.conn, tx.tenant, after, version + 1, drafted)
    return state.rule_id


async def activate_rule(tx: Tx, rule_id: str, *, books: Books) -> None:
    """From now on the newest version holds. The pass over everybody follows in chunks of its own."""
    await book.lock_exclusive(tx.conn, tx.tenant)
    row = await _rule(tx, rule_id)
    check_targets((await books.read(tx.conn, tx.tenant)).catalog, row.draft)
    await _turn(tx, row, rule.activate(row.rule, tx.actor))


async def retire_rule(tx: Tx, rule_id: str) -> None:
    """The rule no longer holds; what it asked for falls away in a pass."""
    await book.lock_exclusive(tx.conn, tx.tenant)
    row = await _rule(tx, rule_id)
    await _turn(tx, row, rule.retire(row.rule, tx.actor))


async def _turn(tx: Tx, row: book.RuleRow, events: Sequence[Message]) -> None:
    for event in events:
        tx.append(f"rule/{row.rule.rule_id}", [event], expected=row.stream_version)
        after = rule.evolve(row.rule, event)
        await book.save_rule(tx.conn, tx.tenant, after, row.stream_version + 1, None)
        _begin_pass(tx, after.rule_id, await book.raise_revision(tx.conn, tx.tenant))


async def _rule(tx: Tx, rule_id: str) -> book.RuleRow:
    row = await book.rule(tx.conn, tx.tenant, rule_id)
    if row is None:
        raise NotFound()
    return row


def check_targets(catalog: Catalog, said: Draft) -> None:
    """A rule may name only what is published: else it would promise what nobody can begin."""
    for course_id in said.course_ids:
        if course_id not in catalog.courses:
            raise UnknownTarget(f"The course {course_id} is not published")
        if catalog.courses[course_id].deprecated:
            raise UnknownTarget(f"The course {course_id} is deprecated")
    for path_id in said.path_ids:
        if path_id not in catalog.newest_paths:
            raise UnknownTarget(f"The path {path_id} is not published")


def _begin_pass(tx: Tx, rule_id: str, revision: int) -> None:
    # A key of its own per change: a pass that is running is never waited for. Passes of one rule may overlap, since
    # each brings people to what the rule says when it reaches them.
    tx.set_timer(EVERYBODY, f"{rule_id}/{revision}", tx.now, {"rule_id": rule_id, "after": ""})


async def on_rule_pass(tx: Tx, timer: Timer, *, books: Books, chunk: int) -> None:
    """Bring the next people up to the rule as it is now, and leave a timer for those after them."""
    rule_id, after = timer.payload["rule_id"], timer.payload["after"]
    await book.lock_shared(tx.conn, tx.tenant)
    current = await books.read(tx.conn, tx.tenant)
    active = current.active.get(rule_id)
    await book.lock_courses(tx.conn, tx.tenant, current.contested.get(rule_id, ()))
    some = await concerned(
        tx.conn,
        tx.tenant,
        rule_id,
        active.draft.condition if active else None,
        after=after or None,
        limit=chunk,
        # Whoever changes a person waits. The pass of another rule need not: it is about other courses.
        lock="shared" if active else "exclusive",
        rule=active,
    )
    if active and (fresh := [(c.person, [active]) for c in some if c.fresh]):
        await _apply_alike(
            tx,
            assignment.enrol_alike(tx.tenant, fresh, current.catalog, now=tx.now, new_id=tx.new_id),
        )
    others = [c for c in some if not c.fresh]
    held = await records.held_by(tx.conn, tx.tenant, [c.person.person_id for c in others])
    plans = [
        assignment.plan(
            tx.tenant,
            c.person,
            [active] if active and c.matched else [],
            held[c.person.person_id],
            current.catalog,
            now=tx.now,
            new_id=tx.new_id,
            scope=rule_id,
        )
        for c in others
    ]
    await _apply(tx, plans)
    if len(some) == chunk:
        tx.set_timer(timer.kind, timer.key, tx.now, {**timer.payload, "after": some[-1].person.person_id})


# People enrolling people


@dataclass(frozen=True)
class Enrolled:
    enrollment_id: str
    new: bool


async def enrol(
    tx: Tx,
    person_id: str,
    course_id: str,
    *,
    kind: Kind,
    reason: str,
    due_date: date | None,
    carried_over: bool = False,
    books: Books,
) -> Enrolled:
    """Enrol somebody by hand, or oneself. An enrolment that exists gets one more reason, or stays as it is.

    What is carried over from another system may be late already; else a date that has passed is a mistake.
    """
    await book.lock_shared(tx.conn, tx.tenant)
    found = (await lock_people(tx.conn, tx.tenant, [person_id])).get(person_id)
    if found is None:
        raise NotFound("No such person")
    if not found.employed:
        raise NotEmployed("Who has left can not be enrolled")
    catalog = (await books.read(tx.conn, tx.tenant)).catalog
    where = dates.zone(found.facts.get("time_zone", ""), catalog.time_zone)
    today = dates.today(tx.now, where)
    if due_date and due_date < today and not carried_over:
        raise DueDatePassed(f"{due_date.isoformat()} is over")
    due = dates.due_on(due_date, where) if due_date else None
    ground = Ground(kind, tx.actor, today, reason=reason, due=due)
    old = (await _held(tx, person_id)).enrollments.get(course_id)
    if old is None:
        events = decide(None, _first(tx, found, course_id, ground, catalog))
    elif old.state.state == "completed" or (kind == "self" and old.state.state == "active"):
        return Enrolled(old.state.enrollment_id, new=False)
    else:
        held = next((g for g in old.state.grounds if g.key == ground.key), None)
        if held:  # asked for again by the same person: only the date may be another one
            ground = replace(ground, since=held.since, due=due or held.due)
        modules = catalog.modules[course_id, old.state.course_version]
        events = decide(old.state, ChangeGrounds([ground], (), modules, tx.now))
    change = assignment.change_of(old, events)
    if change.events:
        await _apply(tx, [Plan((change,))])
    return Enrolled(change.after.enrollment_id, new=old is None)


def _first(tx: Tx, person: Person, course_id: str, ground: Ground, catalog: Catalog) -> Enrol:
    course = catalog.courses.get(course_id)
    if course is None:
        raise UnknownTarget(f"The course {course_id} is not published")
    if course.deprecated:
        raise CourseNotOpen("The course is deprecated: nobody begins it any more")
    return Enrol(
        enrollment_id=str(tx.new_id()),
        person_id=person.person_id,
        course_id=course_id,
        course_version=course.course_version,
        grounds=[ground],
        department=person.facts.get("department", ""),
        at=tx.now,
    )
