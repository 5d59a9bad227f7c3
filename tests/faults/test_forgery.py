"""Only a service writes its own feed; and what got into a topic in spite of that is no event."""

# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# (confluent-kafka is annotated in part only)

import asyncio
from uuid import uuid4

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from lyceum_kit.envelope import Record, to_headers
from tests.faults.stage import CONSUMER, FEED, PRODUCER, Stage, eventually
from tests.faults.wire import Written


async def test_nobody_but_its_service_writes_a_feed(stage: Stage) -> None:
    stage.start(PRODUCER)
    await stage.produce(["k"], 1)
    await stage.sent()
    wire = stage.wire
    junk: list[Written] = [(b"k", b"junk", [])]
    await asyncio.to_thread(_add_user, stage, "mallory", "a password of her own")
    for client in (
        wire.options_of("mallory", "a password of her own"),  # a credential and no rights
        wire.options_of("enrollment", wire.broker.passwords["enrollment"]),  # another service
    ):
        with pytest.raises(TopicAuthorizationFailedError):
            await wire.write(0, junk, options=client)
    for client in (
        wire.options_of("mallory", "another password"),
        {"bootstrap_servers": wire.options["bootstrap_servers"]},  # no credential at all
    ):
        with pytest.raises(KafkaConnectionError):
            await wire.write(0, junk, options=client)
    assert len(await wire.records()) == 1
    # The control: with the service's own credential the same call does write.
    await wire.write(0, junk, options=wire.options_of("identity", wire.broker.passwords["identity"]))
    assert len(await wire.records()) == 2


def _add_user(stage: Stage, name: str, password: str) -> None:
    admin = AdminClient(
        {
            "bootstrap.servers": stage.wire.options["bootstrap_servers"],
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "SCRAM-SHA-512",
            "sasl.username": "admin",
            "sasl.password": stage.wire.broker.passwords["admin"],
        }
    )
    scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion(name, scram, password.encode())
    for future in admin.alter_user_scram_credentials([change]).values():
        future.result()


async def test_a_position_beyond_the_head_changes_nothing_and_raises_an_alarm(stage: Stage) -> None:
    stage.start(PRODUCER)
    consumer = stage.start(CONSUMER)
    await stage.produce(["k"], 5)
    await stage.caught_up()
    (last,) = [r for r in await stage.wire.records() if r.position == 5]
    assert last.meta
    # As good as a forger can make it: the next number, the true predecessor.
    forged = last.meta._replace(id=uuid4(), version=6, position=6, previous=last.id)
    await stage.wire.write(last.partition, [(last.key.encode(), last.value, to_headers(forged))])

    async def alarmed() -> bool:
        rows = (await stage.get(consumer, "/system/feeds"))["consumers"]
        return any("claims position 6 of 5" in row["alarm"] for row in rows)

    await eventually(alarmed, seconds=15, what="the alarm is shown")
    assert await stage.effects() == {"k": [1, 2, 3, 4, 5]}
    await stage.produce(["k"], 2, first=6)  # the true sixth event is not taken for the forged one
    await stage.caught_up()
    assert await stage.effects() == {"k": [1, 2, 3, 4, 5, 6, 7]}


async def test_bad_records_on_the_wire_stop_nobody(stage: Stage) -> None:
    """The topic's records are written anew, some of them spoilt: each is taken from the ledger instead, or waits."""
    keys = [f"k{n}" for n in range(8)]
    await stage.produce(keys, 4)
    # Two are bad in the ledger itself: a producer that is newer, and one that is broken.
    await stage.sql(PRODUCER, "ALTER TABLE events DISABLE TRIGGER append_only")
    change = "UPDATE events SET {} WHERE stream = $1 AND version = 2"
    newer = "type = 'lyceum.identity.v1.OrgUnitTeleported'"
    await stage.sql(PRODUCER, change.format(newer), "org-unit/k0")
    await stage.sql(PRODUCER, change.format("data = '\\xff'"), "org-unit/k1")
    stage.start(PRODUCER)
    await stage.sent()
    good = await stage.wire.records()
    await stage.wire.delete_before(await stage.wire.ends())

    def spoilt(record: Record) -> Written:
        headers: dict[str, bytes | None] = dict(record.headers)
        if record.meta and record.meta.version == 2:
            match record.key:
                case "org-unit/k2":
                    headers = {}
                case "org-unit/k3":
                    headers["ce_subject"] = b"\xff\xfe not UTF-8"
                case "org-unit/k4":
                    headers["ce_tenant"] = b"nobody"
                case "org-unit/k5":
                    return record.key.encode(), None, list(headers.items())  # a tombstone
                case "org-unit/k6":
                    headers["ce_feedposition"] = b"-1"
                case "org-unit/k7":
                    headers["ce_subject"] = None
                case _:
                    pass
        return record.key.encode(), record.value, list(headers.items())

    for partition in range(FEED.partitions):
        some = [spoilt(r) for r in good if r.partition == partition]
        await stage.wire.write(partition, [(None, b"no event at all", []), *some])
    stage.start(CONSUMER)
    await stage.caught_up()

    effects = await stage.effects()
    assert effects.pop("k0") == [1, 3, 4]  # its second is of a type that this build does not know
    assert effects.pop("k1") == [1]
    assert effects == {key: [1, 2, 3, 4] for key in keys[2:]}
    parked = await stage.parked()
    assert sorted((p["key"], p["kind"]) for p in parked) == [
        ("org-unit/k0", "unknown-type"),
        ("org-unit/k1", "failed"),
        ("org-unit/k1", "key"),
        ("org-unit/k1", "key"),
    ]
