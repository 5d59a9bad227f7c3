"""The gRPC edge over a real socket: denial by default, errors, deadlines, limits, health, traces."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast
from uuid import UUID

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from lyceum.feed.v1 import feed_service_pb2 as pb
from lyceum.feed.v1 import feed_service_pb2_grpc as pb_grpc
from lyceum_kit import rpc, telemetry
from lyceum_kit.errors import Conflict, Invalid, NotFound, Refused, TooMany, Unavailable
from lyceum_kit.peers import Metadata, Peers
from lyceum_kit.rpc import RpcServer, RpcService, caller, make_server
from lyceum_kit.settings import KitSettings
from lyceum_kit.testing import FixedToken, TestKeys, spans

TENANT = UUID("01990000-0000-7000-8000-000000000001")
KEYS = TestKeys()
SERVICE = KEYS.token(roles=["service"], kind="service")
NAME = "lyceum.feed.v1.EventFeed"


class OutOfSeats(Refused):
    code = "out-of-seats"


ERRORS: dict[str, Exception] = {
    "not-found": NotFound("No such feed"),
    "refused": OutOfSeats("Full", seats=3),
    "conflict": Conflict(),
    "invalid": Invalid("Wrong", errors=[{"field": "feed", "message": "unknown"}]),
    "too-many": TooMany(),
    "unavailable": Unavailable("Away", retry_after=1.5),
    "bug": RuntimeError("password=hunter2"),
    "time-out": TimeoutError("of something inside"),
}


class Feed(pb_grpc.EventFeedServicer):
    """Answers by the name of the feed it is asked for."""

    async def Heads(self, request: pb.HeadsRequest, context: Any) -> pb.HeadsResponse:
        if request.feed in ERRORS:
            raise ERRORS[request.feed]
        if request.feed == "slow":
            await asyncio.Event().wait()
        if request.feed == "who":
            await context.send_initial_metadata((("subject", caller().subject),))
        return pb.HeadsResponse(partitions=[pb.PartitionHead(head=7)])

    async def Read(self, request: pb.ReadRequest, context: Any) -> AsyncIterator[pb.ReadResponse]:
        for number in range(request.limit):
            yield pb.ReadResponse(records=[pb.FeedRecord(key=str(number).encode())])
        if request.feed in ERRORS:
            raise ERRORS[request.feed]
        if request.feed == "slow":
            await asyncio.Event().wait()
        if request.feed == "huge":
            yield pb.ReadResponse(records=[pb.FeedRecord(value=b"x" * (5 * 1024 * 1024))])


class WritingFeed(Feed):
    """Streams the other way grpc knows: a coroutine that writes."""

    async def Read(self, request: pb.ReadRequest, context: Any) -> None:  # type: ignore[override]
        await context.write(pb.ReadResponse(records=[pb.FeedRecord(key=caller().subject.encode())]))
        if request.feed in ERRORS:
            raise ERRORS[request.feed]


def service(
    servicer: Feed | None = None,
    *,
    heads: frozenset[str] | None = frozenset({"service"}),
    read: frozenset[str] | None = frozenset(),
) -> RpcService:
    answering = servicer or Feed()
    return RpcService(
        NAME,
        lambda server: pb_grpc.add_EventFeedServicer_to_server(answering, server),
        {"Heads": heads, "Read": read},
    )


class Running:
    """A server on a free port of loopback, and a channel to it."""

    def __init__(self, services: Sequence[RpcService], *, reflection: bool = False) -> None:
        self.settings = KitSettings(grpc_host="127.0.0.1", grpc_port=0, grpc_reflection=reflection)
        self.server: RpcServer = make_server(self.settings, services, KEYS.verifier)
        self.channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{self.server.port}", options=[("grpc.max_send_message_length", -1)]
        )
        self.feed: Any = pb_grpc.EventFeedStub(self.channel)

    async def __aenter__(self) -> "Running":
        await self.server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close(None)
        await self.server.stop(None)

    async def heads(self, feed: str, token: str = SERVICE, **options: Any) -> pb.HeadsResponse:
        return await self.feed.Heads(pb.HeadsRequest(feed=feed), metadata=bearer(token), **options)

    async def read(self, feed: str, limit: int = 0, token: str = SERVICE) -> list[bytes]:
        stream = self.feed.Read(pb.ReadRequest(feed=feed, limit=limit), metadata=bearer(token))
        return [answer.records[0].key async for answer in stream]


def bearer(token: str) -> Metadata:
    return (("authorization", f"Bearer {token}"),)


def details(error: grpc.aio.AioRpcError, *kinds: Any) -> list[Any]:
    """google.rpc details of these kinds."""
    trailers: Any = error.trailing_metadata()
    raw: bytes = dict(trailers)["grpc-status-details-bin"]
    status = status_pb2.Status.FromString(raw)
    assert status.code == error.code().value[0]
    found: list[Message] = []
    for kind in kinds:
        for detail in status.details:
            if detail.Is(kind.DESCRIPTOR):
                found.append(kind.FromString(detail.value))
    return found


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with Running([service()]) as made:
        yield made


# Denial by default


@pytest.mark.parametrize(
    "metadata",
    [(), (("authorization", "Bearer"),), (("authorization", "Basic YTpi"),), bearer("a.b.c"), bearer("")],
    ids=str,
)
async def test_without_a_valid_token_nothing_is_answered(running: Running, metadata: Metadata) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.feed.Heads(pb.HeadsRequest(feed="identity"), metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async for _ in running.feed.Read(pb.ReadRequest(feed="identity"), metadata=metadata):
            pass
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_role_is_needed_where_one_is_named(running: Running) -> None:
    learner = KEYS.token(tenant=TENANT, roles=["learner"])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await running.heads("identity", learner)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert details(refused.value, error_details_pb2.ErrorInfo)[0].reason == "forbidden"
    assert await running.read("identity", 2, learner) == [b"0", b"1"]
    assert (await running.heads("identity")).partitions[0].head == 7


async def test_the_handler_knows_its_caller(running: Running) -> None:
    call = running.feed.Heads(
        pb.HeadsRequest(feed="who"), metadata=bearer(KEYS.token(subject="s", roles=["service"]))
    )
    await call
    assert dict(await call.initial_metadata())["subject"] == "s"


async def test_callers_of_one_channel_are_not_mixed_up() -> None:
    async with Running([service(WritingFeed())]) as running:
        tokens = {f"person-{n}": KEYS.token(subject=f"person-{n}") for n in range(30)}
        answers = await asyncio.gather(*(running.read("x", token=token) for token in tokens.values()))
    assert answers == [[name.encode()] for name in tokens]


async def test_a_public_method_needs_no_token_but_refuses_a_bad_one() -> None:
    async with Running([service(heads=None)]) as running:
        assert (await running.feed.Heads(pb.HeadsRequest(feed="identity"))).partitions
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.heads("identity", "a.b.c")
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.feed.Heads(pb.HeadsRequest(feed="who"))
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("access", [{}, {"Heads": None}, {"Heads": None, "Read": None, "Write": None}])
def test_access_must_name_every_method_and_no_other(access: dict[str, frozenset[str] | None]) -> None:
    with pytest.raises(ValueError, match=r"access must name exactly \['Heads', 'Read'\]"):
        RpcService(NAME, lambda _: None, access)


async def test_a_method_nobody_gave_access_to_is_closed() -> None:
    """A servicer that registers more than its RpcService names."""
    other = "lyceum.identity.v1.IdentityService"
    __import__("lyceum.identity.v1.identity_service_pb2")
    methods = {"GetPerson": None, "GetPeople": None, "ListPeople": None}
    sneaking = RpcService(other, service().add, methods)
    async with Running([sneaking]) as running:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await running.heads("identity")
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED


# Errors


@pytest.mark.parametrize(
    ("feed", "code", "reason"),
    [
        ("not-found", grpc.StatusCode.NOT_FOUND, "not-found"),
        ("refused", grpc.StatusCode.FAILED_PRECONDITION, "out-of-seats"),
        ("conflict", grpc.StatusCode.ABORTED, "conflict"),
        ("invalid", grpc.StatusCode.INVALID_ARGUMENT, "invalid"),
        ("too-many", grpc.StatusCode.RESOURCE_EXHAUSTED, "too-many"),
        ("unavailable", grpc.StatusCode.UNAVAILABLE, "unavailable"),
        ("time-out", grpc.StatusCode.UNAVAILABLE, "unavailable"),
    ],
)
async def test_an_error_says_what_it_is_to_machines(
    running: Running, feed: str, code: grpc.StatusCode, reason: str
) -> None:
    for call in (running.heads(feed), running.read(feed, 2)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() == code
        [info] = details(raised.value, error_details_pb2.ErrorInfo)
        assert (info.reason, info.domain) == (reason, "lyceum")


async def test_details_carry_numbers_fields_and_pauses(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as full:
        await running.heads("refused")
    assert details(full.value, error_details_pb2.ErrorInfo)[0].metadata == {"seats": "3"}
    with pytest.raises(grpc.aio.AioRpcError) as wrong:
        await running.heads("invalid")
    [violations] = details(wrong.value, error_details_pb2.BadRequest)
    assert [(v.field, v.description) for v in violations.field_violations] == [("feed", "unknown")]
    with pytest.raises(grpc.aio.AioRpcError) as away:
        await running.heads("unavailable")
    [retry] = details(away.value, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToMilliseconds() == 1500


async def test_a_bug_shows_nothing(running: Running) -> None:
    for call in (running.heads("bug"), running.read("bug", 1)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call
        assert raised.value.code() == grpc.StatusCode.INTERNAL
        assert raised.value.details() == "Internal error"


async def test_a_stream_that_is_written_fails_like_one_that_is_yielded() -> None:
    async with Running([service(WritingFeed())]) as running:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await running.read("not-found")
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


async def test_what_was_streamed_before_an_error_arrives(running: Running) -> None:
    stream = running.feed.Read(pb.ReadRequest(feed="bug", limit=3), metadata=bearer(SERVICE))
    assert [(await stream.read()).records[0].key for _ in range(3)] == [b"0", b"1", b"2"]
    with pytest.raises(grpc.aio.AioRpcError):
        await stream.read()


# Deadlines and sizes


async def test_a_call_without_a_deadline_gets_one(monkeypatch: pytest.MonkeyPatch, running: Running) -> None:
    monkeypatch.setattr(rpc, "DEADLINE", 0.1)
    for call in (running.heads("slow"), running.read("slow", 1)):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await asyncio.wait_for(call, 10)
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_clients_own_deadline_is_longer_than_ours(
    monkeypatch: pytest.MonkeyPatch, running: Running
) -> None:
    monkeypatch.setattr(rpc, "DEADLINE", 0.0)
    assert (await running.heads("identity", timeout=10)).partitions
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await running.heads("slow", timeout=0.2)
    assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_five_megabytes_are_refused_both_ways(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as sent:
        await running.heads("x" * (5 * 1024 * 1024))
    with pytest.raises(grpc.aio.AioRpcError) as received:
        await running.read("huge")
    assert sent.value.code() == received.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await running.heads("identity")).partitions


async def test_what_is_no_message_or_has_a_nul_is_the_callers_fault(running: Running) -> None:
    heads: Any = cast("Any", running.channel).unary_unary(f"/{NAME}/Heads")
    for request, token, code in (
        (b"\x0a\x02\xff\xfe", SERVICE, grpc.StatusCode.INVALID_ARGUMENT),  # a text that is not UTF-8
        (b"\xff" * 20, SERVICE, grpc.StatusCode.INVALID_ARGUMENT),
        (pb.HeadsRequest(feed="a\0b").SerializeToString(), SERVICE, grpc.StatusCode.INVALID_ARGUMENT),
        (b"\xff" * 20, "a.b.c", grpc.StatusCode.UNAUTHENTICATED),  # a stranger's is not even read
    ):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await heads(request, metadata=bearer(token))
        assert raised.value.code() == code
    with pytest.raises(grpc.aio.AioRpcError) as named:
        await running.heads("a\0b")
    [bad] = details(named.value, error_details_pb2.BadRequest)
    assert bad.field_violations[0].field == "feed"


# Health and reflection


async def test_health_answers_for_each_service_and_for_all(running: Running) -> None:
    stub: Any = health_pb2_grpc.HealthStub(running.channel)
    for name in ("", NAME):
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await stub.Check(health_pb2.HealthCheckRequest(service="lyceum.nothing"))
    assert raised.value.code() == grpc.StatusCode.NOT_FOUND


async def test_health_says_so_before_the_server_stops() -> None:
    async with Running([service()]) as running:
        stub: Any = health_pb2_grpc.HealthStub(running.channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service=NAME))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stopping = asyncio.create_task(running.server.stop(2))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        await stopping


async def services_by_reflection(running: Running) -> set[str]:
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("Any", running.channel))
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    return {s.name async for answer in call for s in answer.list_services_response.service}


async def test_reflection_is_off_unless_switched_on(running: Running) -> None:
    # Asked as if it were unary: grpc.aio trips over a stream that is refused before it has sent its first message.
    ask: Any = cast("Any", running.channel).unary_unary(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(b"")
    assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED
    async with Running([service()], reflection=True) as open_one:
        assert NAME in await services_by_reflection(open_one)


# Peers and traces


async def test_peers_reach_a_service_with_their_token_in_the_same_trace(running: Running) -> None:
    finished = spans()
    peers = Peers(KitSettings(identity_grpc=f"127.0.0.1:{running.server.port}"), FixedToken(SERVICE))
    stub: Any = pb_grpc.EventFeedStub(peers.channel("identity"))
    assert peers.channel("identity") is peers.channel("identity")
    with telemetry.span("the caller") as calling:
        await stub.Heads(pb.HeadsRequest(feed="identity"), timeout=5, metadata=await peers.metadata(None))
    await peers.close()
    [server] = [s for s in finished.get_finished_spans() if s.name == f"{NAME}/Heads"]
    assert server.context is not None
    assert server.parent is not None
    assert server.context.trace_id == calling.get_span_context().trace_id
    assert server.parent.span_id == calling.get_span_context().span_id


async def test_a_read_is_tried_again_while_a_peer_comes_or_goes() -> None:
    calls = 0

    class Flaky(Feed):
        async def Heads(self, request: pb.HeadsRequest, context: Any) -> pb.HeadsResponse:
            nonlocal calls
            calls += 1
            if calls == 1:
                raise Unavailable("starting")
            if calls == 2:
                await context.abort(grpc.StatusCode.CANCELLED, "shutting down")
            return pb.HeadsResponse()

    async with Running([service(Flaky())]) as running:
        peers = Peers(KitSettings(identity_grpc=f"127.0.0.1:{running.server.port}"), FixedToken(SERVICE))
        stub: Any = pb_grpc.EventFeedStub(peers.channel("identity"))
        await stub.Heads(pb.HeadsRequest(feed="identity"), timeout=10, metadata=await peers.metadata(TENANT))
        await peers.close()
    assert calls == 3
