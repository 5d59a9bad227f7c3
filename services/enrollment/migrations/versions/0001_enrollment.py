"""Enrollment's ledger and its own tables."""

from alembic import op

from lyceum_kit.schema import ledger_tables, tenant_table

revision = "0001"
down_revision = None


def upgrade() -> None:
    ledger_tables()
    op.execute("CREATE TABLE tenants (tenant uuid PRIMARY KEY, time_zone text NOT NULL)")
    op.execute("CREATE TABLE revisions (tenant uuid PRIMARY KEY, revision int NOT NULL)")
    # Text compares byte by byte, as Python does: a condition must mean the same in both.
    op.execute("""
        CREATE TABLE people (
          tenant uuid NOT NULL, person_id uuid NOT NULL, status text COLLATE "C" NOT NULL,
          department text COLLATE "C" NOT NULL, location text COLLATE "C" NOT NULL, job_title text COLLATE "C" NOT NULL,
          manager_id text COLLATE "C" NOT NULL, employment_type text COLLATE "C" NOT NULL,
          hire_date text COLLATE "C" NOT NULL, time_zone text COLLATE "C" NOT NULL, PRIMARY KEY (tenant, person_id))""")
    op.execute("CREATE INDEX people_by_manager ON people (tenant, manager_id)")
    op.execute("""
        CREATE TABLE courses (
          tenant uuid NOT NULL, course_id uuid NOT NULL, course_version int NOT NULL, deprecated boolean NOT NULL,
          PRIMARY KEY (tenant, course_id))""")
    op.execute("""
        CREATE TABLE course_versions (
          tenant uuid NOT NULL, course_id uuid NOT NULL, course_version int NOT NULL, title text NOT NULL,
          slug text NOT NULL, modules jsonb NOT NULL, PRIMARY KEY (tenant, course_id, course_version))""")
    op.execute("""
        CREATE TABLE path_versions (
          tenant uuid NOT NULL, path_id uuid NOT NULL, path_version int NOT NULL, title text NOT NULL,
          items jsonb NOT NULL, PRIMARY KEY (tenant, path_id, path_version))""")
    op.execute("""
        CREATE TABLE rules (
          tenant uuid NOT NULL, rule_id uuid NOT NULL, state text NOT NULL, version int NOT NULL, active_version int,
          stream_version int NOT NULL, PRIMARY KEY (tenant, rule_id))""")
    op.execute("""
        CREATE TABLE rule_versions (
          tenant uuid NOT NULL, rule_id uuid NOT NULL, rule_version int NOT NULL, name text NOT NULL,
          condition jsonb NOT NULL, sentence text NOT NULL, course_ids text[] NOT NULL, path_ids text[] NOT NULL,
          due_in_days int, on_ground_lost text NOT NULL, drafted_by text NOT NULL, drafted_at timestamptz NOT NULL,
          PRIMARY KEY (tenant, rule_id, rule_version))""")
    # One enrolment per person, course and cycle: a doubled event finds the first and changes nothing.
    op.execute("""
        CREATE TABLE enrollments (
          tenant uuid NOT NULL, enrollment_id uuid NOT NULL, version int NOT NULL, person_id uuid NOT NULL,
          course_id uuid NOT NULL, course_version int NOT NULL, cycle int NOT NULL, state text NOT NULL,
          overdue boolean NOT NULL, due_at timestamptz, due_date date, enrolled_at timestamptz NOT NULL,
          completed_at timestamptz, changed_at timestamptz NOT NULL,
          PRIMARY KEY (tenant, enrollment_id), UNIQUE (tenant, person_id, course_id, cycle))""")
    op.execute("CREATE INDEX enrollments_by_course ON enrollments (tenant, course_id, enrollment_id)")
    op.execute("""
        CREATE TABLE grounds (
          tenant uuid NOT NULL, enrollment_id uuid NOT NULL, kind text NOT NULL, ground_id text NOT NULL,
          via text NOT NULL, person_id uuid NOT NULL, rule_id text NOT NULL, rule_version int NOT NULL,
          reason text NOT NULL, due_at timestamptz, due_date date, on_ground_lost text NOT NULL, since date NOT NULL,
          PRIMARY KEY (tenant, enrollment_id, kind, ground_id, via))""")
    op.execute("CREATE INDEX grounds_by_rule ON grounds (tenant, rule_id, person_id)")
    op.execute("""
        CREATE TABLE module_progress (
          tenant uuid NOT NULL, enrollment_id uuid NOT NULL, module_id text NOT NULL, assurance text NOT NULL,
          score double precision, PRIMARY KEY (tenant, enrollment_id, module_id))""")
    op.execute("""
        CREATE TABLE path_enrollments (
          tenant uuid NOT NULL, person_id uuid NOT NULL, path_id uuid NOT NULL, path_enrollment_id uuid NOT NULL,
          version int NOT NULL, path_version int NOT NULL, state text NOT NULL, rule_ids text[] NOT NULL,
          completed_at timestamptz, PRIMARY KEY (tenant, person_id, path_id))""")
    op.execute("CREATE INDEX path_enrollments_by_rule ON path_enrollments USING gin (rule_ids)")
    for table in (
        "tenants",
        "revisions",
        "people",
        "courses",
        "course_versions",
        "path_versions",
        "rules",
        "rule_versions",
        "enrollments",
        "grounds",
        "module_progress",
        "path_enrollments",
    ):
        tenant_table(table)
