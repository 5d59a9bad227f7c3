"""AssessmentService over gRPC: verify certificates, read learning records."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from assessment import certifying, store
from assessment.peers import People
from lyceum.assessment.v1 import assessment_service_pb2 as pb
from lyceum.assessment.v1.assessment_service_pb2_grpc import (
    AssessmentServiceServicer,
    add_AssessmentServiceServicer_to_server,
)
from lyceum_kit.errors import Forbidden
from lyceum_kit.ledger import Ledger
from lyceum_kit.rpc import RpcService, caller
from lyceum_kit.tokens import Caller

CHUNK = 200
_STATUS = {
    "valid": pb.CERTIFICATE_STATUS_VALID,
    "revoked": pb.CERTIFICATE_STATUS_REVOKED,
    "unknown": pb.CERTIFICATE_STATUS_UNKNOWN,
}


def assessment_service(ledger: Ledger, people: People) -> RpcService:
    servicer = AssessmentRpc(ledger, people)
    return RpcService(
        name="lyceum.assessment.v1.AssessmentService",
        add=lambda server: add_AssessmentServiceServicer_to_server(servicer, server),
        access={"VerifyCertificate": None, "ListCertificates": frozenset(), "ListAttempts": frozenset()},
    )


class AssessmentRpc(AssessmentServiceServicer):
    def __init__(self, ledger: Ledger, people: People) -> None:
        self._ledger = ledger
        self._people = people

    async def VerifyCertificate(
        self, request: pb.VerifyCertificateRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.VerifyCertificateResponse:
        verdict = await certifying.verify(self._ledger, request.certificate_id, request.credential_jwt)
        answer = pb.VerifyCertificateResponse(status=_STATUS[verdict.status], reason=verdict.reason)
        if row := verdict.certificate:
            answer.certificate_id = row.certificate_id
            answer.recipient_name = row.recipient_name
            answer.course_title = row.course_title
            answer.assurance = row.assurance
            answer.issued_at.FromDatetime(row.issued_at)
            if row.revoked_at:
                answer.revoked_at.FromDatetime(row.revoked_at)
        return answer

    async def ListCertificates(
        self, request: pb.ListCertificatesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ListCertificatesResponse]:
        who = caller()
        person_id = await self._whose(who, request.person_id)
        after = ""
        while True:
            async with self._ledger.read(who.tenant) as conn:
                rows = await store.list_certificates(
                    conn,
                    who.tenant,
                    person_id=person_id,
                    course_id=request.course_id,
                    after=after,
                    limit=CHUNK,
                )
            if rows:
                yield pb.ListCertificatesResponse(certificates=[_certificate(row) for row in rows])
            if len(rows) < CHUNK:
                return
            after = rows[-1].certificate_id

    async def ListAttempts(
        self, request: pb.ListAttemptsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.ListAttemptsResponse]:
        who = caller()
        person_id = await self._whose(who, request.person_id)
        after = None
        while True:
            async with self._ledger.read(who.tenant) as conn:
                rows = await store.records(
                    conn,
                    who.tenant,
                    person_id=person_id,
                    enrollment_id=request.enrollment_id,
                    after=after,
                    limit=CHUNK,
                )
            if rows:
                yield pb.ListAttemptsResponse(attempts=[_attempt(row) for row in rows])
            if len(rows) < CHUNK:
                return
            after = (rows[-1].started_at, rows[-1].attempt_id)

    async def _whose(self, who: Caller, person_id: str) -> str:
        """The person to filter by; empty, everybody, for those who may read the whole tenant."""
        if who.has("admin", "reader", "service"):
            return person_id
        if person_id in ("", who.subject):
            return who.subject
        if who.has("manager"):
            person = await self._people.get(who.tenant, person_id)
            if person and person.manager_id == who.subject:
                return person_id
        raise Forbidden("Only your own records, and those of people who report to you")


def _certificate(row: Any) -> pb.Certificate:
    found = pb.Certificate(
        certificate_id=row.certificate_id,
        person_id=row.person_id,
        enrollment_id=row.enrollment_id,
        course_id=row.course_id,
    )
    found.issued_at.FromDatetime(row.issued_at)
    if row.revoked_at:
        found.revoked_at.FromDatetime(row.revoked_at)
    return found


def _attempt(row: Any) -> pb.Attempt:
    found = pb.Attempt(
        attempt_id=row.attempt_id,
        enrollment_id=row.enrollment_id,
        person_id=row.person_id,
        module_id=row.module_id,
        state=row.state,
        score=row.score,
    )
    found.started_at.FromDatetime(row.started_at)
    return found
