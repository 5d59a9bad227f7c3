"""A real engine for all tests of this folder, and ledgers in memory that number events as the real ones do."""

import asyncio
import contextlib
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast
from uuid import UUID

import httpx
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import SecretStr

from analytics import schema, sql_endpoint
from analytics.consumers import Consumption
from analytics.engine import Engine, open_engine
from analytics.projections import COLUMNS, table
from analytics.settings import Settings
from lyceum.assessment.v1 import events_pb2 as assessment
from lyceum.catalog.v1 import events_pb2 as catalog
from lyceum.enrollment.v1 import events_pb2 as enrollment
from lyceum.identity.v1 import events_pb2 as identity
from lyceum_kit.envelope import Meta, Record, read_record, to_headers
from lyceum_kit.feed import FeedReader, Head
from lyceum_kit.ids import new_id
from lyceum_kit.topics import feeds
from lyceum_local.testing import free_port

GENERATION = 1_790_000_000_000


class Ledgers:
    """The producers' ledgers and their EventFeeds: what `FeedReader` reaches over gRPC elsewhere."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, int], list[Record]] = defaultdict(list)
        self._versions: dict[str, int] = defaultdict(int)
        self.reads = 0

    def append(
        self,
        tenant: UUID,
        stream: str,
        message: Message,
        *,
        type: str = "",
        key: str = "",
        at: datetime = datetime(2026, 11, 2, 9, tzinfo=UTC),
        body: bytes | None = None,
    ) -> Record:
        """`type` and `body` instead of the message's own: of a newer release, or broken."""
        type = type or message.DESCRIPTOR.full_name
        feed = type.split(".")[1]
        partition = feeds()[feed].partition_of(key or stream)
        run = self.records[feed, partition]
        self._versions[stream] += 1
        meta = Meta(
            id=new_id(),
            type=type,
            source=feed,
            stream=stream,
            version=self._versions[stream],
            time=at,
            tenant=tenant,
            feed=feed,
            partition=partition,
            position=len(run) + 1,
            generation=GENERATION,
            previous=run[-1].id if run else "",
        )
        body = message.SerializeToString() if body is None else body
        record = read_record(feed, partition, (key or stream).encode(), body, to_headers(meta))
        run.append(record)
        return record

    def all(self, feed: str = "") -> list[Record]:
        return [r for (f, _), run in self.records.items() if feed in ("", f) for r in run]

    async def heads(self, feed: str) -> list[Head]:
        heads: list[Head] = []
        for partition in range(feeds()[feed].partitions):
            run = self.records[feed, partition]
            heads.append(Head(len(run), len(run), ((GENERATION, 1),), run[-1].id if run else ""))
        return heads

    async def read(self, feed: str, partition: int, first: int, limit: int) -> list[Record]:
        self.reads += 1
        return self.records[feed, partition][first - 1 : first - 1 + limit]


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="lyceum-analytics-") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def settings(folder: Path) -> Settings:
    return Settings(
        clickhouse_url=SecretStr(f"chdb://{folder}"),
        analytics_sql_port=free_port(),
        analytics_sql_password=SecretStr("open sesame"),
        analytics_sql_seconds=1,
        analytics_sql_memory=100_000_000,
        analytics_sql_rows=100_000,
        analytics_sql_bytes=2_000_000,
    )


@pytest.fixture(scope="session")
async def one_engine(settings: Settings) -> AsyncIterator[Engine]:
    """The engine is one per process, so it is one per test run."""
    url = settings.clickhouse_url.get_secret_value()
    engine = Engine(url, sql_limits=sql_endpoint.limits(settings), patience=0.5)
    await open_engine(engine)
    await schema.migrate(engine)
    yield engine
    await engine.close()


@pytest.fixture
async def engine(one_engine: Engine) -> Engine:
    for feed in COLUMNS:
        await one_engine.command(f"TRUNCATE TABLE {table(feed)}")
    return one_engine


@pytest.fixture(scope="session")
async def endpoint(one_engine: Engine, settings: Settings) -> AsyncIterator[str]:
    """The operator's SQL, listening; its address."""
    serving = asyncio.create_task(sql_endpoint.serve(one_engine, settings))
    address = f"http://127.0.0.1:{settings.analytics_sql_port}"
    async with httpx.AsyncClient() as client, asyncio.timeout(10):
        while True:
            with contextlib.suppress(httpx.ConnectError):
                await client.get(f"{address}/ping")
                break
            await asyncio.sleep(0.02)
    yield address
    serving.cancel()
    await asyncio.wait([serving])


@pytest.fixture
async def http(endpoint: str, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The operator, with curl."""
    auth = (settings.analytics_sql_user, settings.analytics_sql_password.get_secret_value())
    async with httpx.AsyncClient(base_url=endpoint, auth=auth) as client:
        yield client


@pytest.fixture
def ledgers() -> Ledgers:
    return Ledgers()


@pytest.fixture
def new_ledgers() -> type[Ledgers]:
    """For tests that need many."""
    return Ledgers


@pytest.fixture
def some_of_each(ledgers: Ledgers) -> Ledgers:
    """60 events on each feed."""
    tenant = UUID(int=1)
    for n in range(60):
        person = f"p{n % 20}"
        ledgers.append(
            tenant,
            f"person/{person}",
            identity.UserProvisioned(person_id=person, job=identity.Job(department="Sales")),
        )
        ledgers.append(
            tenant, f"course/c{n % 7}", catalog.CourseCreated(course_id=f"c{n % 7}", title=f"Course {n}")
        )
        ledgers.append(
            tenant,
            f"enrollment/e{n}",
            enrollment.LearnerEnrolled(enrollment_id=f"e{n}", person_id=person),
            key=person,
        )
        ledgers.append(
            tenant,
            f"attempt/a{n}",
            assessment.SessionLaunched(attempt_id=f"a{n}", person_id=person),
            key=person,
        )
    return ledgers


@pytest.fixture
def consumption(engine: Engine, ledgers: Ledgers, settings: Settings) -> Consumption:
    return Consumption(settings, engine, cast("FeedReader", ledgers))


def stamp(at: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(at)
    return stamp


@dataclass(frozen=True)
class Company:
    """What `company` tells: three people, two courses; and a stranger's tenant."""

    tenant: UUID
    other: UUID
    course: str


@pytest.fixture
def company(ledgers: Ledgers) -> Company:
    """Ada failed, then passed and is done, late. Bob is overdue in his second module. Cy has time, and dropped an
    optional course. The other tenant has one of each, which nobody here may see."""
    us, them = UUID(int=1), UUID(int=2)
    past, future = datetime(2020, 1, 31, 23, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    modules = [catalog.Module(module_id=m, title=m.title()) for m in ("video", "quiz")]
    for tenant in (us, them):
        published = catalog.CoursePublished(
            course_id="security", course_version=1, title="Security", modules=modules
        )
        ledgers.append(tenant, f"course/{tenant}", published)

    def enrol(tenant: UUID, person: str, department: str, course: str, due: datetime | None) -> None:
        job = identity.Job(department=department)
        active = identity.EMPLOYMENT_STATUS_ACTIVE
        ledgers.append(
            tenant, f"person/{person}", identity.UserProvisioned(person_id=person, job=job, status=active)
        )
        enrolled = enrollment.LearnerEnrolled(
            enrollment_id=f"{person}-{course}",
            person_id=person,
            course_id=course,
            course_version=1,
            cycle=1,
            department=department,
            mandatory=due is not None,
            enrolled_at=stamp(past - timedelta(days=30)),
            due_at=due and stamp(due),
        )
        ledgers.append(tenant, f"enrollment/{person}-{course}", enrolled, key=person)

    def finish(tenant: UUID, person: str, *modules: str) -> None:
        for module in modules:
            done = assessment.ModuleCompleted(
                attempt_id=f"{person}-{module}",
                enrollment_id=f"{person}-security",
                person_id=person,
                course_id="security",
                module_id=module,
            )
            ledgers.append(tenant, f"attempt/{person}-{module}", done, key=person)

    def grade(tenant: UUID, person: str, number: int, score: float) -> None:
        kind = assessment.AssessmentPassed if score >= 70 else assessment.AssessmentFailed
        graded = kind(
            attempt_id=f"{person}-quiz-{number}",
            enrollment_id=f"{person}-security",
            person_id=person,
            course_id="security",
            module_id="quiz",
            score=score,
            passing_score=70,
            number=number,
        )
        ledgers.append(tenant, f"attempt/{person}-quiz-{number}", graded, key=person)

    enrol(us, "ada", "Engineering", "security", past)
    enrol(us, "bob", "Engineering", "security", past)
    enrol(us, "cy", "Sales", "security", future)
    enrol(us, "cy", "Sales", "wine", None)
    grade(us, "ada", 1, 40)
    grade(us, "ada", 2, 80)
    grade(us, "bob", 1, 60)
    finish(us, "ada", "video", "quiz")
    finish(us, "bob", "video")
    completed = enrollment.CourseCompleted(
        enrollment_id="ada-security",
        person_id="ada",
        course_id="security",
        course_version=1,
        completed_at=stamp(past + timedelta(days=10)),
    )
    ledgers.append(us, "enrollment/ada-security", completed, key="ada")
    withdrawn = enrollment.EnrollmentWithdrawn(enrollment_id="cy-wine", person_id="cy", course_id="wine")
    ledgers.append(us, "enrollment/cy-wine", withdrawn, key="cy")
    enrol(them, "eve", "Engineering", "security", past)
    grade(them, "eve", 1, 100)
    finish(them, "eve", "video", "quiz")
    return Company(us, them, "security")
