"""gRPC: a unary call through our server's interceptors beside a bare servicer; a list beside one row a message."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc
import grpc.aio

from benchmarks.figures import Figure, in_turns
from lyceum.feed.v1 import feed_service_pb2 as pb
from lyceum.feed.v1 import feed_service_pb2_grpc as pb_grpc
from lyceum_kit.feed import ROWS_A_MESSAGE
from lyceum_kit.rpc import RpcService, make_server
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import TestKeys

IN_FLIGHT = 16
RECORD = pb.FeedRecord(headers={"ce_id": b"x" * 36, "ce_type": b"y" * 40}, key=b"k" * 36, value=b"v" * 500)


@dataclass(frozen=True)
class Size:
    calls: int
    rows: int


FULL = Size(calls=3_200, rows=40_000)
SHORT = Size(calls=160, rows=2_000)


class Servicer(pb_grpc.EventFeedServicer):
    """Answers from memory, so that what is measured is the way there and back."""

    def __init__(self, rows: int, rows_a_message: int) -> None:
        self._page = pb.ReadResponse(records=[RECORD] * rows_a_message)
        self._pages = rows // rows_a_message

    async def Heads(self, request: pb.HeadsRequest, context: Any) -> pb.HeadsResponse:
        return pb.HeadsResponse(partitions=[pb.PartitionHead(partition=n, head=9, sent=9) for n in range(12)])

    async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
        for _ in range(self._pages):
            yield self._page


async def run(size: Size) -> list[Figure]:
    keys = TestKeys()
    metadata = (("authorization", f"Bearer {keys.token(roles=['service'], kind='service')}"),)
    ours = make_server(
        KitSettings(grpc_host="127.0.0.1", grpc_port=0),
        [
            RpcService(
                "lyceum.feed.v1.EventFeed",
                lambda server: pb_grpc.add_EventFeedServicer_to_server(
                    Servicer(size.rows, ROWS_A_MESSAGE), server
                ),
                {"Heads": frozenset({"service"}), "Read": frozenset({"service"})},
            )
        ],
        keys.verifier,
    )
    bare = grpc.aio.server()
    pb_grpc.add_EventFeedServicer_to_server(Servicer(size.rows, 1), bare)
    port = bare.add_insecure_port("127.0.0.1:0")
    await ours.start()
    await bare.start()
    try:
        async with (
            grpc.aio.insecure_channel(f"127.0.0.1:{ours.port}") as to_ours,
            grpc.aio.insecure_channel(f"127.0.0.1:{port}") as to_bare,
        ):
            calls = await in_turns(
                3, lambda: _calls(to_ours, metadata, size), lambda: _calls(to_bare, (), size)
            )
            lists = await in_turns(
                3, lambda: _rows(to_ours, metadata, size), lambda: _rows(to_bare, (), size)
            )
    finally:
        await ours.stop(0)
        await bare.stop(0)
    at_once = f"gRPC unary, {IN_FLIGHT} in flight"
    return [
        Figure(
            at_once,
            calls[0],
            "calls/s",
            0.6,
            "at least",
            calls[1],
            "bare servicer",
            because="Each call verifies a signed token, opens a span and counts its time; the bare servicer does nothing."
            " A cache of verified tokens would save most",
        ),
        Figure("gRPC list", lists[0], "rows/s", 10, "at least", lists[1], "one row a message"),
    ]


async def _calls(channel: grpc.aio.Channel, metadata: Any, size: Size) -> float:
    stub = pb_grpc.EventFeedStub(channel)

    async def caller(count: int) -> None:
        for _ in range(count):
            await stub.Heads(pb.HeadsRequest(feed="identity"), metadata=metadata, timeout=10)

    began = time.perf_counter()
    await asyncio.gather(*(caller(size.calls // IN_FLIGHT) for _ in range(IN_FLIGHT)))
    return size.calls / (time.perf_counter() - began)


async def _rows(channel: grpc.aio.Channel, metadata: Any, size: Size) -> float:
    began, rows = time.perf_counter(), 0
    async for page in pb_grpc.EventFeedStub(channel).Read(pb.ReadRequest(), metadata=metadata, timeout=60):
        rows += len(page.records)
    assert rows == size.rows
    return rows / (time.perf_counter() - began)
