"""What assessment asks other services at the moment of use, and the shape tests put in their place."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

import grpc
import grpc.aio

from assessment.errors import UnknownEnrollment
from lyceum.enrollment.v1 import enrollment_service_pb2 as enrollment_pb
from lyceum.enrollment.v1.enrollment_service_pb2_grpc import EnrollmentServiceStub
from lyceum.identity.v1 import identity_service_pb2 as identity_pb
from lyceum.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from lyceum_kit.errors import Unavailable
from lyceum_kit.peers import Peers

TIMEOUT = 2.0  # seconds; below what PostgreSQL lets a transaction idle


@dataclass(frozen=True)
class Standing:
    """An enrolment as enrollment sees it now."""

    enrollment_id: str
    person_id: str
    course_id: str
    course_version: int
    open: bool  # neither withdrawn nor locked by a prerequisite
    why_not: str = ""


@dataclass(frozen=True)
class Named:
    """A person as identity knows them now."""

    display_name: str
    manager_id: str = ""


class Enrollments(Protocol):
    async def get(self, tenant: UUID, enrollment_id: str) -> Standing:
        """Raises UnknownEnrollment or Unavailable."""
        ...


class People(Protocol):
    async def get(self, tenant: UUID, person_id: str) -> Named | None:
        """None for a person identity doesn't know (any more). Raises Unavailable."""
        ...


class EnrollmentPeer:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def get(self, tenant: UUID, enrollment_id: str) -> Standing:
        stub = EnrollmentServiceStub(self._peers.channel("enrollment"))
        try:
            found = await stub.GetEnrollment(
                enrollment_pb.GetEnrollmentRequest(enrollment_id=enrollment_id),
                timeout=TIMEOUT,
                metadata=await self._peers.metadata(tenant),
            )
        except grpc.aio.AioRpcError as e:
            if e.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):
                raise UnknownEnrollment from e
            raise _down("enrollment", e) from e
        withdrawn = found.state == enrollment_pb.ENROLLMENT_STATE_WITHDRAWN
        return Standing(
            enrollment_id=found.enrollment_id,
            person_id=found.person_id,
            course_id=found.course_id,
            course_version=found.course_version,
            open=not withdrawn and not found.locked,
            why_not="The enrolment was withdrawn"
            if withdrawn
            else "Another course has to be completed first"
            if found.locked
            else "",
        )


class IdentityPeer:
    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def get(self, tenant: UUID, person_id: str) -> Named | None:
        stub = IdentityServiceStub(self._peers.channel("identity"))
        try:
            person = await stub.GetPerson(
                identity_pb.GetPersonRequest(person_id=person_id),
                timeout=TIMEOUT,
                metadata=await self._peers.metadata(tenant),
            )
        except grpc.aio.AioRpcError as e:
            if e.code() == grpc.StatusCode.NOT_FOUND:
                return None
            raise _down("identity", e) from e
        return Named(person.display_name, person.job.manager_id)


def _down(service: str, error: grpc.aio.AioRpcError) -> Unavailable:
    return Unavailable(f"{service} does not answer: {error.code().name}", retry_after=1)
