"""What goes onto the wire comes back from it; and whatever else stands there is no reason to stop."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lyceum_kit.envelope import Meta, read_record, to_headers

AT = datetime(2026, 11, 27, 9, 30, 0, 123456, tzinfo=UTC)
EVENT = Meta(
    id=UUID(int=7), type="lyceum.identity.v1.UserProvisioned", source="lyceum/identity", stream="person/1", version=1,
    time=AT, tenant=UUID(int=1), feed="identity", partition=3, position=12, generation=1, previous=str(UUID(int=6)),
)  # fmt: skip
NAMES = [name for name, _ in to_headers(EVENT)]

numbers = st.integers(1, 2**62)
metas = st.builds(
    Meta,
    id=st.uuids(), type=st.text(min_size=1), source=st.text(), stream=st.text(), version=numbers,
    time=st.datetimes(timezones=st.just(UTC)), tenant=st.uuids(), feed=st.just("identity"), partition=st.just(3),
    position=numbers, generation=numbers, previous=st.uuids().map(str) | st.just(""), correlation_id=st.text(),
    causation_id=st.text(), traceparent=st.text(),
)  # fmt: skip
# Kafka allows a header without a value.
anything = (
    st.none() | st.binary() | st.sampled_from([b"1.0", b"12", b"-1", b"\xff", str(UUID(int=7)).encode()])
)


@given(metas)
def test_headers_come_back_as_they_went(meta: Meta) -> None:
    record = read_record("identity", 3, b"person/1", b"body", to_headers(meta), offset=9)
    assert record.meta == meta
    assert (record.position, record.generation, record.previous) == meta[9:12]
    assert (record.id, record.key, record.value, record.offset) == (str(meta.id), "person/1", b"body", 9)


@given(
    st.none() | st.binary(),
    st.none() | st.binary(),
    st.dictionaries(st.sampled_from(NAMES), anything),
    st.lists(st.tuples(st.text(), anything), max_size=2),
)
def test_no_record_on_the_wire_raises(
    key: bytes | None, body: bytes | None, spoilt: dict[str, Any], more: list[tuple[str, Any]]
) -> None:
    """It is read, or comes back without `meta`, to be looked for in the ledger."""
    headers = {**dict(to_headers(EVENT)), **spoilt}
    record = read_record("identity", 3, key, body, [*headers.items(), *more])
    ours = key is not None and key.decode(errors="replace").encode() == key and body is not None
    assert record.meta is not None or not (ours and not spoilt)
    assert record.position >= 0


@pytest.mark.parametrize("name", NAMES)
def test_a_record_with_a_header_without_a_value_is_not_read_and_has_its_place(name: str) -> None:
    headers = [(n, None if n == name else v) for n, v in to_headers(EVENT)]
    record = read_record("identity", 3, b"k", b"v", headers)
    assert record.meta == (EVENT if name == "content-type" else None)
    assert record.position == (0 if name == "ce_feedposition" else 12)
    assert record.previous == ("" if name == "ce_feedprevious" else EVENT.previous)
