"""Assessment's API for the web app and other clients: launches, readings, records, certificates. (Quizzes: quiz_http.)"""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import Field

from assessment import certifying, pdf, playing, store
from assessment.errors import UnknownCertificate
from assessment.keys import Vault
from assessment.peers import Enrollments, People
from assessment.quiz_http import ModuleBody
from assessment.settings import Settings
from lyceum_kit.errors import Forbidden
from lyceum_kit.http import Model, Pages, allow, page
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Caller

Anyone = Annotated[Caller, allow()]
Admin = Annotated[Caller, allow("admin")]


class RevokeBody(Model):
    reason: str = Field(min_length=1, max_length=500)


def routes(
    ledger: Ledger, settings: Settings, vault: Vault, *, enrollments: Enrollments, people: People
) -> APIRouter:
    router = APIRouter()

    @router.post("/launches", status_code=201)
    async def launch(body: ModuleBody, who: Anyone) -> dict[str, str]:
        """Open a SCORM module. The URL carries a token for this one attempt; open it in the player's
        frame.
        """
        standing = await enrollments.get(who.tenant, body.enrollment_id)
        launched = await ledger.run(
            who.tenant,
            playing.launch,
            standing,
            body.module_id,
            person_id=who.subject,
            lifetime=settings.assessment_launch_lifetime,
            actor=who.subject,
        )
        origin = settings.content_origin.format(package=launched.package_id)
        return {"attempt_id": launched.attempt_id, "url": f"{origin}/__lms/run#{launched.token}"}

    @router.post("/readings", status_code=201)
    async def read(body: ModuleBody, who: Anyone) -> dict[str, str]:
        """Mark a reading as read. Doing so again changes nothing."""
        standing = await enrollments.get(who.tenant, body.enrollment_id)
        attempt_id = await ledger.run(
            who.tenant, playing.read, standing, body.module_id, person_id=who.subject, actor=who.subject
        )
        return {"attempt_id": attempt_id, "state": "completed"}

    @router.get("/records")
    async def records(who: Anyone, paging: Pages, person_id: str = "") -> dict[str, Any]:
        subject = await _whose(who, person_id, people)
        async with ledger.read(who.tenant) as conn:
            rows = await store.records(
                conn, who.tenant, person_id=subject, after=paging.place(_moment, str), limit=paging.limit + 1
            )
        shown, after = page(rows, paging, lambda row: (row.started_at.isoformat(), row.attempt_id))
        return {"items": [_record(row) for row in shown], "next": after}

    @router.get("/certificates")
    async def list_certificates(who: Anyone, paging: Pages, person_id: str = "") -> dict[str, Any]:
        subject = await _whose(who, person_id, people)
        async with ledger.read(who.tenant) as conn:
            rows = await store.list_certificates(
                conn,
                who.tenant,
                person_id=subject,
                after=paging.place(str) or "",
                limit=paging.limit + 1,
            )
        shown, after = page(rows, paging, lambda row: (row.certificate_id,))
        return {"items": [_certificate(row, settings.app_origin) for row in shown], "next": after}

    @router.get(
        "/certificates/{certificate_id}.pdf",
        response_class=Response,
        responses={200: {"content": {"application/pdf": {}}}},
    )
    async def certificate_pdf(certificate_id: str, who: Anyone) -> Response:
        row = await _own_certificate(ledger, who, certificate_id, people)
        async with ledger.read(who.tenant) as conn:
            issuer = await store.tenant_name(conn, who.tenant)
        return await pdf.response(row, issuer_name=issuer, origin=settings.app_origin)

    @router.get(
        "/certificates/{certificate_id}.jwt",
        response_class=Response,
        responses={200: {"content": {"application/vc+jwt": {}}}},
    )
    async def certificate_jwt(certificate_id: str, who: Anyone) -> Response:
        row = await _own_certificate(ledger, who, certificate_id, people)
        return Response(row.credential_jwt, media_type="application/vc+jwt")

    @router.post("/certificates/{certificate_id}/revoke", status_code=204)
    async def revoke(certificate_id: str, body: RevokeBody, who: Admin) -> None:
        await ledger.run(
            who.tenant,
            certifying.revoke,
            certificate_id,
            reason=body.reason,
            by=who.subject,
            vault=vault,
            actor=who.subject,
        )

    _ = launch, read, records, list_certificates, certificate_pdf, certificate_jwt, revoke
    return router


async def _whose(who: Caller, person_id: str, people: People) -> str:
    """Whose records the caller may read: their own, a direct report's, or for an admin anybody's."""
    if not person_id or person_id == who.subject:
        return who.subject
    if who.has("admin", "reader"):
        return person_id
    if who.has("manager"):
        person = await people.get(who.tenant, person_id)
        if person and person.manager_id == who.subject:
            return person_id
    raise Forbidden("Only your own records, and those of people who report to you")


async def _own_certificate(ledger: Ledger, who: Caller, certificate_id: str, people: People) -> Any:
    async with ledger.read(who.tenant) as conn:
        row = await certifying.own_certificate(conn, who.tenant, certificate_id)
    try:
        await _whose(who, row.person_id, people)
    except Forbidden:
        raise UnknownCertificate from None  # that it exists is nobody else's business
    return certifying.kept_by_us(row)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def _record(row: Any) -> dict[str, Any]:
    return {
        "attempt_id": row.attempt_id,
        "enrollment_id": row.enrollment_id,
        "course_id": row.course_id,
        "module_id": row.module_id,
        "kind": row.kind,
        "number": row.number,
        "state": row.state,
        "score": row.score,
        "assurance": row.assurance,
        "started_at": row.started_at,
        "completed_at": row.completed_at,
        "seconds": row.finished_seconds + row.session_seconds,
    }


def _certificate(row: Any, origin: str) -> dict[str, Any]:
    return {
        "certificate_id": row.certificate_id,
        "person_id": row.person_id,
        "enrollment_id": row.enrollment_id,
        "course_id": row.course_id,
        "course_title": row.course_title,
        "issued_at": row.issued_at,
        "revoked_at": row.revoked_at,
        "score": row.score,
        "assurance": row.assurance,
        "verify_url": f"{origin}/verify/{row.certificate_id}",
        "pdf_url": f"/api/assessment/certificates/{row.certificate_id}.pdf",
        "badge_url": f"/api/assessment/certificates/{row.certificate_id}.jwt",
    }
