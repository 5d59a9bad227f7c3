"""Certificates in the database: issue once per enrolment, revoke, verify."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncConnection

from assessment import certificate as certificates
from assessment import credential, log_store, sealing, store
from assessment.certificate import Certificate, Issue, Revoke
from assessment.credential import Award, Forged
from assessment.errors import HolderErased, UnknownCertificate
from assessment.keys import Vault
from assessment.peers import People
from lyceum.assessment.v1.events_pb2 import CertificateIssued
from lyceum.enrollment.v1.events_pb2 import CourseCompleted
from lyceum_kit.ledger import Ledger, Tx

Status = Literal["valid", "revoked", "unknown"]


@dataclass(frozen=True)
class Verdict:
    status: Status
    reason: str
    certificate: Any = None  # the row, unless unknown
    issuer_name: str = ""


async def issue(
    tx: Tx, completed: CourseCompleted, *, course: Any, vault: Vault, people: People, origin: str
) -> None:
    """Certify a completed course, exactly once per enrolment. A person identity no longer knows gets none."""
    if not course.certifying or await store.certificate_of(tx.conn, tx.tenant, completed.enrollment_id):
        return
    await store.lock_person(tx.conn, tx.tenant, completed.person_id)
    person = await people.get(tx.tenant, completed.person_id)
    if person is None:
        return
    key = await vault.issuer_key(tx)
    key_id = str(key.kid)
    done = await store.completions(tx.conn, tx.tenant, completed.enrollment_id)
    award = Award(
        certificate_id=str(tx.new_id()),
        person_id=completed.person_id,
        recipient_name=person.display_name,
        course_id=completed.course_id,
        course_title=course.title,
        course_summary=course.summary,
        score=certificates.score([(row.score, row.assurance) for row in done]),
        assurance=completed.assurance,
        issued_at=tx.now,
        status_index=await store.next_status_index(tx.conn, tx.tenant),
    )
    signed = credential.sign(
        credential.credential(
            award, origin=origin, tenant=tx.tenant, issuer_name=await store.tenant_name(tx.conn, tx.tenant)
        ),
        key,
        kid=credential.key_url(origin, tx.tenant, key_id),
        issuer=credential.issuer_url(origin, tx.tenant),
        issued_at=tx.now,
    )
    command = Issue(
        enrollment_id=completed.enrollment_id,
        course_id=completed.course_id,
        course_version=completed.course_version,
        score=award.score,
        assurance=award.assurance,
        status_index=award.status_index,
        key_id=key_id,
        credential_sha256=credential.sha256(signed),
    )
    state = Certificate(award.certificate_id, completed.person_id)
    events = certificates.decide(state, command, now=tx.now)
    tx.append(f"certificate/{award.certificate_id}", events, expected=0, key=completed.person_id)
    await store.add_certificate(
        tx.conn,
        {
            "tenant": tx.tenant,
            "certificate_id": award.certificate_id,
            "enrollment_id": completed.enrollment_id,
            "person_id": completed.person_id,
            "recipient_name": award.recipient_name,
            "course_id": completed.course_id,
            "course_version": completed.course_version,
            "course_title": award.course_title,
            "language": course.language,
            "score": award.score,
            "assurance": award.assurance,
            "completed_at": completed.completed_at.ToDatetime(tzinfo=UTC),
            "issued_at": tx.now,
            "status_index": award.status_index,
            "key_id": key_id,
            "credential_jwt": signed,
        },
    )


async def revoke(tx: Tx, certificate_id: str, *, reason: str, by: str, vault: Vault) -> None:
    """The reason is sealed in the event: it may well name the person. Of an erased one it is in no event at all."""
    stream = await tx.load(f"certificate/{certificate_id}")
    state = Certificate(certificate_id, "")
    for event in stream.events:
        state = certificates.evolve(state, event)
    key = await vault.new_person_key(tx, state.person_id) if state.issued else None
    place = sealing.place(tx.tenant, f"certificate/{certificate_id}", "reason")
    sealed = sealing.seal(key, reason.encode(), place) if key else b""
    events = certificates.decide(state, Revoke(sealed, by), now=tx.now)
    tx.append(f"certificate/{certificate_id}", events, expected=stream.version, key=state.person_id)
    await store.revoke_certificate(tx.conn, tx.tenant, certificate_id, reason=reason, now=tx.now)


async def verify(ledger: Ledger, certificate_id: str, brought_jwt: str = "") -> Verdict:
    """Judge a certificate by its id, or a signed credential that somebody brought. Needs no tenant: it finds
    it.
    """
    if brought_jwt:
        try:
            claimed = credential.claimed_id(brought_jwt)
        except Forged as e:
            return Verdict("unknown", str(e))
        if certificate_id and claimed != certificate_id:
            return Verdict("unknown", "The credential belongs to another certificate")
        certificate_id = claimed
    async with ledger.engine.connect() as conn:
        tenant = await store.certificate_tenant(conn, certificate_id)
    if tenant is None:
        return Verdict("unknown", "No certificate with this number was issued here")
    async with ledger.read(tenant) as conn:
        row = await store.certificate(conn, tenant, certificate_id)
        if row is None:
            return Verdict("unknown", "No certificate with this number was issued here")
        if brought_jwt and (fault := await _fault(conn, tenant, row, brought_jwt)):
            return Verdict("unknown", fault)
        issuer_name = await store.tenant_name(conn, tenant)
    holder = "" if row.credential_jwt else ". Its holder was erased here"
    if row.revoked_at:
        why = f": {row.revocation_reason}" if row.revocation_reason else ""
        return Verdict("revoked", f"Revoked by its issuer{why}{holder}", row, issuer_name)
    return Verdict("valid", f"Issued here and not revoked{holder}", row, issuer_name)


async def _fault(conn: AsyncConnection, tenant: UUID, row: Any, brought: str) -> str:
    """Why a credential somebody brought is not the one that was issued; empty when it is."""
    key = await store.issuer_key(conn, tenant, row.key_id)
    assert key
    try:
        credential.open_signed(brought, key.public_jwk)
    except Forged as e:
        return str(e)
    # A signature is not enough: with a stolen key anybody could sign another text under this number. The event tells
    # which one was issued, also when the credential itself was erased with its holder.
    event_id = await log_store.event_of(conn, tenant, f"certificate/{row.certificate_id}", 1)
    issued = await log_store.event(conn, tenant, event_id) if event_id else None
    assert issued
    known = CertificateIssued.FromString(issued.data).credential_sha256
    return (
        "" if credential.sha256(brought) == known else "It is signed, but not the credential that was issued"
    )


async def status_list(
    ledger: Ledger, vault: Vault, tenant: UUID, number: int, *, origin: str, now: datetime
) -> str:
    """The tenant's signed list of revoked certificates. Raises UnknownCertificate when there is no such
    list.
    """
    size = credential.STATUS_LIST_BITS
    async with ledger.read(tenant) as conn:
        key = await store.issuer_key(conn, tenant)
        if key is None or number < 1 or (number - 1) * size > await store.issued_count(conn, tenant):
            raise UnknownCertificate("No such status list")
        indexes = await store.revoked_indexes(conn, tenant, (number - 1) * size, size)
    content = credential.status_list(
        [i - (number - 1) * size for i in indexes], origin=origin, tenant=tenant, number=number, now=now
    )
    return credential.sign(
        content,
        vault.open_issuer_key(tenant, key.key_id, key.sealed_jwk),
        kid=credential.key_url(origin, tenant, key.key_id),
        issuer=credential.issuer_url(origin, tenant),
        issued_at=now,
        expires_at=now + credential.STATUS_LIST_VALID,
    )


def kept_by_us(row: Any) -> Any:
    """The row, for whoever wants what it names somebody in. Raises HolderErased."""
    if not row.credential_jwt:
        raise HolderErased
    return row


async def own_certificate(conn: AsyncConnection, tenant: UUID, certificate_id: str) -> Any:
    row = await store.certificate(conn, tenant, certificate_id)
    if row is None:
        raise UnknownCertificate
    return row
