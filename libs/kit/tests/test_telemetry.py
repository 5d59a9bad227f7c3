"""Trace context: it leaves with an event or a call, and is taken up where that is handled."""

from datetime import UTC, datetime
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import INVALID_SPAN, SpanKind, StatusCode, use_span
from prometheus_client import REGISTRY

from lyceum_kit import telemetry
from lyceum_kit.envelope import Meta
from lyceum_kit.ids import new_id
from lyceum_kit.testing import spans

TENANT = UUID("01990000-0000-7000-8000-000000000001")


def meta(traceparent: str) -> Meta:
    return Meta(
        id=new_id(),
        type="lyceum.identity.v1.UserProvisioned",
        source="identity",
        stream="person/1",
        version=1,
        time=datetime.now(UTC),
        tenant=TENANT,
        feed="identity",
        partition=3,
        position=17,
        generation=1,
        traceparent=traceparent,
    )


def test_outside_a_span_there_is_no_traceparent() -> None:
    with use_span(INVALID_SPAN):
        assert telemetry.current_traceparent() == ""


def test_an_event_is_handled_in_the_trace_that_made_it() -> None:
    finished = spans()
    with telemetry.span("webhook") as made:
        traceparent = telemetry.current_traceparent()
    event = meta(traceparent)
    with telemetry.event_span(lambda _: "handle user-provisioned", event, consumer="enrollment"):
        following = telemetry.current_traceparent()
    assert following != traceparent
    assert f"{made.get_span_context().trace_id:032x}" in following
    span = finished.get_finished_spans()[-1]
    assert span.kind is SpanKind.CONSUMER
    assert span.parent is not None
    assert span.parent.span_id == made.get_span_context().span_id
    assert span.attributes is not None
    assert span.attributes[telemetry.EVENT_ID] == str(event.id)
    assert span.attributes[telemetry.POSITION] == 17


def test_without_a_collector_a_trace_goes_on_and_no_span_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    finished = spans()
    monkeypatch.setattr(trace.get_tracer_provider(), "sampler", ALWAYS_OFF)
    event = meta("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
    with telemetry.event_span(lambda _: "handle", event, consumer="enrollment"):
        assert telemetry.current_traceparent() == event.traceparent
    with telemetry.event_spans(lambda _: "insert", [event], consumer="analytics") as following:
        assert following == [event.traceparent]
    assert telemetry.current_traceparent() == ""
    assert not finished.get_finished_spans()


def test_events_that_are_handled_at_once_have_spans_side_by_side_each_in_its_own_trace() -> None:
    finished = spans()
    made: list[Meta] = []
    for _ in range(3):
        with telemetry.span("webhook"):
            made.append(meta(telemetry.current_traceparent()))
    following: list[str] = []

    def fails() -> None:
        with telemetry.event_spans(lambda _: "insert", made, consumer="analytics") as traceparents:
            assert telemetry.current_traceparent() == ""
            following.extend(traceparents)
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fails()
    some = [s for s in finished.get_finished_spans() if s.name == "insert"]
    parents = [f"{s.parent.trace_id:032x}-{s.parent.span_id:016x}" for s in some if s.parent]
    assert parents == [event.traceparent[3:52] for event in made]
    own = [s.context for s in some if s.context]
    assert [f"{s.trace_id:032x}-{s.span_id:016x}" for s in own] == [f[3:52] for f in following]
    assert {s.status.status_code for s in some} == {StatusCode.ERROR}


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_without_a_usable_traceparent_a_trace_begins(traceparent: str) -> None:
    finished = spans()
    with telemetry.span_for("handle", traceparent) as started:
        assert started.get_span_context().is_valid
    assert finished.get_finished_spans()[-1].parent is None


@pytest.mark.parametrize("traceparent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_nor_without_a_collector(traceparent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = spans()
    monkeypatch.setattr(trace.get_tracer_provider(), "sampler", ALWAYS_OFF)
    with telemetry.span_for("handle", traceparent) as started:
        assert started.get_span_context().is_valid
        assert telemetry.current_traceparent().endswith("-00")
    assert not finished.get_finished_spans()


def test_handling_an_event_is_timed() -> None:
    labels = {"consumer": "timed", "type": "user-provisioned"}
    with telemetry.event_span(lambda _: "handle", meta(""), consumer="timed"):
        pass
    assert REGISTRY.get_sample_value("lyceum_handler_seconds_count", labels) == 1


def test_of_what_was_asked_only_the_names_are_on_the_span() -> None:
    finished = spans()
    with telemetry.span("GET /people", {"url.query": "search=Ada+Lovelace&limit=5&search=Ada&secret="}):
        pass
    attributes = finished.get_finished_spans()[-1].attributes
    assert attributes == {"url.query": "limit&search&secret"}


def test_a_failure_is_on_the_span() -> None:
    finished = spans()
    with pytest.raises(RuntimeError), telemetry.span("work"):
        raise RuntimeError
    assert not finished.get_finished_spans()[-1].status.is_ok
