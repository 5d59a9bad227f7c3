"""A pass in sets says of each person what the plan for one person says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from enrollment.assignment import Catalog, Course, Held, Person, enrol_alike, plan
from enrollment.enrollment import of_others
from enrollment.rule import ActiveRule, Draft
from enrollment.rules import parse

TENANT = UUID("01990000-0000-7000-8000-000000000001")
COURSES = ("01990000-0000-7000-8000-0000000000c1", "01990000-0000-7000-8000-0000000000c2")
CATALOG = Catalog({c: Course(c, 2, deprecated=False) for c in COURSES}, time_zone="Europe/Berlin")
NOW = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # tomorrow already in Berlin and Auckland

facts = st.fixed_dictionaries(
    {
        "department": st.sampled_from(["", "Sales", "Engineering"]),
        "time_zone": st.sampled_from(
            ["", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Nowhere"]
        ),
        "hire_date": st.sampled_from(["", "2020-05-01", "2026-11-24", "2026-11-25", "2027-02-01"]),
        "status": st.sampled_from(["active", "on_leave", "terminated"]),
        "location": st.sampled_from(["Berlin", "Munich"]),
    }
)


def numbering() -> Callable[[], str]:
    numbers = iter(range(1, 10_000))
    return lambda: str(UUID(int=next(numbers)))


@given(st.lists(facts, max_size=12), st.none() | st.integers(0, 400), st.sampled_from([COURSES, COURSES[:1]]))
def test_what_many_have_alike_is_what_each_would_get_alone(
    people: list[dict[str, str]], days: int | None, courses: tuple[str, ...]
) -> None:
    tree = {"attribute": "location", "operator": "is", "value": "Berlin"}
    said = Draft("Rule", parse(tree), tree, "in Berlin", courses, (), days, "withdraw_if_incomplete")
    rule = ActiveRule("01990000-0000-7000-8000-0000000000d1", 3, said)
    everybody = {str(UUID(int=n)): each for n, each in enumerate(people)}
    together = enrol_alike(
        TENANT,
        [Person(i, each) for i, each in everybody.items()],
        rule,
        CATALOG,
        now=NOW,
        new_id=numbering(),
    )
    got = {
        (person_id, copies.change.after.course_id): (
            data,
            replace(copies.change.after, enrollment_id="", person_id=""),
        )
        for copies in together
        for (_, person_id), data in zip(
            copies.who, of_others(copies.change.events[0], [("e", p) for _, p in copies.who]), strict=True
        )
    }
    alone = {
        (person_id, change.after.course_id): (
            change.events[0].SerializeToString(),
            replace(change.after, enrollment_id="", person_id=""),
        )
        for person_id, each in everybody.items()
        for change in plan(
            TENANT,
            Person(person_id, each),
            [rule],
            Held(),
            CATALOG,
            now=NOW,
            new_id=lambda: "e",
            scope=rule.rule_id,
        ).changes
    }
    assert got == alone
    ids = [enrollment_id for copies in together for enrollment_id, _ in copies.who]
    assert len({*ids}) == len(ids)
