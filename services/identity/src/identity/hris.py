"""PURE: what HR systems send, read strictly, as statements about people (`person.Statement`).

Three shapes: the vendor-neutral event, a full snapshot, and BambooHR's notice, which names ids only, with the
record that is then read from BambooHR. Fields nobody knows are let pass: HR systems grow them.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, TypeVar, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)

from identity.errors import BadJson, DuplicateInSnapshot, SaidInTheFuture, UnknownTimeZone
from identity.person import COPIED, Described, Leaves, PersonFacts, Profile, Statement
from lyceum_kit.errors import Invalid
from lyceum_kit.lines import Line, one_line

M = TypeVar("M", bound=BaseModel)

MAX_DEPTH = 32
CLOCK_SKEW = timedelta(minutes=5)
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)


def strict_json(raw: bytes) -> Any:
    """JSON that every reader understands alike (I-JSON, RFC 7493): no NaN, twin keys, lone surrogate, NUL."""
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_object, parse_constant=_constant)
        _check(value, 0)
    except (ValueError, RecursionError) as e:
        raise BadJson(f"The body is not usable JSON: {e}"[:200]) from e
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number in JSON")


def _check(value: Any, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    match value:
        case str():
            value.encode()  # a lone surrogate is a UnicodeEncodeError, which is a ValueError
            if "\0" in value:
                raise ValueError("a string has a NUL character")
        case list():
            for item in cast("list[Any]", value):
                _check(item, depth + 1)
        case dict():
            for key, item in cast("dict[str, Any]", value).items():
                _check(key, depth + 1)
                _check(item, depth + 1)
        case _:
            pass


def _only_text(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a string such as 2026-11-24")
    return value or None


def _a_day(day: date | None) -> date | None:
    # The first and last days of the calendar are no moments in most time zones.
    if day and not FIRST_DAY <= day <= LAST_DAY:
        raise ValueError(f"must lie between {FIRST_DAY} and {LAST_DAY}")
    return day


def _a_moment(moment: datetime) -> datetime:
    if moment.year < FIRST_DAY.year:
        raise ValueError(f"must not lie before {FIRST_DAY}")
    return moment


# A tab in somebody's name must not keep a company from being imported; an id is taken as it is, or not at all.
Text = Annotated[str, StringConstraints(strict=True, max_length=300), AfterValidator(one_line)]
Id = Annotated[Line, StringConstraints(strict=True, strip_whitespace=True, max_length=200)]
Day = Annotated[date | None, BeforeValidator(_only_text), AfterValidator(_a_day)]
Moment = Annotated[AwareDatetime, BeforeValidator(_only_text), AfterValidator(_a_moment)]


class _Payload(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Leaver(_Payload):
    """What a termination must say."""

    external_id: Id
    effective_date: Day = None
    reason: Text = ""


class Employee(_Payload):
    """A person as an HR system describes one. All of it: what is left out is empty."""

    external_id: Id
    display_name: Text = ""
    given_name: Text = ""
    family_name: Text = ""
    email: Text = ""
    locale: Text = "en"
    department: Text = ""
    location: Text = ""
    job_title: Text = ""
    manager_external_id: Text | None = None
    hire_date: Day = None
    effective_date: Day = None
    time_zone: Text | None = None
    employment_type: Text = ""
    status: Literal["active", "on_leave"] = "active"

    def name(self) -> str:
        return self.display_name or f"{self.given_name} {self.family_name}".strip()


class Listed(Employee):
    """Somebody in a snapshot, perhaps on the way out."""

    status: Literal["active", "on_leave", "terminated"] = "active"  # type: ignore[assignment] - wider than its parent
    termination_date: Day = None


class Event(_Payload):
    type: Id
    timestamp: Moment
    data: dict[str, Any]


class Snapshot(_Payload):
    source: Annotated[str, StringConstraints(strict=True, pattern=r"^[a-z0-9_-]{1,40}$")] = "hris"
    complete: Annotated[bool, Field(strict=True)]
    taken_at: Moment | None = None
    people: list[Listed]


class Notice(_Payload):
    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    action: Text = "Updated"


class Notices(_Payload):
    employees: Annotated[list[Notice], Field(max_length=5000)]


@dataclass(frozen=True)
class Said:
    """One statement, and of whom."""

    external_id: str
    statement: Statement


def read_event(value: Any, *, time_zone: str, now: datetime) -> Said | None:
    """A vendor-neutral event; None for a type that concerns no one here."""
    event = _valid(Event, value)
    said_at = _said_at(event.timestamp, now)
    match event.type:
        case "person.created" | "person.updated":
            person = _valid(Employee, event.data, "data")
            hires = event.type == "person.created"
            return Said(
                person.external_id, described(person, said_at=said_at, time_zone=time_zone, hires=hires)
            )
        case "person.terminated":
            leaver = _valid(Leaver, event.data, "data")
            return Said(leaver.external_id, Leaves(said_at, leaver.effective_date, leaver.reason))
        case _:
            return None


def read_snapshot(value: Any) -> Snapshot:
    snapshot = _valid(Snapshot, value)
    seen: set[str] = set()
    for person in snapshot.people:
        if person.external_id in seen:
            raise DuplicateInSnapshot(external_id=person.external_id)
        seen.add(person.external_id)
    return snapshot


def listed(person: Listed, *, said_at: datetime, time_zone: str) -> list[Statement]:
    """What a full listing says of somebody it shows."""
    if person.status == "terminated":
        return [Leaves(said_at, person.termination_date)]
    found: list[Statement] = [described(person, said_at=said_at, time_zone=time_zone)]
    if person.termination_date:
        found.append(Leaves(said_at, person.termination_date))
    return found


def snapshot_said_at(snapshot: Snapshot, now: datetime) -> datetime:
    return _said_at(snapshot.taken_at, now) if snapshot.taken_at else now


def managers_first(people: Sequence[Listed]) -> list[Listed]:
    """So that an import links most people to their manager at once, whatever the order of the file."""
    manager_of = {p.external_id: p.manager_external_id or "" for p in people}

    def depth(external_id: str) -> int:
        steps, seen = 0, {external_id}
        while (above := manager_of.get(external_id, "")) and above not in seen:
            seen.add(above)
            external_id, steps = above, steps + 1
        return steps

    return sorted(people, key=lambda p: depth(p.external_id))


def read_notices(value: Any) -> list[Notice]:
    """BambooHR's webhook: who changed, not how. Its ids may be numbers."""
    match value:
        case {"employees": [*found]}:
            value = {"employees": [_notice(each) for each in found]}
        case _:
            pass
    return list(_valid(Notices, value).employees)


def _notice(value: Any) -> Any:
    match value:
        case {"id": int(number), **rest}:
            return {**rest, "id": str(number)}
        case _:
            return value


BAMBOOHR_FIELDS = (
    "displayName",
    "firstName",
    "lastName",
    "workEmail",
    "department",
    "location",
    "jobTitle",
    "supervisorEId",
    "hireDate",
    "terminationDate",
    "employmentHistoryStatus",
    "status",
)


def read_bamboohr(external_id: str, value: Any, *, said_at: datetime, time_zone: str) -> list[Statement]:
    """An employee as BambooHR answers: strings, null for what is empty, 0000-00-00 for no date."""

    def text(name: str) -> str:
        found = value.get(name)
        return "" if found is None else str(found)

    def day(name: str) -> str:
        return "" if text(name).startswith("0000") else text(name)

    if not isinstance(value, dict):
        raise Invalid("BambooHR answered with something that is not an employee")
    value = cast("dict[str, Any]", value)
    person = _valid(
        Listed,
        {
            "external_id": external_id,
            "display_name": text("displayName"),
            "given_name": text("firstName"),
            "family_name": text("lastName"),
            "email": text("workEmail"),
            "department": text("department"),
            "location": text("location"),
            "job_title": text("jobTitle"),
            "manager_external_id": text("supervisorEId"),
            "hire_date": day("hireDate"),
            "termination_date": day("terminationDate"),
            "employment_type": text("employmentHistoryStatus"),
            "status": "terminated" if text("status").lower() == "inactive" else "active",
        },
    )
    return listed(person, said_at=said_at, time_zone=time_zone)


def described(person: Employee, *, said_at: datetime, time_zone: str, hires: bool = False) -> Described:
    zone = person.time_zone or time_zone
    check_time_zone(zone)
    if not person.name():
        # Whose, in a member of its own: the sentence goes to logs, where ids of people have no place.
        raise Invalid("Somebody has no name", external_id=person.external_id)
    return Described(
        said_at=said_at,
        effective_on=person.effective_date,
        hires=hires,
        profile=Profile(person.name(), person.email, person.locale or "en"),
        facts=PersonFacts(
            **{name: getattr(person, name) for name in COPIED},
            manager_external_id=person.manager_external_id or "",
            hire_date=person.hire_date,
            time_zone=zone,
            on_leave=person.status == "on_leave",
        ),
    )


def check_time_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as e:
        raise UnknownTimeZone(f"{name!r} is not an IANA time zone") from e


def _said_at(said: datetime, now: datetime) -> datetime:
    # Accepted, such a message would make all true ones after it look old.
    if said > now + CLOCK_SKEW:
        raise SaidInTheFuture
    return said.astimezone(UTC)


def _valid(model: type[M], value: Any, where: str = "") -> M:
    try:
        return model.model_validate(value)
    except ValidationError as e:
        problems = [
            {
                "field": ".".join(str(part) for part in (where, *error["loc"]) if part != ""),
                "problem": error["msg"],
            }
            for error in e.errors(include_url=False, include_input=False, include_context=False)[:20]
        ]
        raise Invalid(f"{problems[0]['field'] or 'body'}: {problems[0]['problem']}", problems=problems) from e
