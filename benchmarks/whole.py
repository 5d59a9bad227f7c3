"""The whole: HR lists everybody of a large organisation, rules enrol them, the dashboard shows it."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from benchmarks.figures import Figure
from benchmarks.parts import add_course, is_
from enrollment.rules import matches, parse
from lyceum_local import lifecycle
from lyceum_local.testing import Platform, installation
from lyceum_local.testing.school import School, open_school

DEPARTMENTS, LOCATIONS = 40, 15
LISTED = 20_000  # people in one request
LOOK = 0.5  # seconds between two looks at the dashboard
SAMPLED = 4  # seconds between two of memory: to count the pages of every process takes a tenth of one


@dataclass(frozen=True)
class Size:
    people: int
    rules: int
    patience: float


FULL = Size(people=100_000, rules=100, patience=900)
SHORT = Size(people=100, rules=5, patience=60)


@dataclass
class Memory:
    """Megabytes of each part, as they were now and then."""

    samples: list[Mapping[str, float]] = field(default_factory=list[Mapping[str, float]])

    @property
    def most(self) -> float:
        return max(sum(sample.values()) for sample in self.samples)


async def run(size: Size) -> list[Figure]:
    people = list(_people(size.people))
    conditions = [_condition(n) for n in range(size.rules)]
    enrolments = sum(_courses_of(person, conditions) for person in people)
    with installation(split=True) as platform:
        async with open_school(platform) as school:
            for n in range(size.rules):
                await add_course(school, f"course-{n}")
            for n, condition in enumerate(conditions):
                await school.rule(f"Rule {n}", condition, courses=[_course(n)])
            await platform.settled()
            async with _sampling(platform) as memory:
                seconds, stages = await _load(school, people, enrolments, size)
    half = len(memory.samples) // 2
    grown = max(sum(s.values()) for s in memory.samples[half:]) / max(
        sum(s.values()) for s in memory.samples[: half or 1]
    )
    return [
        Figure(
            f"{size.people:,} people by HR load, {size.rules} rules, {enrolments:,} enrolments on the dashboard",
            seconds, "s", 45,
            because="Both cores are busy all the time, and others share them: 43 to 50 s in runs of a day. Of their work three"
            " tenths are enrollment's with its PostgreSQL, a quarter identity's with its own, a quarter analytics', an eighth"
            " assessment's, which only looks at headers. A third core would do",
        ),
        *(Figure(f"… {name}", value, "s") for name, value in stages.items()),
        Figure("most memory of all parts meanwhile (PSS)", memory.most / 1000, "GB", 2.5),
        Figure("most memory of the second half against the first", grown, "times", 1.3),
    ]  # fmt: skip


def _people(count: int) -> list[dict[str, Any]]:
    chance = random.Random(11)  # noqa: S311 - the same every time
    return [
        {
            "external_id": f"E{n}",
            "display_name": f"Person {n}",
            "department": f"Department {chance.randrange(DEPARTMENTS)}",
            "location": f"City {chance.randrange(LOCATIONS)}",
            "hire_date": f"{chance.randrange(2005, 2026)}-03-15",
            "employment_type": chance.choice(["employee", "contractor"]),
        }
        for n in range(count)
    ]


def _condition(n: int) -> dict[str, Any]:
    """A quarter of the rules is about places, the others about departments."""
    if n % 4 == 0:
        return is_("location", f"City {n // 4 % LOCATIONS}")
    return is_("department", f"Department {n % DEPARTMENTS}")


def _course(n: int) -> str:
    return f"course-{n}"


def _courses_of(person: Mapping[str, Any], conditions: Sequence[Mapping[str, Any]]) -> int:
    met = {_course(n) for n, c in enumerate(conditions) if matches(parse(c), person)}
    return len(met)


async def _load(
    school: School, people: Sequence[Any], enrolments: int, size: Size
) -> tuple[float, dict[str, float]]:
    """Seconds from the first request until the dashboard has every enrolment, and when each stage was through."""
    began = time.perf_counter()
    for start in range(0, len(people), LISTED):
        await school.ask(
            "PUT", "identity/hris/snapshot", {"complete": False, "people": people[start : start + LISTED]}
        )
    stages = {"HR's listings answered": time.perf_counter() - began}
    async with asyncio.timeout(size.patience):
        while (await school.ask("GET", "analytics/overview"))["enrolled"] < enrolments:  # noqa: ASYNC110
            await asyncio.sleep(LOOK)
    seconds = time.perf_counter() - began
    shown = (await school.ask("GET", "analytics/overview"))["enrolled"]
    assert shown == enrolments, f"{shown} on the dashboard, {enrolments} expected"
    return seconds, stages | {"and shown after": seconds - stages["HR's listings answered"]}


@asynccontextmanager
async def _sampling(platform: Platform) -> AsyncGenerator[Memory]:
    memory = Memory()

    async def sample() -> None:
        while True:
            memory.samples.append(await asyncio.to_thread(lifecycle.memory, platform.config.data))
            await asyncio.sleep(SAMPLED)

    task = asyncio.create_task(sample())
    await asyncio.sleep(0.1)
    try:
        yield memory
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
