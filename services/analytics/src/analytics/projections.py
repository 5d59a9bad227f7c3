"""PURE: events to columns of ClickHouse, one row for each event of a feed, whatever it is.

A field of a message goes to the column of its name; RENAMED, OCCURRED and SPREAD tell what differs. To add
one: a column here, and `ALTER TABLE … ADD COLUMN` in a new file under tables/. A type this build doesn't know
and a body it can't read become rows too, marked in `decoded`: positions stay contiguous, and a rebuild reads
them again.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from lyceum_kit.envelope import Record, Undecodable, decode
from lyceum_kit.topics import feeds, spelled

Columns = dict[str, list[Any]]
Getter = Callable[[Any], Any]

TEXT, NUMBER = "", 0
NONE: Any = None
LIST: tuple[str, ...] = ()

# The feeds' own columns, with what stands in them when an event has nothing to say: the tables' own defaults.
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
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def table(feed: str) -> str:
    return f"{feed}_events"


def columns(feed: str, records: Sequence[Record]) -> Columns:
    """The records as columns of the feed's table, those of a type together. Each has readable headers (`meta`). Columns
    that none of these types speaks of are left to the table."""
    by_type: dict[str, list[Record]] = {}
    for record in records:
        assert record.meta, "the intake lets no record without headers through"
        by_type.setdefault(record.meta.type, []).append(record)
    metas = [record.meta for some in by_type.values() for record in some if record.meta]
    at = [_micros(meta.time) for meta in metas]
    out: Columns = {
        "generation": [meta.generation for meta in metas],
        "partition": [meta.partition for meta in metas],
        "position": [meta.position for meta in metas],
        "id": [meta.id for meta in metas],
        "tenant": [meta.tenant for meta in metas],
        "type": [spelled(meta.type) for meta in metas],
        "stream": [meta.stream for meta in metas],
        "stream_version": [meta.version for meta in metas],
        "at": at,
        "occurred_at": [],
        "decoded": [],
    }
    read = [_read(feed, name, some) for name, some in by_type.items()]
    spoken = {column for _, _, getters in read for column in getters}
    own = {name: default for name, default in COLUMNS[feed].items() if name in spoken}
    out |= {name: [] for name in own}
    # A type and a column at a time: what differs between columns is decided once, not for each event.
    for messages, told, getters in read:
        out["decoded"] += told
        recorded = at[len(out["occurred_at"]) :][: len(told)]
        get = getters.get("occurred_at")
        said: Iterable[int | None] = map(get, messages) if get else recorded
        out["occurred_at"] += [r if s is None else s for s, r in zip(said, recorded, strict=True)]
        for column, default in own.items():
            if get := getters.get(column):
                values = list(map(get, messages))
                out[column] += values if default is None else [default if v is None else v for v in values]
            else:
                out[column] += [default] * len(told)
    return out


def _read(
    feed: str, name: str, records: Sequence[Record]
) -> tuple[list[Message], list[str], Mapping[str, Getter]]:
    """A message for each, whether it is the record's own, and how columns are read from it. A body that cannot be read
    says nothing, as an empty one."""
    kind = feeds()[feed].messages.get(name)
    if kind is None:
        return [], ["unknown-type"] * len(records), {}
    messages: list[Message] = []
    told: list[str] = []
    for record in records:
        try:
            messages.append(decode(kind, record))
            told.append("yes")
        except Undecodable:
            messages.append(kind())
            told.append("broken")
    return messages, told, _getters(feed, kind)


@cache
def _getters(feed: str, kind: type[Message]) -> Mapping[str, Getter]:
    """How each column is read from a message of this type."""
    own = {*COLUMNS[feed], "occurred_at"}
    found = dict(_fields(cast("Descriptor", kind.DESCRIPTOR)))
    return {column: get for column, get in found.items() if column in own}


def _fields(kind: Descriptor, inside: str = "") -> list[tuple[str, Getter]]:
    """`inside`: the fields that lead to a message of this kind, each with a dot behind it."""
    getters: list[tuple[str, Getter]] = []
    for field in kind.fields:
        nested = field.message_type
        if nested is not None and nested.full_name != "google.protobuf.Timestamp":
            if field.is_repeated:
                getters += _spread(field, inside)
            else:
                getters += _fields(nested, f"{inside}{field.name}.")
            continue
        column = RENAMED.get(inside + field.name, field.name)
        column = "occurred_at" if column in OCCURRED else column
        getters.append((column, _getter(field, inside, is_date=column in DATES)))
    return getters


def _spread(field: FieldDescriptor, inside: str) -> list[tuple[str, Getter]]:
    assert field.message_type is not None
    items = attrgetter(inside + field.name)

    def each(get: Getter) -> Getter:
        return lambda message: [get(item) for item in items(message)]

    return [
        (SPREAD[field.name, f.name], each(_value(f, "", is_date=False)))
        for f in field.message_type.fields
        if (field.name, f.name) in SPREAD
    ]


def _getter(field: FieldDescriptor, inside: str, *, is_date: bool) -> Getter:
    """A field that can be absent and is gives None: the column keeps its default."""
    name, value = field.name, _value(field, inside, is_date=is_date)
    if not field.has_presence:
        return value
    if not inside:
        return lambda message: value(message) if message.HasField(name) else None
    holder = attrgetter(inside.removesuffix("."))
    return lambda message: value(message) if holder(message).HasField(name) else None


def _value(field: FieldDescriptor, inside: str, *, is_date: bool) -> Getter:
    get: Getter = attrgetter(inside + field.name)
    if field.is_repeated:
        return lambda message: list(get(message))
    if field.message_type is not None:
        return lambda message: _within(get(message))
    if field.enum_type is not None:
        spelling = _Spelling(_spellings(field))
        return lambda message: spelling[get(message)]
    if field.cpp_type in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
        # NaN would spoil every mean it enters.
        return lambda message: number if math.isfinite(number := get(message)) else None
    if is_date:
        return lambda message: _date(get(message))
    return get


class _Spelling(dict[int, str]):
    """A newer producer's value is its number."""

    def __missing__(self, value: int) -> str:
        return str(value)


def _spellings(field: FieldDescriptor) -> dict[int, str]:
    """EMPLOYMENT_STATUS_ON_LEAVE → on_leave; unspecified → empty."""
    assert field.enum_type is not None
    values = list(field.enum_type.values)
    prefix = values[0].name.removesuffix("UNSPECIFIED")
    return {v.number: "" if v.number == 0 else v.name.removeprefix(prefix).lower() for v in values}


@lru_cache(maxsize=10_000)
def _date(text: str) -> date | None:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return None
    return day if FIRST.date() <= day <= LAST.date() else None


def _micros(at: datetime) -> int:
    """Microseconds since 1970: what DateTime64(6) stores. `timestamp()` would round through a float."""
    return (at - _EPOCH) // _MICROSECOND


_EARLIEST, _LATEST = _micros(FIRST), _micros(LAST)


def _within(at: Timestamp) -> int | None:
    micros = at.seconds * 1_000_000 + at.nanos // 1000
    return micros if _EARLIEST <= micros <= _LATEST else None


def size(record: Record) -> int:
    """About how many bytes its row takes: an insert block is capped by bytes as well."""
    return 400 + len(record.value)
