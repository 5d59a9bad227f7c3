"""A real engine for all tests of this folder, and ledgers in memory that number events as the real ones do."""

import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
from google.protobuf.message import Message

from analytics import schema
from analytics.consumers import Consumption
from analytics.engine import Engine, open_engine
from analytics.projections import COLUMNS, table
from analytics.settings import Settings
from lyceum_kit.envelope import Meta, Record, read_record, to_headers
from lyceum_kit.feed import Head
from lyceum_kit.ids import new_id
from lyceum_kit.topics import feeds

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
        message: Message | bytes,
        *,
        type: str = "",
        key: str = "",
        at: datetime = datetime(2026, 11, 2, 9, tzinfo=UTC),
        feed: str = "",
    ) -> Record:
        type = type or message.DESCRIPTOR.full_name  # type: ignore[union-attr]
        feed = feed or type.split(".")[1]
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
        body = message if isinstance(message, bytes) else message.SerializeToString()
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
async def one_engine(folder: Path) -> AsyncIterator[Engine]:
    """The engine is one per process, so it is one per test run."""
    engine = Engine(
        f"chdb://{folder}",
        sql_limits={"max_execution_time": 2, "max_memory_usage": 200_000_000, "max_result_rows": 10_000},
        patience=0.5,
    )
    await open_engine(engine)
    await schema.migrate(engine)
    yield engine
    await engine.close()


@pytest.fixture
async def engine(one_engine: Engine) -> Engine:
    for feed in COLUMNS:
        await one_engine.command(f"TRUNCATE TABLE {table(feed)}")
    return one_engine


@pytest.fixture
def ledgers() -> Ledgers:
    return Ledgers()


@pytest.fixture
def consumption(engine: Engine, ledgers: Ledgers) -> Consumption:
    return Consumption(Settings(), engine, ledgers)  # type: ignore[arg-type]


@pytest.fixture
def days() -> Callable[[float], datetime]:
    """`days(-3)`: three days before the moment tests call now."""
    return lambda n: datetime(2026, 11, 20, 12, tzinfo=UTC) + timedelta(days=n)
