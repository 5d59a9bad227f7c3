"""The tamper-evident log over the tenant's records."""

from alembic import op

from lyceum_kit import schema

revision = "0002"
down_revision = "0001"

GROWING_TABLES = {
    "log_entries": """n bigint NOT NULL, event_id uuid NOT NULL, salt bytea,
        PRIMARY KEY (tenant, n), UNIQUE (tenant, event_id)""",
    "log_nodes": """level int NOT NULL, n bigint NOT NULL, hash bytea NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (tenant, level, n)""",
    "log_checkpoints": """size bigint NOT NULL, root bytea NOT NULL, note text NOT NULL, signed_at timestamptz NOT NULL,
        PRIMARY KEY (tenant, size)""",
    "log_keys": "name text NOT NULL, public_key bytea NOT NULL, sealed_key bytea NOT NULL, PRIMARY KEY (tenant)",
}


def upgrade() -> None:
    op.execute("CREATE TABLE log_sizes (tenant uuid PRIMARY KEY, size bigint NOT NULL)")
    schema.tenant_table("log_sizes", privileges="SELECT, INSERT, UPDATE")
    for name, columns in GROWING_TABLES.items():
        op.execute(f"CREATE TABLE {name} (tenant uuid NOT NULL, {columns})")
        schema.tenant_table(name, privileges="SELECT, INSERT")
    # Erasure forgets the salts of a person's entries; nothing else of an entry can be changed.
    op.execute(f'GRANT UPDATE (salt) ON log_entries TO "{schema.app_role()}"')
