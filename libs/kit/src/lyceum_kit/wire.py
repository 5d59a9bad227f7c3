"""Kafka, by FastStream: a batch subscriber whose poll loop is ours.

FastStream's own loop sleeps after an empty poll (up to 300 ms a hop) and swallows exceptions, and with manual
acknowledgement it commits past a failed batch. Ours hands a poll to the Intake and, when that fails, seeks back to the poll's
first records. Nothing in the service but this module talks to a consumer group.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (aiokafka is annotated in part only)

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import ConsumerStoppedError, IllegalStateError, KafkaError
from faststream import AckPolicy
from faststream.kafka import KafkaBroker
from faststream.kafka.message import FAKE_CONSUMER, KafkaMessage
from faststream.kafka.schemas import Topic
from faststream.security import BaseSecurity, SASLScram512

from lyceum_kit import db, telemetry
from lyceum_kit.envelope import read_record
from lyceum_kit.errors import Unavailable
from lyceum_kit.intake import Intake, Partition
from lyceum_kit.leaving import leave
from lyceum_kit.settings import KitSettings
from lyceum_kit.tls import client_context
from lyceum_kit.topics import feeds

log = structlog.get_logger()

POLL_MS = 1000
POLL_RECORDS = 2000
KAFKA = "Kafka"  # begins the errors that are not a handler's or the database's
REFUSALS = 3  # failed polls in a row after which a new client is made
TAIL_CHECK = 2.0  # seconds between two looks at the producers' heads
STANDING = 15.0  # seconds behind without a step: no rebalance and no restart of a database lasts that long
STUCK = 30.0  # and that long without a word from the client: a new one is made


def kafka_options(settings: KitSettings) -> dict[str, Any]:
    """What aiokafka's own clients need to reach Kafka."""
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka, "metadata_max_age_ms": 10_000}
    context = client_context(settings.kafka_files) if settings.kafka_tls else None
    if settings.kafka_user:
        options |= {
            "security_protocol": "SASL_SSL" if context else "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password.get_secret_value(),
        }
    elif context:
        options["security_protocol"] = "SSL"
    return options | ({"ssl_context": context} if context else {})


def make_broker(settings: KitSettings, group: str) -> KafkaBroker:
    security: BaseSecurity | None = None
    context = client_context(settings.kafka_files) if settings.kafka_tls else None
    if settings.kafka_user:
        security = SASLScram512(
            settings.kafka_user,
            settings.kafka_password.get_secret_value(),
            ssl_context=context,
            use_ssl=bool(context),
        )
    elif context:
        security = BaseSecurity(ssl_context=context, use_ssl=True)
    return KafkaBroker(
        settings.kafka,
        security=security,
        client_id=group,
        # A group that joins before its topic exists stands still for this long.
        metadata_max_age_ms=10_000,
        allow_auto_create_topics=False,
        graceful_timeout=15.0,
        logger=None,  # our loop logs, with event ids
    )


class Subscription:
    """One consumer group over all feeds of a service, polled by us."""

    def __init__(
        self,
        settings: KitSettings,
        group: str,
        names: Sequence[str],
        intake: Intake,
        *,
        at_once: int = POLL_RECORDS,
    ) -> None:
        self._at_once = at_once
        self._intake = intake
        self._group = group
        self._feeds = {feeds()[name].topic: name for name in names}
        self.broker = make_broker(settings, group)
        self.error = ""
        self._broken = asyncio.Event()  # a new client is needed
        self._handling: frozenset[TopicPartition] = frozenset()  # polled and not handled yet
        self._behind: dict[Partition, tuple[int, float]] = {}  # where it stands, and since when
        self._heard = 0.0  # when this client last brought or said something
        subscriber = self.broker.subscriber(
            *(Topic(topic, declare=False) for topic in self._feeds),
            batch=True,
            ack_policy=AckPolicy.MANUAL,
            group_id=group,
            auto_offset_reset="earliest",
            parser=_parse,
            decoder=_decode,
            no_reply=True,
            session_timeout_ms=6000,
            heartbeat_interval_ms=1500,
            fetch_max_wait_ms=500,
        )
        subscriber(self._handle)
        # The only seam: FastStream starts this coroutine with its consumer.
        subscriber._run_consume_loop = self._run  # type: ignore[method-assign]
        self._subscriber = subscriber

    def trouble(self) -> str:
        """Why readiness is red: partitions that are behind what was sent and have not moved for long."""
        long_ago = time.monotonic() - STANDING
        standing = sorted(
            f"{feed}/{p}"
            for (feed, p), (place, since) in self._behind.items()
            # Nor since the last look: who waits to see it green would wait for the next one.
            if since < long_ago and self._intake.next_of((feed, p)) == place
        )
        return f"Behind and not moving: {', '.join(standing)}" if standing else ""

    async def run(self) -> None:
        """Until cancelled. Starting fails while Kafka is down, and a client may be past recovery: try again."""
        while True:
            tail: asyncio.Task[None] | None = None
            self._broken.clear()
            try:
                await self.broker.start()
                self.error, self._heard = "", time.monotonic()
                tail = asyncio.create_task(self._check_tails())
                await self._broken.wait()
            except (KafkaError, OSError) as e:
                self.error = f"{KAFKA}: {type(e).__name__}: {e}"
            finally:
                if tail:
                    tail.cancel()
                await leave(self.broker.stop(), seconds=20)
            await asyncio.sleep(1)

    async def _run(self, consumer: AIOKafkaConsumer) -> None:
        pause, refused = 0.05, 0
        while True:
            try:
                polled = await consumer.getmany(timeout_ms=POLL_MS, max_records=self._at_once)
            except ConsumerStoppedError:
                return
            except Exception as e:
                # Also what the client itself cannot parse, such as a header's name that is not UTF-8: whatever it
                # is, a consumer whose loop ended would stand still while its process seems to live.
                self.error, self._heard = f"{KAFKA}: {type(e).__name__}: {e}", time.monotonic()
                log.warning("poll failed", error=self.error, exc_info=not isinstance(e, KafkaError))
                # aiokafka's coordinator never gets over a heartbeat that was refused once, as after a broker was
                # wiped and before its access rules were back: it raises that same error for ever.
                refused = refused + 1 if isinstance(e, KafkaError) else 0
                if refused == REFUSALS:
                    self._broken.set()
                    return
                await asyncio.sleep(1)
                continue
            refused = 0
            if not polled:
                if self.error.startswith(KAFKA):
                    self.error = ""
                continue
            self._handling, self._heard = frozenset(polled), time.monotonic()
            try:
                await self._subscriber.process_message(
                    tuple(r for records in polled.values() for r in records)
                )
            except asyncio.CancelledError:
                # Ours when we stop; a stray one from inside a handler is an ordinary error.
                if not self._subscriber.running:
                    raise
                self._seek_back(consumer, polled)
                continue
            except Exception as e:
                self.error = f"{type(e).__name__}: {e}"
                log.warning("poll not handled, trying again", error=self.error, exc_info=not _expected(e))
                self._seek_back(consumer, polled)
                await asyncio.sleep(pause)
                pause = min(pause * 2, 2.0)
                continue
            finally:
                self._handling = frozenset()
            self.error, pause = "", 0.05
            # For lag metrics and restarts only; what counts is `progress`.
            offsets = {tp: records[-1].offset + 1 for tp, records in polled.items()}
            with contextlib.suppress(KafkaError, IllegalStateError):
                await consumer.commit(offsets)

    async def _handle(self, message: Any) -> None:
        names = self._feeds
        await self._intake.process(
            [read_record(names[r.topic], r.partition, r.key, r.value, r.headers, r.offset) for r in message]
        )

    def _seek_back(
        self,
        consumer: AIOKafkaConsumer,
        polled: Mapping[TopicPartition, Sequence[ConsumerRecord[bytes, bytes]]],
    ) -> None:
        for tp, records in polled.items():
            with contextlib.suppress(IllegalStateError):  # no longer ours after a rebalance
                consumer.seek(tp, records[0].offset)

    async def _check_tails(self) -> None:
        while True:
            await asyncio.sleep(TAIL_CHECK)
            consumer = self._subscriber.consumer
            drained = await self._drained(consumer) if consumer else {}
            try:
                await self._intake.complete(drained)
            except Exception as e:
                log.warning("tail check failed", error=f"{type(e).__name__}: {e}", exc_info=not _expected(e))
            self._note_behind(drained)
            if stuck := self._stuck():
                log.error("consumer stands: a new client", partitions=stuck)
                self._broken.set()

    def _stuck(self) -> list[str]:
        """Partitions that stand because the client brings nothing and says of nothing that it failed. It has many tasks:
        that one of them died, or waits for an answer that never comes, cannot be told in any other way."""
        long_ago = time.monotonic() - STUCK
        if self._handling or self._heard > long_ago:
            return []
        return sorted(
            f"{feed}/{p}"
            for (feed, p), (_, since) in self._behind.items()
            if since < long_ago and not self._intake.stopped((feed, p))
        )

    def _note_behind(self, partitions: Iterable[Partition]) -> None:
        now = time.monotonic()
        before, self._behind = self._behind, {}
        for feed, partition in partitions:
            place, heads = self._intake.next_of((feed, partition)), self._intake.heads.get(feed)
            # Not of a partition that nothing came from since the start: under steady load no look comes between two polls
            # to learn its place, and all may be well with it.
            if heads and place and place <= heads[partition].sent:
                seen = before.get((feed, partition))
                self._behind[feed, partition] = seen if seen and seen[0] == place else (place, now)
        standing = max((now - since for _, since in self._behind.values()), default=0.0)
        telemetry.FEED_STANDING.labels(self._group).set(standing)

    async def _drained(self, consumer: AIOKafkaConsumer) -> dict[Partition, bool]:
        """For each partition of ours, whether we have handled all that Kafka has of it.

        The broker is asked: the last fetch's high-water mark is old in a backlog. And a position counts what was
        polled, not what is handled. Either rang an alarm while all was well.
        """
        names = {tp: (self._feeds[tp.topic], tp.partition) for tp in consumer.assignment()}
        drained = dict.fromkeys(names.values(), False)
        suspects = [tp for tp, name in names.items() if self._intake.behind(name)]
        with contextlib.suppress(IllegalStateError, KafkaError, TimeoutError):
            async with asyncio.timeout(TAIL_CHECK):
                for tp, end in (await consumer.end_offsets(suspects) if suspects else {}).items():
                    position = await consumer.position(tp)
                    drained[names[tp]] = position >= end and tp not in self._handling
        return drained


async def _parse(records: Any, _original: Callable[..., Any]) -> KafkaMessage:
    """FastStream's own parser costs 7 µs of 52 a message and fails on a header that is not UTF-8."""
    return KafkaMessage(body=b"", raw_message=records, consumer=FAKE_CONSUMER)


async def _decode(message: KafkaMessage, _original: Callable[..., Any]) -> Any:
    return message.raw_message


def _expected(error: Exception) -> bool:
    """Something is away for a while: a traceback would tell nothing."""
    return isinstance(error, Unavailable) or db.is_outage(error)
