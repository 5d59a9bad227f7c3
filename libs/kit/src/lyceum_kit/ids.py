"""Identifiers: UUIDv7 (RFC 9562 §5.7), so that ids sort by time. Python's own uuid7 comes with 3.14 only."""

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import uuid_utils
from asyncpg.pgproto.pgproto import UUID as Quick

NewId = Callable[[], UUID]
Clock = Callable[[], datetime]


def new_id() -> UUID:
    return Quick(uuid_utils.uuid7().bytes)


def read_id(text: str) -> UUID:
    """An id as we spell it. Raises ValueError. asyncpg's own class of UUID, here and there: to everybody else it is one as
    any, and it is made and spelled in a tenth of the time. Each event has four."""
    return Quick(text)


def utc_now() -> datetime:
    return datetime.now(UTC)
