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
from enrollment.rules import RuleIndex, parse

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


def a_rule(attribute: str, value: str, days: int | None, courses: tuple[str, ...], n: int) -> ActiveRule:
    tree = {"attribute": attribute, "operator": "is", "value": value}
    said = Draft(
        "Rule", parse(tree), tree, f"{attribute} is {value}", courses, (), days, "withdraw_if_incomplete"
    )
    return ActiveRule(f"01990000-0000-7000-8000-0000000000d{n}", 3, said)


@given(st.lists(facts, max_size=12), st.none() | st.integers(0, 400), st.sampled_from([COURSES, COURSES[:1]]))
def test_what_many_have_alike_is_what_each_would_get_alone(
    people: list[dict[str, str]], days: int | None, courses: tuple[str, ...]
) -> None:
    """Also of a course that several rules ask for: an event for each of them."""
    index = RuleIndex[ActiveRule].of(
        (rule, rule.draft.condition)
        for rule in (
            a_rule("location", "Berlin", days, courses, 1),
            a_rule("department", "Sales", 30, COURSES, 2),
        )
    )
    everybody = {str(UUID(int=n)): each for n, each in enumerate(people)}
    together = enrol_alike(
        TENANT,
        [(Person(i, each), index.find(each)) for i, each in everybody.items()],
        CATALOG,
        now=NOW,
        new_id=numbering(),
    )
    got = {
        (person_id, copies.change.after.course_id): (
            [
                type(event).FromString(data)
                for event in copies.change.events
                for data in of_others(event, [("e", person_id, department)])
            ],
            replace(copies.change.after, enrollment_id="", person_id=""),
        )
        for copies in together
        for _, person_id, department in copies.who
    }
    alone = {
        (person_id, change.after.course_id): (
            list(change.events),
            replace(change.after, enrollment_id="", person_id=""),
        )
        for person_id, each in everybody.items()
        for change in plan(
            TENANT, Person(person_id, each), index.find(each), Held(), CATALOG, now=NOW, new_id=lambda: "e"
        ).changes
    }
    assert got == alone
    ids = [enrollment_id for copies in together for enrollment_id, *_ in copies.who]
    assert len({*ids}) == len(ids)
