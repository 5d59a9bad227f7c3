"""A producer's feed by position: nothing lost, nothing twice, for whoever keeps the position beside the effects."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from google.protobuf.message import Message

import lyceum


@dataclass(frozen=True)
class Position:
    """Where a consumer stands in one partition: the number to read next, and the id of the event before it."""

    next: int = 1
    last_id: str = ""


BEGINNING = Position()


@dataclass(frozen=True)
class Event:
    """One event of a feed. `message` is None where its type is newer than the contracts installed here."""

    feed: str
    partition: int
    number: int
    id: str
    type: str  # such as lyceum.enrollment.v1.LearnerEnrolled
    tenant: str
    stream: str
    stream_version: int
    time: datetime
    previous: str  # the id at number - 1; empty at 1
    message: Message | None
    body: bytes

    @property
    def after(self) -> Position:
        """Where to go on once this event is handled."""
        return Position(self.number + 1, self.id)


class OtherHistory(Exception):
    """The event before `position` is not the one that was read: the producer was restored from a backup meanwhile."""


def event(feed: str, partition: int, headers: Mapping[str, bytes], body: bytes) -> Event:
    """From CloudEvents headers, as Kafka carries them too."""
    said = {name: value.decode() for name, value in headers.items()}
    return Event(
        feed=feed,
        partition=partition,
        number=int(said["ce_feedposition"]),
        id=said["ce_id"],
        type=said["ce_type"],
        tenant=said["ce_tenant"],
        stream=said["ce_subject"],
        stream_version=int(said["ce_streamversion"]),
        time=datetime.fromisoformat(said["ce_time"]),
        previous=said["ce_feedprevious"],
        message=_decoded(said["ce_type"], body),
        body=body,
    )


def check(position: Position, event: Event) -> None:
    """Whether it is the event that comes next. Raises OtherHistory."""
    if event.number != position.next:
        raise OtherHistory(
            f"asked for {position.next} and got {event.number} of {event.feed}/{event.partition}"
        )
    if position.last_id and event.previous != position.last_id:
        raise OtherHistory(
            f"{event.feed}/{event.partition}: event {position.next - 1} is {event.previous} and was {position.last_id}"
        )


@cache
def producers() -> Mapping[str, str]:
    """The service that has each feed."""
    registry: dict[str, Any] = yaml.safe_load((files(lyceum) / "topics.yaml").read_text())["feeds"]
    return {name: entry["producer"] for name, entry in registry.items()}


def _decoded(type_name: str, body: bytes) -> Message | None:
    kind = _kind(type_name)
    return kind.FromString(body) if kind else None


@cache
def _kind(type_name: str) -> type[Message] | None:
    package, _, name = type_name.rpartition(".")
    return getattr(importlib.import_module(f"{package}.events_pb2"), name, None)
