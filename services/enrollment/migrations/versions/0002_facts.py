"""What is known of people becomes one document: a new HR attribute needs no column."""

from alembic import op

revision = "0002"
down_revision = "0001"

FACTS = (
    "department",
    "location",
    "job_title",
    "employment_type",
    "hire_date",
    "time_zone",
    "status",
    "manager_id",
)


def upgrade() -> None:
    # USING rewrites every row; an UPDATE would be stopped by row-level security, which holds for the owner as well.
    document = ", ".join(f"'{name}', nullif({name}, '')" for name in FACTS)
    op.execute(
        "ALTER TABLE people ALTER department TYPE jsonb"
        f" USING jsonb_strip_nulls(jsonb_build_object({document}))"
    )
    op.execute("ALTER TABLE people RENAME department TO facts")
    op.execute("DROP INDEX people_by_manager")
    op.execute("ALTER TABLE people " + ", ".join(f"DROP COLUMN {name}" for name in FACTS[1:]))
    for name in ("status", "manager_id"):
        op.execute(
            f'ALTER TABLE people ADD COLUMN {name} text COLLATE "C" NOT NULL'
            f" GENERATED ALWAYS AS (coalesce(facts ->> '{name}', '')) STORED"
        )
    op.execute("CREATE INDEX people_by_manager ON people (tenant, manager_id)")
