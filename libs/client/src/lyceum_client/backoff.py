"""When a call is made again, and after how long. Every RPC of Lyceum reads, so each may be."""

import random
from collections.abc import Awaitable, Callable, Iterator

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

Pause = Callable[[float], Awaitable[None]]

# The service is starting, stopping (one that goes cancels what reached it at that moment) or full. What is wrong with the
# request stays wrong, and is never asked again.
RETRYABLE = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.RESOURCE_EXHAUSTED}
)
TRIES = 6
FIRST, LONGEST = 0.1, 5.0


def delays(jitter: Callable[[], float] = random.random) -> Iterator[float]:
    """Seconds before the second try, the third …: doubled each time, and spread, so that callers do not come in step."""
    for n in range(TRIES - 1):
        yield min(FIRST * 2**n, LONGEST) * (0.5 + jitter() / 2)


def worth_another(error: grpc.aio.AioRpcError) -> bool:
    return error.code() in RETRYABLE


def asked_to_wait(error: grpc.aio.AioRpcError) -> float:
    """Seconds that the server itself named (google.rpc.RetryInfo); 0 where it named none."""
    for name, value in error.trailing_metadata() or ():
        if name == "grpc-status-details-bin" and isinstance(value, bytes):
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return info.retry_delay.ToTimedelta().total_seconds()
    return 0.0
