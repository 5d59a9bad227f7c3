"""The client against servers that fail on purpose: what is asked again, how long, and what is not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, cast

import grpc
import grpc.aio
import httpx
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from lyceum.enrollment.v1 import events_pb2 as events
from lyceum.feed.v1 import feed_service_pb2 as feed_pb
from lyceum.feed.v1 import feed_service_pb2_grpc as feed_grpc
from lyceum.identity.v1 import identity_service_pb2 as pb
from lyceum.identity.v1 import identity_service_pb2_grpc as pb_grpc
from lyceum_client import Credential, Lyceum, OtherHistory, Position, TokenRefused
from lyceum_client.backoff import FIRST, LONGEST, TRIES, delays
from lyceum_client.tokens import Tokens

WRONG = grpc.StatusCode


@dataclass
class Server:
    """Identity, its tokens and a feed. `trouble` is what the next calls meet, one after the other."""

    trouble: list[grpc.StatusCode] = field(default_factory=list[grpc.StatusCode])
    seen: list[str] = field(default_factory=list[str])  # the token of each call
    given: int = 0  # tokens
    answers: list[httpx.Response] = field(default_factory=list[httpx.Response])  # instead of tokens
    records: list[feed_pb.FeedRecord] = field(default_factory=list[feed_pb.FeedRecord])
    breaks_after: int = -1  # messages of a stream
    wait: float = 0.0  # what the server names in RetryInfo

    def token(self, request: httpx.Request) -> httpx.Response:
        assert b"grant_type=client_credentials" in request.content
        if self.answers:
            return self.answers.pop(0)
        self.given += 1
        return httpx.Response(200, json={"access_token": f"t{self.given}", "expires_in": 60})

    async def enter(self, context: Any) -> None:
        self.seen.append(dict(context.invocation_metadata())["authorization"].removeprefix("Bearer "))
        if not self.trouble:
            return
        code = self.trouble.pop(0)
        detail = AnyMessage()
        detail.Pack(RetryInfo(retry_delay=Duration(nanos=int(self.wait * 1e9))))
        status = Status(code=code.value[0], details=[detail])
        await context.abort(code, "as planned", (("grpc-status-details-bin", status.SerializeToString()),))

    async def broken(self, sent: int, context: Any) -> None:
        if sent == self.breaks_after:
            self.breaks_after = -1
            await context.abort(WRONG.UNAVAILABLE, "broken in the middle")


class Identity(pb_grpc.IdentityServiceServicer):
    def __init__(self, server: Server) -> None:
        self._server = server

    async def GetPerson(self, request: pb.GetPersonRequest, context: Any) -> pb.Person:
        await self._server.enter(context)
        return pb.Person(person_id=request.person_id)

    async def ListPeople(
        self, request: pb.ListPeopleRequest, context: Any
    ) -> AsyncIterator[pb.ListPeopleResponse]:
        await self._server.enter(context)
        for n in range(3):
            await self._server.broken(n, context)
            yield pb.ListPeopleResponse(people=[pb.Person(person_id=f"{n}{m}") for m in "ab"])


class Feed(feed_grpc.EventFeedServicer):
    def __init__(self, server: Server) -> None:
        self._server = server

    async def Read(self, request: feed_pb.ReadRequest, context: Any) -> AsyncIterator[feed_pb.ReadResponse]:
        await self._server.enter(context)
        rest = self._server.records[request.from_position - 1 :][: request.limit]
        for n, record in enumerate(rest):
            await self._server.broken(n, context)
            yield feed_pb.ReadResponse(records=[record])


@dataclass(frozen=True)
class Stage:
    server: Server
    lyceum: Lyceum
    pauses: list[float]


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    server, pauses = Server(), list[float]()
    running = grpc.aio.server()
    pb_grpc.add_IdentityServiceServicer_to_server(cast("Any", Identity)(server), running)
    feed_grpc.add_EventFeedServicer_to_server(cast("Any", Feed)(server), running)
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with Lyceum(
        "http://lyceum.test",
        Credential("me", "secret"),
        at=f"127.0.0.1:{port}",
        transport=httpx.MockTransport(server.token),
        pause=pause,
    ) as lyceum:
        yield Stage(server, lyceum, pauses)
    await running.stop(None)


def get(stage: Stage, **options: float) -> Awaitable[pb.Person]:
    return stage.lyceum.call(stage.lyceum.identity.GetPerson, pb.GetPersonRequest(person_id="p"), **options)


async def test_a_service_that_comes_or_goes_is_asked_again(stage: Stage) -> None:
    stage.server.trouble = [WRONG.UNAVAILABLE, WRONG.CANCELLED, WRONG.RESOURCE_EXHAUSTED]
    assert (await get(stage)).person_id == "p"
    assert (len(stage.server.seen), len(stage.pauses)) == (4, 3)


@pytest.mark.parametrize(
    "code", [WRONG.NOT_FOUND, WRONG.INVALID_ARGUMENT, WRONG.PERMISSION_DENIED, WRONG.INTERNAL, WRONG.UNKNOWN]
)
async def test_what_will_not_change_is_asked_once(code: grpc.StatusCode, stage: Stage) -> None:
    stage.server.trouble = [code]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await get(stage)
    assert (refused.value.code(), len(stage.server.seen), stage.pauses) == (code, 1, [])


async def test_the_tries_end(stage: Stage) -> None:
    stage.server.trouble = [WRONG.UNAVAILABLE] * 20
    with pytest.raises(grpc.aio.AioRpcError, match="as planned"):
        await get(stage)
    assert len(stage.server.seen) == TRIES


async def test_no_try_begins_after_the_deadline(stage: Stage) -> None:
    stage.server.trouble, stage.server.wait = [WRONG.UNAVAILABLE] * 20, 0.5
    with pytest.raises(grpc.aio.AioRpcError):
        await get(stage, seconds=0.4)  # the server asks for more patience than there is
    assert len(stage.server.seen) == 1
    stage.server.trouble = [WRONG.UNAVAILABLE]
    assert (await get(stage, seconds=5)).person_id == "p"
    assert stage.pauses == [0.5]


def test_pauses_grow_and_are_spread() -> None:
    shortest, longest = list(delays(lambda: 0.0)), list(delays(lambda: 1.0))
    assert longest == sorted(longest)
    assert (longest[0], max(longest)) == (FIRST, min(FIRST * 2 ** (TRIES - 2), LONGEST))
    assert shortest == [wait / 2 for wait in longest]


async def test_a_token_is_kept_and_renewed_before_it_ends() -> None:
    server, now = Server(), [0.0]
    async with httpx.AsyncClient(
        base_url="http://lyceum.test", transport=httpx.MockTransport(server.token)
    ) as http:
        tokens = Tokens(http, Credential("me", "secret"), clock=lambda: now[0])
        assert await asyncio.gather(*(tokens.current() for _ in range(5))) == ["t1"] * 5
        now[0] = 47
        assert await tokens.current() == "t1"
        now[0] = 49  # it ends at 60
        assert await tokens.current() == "t2"


async def test_a_token_that_is_not_taken_is_replaced_once(stage: Stage) -> None:
    stage.server.trouble = [WRONG.UNAUTHENTICATED]
    await get(stage)
    assert stage.server.seen == ["t1", "t2"]
    stage.server.trouble = [WRONG.UNAUTHENTICATED] * 2
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await get(stage)
    assert (refused.value.code(), len(stage.server.seen)) == (WRONG.UNAUTHENTICATED, 4)


async def test_identity_is_asked_again_unless_it_refused(stage: Stage) -> None:
    stage.server.answers = [httpx.Response(503), httpx.Response(429)]
    await get(stage)
    assert len(stage.pauses) == 2
    stage.lyceum._tokens.forget("t1")  # pyright: ignore[reportPrivateUsage]
    stage.server.answers = [httpx.Response(401, json={"error": "invalid_client"})]
    with pytest.raises(TokenRefused, match="invalid_client"):
        await get(stage)
    assert len(stage.pauses) == 2


async def test_a_list_comes_whole_or_says_that_it_does_not(stage: Stage) -> None:
    everybody = ["0a", "0b", "1a", "1b", "2a", "2b"]
    stage.server.breaks_after = 0  # nothing has arrived: begun again
    assert [p.person_id async for p in stage.lyceum.people()] == everybody
    stage.server.breaks_after = 1
    people = stage.lyceum.people()
    arrived = [(await anext(people)).person_id for _ in range(2)]
    assert arrived == everybody[:2]
    with pytest.raises(grpc.aio.AioRpcError, match="broken in the middle"):
        await anext(people)


def recorded(count: int, *, history: str = "a", first: int = 1, kind: str = "LearnerEnrolled") -> list[Any]:
    def headers(n: int) -> dict[str, bytes]:
        said = {
            "ce_id": f"{history}{n}",
            "ce_type": f"lyceum.enrollment.v1.{kind}",
            "ce_tenant": "t",
            "ce_subject": "enrollment/e",
            "ce_streamversion": str(n),
            "ce_time": datetime(2026, 11, 2, tzinfo=UTC).isoformat(),
            "ce_feedposition": str(n),
            "ce_feedprevious": f"{history}{n - 1}" if n > 1 else "",
        }
        return {name: value.encode() for name, value in said.items()}

    body = events.LearnerEnrolled(enrollment_id="e").SerializeToString()
    return [feed_pb.FeedRecord(headers=headers(n), value=body) for n in range(first, first + count)]


Read = Callable[..., Awaitable[list[int]]]


@pytest.fixture
def read(stage: Stage) -> Read:
    async def read(position: Position = Position()) -> list[int]:  # noqa: B008 - a value
        return [e.number async for e in stage.lyceum.events("enrollment", 0, position)]

    return read


async def test_a_feed_is_read_to_its_end_however_often_it_breaks(stage: Stage, read: Read) -> None:
    stage.server.records = recorded(1500)
    stage.server.breaks_after = 700
    assert await read() == list(range(1, 1501))
    assert await read(Position(1500, "a1499")) == [1500]
    assert await read(Position(1501, "a1500")) == []


async def test_an_event_is_decoded_unless_its_type_is_newer(stage: Stage) -> None:
    stage.server.records = recorded(1) + recorded(1, first=2, kind="LearnerTeleported")
    known, newer = [e async for e in stage.lyceum.events("enrollment", 0)]
    assert isinstance(known.message, events.LearnerEnrolled)
    assert known.message.enrollment_id == "e"
    assert (newer.message, newer.type) == (None, "lyceum.enrollment.v1.LearnerTeleported")
    assert newer.after == Position(3, "a2")


async def test_another_history_is_noticed(stage: Stage, read: Read) -> None:
    stage.server.records = recorded(3, history="b")
    with pytest.raises(OtherHistory, match="event 2 is b2 and was a2"):
        await read(Position(3, "a2"))
    stage.server.records = [*recorded(1), *recorded(1, first=3)]
    with pytest.raises(OtherHistory, match="asked for 2 and got 3"):
        await read()
