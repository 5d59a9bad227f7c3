"""The operator's SQL: a read-only ClickHouse HTTP endpoint over our engine, for drivers and BI tools.

It speaks as much of ClickHouse's HTTP interface as they need: GET and POST, Basic or X-ClickHouse headers,
`param_*`, ClickHouse's own errors with their codes. It sees every tenant, so it listens on
loopback, wants a password and is never reachable through the gateway. An answer is held back until it is whole:
errors come as errors, never in the middle of data.
"""

import asyncio
import base64
import binascii
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from uuid import uuid4

import uvicorn
from clickhouse_connect.driver.exceptions import ClickHouseError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from analytics.engine import DATABASE, Engine, Session
from analytics.errors import Busy
from analytics.settings import Settings
from analytics.sql_gate import NotAllowed, judge
from lyceum_kit.errors import Unavailable
from lyceum_kit.serving import Server

QUERY_BYTES = 256 * 1024
# Formats whose answer is the sum of its blocks' and so comes piece by piece.
STREAMED = frozenset(["Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"])
PIECE = 1024 * 1024
# What clients say about themselves or the transport. Anything else in the address would be a setting.
TRANSPORT = frozenset(
    [
        "query",
        "database",
        "default_format",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "client_protocol_version",
        "wait_end_of_query",
        "enable_http_compression",
        "buffer_size",
        "send_progress_in_http_headers",
        "user",
        "password",
        "http_headers_progress_interval_ms",
        "quota_key",
        "add_http_cors_header",
    ]
)
# ClickHouse's own codes.
SYNTAX, READONLY, BUSY, AUTH, DENIED, BYTES, UNKNOWN_SETTING = 62, 164, 202, 516, 497, 396, 115
NO_ENGINE, TOO_LARGE, UNKNOWN = 210, 307, 1000
STATUS = {
    SYNTAX: 400,
    READONLY: 403,
    DENIED: 403,
    UNKNOWN_SETTING: 404,
    BUSY: 429,
    AUTH: 401,
    NO_ENGINE: 503,
    60: 404,  # unknown table
    81: 404,  # unknown database
    47: 404,  # unknown identifier
    46: 404,  # unknown function
    43: 400,
    53: 400,
    159: 408,  # time
    241: 413,  # memory
    BYTES: 413,
    158: 413,
    TOO_LARGE: 413,
}
_CODE = re.compile(r"Code: (\d+)\. DB::Exception: ")
_OURS = re.compile(r": In scope SELECT formatQuerySingleLine\(.*", re.DOTALL)
_PLACEHOLDER = re.compile(r"\{(\w+)\s*:")


class Failure(Exception):
    """An answer as ClickHouse gives it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def response(self) -> Response:
        headers = {"x-clickhouse-exception-code": str(self.code)}
        if self.code == AUTH:
            headers["www-authenticate"] = 'Basic realm="ClickHouse server HTTP API"'
        if self.code == BUSY:
            headers["retry-after"] = "1"
        text = (
            self.message
            if self.message.startswith("Code: ")
            else f"Code: {self.code}. DB::Exception: {self.message}"
        )
        return PlainTextResponse(text + "\n", STATUS.get(self.code, 500), headers)


@dataclass(frozen=True)
class Answer:
    body: bytes
    format: str


class _AsSent:
    """A parameter's value already in ClickHouse's escaped text form: the driver must not escape it again."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __str__(self) -> str:
        return self._text


def app(engine: Engine, *, user: str, password: str, most_bytes: int) -> Starlette:
    """The endpoint. Every path but /ping wants the password."""

    async def ping(_request: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def query(request: Request) -> Response:
        try:
            authenticate(request, user, password)
            sql, parameters = await asked(request)
            if not sql:
                return PlainTextResponse("Ok.\n")
            default_format = request.query_params.get("default_format", "TabSeparated")
            answer = await engine.use(
                "sql", lambda session: run(session, sql, parameters, default_format, most_bytes)
            )
            return packed(request, answer)
        except Failure as failure:
            return failure.response()
        except NotAllowed as refused:
            return Failure(READONLY, f"{refused} (READONLY)").response()
        except Busy as busy:
            return Failure(BUSY, f"{busy.detail} (TOO_MANY_SIMULTANEOUS_QUERIES)").response()
        except Unavailable as down:
            return Failure(NO_ENGINE, f"{down.detail} (NETWORK_ERROR)").response()
        except ClickHouseError as e:
            return told(e).response()

    return Starlette(
        routes=[Route("/ping", ping), Route("/{path:path}", query, methods=["GET", "POST"])],
    )


def run(
    session: Session, sql: str, parameters: Mapping[str, str], default_format: str, most_bytes: int
) -> Answer:
    """In the handle's thread: normalise, judge, run. Any error closes the handle.

    The engine counts neither constant columns nor its buffer of the result, so bytes are counted here. What a
    format needs whole is measured first, in one at least as wordy that comes piece by piece.
    """
    formatted = session.query("SELECT formatQuerySingleLine({sql:String})", parameters={"sql": sql})
    statement = str(formatted.result_rows[0][0])
    placeholders = set(_PLACEHOLDER.findall(statement))
    bound = {name: _AsSent(value) for name, value in parameters.items() if name in placeholders}
    tree = session.raw_query(f"EXPLAIN AST {statement}", parameters=bound or None).decode()
    allowed = judge(statement, tree, default_format)

    if not allowed.select:
        body = session.raw_query(f"{allowed.query} FORMAT {allowed.format}", parameters=bound or None)
        return Answer(body, allowed.format)

    def pieces(format: str) -> Iterator[bytes]:
        size = 0
        query = f"{allowed.query} FORMAT {format}"
        with closing(session.raw_stream(query, parameters=bound or None)) as stream:
            while piece := stream.read(PIECE):
                size += len(piece)
                if size > most_bytes:
                    raise Failure(BYTES, f"The answer has more than {most_bytes} bytes; ask for less")
                yield piece

    if allowed.format not in STREAMED:
        for _ in pieces("JSONEachRow"):
            pass
    return Answer(b"".join(pieces(allowed.format)), allowed.format)


def authenticate(request: Request, user: str, password: str) -> None:
    """Basic, X-ClickHouse-User and -Key, or a Bearer token that is the password. Without one it stays closed."""
    given_user, given = credentials(request, user)
    right = hmac.compare_digest(given.encode(), password.encode())
    right &= hmac.compare_digest(given_user.encode(), user.encode())
    if not password or not right:
        raise Failure(
            AUTH, "Authentication failed: password is incorrect, or there is no user with such name."
        )


def credentials(request: Request, user: str) -> tuple[str, str]:
    """(user, password); a token is of `user`. Never from the address: it would stand in logs."""
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            name, _, secret = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return "", ""
        return name, secret
    if scheme.lower() == "bearer":
        return user, value
    return request.headers.get("x-clickhouse-user", ""), request.headers.get("x-clickhouse-key", "")


async def asked(request: Request) -> tuple[str, dict[str, str]]:
    """The statement and its parameters."""
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise Failure(
            SYNTAX, "Forms are not taken here: send the query as the body, parameters in the address"
        )
    params = request.query_params
    for name in params:
        if name not in TRANSPORT and not name.startswith("param_"):
            raise Failure(READONLY, f"Cannot modify '{name}' setting in readonly mode. (READONLY)")
    if params.get("database", DATABASE) not in ("", "default", DATABASE):
        raise Failure(81, f"Database {params['database']} does not exist. (UNKNOWN_DATABASE)")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > QUERY_BYTES:
            raise Failure(TOO_LARGE, f"A query has at most {QUERY_BYTES} bytes. (TOO_MANY_BYTES)")
    try:
        text = bytes(body).decode()
    except UnicodeDecodeError:
        raise Failure(SYNTAX, "The query is not UTF-8. (SYNTAX_ERROR)") from None
    sql = f"{params.get('query', '')}\n{text}".strip().rstrip(";").strip()
    if "\x00" in sql:
        raise Failure(SYNTAX, "The query has a NUL. (SYNTAX_ERROR)")
    return sql, {name[6:]: value for name, value in params.items() if name.startswith("param_")}


def told(error: ClickHouseError) -> Failure:
    """The engine's own words and code, without ours around them."""
    words = _OURS.sub("", str(error))
    codes = list(_CODE.finditer(words))
    if not codes:
        return Failure(getattr(error, "code", None) or UNKNOWN, words)
    return Failure(int(codes[-1][1]), words[codes[-1].start() :])


def packed(request: Request, answer: Answer) -> Response:
    headers = {
        "x-clickhouse-format": answer.format,
        "x-clickhouse-query-id": request.query_params.get("query_id") or str(uuid4()),
        "x-clickhouse-timezone": "UTC",
        "x-clickhouse-server-display-name": "lyceum",
        "x-clickhouse-summary": json.dumps({"result_bytes": str(len(answer.body))}),
    }
    return Response(
        answer.body, media_type=_MEDIA.get(answer.format, "text/plain; charset=utf-8"), headers=headers
    )


_MEDIA: Mapping[str, str] = {
    "Native": "application/octet-stream",
    "JSON": "application/json; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
}


def limits(settings: Settings) -> dict[str, int | str]:
    """Of each query of the endpoint."""
    return {
        "max_execution_time": settings.analytics_sql_seconds,
        "max_memory_usage": settings.analytics_sql_memory,
        "max_result_rows": settings.analytics_sql_rows,
        "max_result_bytes": settings.analytics_sql_bytes,
    }


async def serve(engine: Engine, settings: Settings) -> None:
    """Until cancelled; at once when there is no port or no password."""
    password = settings.analytics_sql_password.get_secret_value()
    if not settings.analytics_sql_port or not password:
        return
    endpoint = app(
        engine,
        user=settings.analytics_sql_user,
        password=password,
        most_bytes=settings.analytics_sql_bytes,
    )
    config = uvicorn.Config(
        endpoint,
        host=settings.analytics_sql_host,
        port=settings.analytics_sql_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.analytics_sql_seconds,
        lifespan="off",
    )
    server = Server(config)
    serving = asyncio.create_task(server.serve())
    try:
        await asyncio.shield(serving)
    finally:
        server.should_exit = True
        await serving
