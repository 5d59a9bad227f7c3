"""What the platform tells about itself: every span, metric and attribute name in one place.

Traces follow an event through PostgreSQL and Kafka: its `traceparent` is stored with it and travels along.
"""

import time
from collections import Counter as Counts
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, lru_cache
from types import TracebackType
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace import Span as WritableSpan
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from prometheus_client import Counter, Gauge, Histogram

from lyceum_kit.settings import KitSettings
from lyceum_kit.topics import spelled

if TYPE_CHECKING:
    from lyceum_kit.envelope import Meta, Record

# Attributes of spans. Messaging and RPC names are OpenTelemetry's own conventions.
EVENT_ID = "lyceum.event.id"  # UUIDv7 of the event, as in ce_id
EVENT_TYPE = "messaging.message.type"  # full Protobuf name
STREAM = "lyceum.stream"  # the aggregate, such as person/<id>: opaque ids only
TENANT = "lyceum.tenant"
FEED = "messaging.destination.name"
PARTITION = "messaging.destination.partition.id"
POSITION = "lyceum.feed.position"
CONSUMER = "messaging.consumer.group.name"
RPC_METHOD = "rpc.method"
RPC_SERVICE = "rpc.service"
RPC_STATUS = "rpc.grpc.status_code"

# Metrics of feeds. `consumer` is the service that reads; `feed` and `partition` what it reads.
FEED_NEXT = Gauge("lyceum_feed_next", "Position a consumer handles next", ["consumer", "feed", "partition"])
FEED_HEAD = Gauge("lyceum_feed_head", "Last position the ledger numbered", ["consumer", "feed", "partition"])
GAPS_HEALED = Counter(
    "lyceum_feed_gaps_healed",
    "Events Kafka did not deliver, read from the ledger instead",
    ["consumer", "feed"],
)
EVENTS_HANDLED = Counter("lyceum_events_handled", "Events whose effects are written", ["consumer", "type"])
HANDLER_SECONDS = Histogram(
    "lyceum_handler_seconds", "Time in a handler, of one event or of many at once", ["consumer", "type"]
)
PARKED = Counter("lyceum_parked_events", "Events set aside with their key", ["consumer", "feed"])
# What waits for a person.
PARKED_OPEN = Gauge("lyceum_parked_open", "Events set aside that nobody has settled yet", ["consumer"])
FEED_RED = Gauge("lyceum_feed_red", "Partitions that stopped until somebody reconciles them", ["consumer"])
FEED_STANDING = Gauge(
    "lyceum_feed_standing_seconds", "Time since a consumer that is behind moved; 0 when none is", ["consumer"]
)
# The relay: what committed and has not reached Kafka yet. `service`: one process may host several.
RELAY_OLDEST = Gauge("lyceum_relay_oldest_seconds", "Age of the oldest event not yet numbered", ["service"])
RELAY_OUTBOX = Gauge("lyceum_relay_outbox", "Events not yet numbered", ["service"])
RELAY_UNSENT = Gauge("lyceum_relay_unsent", "Events numbered, not yet acknowledged by Kafka", ["service"])
RELAY_SENT = Counter("lyceum_relay_sent", "Events acknowledged by Kafka", ["feed"])
TIMERS_LATE = Gauge("lyceum_timers_late", "Timers more than 30 s overdue", ["service"])
# The edges. `route` is the template, never the path: ids would make a series each.
HTTP_SECONDS = Histogram(
    "lyceum_http_seconds", "Answering HTTP requests", ["service", "method", "route", "status"]
)
RPC_SECONDS = Histogram("lyceum_rpc_seconds", "Answering gRPC calls", ["service", "method", "status"])

_tracer = trace.get_tracer("lyceum")
_propagator = TraceContextTextMapPropagator()
_ids = RandomIdGenerator()


def configure(service: str, settings: KitSettings) -> None:
    """Set the process's tracer provider, once. Without an OTLP endpoint spans only give ids to logs and to other
    processes, and record nothing."""
    endpoint = settings.otlp_endpoint
    provider = provider_of(service, sampler=None if endpoint else ALWAYS_OFF)
    if endpoint:
        exporter = OTLPSpanExporter(endpoint=endpoint, insecure=not endpoint.startswith("https://"))
        provider.add_span_processor(BatchSpanProcessor(exporter))


class _Discreet(SpanProcessor):
    """Of an address only the path and the names of what was asked: somebody may be looked for by name."""

    def on_start(self, span: WritableSpan, parent_context: Context | None = None) -> None:  # noqa: ARG002
        if query := (span.attributes or {}).get("url.query"):
            names = {name for name, _ in parse_qsl(str(query), keep_blank_values=True)}
            span.set_attribute("url.query", "&".join(sorted(names)))


def provider_of(service: str, *, sampler: Sampler | None = None) -> TracerProvider:
    """The process's provider; the first caller names the service."""
    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider):
        return current
    resource = Resource.create({SERVICE_NAME: service, SERVICE_NAMESPACE: "lyceum"})
    provider = TracerProvider(resource=resource, sampler=sampler)
    provider.add_span_processor(_Discreet())
    trace.set_tracer_provider(provider)
    return provider


def shutdown() -> None:
    """Send what is waiting. Bounded: a dead collector must not hold up a stop."""
    provider = trace.get_tracer_provider()
    if isinstance(provider, TracerProvider):
        provider.force_flush(timeout_millis=3000)


def current_traceparent() -> str:
    """W3C `traceparent` of the running span; empty outside one."""
    return _traceparent(context.get_current())


def _traceparent(of: Context) -> str:
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, context=of)
    return carrier.get("traceparent", "")


def context_of(traceparent: str) -> Context:
    return _propagator.extract({"traceparent": traceparent} if traceparent else {})


def span(
    name: str, attributes: Mapping[str, str | int] | None = None, *, kind: SpanKind = SpanKind.INTERNAL
) -> AbstractContextManager[Span]:
    """A child of the running span."""
    return _tracer.start_as_current_span(name, kind=kind, attributes=attributes)


def span_for(
    name: str,
    traceparent: str,
    attributes: Mapping[str, str | int] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
) -> AbstractContextManager[Span]:
    """A child of a span elsewhere: whatever made the event, the call, the timer."""
    if _records():
        return _tracer.start_as_current_span(
            name, context=context_of(traceparent), kind=kind, attributes=attributes
        )
    return _Unseen(traceparent)


class _Unseen:
    """A span that nobody sees costs as much as all else around an event or a call. Its trace goes on without."""

    __slots__ = ("_token", "_traceparent")

    def __init__(self, traceparent: str) -> None:
        self._traceparent = traceparent

    def __enter__(self) -> Span:
        self._token = context.attach(_elsewhere(self._traceparent) or _new_trace())
        return trace.get_current_span()

    def __exit__(self, *_: object) -> None:
        context.detach(self._token)


@lru_cache(maxsize=4096)
def _elsewhere(traceparent: str) -> Context | None:
    """The trace that is named; None when none is. Many events come from one request."""
    found = context_of(traceparent)
    return found if trace.get_current_span(found).get_span_context().is_valid else None


def _new_trace() -> Context:
    """Its ids are for logs and for whoever is called."""
    ids = SpanContext(_ids.generate_trace_id(), _ids.generate_span_id(), is_remote=False)
    return trace.set_span_in_context(NonRecordingSpan(ids))


class event_span:
    """The handling of one event, in the trace that made it. Counts the time as well."""

    __slots__ = ("_began", "_seconds", "_span")

    def __init__(self, name: Callable[["Meta"], str], meta: "Meta", *, consumer: str) -> None:
        self._seconds = _handler_seconds(consumer, meta.type)
        self._began = time.perf_counter()
        self._span: AbstractContextManager[Span] = (
            span_for(name(meta), meta.traceparent, _of_event(meta, consumer), kind=SpanKind.CONSUMER)
            if _records()
            else _Unseen(meta.traceparent)
        )

    def __enter__(self) -> None:
        self._span.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            self._span.__exit__(kind, error, where)
        finally:
            self._seconds.observe(time.perf_counter() - self._began)


@contextmanager
def event_spans(
    name: Callable[["Meta"], str], metas: Iterable["Meta"], *, consumer: str
) -> Generator[list[str]]:
    """The handling of many events at once: a span in the trace of each, and the `traceparent` that goes on from it. None
    of them is the running one: thousands inside each other would cost more than the work."""
    began = time.perf_counter()
    handled = list(metas)
    started = [
        _tracer.start_span(
            name(meta),
            context=context_of(meta.traceparent),
            kind=SpanKind.CONSUMER,
            attributes=_of_event(meta, consumer),
        )
        for meta in (handled if _records() else ())
    ]
    try:
        yield [_traceparent(trace.set_span_in_context(one)) for one in started] or [
            meta.traceparent for meta in handled
        ]
    except BaseException as e:
        for one in started:
            one.record_exception(e)
            one.set_status(StatusCode.ERROR, type(e).__name__)
        raise
    finally:
        took = time.perf_counter() - began
        for one in started:
            one.end()
        for kind in {meta.type for meta in handled}:
            _handler_seconds(consumer, kind).observe(took)


def _records() -> bool:
    provider = trace.get_tracer_provider()
    return isinstance(provider, TracerProvider) and provider.sampler is not ALWAYS_OFF


def _of_event(meta: "Meta", consumer: str) -> dict[str, str | int]:
    return {
        EVENT_ID: str(meta.id),
        EVENT_TYPE: meta.type,
        STREAM: meta.stream,
        TENANT: str(meta.tenant),
        FEED: meta.feed,
        PARTITION: str(meta.partition),
        POSITION: meta.position,
        CONSUMER: consumer,
    }


@cache
def _handler_seconds(consumer: str, kind: str) -> Histogram:
    """Finding a label's series costs more than observing."""
    return HANDLER_SECONDS.labels(consumer, spelled(kind))


def count_handled(consumer: str, records: Iterable["Record"]) -> None:
    """Events whose effects are written."""
    for kind, count in Counts(record.meta.type for record in records if record.meta).items():
        _events_handled(consumer, kind).inc(count)


@cache
def _events_handled(consumer: str, kind: str) -> Counter:
    return EVENTS_HANDLED.labels(consumer, spelled(kind))
