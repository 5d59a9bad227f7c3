"""EventFeed: the ledger answers how far a feed is and reads it by position, to whoever lost something on the wire."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import grpc.aio

from lyceum.feed.v1 import feed_service_pb2 as pb
from lyceum.feed.v1 import feed_service_pb2_grpc as pb_grpc
from lyceum_kit import db
from lyceum_kit.envelope import Record, meta_of, read_record, to_headers
from lyceum_kit.errors import NotFound, Unavailable
from lyceum_kit.peers import Peers
from lyceum_kit.rpc import RpcService
from lyceum_kit.topics import feeds

ROWS_A_MESSAGE = 200
READ_LIMIT = 10_000

_HEADS = """
SELECT h.partition, h.head, h.sent, coalesce(p.id::text, '') AS head_id
FROM feed_head h
LEFT JOIN feed_position p ON p.feed = h.feed AND p.partition = h.partition AND p.position = h.head
WHERE h.feed = $1 ORDER BY h.partition
"""
_GENERATIONS = "SELECT partition, generation, start FROM feed_generation WHERE feed = $1 ORDER BY generation"
# Each finds the id before it in the row above, for the reason the relay has.
_READ = """
SELECT p.partition, p.position, g.generation, coalesce(p.previous::text, '') AS previous,
       e.id, e.type, e.stream, e.version, e.at, e.tenant, e.key, e.data,
       e.correlation_id, e.causation_id, e.traceparent
FROM (
  SELECT feed, partition, position, id, lag(id) OVER (ORDER BY position) AS previous FROM feed_position
  WHERE feed = $1 AND partition = $2 AND position >= $3 - 1 AND position < $4
) p
JOIN events e ON e.id = p.id
CROSS JOIN LATERAL (
  SELECT generation FROM feed_generation
  WHERE feed = p.feed AND partition = p.partition AND start <= p.position ORDER BY generation DESC LIMIT 1
) g
WHERE p.position >= $3
ORDER BY p.position
"""


class EventFeedServicer(pb_grpc.EventFeedServicer):
    """Serves the feeds of one or more services of this process: `pools` by feed name, connected as relay roles."""

    def __init__(self, sources: dict[str, "FeedSource"]) -> None:
        self._sources = sources

    async def Heads(self, request: pb.HeadsRequest, context: Any) -> pb.HeadsResponse:
        return await self._source(request.feed).heads(request.feed)

    async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
        source = self._source(request.feed)
        limit = min(request.limit or READ_LIMIT, READ_LIMIT)
        start = request.from_position
        for first in range(start, start + limit, ROWS_A_MESSAGE):
            last = min(first + ROWS_A_MESSAGE, start + limit)
            records = await source.read(request.feed, request.partition, first, last)
            if records:
                yield pb.ReadResponse(records=records)
            if len(records) < last - first:
                return

    def _source(self, feed: str) -> "FeedSource":
        if feed not in self._sources:
            raise NotFound(f"No feed {feed!r} is produced here; here are: {', '.join(sorted(self._sources))}")
        return self._sources[feed]


class FeedSource:
    """The numbered events of one service's database, read as its relay role."""

    def __init__(self, url: str, role: str) -> None:
        self._url = url
        self._role = f"{role}_relay"
        self._pool: asyncpg.Pool | None = None

    async def heads(self, feed: str) -> pb.HeadsResponse:
        pool = await self._connected()
        async with pool.acquire() as connection:
            rows = await connection.fetch(_HEADS, feed)
            generations = await connection.fetch(_GENERATIONS, feed)
        return pb.HeadsResponse(
            partitions=[
                pb.PartitionHead(
                    partition=row["partition"],
                    head=row["head"],
                    sent=row["sent"],
                    head_id=row["head_id"],
                    generations=[
                        pb.Generation(generation=g["generation"], start=g["start"])
                        for g in generations
                        if g["partition"] == row["partition"]
                    ],
                )
                for row in rows
            ]
        )

    async def read(self, feed: str, partition: int, first: int, end: int) -> list[pb.FeedRecord]:
        """Positions first … end - 1."""
        pool = await self._connected()
        async with pool.acquire() as connection:
            rows = await connection.fetch(_READ, feed, partition, first, end)
        return [
            pb.FeedRecord(
                headers=dict(to_headers(meta_of(feed, row))), key=row["key"].encode(), value=row["data"]
            )
            for row in rows
        ]

    async def close(self) -> None:
        if self._pool:
            await self._pool.close()

    async def _connected(self) -> asyncpg.Pool:
        if self._pool is None:
            self._pool = await asyncpg.create_pool(
                db.dsn(self._url),
                min_size=0,
                max_size=4,
                timeout=5,
                init=self._as_relay,
                reset=_nothing,
                server_settings={**db.SESSION, "application_name": "feed"},
            )
        return self._pool

    async def _as_relay(self, connection: Any) -> None:
        await connection.execute(f'SET ROLE "{self._role}"')


async def _nothing(connection: Any) -> None:
    """Instead of the pool's reset: single SELECTs leave nothing behind, and consumers ask every two seconds."""


def event_feed(sources: dict[str, FeedSource]) -> RpcService:
    servicer = EventFeedServicer(sources)
    services_only = frozenset({"service", "operator"})
    return RpcService(
        name="lyceum.feed.v1.EventFeed",
        add=lambda server: pb_grpc.add_EventFeedServicer_to_server(servicer, server),
        access={"Heads": services_only, "Read": services_only},
    )


@dataclass(frozen=True)
class Head:
    """What a producer says of one partition."""

    head: int
    sent: int
    generations: tuple[tuple[int, int], ...]  # (generation, start), oldest first
    id: str = ""  # the event at `head`

    @property
    def generation(self) -> int:
        """The newest."""
        return self.generations[-1][0] if self.generations else 0

    def generation_at(self, position: int) -> int:
        """The generation that position belongs to: the last one that starts at or before it."""
        for generation, start in reversed(self.generations):
            if start <= position:
                return generation
        return 0


class FeedReader:
    """A consumer's way to the producers' EventFeeds."""

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def heads(self, feed: str) -> list[Head]:
        """By partition. Raises Unavailable."""
        try:
            stub = pb_grpc.EventFeedStub(self._peers.channel(feeds()[feed].producer))
            answer = await stub.Heads(
                pb.HeadsRequest(feed=feed), timeout=5, metadata=await self._peers.metadata(None)
            )
        except grpc.aio.AioRpcError as e:
            raise Unavailable(f"{feed}: its EventFeed does not answer: {e.code().name} {e.details()}") from e
        return [
            Head(p.head, p.sent, tuple((g.generation, g.start) for g in p.generations), p.head_id)
            for p in answer.partitions
        ]

    async def read(self, feed: str, partition: int, first: int, limit: int) -> list[Record]:
        """Positions first, first + 1, … as far as the ledger has them. Raises Unavailable."""
        records: list[Record] = []
        try:
            stub = pb_grpc.EventFeedStub(self._peers.channel(feeds()[feed].producer))
            request = pb.ReadRequest(feed=feed, partition=partition, from_position=first, limit=limit)
            async for page in stub.Read(request, timeout=30, metadata=await self._peers.metadata(None)):
                records += [
                    read_record(feed, partition, r.key, r.value, list(r.headers.items()))
                    for r in page.records
                ]
        except grpc.aio.AioRpcError as e:
            raise Unavailable(f"{feed}: its EventFeed does not answer: {e.code().name} {e.details()}") from e
        return records
