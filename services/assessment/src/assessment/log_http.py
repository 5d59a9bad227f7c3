"""The tamper-evident log over HTTP: what outsiders hold it to, and the audit of those who run it."""

import base64
from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import PlainTextResponse

from assessment import log, log_store, tlog
from assessment.errors import UnknownCertificate, UnknownLog
from assessment.store import certificate_tenant
from lyceum_kit.http import Model, allow, public
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Caller

# Monitors run anywhere, also in a browser: what they fetch is public.
_OPEN = {"access-control-allow-origin": "*", "cross-origin-resource-policy": "cross-origin"}
Size = Annotated[int, Query(ge=1, le=2**53)]


class AuditRequest(Model):
    checkpoint: str = ""


def public_routes(ledger: Ledger) -> APIRouter:
    router = APIRouter(dependencies=[public], include_in_schema=False)

    @router.get("/badges/issuers/{tenant}/log/key")
    async def key(tenant: UUID) -> PlainTextResponse:
        """The key that signs the log's checkpoints, as a verifier key (c2sp.org/signed-note)."""
        async with ledger.read(tenant) as conn:
            return PlainTextResponse(await log.verifier_key(conn, tenant) + "\n", headers=_OPEN)

    @router.get("/badges/issuers/{tenant}/log/checkpoint")
    async def checkpoint(tenant: UUID) -> PlainTextResponse:
        """The newest checkpoint (c2sp.org/tlog-checkpoint)."""
        async with ledger.read(tenant) as conn:
            newest = await log_store.checkpoint(conn, tenant)
        if newest is None:
            raise UnknownLog
        return PlainTextResponse(newest.note, headers={**_OPEN, "cache-control": "no-cache"})

    @router.get("/badges/issuers/{tenant}/log/consistency")
    async def consistency(tenant: UUID, old: Size, new: Size) -> PlainTextResponse:
        """The proof of RFC 6962 §2.1.2, one hash a line in base64."""
        async with ledger.read(tenant) as conn:
            hashes = await log.consistency(conn, tenant, old, new)
        text = "".join(f"{base64.b64encode(h).decode()}\n" for h in hashes)
        return PlainTextResponse(text, headers=_OPEN)

    @router.get("/verify/{certificate_id}/certificate.tlog-proof")
    async def proof(certificate_id: str) -> PlainTextResponse:
        """That the certificate's issue is in the log (c2sp.org/tlog-proof); 404 until a checkpoint covers it."""
        async with ledger.engine.connect() as conn:
            tenant = await certificate_tenant(conn, certificate_id)
        if tenant is None:
            raise UnknownCertificate
        async with ledger.read(tenant) as conn:
            found = await log.certificate_proof(conn, tenant, certificate_id)
        if found is None:
            raise UnknownLog("No checkpoint covers this certificate yet: ask again in a minute")
        return PlainTextResponse(tlog.proof_text(found), headers=_OPEN)

    _ = key, checkpoint, consistency, proof
    return router


def routes(ledger: Ledger) -> APIRouter:
    router = APIRouter(prefix="/api/assessment/log", tags=["log"])

    @router.post("/audit")
    async def audit(body: AuditRequest, who: Annotated[Caller, allow("admin")]) -> dict[str, Any]:
        """Compute the log anew from the ledger; `checkpoint` is one that was kept elsewhere, if there is one.

        `problems` is empty when every entry, record and checkpoint agree.
        """
        async with ledger.read(who.tenant) as conn:
            return asdict(await log.audit(conn, who.tenant, external=body.checkpoint))

    _ = audit
    return router
