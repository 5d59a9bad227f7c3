"""One hire, one trace: HR's webhook → Kafka → enrollment → Kafka → ClickHouse."""

import asyncio
import secrets

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from lyceum_kit import telemetry
from lyceum_local.testing import Platform
from lyceum_local.testing.collector import Collector, attribute
from lyceum_local.testing.load import prepare


async def test_one_trace_leads_from_the_webhook_to_clickhouse(
    breakable: Platform, collector: Collector
) -> None:
    load = await prepare(breakable)
    trace, caller = secrets.token_hex(16), secrets.token_hex(8)
    async with breakable.http() as http:
        http.headers["traceparent"] = f"00-{trace}-{caller}-01"
        await load.hire(http, "Ada 1")
        del http.headers["traceparent"]
        await load.hire(http, "Ada 2")
    enrolled = await insert_of(collector, trace, "lyceum.enrollment.v1.LearnerEnrolled")
    by_id = {span.span_id: span for span in collector.spans[trace]}
    way: list[Span] = [enrolled]
    while parent := by_id.get(way[-1].parent_span_id):
        way.append(parent)
    assert [span.name for span in way] == [
        "clickhouse insert",
        "handle user-provisioned",
        "POST /api/identity/webhooks/{tenant_slug}/{endpoint_id}",
    ]
    assert [attribute(s, telemetry.FEED) for s in way[:2]] == ["enrollment", "identity"]
    assert way[-1].parent_span_id.hex() == caller
    # Who is hired without a trace gets one of their own.
    assert sum(s.name == "handle user-provisioned" for s in collector.spans[trace]) == len(
        {
            attribute(s, telemetry.CONSUMER)
            for s in collector.spans[trace]
            if s.name == "handle user-provisioned"
        }
    )


async def insert_of(collector: Collector, trace: str, kind: str) -> Span:
    async with asyncio.timeout(60):
        while True:
            for span in collector.spans.get(trace, []):
                if span.name == "clickhouse insert" and attribute(span, telemetry.EVENT_TYPE) == kind:
                    return span
            await asyncio.sleep(0.05)
