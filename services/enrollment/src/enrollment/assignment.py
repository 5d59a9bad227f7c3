"""PURE. From "these rules match this person" to what has to change: grounds wanted against grounds held.

The same computation serves one new hire, a pass over everybody and a preview, so they cannot disagree.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from typing import TypeVar
from uuid import UUID

from google.protobuf.message import Message

from enrollment import dates, path
from enrollment.enrollment import (
    ChangeGrounds,
    Enrol,
    Enrollment,
    Ground,
    GroundKey,
    Who,
    Withdraw,
    decide,
    fold,
)
from enrollment.path import Path, PathEnrollment
from enrollment.rule import ActiveRule

S = TypeVar("S")

NO_RULE = "No rule asks for it any more"
LEFT = "The person left"


@dataclass(frozen=True)
class Person:
    person_id: str
    facts: Mapping[str, str]  # those that are there

    @property
    def employed(self) -> bool:
        return self.facts.get("status") != "terminated"


@dataclass(frozen=True)
class Course:
    course_id: str
    course_version: int  # the newest
    deprecated: bool


@dataclass(frozen=True)
class Catalog:
    """What there is to assign. `modules` and `paths` also know the older versions that people are pinned to."""

    courses: Mapping[str, Course] = field(default_factory=dict[str, Course])
    modules: Mapping[tuple[str, int], tuple[str, ...]] = field(
        default_factory=dict[tuple[str, int], tuple[str, ...]]
    )
    newest_paths: Mapping[str, int] = field(default_factory=dict[str, int])
    paths: Mapping[tuple[str, int], Path] = field(default_factory=dict[tuple[str, int], Path])
    time_zone: str = ""


@dataclass(frozen=True)
class Versioned:
    """An enrolment as the last of its events left it."""

    state: Enrollment
    version: int


@dataclass(frozen=True)
class VersionedPath:
    state: PathEnrollment
    version: int


@dataclass(frozen=True)
class Held:
    """What a person has now; the newest cycle per course."""

    enrollments: Mapping[str, Versioned] = field(default_factory=dict[str, Versioned])
    paths: Mapping[str, VersionedPath] = field(default_factory=dict[str, VersionedPath])


@dataclass(frozen=True)
class Change:
    """Events for one enrolment, and the state they lead to."""

    before: Enrollment | None
    expected: int
    events: tuple[Message, ...]
    after: Enrollment


@dataclass(frozen=True)
class Copies:
    """A first change that several people have alike: only whose it is differs."""

    change: Change
    who: Sequence[Who]


@dataclass(frozen=True)
class PathChange:
    """`events` may be empty: another rule assigns the same path now."""

    expected: int
    events: tuple[Message, ...]
    after: PathEnrollment


@dataclass(frozen=True)
class Plan:
    changes: tuple[Change, ...] = ()
    paths: tuple[PathChange, ...] = ()


def plan(
    tenant: UUID,
    person: Person,
    matched: Sequence[ActiveRule],
    held: Held,
    catalog: Catalog,
    *,
    now: datetime,
    new_id: Callable[[], object],
    scope: str | None = None,
) -> Plan:
    """What follows for `person` when exactly `matched` hold. `scope`: the one rule that is looked at, or all."""
    if not person.employed:
        return _leave(held)
    where = dates.zone(person.facts.get("time_zone", ""), catalog.time_zone)
    today = dates.today(now, where)

    def ground_of(rule: ActiveRule) -> Ground:
        days = rule.draft.due_in_days
        hired = person.facts.get("hire_date", "")
        due = None if days is None else dates.due_in(days, hire_date=hired, since=today, where=where)
        return Ground(
            kind="rule",
            ground_id=rule.rule_id,
            since=today,
            rule_version=rule.rule_version,
            reason=rule.draft.sentence,
            due=due,
            on_ground_lost=rule.draft.on_ground_lost,
        )

    def kept(ground: Ground, old: Ground | None) -> Ground:
        """A ground that is held stays as it is under its rule's version; a new version counts from the old start."""
        if old is None or old.rule_version == ground.rule_version:
            return old or ground
        rule = next(r for r in matched if r.rule_id == ground.rule_id)
        days = rule.draft.due_in_days
        hired = person.facts.get("hire_date", "")
        due = None if days is None else dates.due_in(days, hire_date=hired, since=old.since, where=where)
        return replace(ground, since=old.since, due=due)

    wanted_paths = {(path_id, r.rule_id): r for r in matched for path_id in r.draft.path_ids}
    assigned = _assigned(tenant, person, wanted_paths, held, catalog, scope)
    wanted: dict[str, dict[GroundKey, Ground]] = {}
    for rule in matched:
        ground = ground_of(rule)
        for course_id in rule.draft.course_ids:
            wanted.setdefault(course_id, {})[ground.key] = ground
        for path_id in rule.draft.path_ids:
            if path_id not in assigned:
                continue
            followed = catalog.paths[path_id, assigned[path_id].path_version]
            step = replace(ground, kind="path", ground_id=path_id, via=rule.rule_id)
            for item in followed.items:
                wanted.setdefault(item.course_id, {})[step.key] = step

    changes: list[Change] = []
    for course_id in [*wanted, *(c for c in held.enrollments if c not in wanted)]:
        old = held.enrollments.get(course_id)
        asked = wanted.get(course_id, {})
        mine = {g.key: g for g in old.state.grounds} if old else {}
        add = [kept(g, mine.get(key)) for key, g in asked.items()]
        lose = [g.key for g in mine.values() if g.rule_id and _in(scope, g) and g.key not in asked]
        change = _course(person, course_id, old, add, lose, catalog, now=now, new_id=new_id)
        if change:
            changes.append(change)
    return Plan(tuple(changes), _paths(assigned, wanted_paths, held, changes, catalog, ground_of, now, scope))


def enrol_alike(
    tenant: UUID,
    matched: Iterable[tuple[Person, Sequence[ActiveRule]]],
    catalog: Catalog,
    *,
    now: datetime,
    new_id: Callable[[], object],
) -> list[Copies]:
    """`plan` for many people who hold nothing yet of what their rules ask for. The rules name no path.

    Only a few facts of a person make a difference to `plan`. It is asked once, for each course, for all who have these
    in common.
    """
    groups: dict[tuple[str, ...], tuple[Sequence[ActiveRule], list[Person]]] = {}
    for person, rules in matched:
        alike = _difference(person, catalog, now)
        for course_id, asking in _by_course(rules).items():
            key = (course_id, *alike, *[rule.rule_id for rule in asking])
            groups.setdefault(key, (asking, []))[1].append(person)
    return [
        Copies(change, [(str(new_id()), p.person_id, p.facts.get("department", "")) for p in people])
        for (course_id, *_), (rules, people) in groups.items()
        for change in plan(
            tenant,
            people[0],
            [_only(course_id, rule) for rule in rules],
            Held(),
            catalog,
            now=now,
            new_id=new_id,
        ).changes
    ]


def _by_course(rules: Iterable[ActiveRule]) -> dict[str, list[ActiveRule]]:
    """Which of the rules ask for it, by course."""
    found: dict[str, list[ActiveRule]] = {}
    for rule in rules:
        for course_id in rule.draft.course_ids:
            found.setdefault(course_id, []).append(rule)
    return found


def _only(course_id: str, rule: ActiveRule) -> ActiveRule:
    return replace(rule, draft=replace(rule.draft, course_ids=(course_id,)))


def _difference(person: Person, catalog: Catalog, now: datetime) -> tuple[str, ...]:
    """All that `plan` looks at in somebody who holds nothing, but for what the event says of each: whose it is."""
    facts = person.facts
    zone, hired = facts.get("time_zone", ""), facts.get("hire_date", "")
    return (
        facts.get("status", ""),
        zone,
        # The days there are count from today for all who began before.
        hired if hired > _today(now, zone, catalog.time_zone) else "",
    )


@lru_cache(maxsize=1024)
def _today(now: datetime, *zones: str) -> str:
    return dates.today(now, dates.zone(*zones)).isoformat()


def _in(scope: str | None, ground: Ground) -> bool:
    return scope is None or ground.rule_id == scope


def _leave(held: Held) -> Plan:
    """Open enrolments end, whatever asked for them. The record stays."""
    left = [change_of(v, decide(v.state, Withdraw(LEFT))) for v in held.enrollments.values()]
    paths = tuple(
        PathChange(
            v.version,
            (events := tuple(path.withdraw(v.state, LEFT))),
            replace(_fold_path(v.state, events), rule_ids=frozenset[str]()),
        )
        for v in held.paths.values()
        if v.state.state == "active" or v.state.rule_ids
    )
    return Plan(tuple(c for c in left if c.events), paths)


def _course(
    person: Person,
    course_id: str,
    old: Versioned | None,
    add: Sequence[Ground],
    lose: Sequence[GroundKey],
    catalog: Catalog,
    *,
    now: datetime,
    new_id: Callable[[], object],
) -> Change | None:
    if old is None:
        course = catalog.courses.get(course_id)
        # Not published yet (the feed of a path may be ahead), or not to be begun any more.
        if course is None or course.deprecated or not add:
            return None
        command = Enrol(
            enrollment_id=str(new_id()),
            person_id=person.person_id,
            course_id=course_id,
            course_version=course.course_version,
            grounds=add,
            department=person.facts.get("department", ""),
            at=now,
        )
        return change_of(None, decide(None, command))
    modules = catalog.modules.get((course_id, old.state.course_version), ())
    change = change_of(old, decide(old.state, ChangeGrounds(add, lose, modules, now, NO_RULE)))
    return change if change.events else None


def change_of(old: Versioned | None, events: Iterable[Message]) -> Change:
    """A change and where it leads."""
    events = tuple(events)
    after = fold(events, old.state if old else None)
    assert after is not None
    return Change(old.state if old else None, old.version if old else 0, events, after)


def _assigned(
    tenant: UUID,
    person: Person,
    wanted: Collection[tuple[str, str]],
    held: Held,
    catalog: Catalog,
    scope: str | None,
) -> dict[str, PathEnrollment]:
    """Paths the person follows after this, at the version pinned when they first did."""
    found: dict[str, PathEnrollment] = {}
    for path_id in dict.fromkeys(p for p, _ in wanted):
        old = held.paths.get(path_id)
        version = old.state.path_version if old else catalog.newest_paths.get(path_id)
        if version is None:
            continue
        identity = path.path_enrollment_id(tenant, person.person_id, path_id)
        rules = {r for p, r in wanted if p == path_id}
        if scope is not None and old:
            rules |= old.state.rule_ids - {scope}
        fresh = PathEnrollment(identity, person.person_id, path_id, version)
        found[path_id] = replace(fresh, rule_ids=frozenset(rules))
    return found


def _paths(
    assigned: Mapping[str, PathEnrollment],
    wanted: Mapping[tuple[str, str], ActiveRule],
    held: Held,
    changes: Sequence[Change],
    catalog: Catalog,
    ground_of: Callable[[ActiveRule], Ground],
    now: datetime,
    scope: str | None,
) -> tuple[PathChange, ...]:
    after = {c: v.state for c, v in held.enrollments.items()} | {c.after.course_id: c.after for c in changes}
    result: list[PathChange] = []
    for path_id, fresh in assigned.items():
        old = held.paths.get(path_id)
        rule = next(r for (p, _), r in wanted.items() if p == path_id)
        begun = path.assign(old.state if old else None, fresh, ground_of(rule))
        state = _fold_path(old.state if old else None, begun)
        ended = completion(state, catalog, after, now)
        state = replace(_fold_path(state, ended), rule_ids=fresh.rule_ids)
        if begun or ended or not old or old.state.rule_ids != fresh.rule_ids:
            result.append(PathChange(old.version if old else 0, (*begun, *ended), state))
    for path_id, old in held.paths.items():
        gone = old.state.rule_ids if scope is None else old.state.rule_ids & {scope}
        if path_id in assigned or not gone:
            continue
        left = old.state.rule_ids - gone
        events = [] if left else path.withdraw(old.state, NO_RULE)
        state = replace(_fold_path(old.state, events), rule_ids=left)
        result.append(PathChange(old.version, tuple(events), state))
    return tuple(result)


def completion(
    state: PathEnrollment, catalog: Catalog, enrollments: Mapping[str, Enrollment], now: datetime
) -> list[Message]:
    """PathCompleted when the person's last course of the path is done."""
    followed = catalog.paths[state.path_id, state.path_version]
    courses = {item.course_id for item in followed.items}
    done = {c for c in courses if c in enrollments and enrollments[c].state == "completed"}
    excused = {
        c
        for c in courses
        if c not in enrollments and (course := catalog.courses.get(c)) is not None and course.deprecated
    }
    return path.complete(state, followed, completed=done, excused=excused, at=now)


def _fold_path(state: PathEnrollment | None, events: Iterable[Message]) -> PathEnrollment:
    for event in events:
        state = path.evolve(state, event)
    assert state is not None
    return state
