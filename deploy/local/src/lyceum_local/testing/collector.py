"""A place where the platform's traces go: OTLP over gRPC, kept in memory."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (the generated stubs of opentelemetry-proto are not annotated)

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector(pb_grpc.TraceServiceServicer):
    """`spans` by trace id, both in hex, as they came."""

    port: int = 0
    spans: dict[str, list[Span]] = field(default_factory=dict[str, list[Span]], repr=False)

    def Export(self, request: pb.ExportTraceServiceRequest, context: Any) -> pb.ExportTraceServiceResponse:  # noqa: ARG002
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.setdefault(span.trace_id.hex(), []).append(span)
        return pb.ExportTraceServiceResponse()

    @property
    def variables(self) -> dict[str, str]:
        """What an installation needs to export here, and soon."""
        return {
            "LYCEUM_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }


@contextmanager
def collecting() -> Generator[Collector]:
    server = grpc.server(ThreadPoolExecutor(2))
    collector = Collector()
    pb_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield collector
    finally:
        server.stop(None)


def attribute(span: Span, name: str) -> str:
    return next((a.value.string_value for a in span.attributes if a.key == name), "")
