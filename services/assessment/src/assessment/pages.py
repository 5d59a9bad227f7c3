"""Public pages, without a token and without JavaScript: is this certificate real, and the issuer's badge
documents.

Whoever holds a certificate's number may see what it says: its holder gave it to them.
"""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import assessment
from assessment import certifying, credential, log, pdf, store
from assessment.certifying import Verdict
from assessment.errors import UnknownCertificate
from assessment.keys import Vault
from assessment.settings import Settings
from assessment.tlog import Proof
from lyceum_kit.http import public
from lyceum_kit.ledger import Ledger

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(assessment.__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; font-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
}
# Verifiers run anywhere: what they fetch is public, and may be read from any origin.
_OPEN = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
_ASSURANCE = {
    "server-graded": "Graded by the platform's server",
    "self-reported": "Reported by the course in the learner's browser",
}


def routes(ledger: Ledger, settings: Settings, vault: Vault) -> APIRouter:
    router = APIRouter(dependencies=[public], include_in_schema=False)
    origin = settings.app_origin

    @router.get("/verify", response_model=None)
    async def ask(number: Annotated[str, Query(alias="id", max_length=200)] = "") -> Response:
        if number.strip():
            # Only a number of ours leads on; anything else is answered here.
            wanted = _number(number)
            return RedirectResponse(f"/verify/{wanted}", 303) if wanted else _unknown(number)
        return _page("ask.html")

    @router.get("/verify/style.css")
    async def style() -> Response:
        css = (Path(assessment.__file__).parent / "templates" / "verify.css").read_text()
        return Response(css, media_type="text/css", headers={"cache-control": "max-age=3600"})

    @router.get("/verify/cjk.otf")
    async def font() -> Response:
        file = Path(assessment.__file__).parent / "fonts" / "NotoSansCJK-Regular.otf"
        return FileResponse(file, media_type="font/otf", headers={"cache-control": "max-age=31536000"})

    @router.get("/verify/{certificate_id}")
    async def show(certificate_id: str) -> HTMLResponse:
        verdict = await certifying.verify(ledger, certificate_id)
        if verdict.status == "unknown":
            return _unknown(certificate_id)
        return _page(
            "certificate.html",
            verdict=verdict,
            assurance=_ASSURANCE[verdict.certificate.assurance],
            logged=await _logged(ledger, verdict.certificate),
        )

    @router.get("/verify/{certificate_id}/certificate.pdf")
    async def show_pdf(certificate_id: str) -> Response:
        verdict = await _issued(ledger, certificate_id)
        return await pdf.response(verdict.certificate, issuer_name=verdict.issuer_name, origin=origin)

    @router.get("/verify/{certificate_id}/credential.jwt")
    async def show_credential(certificate_id: str) -> Response:
        verdict = await _issued(ledger, certificate_id)
        return Response(verdict.certificate.credential_jwt, media_type="application/vc+jwt", headers=_OPEN)

    @router.get("/badges/issuers/{tenant}")
    async def issuer(tenant: UUID) -> JSONResponse:
        await _keys(ledger, tenant)
        async with ledger.read(tenant) as conn:
            name = await store.tenant_name(conn, tenant)
        return JSONResponse(credential.profile(origin, tenant, name), headers=_OPEN)

    @router.get("/badges/issuers/{tenant}/jwks")
    async def jwks(tenant: UUID) -> JSONResponse:
        keys = [
            {**k, "kid": credential.key_url(origin, tenant, k["kid"])} for k in await _keys(ledger, tenant)
        ]
        return JSONResponse({"keys": keys}, headers=_OPEN)

    @router.get("/badges/issuers/{tenant}/keys/{key_id}")
    async def key(tenant: UUID, key_id: str) -> JSONResponse:
        for one in await _keys(ledger, tenant):
            if one["kid"] == key_id:
                return JSONResponse({**one, "kid": credential.key_url(origin, tenant, key_id)}, headers=_OPEN)
        raise UnknownCertificate("No such key")

    @router.get("/badges/status/{tenant}/{number}")
    async def status(tenant: UUID, number: int) -> Response:
        signed = await certifying.status_list(
            ledger, vault, tenant, number, origin=origin, now=ledger.clock()
        )
        headers = {**_OPEN, "cache-control": "public, max-age=60"}
        return Response(signed, media_type="application/vc+jwt", headers=headers)

    _ = ask, style, font, show, show_pdf, show_credential, issuer, jwks, key, status
    return router


def _page(template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    return HTMLResponse(_TEMPLATES.get_template(template).render(**values), status, _HEADERS)


def _unknown(number: str) -> HTMLResponse:
    return _page("unknown.html", status=404, number=number[:100])


def _number(text: str) -> str:
    """A certificate's number, also out of a pasted address of this page; empty when it is neither."""
    try:
        return str(UUID(text.strip().rstrip("/").rsplit("/", 1)[-1]))
    except ValueError:
        return ""


async def _issued(ledger: Ledger, certificate_id: str) -> Verdict:
    verdict = await certifying.verify(ledger, certificate_id)
    if verdict.status == "unknown":
        raise UnknownCertificate
    certifying.kept_by_us(verdict.certificate)
    return verdict


async def _logged(ledger: Ledger, row: Any) -> Proof | None:
    async with ledger.read(row.tenant) as conn:
        return await log.certificate_proof(conn, row.tenant, row.certificate_id)


async def _keys(ledger: Ledger, tenant: UUID) -> list[dict[str, Any]]:
    """Raises UnknownCertificate for a tenant that never issued anything: there is no issuer to speak of."""
    async with ledger.read(tenant) as conn:
        keys = list(await store.public_keys(conn, tenant))
    if not keys:
        raise UnknownCertificate("No such issuer")
    return keys
