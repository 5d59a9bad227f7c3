"""Enrollment's tables as SQLAlchemy sees them. Their truth is in migrations/versions.

`enrollments`, `grounds` and `module_progress` together are the snapshot of an enrolment's stream, written in the
transaction that appends to it; `enrollments.version` is the stream's version then.
"""

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Date,
    DateTime,
    Double,
    FetchedValue,
    Integer,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()


def _key(name: str) -> Column[str]:
    return Column(name, Uuid(as_uuid=False), primary_key=True)


def _id(name: str) -> Column[str]:
    return Column(name, Uuid(as_uuid=False), nullable=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _tenant() -> Column[object]:
    return Column("tenant", Uuid, primary_key=True)


tenants = Table("tenants", metadata, _tenant(), _text("time_zone"))
# Raised whenever rules, courses or paths change: the key of the cached rule book.
revisions = Table("revisions", metadata, _tenant(), Column("revision", Integer, nullable=False))
# What rules need of people. `facts` has the attributes that are there; two of them are columns, generated from it.
people = Table(
    "people",
    metadata,
    _tenant(),
    _key("person_id"),
    Column("facts", JSONB, nullable=False),
    Column("status", Text, FetchedValue()),
    Column("manager_id", Text, FetchedValue()),
)
courses = Table(
    "courses",
    metadata,
    _tenant(),
    _key("course_id"),
    Column("course_version", Integer, nullable=False),  # the newest
    Column("deprecated", Boolean, nullable=False),
)
course_versions = Table(
    "course_versions",
    metadata,
    _tenant(),
    _key("course_id"),
    Column("course_version", Integer, primary_key=True),
    _text("title"),
    _text("slug"),
    # [{"module_id", "title", "kind"}] in order.
    Column("modules", JSONB, nullable=False),
)
path_versions = Table(
    "path_versions",
    metadata,
    _tenant(),
    _key("path_id"),
    Column("path_version", Integer, primary_key=True),
    _text("title"),
    # [{"course_id", "after": [course_id]}] in order.
    Column("items", JSONB, nullable=False),
)
rules = Table(
    "rules",
    metadata,
    _tenant(),
    _key("rule_id"),
    _text("state"),  # draft, active or retired
    Column("version", Integer, nullable=False),  # the newest drafted
    Column("active_version", Integer),
    Column("stream_version", Integer, nullable=False),
)
rule_versions = Table(
    "rule_versions",
    metadata,
    _tenant(),
    _key("rule_id"),
    Column("rule_version", Integer, primary_key=True),
    _text("name"),
    Column("condition", JSONB, nullable=False),
    _text("sentence"),
    Column("course_ids", ARRAY(Text), nullable=False),
    Column("path_ids", ARRAY(Text), nullable=False),
    Column("due_in_days", Integer),
    _text("on_ground_lost"),
    _text("drafted_by"),
    Column("drafted_at", DateTime(timezone=True), nullable=False),
)
enrollments = Table(
    "enrollments",
    metadata,
    _tenant(),
    _key("enrollment_id"),
    Column("version", Integer, nullable=False),
    _id("person_id"),
    _id("course_id"),
    Column("course_version", Integer, nullable=False),
    Column("cycle", Integer, nullable=False),
    _text("state"),
    Column("overdue", Boolean, nullable=False),
    Column("due_at", DateTime(timezone=True)),
    Column("due_date", Date),
    Column("enrolled_at", DateTime(timezone=True), nullable=False),
    Column("completed_at", DateTime(timezone=True)),
    Column("changed_at", DateTime(timezone=True), nullable=False),
)
grounds = Table(
    "grounds",
    metadata,
    _tenant(),
    _key("enrollment_id"),
    Column("kind", Text, primary_key=True),  # rule, path, manual or self
    Column("ground_id", Text, primary_key=True),
    Column("via", Text, primary_key=True),
    _id("person_id"),
    # The rule behind it: ground_id of a rule's ground, via of a path's; empty for the others.
    _text("rule_id"),
    Column("rule_version", Integer, nullable=False),
    _text("reason"),
    Column("due_at", DateTime(timezone=True)),
    Column("due_date", Date),
    _text("on_ground_lost"),
    Column("since", Date, nullable=False),
)
module_progress = Table(
    "module_progress",
    metadata,
    _tenant(),
    _key("enrollment_id"),
    Column("module_id", Text, primary_key=True),
    _text("assurance"),
    Column("score", Double),
)
path_enrollments = Table(
    "path_enrollments",
    metadata,
    _tenant(),
    _key("person_id"),
    _key("path_id"),
    _id("path_enrollment_id"),
    Column("version", Integer, nullable=False),
    Column("path_version", Integer, nullable=False),
    _text("state"),  # active, completed or withdrawn
    Column("rule_ids", ARRAY(Text), nullable=False),  # the rules that assign it
    Column("completed_at", DateTime(timezone=True)),
)


def attribute(name: str) -> ColumnElement[str]:
    """One of a person's facts; the empty string where it is missing. Compares byte by byte, as Python does."""
    return func.coalesce(people.c.facts[name].astext, "").collate("C")
