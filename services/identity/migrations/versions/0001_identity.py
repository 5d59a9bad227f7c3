"""Identity's ledger and its own tables."""

from alembic import op

from lyceum_kit.schema import ledger_tables, shared_table, tenant_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    ledger_tables()

    # Directories: found before a tenant is known.
    op.execute("""
        CREATE TABLE tenants (
          tenant_id uuid PRIMARY KEY, slug text NOT NULL UNIQUE, name text NOT NULL, default_time_zone text NOT NULL,
          created_at timestamptz NOT NULL)""")
    shared_table("tenants", privileges="SELECT, INSERT, UPDATE")
    op.execute("""
        CREATE TABLE signing_keys (
          kid text PRIMARY KEY, private bytea NOT NULL, public jsonb NOT NULL, created_at timestamptz NOT NULL,
          retired_at timestamptz)""")
    shared_table("signing_keys")

    op.execute("""
        CREATE TABLE org_units (
          tenant uuid NOT NULL, org_unit_id uuid NOT NULL, code text NOT NULL, mapped boolean NOT NULL,
          PRIMARY KEY (tenant, org_unit_id), UNIQUE (tenant, code))""")
    op.execute("""
        CREATE TABLE people (
          tenant uuid NOT NULL, person_id uuid NOT NULL, source text NOT NULL, external_id text NOT NULL,
          status text NOT NULL, display_name text NOT NULL, email text NOT NULL, locale text NOT NULL,
          department text NOT NULL, org_unit_id text NOT NULL, location text NOT NULL, job_title text NOT NULL,
          manager_id text NOT NULL, manager_external_id text NOT NULL, hire_date text NOT NULL, time_zone text NOT NULL,
          employment_type text NOT NULL, roles text[] NOT NULL, granted text[] NOT NULL, record jsonb NOT NULL,
          wakes_at timestamptz, received_at timestamptz NOT NULL,
          PRIMARY KEY (tenant, person_id), UNIQUE (tenant, source, external_id))""")
    op.execute("CREATE INDEX people_manager ON people (tenant, manager_id) WHERE manager_id <> ''")
    op.execute(
        "CREATE INDEX people_waiting ON people (tenant, source, manager_external_id)"
        " WHERE manager_id = '' AND manager_external_id <> ''"
    )
    op.execute("CREATE INDEX people_department ON people (tenant, department)")
    op.execute("""
        CREATE TABLE sessions (
          tenant uuid NOT NULL, hash bytea NOT NULL, person_id uuid NOT NULL, created_at timestamptz NOT NULL,
          expires_at timestamptz NOT NULL, PRIMARY KEY (tenant, hash))""")
    op.execute("""
        CREATE TABLE sign_in_links (
          tenant uuid NOT NULL, hash bytea NOT NULL, person_id uuid NOT NULL, expires_at timestamptz NOT NULL,
          used_at timestamptz, PRIMARY KEY (tenant, hash))""")
    op.execute("""
        CREATE TABLE api_clients (
          tenant uuid NOT NULL, client_id text NOT NULL, name text NOT NULL, roles text[] NOT NULL, hash bytea NOT NULL,
          created_at timestamptz NOT NULL, revoked_at timestamptz, PRIMARY KEY (tenant, client_id))""")
    op.execute("""
        CREATE TABLE webhook_endpoints (
          tenant uuid NOT NULL, endpoint_id uuid NOT NULL, form text NOT NULL, name text NOT NULL, source text NOT NULL,
          config bytea NOT NULL, created_at timestamptz NOT NULL, PRIMARY KEY (tenant, endpoint_id))""")
    op.execute("""
        CREATE TABLE webhook_secrets (
          tenant uuid NOT NULL, endpoint_id uuid NOT NULL, n int NOT NULL, secret bytea NOT NULL, valid_until timestamptz,
          PRIMARY KEY (tenant, endpoint_id, n))""")
    op.execute("""
        CREATE TABLE webhook_inbox (
          tenant uuid NOT NULL, endpoint_id uuid NOT NULL, webhook_id text NOT NULL, received_at timestamptz NOT NULL,
          PRIMARY KEY (tenant, endpoint_id, webhook_id))""")
    op.execute("""
        CREATE TABLE snapshots (
          tenant uuid NOT NULL, snapshot_id uuid NOT NULL, source text NOT NULL, taken_at timestamptz NOT NULL,
          received_at timestamptz NOT NULL, state text NOT NULL, people jsonb NOT NULL, listed int NOT NULL,
          would_deactivate int NOT NULL, PRIMARY KEY (tenant, snapshot_id))""")
    for table in (
        "org_units",
        "people",
        "sessions",
        "sign_in_links",
        "api_clients",
        "webhook_endpoints",
        "webhook_secrets",
        "webhook_inbox",
        "snapshots",
    ):
        tenant_table(table)
