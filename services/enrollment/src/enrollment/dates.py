"""PURE. Due dates: a civil date first, then the instant at which that day has ended where the person is.

The instant is the first one that is no longer that day: work done before it is on time. It exists on every night of
every zone, also when midnight is skipped or a whole day is.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

LAST = date(9999, 12, 30)  # what a date too far to compute becomes
_MIDNIGHT = datetime.min.time()
_CIVIL = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclass(frozen=True, order=True)
class Due:
    """Ordered by instant: the earliest of several is their minimum."""

    at: datetime
    date: date


@lru_cache(maxsize=1024)
def zone(*names: str) -> ZoneInfo:
    """The first of `names` that is an IANA zone; UTC when none is."""
    for name in names:
        try:
            return ZoneInfo(name)
        except (LookupError, ValueError, OSError):  # unknown, absolute path or a folder such as "Europe"
            continue
    return ZoneInfo("UTC")


def parse_date(text: str) -> date | None:
    """A date such as 2026-11-24, or None for anything else: ISO week dates, the empty string."""
    try:
        return date.fromisoformat(text) if _CIVIL.fullmatch(text) else None
    except ValueError:
        return None


def end_of_day(day: date, where: ZoneInfo) -> datetime:
    """The first instant after `day` in `where`, in UTC."""
    midnight = datetime.combine(day + timedelta(days=1), _MIDNIGHT, where)
    early = midnight.replace(fold=1).astimezone(UTC)
    late = midnight.replace(fold=0).astimezone(UTC)
    if early >= late:  # midnight exists; when it comes twice, fold=0 is the first time
        return late
    # Midnight is skipped: the transition lies between the two readings of a time that no clock showed.
    before = early.astimezone(where).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = (early + (late - early) / 2).replace(microsecond=0)
        if middle.astimezone(where).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late


def today(now: datetime, where: ZoneInfo) -> date:
    """The civil date of `now` in `where`."""
    return now.astimezone(where).date()


def due_on(day: date, where: ZoneInfo) -> Due:
    """Due at the end of `day`."""
    day = min(day, LAST)
    return Due(end_of_day(day, where), day)


def due_in(days: int, *, hire_date: str, since: date, where: ZoneInfo) -> Due:
    """`days` after the hire date or `since`, whichever is later: a new hire with old rules gets all the time."""
    start = max(parse_date(hire_date) or since, since)
    try:
        day = start + timedelta(days=days)
    except OverflowError:
        day = LAST
    return due_on(day, where)
