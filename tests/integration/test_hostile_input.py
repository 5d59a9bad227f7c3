"""Whatever is sent to a route or an RPC, it answers plainly: never a 5xx, never a status its document keeps quiet about."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from copy import deepcopy
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

import grpc
import grpc.aio
import httpx
import pytest
from google.protobuf.descriptor import FieldDescriptor

from lyceum_local.surface import Operation, operations, rpcs
from lyceum_local.testing import Platform

MIB = 1024 * 1024
SOME_ID = "01990000-0000-7000-8000-00000000dead"
TEXTS = ["", "a\0b", "\x1b[2J\u202e", "x" * 5000, "%_\\' OR 1=1 --", "-1e400"]
CURSORS = [
    "é", "W10", "WyJ4Il0", "WyIwMDAxLTAxLTAxVDAwOjAwOjAwKzE0OjAwIiwgIngiXQ",
    *(base64.urlsafe_b64encode(raw).decode() for raw in (b'["\\u0000"]', b'["\\ud800"]', b"[" * 300)),
]  # fmt: skip
PATHS = ["a%00b", "%ED%A0%80", "%FF", "%2e%2e%2f", "-1", "99999999999999999999999", "%1b", "x" * 2000]
BODIES = [
    b"", b"null", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 2000 + b"1" + b"}" * 2000, b'{"a":NaN}', b"1e999",
    b'"\\ud800"', b"1" * 5000,
]  # fmt: skip
VALUES: list[Any] = [
    None, True, -1, 10**30, 1e308, "", "\0", "\x1b\u202e", "x" * 10_000, [], {"\0": 1}, "9999-12-31",
]  # fmt: skip
# Of an operator, or an undertaking: tried by tests of their own.
NOT_TRIED = {"POST /api/analytics/system/rebuild", "POST /api/identity/keys/rotate"}


@pytest.fixture
async def api(platform: Platform) -> AsyncIterator[httpx.AsyncClient]:
    async with platform.api(platform.tenant()) as client:
        yield client


@pytest.fixture
async def tried(platform: Platform) -> list[Operation]:
    return [o for o in await operations(platform) if o.name not in NOT_TRIED]


class Attempts:
    """Sends a few at a time, and collects what was not answered as it should be."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._few = asyncio.Semaphore(8)
        self._running: list[asyncio.Task[None]] = []
        self.sent = 0
        self.wrong: list[str] = []

    def send(self, operation: Operation, url: str, *, expected: Sequence[int] = (), **options: Any) -> None:
        self._running.append(asyncio.create_task(self._send(operation, url, expected, options)))

    async def _send(
        self, operation: Operation, url: str, expected: Sequence[int], options: dict[str, Any]
    ) -> None:
        async with self._few:
            answer = await self._http.request(operation.method, url, **options)
        self.sent += 1
        status = answer.status_code
        plain = status < 400 or answer.headers["content-type"] == "application/problem+json"
        if status in operation.statuses and status < 500 and plain and (not expected or status in expected):
            return
        self.wrong.append(f"{status} {operation.name} {url[-200:]} {str(options)[:200]} {answer.text[:200]}")

    async def all(self) -> None:
        await asyncio.gather(*self._running)
        assert self.wrong == [], "\n".join(self.wrong)


async def test_any_address_is_answered(api: httpx.AsyncClient, tried: list[Operation]) -> None:
    attempts = Attempts(api)
    for operation in tried:
        for path in PATHS if "{" in operation.path else ():
            attempts.send(operation, operation.url(path), json=operation.example(SOME_ID))
        for parameter in operation.parameters("query"):
            for text in CURSORS if parameter["name"] == "after" else TEXTS:
                url = f"{operation.url(SOME_ID)}?{parameter['name']}={quote(text)}"
                attempts.send(operation, url, json=operation.example(SOME_ID))
    await attempts.all()
    assert attempts.sent > 500


async def test_any_body_is_answered(api: httpx.AsyncClient, tried: list[Operation]) -> None:
    attempts = Attempts(api)
    json_type = {"content-type": "application/json"}
    for operation in tried:
        if operation.method == "GET":
            continue
        for body in BODIES:
            attempts.send(operation, operation.url(SOME_ID), content=body, headers=json_type)
        for kind in ("text/plain", "application/json; charset=utf-16", "multipart/form-data"):
            attempts.send(operation, operation.url(SOME_ID), content=b"{}", headers={"content-type": kind})
    await attempts.all()
    assert attempts.sent > 300


async def test_a_body_over_one_mebibyte_is_too_large(api: httpx.AsyncClient, tried: list[Operation]) -> None:
    attempts = Attempts(api)
    for operation in tried:
        if operation.body and "snapshot" not in operation.path:
            body = b'"' + b"x" * MIB + b'"'
            headers = {"content-type": "application/json"}
            attempts.send(operation, operation.url(SOME_ID), content=body, headers=headers, expected=[413])
    await attempts.all()
    assert attempts.sent > 15


def changed(value: Any) -> Iterator[tuple[bool, Any]]:
    """The body with one part of it replaced by each of VALUES; and, True, with one member that nobody knows."""

    def places(part: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        members: dict[Any, Any] = {}
        if isinstance(part, dict):
            members = cast("dict[Any, Any]", part)
        elif isinstance(part, list):
            members = dict(enumerate(cast("list[Any]", part)))
        for key, inner in members.items():
            yield (*path, key)
            yield from places(inner, (*path, key))

    for *above, last in places(value):
        for hostile in VALUES:
            made = deepcopy(value)
            part: Any = made
            for key in above:
                part = part[key]
            part[last] = hostile
            yield False, made
    for owner in ("tenant", "tenant_id", "role", "roles_granted", "score"):
        yield True, {**value, owner: "admin"}


async def test_any_value_of_any_field_is_answered_and_an_unknown_field_refused(
    api: httpx.AsyncClient, tried: list[Operation]
) -> None:
    attempts = Attempts(api)
    for operation in tried:
        example: Any = operation.example(str(uuid4()))
        if not isinstance(example, dict) or operation.body == {"type": "object"}:
            continue  # raw bytes, which hris reads
        url = operation.url("1" if "{n}" in operation.path else SOME_ID)
        for unknown, body in changed(example):
            content = json.dumps(body).encode()
            headers = {"content-type": "application/json"}
            # Fields that nobody knows are an error, whatever they want to be: nothing is assigned by the mass.
            expected = (422, 403) if unknown else ()
            attempts.send(operation, url, content=content, headers=headers, expected=expected)
    await attempts.all()
    assert attempts.sent > 600


async def test_any_request_to_an_rpc_is_answered(platform: Platform, api: httpx.AsyncClient) -> None:
    """Also to the feeds, which a service alone may read."""
    secret = platform.config.secrets.clients["enrollment"]
    form = {"grant_type": "client_credentials", "client_id": "enrollment", "client_secret": secret}
    service = (await api.post("/api/identity/token", data=form)).json()["access_token"]
    wrong: list[str] = []
    for rpc in await rpcs(platform.config):
        kind = "/lyceum.feed." in rpc.name
        token = service if kind else api.headers["authorization"].removeprefix("Bearer ")
        requests: list[Any] = [b"\xff" * 30, b"\x0a\x02\xff\xfe", rpc.request(), rpc.request("x" * 100_000)]
        for field in rpc.method.input_type.fields:
            for value in _hostile(field):
                request = rpc.request(SOME_ID)
                if field.is_repeated:
                    request.ClearField(field.name)
                    getattr(request, field.name).extend([value] * 1001)
                else:
                    setattr(request, field.name, value)
                requests.append(request)
        async with grpc.aio.insecure_channel(rpc.address) as channel:
            for request in requests:
                code, detail, _ = await rpc.call(channel, request, token)
                if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE):
                    wrong.append(f"{rpc.name} {str(request)[:100]!r}: {code} {detail}")
    assert wrong == []


def _hostile(field: FieldDescriptor) -> list[Any]:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return ["\0", "\x1b[2J", "' OR 1=1 --", "%", "-1"]
        case FieldDescriptor.TYPE_INT32:
            return [-1, -(2**31), 2**31 - 1]
        case FieldDescriptor.TYPE_INT64:
            return [-1, -(2**63), 2**63 - 1]
        case FieldDescriptor.TYPE_ENUM:
            return [-1, 99]
        case _:
            return []
