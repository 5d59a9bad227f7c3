"""A person's destroyed key leaves an empty row, so that none is made again; a bookmark is in the sealed data only."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("ALTER TABLE person_keys ALTER COLUMN sealed_key DROP NOT NULL")
    op.execute("ALTER TABLE attempts DROP COLUMN lesson_location")
