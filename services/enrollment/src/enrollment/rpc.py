"""EnrollmentService: who is enrolled, why, and how far they are; each caller sees what they may."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import grpc.aio
from google.protobuf.timestamp_pb2 import Timestamp

from enrollment.enrollment import to_message
from enrollment.errors import UnknownEnrollment
from enrollment.store import records
from enrollment.store.book import Books
from enrollment.views import View, view, visible_to
from lyceum.enrollment.v1 import enrollment_service_pb2 as pb
from lyceum.enrollment.v1.enrollment_service_pb2_grpc import (
    EnrollmentServiceServicer,
    add_EnrollmentServiceServicer_to_server,
)
from lyceum_kit.errors import Invalid
from lyceum_kit.ledger import Ledger
from lyceum_kit.rpc import RpcService, caller

PAGE = 200
STATES = {
    "active": pb.ENROLLMENT_STATE_ACTIVE,
    "completed": pb.ENROLLMENT_STATE_COMPLETED,
    "withdrawn": pb.ENROLLMENT_STATE_WITHDRAWN,
}
_STATE_OF: dict[int, str] = {number: name for name, number in STATES.items()}


class Servicer(EnrollmentServiceServicer):
    def __init__(self, ledger: Ledger, books: Books) -> None:
        self._ledger = ledger
        self._books = books

    async def GetEnrollment(self, request: pb.GetEnrollmentRequest, context: Any) -> pb.Enrollment:
        """One enrolment with all its grounds."""
        return as_message(await self._one(request.enrollment_id))

    async def ListEnrollments(
        self,
        request: pb.ListEnrollmentsRequest,
        context: Any,
    ) -> AsyncIterator[pb.ListEnrollmentsResponse]:
        """By id, a transaction a page: a slow reader holds nothing."""
        who = caller()
        person_id, course_id = _filter(request.person_id), _filter(request.course_id)
        if request.state and request.state not in _STATE_OF:
            raise Invalid("No such state")
        after: str | None = None
        while True:
            async with self._ledger.read(who.tenant) as conn:
                rows = await records.shown(
                    conn,
                    who.tenant,
                    visible_to(who),
                    person_ids=[person_id] if person_id else None,
                    course_id=course_id,
                    state=_STATE_OF.get(request.state),
                    after=after,
                    limit=PAGE,
                )
                views = await view(conn, who.tenant, rows, books=self._books)
            if views:
                yield pb.ListEnrollmentsResponse(enrollments=[as_message(v) for v in views])
            if len(rows) < PAGE:
                return
            after = rows[-1].state.enrollment_id

    async def GetCourseProgress(
        self,
        request: pb.GetCourseProgressRequest,
        context: Any,
    ) -> pb.CourseProgress:
        """The modules of the pinned version: which are done, and which is next."""
        found = await self._one(request.enrollment_id)
        done = found.shown.state.done
        return pb.CourseProgress(
            enrollment_id=found.shown.state.enrollment_id,
            modules=[
                pb.ModuleProgress(
                    module_id=m.module_id,
                    title=m.title,
                    done=m.module_id in done,
                    score=done[m.module_id].score if m.module_id in done else None,
                )
                for m in found.shown.modules
            ],
            modules_done=found.modules_done,
            modules_total=len(found.shown.modules),
            next_module_id=found.next_module_id or "",
        )

    async def ExplainEnrollment(
        self,
        request: pb.GetEnrollmentRequest,
        context: Any,
    ) -> pb.ExplainEnrollmentResponse:
        """Why it exists: a sentence per ground."""
        return pb.ExplainEnrollmentResponse(sentences=(await self._one(request.enrollment_id)).why)

    async def _one(self, enrollment_id: str) -> View:
        who = caller()
        try:
            wanted = str(UUID(enrollment_id))
        except ValueError:
            raise UnknownEnrollment from None
        async with self._ledger.read(who.tenant) as conn:
            rows = await records.shown(conn, who.tenant, visible_to(who), enrollment_id=wanted)
            if not rows:
                raise UnknownEnrollment
            return (await view(conn, who.tenant, rows, books=self._books))[0]


def _filter(text: str) -> str | None:
    if not text:
        return None
    try:
        return str(UUID(text))
    except ValueError:
        raise Invalid("A filter is not an id") from None


def as_message(found: View) -> pb.Enrollment:
    state = found.shown.state
    message = pb.Enrollment(
        enrollment_id=state.enrollment_id,
        person_id=state.person_id,
        course_id=state.course_id,
        course_version=state.course_version,
        cycle=state.cycle,
        state=STATES[state.state],
        grounds=[to_message(g) for g in state.grounds],
        overdue=state.overdue,
        modules_done=found.modules_done,
        modules_total=len(found.shown.modules),
        locked=bool(found.locked_by),
    )
    _set(message.enrolled_at, state.enrolled_at)
    if state.due:
        _set(message.due_at, state.due.at)
    if state.completed_at:
        _set(message.completed_at, state.completed_at)
    return message


def _set(stamp: Timestamp, at: Any) -> None:
    stamp.FromDatetime(at)


def service(ledger: Ledger, books: Books) -> RpcService:
    def add(server: grpc.aio.Server) -> None:
        add_EnrollmentServiceServicer_to_server(Servicer(ledger, books), server)

    anyone: frozenset[str] = frozenset()
    methods = ("GetEnrollment", "ListEnrollments", "GetCourseProgress", "ExplainEnrollment")
    return RpcService("lyceum.enrollment.v1.EnrollmentService", add, dict.fromkeys(methods, anyone))
