"""People, roles, org units, and what operators set up. (Sign-in: sign_in_http; HR systems: intake.)"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel, Field

from identity import erasure, org_unit_store, store
from identity.handlers import grant_roles, map_unit
from identity.org_unit import Map
from identity.store import PersonRow
from identity.tenancy import Tenancy
from identity.vault import Vault
from lyceum_kit.errors import Forbidden, NotFound
from lyceum_kit.http import Model, Page, Pages, allow, page
from lyceum_kit.ledger import Ledger
from lyceum_kit.tokens import Caller

Anyone = Annotated[Caller, allow()]
Admin = Annotated[Caller, allow("admin", "operator")]
SEES_ALL = ("admin", "reader", "service", "operator")


class Grant(Model):
    roles: list[Literal["author", "admin"]]


class Erasure(Model):
    """Why: one of few words, since it is in an event and events are never forgotten."""

    reason: Literal["requested", "retention-ended", "unlawful"]


class ErasedOut(BaseModel):
    person_id: UUID
    erased_at: datetime


class Mapping(Model):
    """Where a unit belongs. Left out: at the top, or without a head."""

    parent_id: UUID | None = None
    head_id: UUID | None = None


class UnitOut(BaseModel):
    org_unit_id: UUID
    code: str = Field(description="As HR spells it")
    mapped: bool = Field(description="False where HR named a department that nobody has looked at yet")
    parent_id: UUID | None
    head_id: UUID | None


class UnitWithPeople(UnitOut):
    people: int = Field(description="Who works in it now")


def shown(row: PersonRow) -> dict[str, Any]:
    """A person in a list."""
    return {
        "person_id": str(row.person_id),
        "external_id": "" if row.erased_at else row.external_id,
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


def routes(ledger: Ledger, tenancy: Tenancy, vault: Vault) -> APIRouter:
    router = APIRouter()

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
        *,
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
        after = paging.place(UUID)
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
            "source": row.source,
            "email": row.email,
            "locale": row.locale,
            "hire_date": row.hire_date or None,
            "time_zone": row.time_zone,
            "employment_type": row.employment_type,
            "changes_at": row.wakes_at,
            "erased_at": row.erased_at,
        }

    @router.post("/people/{person_id}/roles")
    async def set_roles(
        who: Admin,
        person_id: UUID,
        grant: Grant,
        tenant_slug: str = "",
    ) -> dict[str, Any]:
        """Grant exactly these roles. learner and manager follow from the facts."""
        tenant = await tenancy.of(who, tenant_slug)
        row = await ledger.run(tenant.tenant_id, grant_roles, person_id, grant.roles, actor=who.subject)
        return {"person_id": str(person_id), "roles": list(row.roles)}

    @router.post("/people/{person_id}/erasure")
    async def erase(who: Admin, person_id: UUID, body: Erasure, tenant_slug: str = "") -> ErasedOut:
        """Forget for good who somebody was who left; the id stays. Again: nothing changes."""
        tenant = await tenancy.of(who, tenant_slug)
        done = await ledger.run(
            tenant.tenant_id, erasure.erase, person_id, body.reason, vault=vault, actor=who.subject
        )
        return ErasedOut(person_id=done.person_id, erased_at=done.erased_at)

    @router.get("/org-units")
    async def org_units(who: Anyone, tenant_slug: str = "") -> Page[UnitWithPeople]:
        """Departments; `mapped` is false where HR named one that nobody had set up."""
        tenant = await tenancy.of(who, tenant_slug)
        async with ledger.read(tenant.tenant_id) as conn:
            units = await org_unit_store.listed(conn, tenant.tenant_id)
        return Page(items=[UnitWithPeople(**unit) for unit in units])

    @router.put("/org-units/{org_unit_id}/mapping")
    async def put_mapping(who: Admin, org_unit_id: UUID, body: Mapping, tenant_slug: str = "") -> UnitOut:
        """Confirm a department that HR brought along, and say where it belongs. Again: nothing changes."""
        tenant = await tenancy.of(who, tenant_slug)
        command = Map(str(body.parent_id or ""), str(body.head_id or ""))
        unit = await ledger.run(tenant.tenant_id, map_unit, org_unit_id, command, actor=who.subject)
        return UnitOut(
            org_unit_id=org_unit_id,
            code=unit.code,
            mapped=unit.mapped,
            parent_id=body.parent_id,
            head_id=body.head_id,
        )

    _ = me, team, people, person, set_roles, erase, org_units, put_mapping
    return router


def _person_id(who: Caller) -> UUID:
    if who.kind != "person":
        raise Forbidden("Only a signed-in person has this")
    return UUID(who.subject)
