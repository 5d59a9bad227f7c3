"""PostgreSQL and Kafka in memory, as much of them as ledgers and consumers stand on. A transaction is one step, so what it
reads is locked."""

from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from lyceum_kit.envelope import Meta, Record, read_record, to_headers
from lyceum_kit.topics import Feed

T = TypeVar("T")

TENANT = UUID("01990000-0000-7000-8000-000000000001")
GENERATION = 1
# What a build may get wrong. Each is found by the invariants, which is what makes them worth something.
Bug = Literal[
    "", "numbers only what is above the last id", "trusts its own place", "advances before the effect"
]


class Crashed(BaseException):
    """The process is gone; nothing of its own runs after it."""


def run(step: Coroutine[Any, Any, T]) -> T:
    """To its end at once: nothing in here ever waits."""
    try:
        step.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("something waited: a seed would not replay")


class Stored(NamedTuple):
    """An event as committed, or about to be."""

    seq: int
    id: UUID
    stream: str
    version: int
    key: str
    message: Message


Handler = Callable[["Tx", Any, Meta], None]


@dataclass
class Tx:
    """One transaction: reads see its own writes, `commit` makes all of it true at once."""

    db: "Database"
    writes: dict[tuple[str, ...], Any] = field(default_factory=dict[tuple[str, ...], Any])
    appended: list[Stored] = field(default_factory=list[Stored])

    def get(self, *key: str, default: Any = None) -> Any:
        return self.writes[key] if key in self.writes else self.db.rows.get(key, default)

    def put(self, value: Any, *key: str) -> None:
        self.writes[key] = value

    def load(self, stream: str) -> list[Message]:
        mine = [e for e in self.appended if e.stream == stream]
        return [e.message for e in (*self.db.streams[stream], *mine)]

    def append(self, stream: str, messages: Iterable[Message], *, key: str | None = None) -> None:
        version = len(self.load(stream))
        for version, message in enumerate(messages, version + 1):  # noqa: B020 - counts on from the stream's
            event = Stored(self.db.next_seq(), self.db.new_id(), stream, version, key or stream, message)
            self.appended.append(event)

    def commit(self) -> None:
        self.db.rows.update(self.writes)
        for event in self.appended:
            assert event.version == len(self.db.streams[event.stream]) + 1, "two wrote one version"
            self.db.streams[event.stream].append(event)
            self.db.outbox.append(event)


@dataclass
class Database:
    """One service's: its rows, its streams, and its numbered feed if it has one."""

    feed: Feed | None
    new_id: Callable[[], UUID]
    seq: int = 0
    rows: dict[tuple[str, ...], Any] = field(default_factory=dict[tuple[str, ...], Any])
    streams: dict[str, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    outbox: list[Stored] = field(default_factory=list[Stored])
    numbered: dict[int, list[Stored]] = field(default_factory=lambda: defaultdict(list))
    sent: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    last_seq: int = 0

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def busy(self, stream: str, open_ones: Sequence[Tx]) -> bool:
        """A stream that an open transaction appends to cannot be appended to."""
        return any(e.stream == stream for tx in open_ones for e in tx.appended)

    def number(self, bug: Bug) -> None:
        for event in sorted(self.outbox):
            if bug == "numbers only what is above the last id" and event.seq < self.last_seq:
                continue
            self.last_seq = max(self.last_seq, event.seq)
            assert self.feed
            self.numbered[self.feed.partition_of(event.key)].append(event)
        self.outbox.clear()

    def record(self, partition: int, position: int, at: datetime) -> Record:
        assert self.feed
        events = self.numbered[partition]
        event = events[position - 1]
        meta = Meta(
            id=event.id,
            type=event.message.DESCRIPTOR.full_name,
            source=f"lyceum/{self.feed.name}",
            stream=event.stream,
            version=event.version,
            time=at,
            tenant=TENANT,
            feed=self.feed.name,
            partition=partition,
            position=position,
            generation=GENERATION,
            previous=str(events[position - 2].id) if position > 1 else "",
        )
        body = event.message.SerializeToString()
        return read_record(self.feed.name, partition, event.key.encode(), body, to_headers(meta))


@dataclass
class Log:
    """Kafka's copy of one partition. Offsets go on when records are gone."""

    records: list[Record] = field(default_factory=list[Record])
    start: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.records)

    def append(self, records: Iterable[Record]) -> None:
        self.records += records

    def lose_head(self, to: int) -> None:
        self.records = self.records[max(to - self.start, 0) :]
        self.start = max(self.start, to)

    def lose_tail(self, to: int) -> None:
        self.records = self.records[: max(to - self.start, 0)]

    def poll(self, offset: int, limit: int) -> tuple[list[Record], int]:
        """Records from `offset`, and the offset after them; one out of range starts at the earliest."""
        offset = offset if self.start <= offset <= self.end else self.start
        found = self.records[offset - self.start :][:limit]
        return found, offset + len(found)
