"""The ledger, and what assessment keeps beside it."""

from alembic import op

from lyceum_kit import schema

revision = "0001"
down_revision = None

TENANT_TABLES = {
    "tenants": "name text NOT NULL, PRIMARY KEY (tenant)",
    "courses": """course_id text NOT NULL, course_version int NOT NULL, title text NOT NULL, summary text NOT NULL,
        language text NOT NULL, certifying boolean NOT NULL, PRIMARY KEY (tenant, course_id, course_version)""",
    "modules": """course_id text NOT NULL, course_version int NOT NULL, module_id text NOT NULL, title text NOT NULL,
        kind text NOT NULL, package_id text NOT NULL, launch_path text NOT NULL, launch_data text NOT NULL,
        mastery_score double precision, complete_on_view boolean NOT NULL, quiz_id text NOT NULL,
        PRIMARY KEY (tenant, course_id, course_version, module_id)""",
    "departed": "person_id text NOT NULL, version int NOT NULL, gone boolean NOT NULL, PRIMARY KEY (tenant, person_id)",
    "attempts": """attempt_id text NOT NULL, kind text NOT NULL CHECK (kind IN ('scorm12', 'quiz', 'reading')),
        enrollment_id text NOT NULL, person_id text NOT NULL, course_id text NOT NULL, course_version int NOT NULL,
        module_id text NOT NULL, number int NOT NULL, version int NOT NULL,
        state text NOT NULL CHECK (state IN ('launched', 'started', 'suspended', 'completed', 'passed', 'failed')),
        score double precision, assurance text NOT NULL, started_at timestamptz NOT NULL, completed_at timestamptz,
        session int NOT NULL DEFAULT 0, sequence int NOT NULL DEFAULT 0, lesson_status text NOT NULL DEFAULT '',
        finished_seconds double precision NOT NULL DEFAULT 0, session_seconds double precision NOT NULL DEFAULT 0,
        lesson_location text NOT NULL DEFAULT '', cmi_encrypted bytea,
        quiz_id text NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, attempt_id), UNIQUE (tenant, enrollment_id, module_id, number)""",
    "quizzes": """quiz_id text NOT NULL, version int NOT NULL, title text NOT NULL, definition jsonb NOT NULL,
        published_at timestamptz NOT NULL, PRIMARY KEY (tenant, quiz_id, version)""",
    "person_keys": "person_id text NOT NULL, sealed_key bytea NOT NULL, PRIMARY KEY (tenant, person_id)",
    "issuer_keys": """key_id text NOT NULL, public_jwk jsonb NOT NULL, sealed_jwk bytea NOT NULL,
        created_at timestamptz NOT NULL, PRIMARY KEY (tenant, key_id)""",
    "status_counters": "next_index bigint NOT NULL, PRIMARY KEY (tenant)",
    "waiting_completions": """enrollment_id text NOT NULL, course_id text NOT NULL, course_version int NOT NULL,
        event bytea NOT NULL, PRIMARY KEY (tenant, enrollment_id)""",
    "certificates": """certificate_id text NOT NULL, enrollment_id text NOT NULL, person_id text NOT NULL,
        recipient_name text NOT NULL, course_id text NOT NULL, course_version int NOT NULL, course_title text NOT NULL,
        language text NOT NULL, score double precision, assurance text NOT NULL, completed_at timestamptz NOT NULL,
        issued_at timestamptz NOT NULL, status_index bigint NOT NULL, key_id text NOT NULL,
        credential_jwt text NOT NULL, revoked_at timestamptz, revocation_reason text NOT NULL DEFAULT '',
        PRIMARY KEY (tenant, certificate_id), UNIQUE (tenant, enrollment_id), UNIQUE (tenant, status_index)""",
}


def upgrade() -> None:
    schema.ledger_tables()
    for name, columns in TENANT_TABLES.items():
        op.execute(f"CREATE TABLE {name} (tenant uuid NOT NULL, {columns})")
        schema.tenant_table(name)
    op.execute("CREATE INDEX attempts_of_person ON attempts (tenant, person_id, started_at)")
    op.execute("CREATE INDEX certificates_of_person ON certificates (tenant, person_id)")
    op.execute("CREATE INDEX waiting_for_course ON waiting_completions (tenant, course_id, course_version)")
    op.execute("""
        CREATE TABLE launches (
          token_sha256 bytea PRIMARY KEY, tenant uuid NOT NULL, attempt_id text NOT NULL, person_id text NOT NULL,
          package_id text NOT NULL, expires_at timestamptz NOT NULL)""")
    op.execute("CREATE INDEX launches_expired ON launches (expires_at)")
    schema.shared_table("launches")
    op.execute("CREATE TABLE certificate_directory (certificate_id text PRIMARY KEY, tenant uuid NOT NULL)")
    schema.shared_table("certificate_directory", privileges="SELECT, INSERT")
