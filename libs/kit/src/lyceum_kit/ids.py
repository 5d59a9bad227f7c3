"""Identifiers: UUIDv7 (RFC 9562 §5.7), so that ids sort by time. Python's own uuid7 comes with 3.14 only."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat

NewId = Callable[[], UUID]
Clock = Callable[[], datetime]


def new_id() -> UUID:
    return uuid_utils.compat.uuid7()


def utc_now() -> datetime:
    return datetime.now(UTC)
