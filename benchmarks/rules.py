"""Rules over many people, beside what SQL alone needs; and one person's change, beside a hundredth of the rules."""

# ruff: noqa: S608 - statements are made of our own conditions

import json
import random
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from statistics import median
from time import process_time
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy.dialects import postgresql

from benchmarks.figures import Figure, in_turns
from benchmarks.parts import Database, postgres_server, service_database
from enrollment.app import build
from enrollment.handlers import activate_rule, draft_rule
from enrollment.rule import Draft
from enrollment.rules import Condition, RuleIndex, parse, sentence, to_json
from enrollment.rules.sql import where
from enrollment.settings import Settings
from enrollment.store import book
from enrollment.store.book import Books
from lyceum.catalog.v1.events_pb2 import CoursePublished, Module
from lyceum_kit.db import dsn
from lyceum_kit.ids import new_id
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.service import Service
from lyceum_kit.timers import Timers

DEPARTMENTS, LOCATIONS, TITLES = 40, 25, 400
ROUNDS = 3
PAYLOAD = 600  # bytes of an event in the floor's outbox


@dataclass(frozen=True)
class Size:
    people: int
    more_people: int
    rules: int
    tried: int  # people evaluated against few and many rules


FULL = Size(people=100_000, more_people=400_000, rules=100, tried=2_000)
SHORT = Size(people=200, more_people=400, rules=5, tried=50)


async def run(size: Size) -> list[Figure]:
    conditions = list(_conditions(size.rules))
    full: list[float] = []
    again: list[float] = []
    floors: list[float] = []
    anti: list[float] = []
    enrolled = 0
    with postgres_server() as server:
        for _ in range(ROUNDS):
            async with _company(server, size.people, conditions) as company:
                floor, anti_join = await company.floor()
                took, enrolled = await company.full_pass()
                full.append(took)
                floors.append(floor)
                again.append(await company.pass_again())
                anti.append(anti_join)
        async with _company(server, size.more_people, conditions) as larger:
            more, _ = await larger.full_pass()
    few, many = await in_turns(ROUNDS, lambda: _one(size.rules, size), lambda: _one(size.rules * 100, size))
    names = f"{size.rules} rules × {size.people:,} people"
    return [
        Figure(
            f"{names}: full pass", median(full), "s", 1.5, "at most", median(floors), "SQL with outbox",
            note=f"{enrolled:,} enrolments",
            because="SQL alone writes an enrolment and an outbox row; we write enrolment, ground, event, timer and outbox"
            " row, with nine indexes: some 37 µs of PostgreSQL's CPU for each, and 21 of Python's, which makes ids and encoded"
            " events, four chunks at a time, on two cores that others share: 1.45 to 1.62 in runs of a day",
        ),
        Figure(
            f"{names}: nothing changed", median(again), "s", 1.2, "at most", median(anti), "anti-join",
            because="Ours also looks for those who hold something and match no more, and goes in order of ids, so that a"
            " pass can stop after a chunk and go on",
        ),
        Figure(
            f"full pass over {size.more_people:,} people", more, "s", 4.4, "at most", median(full),
            f"{size.people:,} people",
        ),
        Figure(
            f"one person, {size.rules * 100:,} rules: CPU", many, "µs", 30, "at most", few, f"{size.rules} rules"
        ),
    ]  # fmt: skip


def _conditions(count: int) -> Iterator[Condition]:
    """Conjunctions of one to three comparisons, as HR writes them; a person meets some 3 of 100."""
    chance = random.Random(4)  # noqa: S311 - the same every time
    for n in range(count):
        parts: list[dict[str, Any]] = [{"attribute": "department", "operator": "is", "value": _department(n)}]
        if n % 5 == 0:
            some = [f"City {chance.randrange(LOCATIONS)}" for _ in range(LOCATIONS)]
            parts = [{"attribute": "location", "operator": "in", "value": sorted({*some})[:3]}]
        if n % 3 == 0:
            parts.append({"attribute": "employment_type", "operator": "is_not", "value": "contractor"})
        if n % 7 == 0:
            parts.append({"attribute": "hire_date", "operator": "on_or_after", "value": "2015-01-01"})
        yield parse({"all": parts})


def _department(n: int) -> str:
    return f"Department {n % DEPARTMENTS}"


def _facts(chance: random.Random) -> dict[str, str]:
    return {
        "department": _department(chance.randrange(DEPARTMENTS)),
        "location": f"City {chance.randrange(LOCATIONS)}",
        "job_title": f"Title {chance.randrange(TITLES)}",
        "employment_type": chance.choice(["employee", "employee", "employee", "contractor"]),
        "hire_date": f"{chance.randrange(2005, 2026)}-{chance.randrange(1, 13):02}-15",
        "time_zone": chance.choice(["Europe/Berlin", "Europe/London", "America/New_York"]),
        "status": "active",
    }


@dataclass
class _Company:
    """A tenant with its people and drafted rules, each for a course of its own."""

    service: Service
    ledger: Ledger
    tenant: UUID
    rules: list[str]
    conditions: list[Condition]
    owner: asyncpg.Connection

    async def floor(self) -> tuple[float, float]:
        """What a careful programmer writes by hand: a statement a rule, enrolment and outbox in one; then once more."""
        await self.owner.execute("""
            DROP TABLE IF EXISTS floor_enrollments, floor_outbox;
            CREATE TABLE floor_enrollments (
              tenant uuid, person_id uuid, rule int, enrolled_at timestamptz, PRIMARY KEY (tenant, person_id, rule));
            CREATE TABLE floor_outbox (seq bigserial PRIMARY KEY, event_id uuid UNIQUE, payload text)""")
        matching = [_literal(condition) for condition in self.conditions]
        enrol = (
            "WITH new AS (INSERT INTO floor_enrollments SELECT tenant, person_id, {rule}, now() FROM people"
            f" WHERE tenant = '{self.tenant}' AND status <> 'terminated' AND {{condition}}"
            " ON CONFLICT DO NOTHING RETURNING person_id)"
            " INSERT INTO floor_outbox (event_id, payload)"
            f" SELECT uuidv7(), rpad(person_id::text, {PAYLOAD}, 'x') FROM new"
        )
        anti_join = (
            "INSERT INTO floor_enrollments SELECT tenant, person_id, {rule}, now() FROM people"
            f" WHERE tenant = '{self.tenant}' AND status <> 'terminated' AND {{condition}} AND NOT EXISTS"
            " (SELECT FROM floor_enrollments e"
            " WHERE e.tenant = people.tenant AND e.person_id = people.person_id AND e.rule = {rule})"
        )
        took: list[float] = []
        for statement in (enrol, anti_join):
            began = time.perf_counter()
            for rule, condition in enumerate(matching):
                await self.owner.execute(statement.format(rule=rule, condition=condition))
            took.append(time.perf_counter() - began)
            await self.owner.execute("ANALYZE floor_enrollments")
        return took[0], took[1]

    async def full_pass(self) -> tuple[float, int]:
        """Seconds from the first activation until the last pass is done, and how many were enrolled."""
        began = time.perf_counter()
        books = Books()
        for rule_id in self.rules:
            await self.ledger.run(self.tenant, activate_rule, rule_id, books=books)
        await self._passes()
        took = time.perf_counter() - began
        count = int(await self.owner.fetchval("SELECT count(*) FROM enrollments"))
        await self.owner.execute("ANALYZE")
        return took, count

    async def pass_again(self) -> float:
        """Every rule once more over everybody, as after a change of a rule that changes nothing."""
        before = await self.owner.fetchval("SELECT count(*) FROM events")

        async def begin(tx: Tx) -> None:
            for rule_id in self.rules:
                tx.set_timer("rule-pass", f"{rule_id}/again", tx.now, {"rule_id": rule_id, "after": ""})

        began = time.perf_counter()
        await self.ledger.run(self.tenant, begin)
        await self._passes()
        took = time.perf_counter() - began
        assert before == await self.owner.fetchval("SELECT count(*) FROM events")
        return took

    async def _passes(self) -> None:
        await Timers(self.ledger, {"rule-pass": self.service.timers["rule-pass"]}).run_due()


@asynccontextmanager
async def _company(server: str, people: int, conditions: list[Condition]) -> AsyncGenerator[_Company]:
    database = await service_database(server, "enrollment")
    service = build(Settings.model_validate({"database_url": database.app_url}))
    assert service.ledger
    # The owner is bound by row-level security as well: the floor is the superuser's.
    owner = await asyncpg.connect(f"{server.rpartition('/')[0]}/{database.role}")
    try:
        tenant = uuid4()
        await _fill(owner, tenant, people)
        rules = [await _rule(service.ledger, tenant, c) for c in conditions]
        yield _Company(service, service.ledger, tenant, rules, conditions, owner)
    finally:
        await service.ledger.close()
        await owner.close()
        await _drop(server, database)


async def _fill(owner: asyncpg.Connection, tenant: UUID, people: int) -> None:
    chance = random.Random(7)  # noqa: S311 - the same every time
    rows = ((tenant, new_id(), _facts(chance)) for _ in range(people))
    await owner.execute("CREATE TEMP TABLE loaded (tenant uuid, person_id uuid, facts text)")
    await owner.copy_records_to_table("loaded", records=[(t, p, json.dumps(f)) for t, p, f in rows])
    await owner.execute(
        "INSERT INTO people (tenant, person_id, facts) SELECT tenant, person_id, facts::jsonb FROM loaded"
    )
    await owner.execute("ANALYZE people")


async def _rule(ledger: Ledger, tenant: UUID, condition: Condition) -> str:
    course_id = str(uuid4())
    module = Module(module_id="m", title="Read")
    course = CoursePublished(
        course_id=course_id, course_version=1, title="Course", slug="c", modules=[module]
    )

    async def draft(tx: Tx) -> str:
        await book.save_course(tx.conn, tx.tenant, course)
        await book.raise_revision(tx.conn, tx.tenant)
        said = Draft(
            "Rule",
            condition,
            to_json(condition),
            sentence(condition),
            (course_id,),
            (),
            30,
            "withdraw_if_incomplete",
        )
        return await draft_rule(tx, said, books=Books())

    return await ledger.run(tenant, draft)


async def _drop(server: str, database: Database) -> None:
    admin = await asyncpg.connect(dsn(server))
    await admin.execute(f'DROP DATABASE "{database.role}" WITH (FORCE)')
    await admin.close()


def _literal(condition: Condition) -> str:
    compiled = where(condition).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    return str(compiled).replace("%%", "%")


async def _one(rules: int, size: Size) -> float:
    """Microseconds of CPU to find the rules that one person meets."""
    index = RuleIndex[int].of(enumerate(_wide(rules)))
    chance = random.Random(9)  # noqa: S311 - the same every time
    people = [_facts(chance) for _ in range(size.tried)]
    began = process_time()
    for facts in people:
        index.find(facts)
    return (process_time() - began) / len(people) * 1e6


def _wide(count: int) -> Iterator[Condition]:
    """Rules for one person's change: most name a job title besides the department, the others a place."""
    chance = random.Random(5)  # noqa: S311 - the same every time
    for _ in range(count):
        department = {
            "attribute": "department",
            "operator": "is",
            "value": _department(chance.randrange(DEPARTMENTS)),
        }
        title = {"attribute": "job_title", "operator": "is", "value": f"Title {chance.randrange(TITLES)}"}
        place = {"attribute": "location", "operator": "is", "value": f"City {chance.randrange(LOCATIONS)}"}
        yield parse({"all": [department, title if chance.random() < 0.6 else place]})
