"""Assessment's tables. Every tenant's rows are kept apart by row-level security (migrations)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()

_TIME = DateTime(timezone=True)

tenants = Table("tenants", metadata, Column("tenant", Uuid, primary_key=True), Column("name", Text))

courses = Table(
    "courses",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("course_id", Text, primary_key=True),
    Column("course_version", Integer, primary_key=True),
    Column("title", Text),
    Column("summary", Text),
    Column("language", Text),
    Column("certifying", Boolean),
)

modules = Table(
    "modules",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("course_id", Text, primary_key=True),
    Column("course_version", Integer, primary_key=True),
    Column("module_id", Text, primary_key=True),
    Column("title", Text),
    Column("kind", Text),
    Column("package_id", Text),
    Column("launch_path", Text),
    Column("launch_data", Text),
    Column("mastery_score", Float),
    Column("complete_on_view", Boolean),
    Column("quiz_id", Text),
)

departed = Table(
    "departed",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("person_id", Text, primary_key=True),
    Column("version", Integer),  # of the person's stream
    Column("gone", Boolean),
)

attempts = Table(
    "attempts",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("attempt_id", Text, primary_key=True),
    Column("kind", Text),  # scorm12, quiz, reading
    Column("enrollment_id", Text),
    Column("person_id", Text),
    Column("course_id", Text),
    Column("course_version", Integer),
    Column("module_id", Text),
    Column("number", Integer),
    Column("version", Integer),  # of the stream this row is the fold of
    Column("state", Text),  # launched, started, suspended, completed, passed, failed
    Column("score", Float),
    Column("assurance", Text),
    Column("started_at", _TIME),
    Column("completed_at", _TIME),
    # SCORM: enough of the fold to decide on the next commit without reading an hour of commits.
    Column("session", Integer),
    Column("sequence", Integer),
    Column("lesson_status", Text),
    Column("finished_seconds", Float),
    Column("session_seconds", Float),
    Column("cmi_encrypted", LargeBinary),
    Column("quiz_id", Text),
)

# Outside row-level security: a launch is found by its token alone, before its tenant is known.
launches = Table(
    "launches",
    metadata,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column("tenant", Uuid),
    Column("attempt_id", Text),
    Column("person_id", Text),
    Column("package_id", Text),
    Column("expires_at", _TIME),
)

quizzes = Table(
    "quizzes",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("quiz_id", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("title", Text),
    Column("definition", JSONB),
    Column("published_at", _TIME),
)

person_keys = Table(
    "person_keys",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("person_id", Text, primary_key=True),
    Column("sealed_key", LargeBinary),  # empty once the person was erased: no other is ever made
)

issuer_keys = Table(
    "issuer_keys",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("key_id", Text, primary_key=True),
    Column("public_jwk", JSONB),
    Column("sealed_jwk", LargeBinary),
    Column("created_at", _TIME),
)

status_counters = Table(
    "status_counters", metadata, Column("tenant", Uuid, primary_key=True), Column("next_index", BigInteger)
)

# Completed courses whose version catalog has not told us about yet: feeds arrive in any order.
waiting_completions = Table(
    "waiting_completions",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("enrollment_id", Text, primary_key=True),
    Column("course_id", Text),
    Column("course_version", Integer),
    Column("event", LargeBinary),
)

certificates = Table(
    "certificates",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("certificate_id", Text, primary_key=True),
    Column("enrollment_id", Text),
    Column("person_id", Text),
    Column("recipient_name", Text),  # as it was at issue; blanked by erasure
    Column("course_id", Text),
    Column("course_version", Integer),
    Column("course_title", Text),
    Column("language", Text),
    Column("score", Float),
    Column("assurance", Text),
    Column("completed_at", _TIME),
    Column("issued_at", _TIME),
    Column("status_index", BigInteger),
    Column("key_id", Text),
    Column("credential_jwt", Text),
    Column("revoked_at", _TIME),
    Column("revocation_reason", Text),
)

# Outside row-level security: whoever verifies a certificate knows its id, not its tenant.
certificate_directory = Table(
    "certificate_directory",
    metadata,
    Column("certificate_id", Text, primary_key=True),
    Column("tenant", Uuid),
)

# The tamper-evident log: one per tenant. Its nodes are complete subtrees (merkle.py) and are never changed.
log_sizes = Table("log_sizes", metadata, Column("tenant", Uuid, primary_key=True), Column("size", BigInteger))

log_entries = Table(
    "log_entries",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("event_id", Uuid),
    Column("salt", LargeBinary),  # without it the entry's hash still stands, and opens to nothing
)

log_nodes = Table(
    "log_nodes",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("level", Integer, primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("hash", LargeBinary),
)

log_checkpoints = Table(
    "log_checkpoints",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("size", BigInteger, primary_key=True),
    Column("root", LargeBinary),
    Column("note", Text),
    Column("signed_at", _TIME),
)

log_keys = Table(
    "log_keys",
    metadata,
    Column("tenant", Uuid, primary_key=True),
    Column("name", Text),  # the log's origin, which its checkpoints carry for ever
    Column("public_key", LargeBinary),
    Column("sealed_key", LargeBinary),
)
