"""Due dates on ordinary nights and on the strange ones."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enrollment.dates import Due, due_in, due_on, end_of_day, parse_date, today, zone

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("name", "day", "end"),
    [
        ("Europe/Berlin", date(2026, 11, 24), "2026-11-24T23:00:00+00:00"),
        (
            "Europe/Berlin",
            date(2026, 3, 28),
            "2026-03-28T23:00:00+00:00",
        ),  # the clock changes at 02:00 after it
        ("Europe/Berlin", date(2026, 3, 29), "2026-03-29T22:00:00+00:00"),  # a day of 23 hours
        ("Europe/Berlin", date(2026, 10, 25), "2026-10-25T23:00:00+00:00"),  # a day of 25 hours
        ("UTC", date(2028, 2, 29), "2028-03-01T00:00:00+00:00"),
        ("Asia/Tokyo", date(2026, 12, 31), "2026-12-31T15:00:00+00:00"),
        (
            "Asia/Beirut",
            date(2026, 3, 28),
            "2026-03-28T22:00:00+00:00",
        ),  # 00:00 does not exist: 01:00 follows 23:59
        ("America/Sao_Paulo", date(2018, 11, 3), "2018-11-04T03:00:00+00:00"),  # nor here
        ("America/Sao_Paulo", date(2018, 2, 17), "2018-02-18T03:00:00+00:00"),  # 23:00 to 24:00 twice
        ("America/Havana", date(2026, 10, 31), "2026-11-01T04:00:00+00:00"),  # 00:00 twice: the first
        ("Pacific/Apia", date(2011, 12, 29), "2011-12-30T10:00:00+00:00"),  # the 30th never was
        ("Pacific/Apia", date(2011, 12, 30), "2011-12-30T10:00:00+00:00"),
        ("America/Toronto", date(1919, 3, 30), "1919-03-31T04:30:00+00:00"),  # from 23:30 to 00:30
        ("Pacific/Kiritimati", date(2026, 1, 1), "2026-01-01T10:00:00+00:00"),  # +14:00
    ],
)
def test_the_day_ends_at_the_first_instant_after_it(name: str, day: date, end: str) -> None:
    assert end_of_day(day, ZoneInfo(name)).isoformat() == end


@given(
    st.dates(date(1930, 1, 1), date(2036, 12, 31)),
    st.sampled_from(
        ["Europe/Berlin", "America/Sao_Paulo", "Asia/Beirut", "Australia/Lord_Howe", "Africa/Cairo"]
    ),
)
def test_the_instant_is_past_the_day_and_the_one_before_is_not(day: date, name: str) -> None:
    where = ZoneInfo(name)
    end = end_of_day(day, where)
    assert today(end, where) > day
    assert today(end - timedelta(seconds=1), where) <= day


def test_due_from_the_hire_date_or_from_matching_whichever_is_later() -> None:
    matched = date(2026, 11, 24)
    late = due_in(10, hire_date="2026-12-01", since=matched, where=BERLIN)
    early = due_in(10, hire_date="2020-01-01", since=matched, where=BERLIN)
    unknown = due_in(10, hire_date="", since=matched, where=BERLIN)
    assert (late.date, early.date, unknown.date) == (date(2026, 12, 11), date(2026, 12, 4), date(2026, 12, 4))


@pytest.mark.parametrize("hired", ["9999-12-31", "0001-01-01", "2026-02-30", "soon", "2026-W48-2"])
def test_no_hire_date_breaks_a_due_date(hired: str) -> None:
    due = due_in(3650, hire_date=hired, since=date(2026, 11, 24), where=ZoneInfo("Pacific/Kiritimati"))
    assert due.at > datetime(2026, 11, 24, tzinfo=UTC)


def test_the_earliest_is_the_minimum() -> None:
    here, there = due_on(date(2026, 11, 24), BERLIN), due_on(date(2026, 11, 24), ZoneInfo("Asia/Tokyo"))
    assert min(here, there) == there == Due(datetime(2026, 11, 24, 15, tzinfo=UTC), date(2026, 11, 24))


@pytest.mark.parametrize(
    "name", ["", "Mars/Olympus", "../../etc/passwd", "/etc/localtime", "Europe", "A" * 300]
)
def test_an_unknown_zone_falls_back(name: str) -> None:
    assert zone(name, "Asia/Tokyo").key == "Asia/Tokyo"
    assert zone(name).key == "UTC"


@pytest.mark.parametrize(
    "text", ["", "2026-1-1", "20261124", "2026-W48-2", "2026-11-24T00:00", "２０２６-11-24", "2026-02-29"]
)
def test_only_civil_dates_are_dates(text: str) -> None:
    assert parse_date(text) is None
