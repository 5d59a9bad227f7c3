"""Events on the wire: CloudEvents 1.0, Kafka binary mode (kafka-protocol-binding §3.2), Protobuf bodies.

Everything needed to route, order, deduplicate and park an event stands in its headers.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from google.protobuf.message import Message

from lyceum_kit.ids import read_id

CONTENT_TYPE = b"application/protobuf"


class Row(Protocol):
    """A row of the database, by column name."""

    def __getitem__(self, key: str, /) -> Any: ...


class Undecodable(ValueError):
    """A record whose headers do not make an event of a feed."""


# These two are made for every event that is read. As tuples they take a third of a dataclass's time.


class Meta(NamedTuple):
    """What the headers say of an event. `position` counts from 1 within (feed, partition)."""

    id: UUID
    type: str
    source: str
    stream: str
    version: int
    time: datetime
    tenant: UUID
    feed: str
    partition: int
    position: int
    generation: int
    previous: str = ""  # the id at position - 1; empty at position 1
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""


class Record(NamedTuple):
    """One event as it came from Kafka or from EventFeed.Read; `meta` is None when its headers are unreadable."""

    feed: str
    partition: int
    position: int  # 0 when unknown
    generation: int
    previous: str
    id: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    meta: Meta | None = None
    offset: int = -1  # in Kafka; -1 when read from the ledger


def to_headers(meta: Meta) -> list[tuple[str, bytes]]:
    # Written out: the relay makes these for every event, and most say what those of the event before said.
    return [
        _SPEC,
        ("ce_id", str(meta.id).encode()),
        _said("ce_type", meta.type),
        _said("ce_source", meta.source),
        ("ce_subject", meta.stream.encode()),
        _at(meta.time),
        _said("ce_tenant", meta.tenant),
        ("ce_streamversion", b"%d" % meta.version),
        ("ce_feedgeneration", b"%d" % meta.generation),
        ("ce_feedposition", b"%d" % meta.position),
        ("ce_feedprevious", meta.previous.encode()),
        _said("ce_correlationid", meta.correlation_id),
        _said("ce_causationid", meta.causation_id),
        _CONTENT,
        _said("traceparent", meta.traceparent),
    ]


_SPEC, _CONTENT = ("ce_specversion", b"1.0"), ("content-type", CONTENT_TYPE)


@lru_cache(maxsize=4096)
def _said(name: str, value: str | UUID) -> tuple[str, bytes]:
    return name, str(value).encode()


@lru_cache(maxsize=4096)
def _at(time: datetime) -> tuple[str, bytes]:
    return "ce_time", time.isoformat().encode()


def meta_of(feed: str, row: Row) -> Meta:
    """The headers of a numbered event, from a row of `events` joined with its position."""
    return Meta(
        id=row["id"],
        type=row["type"],
        source=f"lyceum/{feed}",
        stream=row["stream"],
        version=row["version"],
        time=row["at"],
        tenant=row["tenant"],
        feed=feed,
        partition=row["partition"],
        position=row["position"],
        generation=row["generation"],
        previous=row["previous"],
        correlation_id=row["correlation_id"],
        causation_id=row["causation_id"],
        traceparent=row["traceparent"],
    )


def _meta(feed: str, partition: int, h: Mapping[str, bytes]) -> Meta:
    position = int(h["ce_feedposition"])
    if h["ce_specversion"] != b"1.0" or position < 1:
        raise ValueError("not CloudEvents 1.0, or no position")
    return Meta(
        id=read_id(h["ce_id"].decode()),
        type=_same(h["ce_type"]),
        source=_same(h["ce_source"]),
        stream=h["ce_subject"].decode(),
        version=int(h["ce_streamversion"]),
        time=datetime.fromisoformat(h["ce_time"].decode()),
        tenant=_tenant(h["ce_tenant"]),
        feed=feed,
        partition=partition,
        position=position,
        generation=int(h["ce_feedgeneration"]),
        previous=h["ce_feedprevious"].decode(),
        correlation_id=_same(h.get("ce_correlationid", b"")),
        causation_id=_same(h.get("ce_causationid", b"")),
        traceparent=_same(h.get("traceparent", b"")),
    )


@lru_cache(maxsize=4096)
def _same(value: bytes) -> str:
    """What many events say is kept once."""
    return value.decode()


@lru_cache(maxsize=1000)
def _tenant(value: bytes) -> UUID:
    return read_id(value.decode())


def _number(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) < 19 else 0


def read_record(
    feed: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Iterable[tuple[str, bytes | None]],
    *,
    offset: int = -1,
) -> Record:
    """Never raises: what cannot be read comes back with `meta=None`, to be checked against the ledger.

    A header without a value, which Kafka allows, is none at all.
    """
    text = (key or b"").decode(errors="replace")
    h = {name: value for name, value in headers if value is not None}
    try:
        # A key and a body every event has, if only an empty one; a tombstone is not the producer's.
        meta = None if key is None or value is None else _meta(feed, partition, h)
    except (KeyError, ValueError):
        meta = None
    if meta:
        place = (meta.position, meta.generation, meta.previous, str(meta.id))
    else:  # whatever of it can be read
        place = (
            _number(h.get("ce_feedposition", b"")),
            _number(h.get("ce_feedgeneration", b"")),
            h.get("ce_feedprevious", b"").decode(errors="replace"),
            h.get("ce_id", b"").decode(errors="replace"),
        )
    return Record(feed, partition, *place, text, value or b"", tuple(h.items()), meta, offset)


def decode(message_type: type[Message], record: Record) -> Message:
    """The event's message, or Undecodable."""
    try:
        return message_type.FromString(record.value)
    except Exception as e:  # protobuf raises DecodeError, or its C core a RuntimeError
        raise Undecodable(f"body of {record.id!r} is no {message_type.DESCRIPTOR.full_name}") from e
