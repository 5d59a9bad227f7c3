"""The HTTP edge: an app that denies by default, answers errors as problem+json and limits what it reads."""

import asyncio
import base64
import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Generic, Protocol, TypeVar, cast, overload
from urllib.parse import parse_qsl

import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, PydanticSerializationError, core_schema, to_json
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lyceum_kit import db, telemetry
from lyceum_kit.errors import (
    Forbidden,
    Invalid,
    LyceumError,
    Malformed,
    NotFound,
    TooLarge,
    Unauthenticated,
)
from lyceum_kit.settings import KitSettings
from lyceum_kit.tokens import Caller, Verifier

log = structlog.get_logger()

A = TypeVar("A")
B = TypeVar("B")
T = TypeVar("T")
Check = Callable[[], Awaitable[None]]

PROBLEM = "application/problem+json"
MIB = 1024 * 1024
BODY_LIMIT = MIB
CHECK_SECONDS = 2.0
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


# Who may call


@dataclass(frozen=True)
class _Allow:
    roles: frozenset[str]

    async def __call__(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated()
        verifier: Verifier = request.app.state.verifier
        who = await verifier.verify(token.strip())
        if self.roles and not who.has(*self.roles):
            raise Forbidden(f"One of these roles is needed: {', '.join(sorted(self.roles))}")
        return who


async def _public() -> None:
    """Marks a route that needs no token."""


def allow(*roles: str) -> Any:
    """`who: Annotated[Caller, allow("admin", "author")]`. Without roles: any authenticated caller."""
    return Depends(_Allow(frozenset(roles)))


public: Any = Depends(_public)


@dataclass(frozen=True)
class _BodyLimit:
    size: int

    async def __call__(self) -> None:
        """Read by the app when it is built; nothing happens per request."""


def body_limit(size: int) -> Any:
    """`dependencies=[body_limit(500 * MIB)]` on a route that takes more, or less, than 1 MiB."""
    return Depends(_BodyLimit(size))


# Bodies and answers


class Model(BaseModel):
    """A request body. Unknown fields are refused; so is a number for a text, or `true` for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # FastAPI hands over Python values, whose strict mode would refuse every UUID and date, since JSON can
        # only spell them as text. So they are checked as the JSON they were, and then built.
        schema = handler(source)

        def check(data: Any) -> Any:
            given: Any = data  # narrowed alone, so that what is returned stays Any
            if isinstance(given, dict):
                cls.__pydantic_validator__.validate_json(_as_json(data), strict=True)
            return data

        checked = core_schema.no_info_before_validator_function(check, schema)
        return core_schema.json_or_python_schema(json_schema=schema, python_schema=checked)


def _as_json(data: Any) -> bytes:
    try:
        body = to_json(data)
    except PydanticSerializationError:  # a lone surrogate
        body = b""
    if (not body or b"\\u0000" in body) and (where := _unstorable(data)) is not None:
        error = PydanticCustomError("unstorable", "Input should have neither NUL nor lone surrogates")
        raise ValidationError.from_exception_data("body", [{"type": error, "loc": where, "input": None}])
    return body


def _unstorable(data: Any) -> tuple[str | int, ...] | None:
    """Where the first text is that PostgreSQL cannot keep; None when there is none."""
    match data:
        case str():
            return () if "\0" in data or data.encode(errors="ignore").decode() != data else None
        case dict():
            items = list(cast("dict[str, Any]", data).items())
        case list():
            items = list(enumerate(cast("list[Any]", data)))
        case _:
            return None
    for key, value in items:
        inner = () if _unstorable(key) is not None else _unstorable(value)
        if inner is not None:
            return (key.encode(errors="replace").decode() if isinstance(key, str) else key, *inner)
    return None


class Page(BaseModel, Generic[T]):
    """A list's answer. `next` goes into `?after=`; null at the end."""

    items: list[T]
    next: str | None = None


@dataclass(frozen=True)
class Paging:
    """`?limit=&after=` of a list. `after` is what `page` made of the last row; empty on the first page."""

    limit: int
    after: tuple[str, ...]

    @overload
    def place(self, kind: Callable[[str], A], /) -> A | None: ...
    @overload
    def place(self, kind: Callable[[str], A], other: Callable[[str], B], /) -> tuple[A, B] | None: ...
    def place(self, *kinds: Callable[[str], Any]) -> Any:
        """The last row's sort key, read back by the kinds of its parts; None on the first page."""
        if not self.after:
            return None
        try:
            parts: list[Any] = [kind(part) for kind, part in zip(kinds, self.after, strict=True)]
        except (ValueError, OverflowError) as e:
            raise Malformed("`after` is not a cursor of this list") from e
        return tuple(parts) if len(parts) > 1 else parts[0]


def _paging(
    limit: Annotated[int, Query(ge=1, le=200, description="Items at most")] = 50,
    after: Annotated[str | None, Query(max_length=500, description="`next` of the page before")] = None,
) -> Paging:
    return Paging(limit, read_cursor(after) if after else ())


Pages = Annotated[Paging, Depends(_paging)]


def page(
    rows: Sequence[T], paging: Paging, place: Callable[[T], Sequence[object]]
) -> tuple[Sequence[T], str | None]:
    """Cut `limit + 1` rows to a page and its `next`; `place` tells the sort key of a row."""
    shown = rows[: paging.limit]
    return shown, cursor(*place(shown[-1])) if len(rows) > paging.limit else None


def cursor(*parts: object) -> str:
    """An opaque place in a list."""
    return base64.urlsafe_b64encode(json.dumps([str(p) for p in parts]).encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[str, ...]:
    try:
        parts: Any = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if not isinstance(parts, list) or not all(_storable(p) for p in cast("list[Any]", parts)):
            raise ValueError("not the parts of a key")
    except (ValueError, RecursionError) as e:
        raise Malformed("`after` is not a cursor of this list") from e
    return tuple(cast("list[str]", parts))


def _storable(part: Any) -> bool:
    # Raises ValueError, as a UnicodeEncodeError, for a lone surrogate.
    return isinstance(part, str) and b"\0" not in part.encode()


# Problems (RFC 9457)


class Problem(BaseModel):
    """Why a request was not fulfilled. `type` is stable; further members depend on it."""

    model_config = ConfigDict(extra="allow")
    type: str
    title: str
    status: int
    detail: str


def problem(
    status: int, code: str, title: str, detail: str, extra: Mapping[str, object] | None = None
) -> Response:
    body = {
        **(extra or {}),
        "type": f"urn:lyceum:problem:{code}",
        "title": title,
        "status": status,
        "detail": detail,
    }
    headers = dict(HEADERS)
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if extra and "retry_after" in extra:
        headers["retry-after"] = str(extra["retry_after"])
    return Response(to_json(body), status, headers, PROBLEM)


def problem_of(error: LyceumError) -> Response:
    return problem(error.status, error.code, error.title, error.detail, error.extra)


async def _on_lyceum_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, LyceumError)
    if error.status >= 500:
        log.warning("request failed", error=f"{type(error).__name__}: {error.detail}")
    return problem_of(error)


async def _on_http_exception(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if isinstance(error, _BodyRefused):
        return error.response
    phrase = HTTPStatus(error.status_code).phrase
    if error.status_code == 400:
        return problem_of(Malformed(error.detail))
    answer = problem(error.status_code, phrase.lower().replace(" ", "-"), phrase, error.detail)
    answer.headers.update(error.headers or {})
    return answer


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found: list[dict[str, Any]] = list(error.errors())
    if any(e["type"] == "json_invalid" for e in found):
        return problem_of(Malformed("The body is not valid JSON"))
    if any(e["loc"][0] == "path" for e in found):
        return problem_of(NotFound())  # a malformed id is an unknown id
    # Never `input`: it may be a password, and would be sent back.
    fields = [{"field": ".".join(str(p) for p in e["loc"][1:]), "message": str(e["msg"])} for e in found]
    return problem_of(Invalid(errors=fields))


# Around every request


class _BodyRefused(HTTPException):
    def __init__(self, response: Response) -> None:
        super().__init__(response.status_code)
        self.response = response


class _Edge:
    """Outermost: security headers, body limit and pace, unhandled errors, time."""

    def __init__(
        self,
        app: ASGIApp,
        service: str,
        limits: Callable[[], Sequence["_Limit"]],
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
        except _BodyRefused as refused:  # raised past the app's own handlers, in a mounted ASGI app
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


@dataclass(frozen=True)
class _Limit:
    methods: frozenset[str]
    path: re.Pattern[str]
    size: int


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
            raise _BodyRefused(late) from None
        size += len(message.get("body", b""))
        complete = not message.get("more_body", False)
        if size > limit:
            raise _BodyRefused(_too_large(limit))
        return message

    return paced


# The app


class _Dependant(Protocol):
    call: Any
    dependencies: "list[_Dependant]"


def _calls(dependant: _Dependant) -> Iterable[Any]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)


class _App(FastAPI):
    """FastAPI that refuses a route without allow() or public, whenever it is added."""

    limits: Sequence[_Limit] = ()

    def include_router(self, *args: Any, **kwargs: Any) -> None:
        super().include_router(*args, **kwargs)
        self._check()

    def build_middleware_stack(self) -> ASGIApp:
        # The last moment before the first request: also sees routes added one by one.
        self._check()
        return super().build_middleware_stack()

    def _check(self) -> None:
        limits: list[_Limit] = []
        for route in iter_route_contexts(self.routes):
            path = getattr(route, "path", "")
            dependant = cast("_Dependant | None", getattr(route, "dependant", None))
            if dependant is None:
                raise TypeError(
                    f"{path}: only FastAPI routes can be guarded; mount nothing, and add no bare route"
                )
            calls = list(_calls(dependant))
            if not any(isinstance(c, _Allow) or c is _public for c in calls):
                raise TypeError(f"{path}: the route has neither allow() nor public")
            limits += [
                _Limit(frozenset(route.methods or ()), cast("re.Pattern[str]", route.path_regex), c.size)
                for c in calls
                if isinstance(c, _BodyLimit)
            ]
        self.limits = limits

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = _openapi(self)
        return self.openapi_schema


def _openapi(app: FastAPI) -> dict[str, Any]:
    """FastAPI's, with what is true of every operation: errors are problems, and who may call.

    A route that has more errors than all have names them: `responses={429: {}}`.
    """
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    schemas["Problem"] = Problem.model_json_schema()
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    problems = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    guarded = {
        (route.path, method)
        for route in iter_route_contexts(app.routes)
        if any(isinstance(c, _Allow) for c in _calls(cast("_Dependant", route.dependant)))
        for method in route.methods or ()
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            responses = operation["responses"]
            wanted = {"400", "404", "413", "422", "503"}
            if method != "get":
                wanted |= {"408", "409"}
            if (path, method.upper()) in guarded:
                operation["security"] = [{"bearer": []}]
                wanted |= {"401", "403"}
            for status in sorted(wanted | {s for s in responses if s >= "400"}):
                responses[status] = {"description": HTTPStatus(int(status)).phrase, "content": problems}
    return document


def make_app(
    service: str,
    settings: KitSettings,
    *,
    router: APIRouter,
    verifier: Verifier,
    checks: Mapping[str, Check] | None = None,
) -> FastAPI:
    """Mount `router` under /api/<service> with probes, metrics and documentation. Does no I/O."""
    prefix = f"/api/{service}"
    app = _App(
        title=f"Lyceum {service}",
        version="1",
        openapi_url=None,  # own routes below: FastAPI's would be neither allow() nor public
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={
            "metrics": False,  # Prometheus has them
            "logs": False,  # they would carry bodies of validation errors
            "operation_spans": settings.log_level == "DEBUG",
            "exclude": lambda scope: str(scope["path"]).endswith(("/livez", "/readyz", "/metrics")),
        },
    )
    app.state.verifier = verifier
    app.state.draining = False
    app.state.checks = dict(checks or {})
    app.add_exception_handler(LyceumError, _on_lyceum_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_middleware(_Edge, service=service, limits=lambda: app.limits, draining=lambda: app.state.draining)
    app.include_router(_probes(app), prefix=prefix)
    app.include_router(router, prefix=prefix)
    return app


def drain(app: FastAPI) -> None:
    """Readiness turns red and connections are no longer kept; requests are answered as before."""
    app.state.draining = True


def _probes(app: FastAPI) -> APIRouter:
    router = APIRouter(dependencies=[public], include_in_schema=False)

    @router.get("/livez")
    async def livez() -> dict[str, str]:
        return {"status": "alive"}

    @router.get("/readyz")
    async def readyz() -> Response:
        if app.state.draining:
            return problem(503, "stopping", "Stopping", "This process is about to end", {"retry_after": 1})
        checks: Mapping[str, Check] = app.state.checks
        results = await asyncio.gather(*(_checked(check) for check in checks.values()))
        parts = dict(zip(checks, results, strict=True))
        red = {name: why for name, why in parts.items() if why}
        if not red:
            return Response(
                to_json({"status": "ready", "checks": dict.fromkeys(parts, "ok")}),
                media_type="application/json",
            )
        return problem(
            503, "not-ready", "Not ready", f"Red: {', '.join(red)}", {"red": red, "retry_after": 1}
        )

    @router.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    @router.get("/openapi.json")
    async def openapi() -> dict[str, Any]:
        return app.openapi()

    _ = livez, readyz, metrics, openapi
    return router


async def _checked(check: Check) -> str:
    """Empty when green. A detail only from our own errors: a driver's message may name hosts and users."""
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except TimeoutError:
        return f"no answer in {CHECK_SECONDS:.0f} s"
    except Exception as e:  # noqa: BLE001 - reported, which is what a check is for
        error = db.understood(e)
        return error.detail if isinstance(error, LyceumError) else type(error).__name__
    return ""
