"""A real broker with SCRAM and ACLs: who may do what."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import (
    AuthenticationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    TopicAuthorizationFailedError,
)

from lyceum_local import kafka

Client = Callable[[str], dict[str, Any]]


def as_user(broker: kafka.Throwaway, user: str, password: str | None = None) -> dict[str, Any]:
    return {
        "bootstrap_servers": f"127.0.0.1:{broker.port}",
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": user,
        "sasl_plain_password": broker.passwords[user] if password is None else password,
    }


@pytest.fixture(scope="session")
async def catalog_feed(kafka_broker: kafka.Throwaway) -> str:
    """The topic, created by the service that owns it."""
    admin = AIOKafkaAdminClient(**as_user(kafka_broker, "catalog"))
    await admin.start()
    await admin.create_topics([NewTopic("lyceum.catalog", 12, 1)])
    await admin.close()
    return "lyceum.catalog"


async def send(broker: kafka.Throwaway, user: str, topic: str) -> None:
    producer = AIOKafkaProducer(**as_user(broker, user), request_timeout_ms=5000, enable_idempotence=False)
    await producer.start()
    try:
        await cast("Any", producer).send_and_wait(topic, b"x", partition=0)
    finally:
        await producer.stop()


async def test_a_service_writes_its_own_feed_and_no_other_does(
    kafka_broker: kafka.Throwaway, catalog_feed: str
) -> None:
    await send(kafka_broker, "catalog", catalog_feed)
    with pytest.raises(TopicAuthorizationFailedError):
        await send(kafka_broker, "enrollment", catalog_feed)


async def test_a_service_creates_no_topic_of_another(kafka_broker: kafka.Throwaway) -> None:
    admin = AIOKafkaAdminClient(**as_user(kafka_broker, "catalog"))
    await admin.start()
    try:
        answer = cast("Any", await admin.create_topics([NewTopic("lyceum.foreign", 1, 1)]))
        assert [code for _, code, *_ in answer.topic_errors] == [TopicAuthorizationFailedError.errno]
    finally:
        await admin.close()


async def test_a_wrong_password_and_an_anonymous_client_get_nothing(
    kafka_broker: kafka.Throwaway, catalog_feed: str
) -> None:
    with pytest.raises((AuthenticationFailedError, KafkaConnectionError)):
        await AIOKafkaProducer(**as_user(kafka_broker, "catalog", "wrong")).start()
    with pytest.raises(KafkaConnectionError):
        await AIOKafkaProducer(bootstrap_servers=f"127.0.0.1:{kafka_broker.port}").start()


async def test_a_consumer_reads_what_it_consumes_in_its_own_group_only(
    kafka_broker: kafka.Throwaway, catalog_feed: str
) -> None:
    await send(kafka_broker, "catalog", catalog_feed)
    consumer = AIOKafkaConsumer(
        catalog_feed,
        **as_user(kafka_broker, "enrollment"),
        group_id="enrollment",
        auto_offset_reset="earliest",
    )
    await consumer.start()
    assert (await cast("Any", consumer).getone()).value == b"x"
    await consumer.stop()
    foreign = AIOKafkaConsumer(catalog_feed, **as_user(kafka_broker, "enrollment"), group_id="analytics")
    with pytest.raises(GroupAuthorizationFailedError):
        await foreign.start()
    await foreign.stop()
