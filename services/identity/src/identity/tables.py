"""Identity's tables as SQLAlchemy sees them. Their truth is in migrations/versions."""

from sqlalchemy import (
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
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

metadata = MetaData()
Moment = DateTime(timezone=True)

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", Uuid, primary_key=True),
    Column("slug", Text),
    Column("name", Text),
    Column("default_time_zone", Text),
    Column("created_at", Moment),
)
signing_keys = Table(
    "signing_keys",
    metadata,
    Column("kid", Text, primary_key=True),
    Column("private", LargeBinary),
    Column("public", JSONB),
    Column("created_at", Moment),
    Column("retired_at", Moment),
)
org_units = Table(
    "org_units",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("org_unit_id", Uuid, primary_key=True),
    Column("code", Text),
    Column("mapped", Boolean),
    Column("parent_id", Uuid),
    Column("head_id", Uuid),
)
people = Table(
    "people",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("person_id", Uuid, primary_key=True),
    Column("source", Text),
    Column("external_id", Text),
    Column("status", Text),
    Column("display_name", Text),
    Column("email", Text),
    Column("locale", Text),
    Column("department", Text),
    Column("org_unit_id", Text),
    Column("location", Text),
    Column("job_title", Text),
    Column("manager_id", Text),
    Column("manager_external_id", Text),
    Column("hire_date", Text),
    Column("time_zone", Text),
    Column("employment_type", Text),
    Column("roles", ARRAY(Text)),
    Column("granted", ARRAY(Text)),
    Column("record", JSONB),
    Column("wakes_at", Moment),
    Column("received_at", Moment),
    Column("erased_at", Moment),
)
sessions = Table(
    "sessions",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),
    Column("person_id", Uuid),
    Column("created_at", Moment),
    Column("expires_at", Moment),
)
sign_in_links = Table(
    "sign_in_links",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("hash", LargeBinary, primary_key=True),
    Column("person_id", Uuid),
    Column("expires_at", Moment),
    Column("used_at", Moment),
)
api_clients = Table(
    "api_clients",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("client_id", Text, primary_key=True),
    Column("name", Text),
    Column("roles", ARRAY(Text)),
    Column("hash", LargeBinary),
    Column("created_at", Moment),
    Column("revoked_at", Moment),
)
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, primary_key=True),
    Column("form", Text),
    Column("name", Text),
    Column("source", Text),
    Column("config", LargeBinary),
    Column("created_at", Moment),
)
webhook_secrets = Table(
    "webhook_secrets",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("secret", LargeBinary),
    Column("valid_until", Moment),
)
webhook_inbox = Table(
    "webhook_inbox",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("endpoint_id", Uuid, primary_key=True),
    Column("webhook_id", Text, primary_key=True),
    Column("received_at", Moment),
)
snapshots = Table(
    "snapshots",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("snapshot_id", Uuid, primary_key=True),
    Column("source", Text),
    Column("taken_at", Moment),
    Column("received_at", Moment),
    Column("state", Text),
    Column("people", JSONB),
    Column("listed", Integer),
    Column("would_deactivate", Integer),
)
