"""When a person was erased: what HR said of them before is not heard any more."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE people ADD COLUMN erased_at timestamptz")
