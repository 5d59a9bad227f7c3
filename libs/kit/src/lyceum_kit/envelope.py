"""Events on the wire: CloudEvents 1.0, Kafka binary mode (kafka-protocol-binding §3.2), Protobuf bodies.

Everything needed to route, order, deduplicate and park an event stands in its headers.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, Protocol, cast
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
    headers: Sequence[tuple[str, bytes | None]]  # as they came; Kafka allows one without a value
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
        row["id"],
        row["type"],
        f"lyceum/{feed}",
        row["stream"],
        row["version"],
        row["at"],
        row["tenant"],
        feed,
        row["partition"],
        row["position"],
        row["generation"],
        row["previous"],
        row["correlation_id"],
        row["causation_id"],
        row["traceparent"],
    )


def _meta(feed: str, partition: int, h: Mapping[str, bytes]) -> Meta:
    position = int(h["ce_feedposition"])
    if h["ce_specversion"] != b"1.0" or position < 1:
        raise ValueError("not CloudEvents 1.0, or no position")
    return Meta(
        read_id(h["ce_id"].decode()),
        _same(h["ce_type"]),
        _same(h["ce_source"]),
        h["ce_subject"].decode(),
        int(h["ce_streamversion"]),
        _time(h["ce_time"]),
        _tenant(h["ce_tenant"]),
        feed,
        partition,
        position,
        int(h["ce_feedgeneration"]),
        h["ce_feedprevious"].decode(),
        _same(h.get("ce_correlationid", b"")),
        _same(h.get("ce_causationid", b"")),
        _same(h.get("traceparent", b"")),
    )


@lru_cache(maxsize=4096)
def _same(value: bytes) -> str:
    """What many events say is kept once."""
    return value.decode()


@lru_cache(maxsize=4096)
def _time(value: bytes) -> datetime:
    return datetime.fromisoformat(value.decode())


@lru_cache(maxsize=1000)
def _tenant(value: bytes) -> UUID:
    return read_id(value.decode())


def read_record(
    feed: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
    offset: int = -1,
) -> Record:
    """Never raises: what cannot be read comes back with `meta=None`, to be checked against the ledger. So does a
    tombstone, and what lacks a key: every event has one, and a body, if only an empty one."""
    try:
        if key is None or value is None:
            raise ValueError("a tombstone, or without a key")
        text = key.decode()
        meta = _meta(feed, partition, cast("dict[str, bytes]", dict(headers)))
    except (AttributeError, KeyError, TypeError, ValueError):
        return _unreadable(feed, partition, key, value, headers, offset)
    return Record(
        feed, partition, meta.position, meta.generation, meta.previous, str(meta.id), text, value, headers, meta, offset
    )  # fmt: skip


def _unreadable(
    feed: str,
    partition: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]],
    offset: int,
) -> Record:
    """With whatever can be read of its place."""
    h = dict(headers)
    return Record(
        feed,
        partition,
        _number(h.get("ce_feedposition")),
        _number(h.get("ce_feedgeneration")),
        _text(h.get("ce_feedprevious")),
        _text(h.get("ce_id")),
        _text(key),
        value or b"",
        headers,
        None,
        offset,
    )


def _number(value: bytes | None) -> int:
    return int(value) if value and value.isdigit() and len(value) < 19 else 0


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def decode(message_type: type[Message], record: Record) -> Message:
    """The event's message, or Undecodable."""
    try:
        return message_type.FromString(record.value)
    except Exception as e:  # protobuf raises DecodeError, or its C core a RuntimeError
        raise Undecodable(f"body of {record.id!r} is no {message_type.DESCRIPTOR.full_name}") from e
