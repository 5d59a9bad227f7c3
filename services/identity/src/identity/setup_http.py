"""What operators and administrators set up: tenants, API clients, webhook endpoints, signing keys."""

from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter, Response
from pydantic import Field

from identity import hris, sign_in, sign_in_store
from identity.administration import Administrator, create_endpoint, create_tenant, rotate_secret
from identity.keys import SigningKeys
from identity.settings import Settings
from identity.store import row_dict
from identity.tenancy import Tenancy
from identity.vault import Vault
from lyceum_kit.errors import Forbidden, Invalid
from lyceum_kit.http import Model, allow
from lyceum_kit.ids import NewId
from lyceum_kit.ledger import Ledger
from lyceum_kit.lines import Line
from lyceum_kit.tokens import Caller

Admin = Annotated[Caller, allow("admin", "operator")]
Operator = Annotated[Caller, allow("operator")]

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Name = Annotated[Line, Field(max_length=200)]
ClientRole = Literal["reader", "hris", "author", "admin"]


class NewAdmin(Model):
    display_name: Name
    email: Annotated[str, Field(max_length=300)] = ""


class NewTenant(Model):
    slug: Slug
    name: Name
    time_zone: str = "UTC"
    admin: NewAdmin


class NewClient(Model):
    name: Name
    roles: Annotated[list[ClientRole], Field(min_length=1)]
    tenant_slug: str = ""


class WebhookConfig(Model):
    """base_url and api_key are for forms that are read again."""

    base_url: Annotated[str, Field(max_length=500)] = ""
    api_key: Annotated[str, Field(max_length=500)] = ""
    time_zone: str = ""
    source: Annotated[str, Field(pattern=r"^[a-z0-9_-]{0,40}$")] = ""


class NewWebhook(Model):
    form: Literal["standard", "bamboohr"]
    name: Name
    config: WebhookConfig = Field(default_factory=lambda: WebhookConfig.model_validate({}))
    tenant_slug: str = ""


class Rotation(Model):
    overlap_hours: Annotated[float, Field(ge=0, le=24 * 30)] = 24
    tenant_slug: str = ""


def tenant_routes(
    ledger: Ledger,
    tenancy: Tenancy,
    keys: SigningKeys,
    settings: Settings,
    *,
    vault: Vault,
    new_id: NewId,
) -> APIRouter:
    router = APIRouter()

    @router.post("/tenants", status_code=201)
    async def add_tenant(who: Operator, new: NewTenant) -> dict[str, Any]:
        """A tenant, and a one-time link for its first administrator."""
        if not who.every_tenant:
            raise Forbidden("Only the operator of the platform creates tenants")
        hris.check_time_zone(new.time_zone)
        tenant_id = new_id()
        token = await ledger.run(
            tenant_id,
            create_tenant,
            slug=new.slug,
            name=new.name,
            time_zone=new.time_zone,
            admin=Administrator(new.admin.display_name, new.admin.email),
            link_hours=settings.identity_link_hours,
            vault=vault,
            actor=who.subject,
        )
        return {
            "tenant_id": str(tenant_id),
            "admin_link": f"{settings.app_origin}/api/identity/sessions/link?token={token}",
        }

    @router.get("/tenants")
    async def list_tenants(_who: Operator) -> dict[str, Any]:
        items = [
            {"tenant_id": str(t.tenant_id), "slug": t.slug, "name": t.name, "time_zone": t.default_time_zone}
            for t in await tenancy.all()
        ]
        return {"items": items, "next": None}

    @router.post("/keys/rotate")
    async def rotate_keys(_who: Operator) -> dict[str, str]:
        """A new signing key for access tokens."""
        return {"kid": await keys.rotate()}

    _ = add_tenant, list_tenants, rotate_keys
    return router


def client_routes(ledger: Ledger, tenancy: Tenancy) -> APIRouter:
    router = APIRouter()

    @router.post("/clients", status_code=201)
    async def add_client(who: Admin, new: NewClient) -> dict[str, Any]:
        """An API client. The secret is in this answer only."""
        tenant = await tenancy.of(who, new.tenant_slug)
        client_id, secret = await ledger.run(
            tenant.tenant_id, sign_in.create_client, new.name, new.roles, actor=who.subject
        )
        return {
            "client_id": client_id,
            "client_secret": secret,
            "tenant_id": str(tenant.tenant_id),
            "roles": new.roles,
        }

    @router.get("/clients")
    async def list_clients(who: Admin, tenant_slug: str = "") -> dict[str, Any]:
        tenant = await tenancy.of(who, tenant_slug)
        async with ledger.read(tenant.tenant_id) as conn:
            rows = await sign_in_store.clients(conn, tenant.tenant_id)
        return {"items": [row_dict(row) for row in rows], "next": None}

    @router.delete("/clients/{client_id}", status_code=204)
    async def revoke_client(who: Admin, client_id: str, tenant_slug: str = "") -> None:
        """The client gets no token any more."""
        tenant = await tenancy.of(who, tenant_slug)
        await ledger.run(tenant.tenant_id, sign_in.revoke_client, client_id, actor=who.subject)

    _ = add_client, list_clients, revoke_client
    return router


def webhook_routes(ledger: Ledger, tenancy: Tenancy, vault: Vault, settings: Settings) -> APIRouter:
    router = APIRouter()

    @router.post("/webhooks", status_code=201)
    async def add_webhook(who: Admin, new: NewWebhook, response: Response) -> dict[str, Any]:
        """Where an HR system may deliver. The secret is in this answer only."""
        tenant = await tenancy.of(who, new.tenant_slug)
        config = new.config.model_dump()
        config["time_zone"] = new.config.time_zone or tenant.default_time_zone
        hris.check_time_zone(config["time_zone"])
        if new.form == "bamboohr":
            check_base_url(new.config.base_url, local=settings.edition == "local")
        source = new.config.source or ("bamboohr" if new.form == "bamboohr" else "hris")
        endpoint_id, secret = await ledger.run(
            tenant.tenant_id,
            create_endpoint,
            vault,
            form=new.form,
            name=new.name,
            source=source,
            config=config,
            actor=who.subject,
        )
        url = f"{settings.app_origin}/api/identity/webhooks/{tenant.slug}/{endpoint_id}"
        response.headers["location"] = url
        return {"endpoint_id": str(endpoint_id), "url": url, "secret": secret}

    @router.post("/webhooks/{endpoint_id}/rotate")
    async def rotate(who: Admin, endpoint_id: UUID, rotation: Rotation) -> dict[str, Any]:
        """A new secret; the one before stays valid for a while."""
        tenant = await tenancy.of(who, rotation.tenant_slug)
        secret, until = await ledger.run(
            tenant.tenant_id,
            rotate_secret,
            vault,
            endpoint_id,
            timedelta(hours=rotation.overlap_hours),
            actor=who.subject,
        )
        return {"endpoint_id": str(endpoint_id), "secret": secret, "previous_valid_until": until}

    _ = add_webhook, rotate
    return router


def check_base_url(url: str, *, local: bool) -> None:
    """BambooHR's own host. Any other would let an administrator of one tenant make us ask the network around us."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as e:
        raise Invalid("config.base_url is not an address") from e
    if local and host and parts.scheme in ("https", "http"):
        return  # the demo's HR system runs beside it
    plain = parts.username is None and parts.port is None
    if not (parts.scheme == "https" and host.endswith(".bamboohr.com") and plain):
        raise Invalid("config.base_url must be an https address of bamboohr.com")
