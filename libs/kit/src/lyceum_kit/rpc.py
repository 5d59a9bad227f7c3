"""The gRPC edge: a server that denies by default and explains its errors."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import grpc
import grpc.aio
import structlog
from google.protobuf import any_pb2, descriptor_pool, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from opentelemetry import trace
from opentelemetry.trace import SpanKind, Status, StatusCode

from lyceum_kit import db, telemetry
from lyceum_kit.errors import Forbidden, Invalid, LyceumError, Malformed, Unauthenticated, Unavailable
from lyceum_kit.settings import KitSettings
from lyceum_kit.tls import Files, Renewed
from lyceum_kit.tokens import Caller, Verifier

log = structlog.get_logger()

DOMAIN = "lyceum"  # of ErrorInfo.reason
MAX_MESSAGE = 4 * 1024 * 1024
DEADLINE = 30.0  # seconds, when the client sets none: a call nobody waits for must end
_OPEN = ("/grpc.health.v1.Health/", "/grpc.reflection.v1alpha.ServerReflection/")

_caller: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """Who makes the running RPC. Raises Unauthenticated in a public one without a token."""
    try:
        return _caller.get()
    except LookupError:
        raise Unauthenticated() from None


@dataclass(frozen=True)
class RpcService:
    """`access`: method → roles, one of which is needed; empty = any authenticated caller; None = public."""

    name: str
    add: Callable[[grpc.aio.Server], None]
    access: Mapping[str, frozenset[str] | None]

    def __post_init__(self) -> None:
        methods = {m.name for m in descriptor_pool.Default().FindServiceByName(self.name).methods}
        if methods != set(self.access):
            raise ValueError(
                f"{self.name}: access must name exactly {sorted(methods)}, not {sorted(self.access)}"
            )


class RpcServer:
    """A bound server; `port` is the real one when settings asked for 0."""

    def __init__(self, server: grpc.aio.Server, names: Sequence[str], port: int) -> None:
        self._server = server
        self._names = names
        # The stubs know the synchronous module only.
        self._health: Any = cast("Any", health).aio.HealthServicer()
        self.port = port
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    async def start(self) -> None:
        for name in self._names:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def stop(self, grace: float | None = None) -> None:
        """Report NOT_SERVING, then let running calls finish for `grace` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)


def make_server(settings: KitSettings, services: Sequence[RpcService], verifier: Verifier) -> RpcServer:
    """Bound to its port, not started yet."""
    access = {f"/{s.name}/{method}": roles for s in services for method, roles in s.access.items()}
    server: grpc.aio.Server = cast("Any", grpc.aio).server(  # partly unknown to its stubs
        interceptors=[_Edge(access, verifier)],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE),
            ("grpc.max_send_message_length", MAX_MESSAGE),
            ("grpc.max_concurrent_streams", 100),
            ("grpc.so_reuseport", 0),
            # What Peers send; the default of five minutes would answer them with GOAWAY.
            ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
        ],
    )
    for service in services:
        service.add(server)
    names = [s.name for s in services]
    if settings.grpc_reflection:
        known = [*names, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflection.enable_server_reflection(known, server)
    address = f"{settings.grpc_host}:{settings.grpc_port}"
    if settings.grpc_certificate:
        port = server.add_secure_port(address, _server_credentials(settings))
    else:
        port = server.add_insecure_port(address)
    return RpcServer(server, names, port)


def _server_credentials(settings: KitSettings) -> grpc.ServerCredentials:
    """Asked again at each new connection: a replaced certificate is shown from then on, and no call is lost."""
    files = Files(settings.grpc_client_ca, settings.grpc_certificate, settings.grpc_key)
    renewed = Renewed(files, _server_configuration)

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        configuration, other = renewed()
        return configuration if other else None

    # The stubs know nothing of None, which is "as before".
    return cast("Any", grpc).dynamic_ssl_server_credentials(
        renewed()[0], fetch, require_client_authentication=bool(settings.grpc_client_ca)
    )


def _server_configuration(files: Files) -> grpc.ServerCertificateConfiguration:
    ca, certificate, key = files.read()
    assert certificate
    assert key
    return grpc.ssl_server_certificate_configuration([(key, certificate)], root_certificates=ca)


class _Edge(grpc.aio.ServerInterceptor):  # pyright: ignore[reportMissingTypeArgument] - generic in stubs only
    """Around every call, in this order: trace, deadline, token, roles, the handler, errors."""

    def __init__(self, access: Mapping[str, frozenset[str] | None], verifier: Verifier) -> None:
        self._access = access
        self._verifier = verifier
        self._wrapped: dict[str, Any] = {}

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        method: str = handler_call_details.method
        if method in self._wrapped:
            return self._wrapped[method]
        handler = await continuation(handler_call_details)
        if handler is None or method.startswith(_OPEN):
            return handler  # None: grpc answers UNIMPLEMENTED
        self._wrapped[method] = self._wrap(method, handler)
        return self._wrapped[method]

    def _wrap(self, method: str, handler: Any) -> Any:
        inner = handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
        kind = (
            f"{'stream' if handler.request_streaming else 'unary'}_"
            f"{'stream' if handler.response_streaming else 'unary'}_rpc_method_handler"
        )
        wrap = self._streaming if inspect.isasyncgenfunction(inner) else self._single
        # Requests come as bytes: nothing of a stranger's is parsed, and what cannot be parsed is the caller's fault.
        return getattr(grpc, kind)(
            wrap(inner, method, handler.request_deserializer), response_serializer=handler.response_serializer
        )

    def _single(self, inner: Any, method: str, parse: Callable[[bytes], Message]) -> Any:
        """A coroutine: it returns its answer, or writes a stream of them to the context."""

        async def call(request: bytes, context: Any) -> Any:
            async with _Call(method, context) as running:
                await self._admit(method, context)
                answer = await inner(_read(request, parse), context)
                running.done()
                return answer

        return call

    def _streaming(self, inner: Any, method: str, parse: Callable[[bytes], Message]) -> Any:
        async def call(request: bytes, context: Any) -> AsyncIterator[Any]:
            async with _Call(method, context) as running:
                await self._admit(method, context)
                async for answer in inner(_read(request, parse), context):
                    yield answer
                running.done()

        return call

    async def _admit(self, method: str, context: Any) -> None:
        if method not in self._access:
            raise Forbidden()
        roles = self._access[method]
        token = _bearer(context)
        if token is None and roles is None:
            return
        if token is None:
            raise Unauthenticated()
        who = await self._verifier.verify(token)
        if roles and not who.has(*roles):
            raise Forbidden(f"One of these roles is needed: {', '.join(sorted(roles))}")
        # Each call runs in a task of its own, so nothing has to be put back.
        _caller.set(who)


def _read(request: bytes, parse: Callable[[bytes], Message]) -> Message:
    try:
        message = parse(request)
    except DecodeError as e:
        raise Malformed("The message cannot be decoded") from e
    if b"\0" in request and (field := _nul(message)):
        raise Invalid(errors=[{"field": field, "message": "has a NUL character"}])
    return message


def _nul(message: Message) -> str:
    """The first text with a NUL, which PostgreSQL cannot store; empty when there is none."""
    for field, value in message.ListFields():
        for one in value if field.is_repeated else [value]:
            inner = f".{_nul(one)}" if isinstance(one, Message) else ""
            if len(inner) > 1 or (isinstance(one, str) and "\0" in one):
                return field.name + inner
    return ""


def _metadata(context: Any, key: str) -> str:
    for name, value in context.invocation_metadata() or ():
        if name == key:
            return str(value)
    return ""


def _bearer(context: Any) -> str | None:
    scheme, _, token = _metadata(context, "authorization").partition(" ")
    if not scheme:
        return None
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("Send `authorization: Bearer <token>`")
    return token


class _Call:
    """One running call: its span, deadline and the mapping of whatever it raises to a status."""

    def __init__(self, method: str, context: Any) -> None:
        self._context = context
        self._service, _, self._method = method.lstrip("/").partition("/")
        self._started = time.perf_counter()
        self._status = grpc.StatusCode.CANCELLED  # unless something else becomes of it
        # A client's own deadline is kept by grpc, which cancels the call.
        self._deadline = asyncio.timeout(DEADLINE if context.time_remaining() is None else None)
        self._span = telemetry.span_for(
            f"{self._service}/{self._method}",
            _metadata(context, "traceparent"),
            {telemetry.RPC_SERVICE: self._service, telemetry.RPC_METHOD: self._method},
            kind=SpanKind.SERVER,
        )

    async def __aenter__(self) -> "_Call":
        self._span.__enter__()
        await self._deadline.__aenter__()
        return self

    def done(self) -> None:
        """The handler came to its end; it may have set a status itself."""
        code = self._context.code()
        self._status = code if isinstance(code, grpc.StatusCode) else grpc.StatusCode.OK

    async def __aexit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            try:
                await self._deadline.__aexit__(kind, error, traceback)
            except TimeoutError:
                await self._abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"Took longer than {DEADLINE:.0f} s", ())
            if isinstance(error, Exception):
                error = db.understood(error)
            if isinstance(error, LyceumError):
                await self._abort(error.rpc_status, error.detail, details_of(error))
            elif isinstance(error, grpc.aio.AbortError):
                self._status = self._context.code() or grpc.StatusCode.UNKNOWN
            elif isinstance(error, Exception):
                log.error("rpc failed", rpc=f"{self._service}/{self._method}", exc_info=error)
                trace.get_current_span().record_exception(error)
                await self._abort(grpc.StatusCode.INTERNAL, LyceumError.title, ())
        finally:
            span = trace.get_current_span()
            span.set_attribute(telemetry.RPC_STATUS, self._status.value[0])
            if self._status in (
                grpc.StatusCode.INTERNAL,
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.UNKNOWN,
            ):
                span.set_status(Status(StatusCode.ERROR))
            # Without the error: what is expected, such as NOT_FOUND, is no failure of the span.
            self._span.__exit__(None, None, None)
            seconds = time.perf_counter() - self._started
            telemetry.RPC_SECONDS.labels(self._service, self._method, self._status.name).observe(seconds)

    async def _abort(self, code: grpc.StatusCode, detail: str, details: Sequence[any_pb2.Any]) -> None:
        self._status = code
        status = status_pb2.Status(code=code.value[0], message=detail, details=details)
        await self._context.abort(code, detail, (("grpc-status-details-bin", status.SerializeToString()),))


def details_of(error: LyceumError) -> list[any_pb2.Any]:
    """google.rpc details: the code for machines, fields for forms, and when to come back."""
    flat = {k: str(v) for k, v in error.extra.items() if isinstance(v, (str, int, float, UUID))}
    messages: list[Any] = [error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata=flat)]
    if isinstance(error, Unavailable):
        seconds = error.retry_after
        delay = duration_pb2.Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))
        messages.append(error_details_pb2.RetryInfo(retry_delay=delay))
    if isinstance(error, Invalid) and isinstance(fields := error.extra.get("errors"), list):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=str(f["field"]), description=str(f["message"]))
            for f in cast("list[dict[str, Any]]", fields)
        ]
        messages.append(error_details_pb2.BadRequest(field_violations=violations))
    packed: list[any_pb2.Any] = []
    for message in messages:
        detail = any_pb2.Any()
        detail.Pack(message)
        packed.append(detail)
    return packed
