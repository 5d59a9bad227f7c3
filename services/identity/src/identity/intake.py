"""Where HR systems deliver: signed webhooks (public, the signature is the credential) and full snapshots.

A 2xx is only said once the message is durable.
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from identity import hris, snapshot_store, store, webhook_store
from identity.administration import Breaker, apply_held, discard_held, endpoint_place, take_snapshot
from identity.errors import BadSignature, EncodedBody
from identity.handlers import Delivery, take_notice, take_webhooks
from identity.signatures import verify_bamboohr, verify_standard
from identity.tenancy import Tenancy
from identity.vault import Vault
from identity.webhook_store import Endpoint
from lyceum_kit.appending import Origin
from lyceum_kit.errors import NotFound
from lyceum_kit.group import Group
from lyceum_kit.http import MIB, allow, body_limit, public
from lyceum_kit.ledger import Ledger, Tx
from lyceum_kit.tokens import Caller

SNAPSHOT_LIMIT = 20 * MIB
# Read from raw bytes, strictly, by hris: FastAPI knows no body here. The README shows its fields.
_JSON = {"requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}}
Hris = Annotated[Caller, allow("hris", "admin", "operator")]
Admin = Annotated[Caller, allow("admin", "operator")]


def webhook_routes(ledger: Ledger, tenancy: Tenancy, vault: Vault) -> APIRouter:
    router = APIRouter()
    taking, looking_up = Group(ledger), Group(ledger)
    take = partial(take_webhooks, vault=vault)

    async def find(tx: Tx, endpoint_ids: Sequence[UUID]) -> list[Endpoint | None]:
        found = await webhook_store.endpoints(tx.conn, tx.tenant, set(endpoint_ids), tx.now)
        return [found.get(endpoint_id) for endpoint_id in endpoint_ids]

    @router.post(
        "/webhooks/{tenant_slug}/{endpoint_id}",
        dependencies=[public],
        responses={202: {"description": "Durable, and held or waiting for its day"}, 401: {}},
        openapi_extra=_JSON,
    )
    async def receive(tenant_slug: str, endpoint_id: UUID, request: Request) -> JSONResponse:
        """A signed message of an HR system. 2xx once it is durable, also when it was delivered before."""
        body = await request.body()
        if request.headers.get("content-encoding", "identity") != "identity":
            raise EncodedBody
        try:
            tenant = await tenancy.by_slug(tenant_slug)
        except NotFound:
            raise BadSignature from None
        # Read for each burst and kept for none: a secret that was revoked is good for nothing from then on.
        endpoint = await looking_up.run_many(tenant.tenant_id, find, endpoint_id)
        if endpoint is None:
            raise BadSignature
        return await _take(tenant.tenant_id, endpoint, request, body, tenant.default_time_zone)

    async def _take(
        tenant: UUID, endpoint: Endpoint, request: Request, body: bytes, time_zone: str
    ) -> JSONResponse:
        place = endpoint_place(tenant, endpoint.endpoint_id)
        secrets = [vault.open(sealed, place).decode() for sealed in endpoint.secrets]
        actor = f"webhook:{endpoint.endpoint_id}"
        now = ledger.clock()
        if endpoint.form == "bamboohr":
            webhook_id = verify_bamboohr(request.headers, body, secrets, now)
            notices = hris.read_notices(hris.strict_json(body))
            noted = await taking.run(
                tenant, take_notice, endpoint.endpoint_id, webhook_id, notices, vault=vault, actor=actor
            )
            return JSONResponse({"result": noted}, 200 if noted == "duplicate" else 202)
        webhook_id = verify_standard(request.headers, body, secrets, now)
        config: dict[str, Any] = json.loads(vault.open(endpoint.config, place))
        said = hris.read_event(
            hris.strict_json(body), time_zone=config.get("time_zone") or time_zone, now=now
        )
        if said is None:
            return JSONResponse({"result": "ignored"})
        delivery = Delivery(endpoint.endpoint_id, webhook_id, endpoint.source, said, Origin.request(actor))
        outcome = await taking.run_many(tenant, take, delivery, actor=actor)
        return JSONResponse({"result": outcome}, 202 if outcome in ("held", "waiting") else 200)

    _ = receive
    return router


def snapshot_routes(ledger: Ledger, tenancy: Tenancy, vault: Vault, breaker: Breaker) -> APIRouter:
    router = APIRouter()

    @router.get("/hris/held")
    async def held(who: Admin, tenant_slug: str = "") -> dict[str, Any]:
        """People of whom HR said that they leave, but never that they came."""
        tenant = await tenancy.of(who, tenant_slug)
        async with ledger.read(tenant.tenant_id) as conn:
            rows = await store.held(conn, tenant.tenant_id)
        items = [
            {
                "id": str(row.person_id),
                "source": row.source,
                "external_id": row.external_id,
                "reason": "terminated before the hire arrived",
                "received_at": row.received_at,
            }
            for row in rows
        ]
        return {"items": items, "next": None}

    @router.put("/hris/snapshot", dependencies=[body_limit(SNAPSHOT_LIMIT)], openapi_extra=_JSON)
    async def put_snapshot(who: Hris, request: Request, tenant_slug: str = "") -> dict[str, Any]:
        """A full listing of people; only differences become events. Send it again after an error."""
        tenant = await tenancy.of(who, tenant_slug)
        body = await request.body()
        if request.headers.get("content-encoding", "identity") != "identity":
            raise EncodedBody
        # Off the event loop: 20 MB take a while to read.
        snapshot = await asyncio.to_thread(lambda: hris.read_snapshot(hris.strict_json(body)))
        taken = await take_snapshot(
            ledger,
            tenant.tenant_id,
            snapshot,
            time_zone=tenant.default_time_zone,
            breaker=breaker,
            vault=vault,
            actor=who.subject,
        )
        return asdict(taken)

    @router.get("/hris/snapshots/held")
    async def held_snapshots(who: Admin, tenant_slug: str = "") -> dict[str, Any]:
        """Snapshots that would deactivate too many: a person has to decide."""
        tenant = await tenancy.of(who, tenant_slug)
        async with ledger.read(tenant.tenant_id) as conn:
            return {"items": await snapshot_store.waiting(conn, tenant.tenant_id), "next": None}

    @router.post("/hris/snapshots/{snapshot_id}/apply")
    async def apply(who: Admin, snapshot_id: UUID, tenant_slug: str = "") -> dict[str, Any]:
        """The snapshot is right: apply it."""
        tenant = await tenancy.of(who, tenant_slug)
        taken = await apply_held(
            ledger,
            tenant.tenant_id,
            snapshot_id,
            time_zone=tenant.default_time_zone,
            vault=vault,
            actor=who.subject,
        )
        return asdict(taken)

    @router.post("/hris/snapshots/{snapshot_id}/discard", status_code=204)
    async def discard(who: Admin, snapshot_id: UUID, tenant_slug: str = "") -> None:
        """The snapshot is wrong: forget it."""
        tenant = await tenancy.of(who, tenant_slug)
        await ledger.run(tenant.tenant_id, discard_held, snapshot_id, actor=who.subject)

    _ = held, put_snapshot, held_snapshots, apply, discard
    return router
