"""PURE: events to columns of ClickHouse, one row for each event of a feed, whatever it is.

A field of a message goes to the column of its name; RENAMED, OCCURRED and SPREAD tell what differs. To add
one: a column here, and `ALTER TABLE … ADD COLUMN` in a new file under tables/. A type this build doesn't know
and a body it can't read become rows too, marked in `decoded`: positions stay contiguous, and a rebuild reads
them again.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import cache
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from lyceum_kit.envelope import Record, Undecodable, decode
from lyceum_kit.topics import feeds, spelled

Columns = dict[str, list[Any]]
Getter = Callable[[Any], Any]

ENVELOPE = (
    "generation",
    "partition",
    "position",
    "id",
    "tenant",
    "type",
    "stream",
    "stream_version",
    "at",
    "occurred_at",
    "decoded",
)

TEXT, NUMBER = "", 0
NONE: Any = None
LIST: tuple[str, ...] = ()

# The feeds' own columns, with what stands in them when an event has nothing to say.
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "identity": {
        "person_id": TEXT,
        "status": TEXT,
        "department": TEXT,
        "org_unit_id": TEXT,
        "location": TEXT,
        "job_title": TEXT,
        "manager_id": TEXT,
        "hire_date": NONE,
        "time_zone": TEXT,
        "employment_type": TEXT,
        "source": TEXT,
        "reason": TEXT,
        "changed": LIST,
        "roles": LIST,
        "code": TEXT,
        "mapped": NUMBER,
        "parent_id": TEXT,
        "head_id": TEXT,
    },
    "catalog": {
        "course_id": TEXT,
        "course_version": NUMBER,
        "title": TEXT,
        "slug": TEXT,
        "certifying": NUMBER,
        "language": TEXT,
        "duration_minutes": NUMBER,
        "module_ids": LIST,
        "module_titles": LIST,
        "module_kinds": LIST,
        "path_id": TEXT,
        "path_version": NUMBER,
        "path_course_ids": LIST,
        "package_id": TEXT,
        "format": TEXT,
        "size_bytes": NUMBER,
        "files": NUMBER,
        "reason": TEXT,
    },
    "enrollment": {
        "enrollment_id": TEXT,
        "person_id": TEXT,
        "course_id": TEXT,
        "course_version": NUMBER,
        "cycle": NUMBER,
        "ground_kind": TEXT,
        "ground_id": TEXT,
        "ground_reason": TEXT,
        "ground_via": TEXT,
        "rule_id": TEXT,
        "rule_version": NUMBER,
        "rule_name": TEXT,
        "sentence": TEXT,
        "due_at": NONE,
        "due_date": NONE,
        "department": TEXT,
        "mandatory": NUMBER,
        "module_id": TEXT,
        "modules_done": NUMBER,
        "modules_total": NUMBER,
        "on_time": NUMBER,
        "assurance": TEXT,
        "reason": TEXT,
        "path_enrollment_id": TEXT,
        "path_id": TEXT,
        "path_version": NUMBER,
    },
    "assessment": {
        "attempt_id": TEXT,
        "enrollment_id": TEXT,
        "person_id": TEXT,
        "course_id": TEXT,
        "course_version": NUMBER,
        "module_id": TEXT,
        "session": NUMBER,
        "sequence": NUMBER,
        "session_seconds": NONE,
        "lesson_status": TEXT,
        "outcome": TEXT,
        "score": NONE,
        "passing_score": NONE,
        "assurance": TEXT,
        "number": NUMBER,
        "attempts_left": NONE,
        "by_deadline": NUMBER,
        "quiz_id": TEXT,
        "quiz_version": NUMBER,
        "title": TEXT,
        "question_id": TEXT,
        "question_ids": LIST,
        "question_points": LIST,
        "question_max_points": LIST,
        "certificate_id": TEXT,
        "reason": TEXT,
    },
}

# Fields of other names. A message inside a message, and so on: `job.department` is just `department`.
RENAMED = {
    "ground.kind": "ground_kind",
    "ground.ground_id": "ground_id",
    "ground.reason": "ground_reason",
    "ground.via": "ground_via",
    "name": "rule_name",
    "score_raw": "score",
}

# The moment an event is about, in whichever field its message keeps it.
OCCURRED = (
    "effective_at",
    "enrolled_at",
    "completed_at",
    "launched_at",
    "started_at",
    "submitted_at",
    "graded_at",
    "published_at",
    "issued_at",
    "revoked_at",
    "erased_at",
)

# Repeated messages become arrays side by side: (field, field inside it) → column.
SPREAD = {
    ("modules", "module_id"): "module_ids",
    ("modules", "title"): "module_titles",
    ("modules", "kind"): "module_kinds",
    ("items", "course_id"): "path_course_ids",
    ("results", "question_id"): "question_ids",
    ("results", "points"): "question_points",
    ("results", "max_points"): "question_max_points",
}

DATES = frozenset({"hire_date", "due_date"})

# What DateTime64 and Date32 can hold; anything beyond is a mistake, and would only wrap around.
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2299, 12, 31, tzinfo=UTC)


def table(feed: str) -> str:
    return f"{feed}_events"


def columns(feed: str, records: Sequence[Record]) -> Columns:
    """The records as columns of the feed's table, in their order. Each has readable headers (`meta`)."""
    rows = len(records)
    out: Columns = {name: [None] * rows for name in ENVELOPE}
    out |= {name: [default] * rows for name, default in COLUMNS[feed].items()}
    kinds = feeds()[feed].messages
    for row, record in enumerate(records):
        meta = record.meta
        assert meta, "the intake lets no record without headers through"
        at = _micros(meta.time)
        out["generation"][row] = meta.generation
        out["partition"][row] = meta.partition
        out["position"][row] = meta.position
        out["id"][row] = meta.id
        out["tenant"][row] = meta.tenant
        out["type"][row] = spelled(meta.type)
        out["stream"][row] = meta.stream
        out["stream_version"][row] = meta.version
        out["at"][row] = out["occurred_at"][row] = at
        kind = kinds.get(meta.type)
        if kind is None:
            out["decoded"][row] = "unknown-type"
            continue
        try:
            message = decode(kind, record)
        except Undecodable:
            out["decoded"][row] = "broken"
            continue
        out["decoded"][row] = "yes"
        for column, get in _getters(feed, kind):
            value = get(message)
            if value is not None:
                out[column][row] = value
    return out


@cache
def _getters(feed: str, kind: type[Message]) -> tuple[tuple[str, Getter], ...]:
    """How each column is read from a message of this type."""
    own = {*COLUMNS[feed], "occurred_at"}
    found = dict(_fields(cast("Descriptor", kind.DESCRIPTOR), "", lambda message: message))
    return tuple((column, get) for column, get in found.items() if column in own)


def _fields(kind: Descriptor, path: str, inside: Getter) -> list[tuple[str, Getter]]:
    getters: list[tuple[str, Getter]] = []
    for field in kind.fields:
        nested = field.message_type
        if nested is not None and nested.full_name != "google.protobuf.Timestamp":
            if field.is_repeated:
                getters += _spread(field, inside)
            else:
                getters += _fields(nested, f"{field.name}.", _into(inside, field.name))
            continue
        column = RENAMED.get(path + field.name, field.name)
        column = "occurred_at" if column in OCCURRED else column
        getters.append((column, _getter(field, inside, is_date=column in DATES)))
    return getters


def _into(inside: Getter, name: str) -> Getter:
    return lambda message: getattr(inside(message), name)


def _spread(field: FieldDescriptor, inside: Getter) -> list[tuple[str, Getter]]:
    assert field.message_type is not None

    def each(get: Getter) -> Getter:
        return lambda message: [get(item) for item in getattr(inside(message), field.name)]

    return [
        (SPREAD[field.name, f.name], each(_value(f, is_date=False)))
        for f in field.message_type.fields
        if (field.name, f.name) in SPREAD
    ]


def _getter(field: FieldDescriptor, inside: Getter, *, is_date: bool) -> Getter:
    """A field that can be absent and is gives None: the column keeps its default."""
    value = _value(field, is_date=is_date)
    if field.has_presence:
        return lambda message: value(inside(message)) if inside(message).HasField(field.name) else None
    return lambda message: value(inside(message))


def _value(field: FieldDescriptor, *, is_date: bool) -> Getter:
    name = field.name
    if field.is_repeated:
        return lambda message: list(getattr(message, name))
    if field.message_type is not None:
        return lambda message: _within(getattr(message, name).ToMicroseconds())
    if field.enum_type is not None:
        spelling = _spellings(field)
        return lambda message: spelling.get(getattr(message, name), str(getattr(message, name)))
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        # NaN would spoil every mean it enters.
        return lambda message: number if math.isfinite(number := getattr(message, name)) else None
    if is_date:
        return lambda message: _date(getattr(message, name))
    return lambda message: getattr(message, name)


def _spellings(field: FieldDescriptor) -> dict[int, str]:
    """EMPLOYMENT_STATUS_ON_LEAVE → on_leave; unspecified → empty."""
    assert field.enum_type is not None
    values = list(field.enum_type.values)
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    return {v.number: "" if v.number == 0 else v.name.removeprefix(prefix).lower() for v in values}


def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST.date() <= day <= LAST.date() else None


def _micros(at: datetime) -> int:
    """Microseconds since 1970: what DateTime64(6) stores. `timestamp()` alone would round through a float."""
    return int(at.replace(microsecond=0).timestamp()) * 1_000_000 + at.microsecond


def _within(micros: int) -> int | None:
    return micros if _micros(FIRST) <= micros <= _micros(LAST) else None


def size(record: Record) -> int:
    """About how many bytes its row takes: an insert block is capped by bytes as well."""
    return 400 + len(record.value)
