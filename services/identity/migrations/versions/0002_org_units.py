"""Where org units belong, and who heads them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute("ALTER TABLE org_units ADD COLUMN parent_id uuid, ADD COLUMN head_id uuid")
