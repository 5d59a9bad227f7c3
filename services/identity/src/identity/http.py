"""People, roles, org units, and what operators set up. (Sign-in: sign_in_http; HR systems: intake.)"""

from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Response
from lyceum_kit.errors import Forbidden, Invalid, NotFound
from lyceum_kit.http import Model, Pages, allow, page
from lyceum_kit.ids import NewId
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Caller
from pydantic import Field

from identity import hris, sign_in, sign_in_store, store
from identity.administration import Administrator, create_endpoint, create_tenant, rotate_secret
from identity.handlers import grant_roles
from identity.keys import SigningKeys
from identity.settings import Settings
from identity.store import PersonRow
from identity.tenancy import Tenancy
from identity.vault import Vault

Anyone = Annotated[Caller, allow()]
Admin = Annotated[Caller, allow("admin", "operator")]
Operator = Annotated[Caller, allow("operator")]
SEES_ALL = ("admin", "reader", "service", "operator")

Slug = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]
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


class Grant(Model):
    roles: list[Literal["author", "admin"]]


def shown(row: PersonRow) -> dict[str, Any]:
    """A person in a list."""
    return {
        "person_id": str(row.person_id),
        "display_name": row.display_name,
        "department": row.department,
        "location": row.location,
        "job_title": row.job_title,
        "status": row.status,
        "manager_id": row.manager_id or None,
        "roles": list(row.roles),
    }


def visible_to(who: Caller) -> str:
    """Whose view of people this is; empty for those who see everybody of their tenant."""
    return "" if who.has(*SEES_ALL) else who.subject


def may_see(who: Caller, row: PersonRow) -> bool:
    viewer = visible_to(who)
    return not viewer or viewer in (str(row.person_id), row.manager_id)


def routes(
    ledger: Ledger, tenancy: Tenancy, vault: Vault, keys: SigningKeys, settings: Settings, *, new_id: NewId
) -> APIRouter:
    router = APIRouter()
    api = f"{settings.app_origin}/api/identity"

    @router.get("/me")
    async def me(who: Anyone) -> dict[str, Any]:
        """The signed-in person."""
        person_id = _person_id(who)
        tenant = await tenancy.by_id(who.tenant)
        async with ledger.read(who.tenant) as conn:
            row = await store.person(conn, who.tenant, person_id)
            manager = (
                await store.person(conn, who.tenant, UUID(row.manager_id)) if row and row.manager_id else None
            )
        if row is None:
            raise NotFound
        return {
            **shown(row),
            "tenant_id": str(who.tenant),
            "tenant_slug": tenant.slug,
            "tenant_name": tenant.name,
            "email": row.email,
            "manager": manager
            and {"person_id": str(manager.person_id), "display_name": manager.display_name},
            "locale": row.locale,
            "time_zone": row.time_zone,
        }

    @router.get("/me/team")
    async def team(who: Anyone, paging: Pages) -> dict[str, Any]:
        """Who reports to the signed-in person."""
        return await _people(who.tenant, paging, manager_id=str(_person_id(who)))

    @router.get("/people")
    async def people(
        who: Anyone,
        paging: Pages,
        search: str = "",
        department: str = "",
        manager_id: str = "",
        include_terminated: bool = False,
        tenant_slug: str = "",
    ) -> dict[str, Any]:
        """Everybody for administrators and readers; oneself and direct reports for others."""
        tenant = await tenancy.of(who, tenant_slug)
        return await _people(
            tenant.tenant_id,
            paging,
            search=search,
            department=department,
            manager_id=manager_id,
            include_terminated=include_terminated,
            visible_to=visible_to(who),
        )

    async def _people(tenant: UUID, paging: Pages, **filters: Any) -> dict[str, Any]:
        try:
            after = UUID(paging.after[0]) if paging.after else None
        except ValueError as e:
            raise Invalid("`after` is not a cursor of this list") from e
        async with ledger.read(tenant) as conn:
            rows = await store.list_people(conn, tenant, after=after, limit=paging.limit + 1, **filters)
        items, following = page(rows, paging, lambda row: (row.person_id,))
        return {"items": [shown(row) for row in items], "next": following}

    @router.get("/people/{person_id}")
    async def person(who: Anyone, person_id: UUID) -> dict[str, Any]:
        """One person, with what HR says of the job."""
        async with ledger.read(who.tenant) as conn:
            row = await store.person(conn, who.tenant, person_id)
        if row is None or not may_see(who, row):
            raise NotFound
        return {
            **shown(row),
            "external_id": row.external_id,
            "source": row.source,
            "email": row.email,
            "locale": row.locale,
            "hire_date": row.hire_date or None,
            "time_zone": row.time_zone,
            "employment_type": row.employment_type,
            "changes_at": row.wakes_at,
        }

    @router.post("/people/{person_id}/roles")
    async def set_roles(
        who: Annotated[Caller, allow("admin")], person_id: UUID, grant: Grant
    ) -> dict[str, Any]:
        """Grant exactly these roles. learner and manager follow from the facts."""
        row = await ledger.run(who.tenant, grant_roles, person_id, grant.roles, actor=who.subject)
        return {"person_id": str(person_id), "roles": list(row.roles)}

    @router.get("/org-units")
    async def org_units(who: Anyone, tenant_slug: str = "") -> dict[str, Any]:
        """Departments; `mapped` is false where HR named one that nobody had set up."""
        tenant = await tenancy.of(who, tenant_slug)
        async with ledger.read(tenant.tenant_id) as conn:
            return {"items": await store.list_units(conn, tenant.tenant_id), "next": None}

    # ---- set up by operators and administrators

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
            actor=who.subject,
        )
        return {"tenant_id": str(tenant_id), "admin_link": f"{api}/sessions/link?token={token}"}

    @router.get("/tenants")
    async def list_tenants(_who: Operator) -> dict[str, Any]:
        items = [
            {"tenant_id": str(t.tenant_id), "slug": t.slug, "name": t.name, "time_zone": t.default_time_zone}
            for t in await tenancy.all()
        ]
        return {"items": items, "next": None}

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
        return {"items": [dict(row._mapping) for row in rows], "next": None}

    @router.delete("/clients/{client_id}", status_code=204)
    async def revoke_client(who: Admin, client_id: str, tenant_slug: str = "") -> None:
        """The client gets no token any more."""
        tenant = await tenancy.of(who, tenant_slug)
        await ledger.run(tenant.tenant_id, sign_in.revoke_client, client_id, actor=who.subject)

    @router.post("/webhooks", status_code=201)
    async def add_webhook(who: Admin, new: NewWebhook, response: Response) -> dict[str, Any]:
        """Where an HR system may deliver. The secret is in this answer only."""
        tenant = await tenancy.of(who, new.tenant_slug)
        config = new.config.model_dump()
        config["time_zone"] = new.config.time_zone or tenant.default_time_zone
        hris.check_time_zone(config["time_zone"])
        if new.form == "bamboohr":
            _check_base_url(new.config.base_url, local=settings.edition == "local")
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
        url = f"{api}/webhooks/{tenant.slug}/{endpoint_id}"
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

    @router.post("/keys/rotate")
    async def rotate_keys(_who: Operator) -> dict[str, str]:
        """A new signing key for access tokens."""
        return {"kid": await keys.rotate()}

    _ = me, team, people, person, set_roles, org_units, add_tenant, list_tenants, add_client, list_clients
    _ = revoke_client, add_webhook, rotate, rotate_keys
    return router


def _person_id(who: Caller) -> UUID:
    if who.kind != "person":
        raise Forbidden("Only a signed-in person has this")
    return UUID(who.subject)


def _check_base_url(url: str, *, local: bool) -> None:
    if not url.startswith(("https://", "http://") if local else "https://"):
        raise Invalid("config.base_url must be an https address")
