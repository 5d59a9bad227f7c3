"""PURE: what HR said about a person, and which events follow from it. No clock, no ids, no database.

HR systems repeat themselves, overtake themselves and speak of the future. So what they say is kept as a
`Record`, which `heard` merges in any order to the same value; `outlook` reads from it what holds now and when
that changes; `decide` compares this with the person as published and emits the differences only.

    statement --heard--> Record --outlook(now)--> Outlook --decide(Person)--> events --evolve--> Person

Names and addresses are in no event: `decide` only says which of them changed.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Literal
from zoneinfo import ZoneInfo

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from identity.errors import StillHere
from lyceum.identity.v1 import events_pb2 as pb

# What an event may say of why somebody left. HR's own words stay in the record: they may be personal.
TERMINATED = "terminated"
NOT_LISTED = "not in the HR system any more"
REASONS = frozenset({NOT_LISTED, "resigned", "retired", "dismissed", "contract ended"})
ACTIVE = (pb.EMPLOYMENT_STATUS_ACTIVE, pb.EMPLOYMENT_STATUS_ON_LEAVE)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Profile:
    """What is personal, and therefore stays in identity's tables."""

    display_name: str
    email: str = ""
    locale: str = "en"


@dataclass(frozen=True)
class PersonFacts:
    """A person's job as HR describes it."""

    department: str = ""
    location: str = ""
    job_title: str = ""
    manager_external_id: str = ""
    hire_date: date | None = None
    time_zone: str = "UTC"
    employment_type: str = ""
    on_leave: bool = False


# What is only passed on: a field of that name in HR's message, here, and in the event's Job.
COPIED = ("department", "location", "job_title", "employment_type")


@dataclass(frozen=True)
class Described:
    """HR says what a person is like. `hires` also means: this person (again) works here."""

    said_at: datetime
    facts: PersonFacts
    profile: Profile
    effective_on: date | None = None
    hires: bool = False


@dataclass(frozen=True)
class Leaves:
    """HR says that a person leaves, at the start of `effective_on`, or at once."""

    said_at: datetime
    effective_on: date | None = None
    reason: str = ""


Statement = Described | Leaves
Status = pb.EmploymentStatus.ValueType


@dataclass(frozen=True)
class Record:
    """Of all that HR said about one person, what can still matter."""

    described: tuple[Described, ...] = ()
    newest: Described | None = None  # names and the hire date are not dated: the newest word counts
    hired_at: datetime | None = None  # when HR last said that the person works here
    leaves: Leaves | None = None


@dataclass(frozen=True)
class Outlook:
    """What a Record says as of a moment."""

    facts: PersonFacts | None  # None: not hired yet
    effective_at: datetime
    left: Leaves | None
    left_at: datetime
    changes_at: datetime | None  # when to look again

    @property
    def present(self) -> bool:
        return self.facts is not None and self.left is None


def day_starts(day: date, time_zone: str) -> datetime:
    """The first moment of `day` where the person lives."""
    return datetime.combine(day, time.min, ZoneInfo(time_zone)).astimezone(UTC)


def holds_from(statement: Described) -> datetime:
    """A dated statement waits for its day; others hold from when they were said."""
    if statement.effective_on is None:
        return statement.said_at
    return max(statement.said_at, day_starts(statement.effective_on, statement.facts.time_zone))


def _ranked(described: Iterable[Described]) -> list[Described]:
    """In the order in which they take over."""
    some = list(described)
    # Nearly always one. Its rank spells it out, which for nothing took a tenth of a listing's time.
    return sorted(some, key=_rank) if len(some) > 1 else some


def _rank(statement: Described) -> tuple[datetime, datetime, str]:
    # repr makes the order total, so that two different statements of one instant merge alike in any order.
    return holds_from(statement), statement.said_at, repr(statement)


def _newness(statement: Described) -> tuple[datetime, str]:
    return statement.said_at, repr(statement)


def heard(record: Record, statement: Statement, now: datetime) -> Record:
    """Merge a statement. Commutative and idempotent; what an older message says about the past is ignored."""
    match statement:
        case Leaves():
            known = record.leaves
            newer = known is None or (statement.said_at, repr(statement)) > (known.said_at, repr(known))
            return replace(record, leaves=statement) if newer else record
        case Described():
            return replace(
                record,
                described=_relevant({*record.described, statement}, now),
                newest=max(record.newest, statement, key=_newness) if record.newest else statement,
                hired_at=max(record.hired_at or LONG_AGO, statement.said_at)
                if statement.hires
                else record.hired_at,
            )


def _relevant(described: Iterable[Described], now: datetime) -> tuple[Described, ...]:
    """The one that holds, and those whose day is still to come: nothing else can ever hold again."""
    ranked = _ranked(described)
    past = [s for s in ranked if holds_from(s) <= now]
    return (*past[-1:], *ranked[len(past) :])


def outlook(record: Record, now: datetime) -> Outlook:
    """What holds at `now`."""
    ranked = _ranked(record.described)
    past = [s for s in ranked if holds_from(s) <= now]
    moments = [holds_from(s) for s in ranked]
    hired_on = record.newest.facts.hire_date if record.newest else None
    zone = record.newest.facts.time_zone if record.newest else "UTC"
    begins = day_starts(hired_on, zone) if hired_on else LONG_AGO
    moments.append(begins)
    holding = past[-1] if past and begins <= now else None

    leaves = record.leaves
    if leaves and record.hired_at and record.hired_at > leaves.said_at:
        leaves = None  # hired again since
    left_at = LONG_AGO
    if leaves:
        left_at = day_starts(leaves.effective_on, zone) if leaves.effective_on else leaves.said_at
        moments.append(left_at)
    return Outlook(
        facts=_hired_on(holding.facts, hired_on) if holding else None,
        effective_at=_effective_at(holding) if holding else LONG_AGO,
        left=leaves if leaves and left_at <= now else None,
        left_at=left_at,
        changes_at=min((m for m in moments if m > now), default=None),
    )


def _hired_on(facts: PersonFacts, day: date | None) -> PersonFacts:
    return facts if facts.hire_date == day else replace(facts, hire_date=day)


def _effective_at(statement: Described) -> datetime:
    """The day HR named, also where it spoke up late."""
    if statement.effective_on is None:
        return statement.said_at
    return day_starts(statement.effective_on, statement.facts.time_zone)


def waits_for_hire(record: Record) -> bool:
    """HR said somebody leaves of whom it never said anything else."""
    return record.leaves is not None and record.newest is None


def is_over(record: Record, now: datetime) -> bool:
    """HR says that the person left, or never said that they came."""
    return record.newest is None or outlook(record, now).left is not None


def comes_anew(statement: Statement, erased_at: datetime) -> bool:
    """HR hires somebody who was erased here. Anything else it still says of them is of the time before."""
    match statement:
        case Leaves():
            return False
        case Described():
            hired_on = statement.facts.hire_date
            starts = hired_on is not None and hired_on > erased_at.date()
            return statement.said_at > erased_at and (statement.hires or starts)


def unmanaged(statement: Described, erased: Collection[str]) -> Described:
    """The same, unless it says that one of these external ids is the manager: then it names none."""
    if statement.facts.manager_external_id not in erased:
        return statement
    return replace(statement, facts=replace(statement.facts, manager_external_id=""))


def unmanaged_record(record: Record, erased: Collection[str]) -> Record:
    return replace(
        record,
        described=tuple(unmanaged(s, erased) for s in record.described),
        newest=record.newest and unmanaged(record.newest, erased),
    )


def present_again(record: Record, statement: Described, now: datetime) -> Described:
    """A full listing shows somebody: that rehires who had left, but cancels no leave to come."""
    gone = outlook(record, now).left
    return replace(statement, hires=gone is not None and statement.said_at > gone.said_at)


# ---- the person as published


@dataclass(frozen=True)
class Person:
    """What the events say so far."""

    status: Status = pb.EMPLOYMENT_STATUS_UNSPECIFIED
    job: pb.Job | None = None
    roles: tuple[str, ...] = ("learner",)
    erased: bool = False

    @property
    def exists(self) -> bool:
        return self.status != pb.EMPLOYMENT_STATUS_UNSPECIFIED

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


@dataclass(frozen=True)
class Settle:
    """Bring the published person to what HR's record says now."""

    person_id: str
    source: str
    outlook: Outlook
    org_unit_id: str = ""
    manager_id: str = ""


@dataclass(frozen=True)
class ChangeProfile:
    """The profile on record becomes another."""

    person_id: str
    before: Profile
    after: Profile


@dataclass(frozen=True)
class SetRoles:
    """Roles are those somebody granted, learner, and manager for whoever has reports."""

    person_id: str
    granted: tuple[str, ...]
    leads: bool


@dataclass(frozen=True)
class Erase:
    """Who the person was is to be forgotten. `over`: HR says that they left, or never came."""

    person_id: str
    reason: str
    over: bool
    at: datetime


Command = Settle | ChangeProfile | SetRoles | Erase


def decide(person: Person, command: Command) -> list[Message]:
    """Raises StillHere."""
    if person.erased:
        return []
    match command:
        case Settle():
            return _settle(person, command)
        case ChangeProfile(person_id, before, after):
            old, new = vars(before), vars(after)
            changed = [name for name in new if old[name] != new[name]]
            if not changed or not person.exists:
                return []
            return [pb.UserProfileChanged(person_id=person_id, changed=changed)]
        case SetRoles(person_id, granted, leads):
            derived: set[str] = {"learner", "manager"} if leads else {"learner"}
            roles = tuple(sorted(derived | set(granted)))
            if roles == person.roles:
                return []
            return [pb.RolesChanged(person_id=person_id, roles=roles)]
        case Erase(person_id, reason, over, at):
            if person.active or not over:
                raise StillHere(
                    "First HR has to end the employment: by person.terminated, or by a full listing without them"
                )
            return [pb.UserErased(person_id=person_id, reason=reason, erased_at=_stamp(at))]


def _settle(person: Person, command: Settle) -> list[Message]:
    found = command.outlook
    events: list[Message] = []
    active = person.active
    if found.facts is not None:
        job = job_of(found.facts, org_unit_id=command.org_unit_id, manager_id=command.manager_id)
        status = pb.EMPLOYMENT_STATUS_ON_LEAVE if found.facts.on_leave else pb.EMPLOYMENT_STATUS_ACTIVE
        since = _stamp(found.effective_at)
        if not person.exists:
            events.append(
                pb.UserProvisioned(
                    person_id=command.person_id,
                    source=command.source,
                    status=status,
                    job=job,
                    effective_at=since,
                )
            )
            active = True
        elif found.left is None and not person.active:
            events.append(
                pb.UserReactivated(person_id=command.person_id, status=status, job=job, effective_at=since)
            )
            active = True
        elif found.left is None and (changed := _changed(person, status, job)):
            events.append(
                pb.UserUpdated(
                    person_id=command.person_id, status=status, job=job, changed=changed, effective_at=since
                )
            )
    if found.left is not None and active:
        events.append(
            pb.UserDeactivated(
                person_id=command.person_id,
                reason=_reason(found.left.reason),
                effective_at=_stamp(found.left_at),
            )
        )
    return events


@lru_cache(maxsize=256)
def _stamp(at: datetime) -> Timestamp:
    """Not to be changed: a listing says everything at one moment. Messages take a copy."""
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


def _reason(said: str) -> str:
    found = said.strip()
    return next((word for word in REASONS if word.lower() == found.lower()), TERMINATED)


def job_of(facts: PersonFacts, *, org_unit_id: str, manager_id: str) -> pb.Job:
    return pb.Job(
        **{name: getattr(facts, name) for name in COPIED},
        org_unit_id=org_unit_id,
        manager_id=manager_id,
        hire_date=facts.hire_date.isoformat() if facts.hire_date else "",
        time_zone=facts.time_zone,
    )


def _changed(person: Person, status: Status, job: pb.Job) -> list[str]:
    before = person.job or pb.Job()
    names = [f.name for f in pb.Job.DESCRIPTOR.fields if getattr(before, f.name) != getattr(job, f.name)]
    return names if status == person.status else [*names, "status"]


def evolve(person: Person, event: Message) -> Person:
    match event:
        case pb.UserProvisioned() | pb.UserUpdated() | pb.UserReactivated():
            return replace(person, status=event.status, job=event.job)
        case pb.UserDeactivated():
            return replace(person, status=pb.EMPLOYMENT_STATUS_TERMINATED)
        case pb.UserErased():
            return replace(person, status=pb.EMPLOYMENT_STATUS_TERMINATED, job=None, roles=(), erased=True)
        case pb.RolesChanged():
            return replace(person, roles=tuple(event.roles))
        case _:
            return person


def person_from(events: Iterable[Message]) -> Person:
    person = Person()
    for event in events:
        person = evolve(person, event)
    return person


StatusName = Literal["held", "prehire", "active", "on_leave", "terminated", "erased"]

STATUS_NAMES: dict[Status, StatusName] = {
    pb.EMPLOYMENT_STATUS_PREHIRE: "prehire",
    pb.EMPLOYMENT_STATUS_ACTIVE: "active",
    pb.EMPLOYMENT_STATUS_ON_LEAVE: "on_leave",
    pb.EMPLOYMENT_STATUS_TERMINATED: "terminated",
}


def status_name(person: Person, record: Record) -> StatusName:
    """How lists call where a person stands, also before the first event."""
    if person.erased:
        return "erased"
    if person.exists:
        return STATUS_NAMES[person.status]
    return "held" if waits_for_hire(record) else "prehire"
