"""The kit's tables that find and mend a restored database."""

from lyceum_kit.schema import traces

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    traces()
