"""One object for all of Lyceum: `async with Lyceum(url, credential, at=…) as lyceum`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from types import TracebackType
from typing import TypeVar

import grpc
import grpc.aio
import httpx

from lyceum.analytics.v1.analytics_service_pb2_grpc import AnalyticsServiceStub
from lyceum.assessment.v1 import assessment_service_pb2 as assessment
from lyceum.assessment.v1.assessment_service_pb2_grpc import AssessmentServiceStub
from lyceum.catalog.v1 import catalog_service_pb2 as catalog
from lyceum.catalog.v1.catalog_service_pb2_grpc import CatalogServiceStub
from lyceum.enrollment.v1 import enrollment_service_pb2 as enrollment
from lyceum.enrollment.v1.enrollment_service_pb2_grpc import EnrollmentServiceStub
from lyceum.feed.v1 import feed_service_pb2 as feed_pb
from lyceum.feed.v1.feed_service_pb2_grpc import EventFeedStub
from lyceum.identity.v1 import identity_service_pb2 as identity
from lyceum.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from lyceum_client import feed
from lyceum_client.backoff import Pause
from lyceum_client.retries import Tries
from lyceum_client.tokens import Credential, Tokens

Q = TypeVar("Q")
A = TypeVar("A")
Item = TypeVar("Item")

SECONDS = 30.0  # of a call with all its tries, unless the caller says otherwise
LIST_SECONDS = 300.0
AT_ONCE = 1000  # events of a feed
OPTIONS = [
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
    ("grpc.enable_retries", 0),  # we retry, and count all tries into one deadline
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
]


class Lyceum:
    """`url` is where people open Lyceum; `at` is the gRPC address, host:port, of all services, or of each by its name. `channel`: the
    credentials of a connection with TLS, such as `grpc.ssl_channel_credentials()`.

    `identity`, `catalog`, `enrollment`, `assessment` and `analytics` are the generated stubs. Hand a method of theirs to
    `call`; what is a list has a method of its own here, which streams it.
    """

    def __init__(
        self,
        url: str,
        credential: Credential,
        *,
        at: str | Mapping[str, str],
        channel: grpc.ChannelCredentials | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._http = httpx.AsyncClient(base_url=url, timeout=10, transport=transport)
        self._tokens = Tokens(self._http, credential, pause=pause)
        self._pause = pause
        self._addresses = at
        self._channel = channel
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.identity = IdentityServiceStub(self._to("identity"))
        self.catalog = CatalogServiceStub(self._to("catalog"))
        self.enrollment = EnrollmentServiceStub(self._to("enrollment"))
        self.assessment = AssessmentServiceStub(self._to("assessment"))
        self.analytics = AnalyticsServiceStub(self._to("analytics"))
        self._feeds = {name: EventFeedStub(self._to(producer)) for name, producer in feed.producers().items()}

    async def __aenter__(self) -> "Lyceum":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close(None)
        await self._http.aclose()

    async def token(self) -> str:
        """The token that calls carry now, for whatever else you ask, such as the HTTP APIs."""
        return await self._tokens.current()

    async def call(
        self, method: grpc.aio.UnaryUnaryMultiCallable[Q, A], request: Q, *, seconds: float = SECONDS
    ) -> A:
        """One answer: `await lyceum.call(lyceum.identity.GetPerson, GetPersonRequest(person_id=…))`.

        Raises grpc.aio.AioRpcError: at once for what will not change, else when the tries or the seconds are over.
        """
        tries = self._tries(seconds)
        while True:
            try:
                return await method(request, metadata=await tries.metadata(), timeout=tries.left)
            except grpc.aio.AioRpcError as e:
                await tries.again(e)

    async def pages(
        self, method: grpc.aio.UnaryStreamMultiCallable[Q, A], request: Q, *, seconds: float = LIST_SECONDS
    ) -> AsyncIterator[A]:
        """The messages of a stream. Begun again only while none has arrived: else you would get some twice."""
        tries = self._tries(seconds)
        arrived = False
        while True:
            try:
                async for page in method(request, metadata=await tries.metadata(), timeout=tries.left):
                    arrived = True
                    yield page
                return
            except grpc.aio.AioRpcError as e:
                if arrived:
                    raise
                await tries.again(e)

    # ---- lists: some 200 a message on the wire, one by one here

    def people(
        self, *, department: str = "", manager_id: str = "", include_terminated: bool = False
    ) -> AsyncIterator[identity.Person]:
        asked = identity.ListPeopleRequest(
            department=department, manager_id=manager_id, include_terminated=include_terminated
        )
        return self._each(self.identity.ListPeople, asked, lambda page: page.people)

    def courses(self, *, search: str = "") -> AsyncIterator[catalog.Course]:
        asked = catalog.ListCoursesRequest(search=search)
        return self._each(self.catalog.ListCourses, asked, lambda page: page.courses)

    def enrollments(
        self,
        *,
        person_id: str = "",
        course_id: str = "",
        state: "enrollment.EnrollmentState.ValueType" = enrollment.ENROLLMENT_STATE_UNSPECIFIED,
    ) -> AsyncIterator[enrollment.Enrollment]:
        asked = enrollment.ListEnrollmentsRequest(person_id=person_id, course_id=course_id, state=state)
        return self._each(self.enrollment.ListEnrollments, asked, lambda page: page.enrollments)

    def attempts(self, *, person_id: str = "", enrollment_id: str = "") -> AsyncIterator[assessment.Attempt]:
        asked = assessment.ListAttemptsRequest(person_id=person_id, enrollment_id=enrollment_id)
        return self._each(self.assessment.ListAttempts, asked, lambda page: page.attempts)

    def certificates(
        self, *, person_id: str = "", course_id: str = ""
    ) -> AsyncIterator[assessment.Certificate]:
        asked = assessment.ListCertificatesRequest(person_id=person_id, course_id=course_id)
        return self._each(self.assessment.ListCertificates, asked, lambda page: page.certificates)

    async def _each(
        self,
        method: grpc.aio.UnaryStreamMultiCallable[Q, A],
        request: Q,
        items: Callable[[A], Iterable[Item]],
    ) -> AsyncIterator[Item]:
        async for page in self.pages(method, request):
            for item in items(page):
                yield item

    # ---- feeds: with a service's credential, for all tenants

    async def heads(self, name: str) -> list[int]:
        """The last number of each partition of a feed."""
        answer = await self.call(self._feeds[name].Heads, feed_pb.HeadsRequest(feed=name))
        return [p.head for p in answer.partitions]

    async def events(
        self, name: str, partition: int, position: feed.Position = feed.BEGINNING
    ) -> AsyncIterator[feed.Event]:
        """What a partition has from `position` on, in order, each once, until there is no more right now.

        Raises OtherHistory where the producer's history is not the one that led to `position`.
        """
        while records := await self._records(name, partition, position.next):
            for record in records:
                event = feed.event(name, partition, record.headers, record.value)
                feed.check(position, event)
                position = event.after
                yield event

    async def _records(self, name: str, partition: int, first: int) -> list[feed_pb.FeedRecord]:
        """Some thousand, all of them before the first is handed on: a handler may take its time."""
        asked = feed_pb.ReadRequest(feed=name, partition=partition, from_position=first, limit=AT_ONCE)
        tries = self._tries(SECONDS)
        while True:
            try:
                pages = self._feeds[name].Read(asked, metadata=await tries.metadata(), timeout=tries.left)
                return [record async for page in pages for record in page.records]
            except grpc.aio.AioRpcError as e:
                await tries.again(e)

    def _tries(self, seconds: float) -> Tries:
        return Tries(self._tokens, self._pause, seconds)

    def _to(self, service: str) -> grpc.aio.Channel:
        """Connects when first used, and again whenever it breaks."""
        address = self._addresses if isinstance(self._addresses, str) else self._addresses.get(service, "")
        if address not in self._channels:
            self._channels[address] = (
                grpc.aio.secure_channel(address, self._channel, OPTIONS)
                if self._channel
                else grpc.aio.insecure_channel(address, OPTIONS)
            )
        return self._channels[address]
