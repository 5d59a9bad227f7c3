"""For tests of services: deliver events to a service's handlers as its consumer would, without Kafka."""

import random
from collections.abc import Sequence
from uuid import UUID, uuid4

from google.protobuf.message import Message
from sqlalchemy import text

from lyceum_kit.consumer import HandlerSink
from lyceum_kit.db import set_tenant
from lyceum_kit.envelope import Meta, Record, to_headers
from lyceum_kit.feed import Head
from lyceum_kit.ids import utc_now
from lyceum_kit.intake import cut
from lyceum_kit.ledger import Ledger
from lyceum_kit.service import Service
from lyceum_kit.topics import Feed, feeds


class Delivery:
    """Numbers messages like a producer's relay and applies them with the service's real sink and database."""

    def __init__(self, service: Service) -> None:
        assert service.ledger
        self.sink = HandlerSink(service.name, service.ledger, service.consumes)
        self._heads: dict[tuple[str, int], tuple[int, str]] = {}
        self._versions: dict[tuple[UUID, str], int] = {}
        self._prepared = False

    async def __call__(
        self, message: Message, *, tenant: UUID, stream: str, key: str | None = None
    ) -> Record:
        """Deliver one event once; raises when it was parked."""
        return (await self.batch([self.record(message, tenant=tenant, stream=stream, key=key)]))[0]

    async def twice(self, message: Message, *, tenant: UUID, stream: str, key: str | None = None) -> None:
        """Deliver the same record twice, as a resend or a rebalance would."""
        record = await self(message, tenant=tenant, stream=stream, key=key)
        await self.batch([record])

    async def again(self, message: Message, *, tenant: UUID, stream: str, key: str | None = None) -> None:
        """Deliver an equal fact as two events, which a handler has to take as one."""
        await self(message, tenant=tenant, stream=stream, key=key)
        await self(message, tenant=tenant, stream=stream, key=key)

    async def shuffled(self, records: Sequence[Record], seed: int = 0) -> None:
        """Deliver in any order, with duplicates, in one poll: the feed protocol restores the order."""
        some = [*records, *records]
        random.Random(seed).shuffle(some)  # noqa: S311
        await self.batch(some)

    def record(
        self,
        message: Message,
        *,
        tenant: UUID,
        stream: str,
        key: str | None = None,
        event_id: UUID | None = None,
    ) -> Record:
        """The record a producer's relay would have sent next."""
        feed = _feed_of(message)
        key = key or stream
        partition = feed.partition_of(key)
        position, previous = self._heads.get((feed.name, partition), (0, ""))
        version = self._versions.get((tenant, stream), 0) + 1
        meta = Meta(
            id=event_id or uuid4(),
            type=message.DESCRIPTOR.full_name,
            source=f"lyceum/{feed.name}",
            stream=stream,
            version=version,
            time=utc_now(),
            tenant=tenant,
            feed=feed.name,
            partition=partition,
            position=position + 1,
            generation=1,
            previous=previous,
        )
        self._heads[feed.name, partition] = (position + 1, str(meta.id))
        self._versions[tenant, stream] = version
        return Record(
            feed=feed.name,
            partition=partition,
            position=meta.position,
            generation=1,
            previous=previous,
            id=str(meta.id),
            key=key,
            value=message.SerializeToString(),
            headers=tuple(to_headers(meta)),
            meta=meta,
        )

    async def batch(self, records: Sequence[Record]) -> Sequence[Record]:
        if not self._prepared:
            await self.sink.prepare()
            self._prepared = True
        by_partition: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            by_partition.setdefault((record.feed, record.partition), []).append(record)
        head = Head(head=2**62, sent=2**62, generations=((1, 1),))
        await self.sink.apply(by_partition, lambda _, place, some: cut(place, some, head.generation_at))
        async with self.sink.ledger.engine.connect() as conn:
            parked = (await conn.execute(text("SELECT type, reason FROM parked WHERE settled IS NULL"))).all()
        assert not parked, f"parked: {parked}"
        return records


def _feed_of(message: Message) -> Feed:
    name = message.DESCRIPTOR.full_name
    return next(feed for feed in feeds().values() if name in feed.messages)


async def emitted(ledger: Ledger, tenant: UUID, stream: str | None = None) -> list[Message]:
    """What a service has appended for a tenant, in order; of one stream when named."""
    async with ledger.engine.connect() as conn, conn.begin():
        await set_tenant(conn, tenant)
        rows = await conn.execute(
            text(
                "SELECT e.type, e.data FROM events e LEFT JOIN outbox o ON o.id = e.id"
                " WHERE e.tenant = :tenant AND (CAST(:stream AS text) IS NULL OR e.stream = :stream)"
                " ORDER BY e.at, o.seq, e.id, e.version"
            ),
            {"tenant": tenant, "stream": stream},
        )
        return [ledger.feed.messages[row.type].FromString(row.data) for row in rows.all()]
