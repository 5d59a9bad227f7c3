"""The pure core: what HR says in any order, doubled or late, becomes the same person and only differences."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from identity.person import (
    ChangeProfile,
    Described,
    Leaves,
    Person,
    PersonFacts,
    Profile,
    Record,
    SetRoles,
    Settle,
    Statement,
    decide,
    evolve,
    heard,
    outlook,
    person_from,
    present_again,
    status_name,
    waits_for_hire,
)
from identity.record_json import record_from_json, record_to_json
from lyceum.identity.v1 import events_pb2 as pb

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
BERLIN = PersonFacts(
    department="Engineering", location="Berlin", hire_date=date(2026, 11, 24), time_zone="Europe/Berlin"
)
ADA = Profile("Ada Lovelace", "ada@example.org", "en")
HIRE = Described(NOON, BERLIN, ADA, hires=True)


def told(record: Record, *statements: Statement, now: datetime = NOON) -> Record:
    for statement in statements:
        record = heard(record, statement, now)
    return record


def settle(record: Record, now: datetime, *, manager_id: str = "") -> Settle:
    return Settle("p", "hris", outlook(record, now), org_unit_id="u", manager_id=manager_id)


def names(events: list[Message]) -> list[str]:
    return [type(e).__name__ for e in events]


def test_hire_today_provisions_without_a_name_in_the_event() -> None:
    [event] = decide(Person(), settle(told(Record(), HIRE), NOON))
    assert isinstance(event, pb.UserProvisioned)
    assert event.job.department == "Engineering"
    assert event.status == pb.EMPLOYMENT_STATUS_ACTIVE
    assert b"Ada" not in event.SerializeToString()
    assert b"example.org" not in event.SerializeToString()


def test_hire_in_the_future_waits_for_the_start_of_its_day_in_the_persons_time_zone() -> None:
    facts = replace(BERLIN, hire_date=date(2026, 12, 1))
    record = told(Record(), replace(HIRE, facts=facts))
    found = outlook(record, NOON)
    assert decide(Person(), settle(record, NOON)) == []
    assert status_name(Person(), record) == "prehire"
    day = datetime(2026, 11, 30, 23, tzinfo=UTC)
    assert found.changes_at == day
    assert names(decide(Person(), settle(record, day))) == ["UserProvisioned"]


def test_same_facts_again_are_no_event() -> None:
    record = told(Record(), HIRE)
    person = person_from(decide(Person(), settle(record, NOON)))
    again = told(record, replace(HIRE, said_at=NOON + timedelta(hours=1)))
    assert decide(person, settle(again, NOON + timedelta(hours=2))) == []


def test_update_names_what_changed() -> None:
    record = told(Record(), HIRE)
    person = person_from(decide(Person(), settle(record, NOON)))
    later = NOON + timedelta(hours=1)
    record = told(
        record, Described(later, replace(BERLIN, department="Sales", on_leave=True), ADA), now=later
    )
    [event] = decide(person, settle(record, later))
    assert isinstance(event, pb.UserUpdated)
    assert list(event.changed) == ["department", "status"]
    assert evolve(person, event).status == pb.EMPLOYMENT_STATUS_ON_LEAVE


def test_an_older_hr_version_changes_nothing() -> None:
    record = told(Record(), HIRE)
    stale = Described(NOON - timedelta(minutes=1), replace(BERLIN, department="Old"), Profile("Old"))
    assert outlook(told(record, stale), NOON) == outlook(record, NOON)
    assert told(record, stale).newest == HIRE


def test_a_dated_move_waits_and_a_name_does_not() -> None:
    moved = Described(NOON, replace(BERLIN, department="Sales"), ADA, effective_on=date(2026, 12, 1))
    renamed = Described(NOON + timedelta(hours=1), BERLIN, Profile("Ada King"))
    record = told(Record(), HIRE, moved, renamed, now=NOON + timedelta(hours=1))
    now = outlook(record, NOON + timedelta(hours=1))
    assert now.facts is not None
    assert now.facts.department == "Engineering"
    assert now.changes_at is not None
    then = outlook(record, now.changes_at)
    assert then.facts is not None
    assert then.facts.department == "Sales"
    assert record.newest is not None
    assert record.newest.profile.display_name == "Ada King"


def test_termination_before_the_hire_is_held_and_then_applied() -> None:
    record = told(Record(), Leaves(NOON + timedelta(minutes=1), reason="resigned"))
    assert waits_for_hire(record)
    assert status_name(Person(), record) == "held"
    later = NOON + timedelta(minutes=5)
    assert decide(Person(), settle(record, later)) == []
    events = decide(Person(), settle(told(record, HIRE), later))
    assert names(events) == ["UserProvisioned", "UserDeactivated"]


def test_future_termination_waits_and_a_later_word_moves_it() -> None:
    record = told(Record(), HIRE, Leaves(NOON, date(2026, 12, 1)))
    person = person_from(decide(Person(), settle(record, NOON)))
    assert person.active
    moved = told(record, Leaves(NOON + timedelta(hours=1), date(2026, 12, 31)))
    assert decide(person, settle(moved, datetime(2026, 12, 2, tzinfo=UTC))) == []
    assert names(decide(person, settle(moved, datetime(2026, 12, 31, tzinfo=UTC)))) == ["UserDeactivated"]


def test_rehire_reactivates_the_same_person() -> None:
    record = told(Record(), HIRE, Leaves(NOON + timedelta(hours=1)))
    then = NOON + timedelta(hours=2)
    person = person_from(decide(Person(), settle(record, then)))
    assert person.status == pb.EMPLOYMENT_STATUS_TERMINATED
    back = told(record, replace(HIRE, said_at=then), now=then)
    [event] = decide(person, settle(back, then))
    assert isinstance(event, pb.UserReactivated)
    assert event.job.department == "Engineering"


def test_an_update_of_somebody_who_left_does_not_bring_them_back() -> None:
    record = told(Record(), HIRE, Leaves(NOON + timedelta(hours=1)))
    then = NOON + timedelta(hours=2)
    person = person_from(decide(Person(), settle(record, then)))
    updated = told(record, Described(then, replace(BERLIN, location="Kyoto"), ADA), now=then)
    assert decide(person, settle(updated, then)) == []


def test_a_listing_rehires_who_left_but_cancels_no_leave_to_come() -> None:
    then = NOON + timedelta(days=1)
    listed = Described(then, BERLIN, ADA)
    leaving = told(Record(), HIRE, Leaves(NOON, date(2026, 12, 31)))
    assert not present_again(leaving, listed, then).hires
    left = told(Record(), HIRE, Leaves(NOON + timedelta(hours=1)))
    assert present_again(left, listed, then).hires


def test_manager_who_arrives_later_is_one_update() -> None:
    record = told(Record(), HIRE)
    person = person_from(decide(Person(), settle(record, NOON)))
    [event] = decide(person, settle(record, NOON, manager_id="grace"))
    assert isinstance(event, pb.UserUpdated)
    assert list(event.changed) == ["manager_id"]


def test_profile_change_says_which_and_never_what() -> None:
    person = person_from(decide(Person(), settle(told(Record(), HIRE), NOON)))
    [event] = decide(person, ChangeProfile("p", ADA, replace(ADA, email="king@example.org")))
    assert event == pb.UserProfileChanged(person_id="p", changed=["email"])
    assert decide(person, ChangeProfile("p", ADA, ADA)) == []
    assert decide(Person(), ChangeProfile("p", ADA, replace(ADA, email="x@example.org"))) == []


@pytest.mark.parametrize(
    ("granted", "leads", "roles"),
    [((), True, ["learner", "manager"]), (("admin",), False, ["admin", "learner"])],
)
def test_roles_are_granted_or_derived(granted: tuple[str, ...], leads: bool, roles: list[str]) -> None:
    [event] = decide(Person(), SetRoles("p", granted, leads))
    assert event == pb.RolesChanged(person_id="p", roles=roles)
    assert decide(evolve(Person(), event), SetRoles("p", granted, leads)) == []


# ---- any order, any number of times

minutes = st.integers(0, 60 * 24 * 20).map(lambda m: NOON + timedelta(minutes=m))
days = st.none() | st.integers(-3, 20).map(lambda d: date(2026, 11, 24) + timedelta(days=d))
facts = st.builds(
    PersonFacts,
    department=st.sampled_from(["Engineering", "Sales", ""]),
    location=st.sampled_from(["Berlin", "Kyoto"]),
    manager_external_id=st.sampled_from(["", "1"]),
    hire_date=days,
    time_zone=st.sampled_from(["Europe/Berlin", "Asia/Tokyo", "America/Los_Angeles"]),
    on_leave=st.booleans(),
)
described = st.builds(
    Described, minutes, facts, st.builds(Profile, st.sampled_from(["Ada", "山田"])), days, st.booleans()
)
statements = st.lists(described | st.builds(Leaves, minutes, days), max_size=6)
END = NOON + timedelta(days=60)


@given(statements, st.data(), minutes)
def test_shuffled_and_doubled_messages_converge(
    said: list[Statement], data: st.DataObject, now: datetime
) -> None:
    shuffled = data.draw(
        st.permutations(said + data.draw(st.lists(st.sampled_from(said)) if said else st.just([])))
    )
    straight, mixed = told(Record(), *said, now=now), told(Record(), *shuffled, now=now)
    assert straight == mixed
    assert outlook(straight, END) == outlook(mixed, END)


@given(statements, minutes)
def test_forgetting_the_past_changes_no_later_outlook(said: list[Statement], now: datetime) -> None:
    forgetful, exact = (
        told(Record(), *said, now=now),
        told(Record(), *said, now=datetime.min.replace(tzinfo=UTC)),
    )
    for moment in (now, now + timedelta(days=3), END):
        assert outlook(forgetful, moment) == outlook(exact, moment)


@given(statements, st.data())
def test_whatever_the_order_of_arrival_the_published_person_ends_the_same(
    said: list[Statement], data: st.DataObject
) -> None:
    ends: list[Person] = []
    for order in (said, data.draw(st.permutations(said))):
        record, person, now = Record(), Person(), NOON
        for statement in order:
            now += timedelta(hours=1)
            record = heard(record, statement, now)
            person = evolve_all(person, decide(person, settle(record, now)))
        # The timer wakes at each moment at which something changes.
        while (at := outlook(record, now).changes_at) is not None:
            now = at
            person = evolve_all(person, decide(person, settle(record, now)))
        ends.append(person)
        assert decide(person, settle(record, END)) == []
    assert ends[0].active == ends[1].active
    assert ends[0].exists == ends[1].exists
    if ends[0].active:
        assert ends[0] == ends[1]


def evolve_all(person: Person, events: list[Message]) -> Person:
    for event in events:
        person = evolve(person, event)
    return person


@given(statements, minutes)
def test_a_stored_record_is_read_back_as_it_was(said: list[Statement], now: datetime) -> None:
    record = told(Record(), *said, now=now)
    assert record_from_json(record_to_json(record)) == record
