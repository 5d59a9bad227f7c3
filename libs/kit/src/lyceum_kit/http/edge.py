"""Around every request: security headers, limits of size and pace, what nobody caught, and how long it took."""

import asyncio
import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl

import structlog
from fastapi import Response
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lyceum_kit import db, telemetry
from lyceum_kit.errors import Invalid, LyceumError, NotFound, TooLarge
from lyceum_kit.http.problems import BodyRefused, problem, problem_of
from lyceum_kit.http.routes import MIB

log = structlog.get_logger()

BODY_LIMIT = MIB
# A body may take this long, and longer while it arrives at this rate: an upload may be slow, not a trickle.
BODY_SECONDS = 20.0
BODY_BYTES_PER_SECOND = 50_000

# What is still read, and for how long, of a body that is refused: a client that is sending hears nothing else.
DRAIN_BYTES = 16 * MIB
DRAIN_SECONDS = 5.0

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Limit:
    """Of the bodies that one route takes."""

    methods: frozenset[str]
    path: re.Pattern[str]
    size: int


class Edge:
    """Outermost: security headers, body limit and pace, unhandled errors, time."""

    def __init__(
        self,
        app: ASGIApp,
        service: str,
        limits: Callable[[], Sequence[Limit]],
        draining: Callable[[], bool],
    ) -> None:
        self._app = app
        self._service = service
        self._limits = limits
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0
        arrived = False  # the whole body

        async def receiving() -> Message:
            nonlocal arrived
            message = await receive()
            arrived = not message.get("more_body", False)
            return message

        async def drain() -> None:
            left = DRAIN_BYTES
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(DRAIN_SECONDS):
                    while left > 0 and not arrived:
                        left -= len((await receiving()).get("body", b""))

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                sent = {name.lower() for name, _ in message.get("headers", ())}
                missing = [(k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in sent]
                if self._draining():  # or the next request would meet a door that is just being shut
                    missing.append((b"connection", b"close"))
                message = {**message, "headers": [*message.get("headers", ()), *missing]}
            elif status == 413 and not message.get("more_body"):
                # Closed with bytes unread, a connection is reset, and the answer is lost with it.
                await send({**message, "more_body": True})
                await drain()
                message = {"type": "http.response.body"}
            await send(message)

        limit = self._limit(scope)
        try:
            if _content_length(scope) > limit:
                await _too_large(limit)(scope, receive, send_with_headers)
            elif fault := _nul_in_address(scope):
                await problem_of(fault)(scope, receive, send_with_headers)
            else:
                await self._app(scope, _paced(receiving, limit), send_with_headers)
        except BodyRefused as refused:  # raised past the app's own handlers, in a mounted ASGI app
            if status:
                raise
            await refused.response(scope, receive, send_with_headers)
        except Exception as error:
            away = db.understood(error)
            if isinstance(away, LyceumError) and not status:
                log.warning("request failed", error=f"{type(error).__name__}: {error}")
                await problem_of(away)(scope, receive, send_with_headers)
                return
            log.exception("unhandled error", method=scope["method"], path=scope["path"])
            span = trace.get_current_span()
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR))
            if status:
                raise  # too late for another answer: the server cuts the connection
            trace_id = trace.format_trace_id(span.get_span_context().trace_id)
            answer = problem(
                500, "internal", "Internal error", "Something broke on our side", {"trace_id": trace_id}
            )
            await answer(scope, receive, send_with_headers)
        finally:
            route = getattr(scope.get("route"), "path_format", "") or "other"
            seconds = time.perf_counter() - started
            telemetry.HTTP_SECONDS.labels(self._service, scope["method"], route, str(status)).observe(seconds)

    def _limit(self, scope: Scope) -> int:
        for limit in self._limits():
            if scope["method"] in limit.methods and limit.path.match(scope["path"]):
                return limit.size
        return BODY_LIMIT


def _nul_in_address(scope: Scope) -> LyceumError | None:
    """No id has a NUL, and no text that a search could find: PostgreSQL cannot even be asked for one."""
    if "\0" in scope["path"]:
        return NotFound()
    if b"%00" in scope["query_string"]:
        names = [n for n, value in parse_qsl(scope["query_string"].decode("latin-1")) if "\0" in n + value]
        return Invalid(
            errors=[{"field": n.replace("\0", ""), "message": "has a NUL character"} for n in names]
        )
    return None


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _too_large(limit: int) -> Response:
    answer = problem_of(TooLarge(f"At most {limit} bytes are taken here", limit=limit))
    # The rest of the body is not used, and perhaps not read: the connection cannot be used again.
    answer.headers["connection"] = "close"
    return answer


def _paced(receive: Receive, limit: int) -> Receive:
    """Count what arrives, and stop whoever sends too much or too slowly."""
    size = 0
    begun: float | None = None
    complete = False

    async def paced() -> Message:
        nonlocal size, begun, complete
        if complete:
            return await receive()  # waits for the client to go away: no limit
        loop = asyncio.get_running_loop()
        begun = loop.time() if begun is None else begun
        try:
            async with asyncio.timeout_at(begun + BODY_SECONDS + size / BODY_BYTES_PER_SECOND):
                message = await receive()
        except TimeoutError:
            late = problem(408, "request-timeout", "Request Timeout", "The body did not arrive in time")
            late.headers["connection"] = "close"
            raise BodyRefused(late) from None
        size += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if size > limit:
            raise BodyRefused(_too_large(limit))
        return message

    return paced
