"""Catalog's tables as SQLAlchemy sees them. Their truth is in migrations/versions."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

# One row per course: the draft, and what lists show of the newest version.
courses = Table(
    "courses",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("course_id", Uuid, primary_key=True),
    Column("slug", Text),
    Column("title", Text),
    Column("summary", Text),
    Column("version", Integer),
    Column("deprecated", Boolean),
    Column("draft", JSONB),
)
course_versions = Table(
    "course_versions",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("course_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("published", LargeBinary),
)
paths = Table(
    "paths",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("path_id", Uuid, primary_key=True),
    Column("slug", Text),
    Column("version", Integer),
)
path_versions = Table(
    "path_versions",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("path_id", Uuid, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("published", LargeBinary),
)
packages = Table(
    "packages",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("package_id", Uuid, primary_key=True),
    Column("sha256", Text),
    Column("size_bytes", BigInteger),
    Column("imported_at", DateTime(timezone=True)),
    Column("imported", LargeBinary),
)
