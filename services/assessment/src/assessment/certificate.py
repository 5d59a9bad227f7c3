"""A certificate as events of the stream certificate/<id>. PURE."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import fmean

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from assessment.errors import AlreadyRevoked, UnknownCertificate
from lyceum.assessment.v1.events_pb2 import CertificateIssued, CertificateRevoked


@dataclass(frozen=True)
class Certificate:
    certificate_id: str
    person_id: str
    issued: bool = False
    revoked: bool = False


@dataclass(frozen=True)
class Issue:
    enrollment_id: str
    course_id: str
    course_version: int
    score: float | None
    assurance: str
    status_index: int
    key_id: str
    credential_sha256: str


@dataclass(frozen=True)
class Revoke:
    reason_encrypted: bytes
    by: str


def decide(state: Certificate, command: Issue | Revoke, *, now: datetime) -> Sequence[Message]:
    at = Timestamp()
    at.FromDatetime(now)
    match command:
        case Issue():
            if state.issued:
                return []
            return [
                CertificateIssued(
                    certificate_id=state.certificate_id,
                    person_id=state.person_id,
                    enrollment_id=command.enrollment_id,
                    course_id=command.course_id,
                    course_version=command.course_version,
                    score=command.score,
                    assurance=command.assurance,
                    issued_at=at,
                    status_index=command.status_index,
                    key_id=command.key_id,
                    credential_sha256=command.credential_sha256,
                )
            ]
        case Revoke():
            if not state.issued:
                raise UnknownCertificate
            if state.revoked:
                raise AlreadyRevoked
            return [
                CertificateRevoked(
                    certificate_id=state.certificate_id,
                    person_id=state.person_id,
                    reason_encrypted=command.reason_encrypted,
                    revoked_by=command.by,
                    revoked_at=at,
                )
            ]


def evolve(state: Certificate, event: Message) -> Certificate:
    match event:
        case CertificateIssued():
            return replace(state, issued=True, person_id=event.person_id)
        case CertificateRevoked():
            return replace(state, revoked=True)
        case _:
            raise TypeError(f"{event.DESCRIPTOR.full_name} is not of a certificate")


def score(completions: Sequence[tuple[float | None, str]]) -> float | None:
    """The certificate's score: the mean of the modules the server graded, else of those that reported a
    score.
    """
    graded = [s for s, assurance in completions if s is not None and assurance == "server-graded"]
    reported = [s for s, _ in completions if s is not None]
    scores = graded or reported
    return fmean(scores) if scores else None
