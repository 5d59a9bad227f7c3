"""Conditions: reading, saying, deciding; one person, an index and SQL agree."""

from collections.abc import Awaitable, Callable
from typing import Any as Json
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from enrollment.assignment import Person
from enrollment.rules import (
    ATTRIBUTES,
    All,
    Any,
    Compare,
    Condition,
    InvalidCondition,
    Not,
    RuleIndex,
    matches,
    parse,
    sentence,
    to_json,
)
from enrollment.rules.conditions import MAX_DEPTH
from enrollment.rules.sql import where
from enrollment.store.people import save_people
from enrollment.tables import people
from lyceum_kit.db import make_engine, set_tenant

TENANT = UUID("01990000-0000-7000-8000-000000000001")


def leaf(attribute: Json, operator: str, value: Json) -> dict[str, Json]:
    return {"attribute": attribute, "operator": operator, "value": value}


ENGINEERING = leaf("department", "is", "Engineering")


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        (ENGINEERING, "department is Engineering"),
        (
            {"all": [ENGINEERING, leaf("location", "in", ["Berlin", "Munich"])]},
            "department is Engineering and location is Berlin or Munich",
        ),
        (
            {"all": [{"any": [ENGINEERING, leaf("department", "is", "IT")]}, leaf("status", "is", "active")]},
            "(department is Engineering or department is IT) and employment status is active",
        ),
        ({"not": ENGINEERING}, "not (department is Engineering)"),
        (leaf("location", "not_in", ["A", "B", "C"]), "location is neither A, B nor C"),
        (leaf("location", "not_in", ["A"]), "location is not A"),
        (leaf("hire_date", "on_or_after", "2026-01-01"), "hire date is on or after 2026-01-01"),
        (leaf("job_title", "starts_with", "Senior"), "job title starts with Senior"),
        (leaf("manager_id", "is", ""), "manager is missing"),
        (leaf("manager_id", "is_not", ""), "manager is not missing"),
        ({"any": [{"all": [ENGINEERING]}]}, "department is Engineering"),
    ],
)
def test_a_condition_reads_as_a_sentence(tree: Json, said: str) -> None:
    assert sentence(parse(tree)) == said


def nested(depth: int) -> Json:
    return ENGINEERING if depth == 1 else {"not": nested(depth - 1)}


@pytest.mark.parametrize(
    ("tree", "path", "message"),
    [
        (None, "condition", "must be an object"),
        ([], "condition", "must be an object"),
        ({}, "condition", "exactly one of"),
        ({"all": [ENGINEERING], "any": [ENGINEERING]}, "condition", "exactly one of"),
        ({"all": []}, "condition.all", "at least one"),
        ({"any": {}}, "condition.any", "at least one"),
        ({"all": [ENGINEERING, {"not": 3}]}, "condition.all[1].not", "must be an object"),
        ({**ENGINEERING, "extra": 1}, "condition", "exactly one of"),
        (leaf("salary", "is", "1"), "condition.attribute", "must be one of"),
        (leaf("department", "like", "E%"), "condition.operator", "must be one of"),
        (leaf("department", "before", "2026-01-01"), "condition.operator", "must be one of"),
        (leaf("department", "is", 3), "condition.value", "must be a text"),
        (leaf("department", "is", True), "condition.value", "must be a text"),
        (leaf("department", "is", None), "condition.value", "must be a text"),
        (leaf("department", "is", ["a"]), "condition.value", "must be a text"),
        (leaf("department", "in", "Engineering"), "condition.value", "must be a list"),
        (leaf("department", "in", []), "condition.value", "must be a list"),
        (leaf("department", "in", ["a", 1]), "condition.value[1]", "must be a text"),
        (leaf("department", "in", ["a"] * 501), "condition.value", "more than 500"),
        (leaf("department", "is", "x" * 201), "condition.value", "longer than 200"),
        (leaf("department", "is", "a\x00"), "condition.value", "cannot be stored"),
        (leaf("department", "is", "\ud800"), "condition.value", "cannot be stored"),
        (leaf("department", "starts_with", ""), "condition.value", "must not be empty"),
        (leaf("hire_date", "before", "soon"), "condition.value", "must be a date"),
        (leaf("hire_date", "before", "2026-02-30"), "condition.value", "must be a date"),
        (leaf(["department"], "is", "a"), "condition.attribute", "must be one of"),
        (nested(MAX_DEPTH + 1), "condition" + ".not" * MAX_DEPTH, "nested deeper"),
        ({"all": [{"all": [ENGINEERING] * 150}, {"all": [ENGINEERING] * 150}]}, "condition", "more than 200"),
        ({"all": [ENGINEERING] * 201}, "condition.all", "more than 200"),
    ],
)
def test_a_bad_condition_is_refused_by_the_path_to_its_node(tree: Json, path: str, message: str) -> None:
    with pytest.raises(InvalidCondition) as refused:
        parse(tree)
    assert refused.value.path == path
    assert message in refused.value.message


def test_the_deepest_condition_that_is_allowed_is_read() -> None:
    parse(nested(MAX_DEPTH))


def test_a_missing_attribute_is_the_empty_string() -> None:
    assert matches(parse(leaf("manager_id", "is", "")), {})
    assert matches(parse(leaf("department", "is_not", "Sales")), {})
    assert not matches(parse(leaf("hire_date", "before", "2026-01-01")), {})
    assert matches(parse({"not": leaf("hire_date", "before", "2026-01-01")}), {})


# One person, an index and SQL agree

WORDS = ["", "a", "A", "b", "Ä", "a%", "a_", "ab", "é", "山"]
DAYS = ["", "2026-01-01", "2026-01-02", "2027-06-30", "0001-01-01", "9999-12-31"]
words = st.sampled_from(WORDS) | st.text(
    st.characters(exclude_characters="\x00", exclude_categories=("Cs",)), max_size=3
)
days = st.sampled_from(DAYS[1:])
attributes = st.sampled_from(list(ATTRIBUTES))
leaves = (
    st.builds(Compare, attributes, st.sampled_from(["is", "is_not"]), st.tuples(words))
    | st.builds(
        Compare,
        attributes,
        st.sampled_from(["in", "not_in"]),
        st.lists(words, min_size=1, max_size=3, unique=True).map(tuple),
    )
    | st.builds(Compare, attributes, st.just("starts_with"), st.tuples(words.filter(bool)))
    | st.builds(
        Compare,
        st.just("hire_date"),
        st.sampled_from(["before", "after", "on_or_before", "on_or_after"]),
        st.tuples(days),
    )
)
conditions: st.SearchStrategy[Condition] = st.recursive(
    leaves,
    lambda inner: (
        st.builds(All, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Any, st.lists(inner, min_size=1, max_size=3).map(tuple))
        | st.builds(Not, inner)
    ),
    max_leaves=6,
)
persons = st.fixed_dictionaries(
    {name: (st.sampled_from(DAYS) if name == "hire_date" else words) for name in ATTRIBUTES}
)


@given(conditions)
def test_a_condition_survives_json(condition: Condition) -> None:
    assert parse(to_json(condition)) == condition


@given(st.lists(conditions, max_size=12), persons)
def test_the_index_finds_exactly_what_matches(some: list[Condition], facts: dict[str, str]) -> None:
    index = RuleIndex[int].of(enumerate(some))
    found = index.find(facts)
    assert sorted(found) == [n for n, condition in enumerate(some) if matches(condition, facts)]


async def test_sql_finds_exactly_who_matches(database: Callable[[str], Awaitable[Json]]) -> None:
    engine = make_engine((await database("enrollment")).app_url)
    async with engine.connect() as conn:

        @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
        @given(st.lists(conditions, min_size=1, max_size=4), st.lists(persons, min_size=1, max_size=6))
        def compare(some: list[Condition], facts: list[dict[str, str]]) -> None:
            asked.append((some, facts))

        asked: list[tuple[list[Condition], list[dict[str, str]]]] = []
        compare()
        assert len(asked) >= 100
        for some, facts in asked:
            async with conn.begin():
                await set_tenant(conn, TENANT)
                who = {str(UUID(int=n)): fact for n, fact in enumerate(facts)}
                everybody = [Person(person_id, fact) for person_id, fact in who.items()]
                assert await save_people(conn, TENANT, everybody) == set(who)
                assert await save_people(conn, TENANT, everybody[:1]) == set()
                for condition in some:
                    statement = select(people.c.person_id).where(people.c.tenant == TENANT, where(condition))
                    found = set((await conn.execute(statement)).scalars())
                    assert found == {p for p, fact in who.items() if matches(condition, fact)}, condition
                await conn.rollback()
    await engine.dispose()


def test_an_index_tries_few_rules_for_a_person() -> None:
    """A thousand rules, each for one of 100 departments together with one of ten titles."""
    rules = [
        (
            n,
            All(
                (
                    Compare("department", "is", (f"D{n % 100}",)),
                    Compare("job_title", "in", (f"T{n % 1000 // 100}", "Z")),
                )
            ),
        )
        for n in range(1000)
    ]
    index = RuleIndex[int].of(rules)
    tried = [len(entries) for by_values in index.filed.values() for entries in by_values.values()]
    assert sum(tried) == 2000  # under both titles
    assert sorted({*tried}) == [1, 10]  # ten rules share a department and the title Z
    assert index.find({"department": "D7", "job_title": "T3"}) == [307]
