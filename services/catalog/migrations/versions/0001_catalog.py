"""Catalog's ledger and its own tables."""

from alembic import op

from lyceum_kit.schema import ledger_tables, tenant_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    ledger_tables()
    op.execute("""
        CREATE TABLE courses (
          tenant uuid NOT NULL, course_id uuid NOT NULL, slug text NOT NULL, title text NOT NULL, summary text NOT NULL,
          version int NOT NULL, deprecated boolean NOT NULL, draft jsonb NOT NULL,
          PRIMARY KEY (tenant, course_id), UNIQUE (tenant, slug))""")
    op.execute("CREATE INDEX courses_by_title ON courses (tenant, title, course_id)")
    op.execute("""
        CREATE TABLE course_versions (
          tenant uuid NOT NULL, course_id uuid NOT NULL, version int NOT NULL, published bytea NOT NULL,
          PRIMARY KEY (tenant, course_id, version))""")
    op.execute("""
        CREATE TABLE paths (
          tenant uuid NOT NULL, path_id uuid NOT NULL, slug text NOT NULL, version int NOT NULL,
          PRIMARY KEY (tenant, path_id), UNIQUE (tenant, slug))""")
    op.execute("""
        CREATE TABLE path_versions (
          tenant uuid NOT NULL, path_id uuid NOT NULL, version int NOT NULL, published bytea NOT NULL,
          PRIMARY KEY (tenant, path_id, version))""")
    op.execute("""
        CREATE TABLE packages (
          tenant uuid NOT NULL, package_id uuid NOT NULL, sha256 text NOT NULL, size_bytes bigint NOT NULL,
          imported_at timestamptz NOT NULL, imported bytea NOT NULL, PRIMARY KEY (tenant, package_id))""")
    op.execute("CREATE INDEX packages_by_content ON packages (tenant, sha256)")
    for table in ("courses", "course_versions", "paths", "path_versions", "packages"):
        tenant_table(table)
