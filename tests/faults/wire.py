"""What somebody with every right can do to Kafka: read a topic as it is, delete from it, write into it, move groups."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaError

from lyceum_kit.envelope import Record, read_record
from lyceum_kit.topics import Feed
from lyceum_local.kafka import Throwaway

# Key, value and headers, each as bad as somebody likes.
Written = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


class Wire:
    def __init__(self, broker: Throwaway, feed: Feed) -> None:
        self.broker = broker
        self.feed = feed
        self.options = self.options_of("admin", broker.passwords["admin"])

    def options_of(self, user: str, password: str) -> dict[str, Any]:
        """What a client with this credential connects with."""
        return {
            "bootstrap_servers": f"127.0.0.1:{self.broker.port}",
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": user,
            "sasl_plain_password": password,
        }

    def partition(self, number: int) -> TopicPartition:
        return TopicPartition(self.feed.topic, number)

    async def clear(self) -> None:
        """No topic, and with it no offsets of any group."""
        async with self.admin() as admin:
            if self.feed.topic not in await admin.list_topics():
                return
            await admin.delete_topics([self.feed.topic])
            while self.feed.topic in await admin.list_topics():
                await asyncio.sleep(0.1)

    async def records(self) -> list[Record]:
        """All that Kafka has of the feed, in offset order within each partition."""
        return [
            read_record(self.feed.name, r.partition, r.key, r.value, r.headers, offset=r.offset)
            for r in await self.raw()
        ]

    async def raw(self) -> list[ConsumerRecord[bytes, bytes]]:
        found: list[ConsumerRecord[bytes, bytes]] = []
        async with self.reading() as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            while [tp for tp, end in ends.items() if await consumer.position(tp) < end]:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += records
        return found

    async def ends(self) -> dict[int, int]:
        """The offset after the last record, by partition."""
        async with self.reading() as consumer:
            ends = await consumer.end_offsets(consumer.assignment())
        return {tp.partition: end for tp, end in ends.items()}

    async def back(self) -> None:
        """Wait until a broker that was killed leads all partitions again."""
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(KafkaError, TimeoutError):
                    async with asyncio.timeout(5):
                        await self.ends()
                        return
                await asyncio.sleep(0.2)

    async def delete_before(self, offsets: Mapping[int, int]) -> None:
        """DeleteRecords: as retention does, or somebody who cleans up."""
        async with self.admin() as admin:
            await admin.delete_records({self.partition(p): RecordsToDelete(o) for p, o in offsets.items()})

    async def commit(self, group: str, offsets: Mapping[int, int]) -> None:
        """Move a group that has no members by hand."""
        async with self.reading(group_id=group) as consumer:
            await consumer.commit({self.partition(p): o for p, o in offsets.items()})

    async def write(
        self,
        partition: int,
        records: Sequence[Written],
        *,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        """Put records into the feed's topic, past every ledger."""
        producer = AIOKafkaProducer(acks="all", request_timeout_ms=5000, **(options or self.options))
        try:
            await producer.start()
            for key, value, headers in records:
                await producer.send_and_wait(
                    self.feed.topic, value, key=key, partition=partition, headers=list(headers)
                )
        finally:
            await producer.stop()

    @asynccontextmanager
    async def reading(self, **more: Any) -> AsyncGenerator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            enable_auto_commit=False, auto_offset_reset="earliest", **self.options, **more
        )
        try:
            await consumer.start()
            consumer.assign([self.partition(n) for n in range(self.feed.partitions)])
            yield consumer
        finally:
            await consumer.stop()

    @asynccontextmanager
    async def admin(self) -> AsyncGenerator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self.options)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()
